/*
 * statement: one TPMS_ATTEST, taken apart strictly.
 *
 * Uses: base. Pure; any thread. Source: TPM 2.0 Part 2, 10.12.12 (TPMS_ATTEST), 10.12.8
 * (TPMS_NV_CERTIFY_INFO), 10.12.2 (TPMS_TIME_ATTEST_INFO).
 */
#ifndef ATTEST_STATEMENT_H
#define ATTEST_STATEMENT_H

#include <stdbool.h>

#include "base/attested.h"
#include "base/rc.h"
#include "base/record.h"

enum statement_type { STATEMENT_NV, STATEMENT_TIME };

struct statement {
    enum statement_type type;
    uint8_t signer[TPM_NAME_LEN]; /* Qualified Name of the key that signed */
    uint8_t digest[32];           /* what it was asked to put in */
    uint64_t clock_ms;
    uint32_t reset_count, restart_count;
    bool safe;
    uint64_t firmware;
    /* STATEMENT_NV */
    uint8_t index_name[TPM_NAME_LEN];
    uint16_t offset;
    uint8_t contents[ANCHOR_RECORD_LEN];
    size_t contents_len;
    /* STATEMENT_TIME */
    uint64_t up_ms; /* since the TPM was switched on */
};

/**
 * Take bytes apart. Every length, both magic numbers, the yes or no of safe, and the end are
 * checked; names must be SHA-256 names and the digest 32 bytes, as ours all are.
 *
 * @param[in]  bytes, len  Untrusted.
 * @param[out] s           All zero unless RC_OK.
 * @retval RC_REFUSED_SIGNATURE  Anything else; the text says what.
 */
enum rc statement_parse(struct statement *s, const uint8_t *bytes, size_t len,
                        struct err *err) MUST_CHECK;

#endif
