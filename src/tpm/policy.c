/* Locks of sealed blobs: their description, and the policy digest that follows from it. */
#include <stdio.h>
#include <string.h>
#include <tss2/tss2_tpm2_types.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/lease.h"
#include "base/text.h"
#include "tpm/lock.h"

_Static_assert(TPM_BANK_SHA256 == TPM2_ALG_SHA256, "the registry's number");
_Static_assert(TPM_BANK_SHA384 == TPM2_ALG_SHA384, "the registry's number");
_Static_assert(TPM_POLICY_LEN == SHA256_LEN, "policies are made with SHA-256");

#define FLAG_LOW 1
#define FLAG_HIGH 2
#define FLAG_PCRS 4
#define OPERAND_LEN 8
#define SELECT_LEN (TPM_PCR_COUNT / 8)

bool tpm_lock_bound(const struct tpm_lock *lock)
{
    return lock->bound_low || lock->bound_high;
}

/* Description ---------------------------------------------------------------------------------- */

static uint8_t flags_of(const struct tpm_lock *lock)
{
    return (uint8_t)((lock->bound_low ? FLAG_LOW : 0) | (lock->bound_high ? FLAG_HIGH : 0) |
                     (lock->pcrs.selection != 0 ? FLAG_PCRS : 0));
}

void tpm_lock_print(uint8_t out[TPM_LOCK_LEN], const struct tpm_lock *lock)
{
    out[0] = (uint8_t)lock->kind;
    out[1] = flags_of(lock);
    be_put64(out + 2, lock->low);
    be_put64(out + 10, lock->high);
    be_put16(out + 18, lock->pcrs.bank);
    be_put32(out + 20, lock->pcrs.selection);
    memcpy(out + 24, lock->pcrs.digest, sizeof(lock->pcrs.digest));
}
_Static_assert(24 + sizeof(((struct tpm_pcrs *)0)->digest) == TPM_LOCK_LEN, "that is all");

static bool known_bank(uint16_t bank)
{
    return bank == TPM_BANK_SHA256 || bank == TPM_BANK_SHA384;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

/* Whatever a flag or the kind leaves out must be zero, so that there is one description of each. */
static bool canonical(const struct tpm_lock *lock, uint8_t flags)
{
    const struct tpm_pcrs *pcrs = &lock->pcrs;
    uint8_t known = lock->kind == TPM_LOCK_OWNER ? FLAG_HIGH : FLAG_LOW | FLAG_HIGH | FLAG_PCRS;
    if (flags != flags_of(lock) || (flags & ~known) != 0)
        return false;
    if ((!lock->bound_low && lock->low != 0) || (!lock->bound_high && lock->high != 0))
        return false;
    if ((flags & FLAG_PCRS) == 0)
        return pcrs->bank == 0 && is_zero(pcrs->digest, sizeof(pcrs->digest));
    return known_bank(pcrs->bank) && pcrs->selection >> TPM_PCR_COUNT == 0;
}

bool tpm_lock_scan(struct tpm_lock *lock, const uint8_t in[TPM_LOCK_LEN])
{
    *lock = (struct tpm_lock){.kind = (enum tpm_lock_kind)in[0],
                              .bound_low = (in[1] & FLAG_LOW) != 0,
                              .bound_high = (in[1] & FLAG_HIGH) != 0,
                              .low = be_get64(in + 2),
                              .high = be_get64(in + 10),
                              .pcrs = {.bank = be_get16(in + 18), .selection = be_get32(in + 20)}};
    memcpy(lock->pcrs.digest, in + 24, sizeof(lock->pcrs.digest));
    bool has_policy = in[0] == TPM_LOCK_WINDOW || in[0] == TPM_LOCK_OWNER;
    if (has_policy && canonical(lock, in[1]))
        return true;
    *lock = (struct tpm_lock){0};
    return false;
}

/* Policy --------------------------------------------------------------------------------------- */

/* policy := H(policy || command code || what the command is about). */
static void extend(uint8_t policy[TPM_POLICY_LEN], TPM2_CC command, const void *data, size_t len)
{
    uint8_t text[TPM_POLICY_LEN + 4 + 64 + TPM_NAME_LEN];
    MUST(len <= sizeof(text) - TPM_POLICY_LEN - 4);
    memcpy(text, policy, TPM_POLICY_LEN);
    be_put32(text + TPM_POLICY_LEN, command);
    if (len > 0)
        memcpy(text + TPM_POLICY_LEN + 4, data, len);
    digest_buffer(DIGEST_SHA256, policy, text, TPM_POLICY_LEN + 4 + len);
}

static void extend_nv(uint8_t policy[TPM_POLICY_LEN], const uint8_t w_name[TPM_NAME_LEN],
                      uint64_t operand, TPM2_EO operation)
{
    uint8_t args[OPERAND_LEN + 2 + 2];
    uint8_t about[SHA256_LEN + TPM_NAME_LEN];
    be_put64(args, operand);
    be_put16(args + OPERAND_LEN, 0); /* offset */
    be_put16(args + OPERAND_LEN + 2, operation);
    digest_buffer(DIGEST_SHA256, about, args, sizeof(args));
    memcpy(about + SHA256_LEN, w_name, TPM_NAME_LEN);
    extend(policy, TPM2_CC_PolicyNV, about, sizeof(about));
}

static void extend_pcrs(uint8_t policy[TPM_POLICY_LEN], const struct tpm_pcrs *pcrs)
{
    /* TPML_PCR_SELECTION of one bank, then the digest of the values. */
    uint8_t about[4 + 2 + 1 + SELECT_LEN + SHA256_LEN];
    be_put32(about, 1);
    be_put16(about + 4, pcrs->bank);
    about[6] = SELECT_LEN;
    for (unsigned i = 0; i < SELECT_LEN; i++)
        about[7 + i] = (uint8_t)(pcrs->selection >> 8 * i);
    memcpy(about + 7 + SELECT_LEN, pcrs->digest, SHA256_LEN);
    extend(policy, TPM2_CC_PolicyPCR, about, sizeof(about));
}

/* A hierarchy's Name is its handle; behind it comes policyRef, which is empty here. */
static void extend_owner(uint8_t policy[TPM_POLICY_LEN])
{
    uint8_t owner[4];
    uint8_t first[TPM_POLICY_LEN];
    be_put32(owner, TPM2_RH_OWNER);
    extend(policy, TPM2_CC_PolicySecret, owner, sizeof(owner));
    memcpy(first, policy, sizeof(first));
    digest_buffer(DIGEST_SHA256, policy, first, sizeof(first));
}

void tpm_lock_policy(uint8_t policy[TPM_POLICY_LEN], const struct tpm_lock *lock)
{
    MUST(lock->kind != TPM_LOCK_AUTH);
    memset(policy, 0, TPM_POLICY_LEN);
    if (lock->kind == TPM_LOCK_OWNER)
        extend_owner(policy);
    if (lock->bound_low)
        extend_nv(policy, lock->w_name, lock->low, TPM2_EO_UNSIGNED_GE);
    if (lock->bound_high)
        extend_nv(policy, lock->w_name, lock->high, TPM2_EO_UNSIGNED_LE);
    if (lock->pcrs.selection != 0)
        extend_pcrs(policy, &lock->pcrs);
    extend(policy, TPM2_CC_PolicyAuthValue, NULL, 0);
}

/* Selections ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint16_t bank;
} banks[] = {{"sha256", TPM_BANK_SHA256}, {"sha384", TPM_BANK_SHA384}};

static bool scan_list(uint32_t *selection, const char *p)
{
    for (uint64_t least = 0;;) {
        char digits[4];
        uint64_t pcr = 0;
        size_t n = strspn(p, "0123456789");
        if (n == 0 || n >= sizeof(digits))
            return false;
        memcpy(digits, p, n);
        digits[n] = '\0';
        if (!text_to_u64(&pcr, digits, TPM_PCR_COUNT - 1) || pcr < least)
            return false;
        *selection |= UINT32_C(1) << pcr;
        least = pcr + 1;
        p += n;
        if (*p == '\0')
            return true;
        if (*p++ != ',')
            return false;
    }
}

bool tpm_pcrs_scan(struct tpm_pcrs *pcrs, const char *text)
{
    *pcrs = (struct tpm_pcrs){0};
    const char *colon = strchr(text, ':');
    for (size_t i = 0; colon != NULL && i < sizeof(banks) / sizeof(banks[0]); i++) {
        size_t len = strlen(banks[i].name);
        if ((size_t)(colon - text) == len && strncmp(text, banks[i].name, len) == 0)
            pcrs->bank = banks[i].bank;
    }
    if (pcrs->bank != 0 && scan_list(&pcrs->selection, colon + 1))
        return true;
    *pcrs = (struct tpm_pcrs){0};
    return false;
}

void tpm_pcrs_print(char out[TPM_PCRS_TEXT], const struct tpm_pcrs *pcrs)
{
    size_t len = (size_t)snprintf(
        out, TPM_PCRS_TEXT, "%s",
        pcrs->selection == 0 ? "none" : banks[pcrs->bank == TPM_BANK_SHA384 ? 1 : 0].name);
    char mark = ':';
    for (unsigned i = 0; i < TPM_PCR_COUNT; i++) {
        if ((pcrs->selection >> i & 1) == 0)
            continue;
        len += (size_t)snprintf(out + len, TPM_PCRS_TEXT - len, "%c%u", mark, i);
        mark = ',';
    }
    MUST(len < TPM_PCRS_TEXT);
}
