#include "sim/doors.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/log.h"
#include "hbs/branch.h"
#include "hbs/hash.h"
#include "sim/sim.h"

#define SIM_VALUE_LEN 24 /* plans of the simulator have sets of so many bytes */

static bool real_chains;
static doors_signing signing;
static doors_reserving reserving;

void doors_set_chains(bool real)
{
    real_chains = real;
}

void doors_set_signing(doors_signing told)
{
    signing = told;
}

void doors_set_reserving(doors_reserving told)
{
    reserving = told;
}

/* Randomness and passphrase -------------------------------------------------------------------- */

void __wrap_random_bytes(void *out, size_t len);
void __wrap_random_bytes(void *out, size_t len)
{
    chance_bytes(&sim->keys_chance, out, len);
}

enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err);
enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err)
{
    (void)cost;
    (void)err;
    hmac_sha256(key, salt, BOX_SALT_LEN, passphrase, passphrase_len);
    return RC_OK;
}

/* Chains --------------------------------------------------------------------------------------- */

/* What one step adds to a value: depends on key, leaf and chain, and is never zero. */
static uint64_t stride(const uint8_t id[LMS_I_LEN], uint32_t q, uint16_t i)
{
    struct chance c = {be_get64(id) ^ (be_get64(id + 8) >> 1) ^ ((uint64_t)q << 20) ^ i};
    return chance_next(&c) | 1;
}

/* Value := value + steps * stride in each of its 64-bit words: from 0 to a, then from a to b, is
 * from 0 to b, which is all that a Winternitz chain must do for an honest signer and verifier. */
static void cheap_chain(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *c)
{
    uint64_t by = stride(id, c->q, c->i) * (uint64_t)(c->to - c->from);
    for (uint8_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        memcpy(&word, c->in + at, sizeof(word));
        word += by;
        memcpy(c->out + at, &word, sizeof(word));
    }
}

void __real_hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                           const struct hbs_chain *chains, size_t count);
void __wrap_hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                           const struct hbs_chain *chains, size_t count);
void __wrap_hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                           const struct hbs_chain *chains, size_t count)
{
    if (real_chains) {
        __real_hbs_chains_run(hash, n, id, chains, count);
        return;
    }
    for (size_t c = 0; c < count; c++)
        cheap_chain(n, id, &chains[c]);
}

void __real_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count);
void __wrap_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count);
void __wrap_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct ots_lease *lease = jobs[i].lease;
        signing(lease->key_id, lease->index, lease->epoch, jobs[i].value, SIM_VALUE_LEN);
    }
    __real_hbs_branch_sign(branch, jobs, count);
}

enum rc __real_ledger_add_reservation(struct ledger *ledger, uint32_t key,
                                      struct ledger_reservation *reservation, struct err *err);
enum rc __wrap_ledger_add_reservation(struct ledger *ledger, uint32_t key,
                                      struct ledger_reservation *reservation, struct err *err);
enum rc __wrap_ledger_add_reservation(struct ledger *ledger, uint32_t key,
                                      struct ledger_reservation *reservation, struct err *err)
{
    enum rc rc = __real_ledger_add_reservation(ledger, key, reservation, err);
    if (rc == RC_OK)
        reserving(reservation);
    return rc;
}

/* The host ------------------------------------------------------------------------------------- */

void __wrap_log_event(enum log_level level, const struct log_fields *f, const char *format, ...)
    PRINTF_LIKE(3, 4);
void __wrap_log_event(enum log_level level, const struct log_fields *f, const char *format, ...)
{
    char text[300];
    EVENT(1, level);
    if (!sim->trace.telling || !sim->trace.fully)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    trace_detail(&sim->trace, "the signer logs: %s%s%s%s%s", f->key != NULL ? f->key : "",
                 f->key != NULL ? ": " : "", text, f->err != NULL ? ": " : "",
                 f->err != NULL ? err_text(f->err) : "");
}

pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
    return 1;
}

int __wrap_usleep(useconds_t us);
int __wrap_usleep(useconds_t us)
{
    sim->now_ns += (int64_t)us * 1000;
    return 0;
}

/* hbs_nodes_make() hands a tree of 32 leaves to one worker as one unit: it may as well run when it
 * is waited for. */
static void *(*thread)(void *);
static void *thread_argument;

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument)
{
    (void)attributes;
    MUST(thread == NULL);
    *id = 0;
    thread = start;
    thread_argument = argument;
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **result);
int __wrap_pthread_join(pthread_t id, void **result)
{
    (void)id;
    (void)result;
    void *(*start)(void *) = thread;
    thread = NULL;
    (void)start(thread_argument);
    return 0;
}
