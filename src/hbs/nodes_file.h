/*
 * nodes_file: layout of a node file, the writing of a new one, and its checkpoints; inside hbs
 * only.
 *
 * nodes_make.c fills a new file with leaves, nodes.c copies leaves into one to repair another. From
 * there on both go the same way: inner nodes, header, sync, rename.
 * Uses: base, tree. Threads: leaves may be written from any thread, the rest belongs to one.
 */
#ifndef HBS_NODES_FILE_H
#define HBS_NODES_FILE_H

#include <sys/types.h>

#include "hbs/nodes.h"

#define NODES_HEADER_LEN 4096

/** Nodes that are read, hashed or copied at once. */
#define NODES_CHUNK 512

/** What a disk may tear at most, and how checkpoints are kept apart. */
#define NODES_PAGE 4096

/** Where node r stands. */
off_t nodes_offset(const struct hbs_tree *tree, uint64_t r);

/** Bytes of the whole file. */
off_t nodes_file_len(const struct hbs_tree *tree);

enum nodes_header { NODES_HEADER_SOUND, NODES_HEADER_DAMAGED, NODES_HEADER_FOREIGN };

/** Compare a header with the one that this key must have; foreign means sound, but of another key.
 */
enum nodes_header nodes_header_check(const uint8_t header[NODES_HEADER_LEN],
                                     const struct hbs_tree *tree, const uint8_t *root) MUST_CHECK;

/**
 * The same for a reader who does not know the root: takes it from the header.
 * @param[out] root  n bytes (32 bytes of room), as they stand there, sound or not.
 */
enum nodes_header nodes_header_read(const uint8_t header[NODES_HEADER_LEN],
                                    const struct hbs_tree *tree,
                                    uint8_t root[HBS_N_MAX]) MUST_CHECK;

/** SHA-256 of what tells this tree from all others: 32 bytes. */
void nodes_identity_digest(const struct hbs_tree *tree, uint8_t *out);

/** A file being written under its temporary name, locked. */
struct nodes_temp {
    int dirfd;
    int fd;     /* -1 when closed */
    bool owned; /* the temporary name is ours to remove */
    bool kept;  /* with checkpoints behind its nodes: to be gone on with, not removed */
    char name[HBS_NODES_NAME_MAX + 8];
};
#define NODES_TEMP_CLOSED ((struct nodes_temp){.fd = -1})

/**
 * Create the file at full length, with disk space for all of it.
 * @param[in] kept         With room for checkpoints. A file that is there already, as long as it
 *                         must be, keeps what it holds; otherwise it is emptied.
 * @retval RC_RETRY_BUSY   Another process is writing a file of this name.
 * @retval RC_HALT_SYSTEM  A call failed: disk full, no permission.
 */
enum rc nodes_temp_open(struct nodes_temp *temp, int dirfd, const char *name,
                        const struct hbs_tree *tree, bool kept, struct err *err) MUST_CHECK;

/**
 * Remove the temporary name, if it is still there and the file is not one to be kept, and close;
 * fine on NODES_TEMP_CLOSED.
 */
void nodes_temp_close(struct nodes_temp *temp);

/** Asked in long work whether it shall go on. */
typedef bool (*nodes_go_on)(void *ctx);

/**
 * Compute all inner nodes from the leaves in the file.
 * @param[in]  go_on       Asked every 65,536 nodes or so; NULL: nobody is asked.
 * @param[out] root        Node 1, m bytes.
 * @retval RC_RETRY_BUSY   go_on said no; some inner nodes are written.
 * @retval RC_HALT_SYSTEM  Read or write failed.
 */
enum rc nodes_temp_levels(const struct nodes_temp *temp, const struct hbs_tree *tree,
                          nodes_go_on go_on, void *ctx, uint8_t *root, struct err *err) MUST_CHECK;

/**
 * How far a file has come. Two records of it stand behind the nodes, written in turn, each with a
 * serial and a checksum, so that the one before is there when the newest was torn.
 */
struct nodes_checkpoint {
    uint64_t window_size;
    uint64_t serial; /* of the record, from 1 */
    uint64_t leaves; /* the first so many are on disk */
};

/** Bytes of a file with room for checkpoints. */
off_t nodes_begun_len(const struct hbs_tree *tree);

/** The newest that is whole and of this tree and window size; leaves and serial 0: there is none.
 */
struct nodes_checkpoint nodes_checkpoint_read(const struct nodes_temp *temp,
                                              const struct hbs_tree *tree, uint64_t window_size);

/**
 * Sync the leaves, write the record, sync it.
 * @retval RC_HALT_SYSTEM  A call failed: the record before this one counts.
 */
enum rc nodes_checkpoint_write(const struct nodes_temp *temp, const struct hbs_tree *tree,
                               const struct nodes_checkpoint *c, struct err *err) MUST_CHECK;

/**
 * Write the header, sync, and give the file its name.
 * @param[in] replace          May an old file of that name be replaced?
 * @retval RC_REFUSED_EXISTS   The name exists, and replace is false.
 * @retval RC_HALT_SYSTEM      A call failed; unless it was the sync of the directory, the name is
 * as it was.
 */
enum rc nodes_temp_commit(struct nodes_temp *temp, const char *name, const struct hbs_tree *tree,
                          const uint8_t *root, bool replace, struct err *err) MUST_CHECK;

#endif
