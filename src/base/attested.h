/*
 * attested: what a TPM says about its counters, signed by a key that never leaves it, as plain
 * values that tpm makes, ledger stores, signer hands on and attest reads.
 *
 * Uses: base/pins.h. Plain values, any thread.
 */
#ifndef BASE_ATTESTED_H
#define BASE_ATTESTED_H

#include <stddef.h>
#include <stdint.h>

#include "base/pins.h"

#define P256_POINT_LEN 64    /* x and y, big endian, 32 bytes each */
#define P256_SIG_LEN 64      /* r and s, the same way */
#define ATTESTED_LEN_MAX 384 /* TPMS_ATTEST of 96 bytes of NV and all names; 137 for a counter */

/** Public part of one key of the endorsement hierarchy, ECC P-256. */
struct attest_key {
    uint8_t name[TPM_NAME_LEN]; /* what the TPM calls it: hash over its template and point */
    uint8_t point[P256_POINT_LEN];
};

/**
 * The attestation key (AK), which signs nothing but what the TPM itself has made, and the
 * endorsement key (EK), which says whose TPM it is.
 */
struct attest_keys {
    struct attest_key ak, ek;
};

/** One TPMS_ATTEST (TPM 2.0 Part 2, 10.12) as the TPM sent it, and the AK's signature over it. */
struct attested {
    uint8_t bytes[ATTESTED_LEN_MAX];
    size_t len; /* 0: there is none */
    uint8_t sig[P256_SIG_LEN];
};

/** All that one question to the TPM brings. */
struct attest_evidence {
    struct attested w, l; /* NV_Certify of the counters */
    struct attested a;    /* NV_Certify of A; none while A was never written: no key is so */
    struct attested time; /* GetTime; none where the endorsement authorisation is not ours */
};

#endif
