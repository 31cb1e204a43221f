/*
 * means: what an attacker can do with a TPM: plain ESAPI calls, passwords in the clear, no session
 * of ours. Each function says whether the TPM did it; nothing here decides what that means.
 *
 * Threads: one. Sessions and objects that an attempt leaves are flushed by means_close().
 */
#ifndef TESTS_ATTACK_MEANS_H
#define TESTS_ATTACK_MEANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tss2/tss2_esys.h>

#define MEANS_SESSIONS 3

struct means {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR srk;
    ESYS_TR session[MEANS_SESSIONS]; /* started here and not yet flushed */
};

/** Connect; the storage key's handle is srk_handle. @return false: printed. */
bool means_open(struct means *m, const char *tcti, uint32_t srk_handle);
/** Flush what is left, disconnect. Fine on a zeroed struct. */
void means_close(struct means *m);

/* Sessions and policies */
ESYS_TR means_session(struct means *m, TPM2_SE kind);
void means_forget(struct means *m, ESYS_TR session); /* it was saved or flushed elsewhere */
bool means_compare(struct means *m, ESYS_TR session, uint32_t index, const uint8_t auth[32],
                   uint64_t operand, uint16_t offset, uint16_t size, TPM2_EO operation);
bool means_auth_value(struct means *m, ESYS_TR session);
bool means_owner(struct means *m, ESYS_TR session);
bool means_or(struct means *m, ESYS_TR session, const uint8_t other[32]);
bool means_digest(struct means *m, ESYS_TR session, TPM2B_DIGEST *digest);

/* Objects */
/** A blob whose policy is this digest (NULL: none), sealed by the attacker. */
bool means_seal(struct means *m, const TPM2B_DIGEST *policy, const uint8_t auth[32],
                const void *plain, size_t len, TPM2B_PUBLIC *pub, TPM2B_PRIVATE *priv);
/** Load and unseal. session: a policy session, or ESYS_TR_PASSWORD. @return true: bytes came out.
 */
bool means_unseal(struct means *m, ESYS_TR session, const TPM2B_PUBLIC *pub,
                  const TPM2B_PRIVATE *priv, const uint8_t auth[32]);
bool means_change_auth(struct means *m, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
                       const uint8_t auth[32], const uint8_t new_auth[32], TPM2B_PRIVATE *out);

/* NV */
bool means_define(struct means *m, uint32_t index, TPMA_NV attributes, uint16_t size,
                  const uint8_t auth[32]);
bool means_undefine(struct means *m, uint32_t index);
bool means_increment(struct means *m, uint32_t index, const uint8_t auth[32]);
bool means_write(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t value);
bool means_set_bits(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t bits);
bool means_extend(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t data);

/* The whole TPM */
bool means_clear(struct means *m);
bool means_evict_srk(struct means *m);

#endif
