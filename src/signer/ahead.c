#include "signer/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/secmem.h"

#define MEMORY_LEN ((size_t)AHEAD_KEYS * HBS_STATIONS_MAX)

enum place_state { PLACE_FREE, PLACE_WANTED, PLACE_MAKING, PLACE_READY };

/* Where a key lies: the one of index i in place i modulo AHEAD_KEYS. */
struct place {
    enum place_state state;
    const struct hbs_branch *branch;
    uint64_t index;
    uint64_t wanted_at; /* struct ahead's clock then */
    /* Whose values lie in its memory, whatever it is wanted for now; NULL: nobody's. */
    const struct hbs_branch *values_of;
};

struct ahead {
    const struct hands *hands;
    uint8_t *memory; /* HBS_STATIONS_MAX for each place; NULL: not needed yet, or not to be had */
    bool none;       /* not to be had */
    uint64_t clock;  /* calls of ahead_want() */
    pthread_mutex_t lock;
    pthread_cond_t made_cond;
    /* all below: under the lock */
    struct place places[AHEAD_KEYS];
    struct place *queue[AHEAD_KEYS]; /* those wanted, first things first */
    size_t queued, next;
};

enum rc ahead_open(struct ahead **ahead, const struct hands *hands, struct err *err)
{
    *ahead = calloc(1, sizeof(**ahead));
    if (*ahead == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    (*ahead)->hands = hands;
    (void)pthread_mutex_init(&(*ahead)->lock, NULL);
    (void)pthread_cond_init(&(*ahead)->made_cond, NULL);
    return RC_OK;
}

void ahead_close(struct ahead **ahead)
{
    struct ahead *a = *ahead;
    *ahead = NULL;
    if (a == NULL)
        return;
    secmem_unmap(a->memory, MEMORY_LEN);
    (void)pthread_cond_destroy(&a->made_cond);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

static uint8_t *stations_of(const struct ahead *a, const struct place *place)
{
    return a->memory + (size_t)(place - a->places) * HBS_STATIONS_MAX;
}

static bool have_memory(struct ahead *a)
{
    struct err err = {0};
    if (a->memory != NULL || a->none)
        return !a->none;
    a->none = secmem_map((void **)&a->memory, MEMORY_LEN, &err) != RC_OK;
    if (a->none)
        log_event(LOG_LEVEL_WARNING, &(struct log_fields){.index = -1, .err = &err},
                  "no one-time keys will be computed ahead: signatures take longer");
    return !a->none;
}

/* Is the place another branch's that still comes back, or about to be filled? */
static bool is_taken(const struct ahead *a, const struct place *p, const struct hbs_branch *branch)
{
    if (p->state == PLACE_FREE)
        return false;
    if (p->state == PLACE_MAKING || p->wanted_at == a->clock)
        return true;
    return p->branch != branch && a->clock - p->wanted_at < AHEAD_STALE;
}

static void want(struct ahead *a, const struct hbs_branch *branch, uint64_t index)
{
    struct place *p = &a->places[index % AHEAD_KEYS];
    if (p->state >= PLACE_MAKING && p->branch == branch && p->index == index) {
        p->wanted_at = a->clock;
        return;
    }
    if (is_taken(a, p, branch))
        return;
    p->state = PLACE_WANTED;
    p->branch = branch;
    p->index = index;
    p->wanted_at = a->clock;
    a->queue[a->queued++] = p;
}

void ahead_want(struct ahead *a, const struct hbs_branch *branch, const uint64_t *indices,
                size_t count)
{
    if (a == NULL || hbs_branch_stations_len(branch) == 0 || !have_memory(a))
        return;
    (void)pthread_mutex_lock(&a->lock);
    a->clock++;
    for (; a->next < a->queued; a->next++)
        if (a->queue[a->next]->state == PLACE_WANTED)
            a->queue[a->next]->state = PLACE_FREE;
    a->queued = 0;
    a->next = 0;
    for (size_t i = 0; i < count; i++) {
        MUST(hbs_branch_holds(branch, indices[i]));
        want(a, branch, indices[i]);
    }
    bool work = a->queued > 0;
    (void)pthread_mutex_unlock(&a->lock);
    if (work && a->hands != NULL)
        a->hands->spare(a->hands->ctx, ahead_work, a);
}

static void wipe_place(struct ahead *a, struct place *p)
{
    if (p->values_of != NULL)
        wipe(stations_of(a, p), HBS_STATIONS_MAX);
    p->values_of = NULL;
}

/* To be filled: of another branch nothing may stay behind, not even where this one's values end. */
static void begin(struct ahead *a, struct place *p)
{
    if (p->values_of != p->branch)
        wipe_place(a, p);
    p->values_of = p->branch;
    p->state = PLACE_MAKING;
}

bool ahead_work(void *arg)
{
    struct ahead *a = arg;
    struct place *taken[HBS_PREPARE_MAX];
    struct hbs_branch_preparing jobs[HBS_PREPARE_MAX];
    size_t count = 0;
    (void)pthread_mutex_lock(&a->lock);
    for (; a->next < a->queued && count < HBS_PREPARE_MAX; a->next++) {
        struct place *p = a->queue[a->next];
        if (p->state != PLACE_WANTED)
            continue; /* forgotten meanwhile */
        begin(a, p);
        jobs[count] = (struct hbs_branch_preparing){p->index, stations_of(a, p)};
        taken[count++] = p;
    }
    (void)pthread_mutex_unlock(&a->lock);
    if (count > 0)
        hbs_branch_prepare(taken[0]->branch, jobs, count);
    (void)pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < count; i++)
        taken[i]->state = PLACE_READY;
    (void)pthread_cond_broadcast(&a->made_cond);
    bool more = a->next < a->queued;
    (void)pthread_mutex_unlock(&a->lock);
    return more;
}

const uint8_t *ahead_stations(struct ahead *a, const struct hbs_branch *branch, uint64_t index)
{
    if (a == NULL)
        return NULL;
    (void)pthread_mutex_lock(&a->lock);
    struct place *p = &a->places[index % AHEAD_KEYS];
    bool found = p->branch == branch && p->index == index;
    bool ready = found && p->state == PLACE_READY;
    if (found && p->state == PLACE_WANTED)
        p->state = PLACE_FREE; /* too late: it is about to be computed from the secret */
    (void)pthread_mutex_unlock(&a->lock);
    return ready ? stations_of(a, p) : NULL;
}

void ahead_forget(struct ahead *a, const struct hbs_branch *branch)
{
    if (a == NULL)
        return;
    (void)pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < AHEAD_KEYS; i++) {
        struct place *p = &a->places[i];
        while (p->state == PLACE_MAKING && p->branch == branch)
            (void)pthread_cond_wait(&a->made_cond, &a->lock);
        /* Also where the place has been given to another key, which is not computed yet. */
        if (p->values_of == branch)
            wipe_place(a, p);
        if (p->branch == branch) {
            p->state = PLACE_FREE;
            p->branch = NULL;
        }
    }
    (void)pthread_mutex_unlock(&a->lock);
}
