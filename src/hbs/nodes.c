#include "hbs/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "hbs/nodes_file.h"

struct hbs_nodes {
    struct hbs_tree tree;
    const uint8_t *map;
    size_t map_len;
};

void hbs_nodes_close(struct hbs_nodes **nodes)
{
    if (*nodes == NULL)
        return;
    if ((*nodes)->map != NULL)
        (void)munmap((void *)(uintptr_t)(*nodes)->map, (*nodes)->map_len);
    free(*nodes);
    *nodes = NULL;
}

static uint32_t leaf_count(const struct hbs_nodes *nodes)
{
    return UINT32_C(1) << nodes->tree.height;
}

const uint8_t *hbs_nodes_at(const struct hbs_nodes *nodes, uint32_t r)
{
    MUST(r >= 1);
    MUST(r < 2 * leaf_count(nodes));
    return nodes->map + nodes_offset(&nodes->tree, r);
}

void hbs_nodes_path(const struct hbs_nodes *nodes, uint32_t q, uint8_t *path)
{
    MUST(q < leaf_count(nodes));
    uint8_t m = nodes->tree.n;
    for (uint32_t r = leaf_count(nodes) + q; r > 1; r /= 2, path += m)
        memcpy(path, hbs_nodes_at(nodes, r ^ 1), m);
}

/* Map the file; only its length is checked here. */
static enum rc nodes_map(struct hbs_nodes **out, int dirfd, const char *name,
                         const struct hbs_tree *tree, struct err *err)
{
    int fd CLEANUP(fd_close) = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return FAIL(err, errno == ENOENT ? RC_REFUSED_NOT_FOUND : RC_HALT_SYSTEM, "errno", errno,
                    "open %s: %s", name, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size != nodes_file_len(tree))
        return FAIL(err, RC_HALT_NODES, "", st.st_size,
                    "%s has %lld bytes, %lld are needed; the node file holds public data: restore "
                    "it from any copy",
                    name, (long long)st.st_size, (long long)nodes_file_len(tree));
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = calloc(1, sizeof(*nodes));
    if (nodes == NULL)
        return FAIL(err, RC_HALT_SYSTEM, "errno", ENOMEM, "no memory for %s", name);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "map %s: %s", name, strerror(errno));
    nodes->tree = *tree;
    nodes->map = map;
    nodes->map_len = (size_t)st.st_size;
    *out = nodes;
    nodes = NULL; /* the caller's now */
    return RC_OK;
}

/* Checking walks over the whole map; what it has read is given back in steps, so that the process
 * stays small with the largest tree too. The pages stay in the cache of the system. */
#define RELEASE_BYTES ((size_t)8 * 1024 * 1024)

static void map_release(const struct hbs_nodes *nodes)
{
    (void)madvise((void *)(uintptr_t)nodes->map, nodes->map_len, MADV_DONTNEED);
}

/* Does every inner node follow from its children, and node 1 equal the root? Children of
 * consecutive nodes are consecutive too, so levels need not be told apart. *wrong: the first node
 * that does not, or 0. @return false if progress (which may be NULL) said stop. */
static bool inner_nodes_walk(const struct hbs_nodes *nodes, const uint8_t *root,
                             hbs_progress progress, void *ctx, uint32_t *wrong)
{
    uint8_t m = nodes->tree.n;
    uint8_t computed[NODES_CHUNK * HBS_N_MAX];
    uint32_t leaves = leaf_count(nodes);
    size_t read = 0;
    *wrong = 0;
    for (uint32_t r = 1; r < leaves; r += NODES_CHUNK) {
        uint32_t count = leaves - r < NODES_CHUNK ? leaves - r : NODES_CHUNK;
        read += 3 * (size_t)count * m;
        if (read > RELEASE_BYTES) {
            map_release(nodes);
            read = 0;
        }
        hbs_tree_level(&nodes->tree, r, count, hbs_nodes_at(nodes, 2 * r), computed);
        for (uint32_t i = 0; i < count && *wrong == 0; i++)
            if (!ct_equal(computed + (size_t)i * m, hbs_nodes_at(nodes, r + i), m))
                *wrong = r + i;
        if (*wrong != 0)
            return true;
        if (progress != NULL && !progress(ctx, r - 1 + count, leaves - 1))
            return false;
    }
    if (!ct_equal(hbs_nodes_at(nodes, 1), root, m))
        *wrong = 1;
    return true;
}

static bool inner_nodes_sound(const struct hbs_nodes *nodes, const uint8_t *root)
{
    uint32_t wrong = 0;
    return inner_nodes_walk(nodes, root, NULL, NULL, &wrong) && wrong == 0;
}

/* The smallest subtree that is known to hold a damaged leaf. Going down from the root of the public
 * key, children that hash to a trusted node are trusted too; of two such, follow the one that the
 * leaves of today (in temp) do not lead to. */
static enum rc damage_find(uint32_t *found, const struct hbs_nodes *nodes, const uint8_t *root,
                           const struct nodes_temp *temp, struct err *err)
{
    uint8_t m = nodes->tree.n;
    const uint8_t *trusted = root;
    uint32_t r = 1;
    while (r < leaf_count(nodes)) {
        uint8_t node[HBS_N_MAX];
        const uint8_t *left = hbs_nodes_at(nodes, 2 * r);
        hbs_tree_node(&nodes->tree, r, left, hbs_nodes_at(nodes, 2 * r + 1), node);
        if (!ct_equal(node, trusted, m))
            break;
        if (!pread_full(temp->fd, node, m, nodes_offset(&nodes->tree, 2 * r)))
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read %s: %s", temp->name,
                        strerror(errno));
        r = 2 * r + (ct_equal(node, left, m) ? 1 : 0);
        trusted = hbs_nodes_at(nodes, r);
    }
    *found = r;
    return RC_OK;
}

static enum rc damage_report(const struct hbs_nodes *nodes, const char *name, const uint8_t *root,
                             const struct nodes_temp *temp, struct err *err)
{
    uint32_t r = 0;
    enum rc rc = damage_find(&r, nodes, root, temp, err);
    if (rc != RC_OK)
        return rc;
    unsigned depth = 31U - (unsigned)__builtin_clz(r);
    uint32_t count = leaf_count(nodes) >> depth;
    uint32_t first = (r - (UINT32_C(1) << depth)) * count;
    return FAIL(err, RC_HALT_NODES, "", first,
                "%.60s: damage within leaves %" PRIu32 " to %" PRIu32
                "; the node file holds public "
                "data: restore it from any copy, or make it again from the window secrets",
                name, first, first + count - 1);
}

static enum rc leaves_copy(const struct hbs_nodes *nodes, const struct nodes_temp *temp,
                           struct err *err)
{
    uint32_t end = 2 * leaf_count(nodes);
    uint32_t each = (uint32_t)(RELEASE_BYTES / nodes->tree.n);
    for (uint32_t r = leaf_count(nodes); r < end; r += each) {
        uint32_t count = end - r < each ? end - r : each;
        if (!pwrite_full(temp->fd, hbs_nodes_at(nodes, r), (size_t)count * nodes->tree.n,
                         nodes_offset(&nodes->tree, r)))
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write %s: %s", temp->name,
                        strerror(errno));
        map_release(nodes);
        if (end - r <= each)
            break;
    }
    return RC_OK;
}

/* Write a new file with the leaves of the old one; it takes the name only if it leads to the root.
 */
static enum rc nodes_repair(const struct hbs_nodes *nodes, int dirfd, const char *name,
                            const uint8_t *root, struct err *err)
{
    const struct hbs_tree *tree = &nodes->tree;
    struct nodes_temp temp CLEANUP(nodes_temp_close) = NODES_TEMP_CLOSED;
    enum rc rc = nodes_temp_open(&temp, dirfd, name, tree, false, err);
    if (rc != RC_OK)
        return rc;
    rc = leaves_copy(nodes, &temp, err);
    if (rc != RC_OK)
        return rc;
    uint8_t top[HBS_N_MAX];
    rc = nodes_temp_levels(&temp, tree, NULL, NULL, top, err);
    if (rc != RC_OK)
        return rc;
    if (!ct_equal(top, root, tree->n))
        return damage_report(nodes, name, root, &temp, err);
    return nodes_temp_commit(&temp, name, tree, root, true, err);
}

static bool nodes_sound(const struct hbs_nodes *nodes, const uint8_t *root)
{
    return nodes_header_check(nodes->map, &nodes->tree, root) == NODES_HEADER_SOUND &&
           inner_nodes_sound(nodes, root);
}

enum rc hbs_nodes_open(struct hbs_nodes **out, int dirfd, const char *name,
                       const struct hbs_tree *tree, const uint8_t *root, bool *repaired,
                       struct err *err)
{
    MUST(tree->n <= HBS_N_MAX);
    *out = NULL;
    *repaired = false;
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    enum rc rc = nodes_map(&nodes, dirfd, name, tree, err);
    if (rc != RC_OK)
        return rc;
    if (nodes_header_check(nodes->map, tree, root) == NODES_HEADER_FOREIGN)
        return FAIL(
            err, RC_HALT_NODES, "", 0,
            "%.60s is the node file of another key; it holds public data: restore the right "
            "one from any copy",
            name);
    if (!nodes_sound(nodes, root)) {
        rc = nodes_repair(nodes, dirfd, name, root, err);
        if (rc != RC_OK)
            return rc;
        hbs_nodes_close(&nodes);
        rc = nodes_map(&nodes, dirfd, name, tree, err);
        if (rc != RC_OK)
            return rc;
        if (!nodes_sound(nodes, root))
            return FAIL(err, RC_HALT_NODES, "", 0,
                        "%.60s is wrong again after its repair: check disk and memory", name);
        *repaired = true;
    }
    *out = nodes;
    nodes = NULL; /* the caller's now */
    return RC_OK;
}

static enum rc wrong_report(const struct hbs_nodes *nodes, const char *name, uint32_t r,
                            struct err *err)
{
    unsigned depth = 31U - (unsigned)__builtin_clz(r);
    uint32_t count = leaf_count(nodes) >> depth;
    uint32_t first = (r - (UINT32_C(1) << depth)) * count;
    return FAIL(err, RC_HALT_NODES, "", r,
                "%.60s: node %" PRIu32 ", above leaves %" PRIu32 " to %" PRIu32
                ", does not follow from the two below it: one of the three is damaged",
                name, r, first, first + count - 1);
}

enum rc hbs_nodes_check(int dirfd, const char *name, const struct hbs_tree *tree,
                        hbs_progress progress, void *ctx, uint8_t root[HBS_N_MAX], struct err *err)
{
    MUST(tree->n <= HBS_N_MAX);
    uint8_t named[HBS_N_MAX];
    uint32_t wrong = 0;
    memset(root, 0, HBS_N_MAX);
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    enum rc rc = nodes_map(&nodes, dirfd, name, tree, err);
    if (rc != RC_OK)
        return rc;
    enum nodes_header header = nodes_header_read(nodes->map, tree, named);
    if (header != NODES_HEADER_SOUND)
        return FAIL(err, RC_HALT_NODES, "", 0, "%.60s: its header is %s", name,
                    header == NODES_HEADER_FOREIGN ? "that of a tree of other parameters"
                                                   : "damaged");
    if (!inner_nodes_walk(nodes, named, progress, ctx, &wrong))
        return FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
    if (wrong != 0)
        return wrong_report(nodes, name, wrong, err);
    memcpy(root, named, tree->n);
    return RC_OK;
}
