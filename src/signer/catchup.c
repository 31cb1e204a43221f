#include "signer/catchup.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

#define RETRY_S_MAX 60

static int64_t raw_ms(const struct allocator *alloc)
{
    const struct time_source *t = alloc->world->time;
    return t->raw_ns(t->ctx) / 1000000;
}

bool catching_up(const struct key *key, char text[CATCH_UP_TEXT])
{
    /* A start or a recovery may have brought W there by another way. */
    bool on_its_way = key->catch_up_to > key_floor(key) + 1;
    text[0] = '\0';
    if (on_its_way)
        (void)snprintf(text, CATCH_UP_TEXT, "catching up: window %" PRId64 " of %" PRId64,
                       key_floor(key), key->catch_up_to);
    return on_its_way;
}

/* From what this turn took. */
static void estimate(struct key *key, int64_t steps, int64_t took_ms)
{
    int64_t left_s = (key->catch_up_to - key_floor(key)) * took_ms / steps / 1000 + 1;
    key->catch_up_left_s = left_s < RETRY_S_MAX ? left_s : RETRY_S_MAX;
}

enum rc catch_up_to(const struct allocator *alloc, int64_t window, int64_t steps, struct err *err)
{
    struct key *key = alloc->key;
    int64_t from = key_floor(key);
    int64_t begin = raw_ms(alloc);
    if (window > key->catch_up_to)
        key->catch_up_to = window;
    enum rc rc = allocate_skip_some(alloc, window, steps > 0 ? steps : CATCH_UP_STEPS, err);
    if (rc != RC_OK)
        return rc;
    int64_t floor = key_floor(key);
    /* In other orders of versions older windows may still sign. */
    bool only_forward = key->plan.kind != PLAN_VERSION || key->plan.order == PLAN_STRICT;
    if (floor > 0 && only_forward)
        rc = key_destroy_below(key, (uint64_t)floor, err);
    if (rc != RC_OK || floor == window - 1)
        return rc;
    char text[CATCH_UP_TEXT];
    (void)catching_up(key, text);
    estimate(key, floor - from, raw_ms(alloc) - begin);
    log_event(LOG_LEVEL_NOTICE, &(struct log_fields){.key = key->record.name, .index = -1},
              "does not sign yet: %s", text);
    return FAIL(err, RC_RETRY_STARTING, "", 0, "%s, about %" PRId64 " s to go", text,
                key->catch_up_left_s);
}

enum rc catch_up_turn(const struct allocator *alloc, int64_t steps, struct err *err)
{
    char text[CATCH_UP_TEXT];
    struct err why = {0};
    if (alloc->key->rc != RC_OK || !catching_up(alloc->key, text))
        return RC_OK;
    enum rc rc = catch_up_to(alloc, alloc->key->catch_up_to, steps, &why);
    if (rc == RC_OK || rc == RC_RETRY_STARTING)
        return RC_OK;
    return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}
