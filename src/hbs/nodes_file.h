/*
 * nodes_file: layout of a node file, and the writing of a new one; inside hbs only.
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

/** Where node r stands. */
off_t nodes_offset(const struct hbs_tree *tree, uint64_t r);

/** Bytes of the whole file. */
off_t nodes_file_len(const struct hbs_tree *tree);

enum nodes_header { NODES_HEADER_SOUND, NODES_HEADER_DAMAGED, NODES_HEADER_FOREIGN };

/** Compare a header with the one that this key must have; foreign means sound, but of another key.
 */
enum nodes_header nodes_header_check(const uint8_t header[NODES_HEADER_LEN],
                                     const struct hbs_tree *tree, const uint8_t *root) MUST_CHECK;

/** A file being written under its temporary name, locked. */
struct nodes_temp {
    int dirfd;
    int fd;     /* -1 when closed */
    bool owned; /* the temporary name is ours to remove */
    char name[HBS_NODES_NAME_MAX + 8];
};
#define NODES_TEMP_CLOSED ((struct nodes_temp){.fd = -1})

/**
 * Create the file at full length, with disk space for all of it.
 * @retval RC_RETRY_BUSY   Another process is writing a file of this name.
 * @retval RC_HALT_SYSTEM  A call failed: disk full, no permission.
 */
enum rc nodes_temp_open(struct nodes_temp *temp, int dirfd, const char *name,
                        const struct hbs_tree *tree, struct err *err) MUST_CHECK;

/** Remove the temporary name if it is still there, and close; fine on NODES_TEMP_CLOSED. */
void nodes_temp_close(struct nodes_temp *temp);

/**
 * Compute all inner nodes from the leaves in the file.
 * @param[out] root        Node 1, m bytes.
 * @retval RC_HALT_SYSTEM  Read or write failed.
 */
enum rc nodes_temp_levels(const struct nodes_temp *temp, const struct hbs_tree *tree, uint8_t *root,
                          struct err *err) MUST_CHECK;

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
