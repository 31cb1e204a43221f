/*
 * src/tpm with a bad wire: each command of each operation is refused, lost, or answered by somebody
 * else, in turn. What must hold: nothing is ever sent twice, no handle leaks, outputs are zero, and
 * the code says what may have changed. Skipped (77) where swtpm is not installed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/secmem.h"
#include "lib/outsider.h"
#include "lib/swtpm.h"
#include "lib/tpmproxy.h"
#include "tpm/anchor.h"
#include "tpm/device.h"

#define SKIP 77
#define COMMANDS_MAX 200 /* more than any operation here needs */

/* TPM 2.0 Part 2, 6.5.2 and 6.6.3 */
#define CC_NV_INCREMENT 0x134
#define CC_NV_WRITE 0x137
#define CC_NV_READ 0x14e
#define RC_VALUE_PARAMETER 0x1c4
#define RC_NV_RATE 0x920
#define RC_TPM_RETRY 0x922
#define RC_NV_UNAVAILABLE 0x923
#define RC_FAILURE 0x101

static const uint8_t secret[ANCHOR_AUTH_LEN] = "an auth secret of 32 bytes ....";

struct fixture {
    struct swtpm swtpm;
    struct tpmproxy proxy;
    struct tpm *tpm;
    struct anchor *anchor;
    struct anchor_pins pins;
    struct anchor_state before;
};

static void assert_rc(enum rc rc, enum rc want, const struct err *err)
{
    if (rc != want)
        fail_msg("got %s, want %s: %s", rc_name(rc), rc_name(want), err_text(err));
}

/* What a key does before it is one: choose the handles, and make what was chosen. */
static enum rc make_anchor(struct tpm *tpm, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                           int64_t floor_window, struct anchor_pins *pins, struct err *err)
{
    enum rc rc = anchor_choose(tpm, pins, err);
    return rc == RC_OK ? anchor_provision(tpm, auth_secret, floor_window, pins, err) : rc;
}

static void close_all(struct fixture *f)
{
    anchor_close(&f->anchor);
    tpm_close(&f->tpm);
}

static void open_all(struct fixture *f)
{
    struct err err = {0};
    struct tpm_config c = {.tcti = f->proxy.tcti};
    tpmproxy_set(&f->proxy, NULL);
    close_all(f);
    assert_rc(tpm_open(&f->tpm, &c, true, &err), RC_OK, &err);
    assert_rc(anchor_open(&f->anchor, f->tpm, &f->pins, secret, &err), RC_OK, &err);
    assert_rc(anchor_read(f->anchor, &f->before, &err), RC_OK, &err);
}

static int setup(void **state)
{
    struct err err = {0};
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (f == NULL || !swtpm_make(&f->swtpm) || !tpmproxy_start(&f->proxy, &f->swtpm))
        return -1;
    struct tpm_config c = {.tcti = f->proxy.tcti};
    if (tpm_open(&f->tpm, &c, true, &err) != RC_OK ||
        make_anchor(f->tpm, secret, 0, &f->pins, &err) != RC_OK)
        return -1;
    open_all(f);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f == NULL)
        return 0;
    close_all(f);
    tpmproxy_stop(&f->proxy);
    swtpm_remove(&f->swtpm);
    free(f);
    return 0;
}

static void spoil(struct fixture *f, enum fault_kind kind, uint32_t command, unsigned times,
                  uint32_t rc)
{
    tpmproxy_set(
        &f->proxy,
        &(struct tpm_fault){.kind = kind, .command = command, .at = 1, .times = times, .rc = rc});
}

static uint64_t l_now(struct fixture *f)
{
    open_all(f);
    return f->before.l;
}

static void step_l(struct fixture *f, enum rc want)
{
    struct err err = {0};
    assert_rc(anchor_step_l(f->anchor, f->before.l + 1, &err), want, &err);
    assert_int_equal(err.rc, want);
}

/* An increment whose outcome is unknown ---------------------------------------------------------*/

static void test_lost_answer(void **state)
{
    struct fixture *f = *state;
    uint64_t l = f->before.l;
    spoil(f, FAULT_LOSE, CC_NV_INCREMENT, 1, 0);
    step_l(f, RC_HALT_ANCHOR);
    assert_int_equal(l_now(f), l + 1);
    spoil(f, FAULT_SHORT, CC_NV_INCREMENT, 1, 0);
    step_l(f, RC_HALT_ANCHOR);
    assert_int_equal(l_now(f), l + 2);
    spoil(f, FAULT_DROP, CC_NV_INCREMENT, 1, 0);
    step_l(f, RC_HALT_ANCHOR);
    assert_int_equal(l_now(f), l + 2);
    spoil(f, FAULT_REFUSE, CC_NV_INCREMENT, 1, RC_FAILURE); /* failure mode: nobody knows */
    step_l(f, RC_HALT_ANCHOR);
    assert_int_equal(l_now(f), l + 2);
}

/* Somebody on the bus says "busy" although the TPM has counted. The command goes out again, and the
 * rolled nonce makes the TPM refuse it: one increment, not two. */
static void test_forged_busy(void **state)
{
    struct fixture *f = *state;
    uint64_t l = f->before.l;
    const uint32_t codes[] = {RC_NV_RATE, RC_NV_UNAVAILABLE, RC_TPM_RETRY};
    for (uint64_t i = 0; i < 3; i++) {
        spoil(f, FAULT_REPLACE, CC_NV_INCREMENT, 1, codes[i]);
        step_l(f, RC_HALT_CANARY);
        assert_int_equal(l_now(f), l + i + 1);
    }
}

static void test_forged_answer(void **state)
{
    struct fixture *f = *state;
    uint64_t l = f->before.l;
    spoil(f, FAULT_CORRUPT, CC_NV_INCREMENT, 1, 0);
    step_l(f, RC_HALT_CANARY);
    step_l(f, RC_HALT_CANARY);
    assert_int_equal(l_now(f), l + 1);
    /* A value in an answer cannot be changed either: the HMAC covers it. */
    struct tpm_time t;
    struct err err = {0};
    spoil(f, FAULT_CORRUPT, CC_NV_READ, 1, 0);
    assert_rc(anchor_prove(f->anchor, f->before.l, &t, &err), RC_HALT_CANARY, &err);
}

/* A busy TPM ------------------------------------------------------------------------------------*/

static void test_busy_for_a_moment(void **state)
{
    struct fixture *f = *state;
    uint64_t l = f->before.l;
    spoil(f, FAULT_REFUSE, CC_NV_INCREMENT, 3, RC_NV_RATE);
    step_l(f, RC_OK);
    spoil(f, FAULT_REFUSE, CC_NV_READ, 3, RC_NV_UNAVAILABLE);
    f->before.l++;
    step_l(f, RC_OK);
    assert_int_equal(l_now(f), l + 2);
}

static void test_busy_for_long(void **state)
{
    struct fixture *f = *state;
    uint64_t l = f->before.l;
    spoil(f, FAULT_REFUSE, CC_NV_INCREMENT, 1000, RC_NV_RATE);
    step_l(f, RC_RETRY_ANCHOR);
    /* Nothing has changed and nothing is stopped: the same call works later. */
    tpmproxy_set(&f->proxy, NULL);
    step_l(f, RC_OK);
    assert_int_equal(l_now(f), l + 1);

    /* Behind an increment the same answer is no longer harmless. */
    spoil(f, FAULT_REFUSE, CC_NV_READ, 1000, RC_NV_RATE);
    step_l(f, RC_HALT_ANCHOR);
    tpmproxy_set(&f->proxy, NULL);
    step_l(f, RC_HALT_ANCHOR);
    assert_int_equal(l_now(f), l + 2);
}

static void test_write_faults(void **state)
{
    struct fixture *f = *state;
    struct anchor_record a = {.w = f->before.w, .l = f->before.l};
    const struct {
        enum fault_kind kind;
        uint32_t rc;
        enum rc want;
        bool written;
    } cases[] = {
        {FAULT_DROP, 0, RC_HALT_ANCHOR, false},
        {FAULT_LOSE, 0, RC_HALT_ANCHOR, true},
        {FAULT_CORRUPT, 0, RC_HALT_CANARY, true},
        {FAULT_REPLACE, RC_NV_RATE, RC_HALT_CANARY, true},
        {FAULT_REFUSE, RC_VALUE_PARAMETER, RC_HALT_ANCHOR, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        a.wall_s++;
        spoil(f, cases[i].kind, CC_NV_WRITE, 1, cases[i].rc);
        assert_rc(anchor_write(f->anchor, &a, &err), cases[i].want, &err);
        open_all(f);
        assert_true(f->before.a_valid == (i > 0));
        assert_true((f->before.a.wall_s == a.wall_s) == cases[i].written);
    }
}

/* Each command of an operation, in turn ---------------------------------------------------------*/

/* Run `operation` with the n-th command spoiled, for n = 1, 2, … until it gets through. */
static void each_command(struct fixture *f, enum fault_kind kind, uint32_t rc,
                         void (*prepare)(struct fixture *f),
                         enum rc (*operation)(struct fixture *f, struct err *err),
                         void (*check)(struct fixture *f, enum fault_kind kind, enum rc rc,
                                       const struct err *err))
{
    for (unsigned n = 1; n <= COMMANDS_MAX; n++) {
        struct err err = {0};
        prepare(f);
        tpmproxy_set(&f->proxy, &(struct tpm_fault){.kind = kind, .at = n, .times = 1, .rc = rc});
        enum rc got = operation(f, &err);
        bool reached = tpmproxy_reached(&f->proxy);
        tpmproxy_set(&f->proxy, NULL);
        if (!reached) {
            assert_rc(got, RC_OK, &err);
            assert_true(n > 3); /* the faults did hit something */
            return;
        }
        check(f, kind, got, &err);
    }
    fail_msg("more than %d commands", COMMANDS_MAX);
}

static void each_command_and_fault(struct fixture *f, void (*prepare)(struct fixture *f),
                                   enum rc (*operation)(struct fixture *f, struct err *err),
                                   void (*check)(struct fixture *f, enum fault_kind kind,
                                                 enum rc rc, const struct err *err))
{
    each_command(f, FAULT_REFUSE, RC_VALUE_PARAMETER, prepare, operation, check);
    each_command(f, FAULT_DROP, 0, prepare, operation, check);
    each_command(f, FAULT_LOSE, 0, prepare, operation, check);
    each_command(f, FAULT_SHORT, 0, prepare, operation, check);
}

static void assert_failed(enum rc rc, const struct err *err)
{
    assert_true(rc != RC_OK);
    assert_int_equal(err->rc, rc);
    assert_true(rc_class(rc) == RC_CLASS_HALT || rc_class(rc) == RC_CLASS_RETRY);
}

static enum rc do_open(struct fixture *f, struct err *err)
{
    struct tpm_config c = {.tcti = f->proxy.tcti};
    return tpm_open(&f->tpm, &c, true, err);
}

static void check_open(struct fixture *f, enum fault_kind kind, enum rc rc, const struct err *err)
{
    if (rc == RC_OK) { /* flushing strays may fail for one of them */
        tpm_close(&f->tpm);
        return;
    }
    assert_failed(rc, err);
    assert_null(f->tpm);
    if (kind == FAULT_REFUSE)
        assert_int_equal(outsider_count_strays(f->swtpm.tcti), 0);
}

/* A stray session, so that flushing has something to do. */
static void prepare_open(struct fixture *f)
{
    close_all(f);
    (void)outsider_leave_session(f->swtpm.tcti);
}

static void prepare_open_without_key(struct fixture *f)
{
    prepare_open(f);
    (void)outsider_evict(f->swtpm.tcti, TPM_SRK_DEFAULT);
}

static void check_open_leaving_strays(struct fixture *f, enum fault_kind kind, enum rc rc,
                                      const struct err *err)
{
    (void)kind;
    check_open(f, FAULT_NONE, rc, err);
}

static void test_open_faults(void **state)
{
    each_command_and_fault(*state, prepare_open, do_open, check_open_leaving_strays);
}

static void test_make_srk_faults(void **state)
{
    struct fixture *f = *state;
    each_command_and_fault(f, prepare_open_without_key, do_open, check_open_leaving_strays);
    open_all(f); /* and the key is the same in the end */
}

static enum rc do_anchor_open(struct fixture *f, struct err *err)
{
    return anchor_open(&f->anchor, f->tpm, &f->pins, secret, err);
}

static void prepare_anchor_open(struct fixture *f)
{
    struct err err = {0};
    close_all(f);
    assert_rc(do_open(f, &err), RC_OK, &err);
}

static void check_anchor_open(struct fixture *f, enum fault_kind kind, enum rc rc,
                              const struct err *err)
{
    assert_rc(rc, RC_HALT_ANCHOR, err);
    assert_null(f->anchor);
    (void)kind;
}

static void test_anchor_open_faults(void **state)
{
    each_command_and_fault(*state, prepare_anchor_open, do_anchor_open, check_anchor_open);
}

static struct anchor_pins made, chosen;

static enum rc do_provision(struct fixture *f, struct err *err)
{
    memset(&made, 0x55, sizeof(made));
    enum rc rc = anchor_choose(f->tpm, &made, err);
    chosen = made;
    return rc == RC_OK ? anchor_provision(f->tpm, secret, 0, &made, err) : rc;
}

static void prepare_provision(struct fixture *f)
{
    prepare_anchor_open(f);
    for (uint32_t handle = 0x01854D03; handle < 0x01854D06; handle++)
        (void)outsider_undefine(f->swtpm.tcti, handle);
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 3);
}

static void check_provision(struct fixture *f, enum fault_kind kind, enum rc rc,
                            const struct err *err)
{
    static const struct anchor_pins zero;
    assert_failed(rc, err);
    assert_memory_equal(&made, &zero, sizeof(zero));
    int left = outsider_count_indexes(f->swtpm.tcti) - 3;
    if (kind == FAULT_REFUSE)
        assert_int_equal(left, 0);
    if (left == 0)
        return;
    assert_non_null(strstr(err->text, "0x01854d0"));
    /* What was chosen is what is known of it after a kill, and it is enough. */
    struct err undo = {0};
    open_all(f);
    assert_rc(anchor_undefine(f->tpm, &chosen, secret, &undo), RC_OK, &undo);
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 3);
}

static void test_provision_faults(void **state)
{
    each_command_and_fault(*state, prepare_provision, do_provision, check_provision);
}

static enum rc do_write(struct fixture *f, struct err *err)
{
    struct anchor_record a = {.w = f->before.w, .l = f->before.l};
    enum rc rc = anchor_write(f->anchor, &a, err);
    if (rc == RC_OK)
        rc = anchor_step_w(f->anchor, f->before.w + 1, err);
    struct tpm_time t;
    if (rc == RC_OK)
        rc = anchor_prove(f->anchor, f->before.l, &t, err);
    return rc;
}

static void check_write(struct fixture *f, enum fault_kind kind, enum rc rc, const struct err *err)
{
    (void)kind;
    struct tpm_time t;
    struct err again = {0};
    uint64_t w = f->before.w;
    assert_rc(rc, RC_HALT_ANCHOR, err);
    assert_rc(anchor_prove(f->anchor, f->before.l, &t, &again), RC_HALT_ANCHOR, &again);
    open_all(f);
    assert_true(f->before.w <= w + 1);
}

/* The first write is another path, since A's Name changes by it: undefine and make it new. */
static void prepare_first_write(struct fixture *f)
{
    struct err err = {0};
    prepare_anchor_open(f);
    assert_rc(anchor_undefine(f->tpm, &f->pins, secret, &err), RC_OK, &err);
    assert_rc(make_anchor(f->tpm, secret, 0, &f->pins, &err), RC_OK, &err);
    open_all(f);
    assert_false(f->before.a_valid);
}

static void test_write_and_step_faults(void **state)
{
    each_command_and_fault(*state, open_all, do_write, check_write);
    each_command_and_fault(*state, prepare_first_write, do_write, check_write);
}

static uint8_t unsealed[32];
static uint8_t blob[TPM_SEALED_MAX];
static size_t blob_len;

static enum rc do_seal(struct fixture *f, struct err *err)
{
    memset(unsealed, 0x55, sizeof(unsealed));
    enum rc rc = tpm_seal(f->tpm, secret, NULL, secret, 32, blob, &blob_len, err);
    if (rc == RC_OK)
        rc = tpm_unseal(f->tpm, NULL, secret, blob, blob_len, unsealed, sizeof(unsealed), err);
    return rc;
}

static void check_seal(struct fixture *f, enum fault_kind kind, enum rc rc, const struct err *err)
{
    static const uint8_t zero[32];
    (void)f;
    if (rc == RC_OK) { /* the last commands of all only tidy up */
        assert_memory_equal(unsealed, secret, sizeof(unsealed));
    } else if (blob_len == 0) { /* it was Create that failed */
        assert_rc(rc, RC_HALT_ANCHOR, err);
    } else {
        assert_true(rc == RC_HALT_ANCHOR || (kind == FAULT_REFUSE && rc == RC_HALT_SEEDS));
        assert_memory_equal(unsealed, zero, sizeof(zero));
    }
}

static void test_seal_faults(void **state)
{
    each_command_and_fault(*state, open_all, do_seal, check_seal);
}

/* A listener on the bus -------------------------------------------------------------------------*/

static size_t heard(const uint8_t *traffic, size_t len, const uint8_t *what, size_t what_len)
{
    size_t found = 0;
    for (size_t i = 0; i + what_len <= len; i++)
        found += memcmp(traffic + i, what, what_len) == 0 ? 1 : 0;
    return found;
}

static const uint8_t owner[TPM_OWNER_AUTH_MAX] = "an owner value of 32 bytes .....";
static const uint8_t plain[32] = "what was sealed: 32 bytes ......";

static void seal_and_open(struct fixture *f, const struct tpm_lock *lock)
{
    struct err err = {0};
    uint8_t got[32];
    assert_rc(tpm_seal(f->tpm, secret, lock, plain, 32, blob, &blob_len, &err), RC_OK, &err);
    assert_rc(tpm_unseal(f->tpm, f->anchor, secret, blob, blob_len, got, 32, &err), RC_OK, &err);
    assert_memory_equal(got, plain, 32);
}

/* Everything that is ever done: keys made and removed by an owner with an authorisation, all kinds
 * of blobs sealed and opened, counters moved, the record written. */
static void talk(struct fixture *f, const struct anchor_record *a)
{
    struct err err = {0};
    struct tpm_time t;
    struct anchor_pins pins = {0};
    assert_rc(anchor_write(f->anchor, a, &err), RC_OK, &err);
    assert_rc(anchor_step_l(f->anchor, f->before.l + 1, &err), RC_OK, &err);
    assert_rc(anchor_prove(f->anchor, f->before.l + 1, &t, &err), RC_OK, &err);
    assert_true(outsider_own(f->swtpm.tcti, owner, sizeof(owner))); /* beside the proxy */
    close_all(f);
    struct tpm_config c = {.tcti = f->proxy.tcti,
                           .srk_handle = TPM_SRK_DEFAULT + 1,
                           .owner_auth = owner,
                           .owner_auth_len = sizeof(owner)};
    assert_rc(tpm_open(&f->tpm, &c, true, &err), RC_OK, &err);
    tpm_close(&f->tpm);
    c.srk_handle = 0;
    assert_rc(tpm_open(&f->tpm, &c, true, &err), RC_OK, &err);
    assert_rc(make_anchor(f->tpm, secret, 0, &pins, &err), RC_OK, &err);
    assert_rc(anchor_undefine(f->tpm, &pins, secret, &err), RC_OK, &err);
    assert_rc(anchor_open(&f->anchor, f->tpm, &f->pins, secret, &err), RC_OK, &err);
    struct tpm_lock lock = {.kind = TPM_LOCK_WINDOW,
                            .bound_low = true,
                            .bound_high = true,
                            .low = f->before.w,
                            .high = f->before.w};
    memcpy(lock.w_name, f->pins.w_name, sizeof(lock.w_name));
    seal_and_open(f, &lock);
    lock = (struct tpm_lock){.kind = TPM_LOCK_OWNER};
    seal_and_open(f, &lock);
    seal_and_open(f, NULL);
}

static void test_bus(void **state)
{
    struct fixture *f = *state;
    struct anchor_record a = {.w = f->before.w, .l = f->before.l};
    memset(a.head, 0xc3, sizeof(a.head));
    talk(f, &a);
    size_t len = 0;
    const uint8_t *traffic = tpmproxy_traffic(&f->proxy, &len);
    assert_non_null(traffic);
    /* Public things are heard (the Name of W), so the search works. */
    assert_true(heard(traffic, len, f->pins.w_name, TPM_NAME_LEN) >= 1);
    /* Secrets, authorisation values and even the record are not, and no password is ever used. */
    static const uint8_t password_session[] = {0x40, 0x00, 0x00, 0x09};
    assert_int_equal(heard(traffic, len, secret, 16), 0);
    assert_int_equal(heard(traffic, len, owner, 16), 0);
    assert_int_equal(heard(traffic, len, plain, 16), 0);
    assert_int_equal(heard(traffic, len, a.head, 16), 0);
    assert_int_equal(heard(traffic, len, password_session, 4), 0);
    for (const char *object = "WLA"; *object != '\0'; object++) {
        uint8_t auth[32];
        hmac_sha256(auth, secret, sizeof(secret), object, 1);
        assert_int_equal(heard(traffic, len, auth, 16), 0);
    }
}

/* StartAuthSession names the key of its salt and what it is bound to behind the command code. */
static void expect_sessions(struct fixture *f, size_t all, size_t plain_ones, size_t by_first_key,
                            size_t by_srk, size_t bound)
{
    static const uint8_t any[] = {0x00, 0x00, 0x01, 0x76};
    static const uint8_t none[] = {0x00, 0x00, 0x01, 0x76, 0x40, 0x00, 0x00, 0x07};
    static const uint8_t first[] = {0x00, 0x00, 0x01, 0x76, 0x80};
    static const uint8_t srk[] = {0x00, 0x00, 0x01, 0x76, 0x81, 0x00, 0x05, 0x44};
    static const uint8_t bind[] = {0x00, 0x00, 0x01, 0x76, 0x81, 0x00,
                                   0x05, 0x44, 0x40, 0x00, 0x00, 0x01};
    size_t len = 0;
    const uint8_t *traffic = tpmproxy_traffic(&f->proxy, &len);
    assert_non_null(traffic);
    assert_int_equal(heard(traffic, len, any, sizeof(any)), all);
    assert_int_equal(heard(traffic, len, none, sizeof(none)), plain_ones);
    assert_int_equal(heard(traffic, len, first, sizeof(first)), by_first_key);
    assert_int_equal(heard(traffic, len, srk, sizeof(srk)), by_srk);
    assert_int_equal(heard(traffic, len, bind, sizeof(bind)), bound);
}

/* Salted by the storage key: one for the setup, one for the reopening. The storage key is made in a
 * session salted by a key of the null hierarchy, and only that key in one without a salt, which
 * carries nothing. With an owner authorisation the long-lived session is bound to the owner. */
static void test_sessions_are_salted_and_bound(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    expect_sessions(f, 4, 1, 1, 2, 0);
    assert_true(outsider_own(f->swtpm.tcti, owner, sizeof(owner)));
    close_all(f);
    struct tpm_config c = {
        .tcti = f->proxy.tcti, .owner_auth = owner, .owner_auth_len = sizeof(owner)};
    assert_rc(tpm_open(&f->tpm, &c, true, &err), RC_OK, &err);
    expect_sessions(f, 5, 1, 1, 3, 1);
}

int main(void)
{
    if (system("swtpm --version >/dev/null 2>&1") != 0) /* NOLINT(cert-env33-c) */
        return SKIP;
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    (void)signal(SIGPIPE, SIG_IGN);
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_lost_answer),
        TEST(test_forged_busy),
        TEST(test_forged_answer),
        TEST(test_busy_for_a_moment),
        TEST(test_busy_for_long),
        TEST(test_write_faults),
        TEST(test_open_faults),
        TEST(test_make_srk_faults),
        TEST(test_anchor_open_faults),
        TEST(test_provision_faults),
        TEST(test_write_and_step_faults),
        TEST(test_seal_faults),
        TEST(test_bus),
        TEST(test_sessions_are_salted_and_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
