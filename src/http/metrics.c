#include "http/metrics.h"

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/trouble.h"
#include "http/print.h"
#include "http/routes.h"
#include "policy/plan.h"

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The last one counts whatever is not in the list. */
static const unsigned statuses[METRICS_STATUSES - 1] = {200, 201, 304, 400, 401, 403, 404, 405, 406,
                                                        409, 410, 411, 413, 414, 415, 422, 428, 429,
                                                        431, 500, 501, 503, 505, 507, 508};

/* Counting ---------------------------------------------------------------------------------------
 */

static size_t status_at(unsigned status)
{
    size_t i = 0;
    while (i < METRICS_STATUSES - 1 && statuses[i] != status)
        i++;
    return i;
}

static size_t route_at(const struct route *route)
{
    for (size_t i = 0; i < METRICS_ROUTES_MAX && routes_at(i) != NULL; i++)
        if (routes_at(i) == route)
            return i;
    return METRICS_ROUTES_MAX;
}

void metrics_count(const struct exchange *x)
{
    struct metrics *m = &x->front->metrics;
    atomic_fetch_add(&m->answers[route_at(x->route)][status_at(x->answer.status)], 1);
    if (x->answer.problem == NULL)
        return;
    for (int id = 0; id < PROBLEM_COUNT; id++) {
        if (problem_get((enum problem_id)id) != x->answer.problem)
            continue;
        atomic_fetch_add(&m->problems[id], 1);
        if (x->signing)
            atomic_fetch_add(&m->refusals[id], 1);
    }
}

/* Printing ---------------------------------------------------------------------------------------
 */

/* One metric begins: everything of it follows, and it comes once. */
static void family(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP tidemark_%s %s\n# TYPE tidemark_%s %s\n", name, help, name, type);
}

static void gauge(FILE *f, const char *name, const char *help, double value)
{
    family(f, name, "gauge", help);
    (void)fprintf(f, "tidemark_%s %.15g\n", name, value);
}

static void counter(FILE *f, const char *name, const char *help, uint64_t value)
{
    family(f, name, "counter", help);
    (void)fprintf(f, "tidemark_%s %" PRIu64 "\n", name, value);
}

/* @param[in] unit  What one of the counted is, in the unit of the name. */
static void histogram(FILE *f, const char *name, const char *help, const struct histogram *h,
                      const uint64_t bounds[HISTOGRAM_BOUNDS], double unit)
{
    uint64_t count = 0;
    family(f, name, "histogram", help);
    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        count += h->counts[i];
        (void)fprintf(f, "tidemark_%s_bucket{le=\"%.6g\"} %" PRIu64 "\n", name,
                      (double)bounds[i] * unit, count);
    }
    count += h->counts[HISTOGRAM_BOUNDS];
    (void)fprintf(f,
                  "tidemark_%s_bucket{le=\"+Inf\"} %" PRIu64 "\ntidemark_%s_sum %.15g\n"
                  "tidemark_%s_count %" PRIu64 "\n",
                  name, count, name, (double)h->sum * unit, name, count);
}

/* 1 for the one of the names that holds, 0 for the others. */
static void states(FILE *f, const char *name, const char *key, const char *const *names,
                   size_t count, const char *now)
{
    for (size_t i = 0; i < count; i++)
        (void)fprintf(f, "tidemark_%s{%s%s%sstate=\"%s\"} %d\n", name, key != NULL ? "key=\"" : "",
                      key != NULL ? key : "", key != NULL ? "\"," : "", names[i],
                      strcmp(names[i], now) == 0 ? 1 : 0);
}

/* The front --------------------------------------------------------------------------------------
 */

static void answers(FILE *f, struct metrics *m)
{
    family(f, "http_requests_total", "counter", "Requests that were answered.");
    for (size_t i = 0; i <= METRICS_ROUTES_MAX; i++) {
        const struct route *r = i < METRICS_ROUTES_MAX ? routes_at(i) : NULL;
        if (i < METRICS_ROUTES_MAX && r == NULL)
            continue;
        for (size_t k = 0; k < METRICS_STATUSES; k++) {
            uint64_t n = atomic_load(&m->answers[i][k]);
            if (n == 0)
                continue;
            (void)fprintf(f, "tidemark_http_requests_total{method=\"%s\",route=\"%s\",status=\"",
                          r != NULL ? r->method : "", r != NULL ? r->pattern : "");
            if (k < METRICS_STATUSES - 1)
                (void)fprintf(f, "%u", statuses[k]);
            else
                (void)fprintf(f, "other");
            (void)fprintf(f, "\"} %" PRIu64 "\n", n);
        }
    }
}

/* All of them, also those that never happened: an alert on one that is missing never fires. */
static void problems(FILE *f, const char *name, const char *label, const char *help,
                     atomic_uint_fast64_t counts[PROBLEM_COUNT])
{
    family(f, name, "counter", help);
    for (int id = 0; id < PROBLEM_COUNT; id++)
        (void)fprintf(f, "tidemark_%s{%s=\"%s\"} %" PRIu64 "\n", name, label,
                      problem_get((enum problem_id)id)->name, (uint64_t)atomic_load(&counts[id]));
}

static void print_front(FILE *f, struct front *front, bool core)
{
    struct metrics *m = &front->metrics;
    family(f, "build_info", "gauge", "Version of the program; always 1.");
    (void)fprintf(f, "tidemark_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    gauge(f, "core_up", "1 while there is a signing process.", core ? 1 : 0);
    answers(f, m);
    problems(f, "problems_total", "problem", "Answers that were problem documents, by type.",
             m->problems);
    problems(f, "refusals_total", "reason", "Signing requests without a signature, by problem.",
             m->refusals);
    counter(f, "clients_gone_total", "Clients that left before they had their answer.",
            atomic_load(&m->gone));
    gauge(f, "connections", "Open connections.", conns_count(front->conns));
    gauge(f, "connections_limit", "Connections that may be open.", front->config->connections_max);
    gauge(f, "requests_in_flight", "Requests between first header and last byte.",
          atomic_load(&front->active));
    gauge(f, "requests_limit", "Signing requests that may be in flight.",
          front->config->requests_max);
}

/* The core ---------------------------------------------------------------------------------------
 */

static uint64_t code_sum(const struct view_meters *m, enum rc rc)
{
    return m->codes[view_code_number(rc)];
}

static void print_clock_meters(FILE *f, const struct view_meters *m)
{
    static const char *const modes[] = {"unsynced",  "synced",         "holdover",
                                        "disrupted", "quarantine-fwd", "refused-back"};
    family(f, "clock_state", "gauge", "State of the clock that is signed by (docs/clock.md).");
    states(f, "clock_state", NULL, modes, sizeof(modes) / sizeof(modes[0]), m->clock_state);
    gauge(f, "clock_safe", "1 while windows may be signed in by the clock.", m->clock_safe);
    gauge(f, "clock_jump", "1 while a jump forward waits for an operator.", m->clock_jump);
    gauge(f, "clock_offset_seconds", "What the system clock is still off by, as chronyd says.",
          (double)m->clock_offset_us / 1e6);
    family(f, "clock_error_seconds", "gauge", "Half width of the interval that holds true time.");
    if (m->clock_error_us >= 0)
        (void)fprintf(f, "tidemark_clock_error_seconds %.15g\n", (double)m->clock_error_us / 1e6);
}

/* What there is without a signer, too. */
static void print_counters(FILE *f, const struct view_meters *m, const struct reply *reply)
{
    static const char *const words[] = {
#define X(id, word, text) word,
        TPM_TROUBLE_LIST(X)
#undef X
    };
    const char *names[STATE_EXHAUSTED + 1];
    for (uint32_t i = 0; i <= STATE_EXHAUSTED; i++)
        names[i] = service_state_name(i);
    family(f, "state", "gauge", "State of the service.");
    states(f, "state", NULL, names, STATE_EXHAUSTED + 1, service_state_name(m->state));
    family(f, "tpm_state", "gauge", "What is wrong with the TPM (docs/operations.md).");
    states(f, "tpm_state", NULL, words, sizeof(words) / sizeof(words[0]), reply->tpm_state);
    counter(f, "core_starts_total", "Signing processes since the service was started.",
            reply->generation);
    histogram(f, "commit_seconds",
              "Time of the batch of each new signature: placed, durable, signed and verified.",
              &m->commit, histogram_time_bounds_us, 1e-6);
    histogram(f, "batch_size", "Requests that shared one commit.", &m->batch, view_batch_bounds, 1);
    counter(f, "index_conflict_total", "Attempts to spend an index twice: must stay 0.",
            code_sum(m, RC_REFUSED_SPENT) + code_sum(m, RC_HALT_INVARIANT));
    counter(f, "state_regression_total", "State behind its anchor: must stay 0.",
            code_sum(m, RC_HALT_REGRESSION) + code_sum(m, RC_HALT_TPM_BEHIND));
    counter(f, "proof_failure_total", "Own signatures that did not verify: must stay 0.",
            code_sum(m, RC_BURNED_VERIFY));
}

static void print_service(FILE *f, const struct view_meters *m, const struct reply *reply)
{
    gauge(f, "log_size", "Entries of the ledger.", (double)m->entries);
    print_clock_meters(f, m);
    gauge(f, "tpm_virtual", "1 if the TPM is a program.", reply->tpm_virtual);
    gauge(f, "tpm_command_median_seconds", "Of the last 64 commands.", m->tpm_median_us / 1e6);
    gauge(f, "tpm_command_p90_seconds", "Of the last 64 commands.", m->tpm_p90_us / 1e6);
    gauge(f, "tpm_command_max_seconds", "Of the last 64 commands.", m->tpm_max_us / 1e6);
    histogram(f, "tpm_increment_seconds", "Time to count up a counter of the TPM.",
              &m->tpm_increment, histogram_time_bounds_us, 1e-6);
}

/* Keys -------------------------------------------------------------------------------------------
 */

struct meters {
    const struct view_meter *keys;
    size_t count;
};

/* One number of every key; left out where it is negative. */
#define EACH_KEY(f, all, metric, type, help, number)                                               \
    do {                                                                                           \
        family((f), metric, type, help);                                                           \
        for (size_t k = 0; k < (all)->count; k++) {                                                \
            const struct view_meter *m = &(all)->keys[k];                                          \
            double value = (double)(number);                                                       \
            if (value >= 0)                                                                        \
                (void)fprintf((f), "tidemark_%s{key=\"%s\"} %.15g\n", metric, m->key.name, value); \
        }                                                                                          \
    } while (0)

static void print_key_states(FILE *f, const struct meters *all)
{
    const char *names[STATE_EXHAUSTED + 1];
    for (uint32_t i = 0; i <= STATE_EXHAUSTED; i++)
        names[i] = service_state_name(i);
    family(f, "key_state", "gauge", "State of each key.");
    for (size_t k = 0; k < all->count; k++)
        states(f, "key_state", all->keys[k].key.name, names, STATE_EXHAUSTED + 1,
               service_state_name(all->keys[k].key.state));
}

static void signatures(FILE *f, const struct view_meter *m, const char *result, uint64_t count)
{
    (void)fprintf(f,
                  "tidemark_signatures_total{key=\"%s\",policy=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                  m->key.name, plan_kind_name((enum plan_kind)m->kind), result, count);
}

/* All of them, also those that never happened: an alert on one that is missing never fires. */
static void print_requests(FILE *f, const struct meters *all)
{
    family(f, "signatures_total", "counter",
           "Signing requests by what became of them: signed since the key was made, else since the "
           "signing process started.");
    for (size_t k = 0; k < all->count; k++) {
        signatures(f, &all->keys[k], "signed", all->keys[k].key.signed_total);
        for (uint32_t i = 0; i < VIEW_RESULTS; i++)
            signatures(f, &all->keys[k], result_name(i), all->keys[k].results[i]);
    }
    family(f, "leaves_burned_total", "counter",
           "Indices that are gone without a signature, since the key was made.");
    for (size_t k = 0; k < all->count; k++)
        for (unsigned i = 0; i < BURN_COUNT; i++)
            (void)fprintf(f, "tidemark_leaves_burned_total{key=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                          all->keys[k].key.name, burn_word(i), all->keys[k].key.burned_by[i]);
}

static void print_windows(FILE *f, const struct meters *all)
{
    EACH_KEY(f, all, "window_number", "gauge", "Window that signs now, or did last.", m->window);
    EACH_KEY(f, all, "window_capacity", "gauge", "Signatures that this window can hold.",
             m->window < 0 ? -1.0 : (double)m->capacity);
    EACH_KEY(f, all, "window_used", "gauge", "Signatures made in it.",
             m->window < 0 ? -1.0 : (double)m->used);
    EACH_KEY(f, all, "window_burned", "gauge",
             "Indices of it that were reserved and are gone without a signature.",
             m->window < 0 ? -1.0 : (double)m->burned);
    EACH_KEY(f, all, "window_remaining", "gauge", "Signatures that it may still make.",
             m->key.remaining_window);
    EACH_KEY(f, all, "window_limit", "gauge", "Configured limit of one window; 0: none.",
             m->window_max);
    EACH_KEY(f, all, "window_opens_timestamp_seconds", "gauge", "When it opens; time plans.",
             m->opens_s);
    EACH_KEY(f, all, "window_ends_timestamp_seconds", "gauge", "When it closes; time plans.",
             m->ends_s);
    EACH_KEY(f, all, "leaves_remaining", "gauge", "Signatures that the key may still make.",
             m->key.remaining_key);
    EACH_KEY(f, all, "epochs_total", "counter", "Leases or batches that this device took.",
             m->key.epoch);
    EACH_KEY(f, all, "export_window_limit", "gauge",
             "Highest window that may sign until an export is acknowledged.", m->key.export_limit);
    EACH_KEY(f, all, "window_prepared_until", "gauge",
             "Highest window that can sign without anybody preparing anything.", m->prepared_until);
    EACH_KEY(f, all, "exhaustion_timestamp_seconds", "gauge",
             "When the key is used up at the rate so far.", m->exhausted_s);
    EACH_KEY(f, all, "unacknowledged_warnings", "gauge",
             "Warnings that an operator has to acknowledge before the key signs on.",
             m->unacknowledged);
    EACH_KEY(f, all, "rate_limit_per_hour", "gauge", "Configured rate; 0: no limit.", m->per_hour);
    EACH_KEY(f, all, "rate_limit_burst", "gauge", "Configured burst; 0: no limit.", m->burst);
}

/* First second of a year, or -1. */
static double year_begins(int64_t year)
{
    char text[RFC3339_SIZE + 8];
    int64_t seconds = 0;
    if (year < 1970 || year > 9999)
        return -1;
    (void)snprintf(text, sizeof(text), "%04d-01-01T00:00:00Z", (int)year);
    return rfc3339_parse(&seconds, text) ? (double)seconds : -1;
}

static void print_wear(FILE *f, const struct meters *all)
{
    family(f, "tpm_nv_writes_total", "counter",
           "Writes to the NV indices of each key since it was made.");
    for (size_t k = 0; k < all->count; k++) {
        const struct view_wear *wear = &all->keys[k].key.wear;
        if (wear->known == 0)
            continue;
        const struct {
            const char *index;
            uint64_t writes;
        } list[] = {{"w", wear->w}, {"l", wear->l}, {"a", wear->a}};
        for (size_t i = 0; i < 3; i++)
            (void)fprintf(f, "tidemark_tpm_nv_writes_total{key=\"%s\",index=\"%s\"} %" PRIu64 "\n",
                          all->keys[k].key.name, list[i].index, list[i].writes);
    }
    EACH_KEY(f, all, "tpm_nv_wear_ratio", "gauge", "Of the endurance, of the index worn most.",
             m->key.wear.known == 0 ? -1.0 : m->key.wear.percent / 100.0);
    EACH_KEY(f, all, "tpm_nv_endurance", "gauge", "Writes that an NV index is trusted with.",
             m->key.wear.known == 0 ? -1.0 : (double)m->key.wear.endurance);
    EACH_KEY(f, all, "tpm_nv_writes_per_year", "gauge", "At the rate so far.",
             m->key.wear.known == 0 ? -1.0 : (double)m->key.wear.per_year);
    EACH_KEY(f, all, "tpm_nv_exhaustion_timestamp_seconds", "gauge",
             "Beginning of the year in which the endurance is used up, at the rate so far.",
             m->key.wear.known == 0 ? -1.0 : year_begins(m->key.wear.year));
}

/* The route --------------------------------------------------------------------------------------
 */

/* false: not what the core sends. */
static bool take_meters(struct meters *all, uint8_t *payload, size_t len)
{
    struct view_meters *m = (void *)payload;
    if (len < sizeof(*m))
        return false;
    size_t room = len - sizeof(*m);
    if (room % sizeof(struct view_meter) != 0)
        return false;
    meters_terminate(m);
    struct view_meter *keys = (void *)(payload + sizeof(struct view_meters));
    all->keys = keys;
    all->count = room / sizeof(struct view_meter);
    for (size_t i = 0; i < all->count; i++) {
        key_terminate(&keys[i].key);
        if (!name_valid(keys[i].key.name) || keys[i].kind > PLAN_INTERVAL)
            return false;
    }
    return true;
}

bool metrics_print_core(FILE *f, uint8_t *payload, size_t len, const struct reply *reply)
{
    struct meters all = {0};
    if (!take_meters(&all, payload, len))
        return false;
    const struct view_meters *m = (void *)payload;
    print_counters(f, m, reply);
    if (!m->open)
        return true;
    print_service(f, m, reply);
    print_key_states(f, &all);
    print_requests(f, &all);
    print_windows(f, &all);
    print_wear(f, &all);
    return true;
}

static void answer_metrics(struct exchange *x, bool core)
{
    char *text = NULL;
    size_t len = 0;
    bool readable = true;
    FILE *f = open_memstream(&text, &len);
    if (f != NULL) {
        print_front(f, x->front, core);
        if (core) /* what was malloc'ed is aligned for anything */
            readable = metrics_print_core(f, x->payload, x->payload_len, &x->job.reply);
    }
    /* Want of memory shows when it is closed, too. */
    bool failed = f == NULL || ferror(f) != 0;
    if (f != NULL && fclose(f) != 0)
        failed = true;
    if (failed || !readable) {
        free(text);
        exchange_problem(x, readable ? PROBLEM_BUSY : PROBLEM_INTERNAL,
                         readable ? "no memory for the answer"
                                  : "the core's answer cannot be read");
        return;
    }
    answer_bytes(&x->answer, 200, CONTENT_TYPE, text, len);
}

static void metrics_done(struct exchange *x)
{
    answer_metrics(x, true);
}

void metrics_start(struct exchange *x)
{
    bool ever = false;
    if (!core_link_up(x->front->link, &ever)) {
        answer_metrics(x, false);
        return;
    }
    exchange_request(x, REQUEST_METERS);
    exchange_ask(x, -1, metrics_done);
}
