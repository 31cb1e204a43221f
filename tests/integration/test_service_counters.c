/*
 * A running service and its counters in the hands of others: an owner who removes W, L or A and
 * makes them anew, who swaps them, who takes the storage key away; a TPM that is killed in the
 * middle of its work again and again, and one that somebody else has brought into lock-out. Nothing
 * signs twice, what is refused says why, and nobody's failures but one's own lead to a lock-out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "lib/evidence.h"
#include "lib/outsider.h"
#include "tpm/anchor.h"
#include "tpm/device.h"

#define KILLS 5
#define WRONG_TRIES_MAX 40
#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'lms','parameters':"              \
    "['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],'message':'raw','assignment':"                   \
    "{'kind':'interval','signatures_per_window':8,'lease_size':2}}"

static struct clocks clocks;

struct rig {
    struct service s;
    struct evidence e;
    struct anchor_pins pins;
    uint8_t auth_secret[ANCHOR_AUTH_LEN];
};

static void make(struct rig *r)
{
    r->e = EVIDENCE_EMPTY;
    service_make(&r->s, "counters", &clocks, NULL);
    service_key(&r->s, PLAN);
}

static void end(struct rig *r)
{
    uint8_t public[PUBLIC_MAX];
    service_start(&r->s);
    size_t len = service_public(&r->s, "k", public);
    service_stop(&r->s);
    assert_int_equal(evidence_check(&r->e, "k", public, len), 0);
    evidence_free(&r->e);
    service_end(&r->s);
}

/* What root reads on a stopped machine: the pins in the ledger, and the authorisation that the TPM
 * gives to whoever has the file. */
static void learn(struct rig *r)
{
    static const uint8_t no_pin[32];
    struct err err = {0};
    struct ledger_key key;
    char path[LAB_PATH + 32];
    char *record = NULL;
    size_t len = 0;
    struct ledger *ledger = service_ledger(&r->s);
    assert_int_equal(ledger_key_by_name(ledger, "k", &key, &err), RC_OK);
    ledger_close(&ledger);
    r->pins = key.pins;
    (void)snprintf(path, sizeof(path), "%s/keys/k/device", r->s.state);
    assert_int_equal(file_read(AT_FDCWD, path, 4096, &record, &len, &err), RC_OK);
    struct tpm_config c = {.tcti = r->s.tpm.tcti};
    struct tpm *tpm = NULL;
    assert_int_equal(tpm_open(&tpm, &c, false, &err), RC_OK);
    assert_int_equal(tpm_unseal(tpm, NULL, no_pin, (const uint8_t *)record + 4,
                                be_get32((const uint8_t *)record), r->auth_secret,
                                sizeof(r->auth_secret), &err),
                     RC_OK);
    tpm_close(&tpm);
    free(record);
}

static void auth_of(const struct rig *r, char object, uint8_t auth[32])
{
    hmac_sha256(auth, r->auth_secret, sizeof(r->auth_secret), &object, 1);
}

/* Undefined, and made anew with the same attributes and value: the same Name. */
static void make_anew(const struct rig *r, char object)
{
    uint8_t auth[32];
    uint32_t handle = object == 'W' ? r->pins.w_handle : r->pins.l_handle;
    auth_of(r, object, auth);
    assert_true(outsider_undefine(r->s.tpm.tcti, handle));
    assert_true(outsider_define(r->s.tpm.tcti, handle, true, auth));
    assert_true(outsider_increment(r->s.tpm.tcti, handle, auth));
}

static void expect_refusal(struct rig *r, const char *words)
{
    struct answer a;
    service_start(&r->s);
    (void)sign_window(&r->s, &a, "k", "refused", "refused");
    expect_problem(&a, 503, "state-regression");
    if (strstr(answer_text(&a, "detail"), words) == NULL)
        fail_msg("'%s' is not in '%s'", words, answer_text(&a, "detail"));
    client_done(&a);
    service_stop(&r->s);
}

/* L goes on above what A anchors: told from an honest crash, and the way on is the next window. */
static void test_l_made_anew(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    service_start(&r.s);
    (void)must_sign_window(&r.s, &r.e, "k", "one", "one");
    service_stop(&r.s);
    learn(&r);
    make_anew(&r, 'L');
    expect_refusal(&r, "made anew");
    assert_int_equal(service_tool(&r.s, NULL, "recover --key k --yes"), 0);
    service_start(&r.s);
    struct answer a;
    (void)sign_window(&r.s, &a, "k", "two", "two");
    expect_problem(&a, 428, "export-required"); /* the way on: window 1, once that is known */
    assert_non_null(strstr(answer_text(&a, "detail"), "window 1"));
    client_done(&a);
    service_stop(&r.s);
    end(&r);
}

/* W goes on one above its old value. That is what a crash in the middle of a step leaves too, and
 * means the same: nothing below is ever opened again. It costs the owner's victim a window. */
static void test_w_made_anew(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    service_start(&r.s);
    uint64_t before = must_sign_window(&r.s, &r.e, "k", "one", "one");
    service_stop(&r.s);
    learn(&r);
    make_anew(&r, 'W');
    service_start(&r.s);
    uint64_t after = must_sign_window(&r.s, &r.e, "k", "two", "two");
    assert_true(after / 8 > before / 8);
    service_stop(&r.s);

    /* Both of them: the one that is made last stands above everything that was removed. */
    make_anew(&r, 'L');
    make_anew(&r, 'W');
    expect_refusal(&r, "made anew");
    end(&r);
}

/* Not its value: the same kind of index with other contents, other attributes, or none at all. */
static void test_objects_swapped(void **state)
{
    (void)state;
    struct rig r;
    uint8_t auth[32];
    make(&r);
    learn(&r);
    const char *tcti = r.s.tpm.tcti;
    auth_of(&r, 'L', auth);
    assert_true(outsider_undefine(tcti, r.pins.l_handle));
    expect_refusal(&r, "L is missing");
    assert_true(outsider_define(tcti, r.pins.l_handle, false, auth));
    assert_true(outsider_write(tcti, r.pins.l_handle, auth, auth, 32) ||
                outsider_define_byte(tcti, r.pins.l_handle + 100));
    expect_refusal(&r, "L was replaced");
    assert_true(outsider_undefine(tcti, r.pins.w_handle));
    auth_of(&r, 'W', auth);
    assert_true(outsider_define(tcti, r.pins.w_handle, true, auth));
    expect_refusal(&r, "never incremented");
    assert_true(outsider_evict(tcti, TPM_SRK_DEFAULT));
    expect_refusal(&r, "storage key");
    assert_true(outsider_persist_key(tcti, TPM_SRK_DEFAULT));
    expect_refusal(&r, "not a storage key of ours");
    end(&r);
}

static struct tpm_protection protection(const struct rig *r)
{
    struct err err = {0};
    struct tpm_protection p;
    struct tpm *tpm = NULL;
    struct tpm_config c = {.tcti = r->s.tpm.tcti};
    assert_int_equal(tpm_open(&tpm, &c, false, &err), RC_OK);
    assert_int_equal(tpm_protection_read(tpm, &p, &err), RC_OK);
    tpm_close(&tpm);
    return p;
}

/* The first request behind a reset meets it, and the core starts again. */
static void sign_when_back(struct rig *r, const char *name)
{
    struct answer a;
    wait_sign_window(&r->s, &a, "k", name, name, 201);
    assert_true(evidence_take(&r->e, "k", name, name, &a));
    client_done(&a);
}

/* kill -9 of the TPM under the running service, each time behind a signature. The same done to an
 * index of somebody's that is subject to dictionary-attack protection counts, so that this can
 * fail. */
static void test_unclean_resets_are_no_failures(void **state)
{
    (void)state;
    struct rig r;
    uint8_t auth[32] = {1, 2, 3};
    make(&r);
    service_start(&r.s);
    for (int i = 0; i < KILLS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "n%d", i);
        sign_when_back(&r, name);
        assert_true(swtpm_reset(&r.s.tpm));
    }
    sign_when_back(&r, "after");
    service_stop(&r.s);
    struct tpm_protection p = protection(&r);
    assert_int_equal(p.lockout_counter, 0);
    assert_false(p.in_lockout);
    assert_true(outsider_define_protected(r.s.tpm.tcti, 0x01900000, auth));
    assert_true(outsider_write(r.s.tpm.tcti, 0x01900000, auth, auth, 8));
    assert_true(swtpm_reset(&r.s.tpm));
    assert_int_equal(protection(&r).lockout_counter, 1);
    end(&r);
}

static void test_lock_out_of_somebody_else(void **state)
{
    (void)state;
    struct rig r;
    uint8_t auth[32] = {1, 2, 3};
    uint8_t wrong[32] = {3, 2, 1};
    make(&r);
    service_start(&r.s);
    (void)must_sign_window(&r.s, &r.e, "k", "before", "before");
    assert_true(outsider_define_protected(r.s.tpm.tcti, 0x01900000, auth));
    for (int i = 0; i < WRONG_TRIES_MAX; i++)
        assert_false(outsider_write(r.s.tpm.tcti, 0x01900000, wrong, wrong, 8));
    assert_false(outsider_write(r.s.tpm.tcti, 0x01900000, auth, auth, 8)); /* locked out indeed */
    (void)must_sign_window(&r.s, &r.e, "k", "during", "during");
    service_stop(&r.s);
    assert_true(protection(&r).in_lockout);
    service_start(&r.s); /* from the beginning: storage key, blobs, all three indexes */
    (void)must_sign_window(&r.s, &r.e, "k", "restarted", "restarted");
    service_stop(&r.s);
    end(&r);
}

static int start(void **state)
{
    (void)state;
    clocks_start(&clocks, "clocks", false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_l_made_anew),
        cmocka_unit_test(test_w_made_anew),
        cmocka_unit_test(test_objects_swapped),
        cmocka_unit_test(test_unclean_resets_are_no_failures),
        cmocka_unit_test(test_lock_out_of_somebody_else),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
