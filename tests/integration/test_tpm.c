/*
 * src/tpm against a real software TPM: every contract of device.h and anchor.h that can be provoked
 * from outside, each test with a TPM of its own. Skipped (exit code 77) where swtpm is not
 * installed. No TPM that works reads back other bytes than were written; the anchor's own reads are
 * changed for that (link with -Wl,--wrap=nv_read).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/secmem.h"
#include "lib/outsider.h"
#include "lib/swtpm.h"
#include "tpm/anchor.h"
#include "tpm/device.h"
#include "tpm/internal.h" /* for one test that moves our memory of the TPM's clock */

#define SKIP 77
#define OPEN_CYCLES 200
#define CHILD_MS_MAX 15000

static const uint8_t secret[ANCHOR_AUTH_LEN] = "an auth secret of 32 bytes ....";
static const uint8_t other_secret[ANCHOR_AUTH_LEN] = "another one of 32 bytes .......";

/* A TPM, a connection and one provisioned key; each test gets a fresh one. */
struct fixture {
    struct swtpm swtpm;
    struct tpm *tpm;
    struct anchor *anchor;
    struct anchor_pins pins;
};

static struct tpm_config config_of(const struct swtpm *s)
{
    return (struct tpm_config){.tcti = s->tcti};
}

static bool reads_change; /* a bit of every A that is read */

TSS2_RC __real_nv_read(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len);
TSS2_RC __wrap_nv_read(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len);

TSS2_RC __wrap_nv_read(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len)
{
    TSS2_RC r = __real_nv_read(tpm, index, data, len);
    if (reads_change && len == ANCHOR_RECORD_LEN)
        ((uint8_t *)data)[20] ^= 0x04;
    return r;
}

static void assert_rc(enum rc rc, enum rc want, const struct err *err)
{
    if (rc == want)
        return;
    fail_msg("got %s, want %s: %s", rc_name(rc), rc_name(want), err_text(err));
}
#define OK(call)                                                                                   \
    do {                                                                                           \
        struct err ok_err = {0};                                                                   \
        struct err *err = &ok_err;                                                                 \
        assert_rc((call), RC_OK, &ok_err);                                                         \
    } while (0)
/* The call fails with this code, and says so in err. */
#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        struct err fails_err = {0};                                                                \
        struct err *err = &fails_err;                                                              \
        assert_rc((call), (want), &fails_err);                                                     \
        assert_int_equal(fails_err.rc, (want));                                                    \
        assert_true(fails_err.text[0] != '\0');                                                    \
    } while (0)

/* What a key does before it is one: choose the handles, and make what was chosen. */
static enum rc make_anchor(struct tpm *tpm, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                           int64_t floor_window, struct anchor_pins *pins, struct err *err)
{
    enum rc rc = anchor_choose(tpm, pins, err);
    return rc == RC_OK ? anchor_provision(tpm, auth_secret, floor_window, pins, err) : rc;
}

static void auth_of(uint8_t auth[32], char object)
{
    hmac_sha256(auth, secret, sizeof(secret), &object, 1);
}

static void increment_outside(struct fixture *f, char object)
{
    uint8_t auth[32];
    auth_of(auth, object);
    uint32_t handle = object == 'W' ? f->pins.w_handle : f->pins.l_handle;
    assert_true(outsider_increment(f->swtpm.tcti, handle, auth));
}

static void open_tpm(struct fixture *f)
{
    struct tpm_config c = config_of(&f->swtpm);
    OK(tpm_open(&f->tpm, &c, false, err));
}

static void close_all(struct fixture *f)
{
    anchor_close(&f->anchor);
    tpm_close(&f->tpm);
}

static void reopen(struct fixture *f)
{
    close_all(f);
    open_tpm(f);
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (f == NULL || !swtpm_make(&f->swtpm))
        return -1;
    struct tpm_config c = config_of(&f->swtpm);
    OK(tpm_open(&f->tpm, &c, true, err));
    OK(make_anchor(f->tpm, secret, 41, &f->pins, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
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

static struct anchor_state read_state(struct fixture *f)
{
    struct anchor_state s;
    OK(anchor_read(f->anchor, &s, err));
    return s;
}

static struct anchor_record record_of(const struct anchor_state *s)
{
    struct anchor_record a = {.w = s->w,
                              .window = 41,
                              .l = s->l,
                              .l_base = s->l,
                              .wall_s = 1800000000,
                              .early_window = ANCHOR_NO_WINDOW};
    memset(a.head, 0xa5, sizeof(a.head));
    return a;
}

/* Identity and provisioning ---------------------------------------------------------------------*/

static void test_identity(void **state)
{
    struct fixture *f = *state;
    const struct tpm_identity *id = tpm_identify(f->tpm);
    assert_string_equal(id->manufacturer, "IBM");
    assert_string_equal(id->vendor, "SW   TPM");
    assert_true(id->is_virtual);
    assert_false(id->keeps_writes);
    assert_true(id->counters_available > 0);
    assert_int_equal(id->srk_name_len, TPM_NAME_LEN);
    assert_memory_equal(id->srk_name, f->pins.srk_name, TPM_NAME_LEN);
}

static void test_provision(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->pins.w_handle, 0x01854D00);
    assert_int_equal(f->pins.l_handle, 0x01854D01);
    assert_int_equal(f->pins.a_handle, 0x01854D02);
    struct anchor_state s = read_state(f);
    assert_int_equal(s.w, f->pins.w_first);
    assert_int_equal(s.l, f->pins.l_first);
    assert_int_equal((int64_t)s.w - f->pins.w_base, 41);
    assert_false(s.a_valid);
}

static void test_provision_takes_free_handles(void **state)
{
    struct fixture *f = *state;
    assert_true(outsider_define_byte(f->swtpm.tcti, 0x01854D05));
    struct anchor_pins second = {0};
    OK(make_anchor(f->tpm, other_secret, 0, &second, err));
    assert_int_equal(second.w_handle, 0x01854D06); /* 03 and 04 are not three in a row */
    assert_int_equal(second.l_handle, 0x01854D07);
    assert_int_equal(second.a_handle, 0x01854D08);
    OK(anchor_undefine(f->tpm, &f->pins, secret, err));
    struct anchor_pins third = {0};
    OK(make_anchor(f->tpm, secret, ANCHOR_FLOOR_MIN, &third, err));
    assert_int_equal(third.w_handle, 0x01854D00);
    assert_int_equal((int64_t)third.w_first - third.w_base, -1);
    assert_true(third.w_first > f->pins.w_first); /* a counter never starts below a deleted one */
}

static void test_undefine(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct anchor_record a = record_of(&s);
    OK(anchor_write(f->anchor, &a, err)); /* A has another Name now */
    anchor_close(&f->anchor);
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 3);
    OK(anchor_undefine(f->tpm, &f->pins, secret, err));
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 0);
    OK(anchor_undefine(f->tpm, &f->pins, secret, err)); /* missing ones are fine */

    /* Somebody else's index at one of the handles stays; the others go. */
    OK(make_anchor(f->tpm, secret, 0, &f->pins, err));
    assert_true(outsider_undefine(f->swtpm.tcti, f->pins.w_handle));
    assert_true(outsider_define_byte(f->swtpm.tcti, f->pins.w_handle));
    FAILS(RC_HALT_REGRESSION, anchor_undefine(f->tpm, &f->pins, secret, err));
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 1);
}

/* Handles that were chosen, and never used, are another key's by now: same handles, same Names.
 * What tells is the authorisation value, also while nothing was written there. */
static void test_undefine_leaves_another_key(void **state)
{
    struct fixture *f = *state;
    struct anchor_pins chosen = {0}, second = {0};
    OK(anchor_choose(f->tpm, &chosen, err));
    OK(make_anchor(f->tpm, other_secret, 0, &second, err));
    assert_memory_equal(chosen.w_name, second.w_name, TPM_NAME_LEN);
    assert_memory_equal(chosen.a_name, second.a_name, TPM_NAME_LEN);
    FAILS(RC_HALT_REGRESSION, anchor_undefine(f->tpm, &chosen, secret, err));
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 6);

    /* Taken in between: nothing is made, and theirs is not touched. */
    FAILS(RC_HALT_ANCHOR, anchor_provision(f->tpm, secret, 0, &chosen, err));
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 6);
    struct anchor *anchor = NULL;
    OK(anchor_open(&anchor, f->tpm, &second, other_secret, err));
    anchor_close(&anchor);
    OK(anchor_undefine(f->tpm, &second, other_secret, err));
    assert_int_equal(outsider_count_indexes(f->swtpm.tcti), 3);
}

/* Fill the TPM, then free room for 0, 1, 2 indexes: provisioning fails at W, at L and at A, and
 * each time leaves nothing behind. */
static void test_exhausted(void **state)
{
    struct fixture *f = *state;
    uint32_t handle = 0x01900000;
    while (outsider_define(f->swtpm.tcti, handle, true, other_secret))
        handle++;
    for (int room = 0; room < 3; room++) {
        int before = outsider_count_indexes(f->swtpm.tcti);
        struct anchor_pins pins, zero = {0};
        memset(&pins, 0x55, sizeof(pins));
        FAILS(RC_REFUSED_EXHAUSTED, make_anchor(f->tpm, other_secret, 0, &pins, err));
        assert_memory_equal(&pins, &zero, sizeof(pins));
        assert_int_equal(outsider_count_indexes(f->swtpm.tcti), before);
        assert_true(outsider_undefine(f->swtpm.tcti, --handle));
    }
    for (int i = 0; i < 6; i++)
        assert_true(outsider_undefine(f->swtpm.tcti, --handle));
    struct anchor_pins pins = {0};
    OK(make_anchor(f->tpm, other_secret, 0, &pins, err));
}

static void test_owner_auth(void **state)
{
    struct fixture *f = *state;
    static const uint8_t owner[TPM_OWNER_AUTH_MAX] = "owner, and the last byte is zero";
    uint8_t with_zero[TPM_OWNER_AUTH_MAX];
    memcpy(with_zero, owner, sizeof(owner));
    with_zero[31] = 0; /* a TPM drops it; an HMAC over all 32 bytes would fail */
    assert_true(outsider_own(f->swtpm.tcti, with_zero, sizeof(with_zero)));

    struct anchor_pins pins = {0};
    FAILS(RC_REFUSED_CONFIG, make_anchor(f->tpm, other_secret, 0, &pins, err));
    FAILS(RC_REFUSED_CONFIG, anchor_undefine(f->tpm, &f->pins, secret, err));
    close_all(f);
    struct tpm_config c = config_of(&f->swtpm);
    c.srk_handle = TPM_SRK_DEFAULT + 1;
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    assert_null(f->tpm);
    /* The session is bound to a value that is given: a wrong one is told before anything is used.
     */
    c.srk_handle = 0;
    c.owner_auth = other_secret;
    c.owner_auth_len = sizeof(other_secret);
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, false, err));
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    assert_null(f->tpm);
    c.srk_handle = TPM_SRK_DEFAULT + 1;
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    c.owner_auth = with_zero;
    c.owner_auth_len = sizeof(with_zero);
    OK(tpm_open(&f->tpm, &c, true, err));
    OK(make_anchor(f->tpm, other_secret, 0, &pins, err));
    OK(anchor_undefine(f->tpm, &pins, other_secret, err));
}

/* Reading and writing ---------------------------------------------------------------------------*/

static void test_write_and_read(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct anchor_record a = record_of(&s);
    OK(anchor_write(f->anchor, &a, err));
    s = read_state(f);
    assert_true(s.a_valid);
    assert_int_equal(s.a.wall_s, a.wall_s);
    assert_memory_equal(s.a.head, a.head, sizeof(a.head));
    a.wall_s++;
    OK(anchor_write(f->anchor, &a, err));
    reopen(f);
    s = read_state(f);
    assert_true(s.a_valid);
    assert_int_equal(s.a.wall_s, a.wall_s);
    assert_int_equal(s.a.early_window, ANCHOR_NO_WINDOW);
    a.wall_s++;
    OK(anchor_write(f->anchor, &a, err));
}

static void test_steps(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    for (uint64_t i = 1; i <= 3; i++)
        OK(anchor_step_w(f->anchor, s.w + i, err));
    for (uint64_t i = 1; i <= 2; i++)
        OK(anchor_step_l(f->anchor, s.l + i, err));
    struct anchor_state after = read_state(f);
    assert_int_equal(after.w, s.w + 3);
    assert_int_equal(after.l, s.l + 2);
    reopen(f);
    after = read_state(f);
    assert_int_equal(after.w, s.w + 3);
    assert_int_equal(after.l, s.l + 2);
}

static void test_prove(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct tpm_time first = {0}, second = {0}, plain = {0};
    OK(anchor_prove(f->anchor, s.l, &first, err));
    OK(anchor_step_l(f->anchor, s.l + 1, err));
    OK(anchor_prove(f->anchor, s.l + 1, &second, err));
    OK(tpm_read_time(f->tpm, &plain, err));
    assert_true(first.clock_ms <= second.clock_ms);
    assert_true(second.clock_ms <= plain.clock_ms);
    assert_int_equal(first.reset_count, second.reset_count);
    assert_int_equal(first.restart_count, plain.restart_count);
}

/* A TPM that was saved and resumed together with its sessions cannot be had here, so it is our
 * memory of its clock that is moved. */
static void test_prove_looks_at_the_clock(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct tpm_time t;
    OK(anchor_prove(f->anchor, s.l, &t, err));
    f->tpm->last.clock_ms += 1000000;
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, s.l, &t, err));
    assert_int_equal(t.clock_ms, 0);
    reopen(f);
    f->tpm->last.reset_count--;
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, s.l, &t, err));
}

/* Once stopped, an anchor stays stopped, whatever the TPM would say. */
static void assert_stopped(struct fixture *f, enum rc want)
{
    struct anchor_state s;
    struct tpm_time t;
    struct anchor_record a = {.w = 1};
    FAILS(want, anchor_read(f->anchor, &s, err));
    FAILS(want, anchor_step_w(f->anchor, 1, err));
    FAILS(want, anchor_step_l(f->anchor, 1, err));
    FAILS(want, anchor_write(f->anchor, &a, err));
    FAILS(want, anchor_prove(f->anchor, 1, &t, err));
    assert_int_equal(s.w, 0);
    assert_int_equal(t.clock_ms, 0);
}

/* What the TSS library asks of OpenSSL is answered by us, where it asks at all. */
static void test_openssl_is_answered(void **state)
{
    (void)state;
    void *(*context)(void) = NULL;
    int (*draw)(void *, unsigned char *, size_t, unsigned) = NULL;
    void *found[2] = {dlsym(RTLD_DEFAULT, "OSSL_LIB_CTX_new"),
                      dlsym(RTLD_DEFAULT, "RAND_bytes_ex")};
    if (found[0] == NULL || found[1] == NULL)
        skip(); /* a TSS library that computes with another one; Debian's never comes here */
    memcpy(&context, &found[0], sizeof(context));
    memcpy(&draw, &found[1], sizeof(draw));
    assert_non_null(context());
    assert_ptr_equal(context(), context());
    uint8_t a[600] = {0}, b[600] = {0};
    assert_int_equal(draw(context(), a, sizeof(a), 0), 1);
    assert_int_equal(draw(context(), b, sizeof(b), 0), 1);
    for (size_t at = 0; at < sizeof(a); at += 20) /* no part is left out, and none comes again */
        assert_memory_not_equal(a + at, b + at, 20);
}

static void test_two_keys(void **state)
{
    struct fixture *f = *state;
    struct anchor_pins pins = {0};
    struct anchor *second = NULL;
    OK(make_anchor(f->tpm, other_secret, 0, &pins, err));
    FAILS(RC_HALT_REGRESSION, anchor_open(&second, f->tpm, &pins, secret, err));
    OK(anchor_open(&second, f->tpm, &pins, other_secret, err));
    struct anchor_state one = read_state(f), two;
    OK(anchor_read(second, &two, err));
    OK(anchor_step_l(second, two.l + 1, err));
    OK(anchor_step_l(f->anchor, one.l + 1, err));
    OK(anchor_step_w(second, two.w + 1, err));
    assert_int_equal(read_state(f).w, one.w);
    anchor_close(&second);
}

/* What does not fit at opening ------------------------------------------------------------------*/

static void refuse_open(struct fixture *f, const uint8_t auth_secret[ANCHOR_AUTH_LEN])
{
    anchor_close(&f->anchor);
    FAILS(RC_HALT_REGRESSION, anchor_open(&f->anchor, f->tpm, &f->pins, auth_secret, err));
    assert_null(f->anchor);
}

static void test_wrong_secret(void **state)
{
    refuse_open(*state, other_secret);
}

static void test_changed_pins(void **state)
{
    struct fixture *f = *state;
    uint8_t *const names[] = {f->pins.w_name, f->pins.l_name, f->pins.a_name, f->pins.srk_name};
    for (size_t i = 0; i < 4; i++) {
        names[i][TPM_NAME_LEN - 1] ^= 1;
        refuse_open(f, secret);
        names[i][TPM_NAME_LEN - 1] ^= 1;
    }
    uint32_t handle = f->pins.w_handle;
    f->pins.w_handle = f->pins.l_handle; /* same kind of index, so only the Name tells */
    refuse_open(f, secret);
    f->pins.w_handle = handle;
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
}

static void test_other_tpm(void **state)
{
    struct fixture *f = *state;
    struct swtpm other = {0};
    assert_true(swtpm_make(&other));
    struct tpm_config c = config_of(&other);
    struct tpm *tpm = NULL;
    struct anchor *anchor = NULL;
    FAILS(RC_HALT_REGRESSION, tpm_open(&tpm, &c, false, err)); /* no storage key */
    assert_null(tpm);
    OK(tpm_open(&tpm, &c, true, err));
    struct anchor_pins pins = {0};
    OK(make_anchor(tpm, secret, 41, &pins, err)); /* same handles, same Names, same secret */
    assert_memory_equal(pins.w_name, f->pins.w_name, TPM_NAME_LEN);
    FAILS(RC_HALT_REGRESSION, anchor_open(&anchor, tpm, &f->pins, secret, err));
    tpm_close(&tpm);
    swtpm_remove(&other);
}

static void test_missing_index(void **state)
{
    struct fixture *f = *state;
    const uint32_t handles[] = {f->pins.w_handle, f->pins.l_handle, f->pins.a_handle};
    for (size_t i = 0; i < 3; i++) {
        assert_true(outsider_undefine(f->swtpm.tcti, handles[i]));
        refuse_open(f, secret);
        OK(anchor_undefine(f->tpm, &f->pins, secret, err));
        OK(make_anchor(f->tpm, secret, 41, &f->pins, err));
        OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
    }
}

/* The owner replaces L by a counter with the same attributes and even the same authorisation: same
 * Name. It is noticed while unwritten, and afterwards it stands above the old value. */
static void test_counter_made_anew(void **state)
{
    struct fixture *f = *state;
    struct anchor_state before = read_state(f);
    uint8_t auth[32];
    auth_of(auth, 'L');
    assert_true(outsider_undefine(f->swtpm.tcti, f->pins.l_handle));
    assert_true(outsider_define(f->swtpm.tcti, f->pins.l_handle, true, auth));
    struct tpm_time t;
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, before.l, &t, err));
    assert_stopped(f, RC_HALT_CANARY);
    refuse_open(f, secret);

    increment_outside(f, 'L');
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
    assert_true(read_state(f).l > before.l);
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, before.l, &t, err));
}

/* The same behind the back of an open anchor, so that even the Name fits again. */
static void test_counter_made_anew_while_open(void **state)
{
    struct fixture *f = *state;
    struct anchor_state before = read_state(f);
    uint8_t auth[32];
    auth_of(auth, 'L');
    assert_true(outsider_undefine(f->swtpm.tcti, f->pins.l_handle));
    assert_true(outsider_define(f->swtpm.tcti, f->pins.l_handle, true, auth));
    increment_outside(f, 'L');
    FAILS(RC_HALT_CANARY, anchor_step_l(f->anchor, before.l + 1, err));
    assert_stopped(f, RC_HALT_CANARY);
}

/* Without the key's secret the owner cannot give the new index the old authorisation value. */
static void test_replaced_with_other_auth(void **state)
{
    struct fixture *f = *state;
    const uint32_t handles[] = {f->pins.w_handle, f->pins.a_handle};
    for (size_t i = 0; i < 2; i++) {
        assert_true(outsider_undefine(f->swtpm.tcti, handles[i]));
        assert_true(outsider_define(f->swtpm.tcti, handles[i], i == 0, other_secret));
        if (i == 0)
            assert_true(outsider_increment(f->swtpm.tcti, handles[i], other_secret));
        refuse_open(f, secret);
        FAILS(RC_HALT_REGRESSION, anchor_undefine(f->tpm, &f->pins, secret, err));
        assert_true(outsider_undefine(f->swtpm.tcti, handles[i])); /* not ours, so it stood */
        OK(make_anchor(f->tpm, secret, 41, &f->pins, err));
    }
}

static void test_replaced_by_ordinary(void **state)
{
    struct fixture *f = *state;
    struct anchor_state before = read_state(f);
    uint8_t auth[32];
    auth_of(auth, 'L');
    assert_true(outsider_undefine(f->swtpm.tcti, f->pins.l_handle));
    assert_true(outsider_define(f->swtpm.tcti, f->pins.l_handle, false, auth));
    uint8_t bytes[96] = {0};
    bytes[7] = (uint8_t)before.l; /* the first eight bytes say what L said */
    assert_true(outsider_write(f->swtpm.tcti, f->pins.l_handle, auth, bytes, sizeof(bytes)));
    struct tpm_time t;
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, before.l, &t, err));
    refuse_open(f, secret);
}

/* A torn or foreign ---------------------------------------------------------------------------- */

static void test_record_reads_back_differently(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct anchor_record a = record_of(&s);
    reads_change = true;
    FAILS(RC_HALT_ANCHOR, anchor_write(f->anchor, &a, err));
    reads_change = false;
    assert_stopped(f, RC_HALT_ANCHOR);
    reopen(f);
    assert_true(read_state(f).a_valid);
    reads_change = true;
    FAILS(RC_HALT_ANCHOR, anchor_write(f->anchor, &a, err)); /* not only the first time */
    reads_change = false;
}

static void test_torn_record(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct anchor_record a = record_of(&s);
    OK(anchor_write(f->anchor, &a, err));
    uint8_t bytes[ANCHOR_RECORD_LEN], auth[32];
    anchor_record_encode(&a, bytes);
    bytes[60] ^= 0x10;
    auth_of(auth, 'A');
    assert_true(outsider_write(f->swtpm.tcti, f->pins.a_handle, auth, bytes, sizeof(bytes)));
    s = read_state(f);
    assert_false(s.a_valid);
    assert_int_equal(s.a.w, 0);
    assert_int_equal(s.w, f->pins.w_first); /* W and L are still told */
    OK(anchor_write(f->anchor, &a, err));
    assert_true(read_state(f).a_valid);
    /* The TPM itself refuses a write of a part (WRITEALL). */
    assert_false(outsider_write(f->swtpm.tcti, f->pins.a_handle, auth, bytes, 40));
}

/* The first write comes from somebody else: A's Name changed behind our back. */
static void test_record_written_outside(void **state)
{
    struct fixture *f = *state;
    struct anchor_state s = read_state(f);
    struct anchor_record a = record_of(&s);
    uint8_t bytes[ANCHOR_RECORD_LEN], auth[32];
    anchor_record_encode(&a, bytes);
    auth_of(auth, 'A');
    assert_true(outsider_write(f->swtpm.tcti, f->pins.a_handle, auth, bytes, sizeof(bytes)));
    FAILS(RC_HALT_CANARY, anchor_write(f->anchor, &a, err));
    reopen(f);
    assert_true(read_state(f).a_valid);
}

/* Resets, kills, other writers ------------------------------------------------------------------*/

static void test_kill(void **state)
{
    struct fixture *f = *state;
    struct anchor_state before = read_state(f);
    OK(anchor_step_l(f->anchor, before.l + 1, err));
    swtpm_kill(&f->swtpm);
    FAILS(RC_HALT_ANCHOR, anchor_step_l(f->anchor, before.l + 2, err));
    assert_stopped(f, RC_HALT_ANCHOR);

    /* The struct stays dead when the TPM is back, also for new anchors and for seals. */
    assert_true(swtpm_start(&f->swtpm));
    assert_stopped(f, RC_HALT_ANCHOR);
    struct anchor *second = NULL;
    struct tpm_time t;
    FAILS(RC_HALT_ANCHOR, anchor_open(&second, f->tpm, &f->pins, secret, err));
    FAILS(RC_HALT_ANCHOR, tpm_read_time(f->tpm, &t, err));

    reopen(f);
    struct anchor_state after = read_state(f);
    assert_true(after.l >= before.l + 1);
    assert_true(after.l <= before.l + 2);
    assert_int_equal(after.w, before.w);
    OK(anchor_step_l(f->anchor, after.l + 1, err));
}

static void test_kill_before_open(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    swtpm_kill(&f->swtpm);
    struct tpm_config c = config_of(&f->swtpm);
    FAILS(RC_RETRY_ANCHOR, tpm_open(&f->tpm, &c, false, err));
    assert_null(f->tpm);
    assert_true(swtpm_start(&f->swtpm));
    OK(tpm_open(&f->tpm, &c, false, err));
}

enum call { CALL_READ, CALL_STEP_W, CALL_STEP_L, CALL_WRITE, CALL_PROVE, CALL_COUNT };

static enum rc make_call(struct fixture *f, enum call call, const struct anchor_state *s,
                         struct err *err)
{
    struct anchor_state got;
    struct tpm_time t;
    struct anchor_record a = record_of(s);
    switch (call) {
    case CALL_READ:
        return anchor_read(f->anchor, &got, err);
    case CALL_STEP_W:
        return anchor_step_w(f->anchor, s->w + 1, err);
    case CALL_STEP_L:
        return anchor_step_l(f->anchor, s->l + 1, err);
    case CALL_WRITE:
        return anchor_write(f->anchor, &a, err);
    case CALL_PROVE:
    default:
        return anchor_prove(f->anchor, s->l, &t, err);
    }
}

static void test_reset_behind_our_back(void **state)
{
    struct fixture *f = *state;
    for (int call = 0; call < CALL_COUNT; call++) {
        struct anchor_state before = read_state(f);
        assert_true(swtpm_reset(&f->swtpm));
        FAILS(RC_HALT_CANARY, make_call(f, (enum call)call, &before, err));
        assert_stopped(f, RC_HALT_CANARY);
        reopen(f);
        struct anchor_state after = read_state(f);
        assert_int_equal(after.w, before.w);
        assert_int_equal(after.l, before.l);
        assert_int_equal(after.a_valid, before.a_valid);
    }
}

static void test_second_writer(void **state)
{
    struct fixture *f = *state;
    struct tpm_time t;
    struct anchor_state s = read_state(f);
    increment_outside(f, 'L');
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, s.l, &t, err));
    assert_stopped(f, RC_HALT_CANARY);

    reopen(f);
    increment_outside(f, 'L');
    FAILS(RC_HALT_CANARY, anchor_step_l(f->anchor, s.l + 2, err));
    assert_stopped(f, RC_HALT_CANARY);

    reopen(f);
    increment_outside(f, 'W');
    FAILS(RC_HALT_CANARY, anchor_step_w(f->anchor, s.w + 1, err));
    assert_stopped(f, RC_HALT_CANARY);
    reopen(f);
    assert_int_equal(read_state(f).w, s.w + 2);
    assert_int_equal(read_state(f).l, s.l + 3);
}

/* A second process that opens the TPM flushes our session: that is a canary too. */
static void test_second_process(void **state)
{
    struct fixture *f = *state;
    struct tpm_config c = config_of(&f->swtpm);
    struct tpm *second = NULL;
    OK(tpm_open(&second, &c, false, err));
    struct tpm_time t;
    FAILS(RC_HALT_CANARY, anchor_prove(f->anchor, f->pins.l_first, &t, err));
    tpm_close(&second);
}

/* The state of the TPM rolled back behind a stopped process: values come back lower, and the pins
 * cannot tell. This is what the ledger is the second witness for; the test pins down the limit. */
static void test_rollback_shows_older_values(void **state)
{
    struct fixture *f = *state;
    char snapshot[] = "/tmp/tm.XXXXXX";
    assert_non_null(mkdtemp(snapshot));
    struct anchor_state before = read_state(f);
    close_all(f);
    swtpm_stop(&f->swtpm);
    assert_true(swtpm_copy_state(snapshot, f->swtpm.dir));
    assert_true(swtpm_start(&f->swtpm));
    reopen(f);
    OK(anchor_step_l(f->anchor, before.l + 1, err));
    close_all(f);
    swtpm_stop(&f->swtpm);
    assert_true(swtpm_copy_state(f->swtpm.dir, snapshot));
    assert_true(swtpm_start(&f->swtpm));
    reopen(f);
    assert_int_equal(read_state(f).l, before.l);
    struct swtpm leftover = {0};
    (void)snprintf(leftover.dir, sizeof(leftover.dir), "%s", snapshot);
    swtpm_remove(&leftover);
}

/* Sealing ---------------------------------------------------------------------------------------*/

struct blob {
    uint8_t bytes[TPM_SEALED_MAX];
    size_t len;
};

static void fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 7 + 3);
}

static void seal_some(struct fixture *f, struct blob *b, size_t len)
{
    uint8_t plain[TPM_SECRET_MAX];
    fill(plain, len);
    OK(tpm_seal(f->tpm, secret, NULL, plain, len, b->bytes, &b->len, err));
    assert_true(b->len > len);
    assert_true(b->len <= TPM_SEALED_MAX);
}

static void refuse_unseal(struct tpm *tpm, const uint8_t auth[32], const struct blob *b, size_t len)
{
    uint8_t got[TPM_SECRET_MAX], zero[TPM_SECRET_MAX] = {0};
    memset(got, 0x55, sizeof(got));
    FAILS(RC_HALT_SEEDS, tpm_unseal(tpm, NULL, auth, b->bytes, b->len, got, len, err));
    assert_memory_equal(got, zero, len);
}

static void test_seal(void **state)
{
    struct fixture *f = *state;
    const size_t lengths[] = {1, 32, 64, TPM_SECRET_MAX};
    for (size_t i = 0; i < 4; i++) {
        struct blob b = {0};
        uint8_t got[TPM_SECRET_MAX], want[TPM_SECRET_MAX];
        seal_some(f, &b, lengths[i]);
        OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, lengths[i], err));
        fill(want, lengths[i]);
        assert_memory_equal(got, want, lengths[i]);
    }
    /* An authorisation value that ends in zero bytes, of which a TPM keeps nothing. */
    struct blob b = {0};
    uint8_t auth[32] = {1, 2, 3}, got = 0;
    OK(tpm_seal(f->tpm, auth, NULL, "x", 1, b.bytes, &b.len, err));
    OK(tpm_unseal(f->tpm, NULL, auth, b.bytes, b.len, &got, 1, err));
    assert_int_equal(got, 'x');
}

static void test_unseal_survives_restart(void **state)
{
    struct fixture *f = *state;
    struct blob b = {0};
    uint8_t got[32], want[32];
    seal_some(f, &b, 32);
    close_all(f);
    assert_true(swtpm_reset(&f->swtpm));
    open_tpm(f);
    OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, 32, err));
    fill(want, 32);
    assert_memory_equal(got, want, 32);
}

static void test_unseal_refused(void **state)
{
    struct fixture *f = *state;
    struct blob b = {0};
    uint8_t got[32];
    seal_some(f, &b, 32);
    refuse_unseal(f->tpm, other_secret, &b, 32);
    refuse_unseal(f->tpm, secret, &b, 31);
    refuse_unseal(f->tpm, secret, &b, 33);
    b.len++; /* a byte behind it */
    refuse_unseal(f->tpm, secret, &b, 32);
    b.len--;
    for (size_t len = b.len; len > 0; len--) {
        struct blob cut = {.len = len - 1};
        memcpy(cut.bytes, b.bytes, cut.len);
        refuse_unseal(f->tpm, secret, &cut, 32);
    }
    /* None of this costs the connection, a session slot or an object slot. */
    OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, 32, err));
    assert_int_equal(read_state(f).l, f->pins.l_first);
}

static void test_unseal_damaged(void **state)
{
    struct fixture *f = *state;
    struct blob b = {0};
    uint8_t got[32];
    seal_some(f, &b, 32);
    for (size_t i = 0; i < b.len; i++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t m = 0; m < sizeof(masks); m++) {
            b.bytes[i] ^= masks[m];
            refuse_unseal(f->tpm, secret, &b, 32);
            b.bytes[i] ^= masks[m];
        }
    }
    OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, 32, err));
}

static void test_unseal_on_other_tpm(void **state)
{
    struct fixture *f = *state;
    struct blob b = {0};
    seal_some(f, &b, 32);
    struct swtpm other = {0};
    assert_true(swtpm_make(&other));
    struct tpm_config c = config_of(&other);
    struct tpm *tpm = NULL;
    OK(tpm_open(&tpm, &c, true, err));
    refuse_unseal(tpm, secret, &b, 32);
    tpm_close(&tpm);
    swtpm_remove(&other);
}

static void test_seal_after_reset(void **state)
{
    struct fixture *f = *state;
    struct blob b = {0};
    uint8_t got[32];
    seal_some(f, &b, 32);
    assert_true(swtpm_reset(&f->swtpm));
    FAILS(RC_HALT_CANARY, tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, 32, err));
    FAILS(RC_HALT_CANARY, tpm_seal(f->tpm, secret, NULL, "x", 1, b.bytes, &b.len, err));
    assert_int_equal(b.len, 0);
    swtpm_kill(&f->swtpm);
    FAILS(RC_HALT_ANCHOR, tpm_seal(f->tpm, secret, NULL, "x", 1, b.bytes, &b.len, err));
}

/* A secret that stands nowhere in the program, so that the memory can be searched for it. */
static uint8_t pattern(size_t i)
{
    uint32_t x = (uint32_t)i * UINT32_C(2654435761) + 12345;
    x ^= x >> 13;
    x *= UINT32_C(0x5bd1e995);
    return (uint8_t)(x >> 20);
}

static size_t count_pattern(const uint8_t *p, size_t len)
{
    size_t found = 0;
    for (size_t i = 0; i + 16 <= len; i++) {
        for (size_t at = 0; at < TPM_SECRET_MAX; at += 16) {
            size_t same = 0;
            while (same < 16 && p[i + same] == pattern(at + same))
                same++;
            found += same == 16 ? 1 : 0;
        }
    }
    return found;
}

/* Copies of 16 bytes of the pattern in all writable memory of this process. */
static size_t search_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(mem >= 0);
    char line[512], access[8];
    unsigned long from, to;
    size_t found = 0;
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || access[1] != 'w' ||
            to - from > (64UL << 20))
            continue;
        size_t len = to - from;
        uint8_t *copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(copy != MAP_FAILED);
        ssize_t got = pread(mem, copy, len, (off_t)from);
        found += got > 0 ? count_pattern(copy, (size_t)got) : 0;
        (void)munmap(copy, len);
    }
    (void)fclose(maps);
    (void)close(mem);
    return found;
}

static void test_no_copy_in_memory(void **state)
{
    struct fixture *f = *state;
    static uint8_t plain[TPM_SECRET_MAX];
    struct blob b = {0};
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = pattern(i);
    assert_true(search_memory() >= TPM_SECRET_MAX / 16); /* the search does find things */
    OK(tpm_seal(f->tpm, secret, NULL, plain, sizeof(plain), b.bytes, &b.len, err));
    wipe(plain, sizeof(plain));
    assert_int_equal(search_memory(), 0);
    OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, plain, sizeof(plain), err));
    wipe(plain, sizeof(plain));
    assert_int_equal(search_memory(), 0);
}

/* Sessions, objects, configuration --------------------------------------------------------------*/

static void test_nothing_leaks(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < OPEN_CYCLES; i++) {
        reopen(f);
        if (i % 3 == 0)
            anchor_close(&f->anchor); /* tpm_close() alone ends the session */
    }
    struct blob b = {0};
    uint8_t got[32];
    seal_some(f, &b, 32);
    for (int i = 0; i < 20; i++) {
        OK(tpm_unseal(f->tpm, NULL, secret, b.bytes, b.len, got, 32, err));
        refuse_unseal(f->tpm, other_secret, &b, 32);
    }
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1); /* our own session */
    close_all(f);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 0);
}

static void test_strays_are_flushed(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    while (outsider_leave_session(f->swtpm.tcti))
        ;
    assert_true(outsider_count_strays(f->swtpm.tcti) >= 3);
    open_tpm(f);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 1);
}

static void test_config(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    const struct tpm_config good = config_of(&f->swtpm);
    const char *const bad_tcti[] = {"", "no-such-module", "no-such-module:x", "swtpm:foo=1"};
    for (size_t i = 0; i < 4; i++) {
        struct tpm_config c = {.tcti = bad_tcti[i]};
        FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
        assert_null(f->tpm);
    }
    struct tpm_config c = good;
    c.watchdog_s = TPM_WATCHDOG_S_MAX + 1;
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    c = good;
    c.srk_handle = 0x80000001;
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    c = good;
    c.owner_auth_len = TPM_OWNER_AUTH_MAX + 1;
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    c = (struct tpm_config){.tcti = "swtpm:path=/nonexistent/socket"};
    FAILS(RC_RETRY_ANCHOR, tpm_open(&f->tpm, &c, true, err));
    c = good;
    c.watchdog_s = 1; /* and a TPM that works is left alone */
    OK(tpm_open(&f->tpm, &c, false, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
}

/* Something else at our handle: without noDA it would put the TPM into lock-out one day. */
static void test_foreign_storage_key(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    assert_true(outsider_evict(f->swtpm.tcti, TPM_SRK_DEFAULT));
    assert_true(outsider_persist_key(f->swtpm.tcti, TPM_SRK_DEFAULT));
    struct tpm_config c = config_of(&f->swtpm);
    FAILS(RC_HALT_REGRESSION, tpm_open(&f->tpm, &c, false, err));
    FAILS(RC_REFUSED_CONFIG, tpm_open(&f->tpm, &c, true, err));
    assert_true(outsider_evict(f->swtpm.tcti, TPM_SRK_DEFAULT));
    FAILS(RC_HALT_REGRESSION, tpm_open(&f->tpm, &c, false, err));
    /* Made again it is the same key: it follows from the owner seed and the template. */
    OK(tpm_open(&f->tpm, &c, true, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
}

/* Watchdog --------------------------------------------------------------------------------------*/

static int64_t now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wait for the child, but not for ever: a watchdog that sleeps is what this is about. */
static int wait_for(pid_t pid)
{
    int status = 0;
    int64_t start = now_ms();
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() - start > CHILD_MS_MAX)
            (void)kill(pid, SIGKILL);
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
    return status;
}

/* In the child: open, say so, wait for the word, then go on until the TPM does not answer. */
static void child(const struct fixture *f, bool connect_late, int ready, int go)
{
    struct tpm_config c = config_of(&f->swtpm);
    c.watchdog_s = 1;
    struct tpm *tpm = NULL;
    struct anchor *anchor = NULL;
    struct anchor_state s;
    char word = 'r';
    bool opened = connect_late || (tpm_open(&tpm, &c, false, NULL) == RC_OK &&
                                   anchor_open(&anchor, tpm, &f->pins, secret, NULL) == RC_OK &&
                                   anchor_read(anchor, &s, NULL) == RC_OK);
    if (!opened || write(ready, &word, 1) != 1 || read(go, &word, 1) != 1)
        _exit(1);
    if (connect_late && tpm_open(&tpm, &c, false, NULL) != RC_OK)
        _exit(2);
    if (anchor_step_l(anchor, s.l + 1, NULL) != RC_OK)
        _exit(3);
    _exit(0);
}

static void run_stuck(struct fixture *f, bool connect_late, const char *word_in_log)
{
    int ready[2], go[2], log[2];
    char word = 'g';
    assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(go, O_CLOEXEC) | pipe2(log, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(log[1], STDERR_FILENO);
        child(f, connect_late, ready[1], go[0]);
    }
    (void)close(log[1]);
    assert_int_equal(read(ready[0], &word, 1), 1);
    swtpm_pause(&f->swtpm);
    int64_t start = now_ms();
    assert_int_equal(write(go[1], &word, 1), 1);
    int status = wait_for(pid);
    int64_t took_ms = now_ms() - start;
    swtpm_resume(&f->swtpm);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_TPM_STUCK);
    assert_true(took_ms >= 1000);
    assert_true(took_ms < 4000); /* 1 s, at most 1 s to notice, and a loaded machine */

    char text[1024] = "";
    ssize_t len = read(log[0], text, sizeof(text) - 1);
    assert_true(len > 0);
    assert_non_null(strstr(text, word_in_log));
    (void)close(log[0]);
    (void)close(ready[0]), (void)close(ready[1]), (void)close(go[0]), (void)close(go[1]);
}

static void test_stuck_command(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    run_stuck(f, false, "NV_Increment");
}

static void test_stuck_connect(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    run_stuck(f, true, "TPM command");
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
        TEST(test_identity),
        TEST(test_provision),
        TEST(test_provision_takes_free_handles),
        TEST(test_undefine),
        TEST(test_undefine_leaves_another_key),
        TEST(test_exhausted),
        TEST(test_owner_auth),
        TEST(test_write_and_read),
        TEST(test_steps),
        TEST(test_prove),
        TEST(test_prove_looks_at_the_clock),
        TEST(test_openssl_is_answered),
        TEST(test_two_keys),
        TEST(test_wrong_secret),
        TEST(test_changed_pins),
        TEST(test_other_tpm),
        TEST(test_missing_index),
        TEST(test_counter_made_anew),
        TEST(test_counter_made_anew_while_open),
        TEST(test_replaced_with_other_auth),
        TEST(test_replaced_by_ordinary),
        TEST(test_record_reads_back_differently),
        TEST(test_torn_record),
        TEST(test_record_written_outside),
        TEST(test_kill),
        TEST(test_kill_before_open),
        TEST(test_reset_behind_our_back),
        TEST(test_second_writer),
        TEST(test_second_process),
        TEST(test_rollback_shows_older_values),
        TEST(test_seal),
        TEST(test_unseal_survives_restart),
        TEST(test_unseal_refused),
        TEST(test_unseal_damaged),
        TEST(test_unseal_on_other_tpm),
        TEST(test_seal_after_reset),
        TEST(test_no_copy_in_memory),
        TEST(test_nothing_leaks),
        TEST(test_strays_are_flushed),
        TEST(test_config),
        TEST(test_foreign_storage_key),
        TEST(test_stuck_command),
        TEST(test_stuck_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
