/*
 * nodes: all nodes of one LMS tree in a mapped file; made once, checked when opened.
 *
 * Nodes are public. With the file a signature costs one OTS and a copy of its path. File layout, big
 * endian: header of 4096 bytes { magic "TIDENODE", u32 format 1, u32 lms type, u32 ots type, I[16],
 * root[32], SHA-256 of the header so far }, then node r (RFC 8554 §5.3 numbering, r = 1 … 2^(h+1)-1) at
 * 4096 + r · m.
 *
 * Uses: base, lms; file I/O on this file only. Threads: making uses its own worker threads; an open
 * node file is read-only and may be read from any thread.
 */
#ifndef HBS_NODES_H
#define HBS_NODES_H

#include "hbs/lms.h"

struct hbs_nodes; /* opaque: hbs_nodes_open() makes it, hbs_nodes_close() ends it */

/**
 * Where window secrets come from while the tree is made; called from the calling thread only.
 * @param[out] secret  Secret of window number window. Wiped by the caller of the callback.
 */
typedef enum rc (*hbs_secret_source)(void *ctx, uint64_t window, struct window_secret *secret,
                                     struct err *err);

/** Told now and then how many of total leaves are done; return false to stop (RC_RETRY_BUSY). */
typedef bool (*hbs_progress)(void *ctx, uint64_t done, uint64_t total);

/**
 * Make the node file: every leaf from its window's secret, then every inner node.
 *
 * @param[in]  dirfd, name    New file; must not exist. Synced before return, directory too.
 * @param[in]  tree           Set and I.
 * @param[in]  window_size    Leaves of one window, a power of two, at most 2^h (MUST).
 * @param[in]  source         Called once for each window, in order.
 * @param[in]  progress       May be NULL.
 * @param[in]  threads        1 … 64.
 * @param[out] root           m bytes (32 bytes of room).
 * @retval RC_REFUSED_EXISTS  The name exists.
 * @retval RC_RETRY_BUSY      progress asked to stop; the file was removed.
 * @retval RC_HALT_SYSTEM     I/O failed; the file was removed. Or what source returned.
 * Blocks: 2^h · p · 2^w hashes over threads.
 */
enum rc hbs_nodes_make(int dirfd, const char *name, const struct lms_tree *tree,
                       uint64_t window_size, hbs_secret_source source, hbs_progress progress,
                       void *ctx, unsigned threads, uint8_t root[HBS_N_MAX],
                       struct err *err) MUST_CHECK;

/**
 * Map a node file and check it against the public key: header, length, and every inner node
 * recomputed from its children up to the root.
 *
 * Wrong inner nodes over sound leaves are rewritten (a new file replaces the old one; *repaired is
 * set). Wrong leaves cannot be repaired here.
 *
 * @param[out] nodes     Owned by the caller; hbs_nodes_close().
 * @param[in]  root      m bytes of the public key.
 * @param[out] repaired  True if the file had to be rewritten.
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_HALT_NODES         Not a node file of this key, or leaves are damaged; the text says
 *                               what to restore.
 */
enum rc hbs_nodes_open(struct hbs_nodes **nodes, int dirfd, const char *name,
                       const struct lms_tree *tree, const uint8_t *root, bool *repaired,
                       struct err *err) MUST_CHECK;
void hbs_nodes_close(struct hbs_nodes **nodes);

/** Authentication path of leaf q < 2^h (MUST), bottom first; path: h · m bytes. */
void hbs_nodes_path(const struct hbs_nodes *nodes, uint32_t q, uint8_t *path);

/** Node r, 1 <= r < 2^(h+1) (MUST): m bytes inside the map, valid until close. */
const uint8_t *hbs_nodes_at(const struct hbs_nodes *nodes, uint32_t r);

#endif
