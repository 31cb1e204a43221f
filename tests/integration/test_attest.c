/*
 * What a real software TPM attests: keys made and found again, statements that the verifier
 * believes, and everything around the attestation key that can go wrong without stopping a signer.
 * Skipped (exit code 77) where swtpm is not installed. "test_attest -w DIR" writes the documents
 * that tests/unit/test_attest.c reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verify.h"
#include "base/bytes.h"
#include "base/secmem.h"
#include "lib/outsider.h"
#include "lib/swtpm.h"
#include "tpm/attest.h"

#define SKIP 77

static const uint8_t secret[ANCHOR_AUTH_LEN] = "an auth secret of 32 bytes ....";
static const struct attest_expected nothing;

struct fixture {
    struct swtpm swtpm;
    struct tpm *tpm;
    struct anchor *anchor;
    struct anchor_pins pins;
    struct attest_keys keys;
};

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
#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        struct err fails_err = {0};                                                                \
        struct err *err = &fails_err;                                                              \
        assert_rc((call), (want), &fails_err);                                                     \
        assert_true(fails_err.text[0] != '\0');                                                    \
    } while (0)

static void open_tpm(struct fixture *f, const uint8_t *endorsement, size_t len)
{
    struct tpm_config c = {
        .tcti = f->swtpm.tcti, .endorsement_auth = endorsement, .endorsement_auth_len = len};
    OK(tpm_open(&f->tpm, &c, true, err));
}

static void write_record(struct fixture *f)
{
    struct anchor_state s;
    OK(anchor_read(f->anchor, &s, err));
    struct anchor_record a = {.w = s.w,
                              .window = (int64_t)s.w - f->pins.w_base,
                              .l = s.l,
                              .l_base = f->pins.l_first,
                              .wall_s = 1800000000,
                              .early_window = ANCHOR_NO_WINDOW};
    memset(a.head, 0xa5, sizeof(a.head));
    OK(anchor_write(f->anchor, &a, err));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (f == NULL || !swtpm_make(&f->swtpm))
        return -1;
    open_tpm(f, NULL, 0);
    OK(anchor_choose(f->tpm, &f->pins, err));
    OK(anchor_provision(f->tpm, secret, 41, &f->pins, err));
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
    OK(tpm_attest_keys(f->tpm, true, &f->keys, err));
    write_record(f);
    return 0;
}

static void close_all(struct fixture *f)
{
    anchor_close(&f->anchor);
    tpm_close(&f->tpm);
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

static void reopen(struct fixture *f)
{
    close_all(f);
    open_tpm(f, NULL, 0);
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
}

/* Ask the TPM and put the document together. */
static void take_document(struct fixture *f, struct attest_document *doc)
{
    uint8_t digest[32];
    *doc = (struct attest_document){.bound = {.key = "router-fw",
                                              .nonce_len = 16,
                                              .entries = 12,
                                              .at_s = 1800000000,
                                              .w_base = f->pins.w_base,
                                              .l_first = f->pins.l_first,
                                              .tpm = "IBM SW   TPM",
                                              .tpm_virtual = true}};
    struct attest_bound *b = &doc->bound;
    memset(b->nonce, 0x5a, b->nonce_len);
    memset(b->head, 0xa5, sizeof(b->head));
    memcpy(b->ak_name, f->keys.ak.name, TPM_NAME_LEN);
    memcpy(b->ek_name, f->keys.ek.name, TPM_NAME_LEN);
    memcpy(b->w_name, f->pins.w_name, TPM_NAME_LEN);
    memcpy(b->l_name, f->pins.l_name, TPM_NAME_LEN);
    memcpy(b->a_name, f->pins.a_name, TPM_NAME_LEN);
    memcpy(doc->ak, f->keys.ak.point, P256_POINT_LEN);
    memcpy(doc->ek, f->keys.ek.point, P256_POINT_LEN);
    OK(attest_digest(digest, b, err));
    OK(anchor_attest(f->anchor, f->keys.ak.name, digest, &doc->evidence, err));
    OK(attest_verify(doc, &nothing, &doc->meaning, err));
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    uint8_t name[TPM_NAME_LEN];
    struct attest_keys again;
    attest_ak_name(name, f->keys.ak.point);
    assert_memory_equal(name, f->keys.ak.name, TPM_NAME_LEN);
    attest_ek_name(name, f->keys.ek.point);
    assert_memory_equal(name, f->keys.ek.name, TPM_NAME_LEN);
    OK(tpm_attest_keys(f->tpm, true, &again, err));
    assert_memory_equal(&again, &f->keys, sizeof(again));
    /* Neither key takes a slot that others need. */
    close_all(f);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 0);
}

static void test_meaning(void **state)
{
    struct fixture *f = *state;
    static struct attest_document first, later;
    struct tpm_time before, after;
    struct attest_meaning m;
    OK(tpm_read_time(f->tpm, &before, err));
    take_document(f, &first);
    OK(tpm_read_time(f->tpm, &after, err));
    assert_int_equal(first.meaning.floor, 41);
    assert_int_equal(first.meaning.epoch, 0);
    assert_int_equal(first.meaning.reset_count, before.reset_count);
    assert_true(first.meaning.clock_ms >= before.clock_ms);
    assert_true(first.meaning.clock_ms <= after.clock_ms);
    assert_true(first.evidence.time.len > 0);
    assert_int_equal(first.meaning.anchored_window, 41);

    OK(anchor_step_w(f->anchor, f->pins.w_first + 1, err));
    OK(anchor_step_l(f->anchor, f->pins.l_first + 1, err));
    write_record(f);
    take_document(f, &later);
    assert_int_equal(later.meaning.floor, 42);
    assert_int_equal(later.meaning.epoch, 1);
    OK(attest_verify(&later, &(struct attest_expected){.earlier = &first, .ak = first.ak}, &m,
                     err));
    FAILS(RC_REFUSED_SIGNATURE,
          attest_verify(&first, &(struct attest_expected){.earlier = &later}, &m, err));
}

/* The reset count is plain: that is what the endorsement hierarchy is for. */
static void test_reset_shows(void **state)
{
    struct fixture *f = *state;
    static struct attest_document first, later;
    take_document(f, &first);
    close_all(f);
    assert_true(swtpm_reset(&f->swtpm));
    open_tpm(f, NULL, 0);
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
    take_document(f, &later);
    assert_int_equal(later.meaning.reset_count, first.meaning.reset_count + 1);
    assert_memory_equal(later.ak, first.ak, P256_POINT_LEN);
}

/* Gone from its handle: refused, and the anchor goes on; asked for the keys, it is made again. */
static void test_ak_gone(void **state)
{
    struct fixture *f = *state;
    struct attest_evidence e, zero = {0};
    struct anchor_state s;
    struct attest_keys again;
    static struct attest_document doc;
    assert_true(outsider_evict(f->swtpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT)));
    memset(&e, 0x55, sizeof(e));
    FAILS(RC_REFUSED_ATTEST, anchor_attest(f->anchor, f->keys.ak.name, secret, &e, err));
    assert_memory_equal(&e, &zero, sizeof(e));
    OK(anchor_read(f->anchor, &s, err));
    OK(tpm_attest_keys(f->tpm, true, &again, err));
    assert_memory_equal(&again, &f->keys, sizeof(again));
    take_document(f, &doc);
}

static void test_ak_replaced(void **state)
{
    struct fixture *f = *state;
    struct attest_evidence e;
    struct attest_keys keys, zero = {0};
    struct anchor_state s;
    uint8_t other[TPM_NAME_LEN];
    memcpy(other, f->keys.ak.name, sizeof(other));
    other[9] ^= 1;
    FAILS(RC_REFUSED_ATTEST, anchor_attest(f->anchor, other, secret, &e, err));
    assert_true(outsider_evict(f->swtpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT)));
    assert_true(outsider_persist_key(f->swtpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT)));
    FAILS(RC_REFUSED_ATTEST, anchor_attest(f->anchor, f->keys.ak.name, secret, &e, err));
    memset(&keys, 0x55, sizeof(keys));
    FAILS(RC_REFUSED_ATTEST, tpm_attest_keys(f->tpm, true, &keys, err));
    assert_memory_equal(&keys, &zero, sizeof(keys));
    OK(anchor_read(f->anchor, &s, err));
}

/* With another endorsement authorisation an AK that is there still signs; only the time is missing,
 * and no new key can be made. */
static void test_endorsement_auth(void **state)
{
    struct fixture *f = *state;
    static const uint8_t auth[] = "endorsement";
    static struct attest_document doc;
    struct attest_keys keys;
    struct anchor_state s;
    assert_true(outsider_endorse(f->swtpm.tcti, auth, sizeof(auth) - 1));
    take_document(f, &doc);
    assert_int_equal(doc.evidence.time.len, 0);
    FAILS(RC_REFUSED_ATTEST, tpm_attest_keys(f->tpm, true, &keys, err));
    OK(tpm_attest_keys(f->tpm, false, &keys, err)); /* which is all that a start asks for */
    assert_memory_equal(&keys.ak, &f->keys.ak, sizeof(keys.ak));
    OK(anchor_read(f->anchor, &s, err));
    assert_true(outsider_evict(f->swtpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT)));
    FAILS(RC_REFUSED_ATTEST, tpm_attest_keys(f->tpm, true, &keys, err));
    close_all(f);
    open_tpm(f, auth, sizeof(auth) - 1);
    OK(anchor_open(&f->anchor, f->tpm, &f->pins, secret, err));
    OK(tpm_attest_keys(f->tpm, true, &keys, err));
    take_document(f, &doc);
    assert_true(doc.evidence.time.len > 0);
}

static void test_owner_auth(void **state)
{
    struct fixture *f = *state;
    static const uint8_t auth[] = "owner";
    struct attest_keys keys;
    static struct attest_document doc;
    assert_true(outsider_own(f->swtpm.tcti, auth, sizeof(auth) - 1));
    OK(tpm_attest_keys(f->tpm, true, &keys, err)); /* it is there */
    take_document(f, &doc);
    assert_true(
        outsider_evict_as(f->swtpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT), auth, sizeof(auth) - 1));
    FAILS(RC_REFUSED_ATTEST, tpm_attest_keys(f->tpm, true, &keys, err));
    close_all(f);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 0);
}

/* What is more than a missing attestation stops the anchor like any other command. */
static void test_lost_session(void **state)
{
    struct fixture *f = *state;
    struct attest_evidence e;
    struct anchor_state s;
    assert_true(swtpm_reset(&f->swtpm));
    FAILS(RC_HALT_CANARY, anchor_attest(f->anchor, f->keys.ak.name, secret, &e, err));
    FAILS(RC_HALT_CANARY, anchor_read(f->anchor, &s, err));
}

static void test_lost_tpm(void **state)
{
    struct fixture *f = *state;
    struct attest_evidence e;
    struct attest_keys keys;
    swtpm_kill(&f->swtpm);
    FAILS(RC_HALT_ANCHOR, anchor_attest(f->anchor, f->keys.ak.name, secret, &e, err));
    FAILS(RC_HALT_ANCHOR, tpm_attest_keys(f->tpm, true, &keys, err));
}

static void test_other_tpm(void **state)
{
    struct fixture *f = *state, *g = NULL;
    static struct attest_document doc, other;
    struct attest_meaning m;
    take_document(f, &doc);
    assert_int_equal(setup((void **)&g), 0);
    take_document(g, &other);
    assert_memory_not_equal(doc.ak, other.ak, P256_POINT_LEN);
    FAILS(RC_REFUSED_SIGNATURE,
          attest_verify(&other, &(struct attest_expected){.ak = doc.ak}, &m, err));
    other.evidence.w = doc.evidence.w; /* the same numbers, signed by somebody else */
    FAILS(RC_REFUSED_SIGNATURE, attest_verify(&other, &nothing, &m, err));
    (void)teardown((void **)&g);
}

static void test_again_and_again(void **state)
{
    struct fixture *f = *state;
    static struct attest_document doc;
    for (int i = 0; i < 20; i++)
        take_document(f, &doc);
    reopen(f);
    for (int i = 0; i < 5; i++)
        take_document(f, &doc);
    close_all(f);
    assert_int_equal(outsider_count_strays(f->swtpm.tcti), 0);
}

/* Recording
 * --------------------------------------------------------------------------------------*/

static bool write_document(const char *dir, const char *name, const struct attest_document *doc)
{
    char path[512];
    struct jcs j CLEANUP(jcs_wipe) = {0};
    attest_document_print(&j, doc);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = jcs_finish(&j) ? fopen(path, "w") : NULL;
    bool good = file != NULL && fprintf(file, "%s\n", j.text) > 0;
    return file != NULL && fclose(file) == 0 && good;
}

static int record(const char *dir)
{
    static struct attest_document first, later, other;
    struct fixture *f = NULL, *g = NULL;
    if (setup((void **)&f) != 0 || setup((void **)&g) != 0)
        return 1;
    take_document(f, &first);
    take_document(g, &other);
    for (uint64_t i = 1; i <= 2; i++)
        OK(anchor_step_w(f->anchor, f->pins.w_first + i, err));
    for (uint64_t i = 1; i <= 3; i++)
        OK(anchor_step_l(f->anchor, f->pins.l_first + i, err));
    write_record(f);
    take_document(f, &later);
    bool good = write_document(dir, "first.json", &first) &&
                write_document(dir, "later.json", &later) &&
                write_document(dir, "other-tpm.json", &other);
    (void)teardown((void **)&f);
    (void)teardown((void **)&g);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (system("swtpm --version >/dev/null 2>&1") != 0) /* NOLINT(cert-env33-c) */
        return SKIP;
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "-w") == 0)
        return record(argv[2]);
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_keys),       TEST(test_meaning),         TEST(test_reset_shows),
        TEST(test_ak_gone),    TEST(test_ak_replaced),     TEST(test_endorsement_auth),
        TEST(test_owner_auth), TEST(test_lost_session),    TEST(test_lost_tpm),
        TEST(test_other_tpm),  TEST(test_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
