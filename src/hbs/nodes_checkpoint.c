#include "hbs/nodes_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"

/* Record: magic, digest of the tree's identity, window size, serial, leaves, SHA-256 of these. */
#define MAGIC "TIDECKPT"
#define AT_TREE 8
#define AT_WINDOW (AT_TREE + SHA256_LEN)
#define AT_SERIAL (AT_WINDOW + 8)
#define AT_LEAVES (AT_SERIAL + 8)
#define AT_CHECKSUM (AT_LEAVES + 8)
#define RECORD_LEN (AT_CHECKSUM + SHA256_LEN)
#define SLOTS 2

/* Each slot in a page of its own: what a power cut tears while one is written is not the other. */
static off_t slot_at(const struct hbs_tree *tree, uint64_t serial)
{
    off_t pages = (nodes_file_len(tree) + NODES_PAGE - 1) / NODES_PAGE;
    return (pages + (off_t)(serial % SLOTS)) * NODES_PAGE;
}

off_t nodes_begun_len(const struct hbs_tree *tree)
{
    return slot_at(tree, 0) + SLOTS * NODES_PAGE;
}

static void record_print(uint8_t out[RECORD_LEN], const struct hbs_tree *tree,
                         const struct nodes_checkpoint *c)
{
    memcpy(out, MAGIC, AT_TREE);
    nodes_identity_digest(tree, out + AT_TREE);
    be_put64(out + AT_WINDOW, c->window_size);
    be_put64(out + AT_SERIAL, c->serial);
    be_put64(out + AT_LEAVES, c->leaves);
    digest_buffer(DIGEST_SHA256, out + AT_CHECKSUM, out, AT_CHECKSUM);
}

/* Take a slot if it is whole, of this tree and these windows, and newer than what there is. */
static void slot_take(const uint8_t record[RECORD_LEN], const struct hbs_tree *tree,
                      struct nodes_checkpoint *best)
{
    struct nodes_checkpoint c = {.window_size = best->window_size,
                                 .serial = be_get64(record + AT_SERIAL),
                                 .leaves = be_get64(record + AT_LEAVES)};
    uint8_t expected[RECORD_LEN];
    record_print(expected, tree, &c);
    if (ct_equal(record, expected, RECORD_LEN) && c.serial > best->serial &&
        c.leaves <= UINT64_C(1) << tree->height)
        *best = c;
}

/* A whole file that lacks only its name: the checkpoints are cut off as the last step before the
 * rename, when all nodes and the header are on disk. */
static bool whole(const struct nodes_temp *temp, const struct hbs_tree *tree)
{
    uint8_t header[NODES_HEADER_LEN];
    uint8_t root[HBS_N_MAX];
    struct stat st;
    return fstat(temp->fd, &st) == 0 && st.st_size == nodes_file_len(tree) &&
           pread_full(temp->fd, header, sizeof(header), 0) &&
           pread_full(temp->fd, root, tree->n, nodes_offset(tree, 1)) &&
           nodes_header_check(header, tree, root) == NODES_HEADER_SOUND;
}

struct nodes_checkpoint nodes_checkpoint_read(const struct nodes_temp *temp,
                                              const struct hbs_tree *tree, uint64_t window_size)
{
    struct nodes_checkpoint best = {.window_size = window_size};
    if (whole(temp, tree)) {
        best.leaves = UINT64_C(1) << tree->height;
        return best;
    }
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        uint8_t record[RECORD_LEN];
        if (pread_full(temp->fd, record, sizeof(record), slot_at(tree, slot)))
            slot_take(record, tree, &best);
    }
    return best;
}

static enum rc sync_temp(const struct nodes_temp *temp, struct err *err)
{
    if (fsync(temp->fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync %s: %s", temp->name,
                    strerror(errno));
    return RC_OK;
}

enum rc nodes_checkpoint_write(const struct nodes_temp *temp, const struct hbs_tree *tree,
                               const struct nodes_checkpoint *c, struct err *err)
{
    uint8_t record[RECORD_LEN];
    record_print(record, tree, c);
    /* The leaves first: a checkpoint that a power cut leaves behind must not count leaves that it
     * took away. */
    enum rc rc = sync_temp(temp, err);
    if (rc != RC_OK)
        return rc;
    if (!pwrite_full(temp->fd, record, sizeof(record), slot_at(tree, c->serial)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "checkpoint in %s: %s", temp->name,
                    strerror(errno));
    return sync_temp(temp, err);
}
