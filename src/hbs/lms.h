/*
 * lms: one LMS tree: one-time keys from a seed, leaves, signing at a given leaf, verification.
 *
 * Uses: base, hash, params. Pure: no I/O, no state, no time. base_init() first. Knows nothing of
 * policy or ledger. Keeps I10 (every signature is verified before release) together with signer.
 * Threads: any; all state is in the arguments. Constant time: signing does no secret-dependent
 * branch or look-up; leaf numbers, messages and signatures are public.
 */
#ifndef HBS_LMS_H
#define HBS_LMS_H

#include <stdint.h>

#include "base/lease.h"
#include "base/rc.h"
#include "hbs/params.h"

/** Secret of one window: SEED of RFC 8554 Appendix A (first n bytes), and SK_PRF for XMSS. */
struct window_secret {
    uint8_t seed[HBS_N_MAX];
    uint8_t sk_prf[HBS_N_MAX];
};
void window_secret_wipe(struct window_secret *secret);

/** Public identity of one tree. */
struct lms_tree {
    struct lms_set set;
    uint8_t i[LMS_I_LEN];
};

/**
 * One-time public keys hashed into leaves: leaf q = H(I || u32(2^h + q) || D_LEAF || K_q).
 * @param[in]  tree    Set and I.
 * @param[in]  first   First leaf, first + count <= 2^h (MUST).
 * @param[in]  secret  Secret of the window that holds all these leaves.
 * @param[out] leaves  count · m bytes.
 * Source: RFC 8554 §4.3, §5.3, Appendix A. Blocks: count · p · 2^w hashes.
 */
void lms_leaves(const struct lms_tree *tree, uint32_t first, uint32_t count,
                const struct window_secret *secret, uint8_t *leaves);

/** Inner node r = H(I || u32(r) || D_INTR || left || right) of RFC 8554 §5.3. out: m bytes. */
void lms_node(const struct lms_tree *tree, uint32_t r, const uint8_t *left, const uint8_t *right,
              uint8_t *out);

/**
 * One level of a tree: the nodes r … r + count - 1 from their 2 · count children.
 * @param[in]  children  2 · count · m bytes: nodes 2r, 2r + 1, …
 * @param[out] out       count · m bytes; may be the same memory as children.
 */
void lms_level(const struct lms_tree *tree, uint32_t r, uint32_t count, const uint8_t *children,
               uint8_t *out);

/**
 * Reduce count = 2^k leaves to the root of their subtree.
 * @param[in]     first   First leaf, a multiple of count.
 * @param[in,out] nodes   count · m bytes of leaves; destroyed.
 * @param[out]    root    m bytes.
 */
void lms_subtree_root(const struct lms_tree *tree, uint32_t first, uint32_t count, uint8_t *nodes,
                      uint8_t *root);

/**
 * The randomizer C of leaf q, derived and never drawn: H(I || u32(q) || 0xfffd || 0xff || SEED),
 * n bytes. One message at one leaf always gives the same signature (DESIGN section 5).
 */
void lms_randomizer(const struct lms_tree *tree, uint32_t q, const struct window_secret *secret,
                    uint8_t c[HBS_N_MAX]);

#define LMS_MESSAGE_PREFIX_MAX (LMS_I_LEN + 4 + 2 + HBS_N_MAX)

/** What is hashed before the message: I || u32(q) || D_MESG || C (RFC 8554 §4.5). All of it is
 * public once the signature is. @return its length. */
size_t lms_message_prefix(const struct lms_tree *tree, uint32_t q, const uint8_t *c,
                          uint8_t prefix[LMS_MESSAGE_PREFIX_MAX]);

/** Streaming H(I || u32(q) || D_MESG || C || message): the value that the one-time key signs. */
struct lms_message {
    void *handle; /* NULL when closed */
    const struct lmots_params *ots;
};
/** @retval RC_RETRY_SYSTEM no memory. Close also after a failure. */
enum rc lms_message_open(struct lms_message *m, const struct lms_tree *tree, uint32_t q,
                         const uint8_t *c, struct err *err) MUST_CHECK;
void lms_message_update(struct lms_message *m, const void *data, size_t len);
/** value: n bytes. */
void lms_message_final(struct lms_message *m, uint8_t *value);
void lms_message_close(struct lms_message *m);

/**
 * Sign the value of a message (from lms_message_final) with the one-time key of lease->index.
 *
 * Spends the lease: it is zeroed before anything is computed, so the same lease can never sign
 * twice. A lease with epoch 0 or an index past the tree is a bug (MUST).
 *
 * @param[in,out] lease   From the allocator; zero afterwards.
 * @param[in]     path    h · m bytes: the authentication path of the leaf, bottom first.
 * @param[out]    sig     lms_sig_len() bytes: an LMS signature (RFC 8554 §5.4), without Nspk.
 */
void hbs_sign(struct ots_lease *lease, const struct lms_tree *tree,
              const struct window_secret *secret, const uint8_t *c, const uint8_t *value,
              const uint8_t *path, uint8_t *sig);

/**
 * Bytes of what can be computed of one one-time key before it is known what it signs; 0 where the
 * chains are too short for it to save anything (all but W8).
 */
size_t lms_stations_len(const struct lms_set *set);

#define LMS_PREPARE_MAX 4
#define LMS_STATIONS_MAX (17 * 34 * HBS_N_MAX) /* W8 */

/** One one-time key to be prepared. */
struct lms_preparing {
    uint32_t q;
    uint8_t *stations; /* out: lms_stations_len() bytes. Secret, as the window's secret is */
};

/**
 * Compute the chains of up to LMS_PREPARE_MAX (MUST) one-time keys, and keep every sixteenth value.
 * No lease: nothing is signed. Not for a set without stations (MUST).
 * @param[in] secret  Secret of the window that holds all these leaves.
 */
void lms_prepare(const struct lms_tree *tree, const struct window_secret *secret,
                 const struct lms_preparing *jobs, size_t count);

/** One signature of a batch; the parameters of hbs_sign(). */
struct hbs_signing {
    struct ots_lease *lease;
    const struct window_secret *secret;
    const uint8_t *stations; /* of this leaf, by lms_prepare(); NULL: from the secret */
    const uint8_t *c;
    const uint8_t *value;
    const uint8_t *path;
    uint8_t *sig;
};

/**
 * hbs_sign() for many leases at once, of one key: the chains of all signatures run together, so
 * that they fill all lanes where those of one signature cannot.
 *
 * All leases are zeroed before anything is computed. No two may be of one index (MUST).
 * @param[in,out] jobs   Any number up to HBS_BATCH_MAX (MUST); 0 does nothing.
 */
void hbs_sign_batch(const struct lms_tree *tree, const struct hbs_signing *jobs, size_t count);

/**
 * Check an LMS signature over an already hashed message: rebuilds the root (RFC 8554 §5.4.2 step
 * 4). The C inside sig is not looked at, because it went into value before: whoever hashed the
 * message with the C of this very signature needs no more, whoever did not uses
 * lms_verify_release().
 * @param[in] root  m bytes.
 * @return true if sig (sig_len bytes) is well formed, carries leaf q, and leads to root.
 */
bool lms_verify_value(const struct lms_tree *tree, const uint8_t *root, uint32_t q,
                      const uint8_t *value, const uint8_t *sig, size_t sig_len) MUST_CHECK;

/**
 * The check before release (I10): lms_verify_value(), and sig carries this C.
 * @param[in] c  The randomizer that went into value, n bytes.
 */
bool lms_verify_release(const struct lms_tree *tree, const uint8_t *root, uint32_t q,
                        const uint8_t *c, const uint8_t *value, const uint8_t *sig,
                        size_t sig_len) MUST_CHECK;

/** One signature to be checked; the parameters of lms_verify_release(). */
struct lms_checking {
    uint32_t q;
    const uint8_t *stations; /* of this leaf; NULL: without. The answer is the same (lmots.h) */
    const uint8_t *c;        /* NULL: as lms_verify_value() */
    const uint8_t *value;
    const uint8_t *sig;
    size_t sig_len;
};

/**
 * The check before release for many signatures of one key at once, with full lanes.
 * @param[in]  count  Up to HBS_BATCH_MAX (MUST).
 * @param[out] good   count answers, each for itself: one bad signature says nothing of the others.
 */
void lms_verify_batch(const struct lms_tree *tree, const uint8_t *root,
                      const struct lms_checking *jobs, size_t count, bool *good);

#endif
