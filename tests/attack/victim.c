#include "attack/victim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/secmem.h"
#include "signer/window_lock.h"

_Noreturn void give_up(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "attack-tpm: %s%s%s\n", what, err != NULL ? ": " : "",
                  err != NULL ? err_text(err) : "");
    exit(2);
}

static void must(enum rc rc, const char *what, const struct err *err)
{
    if (rc != RC_OK)
        give_up(what, err);
}

/* Making --------------------------------------------------------------------------------------- */

/* As the signer itself locks a window, and with less for the controls. */
static struct tpm_lock lock_of(const struct victim_key *k, enum strength strength, int64_t window)
{
    static const struct plan plan = {.kind = PLAN_INTERVAL};
    static const struct tpm_pcrs no_pcrs;
    struct tpm_lock lock;
    if (strength == ESCROW || strength == ESCROW_NO_UPPER)
        window_lock_escrow(&lock, &plan, &k->pins, (uint64_t)window);
    else
        window_lock(&lock, &plan, &k->pins, &no_pcrs, (uint64_t)window);
    if (strength == NO_UPPER || strength == NO_BOUNDS || strength == ESCROW_NO_UPPER)
        lock.bound_high = false;
    if (strength == NO_LOWER || strength == NO_BOUNDS)
        lock.bound_low = false;
    lock.low = lock.bound_low ? lock.low : 0;
    lock.high = lock.bound_high ? lock.high : 0;
    return lock;
}

static void seal_one(struct victim *v, unsigned key, enum strength strength, int64_t window)
{
    struct err err = {0};
    struct victim_key *k = &v->key[key];
    struct target *t = &k->target[strength][window];
    struct tpm_lock lock = lock_of(k, strength, window);
    *t = (struct target){.key = key,
                         .strength = strength,
                         .window = window,
                         .low = (uint64_t)(k->pins.w_base + window - 1),
                         .high = (uint64_t)(k->pins.w_base + window)};
    random_bytes(t->plain, sizeof(t->plain));
    must(tpm_seal(v->tpm, k->seed_auth, strength == AUTH_ALONE ? NULL : &lock, t->plain,
                  sizeof(t->plain), t->bytes, &t->len, &err),
         "sealing", &err);
}

static void make_key(struct victim *v, unsigned key, const struct victim *twin)
{
    struct err err = {0};
    struct victim_key *k = &v->key[key];
    if (twin != NULL)
        memcpy(k->auth_secret, twin->key[key].auth_secret, sizeof(k->auth_secret));
    else
        random_bytes(k->auth_secret, sizeof(k->auth_secret));
    hmac_sha256(k->seed_auth, k->auth_secret, sizeof(k->auth_secret), "seed", 4);
    must(anchor_choose(v->tpm, &k->pins, &err), "choosing handles", &err);
    must(anchor_provision(v->tpm, k->auth_secret, -1, &k->pins, &err), "provisioning", &err);
    must(anchor_open(&v->anchor[key], v->tpm, &k->pins, k->auth_secret, &err), "anchor", &err);
    for (int strength = 0; strength < STRENGTHS; strength++)
        for (int64_t w = 0; w < VICTIM_WINDOWS; w++)
            seal_one(v, key, (enum strength)strength, w);
}

static void disconnect(struct victim *v)
{
    for (unsigned i = 0; i < VICTIM_KEYS; i++)
        anchor_close(&v->anchor[i]);
    tpm_close(&v->tpm);
}

static void connect_tpm(struct victim *v, const char *tcti, bool create)
{
    struct err err = {0};
    struct tpm_config c = {.tcti = tcti != NULL ? tcti : v->swtpm.tcti};
    must(tpm_open(&v->tpm, &c, create, &err), "opening the TPM", &err);
}

void victim_reconnect(struct victim *v, const char *tcti)
{
    struct err err = {0};
    disconnect(v);
    connect_tpm(v, tcti, false);
    for (unsigned i = 0; i < VICTIM_KEYS; i++)
        must(anchor_open(&v->anchor[i], v->tpm, &v->key[i].pins, v->key[i].auth_secret, &err),
             "opening the anchor", &err);
}

/* The state of the TPM as it stands on disk when it is stopped: for the test, not for the attacker,
 * who would need nothing else (docs/threat-model.md). */
static void save(struct victim *v)
{
    char *dir = v->saved[v->open];
    const char *tmp = getenv("TMPDIR");
    disconnect(v);
    swtpm_stop(&v->swtpm);
    (void)snprintf(dir, sizeof(v->saved[0]), "%.40s/tms.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL || !swtpm_copy_state(dir, v->swtpm.dir) || !swtpm_start(&v->swtpm))
        give_up("cannot save the TPM", NULL);
    victim_reconnect(v, NULL);
}

void victim_make(struct victim *v, const struct victim *twin)
{
    *v = (struct victim){.honest = v->honest};
    if (!swtpm_make(&v->swtpm))
        give_up("no software TPM", NULL);
    connect_tpm(v, NULL, true);
    for (unsigned i = 0; i < VICTIM_KEYS; i++)
        make_key(v, i, twin);
    v->open = -1;
    victim_step(v);
    save(v);
}

void victim_end(struct victim *v)
{
    disconnect(v);
    swtpm_kill(&v->swtpm);
    for (int i = 0; i < VICTIM_WINDOWS; i++) {
        struct swtpm leftover = {0};
        if (v->saved[i][0] == '\0')
            continue;
        memcpy(leftover.dir, v->saved[i], sizeof(leftover.dir));
        swtpm_remove(&leftover);
        v->saved[i][0] = '\0';
    }
    swtpm_remove(&v->swtpm);
}

/* Living --------------------------------------------------------------------------------------- */

void victim_step(struct victim *v)
{
    struct err err = {0};
    v->open++;
    for (unsigned i = 0; i < VICTIM_KEYS; i++)
        must(anchor_step_w(v->anchor[i], (uint64_t)(v->key[i].pins.w_base + v->open), &err),
             "step of W", &err);
    victim_honest(v);
}

void victim_restore(struct victim *v, int64_t window)
{
    /* What was never reached is reached from the last that was. */
    int64_t from = window;
    while (v->saved[from][0] == '\0')
        from--;
    disconnect(v);
    swtpm_kill(&v->swtpm);
    if (!swtpm_copy_state(v->swtpm.dir, v->saved[from]) || !swtpm_start(&v->swtpm))
        give_up("cannot put the TPM back", NULL);
    v->open = from;
    victim_reconnect(v, NULL);
    victim_honest(v);
    while (v->open < window) {
        victim_step(v);
        save(v);
    }
}

bool victim_unseal(struct victim *v, const struct target *t)
{
    struct err err = {0};
    uint8_t got[PLAIN_LEN];
    const struct victim_key *k = &v->key[t->key];
    return tpm_unseal(v->tpm, v->anchor[t->key], k->seed_auth, t->bytes, t->len, got, sizeof(got),
                      &err) == RC_OK &&
           ct_equal(got, t->plain, sizeof(got));
}

void victim_honest(struct victim *v)
{
    for (unsigned i = 0; i < VICTIM_KEYS; i++) {
        if (!victim_unseal(v, &v->key[i].target[FULL][v->open]))
            give_up("the service cannot open its own window", NULL);
        v->honest++;
    }
}
