/* Locks of sealed blobs without a TPM: their one description each, and selections of PCRs. That the
 * digests are those of a TPM is shown by test_tpm_lock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/secmem.h"
#include "tpm/lock.h"

static const struct tpm_lock window = {.kind = TPM_LOCK_WINDOW,
                                       .bound_low = true,
                                       .bound_high = true,
                                       .low = 11,
                                       .high = 12,
                                       .pcrs = {.bank = TPM_BANK_SHA256,
                                                .selection = 0x81,
                                                .digest = "thirty-two bytes of some values"}};

static void same(const struct tpm_lock *lock)
{
    uint8_t text[TPM_LOCK_LEN];
    uint8_t again[TPM_LOCK_LEN];
    struct tpm_lock back;
    tpm_lock_print(text, lock);
    assert_true(tpm_lock_scan(&back, text));
    tpm_lock_print(again, &back);
    assert_memory_equal(text, again, sizeof(text));
    assert_int_equal(back.kind, lock->kind);
    assert_int_equal(back.high, lock->high);
}

static void description(void **state)
{
    (void)state;
    static const struct tpm_lock free_of_bounds = {.kind = TPM_LOCK_WINDOW};
    static const struct tpm_lock owner = {.kind = TPM_LOCK_OWNER};
    static const struct tpm_lock owner_until = {
        .kind = TPM_LOCK_OWNER, .bound_high = true, .high = 9};
    static const struct tpm_lock high = {.kind = TPM_LOCK_WINDOW, .bound_high = true, .high = 1};
    same(&window);
    same(&free_of_bounds);
    same(&owner);
    same(&owner_until);
    same(&high);
}

static void refused(const struct tpm_lock *lock)
{
    uint8_t text[TPM_LOCK_LEN];
    struct tpm_lock back;
    static const struct tpm_lock zero;
    tpm_lock_print(text, lock);
    assert_false(tpm_lock_scan(&back, text));
    assert_memory_equal(&back, &zero, sizeof(zero));
}

static void description_malformed(void **state)
{
    (void)state;
    struct tpm_lock lock = {.kind = TPM_LOCK_AUTH};
    refused(&lock);
    lock.kind = (enum tpm_lock_kind)3;
    refused(&lock);
    lock = window;
    lock.kind = TPM_LOCK_OWNER; /* which has no lower bound and no PCRs */
    refused(&lock);
    lock = window;
    lock.bound_low = false; /* but the number is there */
    refused(&lock);
    lock = window;
    lock.bound_high = false;
    refused(&lock);
    lock = window;
    lock.pcrs.selection = 0; /* but bank and digest are there */
    refused(&lock);
    lock = window;
    lock.pcrs.bank = 4; /* SHA-1 */
    refused(&lock);
    lock = window;
    lock.pcrs.selection |= UINT32_C(1) << TPM_PCR_COUNT;
    refused(&lock);
    uint8_t text[TPM_LOCK_LEN];
    tpm_lock_print(text, &window);
    text[1] |= 8; /* a flag that nobody knows */
    assert_false(tpm_lock_scan(&lock, text));
}

/* Everything that is asked is in the digest. */
static void digests_differ(void **state)
{
    (void)state;
    struct tpm_lock locks[9] = {window, window, window, window, window, window, window, window};
    locks[1].low = 10;
    locks[2].high = 13;
    locks[3].pcrs.selection = 1;
    locks[4].pcrs.digest[0] ^= 1;
    locks[5].w_name[33] ^= 1;
    locks[6].bound_low = false;
    locks[7].bound_high = false;
    locks[8] = (struct tpm_lock){.kind = TPM_LOCK_OWNER};
    uint8_t policy[9][TPM_POLICY_LEN];
    for (size_t i = 0; i < 9; i++) {
        tpm_lock_policy(policy[i], &locks[i]);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(policy[i], policy[j], TPM_POLICY_LEN);
    }
}

static void selections(void **state)
{
    (void)state;
    struct tpm_pcrs pcrs;
    char text[TPM_PCRS_TEXT];
    static const char *const good[] = {
        "sha256:0", "sha256:0,7", "sha384:23",
        "sha384:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"};
    static const char *const bad[] = {
        "",           "0,7",         "sha256",    "sha256:",    "sha256:24", "sha256:7,0",
        "sha256:0,0", "sha1:0",      "sha256:0,", "sha256:,0",  "sha256:00", "sha256:0 ",
        "SHA256:0",   "sha256:0,-1", "sha25:0",   "sha256:1000"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(tpm_pcrs_scan(&pcrs, good[i]));
        tpm_pcrs_print(text, &pcrs);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(tpm_pcrs_scan(&pcrs, bad[i]));
        assert_int_equal(pcrs.selection, 0);
        assert_int_equal(pcrs.bank, 0);
    }
    tpm_pcrs_print(text, &pcrs);
    assert_string_equal(text, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description),
        cmocka_unit_test(description_malformed),
        cmocka_unit_test(digests_differ),
        cmocka_unit_test(selections),
    };
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    return cmocka_run_group_tests_name("tpm_policy", tests, NULL, NULL);
}
