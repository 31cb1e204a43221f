#include "http/plans.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define PLANS_KEPT 64 /* keys of one service; with more the oldest entry makes room */

struct plans {
    pthread_mutex_t lock;
    struct plan_facts kept[PLANS_KEPT];
    size_t next;
};

enum rc plans_open(struct plans **plans, struct err *err)
{
    *plans = calloc(1, sizeof(**plans));
    if (*plans == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for plans");
    MUST(pthread_mutex_init(&(*plans)->lock, NULL) == 0);
    return RC_OK;
}

void plans_close(struct plans **plans)
{
    if (*plans == NULL)
        return;
    MUST(pthread_mutex_destroy(&(*plans)->lock) == 0);
    free(*plans);
    *plans = NULL;
}

/* Under the lock. */
static struct plan_facts *find(struct plans *plans, const char *key, const uint8_t *sha256)
{
    for (size_t i = 0; i < PLANS_KEPT; i++) {
        struct plan_facts *f = &plans->kept[i];
        if (f->key[0] != '\0' && strcmp(f->key, key) == 0 &&
            (sha256 == NULL || ct_equal(f->sha256, sha256, SHA256_LEN)))
            return f;
    }
    return NULL;
}

bool plans_get(struct plans *plans, const char *key, const uint8_t *sha256,
               struct plan_facts *facts)
{
    *facts = (struct plan_facts){0};
    MUST(pthread_mutex_lock(&plans->lock) == 0);
    const struct plan_facts *found = find(plans, key, sha256);
    if (found != NULL)
        *facts = *found;
    MUST(pthread_mutex_unlock(&plans->lock) == 0);
    return found != NULL;
}

static void extract(struct plan_facts *facts, const struct plan *plan)
{
    memcpy(facts->key, plan->key, sizeof(facts->key));
    memcpy(facts->sha256, plan->sha256, SHA256_LEN);
    facts->kind = plan->kind;
    facts->scheme = plan->scheme;
    facts->profile = plan->profile;
    facts->message = plan->message;
    facts->parameter_count = plan->parameter_count;
    memcpy(facts->parameters, plan->parameters, sizeof(facts->parameters));
    facts->window_count = plan->window_count;
    facts->window_size = plan->window_size;
    facts->window_usable = plan->window_usable;
    facts->window_s = plan->kind == PLAN_TIME ? plan->window_s : 0;
}

enum rc plans_put(struct plans *plans, const char *key, const char *text, size_t len,
                  struct plan_facts *facts, struct err *err)
{
    *facts = (struct plan_facts){0};
    struct plan plan CLEANUP(plan_free) = {0};
    enum rc rc = plan_parse(&plan, text, len, NULL, err);
    if (rc != RC_OK)
        return rc;
    if (strcmp(plan.key, key) != 0)
        return FAIL(err, RC_REFUSED_PLAN, "", 0, "the plan of '%s' names another key", key);
    extract(facts, &plan);

    MUST(pthread_mutex_lock(&plans->lock) == 0);
    struct plan_facts *place = find(plans, key, NULL);
    if (place == NULL) {
        place = &plans->kept[plans->next];
        plans->next = (plans->next + 1) % PLANS_KEPT;
    }
    *place = *facts;
    MUST(pthread_mutex_unlock(&plans->lock) == 0);
    return RC_OK;
}
