#include "hbs/nodes_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"

#define MAGIC "TIDENODE"
#define FORMAT_LMS 1
#define FORMAT_XMSS 2
#define AT_FORMAT 8
#define AT_IDENTITY 12
#define AT_LMS_ID (AT_IDENTITY + 8)
#define AT_XMSS_ID (AT_IDENTITY + 20)
#define ASK_NODES (128 * NODES_CHUNK)

off_t nodes_offset(const struct hbs_tree *tree, uint64_t r)
{
    return NODES_HEADER_LEN + (off_t)r * tree->n;
}

off_t nodes_file_len(const struct hbs_tree *tree)
{
    return nodes_offset(tree, UINT64_C(2) << tree->height);
}

/* Write what tells one tree from all others; returns where it goes on. */
static uint8_t *identity_print(uint8_t *p, const struct hbs_tree *tree)
{
    if (tree->kind == HBS_TREE_LMS) {
        be_put32(p, tree->lms.set.lms->type);
        be_put32(p + 4, tree->lms.set.ots->type);
        memcpy(p + 8, tree->lms.i, LMS_I_LEN);
        return p + 8 + LMS_I_LEN;
    }
    const struct xmss_tree *xmss = &tree->xmss;
    be_put32(p, xmss->x.params->oid);
    be_put32(p + 4, xmss->x.params->multi ? 1 : 0);
    be_put32(p + 8, xmss->layer);
    be_put64(p + 12, xmss->number);
    memcpy(p + 20, xmss->x.seed, tree->n);
    return p + 20 + HBS_N_MAX;
}

/* Returns the length of what the checksum at its end covers. */
static size_t header_print(uint8_t out[NODES_HEADER_LEN], const struct hbs_tree *tree,
                           const uint8_t *root)
{
    memset(out, 0, NODES_HEADER_LEN);
    memcpy(out, MAGIC, AT_FORMAT);
    be_put32(out + AT_FORMAT, tree->kind == HBS_TREE_LMS ? FORMAT_LMS : FORMAT_XMSS);
    uint8_t *p = identity_print(out + AT_IDENTITY, tree);
    memcpy(p, root, tree->n);
    p += HBS_N_MAX;
    digest_buffer(DIGEST_SHA256, p, out, (size_t)(p - out));
    return (size_t)(p - out);
}

void nodes_identity_digest(const struct hbs_tree *tree, uint8_t *out)
{
    static const uint8_t no_root[HBS_N_MAX];
    uint8_t header[NODES_HEADER_LEN];
    size_t len = header_print(header, tree, no_root);
    digest_buffer(DIGEST_SHA256, out, header, len);
}

/* Is this the whole header of some tree, of either kind? */
static bool header_whole(const uint8_t header[NODES_HEADER_LEN])
{
    static const size_t lens[] = {AT_IDENTITY + 8 + LMS_I_LEN + HBS_N_MAX,
                                  AT_IDENTITY + 20 + 2 * HBS_N_MAX};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        uint8_t checksum[SHA256_LEN];
        digest_buffer(DIGEST_SHA256, checksum, header, lens[i]);
        if (ct_equal(header + lens[i], checksum, SHA256_LEN))
            return true;
    }
    return false;
}

enum nodes_header nodes_header_check(const uint8_t header[NODES_HEADER_LEN],
                                     const struct hbs_tree *tree, const uint8_t *root)
{
    uint8_t expected[NODES_HEADER_LEN];
    size_t len = header_print(expected, tree, root);
    if (ct_equal(header, expected, NODES_HEADER_LEN))
        return NODES_HEADER_SOUND;
    return header_whole(header) && !ct_equal(header, expected, len) ? NODES_HEADER_FOREIGN
                                                                    : NODES_HEADER_DAMAGED;
}

enum nodes_header nodes_header_read(const uint8_t header[NODES_HEADER_LEN],
                                    const struct hbs_tree *tree, uint8_t root[HBS_N_MAX])
{
    size_t at = tree->kind == HBS_TREE_LMS ? AT_LMS_ID + LMS_I_LEN : AT_XMSS_ID + HBS_N_MAX;
    memset(root, 0, HBS_N_MAX);
    memcpy(root, header + at, tree->n);
    return nodes_header_check(header, tree, root);
}

/* Lock the file, and see that the name still stands for it: between open and lock, the process that
 * held the lock may have renamed it to its final name or removed it. */
static enum rc temp_lock(struct nodes_temp *temp, struct err *err)
{
    if (flock(temp->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return FAIL(err, RC_RETRY_BUSY, "errno", errno,
                        "%s is being written by another process", temp->name);
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "lock %s: %s", temp->name,
                    strerror(errno));
    }
    struct stat opened;
    struct stat named;
    bool gone = false;
    if (fstat(temp->fd, &opened) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", temp->name, strerror(errno));
    if (fstatat(temp->dirfd, temp->name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", temp->name, strerror(errno));
        gone = true;
    }
    if (gone || opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
        return FAIL(err, RC_RETRY_BUSY, "", 0, "%s was just finished by another process",
                    temp->name);
    temp->owned = true;
    return RC_OK;
}

/* Is it as long as a file that was begun, or one that is whole but for its name? */
static bool begun(const struct nodes_temp *temp, const struct hbs_tree *tree)
{
    struct stat st;
    return fstat(temp->fd, &st) == 0 &&
           (st.st_size == nodes_begun_len(tree) || st.st_size == nodes_file_len(tree));
}

enum rc nodes_temp_open(struct nodes_temp *temp, int dirfd, const char *name,
                        const struct hbs_tree *tree, bool kept, struct err *err)
{
    *temp = NODES_TEMP_CLOSED;
    temp->dirfd = dirfd;
    MUST(name[0] != '\0');
    MUST(strlen(name) <= HBS_NODES_NAME_MAX);
    MUST(strchr(name, '/') == NULL);
    int printed = snprintf(temp->name, sizeof(temp->name), ".%s.tmp", name);
    MUST(printed > 0 && (size_t)printed < sizeof(temp->name));
    temp->fd = openat(dirfd, temp->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (temp->fd < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", temp->name,
                    strerror(errno));
    enum rc rc = temp_lock(temp, err);
    if (rc != RC_OK)
        return rc;
    if (kept && begun(temp, tree)) {
        temp->kept = true;
        return RC_OK;
    }
    if (ftruncate(temp->fd, 0) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", temp->name, strerror(errno));
    /* A full disk is found now, not after hours of hashing. */
    off_t len = kept ? nodes_begun_len(tree) : nodes_file_len(tree);
    int e = posix_fallocate(temp->fd, 0, len);
    if (e != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", e, "%s needs %lld bytes: %s", temp->name,
                    (long long)len, strerror(e));
    temp->kept = kept;
    return RC_OK;
}

void nodes_temp_close(struct nodes_temp *temp)
{
    /* Removed under the lock, so that it cannot be somebody else's. */
    if (temp->owned && !temp->kept)
        (void)unlinkat(temp->dirfd, temp->name, 0);
    temp->owned = false;
    fd_close(&temp->fd);
}

/* Nodes r … r + count - 1 from their children. */
static enum rc level_part(const struct nodes_temp *temp, const struct hbs_tree *tree, uint32_t r,
                          uint32_t count, uint8_t *nodes, struct err *err)
{
    uint8_t m = tree->n;
    if (!pread_full(temp->fd, nodes, 2 * (size_t)count * m, nodes_offset(tree, 2 * (uint64_t)r)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read %s: %s", temp->name,
                    strerror(errno));
    hbs_tree_level(tree, r, count, nodes, nodes);
    if (!pwrite_full(temp->fd, nodes, (size_t)count * m, nodes_offset(tree, r)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write %s: %s", temp->name,
                    strerror(errno));
    return RC_OK;
}

enum rc nodes_temp_levels(const struct nodes_temp *temp, const struct hbs_tree *tree,
                          nodes_go_on go_on, void *ctx, uint8_t *root, struct err *err)
{
    uint8_t nodes[2 * NODES_CHUNK * HBS_N_MAX];
    for (uint32_t level = UINT32_C(1) << (tree->height - 1); level >= 1; level /= 2) {
        uint32_t count = level < NODES_CHUNK ? level : NODES_CHUNK;
        for (uint32_t r = level; r < 2 * level; r += count) {
            if (go_on != NULL && r % ASK_NODES == 0 && !go_on(ctx))
                return FAIL(err, RC_RETRY_BUSY, "", 0, "stopped behind the last leaf");
            enum rc rc = level_part(temp, tree, r, count, nodes, err);
            if (rc != RC_OK)
                return rc;
        }
    }
    memcpy(root, nodes, tree->n);
    return RC_OK;
}

enum rc nodes_temp_commit(struct nodes_temp *temp, const char *name, const struct hbs_tree *tree,
                          const uint8_t *root, bool replace, struct err *err)
{
    uint8_t header[NODES_HEADER_LEN];
    header_print(header, tree, root);
    /* The sync before the rename: a power cut must never show the name over missing nodes. */
    if (!pwrite_full(temp->fd, header, sizeof(header), 0) || fsync(temp->fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write %s: %s", temp->name,
                    strerror(errno));
    /* Between two syncs: a file without checkpoints and with a sound header is a whole one, and the
     * name must never stand over one that is too long. */
    if (temp->kept && (ftruncate(temp->fd, nodes_file_len(tree)) != 0 || fsync(temp->fd) != 0))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", temp->name, strerror(errno));
    if (renameat2(temp->dirfd, temp->name, temp->dirfd, name, replace ? 0 : RENAME_NOREPLACE) != 0)
        return FAIL(err, errno == EEXIST ? RC_REFUSED_EXISTS : RC_HALT_SYSTEM, "errno", errno,
                    "rename to %s: %s", name, strerror(errno));
    temp->owned = false;
    return dir_sync(temp->dirfd, err);
}

enum rc hbs_nodes_root(int dirfd, const char *name, const struct hbs_tree *tree,
                       uint8_t root[HBS_N_MAX], struct err *err)
{
    uint8_t header[NODES_HEADER_LEN];
    uint8_t top[HBS_N_MAX] = {0};
    memset(root, 0, HBS_N_MAX);
    int fd CLEANUP(fd_close) = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return FAIL(err, errno == ENOENT ? RC_REFUSED_NOT_FOUND : RC_HALT_SYSTEM, "errno", errno,
                    "open %s: %s", name, strerror(errno));
    if (!pread_full(fd, header, sizeof(header), 0) ||
        !pread_full(fd, top, tree->n, nodes_offset(tree, 1)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read %s: %s", name, strerror(errno));
    if (nodes_header_check(header, tree, top) != NODES_HEADER_SOUND)
        return FAIL(err, RC_HALT_NODES, "", 0, "%.60s is not a finished node file of this key",
                    name);
    memcpy(root, top, HBS_N_MAX);
    return RC_OK;
}

enum rc hbs_nodes_id(int dirfd, const char *name, enum hbs_tree_kind kind,
                     uint8_t id[HBS_NODES_ID_LEN], struct err *err)
{
    uint8_t header[NODES_HEADER_LEN];
    memset(id, 0, HBS_NODES_ID_LEN);
    int fd CLEANUP(fd_close) = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return FAIL(err, errno == ENOENT ? RC_REFUSED_NOT_FOUND : RC_HALT_SYSTEM, "errno", errno,
                    "open %s: %s", name, strerror(errno));
    errno = 0; /* stays so at an early end of the file */
    if (!pread_full(fd, header, sizeof(header), 0))
        return FAIL(err, errno == EIO ? RC_HALT_SYSTEM : RC_HALT_NODES, "errno", errno,
                    "%.60s: its header cannot be read", name);
    if (!header_whole(header))
        return FAIL(err, RC_HALT_NODES, "", 0, "%.60s: its header is damaged", name);
    if (kind == HBS_TREE_LMS)
        memcpy(id, header + AT_LMS_ID, LMS_I_LEN);
    else
        memcpy(id, header + AT_XMSS_ID, HBS_N_MAX);
    return RC_OK;
}
