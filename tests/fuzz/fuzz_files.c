/*
 * Fuzz target: files that this service left behind, and that somebody else may have written into.
 *
 * The first byte chooses: 'c' the clock's memory, 'a' the record of an anchor, 'b' a backup, 'n' a
 * node file (the bytes are its header; leaves of zeros follow), 's' a file of sealed secrets. The
 * checksum of the short ones is put right where the second byte is '+', or no fuzzer would get past
 * it. Argon2 is left out of backups (box_key is wrapped by the linker), since it is slow and sees
 * nothing of the file but numbers that it checks itself. Beside not crashing: what is refused
 * leaves zeros and says why. Run: tests/fuzz/fuzz_files -max_len=8192 CORPUS tests/fuzz/files
 */
#include <string.h>

#include "base/box.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/record.h"
#include "base/secmem.h"
#include "fuzz/scratch.h"
#include "hbs/nodes_file.h"
#include "signer/backup.h"
#include "signer/clockfile.h"
#include "signer/seeds.h"

#define BYTES_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t *salt, const struct box_cost *cost, struct err *err);

enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t *salt, const struct box_cost *cost, struct err *err)
{
    (void)passphrase;
    (void)passphrase_len;
    (void)salt;
    (void)cost;
    (void)err;
    memset(key, 7, BOX_KEY_LEN);
    return RC_OK;
}

static bool all_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Put `len` bytes of SHA-256 over what is before them at the end. */
static void repair(uint8_t *bytes, size_t size, size_t len)
{
    uint8_t hash[SHA256_LEN];
    if (size < len)
        return;
    sha256_2(hash, bytes, size - len, "", 0);
    memcpy(bytes + size - len, hash, len);
}

static void try_clock(uint8_t *bytes, size_t len, bool repaired)
{
    struct clk_memory memory;
    struct err err = {0};
    if (repaired)
        repair(bytes, len, SHA256_LEN);
    int dirfd = scratch_folder(CLOCKFILE_NAME, bytes, len);
    enum rc rc = clockfile_read(dirfd, &memory, &err);
    if (rc == RC_OK)
        return;
    MUST(rc == RC_REFUSED_INPUT || rc == RC_REFUSED_TOO_LARGE);
    MUST(err.rc == rc && all_zero(&memory, sizeof(memory)));
}

static void try_record(uint8_t *bytes, size_t len, bool repaired)
{
    struct anchor_record a;
    uint8_t record[ANCHOR_RECORD_LEN] = {0};
    memcpy(record, bytes, len < sizeof(record) ? len : sizeof(record));
    if (repaired)
        repair(record, sizeof(record), 8);
    if (!anchor_record_decode(&a, record))
        MUST(all_zero(&a, sizeof(a)));
}

static void try_backup(const uint8_t *bytes, size_t len)
{
    struct backup b CLEANUP(backup_close) = {.fd = -1};
    struct err err = {0};
    struct window_secret secret;
    uint8_t sha256[SHA256_LEN];
    enum rc rc = backup_open(&b, scratch_file(bytes, len), "passphrase", &err);
    if (rc != RC_OK) {
        MUST(rc == RC_REFUSED_INPUT || rc == RC_REFUSED_PASSPHRASE || rc == RC_RETRY_SYSTEM);
        MUST(err.rc == rc && err.text[0] != '\0' && b.fd == -1);
        return;
    }
    /* Nobody knows the key of the box, so nothing but a backup of no secrets opens. */
    MUST(b.header.count == 0);
    MUST(backup_secret(&b, b.header.first_window, &secret, NULL) == RC_REFUSED_RANGE);
    MUST(backup_sha256(&b, sha256, NULL) == RC_OK);
}

static void try_nodes(const uint8_t *bytes, size_t len)
{
    static uint8_t header[NODES_HEADER_LEN];
    static const uint8_t id[LMS_I_LEN];
    uint8_t root[HBS_N_MAX] = {0};
    struct lms_tree lms = {0};
    memcpy(lms.i, id, sizeof(id));
    lms.set.lms = lms_params_by_type(5);
    lms.set.ots = lmots_params_by_type(4);
    MUST(lms.set.lms != NULL && lms.set.ots != NULL);
    struct hbs_tree tree = hbs_tree_of_lms(&lms);
    memset(header, 0, sizeof(header));
    memcpy(header, bytes, len < sizeof(header) ? len : sizeof(header));
    MUST(nodes_header_check(header, &tree, root) <= NODES_HEADER_FOREIGN);
    int dirfd = scratch_folder("nodes", bytes, len);
    struct err err = {0};
    struct hbs_nodes *nodes = NULL;
    bool repaired = false;
    enum rc rc = hbs_nodes_root(dirfd, "nodes", &tree, root, &err);
    MUST(rc == RC_OK || (err.rc == rc && err.text[0] != '\0'));
    err = (struct err){0};
    rc = hbs_nodes_open(&nodes, dirfd, "nodes", &tree, root, &repaired, &err);
    MUST((rc == RC_OK) == (nodes != NULL) && (rc == RC_OK || rc == RC_HALT_NODES));
    if (rc == RC_OK)
        MUST(memcmp(hbs_nodes_at(nodes, 1), root, tree.n) == 0);
    hbs_nodes_close(&nodes);
}

static void try_seeds(const uint8_t *bytes, size_t len)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd = -1;
    struct err err = {0};
    int dirfd = scratch_folder(SEEDS_FILE, bytes, len);
    if (seeds_open(dirfd, SEEDS_FILE, len / SEEDS_RECORD_LEN, &fd, &err) != RC_OK) {
        MUST(err.rc == RC_HALT_SEEDS);
        return;
    }
    for (uint64_t w = 0; w <= len / SEEDS_RECORD_LEN; w++) {
        err = (struct err){0};
        if (seeds_read(fd, w, blob, &blob_len, &err) != RC_OK)
            MUST(err.rc == RC_HALT_SEEDS);
        else
            MUST(blob_len <= sizeof(blob));
    }
    fd_close(&fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t bytes[BYTES_MAX];
    static bool started;
    if (!started)
        MUST(base_init(NULL) == RC_OK);
    started = true;
    if (len < 2 || len - 2 > sizeof(bytes))
        return 0;
    memcpy(bytes, data + 2, len - 2);
    size_t rest = len - 2;
    bool repaired = data[1] == '+';
    if (data[0] == 'c')
        try_clock(bytes, rest, repaired);
    else if (data[0] == 'a')
        try_record(bytes, rest, repaired);
    else if (data[0] == 'b')
        try_backup(bytes, rest);
    else if (data[0] == 'n')
        try_nodes(bytes, rest);
    else if (data[0] == 's')
        try_seeds(bytes, rest);
    return 0;
}
