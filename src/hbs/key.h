/*
 * key: a key of any scheme as its signer needs it: what is public, its windows, its node file.
 *
 * Four schemes sign through the same calls: lms (one tree, on the wire HSS with L = 1), hss, xmss
 * and xmssmt. A single tree is a hypertree with one level. Every window has a secret of its own,
 * and all windows share root and I or SEED (RFC 10033 §5.3). In a hypertree a window is one or more
 * whole subtrees under leaves of the top tree: then the top tree alone spans windows, and only it
 * is made at key generation. branch.h goes on from here, to signatures.
 *
 * Uses: base, nodes, public. Parameter sets are those of SP 800-208 and RFC 9858; of RFC 8391 no
 * others, which are for verification alone. Threads: any; the functions on node files as nodes.h
 * says.
 */
#ifndef HBS_KEY_H
#define HBS_KEY_H

#include "hbs/nodes.h"
#include "hbs/public.h"

/** Levels of a hypertree, and names of parameter sets: two for each level of HSS. */
#define HBS_LEVELS_MAX XMSS_D_MAX
#define HBS_KEY_NAMES_MAX (2 * HSS_LEVELS_MAX)

/** Random bytes that tell one key from all others: I (the first 16) or SEED (the first n). */
#define HBS_KEY_ID_LEN 32

/** What is public of a key. A plain value. */
struct hbs_key {
    struct hbs_public public;            /* root: zeros until the top tree has been made */
    uint32_t levels;                     /* trees on a path */
    uint8_t height;                      /* of all levels together */
    uint8_t heights[HBS_LEVELS_MAX];     /* of each level, the top one first */
    struct lms_set sets[HSS_LEVELS_MAX]; /* HSS: of each level, the top one first */
};

/**
 * The parameters of a new key, as a plan writes them.
 * @param[in]  scheme  "lms", "hss", "xmss" or "xmssmt".
 * @param[in]  names   count names: LMS and LM-OTS for each level, or one of XMSS or XMSS^MT.
 * @param[in]  id      HBS_KEY_ID_LEN random bytes.
 * @retval RC_REFUSED_UNSUPPORTED  Unknown scheme or set, sets that do not go together, or one that
 *                                 is not for signing; the text says which. *key is all zero.
 */
enum rc hbs_key_new(struct hbs_key *key, const char *scheme, const char *const *names, size_t count,
                    const uint8_t id[HBS_KEY_ID_LEN], struct err *err) MUST_CHECK;

/**
 * The same key again, from its public key.
 * @param[in]  raw  The public key of raw_len bytes (RFC 8554, RFC 8391).
 * @retval RC_REFUSED_UNSUPPORTED  As above.
 * @retval RC_REFUSED_INPUT        Not a public key, or one of other parameters than these.
 */
enum rc hbs_key_read(struct hbs_key *key, const char *scheme, const char *const *names,
                     size_t count, const uint8_t *raw, size_t raw_len, struct err *err) MUST_CHECK;

/** Write the raw public key; out: HBS_PUB_LEN_MAX bytes. @return its length. */
size_t hbs_key_public(const struct hbs_key *key, uint8_t *out);

/** Bytes of a signature, all of one key being equally long. */
size_t hbs_key_sig_len(const struct hbs_key *key);

/** The top tree, which the node file holds. */
struct hbs_tree hbs_key_top(const struct hbs_key *key);

/**
 * Can this key have windows of so many indices?
 * @retval RC_REFUSED_PLAN  Not a power of two, larger than the key, or in a hypertree smaller than
 *                          what one leaf of the top tree holds.
 */
enum rc hbs_key_windows(const struct hbs_key *key, uint64_t window_size,
                        struct err *err) MUST_CHECK;

/**
 * Make the node file of a new key, and its root in *key. As hbs_nodes_make(), which says what the
 * parameters are and what is returned. window_size: one that hbs_key_windows() allows (MUST).
 */
enum rc hbs_key_nodes_make(struct hbs_key *key, int dirfd, const char *name, uint64_t window_size,
                           hbs_secret_source source, hbs_progress progress, void *ctx,
                           unsigned threads, struct err *err) MUST_CHECK;

/** The same as hbs_nodes_continue() does it; how->window_size: in indices, as above. */
enum rc hbs_key_nodes_continue(struct hbs_key *key, int dirfd, const char *name,
                               const struct hbs_making *how, struct err *err) MUST_CHECK;

/**
 * Take the root of *key from a node file that is finished, and check the file with it.
 * @retval RC_HALT_NODES  The file is damaged, or of another key. Otherwise as hbs_nodes_open().
 */
enum rc hbs_key_nodes_found(struct hbs_key *key, int dirfd, const char *name,
                            struct err *err) MUST_CHECK;

/**
 * The whole of *key from its node file, which is read to the end and never written: for whoever has
 * no public key at hand, and compares the one that comes out with what else there is.
 * @param[in,out] key  Sets as hbs_key_new() leaves them, with any id; unchanged on failure.
 * @return As hbs_nodes_id() and hbs_nodes_check().
 */
enum rc hbs_key_nodes_check(struct hbs_key *key, int dirfd, const char *name, hbs_progress progress,
                            void *ctx, struct err *err) MUST_CHECK;

/** Open it. As hbs_nodes_open(). */
enum rc hbs_key_nodes_open(struct hbs_nodes **nodes, int dirfd, const char *name,
                           const struct hbs_key *key, bool *repaired, struct err *err) MUST_CHECK;

/**
 * Does a secret belong to this window of the key? Derives the first leaf of the top tree that it
 * makes and compares it with the node file (DESIGN section 6 rule 9). That is one one-time key's
 * work, small beside the unsealing; what it proves: docs/soundness.md.
 */
bool hbs_key_secret_fits(const struct hbs_key *key, const struct hbs_nodes *nodes,
                         uint64_t window_size, uint64_t window,
                         const struct window_secret *secret) MUST_CHECK;

#endif
