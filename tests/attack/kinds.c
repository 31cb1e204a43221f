#include "attack/kinds.h"

#include <stdlib.h>
#include <string.h>

#include "attack/replay.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/lease.h"
#include "tpm/internal.h" /* sealed_parse() */

#define COUNTER ((TPMA_NV)TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT)
#define BITS ((TPMA_NV)TPM2_NT_BITS << TPMA_NV_TPM2_NT_SHIFT)
#define EXTEND ((TPMA_NV)TPM2_NT_EXTEND << TPMA_NV_TPM2_NT_SHIFT)
#define OWN_INDEX UINT32_C(0x01900000)

uint64_t attack_draw(struct attack *a, uint64_t below)
{
    a->random ^= a->random << 13;
    a->random ^= a->random >> 7;
    a->random ^= a->random << 17;
    return a->random % below;
}

const struct target *attack_pick(struct attack *a, bool past_only)
{
    for (;;) {
        struct victim_key *k = &a->v->key[attack_draw(a, VICTIM_KEYS)];
        int64_t w = (int64_t)attack_draw(a, VICTIM_WINDOWS);
        /* An escrow that the TPM keeps is no secret of windows to come (docs/threat-model.md). */
        if (w < a->v->open)
            return &k->target[attack_draw(a, 3) == 0 ? ESCROW : FULL][w];
        if (!past_only && w > a->v->open + 1)
            return &k->target[FULL][w];
    }
}

/* Parts of attempts ---------------------------------------------------------------------------- */

static struct sealed parse(const struct target *t)
{
    struct sealed s;
    if (!sealed_parse(&s, t->bytes, t->len))
        give_up("a blob of ours is not well-formed", NULL);
    return s;
}

static void auth_of(const struct victim_key *k, char object, uint8_t auth[32])
{
    hmac_sha256(auth, k->auth_secret, sizeof(k->auth_secret), &object, 1);
}

/* The same window sealed less well: what controls try. */
static const struct target *weaker(const struct attack *a, enum strength strength)
{
    return &a->k->target[strength][a->t->window];
}

/* The open window of the key. */
static const struct target *current(const struct attack *a)
{
    return &a->k->target[a->t->strength][a->v->open];
}

static bool compare(struct attack *a, ESYS_TR session, uint64_t operand, TPM2_EO operation)
{
    uint8_t auth[32];
    auth_of(a->k, 'W', auth);
    return means_compare(&a->m, session, a->k->pins.w_handle, auth, operand, 0, 8, operation);
}

/* All that the blob's own lock asks for, in its order; steps that the TPM refuses are passed over.
 */
static void satisfy(struct attack *a, ESYS_TR session, const struct tpm_lock *lock)
{
    if (lock->kind == TPM_LOCK_OWNER)
        (void)means_owner(&a->m, session);
    if (lock->bound_low)
        (void)compare(a, session, lock->low, TPM2_EO_UNSIGNED_GE);
    if (lock->bound_high)
        (void)compare(a, session, lock->high, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
}

static bool unseal(struct attack *a, ESYS_TR session, const struct sealed *s)
{
    return means_unseal(&a->m, session, &s->pub, &s->priv, a->k->seed_auth);
}

static bool open_properly(struct attack *a, const struct target *t)
{
    struct sealed s = parse(t);
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &s.lock);
    return unseal(a, session, &s);
}

/* Policies made otherwise: the steps, and a control that seals a blob to exactly these steps -----
 */

typedef void (*recipe)(struct attack *a, ESYS_TR session);

/* A policy session in which an escrow's owner has spoken already, and then these steps. */
static ESYS_TR cooked_session(struct attack *a, recipe steps)
{
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    if (a->t->strength == ESCROW)
        (void)means_owner(&a->m, session);
    steps(a, session);
    return session;
}

static bool cook(struct attack *a, recipe steps)
{
    struct sealed s = parse(a->t);
    return unseal(a, cooked_session(a, steps), &s);
}

/* Without the digest in the blob these steps are all that it takes. */
static bool cook_control(struct attack *a, recipe steps)
{
    static const uint8_t plain[PLAIN_LEN] = "sealed to the attacker's own policy";
    struct sealed s = {0};
    TPM2B_DIGEST digest;
    uint64_t before = a->random;
    ESYS_TR session = cooked_session(a, steps);
    if (!means_digest(&a->m, session, &digest) ||
        !means_seal(&a->m, &digest, a->k->seed_auth, plain, sizeof(plain), &s.pub, &s.priv))
        return false;
    a->random = before; /* the same draws again */
    return unseal(a, cooked_session(a, steps), &s);
}

static uint64_t w_now(const struct attack *a)
{
    return (uint64_t)(a->k->pins.w_base + a->v->open);
}

static void true_comparisons(struct attack *a, ESYS_TR session)
{
    static const TPM2_EO ops[] = {TPM2_EO_UNSIGNED_GE, TPM2_EO_UNSIGNED_LE, TPM2_EO_EQ};
    (void)compare(a, session, w_now(a), ops[attack_draw(a, 3)]);
    (void)compare(a, session, w_now(a), ops[attack_draw(a, 3)]);
    (void)means_auth_value(&a->m, session);
}

/* The blob's own numbers, and comparisons that happen to hold for them. */
static void other_operators(struct attack *a, ESYS_TR session)
{
    bool over = a->t->high < w_now(a);
    (void)compare(a, session, a->t->low, over ? TPM2_EO_UNSIGNED_GE : TPM2_EO_UNSIGNED_LE);
    (void)compare(a, session, a->t->high, over ? TPM2_EO_UNSIGNED_GT : TPM2_EO_UNSIGNED_LT);
    (void)means_auth_value(&a->m, session);
}

/* The highest bytes of all values are the same. */
static void parts_of_the_counter(struct attack *a, ESYS_TR session)
{
    uint8_t auth[32];
    auth_of(a->k, 'W', auth);
    uint16_t size = (uint16_t)(1 + attack_draw(a, 4));
    (void)means_compare(&a->m, session, a->k->pins.w_handle, auth, 0, 0, size, TPM2_EO_UNSIGNED_GE);
    (void)means_compare(&a->m, session, a->k->pins.w_handle, auth, 0, 0, size, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
}

static void one_of_two(struct attack *a, ESYS_TR session)
{
    struct sealed s = parse(a->t);
    (void)means_auth_value(&a->m, session);
    (void)means_or(&a->m, session, s.pub.publicArea.authPolicy.buffer);
}

static void as_owner(struct attack *a, ESYS_TR session)
{
    (void)means_owner(&a->m, session);
    (void)means_auth_value(&a->m, session);
}

static void only_the_bound_that_holds(struct attack *a, ESYS_TR session)
{
    if (a->t->high < w_now(a))
        (void)compare(a, session, a->t->low, TPM2_EO_UNSIGNED_GE);
    else
        (void)compare(a, session, a->t->high, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
}

static void no_bound(struct attack *a, ESYS_TR session)
{
    (void)means_auth_value(&a->m, session);
}

/* An index of the attacker's own that says whatever he wants: L, another key's W, or a new one. */
static void another_index(struct attack *a, ESYS_TR session)
{
    struct victim_key *other = &a->v->key[(a->t->key + 1) % VICTIM_KEYS];
    uint8_t auth[32] = {1, 2, 3, 4};
    uint32_t index = OWN_INDEX;
    uint64_t which = attack_draw(a, 4);
    if (which == 0) {
        index = a->k->pins.l_handle;
        auth_of(a->k, 'L', auth);
    } else if (which == 1) {
        index = other->pins.w_handle;
        auth_of(other, 'W', auth);
    } else {
        (void)means_undefine(&a->m, index);
        (void)means_define(&a->m, index, which == 2 ? 0 : TPMA_NV_ORDERLY, 8, auth);
        (void)means_write(&a->m, index, auth, a->t->low);
    }
    (void)means_compare(&a->m, session, index, auth, a->t->low, 0, 8, TPM2_EO_UNSIGNED_GE);
    (void)means_compare(&a->m, session, index, auth, a->t->high, 0, 8, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
}

/* W undefined, and something else defined where it was. */
static void redefined_index(struct attack *a, ESYS_TR session)
{
    static const TPMA_NV sorts[] = {0,
                                    TPMA_NV_WRITEALL,
                                    TPMA_NV_ORDERLY,
                                    BITS,
                                    EXTEND,
                                    COUNTER | TPMA_NV_ORDERLY,
                                    COUNTER | TPMA_NV_OWNERREAD};
    uint8_t auth[32];
    uint32_t index = a->k->pins.w_handle;
    size_t i = attack_draw(a, sizeof(sorts) / sizeof(sorts[0]));
    auth_of(a->k, 'W', auth);
    (void)means_undefine(&a->m, index);
    (void)means_define(&a->m, index, sorts[i], sorts[i] == EXTEND ? 32 : 8, auth);
    (void)means_write(&a->m, index, auth, a->t->low);
    (void)means_set_bits(&a->m, index, auth, a->t->low);
    (void)means_extend(&a->m, index, auth, a->t->low);
    (void)means_increment(&a->m, index, auth);
    (void)compare(a, session, a->t->low, TPM2_EO_UNSIGNED_GE);
    (void)compare(a, session, a->t->high, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
}

#define COOKED(steps)                                                                              \
    static bool try_##steps(struct attack *a)                                                      \
    {                                                                                              \
        return cook(a, steps);                                                                     \
    }                                                                                              \
    static bool control_##steps(struct attack *a)                                                  \
    {                                                                                              \
        return cook_control(a, steps);                                                             \
    }
COOKED(true_comparisons)
COOKED(other_operators)
COOKED(parts_of_the_counter)
COOKED(one_of_two)
COOKED(as_owner)
COOKED(only_the_bound_that_holds)
COOKED(no_bound)
COOKED(another_index)

static bool try_redefined_index(struct attack *a)
{
    return cook(a, redefined_index);
}

/* Sealed to an ordinary index at W's handle, which can be made again with any value. */
static bool control_redefined_index(struct attack *a)
{
    static const uint8_t plain[PLAIN_LEN] = "sealed to an index that can be written";
    struct sealed s = {0};
    TPM2B_DIGEST digest;
    uint8_t auth[32];
    auth_of(a->k, 'W', auth);
    for (int round = 0; round < 2; round++) {
        ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
        (void)means_undefine(&a->m, a->k->pins.w_handle);
        (void)means_define(&a->m, a->k->pins.w_handle, 0, 8, auth);
        (void)means_write(&a->m, a->k->pins.w_handle, auth, a->t->low);
        (void)compare(a, session, a->t->low, TPM2_EO_UNSIGNED_GE);
        (void)compare(a, session, a->t->high, TPM2_EO_UNSIGNED_LE);
        (void)means_auth_value(&a->m, session);
        if (round == 1)
            return unseal(a, session, &s);
        if (!means_digest(&a->m, session, &digest) ||
            !means_seal(&a->m, &digest, a->k->seed_auth, plain, sizeof(plain), &s.pub, &s.priv))
            return false;
    }
    return false;
}

/* Old and later blobs -------------------------------------------------------------------------- */

static bool try_blob(struct attack *a)
{
    return open_properly(a, a->t);
}

static bool control_blob(struct attack *a)
{
    return open_properly(a, weaker(a, a->t->window < a->v->open ? NO_UPPER : NO_LOWER));
}

/* Who knows the owner authorisation, on the escrow of a window that is over. */
static bool try_escrow(struct attack *a)
{
    return open_properly(a, weaker(a, a->control ? ESCROW_NO_UPPER : ESCROW));
}

/* The disk is put back and the service asked to open it. */
static bool try_restored_disk(struct attack *a)
{
    return victim_unseal(a->v, a->t);
}

static bool control_restored_disk(struct attack *a)
{
    return victim_unseal(a->v, weaker(a, a->t->window < a->v->open ? NO_UPPER : NO_LOWER));
}

/* Another key's counter is asked, with that one's numbers and this blob. */
static bool try_blob_of_another_key(struct attack *a)
{
    struct sealed s = parse(a->t);
    struct victim_key *mine = a->k;
    struct sealed open = parse(&a->v->key[(a->t->key + 1) % VICTIM_KEYS].target[FULL][a->v->open]);
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    a->k = &a->v->key[(a->t->key + 1) % VICTIM_KEYS];
    satisfy(a, session, attack_draw(a, 2) == 0 ? &open.lock : &s.lock);
    a->k = mine;
    return unseal(a, session, &s);
}

static bool control_current(struct attack *a)
{
    return open_properly(a, current(a));
}

/* Sessions ------------------------------------------------------------------------------------- */

/* Satisfied for the open window, used on another one. */
static bool try_session_of_open_window(struct attack *a)
{
    struct sealed open = parse(current(a));
    struct sealed s = parse(a->control ? current(a) : a->t);
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &open.lock);
    return unseal(a, session, &s);
}

static bool without_flush(struct attack *a)
{
    uint8_t auth[32];
    auth_of(a->k, 'W', auth);
    return means_increment(&a->m, a->k->pins.w_handle, auth);
}

/* The service's step, or in a control one that somebody else makes: a session that was satisfied
 * before it lives on then, and opens its window afterwards (docs/threat-model.md). */
static void step(struct attack *a)
{
    if (a->control)
        (void)without_flush(a);
    else
        victim_step(a->v);
}

static bool try_held_session(struct attack *a)
{
    struct sealed s = parse(current(a));
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &s.lock);
    step(a);
    return unseal(a, session, &s);
}

static bool saved_session(struct attack *a, bool reset)
{
    struct sealed s = parse(current(a));
    TPMS_CONTEXT *saved = NULL;
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &s.lock);
    if (Esys_ContextSave(a->m.esys, session, &saved) != 0)
        give_up("a session cannot be saved", NULL);
    means_forget(&a->m, session);
    if (reset)
        (void)without_flush(a);
    else
        step(a);
    if (reset && !a->control && !swtpm_reset(&a->v->swtpm))
        give_up("the TPM cannot be reset", NULL);
    session = ESYS_TR_NONE;
    bool opened = Esys_ContextLoad(a->m.esys, saved, &session) == 0 && unseal(a, session, &s);
    Esys_Free(saved);
    if (session != ESYS_TR_NONE)
        (void)Esys_FlushContext(a->m.esys, session);
    return opened;
}

static bool try_saved_session(struct attack *a)
{
    return saved_session(a, false);
}

static bool try_saved_over_reset(struct attack *a)
{
    return saved_session(a, true);
}

/* Half of the policy while the window is open, the rest behind it. The order is what counts: with
 * the upper bound first, the lower one would still hold for ever. */
static bool try_half_session(struct attack *a)
{
    struct sealed s = parse(current(a));
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    if (s.lock.kind == TPM_LOCK_OWNER)
        (void)means_owner(&a->m, session);
    else
        (void)compare(a, session, s.lock.low, TPM2_EO_UNSIGNED_GE);
    (void)without_flush(a);
    (void)compare(a, session, s.lock.high, TPM2_EO_UNSIGNED_LE);
    (void)means_auth_value(&a->m, session);
    return unseal(a, session, &s);
}

static void upper_bound_first(struct attack *a, ESYS_TR session, bool between)
{
    struct sealed s = parse(current(a));
    (void)compare(a, session, a->t->strength == ESCROW ? w_now(a) : s.lock.high,
                  TPM2_EO_UNSIGNED_LE);
    if (between)
        (void)without_flush(a);
    (void)compare(a, session, w_now(a) - 1, TPM2_EO_UNSIGNED_GE);
    (void)means_auth_value(&a->m, session);
}

static bool control_half_session(struct attack *a)
{
    static const uint8_t plain[PLAIN_LEN] = "sealed with the upper bound first";
    struct sealed s = {0};
    TPM2B_DIGEST digest;
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    upper_bound_first(a, session, false);
    if (!means_digest(&a->m, session, &digest) ||
        !means_seal(&a->m, &digest, a->k->seed_auth, plain, sizeof(plain), &s.pub, &s.priv))
        return false;
    session = means_session(&a->m, TPM2_SE_POLICY);
    upper_bound_first(a, session, true);
    return unseal(a, session, &s);
}

/* A trial session takes every comparison for true. */
static bool try_trial_session(struct attack *a)
{
    struct sealed s = parse(a->control ? current(a) : a->t);
    ESYS_TR session = means_session(&a->m, a->control ? TPM2_SE_POLICY : TPM2_SE_TRIAL);
    satisfy(a, session, &s.lock);
    return unseal(a, session, &s);
}

static bool try_value_alone(struct attack *a)
{
    struct sealed s = parse(a->control ? weaker(a, AUTH_ALONE) : a->t);
    if (attack_draw(a, 2) == 0)
        return unseal(a, ESYS_TR_PASSWORD, &s);
    return unseal(a, means_session(&a->m, TPM2_SE_HMAC), &s);
}

/* Blobs that are changed ----------------------------------------------------------------------- */

static bool try_edited_public(struct attack *a)
{
    struct sealed s = parse(a->t);
    struct sealed open = parse(weaker(a, NO_BOUNDS));
    TPMT_PUBLIC *p = &s.pub.publicArea;
    ESYS_TR session = ESYS_TR_PASSWORD;
    uint64_t how = attack_draw(a, 3);
    if (a->control) /* what the first two edits make of it, made so from the start */
        s = parse(weaker(a, how == 0 ? AUTH_ALONE : NO_BOUNDS));
    if (how == 0) {
        p->authPolicy = (TPM2B_DIGEST){0};
        p->objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
    } else {
        session = means_session(&a->m, TPM2_SE_POLICY);
        p->authPolicy = open.pub.publicArea.authPolicy;
        if (how == 2 && !a->control)
            p->unique = open.pub.publicArea.unique;
        (void)means_auth_value(&a->m, session);
    }
    return unseal(a, session, &s);
}

static bool try_mixed_halves(struct attack *a)
{
    struct sealed s = parse(a->control ? current(a) : a->t);
    struct sealed open = parse(current(a));
    s.pub = open.pub;
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &open.lock);
    return unseal(a, session, &s);
}

/* Changing the value needs the value alone; the policy stays in the blob that comes out. */
static bool try_changed_auth(struct attack *a)
{
    static const uint8_t wanted[32] = {9, 8, 7};
    struct sealed s = parse(a->control ? weaker(a, AUTH_ALONE) : a->t);
    TPM2B_PRIVATE changed = {0};
    if (!means_change_auth(&a->m, &s.pub, &s.priv, a->k->seed_auth, wanted, &changed))
        return false;
    return means_unseal(&a->m, ESYS_TR_PASSWORD, &s.pub, &changed, wanted);
}

static bool try_damaged(struct attack *a)
{
    struct sealed s = parse(a->control ? current(a) : a->t);
    struct tpm_lock lock = s.lock;
    for (uint64_t n = a->control ? 0 : 1 + attack_draw(a, 3); n > 0; n--) {
        if (attack_draw(a, 2) == 0)
            s.priv.buffer[attack_draw(a, s.priv.size)] ^= (BYTE)(1 + attack_draw(a, 255));
        else
            s.pub.publicArea.authPolicy.buffer[attack_draw(a, 32)] ^=
                (BYTE)(1 + attack_draw(a, 255));
    }
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, &lock);
    return unseal(a, session, &s);
}

/* Counters and TPMs ---------------------------------------------------------------------------- */

/* W itself: everything that writes, but for the one command that moves it on. */
static bool try_counter_set_back(struct attack *a)
{
    uint8_t auth[32];
    uint32_t index = a->k->pins.w_handle;
    auth_of(a->k, 'W', auth);
    if (a->control) /* were it an ordinary index, this would do */
        return control_redefined_index(a);
    (void)means_write(&a->m, index, auth, a->t->low);
    (void)means_set_bits(&a->m, index, auth, a->t->low);
    (void)means_extend(&a->m, index, auth, a->t->low);
    (void)means_define(&a->m, index, COUNTER, 8, auth);
    return open_properly(a, a->t);
}

/* Undefined and made again, with the same Name and value; unread, or stepped up. */
static bool try_recreated_counter(struct attack *a)
{
    uint8_t auth[32];
    uint32_t index = a->k->pins.w_handle;
    uint64_t steps = attack_draw(a, 4);
    auth_of(a->k, 'W', auth);
    if (!means_undefine(&a->m, index) || !means_define(&a->m, index, COUNTER, 8, auth))
        give_up("the owner cannot replace a counter", NULL);
    for (uint64_t i = 0; i < steps + a->control; i++)
        (void)means_increment(&a->m, index, auth);
    return open_properly(a, a->control ? weaker(a, NO_UPPER) : a->t);
}

/* Another TPM with the same handles, Names and values, whose W stands right for the blob. */
static bool try_other_tpm(struct attack *a)
{
    struct victim *o = a->other;
    struct sealed s = parse(a->control ? &o->key[a->t->key].target[FULL][o->open] : a->t);
    struct means here = a->m;
    struct victim_key *mine = a->k;
    if (!means_open(&a->m, o->swtpm.tcti, TPM_SRK_DEFAULT))
        give_up("the other TPM", NULL);
    a->k = &o->key[a->t->key];
    struct sealed open = parse(&a->k->target[FULL][o->open]);
    ESYS_TR session = means_session(&a->m, TPM2_SE_POLICY);
    satisfy(a, session, attack_draw(a, 2) == 0 ? &open.lock : &s.lock);
    bool opened = unseal(a, session, &s);
    means_close(&a->m);
    a->m = here;
    a->k = mine;
    return opened;
}

/* The owner's objects go, and the storage key is made anew: after a Clear it is another one. */
static bool try_cleared_tpm(struct attack *a)
{
    struct err err = {0};
    struct tpm *tpm = NULL;
    struct tpm_config c = {.tcti = a->v->swtpm.tcti};
    uint8_t auth[32];
    auth_of(a->k, 'W', auth);
    if (!(a->control ? means_evict_srk(&a->m) : means_clear(&a->m)))
        give_up("the TPM cannot be cleared", NULL);
    means_close(&a->m);
    if (tpm_open(&tpm, &c, true, &err) != RC_OK)
        give_up("no storage key after a Clear", &err);
    tpm_close(&tpm);
    if (!means_open(&a->m, a->v->swtpm.tcti, TPM_SRK_DEFAULT))
        give_up("no connection after a Clear", NULL);
    if (!a->control)
        (void)means_define(&a->m, a->k->pins.w_handle, COUNTER, 8, auth);
    for (uint64_t i = attack_draw(a, 4); i > 0 && !a->control; i--)
        (void)means_increment(&a->m, a->k->pins.w_handle, auth);
    return open_properly(a, a->control ? current(a) : a->t);
}

/* The table ------------------------------------------------------------------------------------ */

const struct kind kinds[] = {
    {"blob of another time", try_blob, control_blob, false, false, "the bound"},
    {"escrow of a window that is over", try_escrow, try_escrow, true, false, "the bound"},
    {"restored disk", try_restored_disk, control_restored_disk, false, false, "the bound"},
    {"blob of another key", try_blob_of_another_key, control_current, false, false,
     "the other key's Name"},
    {"no bound asked", try_no_bound, control_no_bound, false, false, "the policy in the blob"},
    {"only the bound that holds", try_only_the_bound_that_holds, control_only_the_bound_that_holds,
     false, false, "the policy in the blob"},
    {"other comparisons", try_other_operators, control_other_operators, false, false,
     "the policy in the blob"},
    {"true comparisons", try_true_comparisons, control_true_comparisons, false, false,
     "the policy in the blob"},
    {"parts of the counter", try_parts_of_the_counter, control_parts_of_the_counter, false, false,
     "the policy in the blob"},
    {"PolicyOR", try_one_of_two, control_one_of_two, false, false, "the policy in the blob"},
    {"owner authorisation", try_as_owner, control_as_owner, false, false, "the policy in the blob"},
    {"another index", try_another_index, control_another_index, false, true,
     "the policy in the blob"},
    {"redefined index", try_redefined_index, control_redefined_index, false, true,
     "the counter in the Name"},
    {"counter set back", try_counter_set_back, try_counter_set_back, false, true,
     "the counter in the Name"},
    {"re-created counter", try_recreated_counter, try_recreated_counter, true, true,
     "the upper bound"},
    {"session of the open window", try_session_of_open_window, try_session_of_open_window, false,
     false, "the closed window"},
    {"held session", try_held_session, try_held_session, true, true,
     "the flush at the service's step"},
    {"saved session", try_saved_session, try_saved_session, true, true,
     "the flush at the service's step"},
    {"saved session over a reset", try_saved_over_reset, try_saved_over_reset, true, true,
     "the reset"},
    {"half a session", try_half_session, control_half_session, true, true,
     "the order of the bounds"},
    {"trial session", try_trial_session, try_trial_session, false, false, "the trial"},
    {"value alone", try_value_alone, try_value_alone, false, false, "the policy in the blob"},
    {"edited public part", try_edited_public, try_edited_public, false, false, "the edit"},
    {"mixed halves", try_mixed_halves, try_mixed_halves, false, false, "the mixing"},
    {"changed value", try_changed_auth, try_changed_auth, false, false, "the policy in the blob"},
    {"replayed bytes", replay_of_the_service, replay_of_a_password, true, true, "a session"},
    {"damaged blob", try_damaged, try_damaged, false, false, "the damage"},
    {"other TPM", try_other_tpm, try_other_tpm, false, false, "the other TPM"},
    {"cleared TPM", try_cleared_tpm, try_cleared_tpm, false, true, "the Clear"},
};
const size_t kinds_count = sizeof(kinds) / sizeof(kinds[0]);
