/*
 * nodes: all nodes of one LMS or XMSS tree in a mapped file; made once, checked when opened.
 *
 * Nodes are public. With the file a signature costs one OTS and a copy of its path. In a hypertree
 * it is the top tree that has a file. File layout, big endian: header of 4096 bytes { magic
 * "TIDENODE", u32 format, identity, root[32], SHA-256 of the header so far }, then node r (RFC 8554
 * §5.3 numbering, r = 1 … 2^(h+1)-1) at 4096 + r · n. Identity of an LMS tree (format 1): u32 lms
 * type, u32 ots type, I[16]; of an XMSS tree (format 2): u32 OID, u32 1 for XMSS^MT or 0, u32
 * layer, u64 tree number, SEED[32].
 *
 * A file is written under the name ".NAME.tmp" and renamed when it is complete and on disk. A make
 * or repair that fails or is stopped removes it; one that is killed leaves it, and the next one
 * takes it over. A lock on that file keeps two processes from writing one NAME at once.
 * hbs_nodes_continue() keeps it instead, with checkpoints behind the nodes: {magic "TIDECKPT",
 * digest of the identity, window size, serial, leaves, checksum}, two of them, written in turn.
 *
 * Uses: base, tree; file I/O on these two files only. Memory: a few hundred KiB for making, and at
 * most some 10 MiB for checking, whatever the height; signing maps what it touches. Threads: making
 * uses its own worker threads; an open node file is read-only and may be read from any thread. A
 * disk that cannot read a page of an open file back ends the process (SIGBUS).
 */
#ifndef HBS_NODES_H
#define HBS_NODES_H

#include "hbs/tree.h"

struct hbs_nodes; /* opaque: hbs_nodes_open() makes it, hbs_nodes_close() ends it */

/** Longest name of a node file. */
#define HBS_NODES_NAME_MAX 240

#define HBS_NODES_THREADS_MAX 64

/**
 * Where window secrets come from while the tree is made; called from the calling thread only.
 * @param[out] secret  Secret of window number window. Wiped by the caller of the callback.
 */
typedef enum rc (*hbs_secret_source)(void *ctx, uint64_t window, struct window_secret *secret,
                                     struct err *err);

/**
 * Told now and then how many of total leaves are done, the last time with done = total; return
 * false to stop (RC_RETRY_BUSY). Called from the calling thread only.
 */
typedef bool (*hbs_progress)(void *ctx, uint64_t done, uint64_t total);

/**
 * Make the node file: every leaf from its window's secret, then every inner node.
 *
 * @param[in]  dirfd, name    New file; must not exist. At most HBS_NODES_NAME_MAX bytes, no '/'
 * (MUST). Synced before return, directory too.
 * @param[in]  tree           Nodes of up to HBS_N_MAX bytes (MUST).
 * @param[in]  window_size    Leaves of one window, a power of two, at most 2^h (MUST).
 * @param[in]  source         Called once for each window, in order.
 * @param[in]  progress       May be NULL.
 * @param[in]  ctx            Handed to both.
 * @param[in]  threads        1 … HBS_NODES_THREADS_MAX (MUST).
 * @param[out] root           n bytes (32 bytes of room).
 * @retval RC_REFUSED_EXISTS  The name exists; it was not touched.
 * @retval RC_RETRY_BUSY      progress asked to stop, and nothing is left; or another process is
 * making this very file, and it was not touched.
 * @retval RC_RETRY_SYSTEM    No locked memory for the window secrets, or no threads. Nothing is
 * left.
 * @retval RC_HALT_SYSTEM     I/O failed. Nothing is left, unless the last step failed, the sync of
 * the directory: then a complete file may stand there, or come back.
 * @return Or what source returned, with its err; nothing is left.
 * Blocks: 2^h · p · 2^w hashes over threads.
 */
enum rc hbs_nodes_make(int dirfd, const char *name, const struct hbs_tree *tree,
                       uint64_t window_size, hbs_secret_source source, hbs_progress progress,
                       void *ctx, unsigned threads, uint8_t root[HBS_N_MAX],
                       struct err *err) MUST_CHECK;

/** How a node file is made by hbs_nodes_continue(). All callbacks: from the calling thread only. */
struct hbs_making {
    uint64_t window_size; /* leaves of one window, a power of two, at most 2^h (MUST) */
    /* Asked for each window that is not whole yet, in order. */
    hbs_secret_source source;
    hbs_progress progress; /* may be NULL */
    /**
     * Told once, before any other, where the work goes on: `windows` windows are whole, and if
     * inside, so is a part of the next one. @return true if source will give the secret of that
     * part again; otherwise this window is made from its beginning, from a new one. Asked only if
     * inside or windows is not 0.
     */
    bool (*resume)(void *ctx, uint64_t windows, bool inside);
    /** Is it time for a checkpoint? Asked between units of 32 leaves. */
    bool (*due)(void *ctx);
    /** Make durable what source has given so far: before the checkpoint that rests on it. */
    enum rc (*secure)(void *ctx, struct err *err);
    void *ctx;        /* handed to all of them */
    unsigned threads; /* 1 … HBS_NODES_THREADS_MAX (MUST) */
};

/**
 * Make the node file as hbs_nodes_make() does, or go on where an earlier call was stopped, failed,
 * was killed or lost power: at its newest checkpoint that is whole. What is behind it is made
 * again.
 *
 * At a checkpoint at leaf c, secure() has succeeded for all windows that begin below c, and all
 * leaves below c are on disk. One is made when due() asks for it, behind the last leaf, and when
 * the work ends early for any reason but a failed write.
 *
 * @retval RC_REFUSED_EXISTS  The name exists; it was not touched.
 * @retval RC_RETRY_BUSY      progress asked to stop: what is made stays, to be gone on with. Or
 * another process is making this very file.
 * @retval RC_HALT_NODES      The secret that source gave for a window that was begun is not the one
 * that its leaves were made from. Nothing was changed.
 * @return Otherwise as hbs_nodes_make(); but what is made stays.
 */
enum rc hbs_nodes_continue(int dirfd, const char *name, const struct hbs_tree *tree,
                           const struct hbs_making *how, uint8_t root[HBS_N_MAX],
                           struct err *err) MUST_CHECK;

/**
 * The root that a finished node file names, checked against nothing but the header's own checksum:
 * hbs_nodes_open() with it checks the rest.
 * @param[out] root              n bytes (32 bytes of room).
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_HALT_NODES         No sound header, or one of another tree.
 * @retval RC_HALT_SYSTEM        The file cannot be read.
 */
enum rc hbs_nodes_root(int dirfd, const char *name, const struct hbs_tree *tree,
                       uint8_t root[HBS_N_MAX], struct err *err) MUST_CHECK;

/**
 * Map a node file and check it against the public key: header, length, and every inner node
 * recomputed from its children up to the root.
 *
 * A wrong header or wrong inner nodes over sound leaves are rewritten (a new file replaces the old
 * one; *repaired is set). Wrong leaves cannot be repaired here, since they need the window secrets.
 *
 * @param[out] nodes     Owned by the caller; hbs_nodes_close(). NULL on failure.
 * @param[in]  root      n bytes of the public key.
 * @param[out] repaired  True if the file had to be rewritten.
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_HALT_NODES         Not a node file of this key, truncated, or leaves are damaged; the
 * text says which and what to restore. The file was not changed.
 * @retval RC_RETRY_BUSY         It needs repair, and another process is writing it.
 * @retval RC_HALT_SYSTEM        The file cannot be read, or the repaired one cannot be written;
 * then the old one stands, or, if only the sync of the directory failed, either of the two. Blocks:
 * 2^h hashes.
 */
enum rc hbs_nodes_open(struct hbs_nodes **nodes, int dirfd, const char *name,
                       const struct hbs_tree *tree, const uint8_t *root, bool *repaired,
                       struct err *err) MUST_CHECK;

#define HBS_NODES_ID_LEN 32

/**
 * What a finished node file says its I (the first 16 bytes) or SEED is, for readers who have no
 * public key at hand; hbs_nodes_check() of the tree with it checks the rest.
 * @param[out] id                Zeros behind what the kind of tree has.
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_HALT_NODES         The header is damaged, or the file shorter than one.
 * @retval RC_HALT_SYSTEM        The file cannot be read.
 */
enum rc hbs_nodes_id(int dirfd, const char *name, enum hbs_tree_kind kind,
                     uint8_t id[HBS_NODES_ID_LEN], struct err *err) MUST_CHECK;

/**
 * Is a finished node file whole? Reads all of it, up to the root in its header, and unlike
 * hbs_nodes_open() never writes: whoever only looks must not repair under a service that runs.
 * @param[in]  progress  Told how many inner nodes are checked; may be NULL.
 * @param[out] root      n bytes (32 bytes of room), zeros unless RC_OK. Whether it is the right one
 *                       is for the caller to compare.
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_RETRY_BUSY         progress asked to stop.
 * @retval RC_HALT_NODES         Wrong length, a header that is damaged or of another tree, or a
 * node that does not follow from its children; the text says where.
 * @retval RC_HALT_SYSTEM        The file cannot be read.
 * Blocks: 2^h hashes.
 */
enum rc hbs_nodes_check(int dirfd, const char *name, const struct hbs_tree *tree,
                        hbs_progress progress, void *ctx, uint8_t root[HBS_N_MAX],
                        struct err *err) MUST_CHECK;

/** Unmap, free, and set *nodes to NULL; fine on NULL. For CLEANUP(). */
void hbs_nodes_close(struct hbs_nodes **nodes);

/** Authentication path of leaf q < 2^h (MUST), bottom first; path: h · n bytes. */
void hbs_nodes_path(const struct hbs_nodes *nodes, uint32_t q, uint8_t *path);

/** Node r, 1 <= r < 2^(h+1) (MUST): n bytes inside the map, valid until close. */
const uint8_t *hbs_nodes_at(const struct hbs_nodes *nodes, uint32_t r);

#endif
