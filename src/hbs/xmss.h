/*
 * xmss: one XMSS tree, alone or as a layer of XMSS^MT: leaves from a seed, nodes, signing at a
 * given leaf, the way back from a signature to the root.
 *
 * Uses: base, wots, xmss_hash. Pure: no I/O, no state, no time. base_init() first. Knows nothing of
 * policy or ledger. Keeps I1 (a lease signs once) together with signer. Threads: any; all state is
 * in the arguments. Constant time: signing does no secret-dependent branch or look-up; leaf
 * numbers, messages and signatures are public.
 */
#ifndef HBS_XMSS_H
#define HBS_XMSS_H

#include "base/lease.h"
#include "hbs/wots.h"

/** Tree number `number` of a layer; layer d - 1 is the top one and has one tree. seed: SEED. */
void xmss_tree_init(struct xmss_tree *tree, const struct xmss_params *params, const uint8_t *seed,
                    uint32_t layer, uint64_t number);

/** Leaves of a tree, 2^(h / d). */
uint32_t xmss_leaf_count(const struct xmss_tree *tree);

/**
 * Leaves of a tree: one-time public keys, compressed.
 * @param[in]  first   First leaf, first + count <= 2^(h / d) (MUST).
 * @param[in]  secret  S_XMSS, n bytes.
 * @param[out] leaves  count · n bytes.
 * Source: RFC 8391 §4.1.5; SP 800-208 §6.2. Blocks: count · len · 16 chain steps.
 */
void xmss_leaves(const struct xmss_tree *tree, uint32_t first, uint32_t count,
                 const uint8_t *secret, uint8_t *leaves);

/**
 * Inner nodes r … r + count - 1 from their 2 · count children. Nodes are numbered as in RFC 8554
 * §5.3: the root is 1, the children of r are 2r and 2r + 1, leaf q is 2^(h / d) + q.
 * @param[in]  children  2 · count · n bytes: nodes 2r, 2r + 1, …
 * @param[out] out       count · n bytes; may be the same memory as children.
 * Source: RFC 8391 §4.1.4, §4.1.6.
 */
void xmss_level(const struct xmss_tree *tree, uint32_t r, uint32_t count, const uint8_t *children,
                uint8_t *out);

/** One of them. out: n bytes; may be one of the children. */
void xmss_node(const struct xmss_tree *tree, uint32_t r, const uint8_t *left, const uint8_t *right,
               uint8_t *out);

/**
 * The randomizer r of an index, derived and never drawn: PRF(SK_PRF, toByte(idx_sig, 32)), n bytes
 * (RFC 8391 §4.1.9). One message at one index always gives the same signature.
 */
void xmss_randomizer(const struct xmss_params *params, const uint8_t *sk_prf, uint64_t index,
                     uint8_t *r);

#define XMSS_MESSAGE_PREFIX_MAX (4 * XMSS_N_MAX)

/** What is hashed before the message: toByte(2, pad) || r || root || toByte(idx_sig, n) (RFC 8391
 * §5.1). All of it is public once the signature is. @return its length. */
size_t xmss_message_prefix(const struct xmss_params *params, const uint8_t *root, uint64_t index,
                           const uint8_t *r, uint8_t prefix[XMSS_MESSAGE_PREFIX_MAX]);

/** Streaming H_msg(r || root || toByte(idx_sig, n), message): the value that is signed. */
struct xmss_message {
    void *handle; /* NULL when closed */
    const struct xmss_params *params;
};
/** @retval RC_RETRY_SYSTEM no memory. Close also after a failure. Source: RFC 8391 §4.1.9. */
enum rc xmss_message_open(struct xmss_message *m, const struct xmss_params *params,
                          const uint8_t *root, uint64_t index, const uint8_t *r,
                          struct err *err) MUST_CHECK;
void xmss_message_update(struct xmss_message *m, const void *data, size_t len);
/** value: n bytes. */
void xmss_message_final(struct xmss_message *m, uint8_t *value);
void xmss_message_close(struct xmss_message *m);

/**
 * Sign n bytes with the one-time key of leaf lease->index of this tree.
 *
 * Spends the lease: it is zeroed before anything is computed, so the same lease can never sign
 * twice. A lease with epoch 0 or an index past the tree is a bug (MUST).
 *
 * @param[in,out] lease   From the allocator; zero afterwards.
 * @param[in]     secret  S_XMSS, n bytes.
 * @param[in]     path    (h / d) · n bytes: the authentication path, bottom first.
 * @param[out]    sig     wots_sig_len() bytes and the path behind them: one layer of a signature.
 */
void xmss_tree_sign(struct ots_lease *lease, const struct xmss_tree *tree, const uint8_t *secret,
                    const uint8_t *value, const uint8_t *path, uint8_t *sig);

/** One signature of a batch; the parameters of xmss_tree_sign(). */
struct xmss_signing {
    struct ots_lease *lease;
    const uint8_t *value;
    const uint8_t *path;
    uint8_t *sig;
};

/**
 * xmss_tree_sign() for many leases of one tree at once, with full lanes. All leases are zeroed
 * before anything is computed. No two may be of one index (MUST).
 * @param[in,out] jobs  Up to HBS_BATCH_MAX (MUST); 0 does nothing.
 */
void xmss_tree_sign_batch(const struct xmss_tree *tree, const uint8_t *secret,
                          const struct xmss_signing *jobs, size_t count);

/** One signature of a batch; the parameters of xmss_tree_candidate(). */
struct xmss_checking {
    uint32_t leaf;
    const uint8_t *value;
    const uint8_t *sig;
    uint8_t *root;
};

/** xmss_tree_candidate() for many signatures of one tree at once. Up to HBS_BATCH_MAX (MUST). */
void xmss_tree_candidates(const struct xmss_tree *tree, const struct xmss_checking *jobs,
                          size_t count);

/**
 * The root that one layer of a signature leads to (RFC 8391 §4.1.10 algorithm 13).
 * @param[in]  leaf  Below 2^(h / d) (MUST).
 * @param[in]  sig   wots_sig_len() bytes and the path.
 * @param[out] root  n bytes.
 */
void xmss_tree_candidate(const struct xmss_tree *tree, uint32_t leaf, const uint8_t *value,
                         const uint8_t *sig, uint8_t *root);

#endif
