/*
 * lease: permission to use one OTS index once, and the few values that the modules share.
 *
 * Only the allocator (signer/allocate.c) fills a lease, after ledger and anchor hold it (I1, I2);
 * hbs_sign() zeroes it on entry, so that one lease can never sign twice (DESIGN section 12).
 */
#ifndef BASE_LEASE_H
#define BASE_LEASE_H

#include <stdint.h>

#define KEY_ID_LEN 32
#define SHA256_LEN 32

struct ots_lease {
    uint8_t key_id[KEY_ID_LEN]; /* SHA-256 over plan hash and public key */
    uint64_t index;             /* leaf number, 0-based */
    uint64_t epoch;             /* value of L that anchors it, 1-based; 0 means "no lease" */
};

#endif
