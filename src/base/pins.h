/*
 * pins: what is recorded about a key's three TPM objects when they are made (DESIGN section 6).
 * A plain value that tpm makes, ledger stores and signer hands from one to the other.
 */
#ifndef BASE_PINS_H
#define BASE_PINS_H

#include <stdint.h>

#define TPM_NAME_LEN 34 /* u16 hash algorithm and a SHA-256 digest */

struct anchor_pins {
    uint32_t w_handle, l_handle, a_handle;
    uint8_t w_name[TPM_NAME_LEN], l_name[TPM_NAME_LEN], a_name[TPM_NAME_LEN]; /* with WRITTEN set */
    uint8_t srk_name[TPM_NAME_LEN];                                           /* which TPM it is */
    int64_t w_base;            /* window = W - w_base; fixed at provisioning, may be negative */
    uint64_t w_first, l_first; /* values right after provisioning */
};

#endif
