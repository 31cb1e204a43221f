/*
 * Locks of sealed blobs against a real software TPM: when it opens one, and that it is the TPM that
 * refuses. Each test has a TPM of its own. Skipped (exit code 77) where swtpm is not installed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/secmem.h"
#include "lib/outsider.h"
#include "lib/swtpm.h"
#include "tpm/anchor.h"

#define SKIP 77
#define WINDOW 5 /* sealed in these tests; the key begins at 2 */

static const uint8_t auth_secret[ANCHOR_AUTH_LEN] = "an auth secret of 32 bytes ....";
static const uint8_t seed_auth[32] = "the value of sealed secrets ...";
static const uint8_t plain[64] = "what is sealed";

struct blob {
    uint8_t bytes[TPM_SEALED_MAX];
    size_t len;
};

struct fixture {
    struct swtpm swtpm;
    struct tpm *tpm;
    struct anchor *anchor;
    struct anchor_pins pins;
    uint64_t w;
};

static void assert_rc(enum rc rc, enum rc want, const struct err *err)
{
    if (rc != want)
        fail_msg("got %s, want %s: %s", rc_name(rc), rc_name(want), err_text(err));
}
#define OK(call)                                                                                   \
    do {                                                                                           \
        struct err ok_err = {0};                                                                   \
        struct err *err = &ok_err;                                                                 \
        assert_rc((call), RC_OK, &ok_err);                                                         \
    } while (0)

static void open_all(struct fixture *f)
{
    struct tpm_config c = {.tcti = f->swtpm.tcti};
    OK(tpm_open(&f->tpm, &c, false, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, auth_secret, err));
}

static void close_all(struct fixture *f)
{
    anchor_close(&f->anchor);
    tpm_close(&f->tpm);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (f == NULL || !swtpm_make(&f->swtpm))
        return -1;
    struct tpm_config c = {.tcti = f->swtpm.tcti};
    OK(tpm_open(&f->tpm, &c, true, err));
    OK(anchor_choose(f->tpm, &f->pins, err));
    OK(anchor_provision(f->tpm, auth_secret, 1, &f->pins, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, auth_secret, err));
    f->w = f->pins.w_first;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f == NULL)
        return 0;
    close_all(f);
    swtpm_remove(&f->swtpm);
    free(f);
    return 0;
}

static uint64_t w_of(const struct fixture *f, int64_t window)
{
    return (uint64_t)(f->pins.w_base + window);
}

static void raise_to(struct fixture *f, int64_t window)
{
    while (f->w < w_of(f, window))
        OK(anchor_step_w(f->anchor, ++f->w, err));
}

/* Lower and upper bound as the signer sets them, each if it is asked for. */
static struct tpm_lock lock_of(const struct fixture *f, bool low, bool high)
{
    struct tpm_lock lock = {.kind = TPM_LOCK_WINDOW, .bound_low = low, .bound_high = high};
    memcpy(lock.w_name, f->pins.w_name, TPM_NAME_LEN);
    lock.low = low ? w_of(f, WINDOW - 1) : 0;
    lock.high = high ? w_of(f, WINDOW) : 0;
    return lock;
}

static struct blob seal(struct fixture *f, const struct tpm_lock *lock)
{
    struct blob b = {0};
    struct tpm_lock said;
    OK(tpm_seal(f->tpm, seed_auth, lock, plain, sizeof(plain), b.bytes, &b.len, err));
    assert_true(tpm_sealed_lock(b.bytes, b.len, &said));
    assert_int_equal(said.kind, lock->kind);
    assert_int_equal(said.low, lock->low);
    assert_int_equal(said.high, lock->high);
    assert_int_equal(said.pcrs.selection, lock->pcrs.selection);
    return b;
}

static void opens(struct fixture *f, const struct blob *b)
{
    uint8_t got[sizeof(plain)];
    OK(tpm_sealed_check(f->tpm, f->anchor, b->bytes, b->len, err));
    OK(tpm_unseal(f->tpm, f->anchor, seed_auth, b->bytes, b->len, got, sizeof(got), err));
    assert_memory_equal(got, plain, sizeof(plain));
}

static void refuse(struct fixture *f, struct anchor *anchor, const uint8_t auth[32],
                   const struct blob *b, enum rc want, const char *word)
{
    uint8_t got[sizeof(plain)];
    static const uint8_t zero[sizeof(plain)];
    struct err err = {0};
    memset(got, 0x55, sizeof(got));
    assert_rc(tpm_unseal(f->tpm, anchor, auth, b->bytes, b->len, got, sizeof(got), &err), want,
              &err);
    assert_memory_equal(got, zero, sizeof(zero));
    if (strstr(err_text(&err), word) == NULL)
        fail_msg("'%s' does not say '%s'", err_text(&err), word);
}

static void refuses(struct fixture *f, const struct blob *b, const char *word)
{
    refuse(f, f->anchor, seed_auth, b, RC_HALT_SEEDS, word);
}

/* Bounds --------------------------------------------------------------------------------------- */

/* One row for each place of W: below w - 1, w - 1, w, above w. */
static void test_table(void **state)
{
    struct fixture *f = *state;
    static const char *const not_yet = "not yet open";
    static const char *const closed = "is closed";
    const struct tpm_lock locks[] = {lock_of(f, true, true), lock_of(f, true, false),
                                     lock_of(f, false, true), lock_of(f, false, false)};
    const struct {
        int64_t window;
        const char *refused[4]; /* NULL: opens */
    } rows[] = {{WINDOW - 2, {not_yet, not_yet, NULL, NULL}},
                {WINDOW - 1, {NULL, NULL, NULL, NULL}},
                {WINDOW, {NULL, NULL, NULL, NULL}},
                {WINDOW + 1, {closed, NULL, closed, NULL}},
                {WINDOW + 40, {closed, NULL, closed, NULL}}};
    struct blob b[4];
    for (size_t i = 0; i < 4; i++)
        b[i] = seal(f, &locks[i]);
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        raise_to(f, rows[row].window);
        for (size_t i = 0; i < 4; i++) {
            if (rows[row].refused[i] != NULL)
                refuses(f, &b[i], rows[row].refused[i]);
            else
                opens(f, &b[i]);
        }
    }
    /* A blob for one value of W alone, as that of a key under construction. */
    struct tpm_lock now = {
        .kind = TPM_LOCK_WINDOW, .bound_low = true, .bound_high = true, .low = f->w, .high = f->w};
    memcpy(now.w_name, f->pins.w_name, TPM_NAME_LEN);
    struct blob only = seal(f, &now);
    opens(f, &only);
    raise_to(f, WINDOW + 41);
    refuses(f, &only, "is closed");
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1); /* our own session */
}

/* Nothing of ours stands between: a fresh connection, a reset, a copy of the blob. */
static void test_old_blob_after_restart(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, true, true);
    struct blob b = seal(f, &lock);
    raise_to(f, WINDOW);
    opens(f, &b);
    struct blob copy = b;
    raise_to(f, WINDOW + 1);
    close_all(f);
    assert_true(swtpm_reset(&f->swtpm));
    open_all(f);
    refuses(f, &copy, "is closed");
}

/* The cheap look before W is stepped over skipped windows. */
static void test_check(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, true, true);
    struct blob b = seal(f, &lock);
    OK(tpm_sealed_check(f->tpm, f->anchor, b.bytes, b.len, err)); /* W is below the lower bound */
    for (size_t i = 0; i < b.len; i++) {
        struct err why = {0};
        b.bytes[i] ^= 0x10;
        assert_rc(tpm_sealed_check(f->tpm, f->anchor, b.bytes, b.len, &why), RC_HALT_SEEDS, &why);
        b.bytes[i] ^= 0x10;
    }
    raise_to(f, WINDOW + 1);
    struct err why = {0};
    assert_rc(tpm_sealed_check(f->tpm, f->anchor, b.bytes, b.len, &why), RC_HALT_SEEDS, &why);
    assert_non_null(strstr(err_text(&why), "is closed"));
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1);
}

/* Whoever changes what the blob says about its lock opens nothing. */
static void test_other_description(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, true, true);
    struct blob b = seal(f, &lock);
    raise_to(f, WINDOW + 1);
    struct tpm_lock wider = lock;
    wider.high = w_of(f, WINDOW + 1);
    struct blob forged = b;
    tpm_lock_print(forged.bytes + 6, &wider);
    refuses(f, &forged, "its lock was changed");
    wider = (struct tpm_lock){.kind = TPM_LOCK_OWNER};
    tpm_lock_print(forged.bytes + 6, &wider);
    refuses(f, &forged, "its lock was changed");
    refuse(f, f->anchor, auth_secret, &b, RC_HALT_SEEDS, "is closed");
    refuse(f, NULL, seed_auth, &b, RC_HALT_SEEDS, "window counter");
}

static void test_value_and_counter(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, true, true);
    struct blob b = seal(f, &lock);
    raise_to(f, WINDOW);
    refuse(f, f->anchor, auth_secret, &b, RC_HALT_SEEDS, "Unseal"); /* another value */
    struct anchor_pins pins;
    struct anchor *other = NULL;
    OK(anchor_choose(f->tpm, &pins, err));
    OK(anchor_provision(f->tpm, auth_secret, WINDOW, &pins, err));
    OK(anchor_open(&other, f->tpm, &pins, auth_secret, err));
    refuse(f, other, seed_auth, &b, RC_HALT_SEEDS, "another counter");
    anchor_close(&other);
    opens(f, &b); /* and the first anchor goes on */
}

/* W was undefined and made anew: the session's HMAC over the pinned Name fails, or the value is
 * past all windows that were open. */
static void test_counter_made_anew(void **state)
{
    struct fixture *f = *state;
    uint8_t auth[32];
    struct tpm_lock lock = lock_of(f, true, true);
    struct blob b = seal(f, &lock);
    raise_to(f, WINDOW + 1);
    hmac_sha256(auth, auth_secret, sizeof(auth_secret), "W", 1);
    assert_true(outsider_undefine(f->swtpm.tcti, f->pins.w_handle));
    assert_true(outsider_define(f->swtpm.tcti, f->pins.w_handle, true, auth));
    refuse(f, f->anchor, seed_auth, &b, RC_HALT_CANARY, "");
    refuse(f, f->anchor, seed_auth, &b, RC_HALT_CANARY, "earlier failure");
    assert_true(outsider_increment(f->swtpm.tcti, f->pins.w_handle, auth));
    close_all(f);
    open_all(f);
    refuses(f, &b, "is closed");
}

/* Policies ------------------------------------------------------------------------------------- */

static void assert_same_policy(struct fixture *f, const struct tpm_lock *lock)
{
    uint8_t auth[32];
    uint8_t ours[TPM_POLICY_LEN];
    uint8_t theirs[TPM_POLICY_LEN];
    hmac_sha256(auth, auth_secret, sizeof(auth_secret), "W", 1);
    tpm_lock_policy(ours, lock);
    assert_true(outsider_trial(f->swtpm.tcti, f->pins.w_handle, auth, lock, theirs));
    assert_memory_equal(ours, theirs, sizeof(ours));
}

static void test_policy_as_the_tpm_computes_it(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 8; i++) {
        struct tpm_lock lock = lock_of(f, (i & 1) != 0, (i & 2) != 0);
        if ((i & 4) != 0)
            assert_true(tpm_pcrs_scan(&lock.pcrs, "sha256:0,7,10,23"));
        OK(tpm_pcrs_read(f->tpm, &lock.pcrs, err));
        assert_same_policy(f, &lock);
    }
    struct tpm_lock owner = {.kind = TPM_LOCK_OWNER};
    assert_same_policy(f, &owner);
    owner = lock_of(f, false, true);
    owner.kind = TPM_LOCK_OWNER;
    assert_same_policy(f, &owner);
}

static void test_pcrs(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, true, true);
    assert_true(tpm_pcrs_scan(&lock.pcrs, "sha256:0,7"));
    OK(tpm_pcrs_read(f->tpm, &lock.pcrs, err));
    struct blob b = seal(f, &lock);
    raise_to(f, WINDOW);
    opens(f, &b);
    assert_true(outsider_extend(f->swtpm.tcti, 10)); /* one that is not selected */
    opens(f, &b);
    assert_true(outsider_extend(f->swtpm.tcti, 7));
    refuses(f, &b, "sha256:0,7 have other values");
    struct err why = {0};
    assert_rc(tpm_sealed_check(f->tpm, f->anchor, b.bytes, b.len, &why), RC_HALT_SEEDS, &why);
    assert_non_null(strstr(err_text(&why), "reseal"));
    /* Sealed anew under the values of now. */
    OK(tpm_pcrs_read(f->tpm, &lock.pcrs, err));
    b = seal(f, &lock);
    opens(f, &b);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1);
}

/* More PCRs than fit into one answer, and ones that the TPM does not have. */
static void test_pcrs_read(void **state)
{
    struct fixture *f = *state;
    struct tpm_pcrs pcrs;
    uint8_t first[32];
    assert_true(tpm_pcrs_scan(&pcrs, "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,"
                                     "21,22,23"));
    OK(tpm_pcrs_read(f->tpm, &pcrs, err));
    memcpy(first, pcrs.digest, sizeof(first));
    assert_true(outsider_extend(f->swtpm.tcti, 15));
    OK(tpm_pcrs_read(f->tpm, &pcrs, err));
    assert_memory_not_equal(first, pcrs.digest, sizeof(first));
    struct tpm_lock lock = lock_of(f, false, false);
    lock.pcrs = pcrs;
    struct blob b = seal(f, &lock);
    opens(f, &b);
    assert_true(tpm_pcrs_scan(&pcrs, "sha256:3"));
    pcrs.bank = 0x0012; /* SM3, which this TPM does not have */
    struct err why = {0};
    assert_rc(tpm_pcrs_read(f->tpm, &pcrs, &why), RC_REFUSED_CONFIG, &why);
}

static void test_owner(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = {.kind = TPM_LOCK_OWNER};
    struct blob b = seal(f, &lock);
    opens(f, &b); /* the owner authorisation is empty */
    refuse(f, NULL, auth_secret, &b, RC_HALT_SEEDS, "Unseal");
    assert_true(outsider_own(f->swtpm.tcti, (const uint8_t *)"owner", 5));
    refuse(f, NULL, seed_auth, &b, RC_REFUSED_CONFIG, "owner authorisation");
    close_all(f);
    struct tpm_config c = {
        .tcti = f->swtpm.tcti, .owner_auth = (const uint8_t *)"owner", .owner_auth_len = 5};
    OK(tpm_open(&f->tpm, &c, false, err));
    uint8_t got[sizeof(plain)];
    OK(tpm_unseal(f->tpm, NULL, seed_auth, b.bytes, b.len, got, sizeof(got), err));
    assert_memory_equal(got, plain, sizeof(plain));
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1);
}

/* The copy that backups are made from: from the beginning until its window is over. */
static void test_owner_until(void **state)
{
    struct fixture *f = *state;
    struct tpm_lock lock = lock_of(f, false, true);
    lock.kind = TPM_LOCK_OWNER;
    struct blob b = seal(f, &lock);
    opens(f, &b);
    raise_to(f, WINDOW);
    opens(f, &b);
    refuse(f, NULL, seed_auth, &b, RC_HALT_SEEDS, "window counter");
    raise_to(f, WINDOW + 1);
    refuses(f, &b, "is closed");
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST(test_old_blob_after_restart),
        TEST(test_check),
        TEST(test_other_description),
        TEST(test_value_and_counter),
        TEST(test_counter_made_anew),
        TEST(test_policy_as_the_tpm_computes_it),
        TEST(test_pcrs),
        TEST(test_pcrs_read),
        TEST(test_owner),
        TEST(test_owner_until),
    };
    if (system("swtpm --version >/dev/null 2>&1") != 0) /* NOLINT(cert-env33-c) */
        return SKIP;
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    return cmocka_run_group_tests_name("tpm_lock", tests, NULL, NULL);
}
