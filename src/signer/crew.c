#include "signer/crew.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct crew {
    struct hands hands;
    pthread_t threads[CREW_MAX];
    size_t threaded;
    pthread_mutex_t lock;
    pthread_cond_t work_cond, done_cond;
    /* all below: under the lock */
    bool closing;
    void (*part)(void *arg, size_t i);
    void *arg;
    size_t parts, taken, done;
    bool (*spare)(void *arg); /* NULL: nothing to do beside that */
    void *spare_arg;
    uint64_t spare_asked;
};

/* Parts until none is left. Called and left with the lock held, which is let go of in between. */
static void take_parts(struct crew *crew)
{
    while (crew->taken < crew->parts) {
        size_t i = crew->taken++;
        (void)pthread_mutex_unlock(&crew->lock);
        crew->part(crew->arg, i);
        (void)pthread_mutex_lock(&crew->lock);
        crew->done++;
    }
    if (crew->done == crew->parts)
        (void)pthread_cond_signal(&crew->done_cond);
}

/* One piece of what may wait. Called and left with the lock held, which is let go of in between. */
static void take_spare(struct crew *crew)
{
    bool (*work)(void *arg) = crew->spare;
    void *arg = crew->spare_arg;
    uint64_t asked = crew->spare_asked;
    (void)pthread_mutex_unlock(&crew->lock);
    bool more = work(arg);
    /* Whoever has woken up meanwhile waits for a tick of the scheduler otherwise. */
    (void)sched_yield();
    (void)pthread_mutex_lock(&crew->lock);
    if (!more && asked == crew->spare_asked)
        crew->spare = NULL;
}

static void *help(void *argument)
{
    struct crew *crew = argument;
    (void)pthread_mutex_lock(&crew->lock);
    while (!crew->closing) {
        if (crew->taken < crew->parts)
            take_parts(crew);
        else if (crew->spare != NULL)
            take_spare(crew);
        else
            (void)pthread_cond_wait(&crew->work_cond, &crew->lock);
    }
    (void)pthread_mutex_unlock(&crew->lock);
    return NULL;
}

static void run(void *ctx, size_t parts, void (*part)(void *arg, size_t i), void *arg)
{
    struct crew *crew = ctx;
    (void)pthread_mutex_lock(&crew->lock);
    MUST(crew->done == crew->parts);
    crew->part = part;
    crew->arg = arg;
    crew->parts = parts;
    crew->taken = 0;
    crew->done = 0;
    (void)pthread_cond_broadcast(&crew->work_cond);
    take_parts(crew);
    while (crew->done < crew->parts)
        (void)pthread_cond_wait(&crew->done_cond, &crew->lock);
    (void)pthread_mutex_unlock(&crew->lock);
}

static void spare(void *ctx, bool (*work)(void *arg), void *arg)
{
    struct crew *crew = ctx;
    (void)pthread_mutex_lock(&crew->lock);
    crew->spare = work;
    crew->spare_arg = arg;
    crew->spare_asked++;
    (void)pthread_cond_broadcast(&crew->work_cond);
    (void)pthread_mutex_unlock(&crew->lock);
}

void hands_run(const struct hands *hands, size_t parts, void (*part)(void *arg, size_t i),
               void *arg)
{
    if (hands != NULL && hands->count > 1 && parts > 1) {
        hands->run(hands->ctx, parts, part, arg);
        return;
    }
    for (size_t i = 0; i < parts; i++)
        part(arg, i);
}

const struct hands *crew_hands(const struct crew *crew)
{
    return &crew->hands;
}

static size_t processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > CREW_MAX ? CREW_MAX : (size_t)online;
}

enum rc crew_open(struct crew **crew, struct err *err)
{
    *crew = NULL;
    struct crew *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->work_cond, NULL);
    (void)pthread_cond_init(&c->done_cond, NULL);
    c->hands = (struct hands){.ctx = c, .count = processors(), .run = run, .spare = spare};
    while (c->threaded < c->hands.count) {
        int e = pthread_create(&c->threads[c->threaded], NULL, help, c);
        if (e != 0) {
            crew_close(&c);
            return FAIL(err, RC_RETRY_SYSTEM, "errno", e, "no thread: %s", strerror(e));
        }
        c->threaded++;
    }
    *crew = c;
    return RC_OK;
}

void crew_close(struct crew **crew)
{
    struct crew *c = *crew;
    *crew = NULL;
    if (c == NULL)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->closing = true;
    (void)pthread_cond_broadcast(&c->work_cond);
    (void)pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->threaded; i++)
        (void)pthread_join(c->threads[i], NULL);
    (void)pthread_cond_destroy(&c->done_cond);
    (void)pthread_cond_destroy(&c->work_cond);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}
