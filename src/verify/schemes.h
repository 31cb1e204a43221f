/*
 * schemes: from a message's hash and a signature to the root that it leads to. Internal to verify.
 * Uses: hash, params. Pure, any thread.
 */
#ifndef VERIFY_SCHEMES_H
#define VERIFY_SCHEMES_H

#include "verify/hash.h"
#include "verify/params.h"

/** A tree of LMS: its set, I, and the leaf that signs. */
struct tmvi_tree {
    struct tmvi_set set;
    const uint8_t *id; /* TMVI_ID_LEN bytes */
    uint32_t q;        /* below 2^height */
};

/** Begin the hash of a message: H(I || u32str(q) || u16str(D_MESG) || C || …) (RFC 8554 §4.5). */
void tmvi_lms_message(struct tmv_hash *hash, const struct tmvi_tree *tree, const uint8_t *c);

/**
 * The root that an LMS signature leads to (RFC 8554 §4.6 and §5.4.2).
 * @param[in]  q_hash  n bytes: the finished hash of the message.
 * @param[in]  sig     tmvi_lms_sig_len() bytes.
 * @param[out] root    n bytes.
 */
void tmvi_lms_root(const struct tmvi_tree *tree, const uint8_t *q_hash, const uint8_t *sig,
                   uint8_t *root);

/** Begin the hash of a message: H_msg(r || root || toByte(idx, n), …) (RFC 8391 §4.1.9). */
void tmvi_xmss_message(struct tmv_hash *hash, const struct tmvi_set *set, const uint8_t *r,
                       const uint8_t *root, uint64_t index);

/**
 * The root that an XMSS or XMSS^MT signature leads to (RFC 8391 §4.1.10 and §4.2.5).
 * @param[in]  seed   n bytes: SEED of the public key.
 * @param[in]  index  Below 2^height.
 * @param[in]  sig    What follows the randomiser: for each layer a WOTS+ signature and a path.
 * @param[in,out] node  n bytes: the hash of the message; the root afterwards.
 */
void tmvi_xmss_root(const struct tmvi_set *set, const uint8_t *seed, uint64_t index,
                    const uint8_t *sig, uint8_t *node);

#endif
