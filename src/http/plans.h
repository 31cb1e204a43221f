/*
 * plans: what answers say about a key's plan, kept so that the core is asked once for each key.
 *
 * Plans never change, so an entry is right for ever; it is found by the key's name or, where a
 * reply names one, by name and plan hash. Uses: base, policy. Any thread (a lock inside).
 */
#ifndef HTTP_PLANS_H
#define HTTP_PLANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "policy/plan.h"

/** The part of a plan that answers show. Plain value. */
struct plan_facts {
    char key[NAME_LEN_MAX + 1];
    uint8_t sha256[SHA256_LEN];
    enum plan_kind kind;
    enum plan_scheme scheme;
    enum plan_profile profile;
    enum plan_message message;
    uint32_t parameter_count;
    char parameters[2 * PLAN_LEVELS_MAX][PLAN_PARAM_NAME_MAX + 1];
    uint64_t window_count, window_size, window_usable;
    int64_t window_s; /* time plans; else 0 */
};

struct plans; /* opaque */

/** @retval RC_RETRY_SYSTEM  No memory. */
enum rc plans_open(struct plans **plans, struct err *err) MUST_CHECK;
void plans_close(struct plans **plans);

/**
 * Look a key's plan up.
 * @param[in] sha256  SHA256_LEN bytes that it must have, or NULL for any.
 * @retval false  Not known: ask the core, and plans_put() the answer. *facts is all zero.
 */
bool plans_get(struct plans *plans, const char *key, const uint8_t *sha256,
               struct plan_facts *facts) MUST_CHECK;

/**
 * Read a plan that came from the core, and keep it.
 * @param[in]  key    Whose it was said to be.
 * @param[out] facts  All zero unless RC_OK.
 * @retval RC_REFUSED_PLAN  Not a plan, or one of another key.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc plans_put(struct plans *plans, const char *key, const char *text, size_t len,
                  struct plan_facts *facts, struct err *err) MUST_CHECK;

#endif
