#include "signer/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/jcs.h"
#include "base/secmem.h"
#include "hbs/nodes_file.h"
#include "signer/scheme.h"

#define MAGIC "TIDEBKUP"
#define MAGIC_LEN 8
#define FORMAT 1
#define PREFIX_LEN (MAGIC_LEN + 8)
#define SECRET_LEN sizeof(struct window_secret)
#define CHUNK_LEN (BACKUP_CHUNK * SECRET_LEN)
#define COPY_LEN (1024 * 1024)

_Static_assert(SECRET_LEN == 64, "the file format has 64 bytes for a window");

/* Writing ------------------------------------------------------------------------------------- */

struct writer {
    int fd;
    off_t at;
    struct digest whole;
};

static enum rc put(struct writer *w, const void *data, size_t len, struct err *err)
{
    if (!pwrite_full(w->fd, data, len, w->at))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write of the backup: %s",
                    strerror(errno));
    digest_update(&w->whole, data, len);
    w->at += (off_t)len;
    return RC_OK;
}

static enum rc put_header(struct writer *w, const struct backup_header *h,
                          uint8_t binding[SHA256_LEN], struct err *err)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    char made[RFC3339_SIZE];
    rfc3339_print(made, h->made_at_s);
    jcs_object_open(&j);
    jcs_member_u64(&j, "count", h->count);
    jcs_member_u64(&j, "first_window", h->first_window);
    jcs_member_string(&j, "key", h->key);
    jcs_member_string(&j, "made_at", made);
    jcs_member_u64(&j, "memory_kib", h->memory_kib);
    jcs_member_u64(&j, "passes", h->passes);
    jcs_member_hex(&j, "plan_sha256", h->plan_sha256, SHA256_LEN);
    jcs_member_hex(&j, "public_key", h->public_key, h->public_key_len);
    jcs_member_hex(&j, "salt", h->salt, sizeof(h->salt));
    jcs_member_int(&j, "through", h->through);
    jcs_object_close(&j);
    if (!jcs_finish(&j))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    uint8_t prefix[PREFIX_LEN];
    memcpy(prefix, MAGIC, MAGIC_LEN);
    be_put32(prefix + MAGIC_LEN, FORMAT);
    be_put32(prefix + MAGIC_LEN + 4, (uint32_t)j.len);
    sha256_2(binding, prefix, sizeof(prefix), j.text, j.len);
    enum rc rc = put(w, prefix, sizeof(prefix), err);
    return rc == RC_OK ? put(w, j.text, j.len, err) : rc;
}

static enum rc unlock(struct key *key, const struct world *world, void *tpm, const char *passphrase,
                      struct err *err)
{
    if (key->escrow.fd < 0)
        return RC_OK;
    const struct escrow_keeper keeper = key_escrow_keeper(key, world, tpm, passphrase);
    return escrow_unlock(&key->escrow, key->dirfd, &keeper, err);
}

/* Every secret is compared with the node file on its way: a backup of what cannot sign would be
 * found out too late. */
static enum rc take_secret(struct key *key, const struct world *world, void *tpm, uint64_t window,
                           struct window_secret *to, struct err *err)
{
    const struct window_secret *secret = NULL;
    if (key->escrow.fd < 0) {
        enum rc rc = key_secret(key, world, tpm, window, &secret, err);
        if (rc == RC_OK)
            *to = *secret;
        return rc;
    }
    enum rc rc = escrow_get(&key->escrow, window, to, err);
    if (rc == RC_OK &&
        !hbs_key_secret_fits(&key->hbs, key->nodes, key->plan.window_size, window, to))
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the escrow's secret of window %" PRIu64 " does not belong to this key",
                    window);
    return rc;
}

static enum rc put_chunk(struct writer *w, struct key *key, const struct world *world, void *tpm,
                         const struct backup_header *h, uint64_t chunk, const uint8_t *box_key_,
                         const uint8_t *binding, uint8_t *data, struct err *err)
{
    uint64_t left = h->count - chunk * BACKUP_CHUNK;
    uint64_t n = left < BACKUP_CHUNK ? left : BACKUP_CHUNK;
    memset(data, 0, CHUNK_LEN);
    for (uint64_t i = 0; i < n; i++) {
        enum rc rc = take_secret(key, world, tpm, h->first_window + chunk * BACKUP_CHUNK + i,
                                 (struct window_secret *)(data + i * SECRET_LEN), err);
        if (rc != RC_OK)
            return rc;
    }
    uint8_t tag[BOX_TAG_LEN];
    enum rc rc = box_seal(box_key_, chunk, binding, data, CHUNK_LEN, tag, err);
    if (rc == RC_OK)
        rc = put(w, data, CHUNK_LEN, err);
    return rc == RC_OK ? put(w, tag, sizeof(tag), err) : rc;
}

static uint64_t chunks_of(const struct backup_header *h)
{
    return (h->count + BACKUP_CHUNK - 1) / BACKUP_CHUNK;
}

static enum rc put_chunks(struct writer *w, struct key *key, const struct world *world, void *tpm,
                          const struct backup_header *h, const char *passphrase,
                          const uint8_t *binding, hbs_progress progress, void *ctx, struct err *err)
{
    uint8_t *box = secmem_alloc(BOX_KEY_LEN);
    uint8_t *data = secmem_alloc(CHUNK_LEN);
    enum rc rc = box == NULL || data == NULL
                     ? FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory")
                     : RC_OK;
    struct box_cost cost = {.memory_kib = h->memory_kib, .passes = h->passes};
    if (rc == RC_OK)
        rc = box_key(box, passphrase, strlen(passphrase), h->salt, &cost, err);
    for (uint64_t chunk = 0; rc == RC_OK && chunk < chunks_of(h); chunk++) {
        rc = put_chunk(w, key, world, tpm, h, chunk, box, binding, data, err);
        if (rc == RC_OK && progress != NULL && !progress(ctx, chunk + 1, chunks_of(h)))
            rc = FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
    }
    secmem_free(box);
    secmem_free(data);
    return rc;
}

static enum rc put_public_file(struct writer *w, const struct key *key, const char *name,
                               struct err *err)
{
    int fd CLEANUP(fd_close) = openat(key->dirfd, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "open %s: %s", name, strerror(errno));
    uint8_t len[8];
    be_put64(len, (uint64_t)st.st_size);
    enum rc rc = put(w, len, sizeof(len), err);
    uint8_t *buffer = malloc(COPY_LEN);
    if (buffer == NULL && rc == RC_OK)
        rc = FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    for (off_t at = 0; rc == RC_OK && at < st.st_size;) {
        size_t n = st.st_size - at < COPY_LEN ? (size_t)(st.st_size - at) : COPY_LEN;
        if (!pread_full(fd, buffer, n, at))
            rc = FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read %s: %s", name, strerror(errno));
        else
            rc = put(w, buffer, n, err);
        at += (off_t)n;
    }
    free(buffer);
    return rc;
}

static enum rc write_all(struct writer *w, struct key *key, const struct world *world, void *tpm,
                         const struct backup_header *h, const char *passphrase,
                         hbs_progress progress, void *ctx, struct err *err)
{
    uint8_t binding[SHA256_LEN];
    enum rc rc = put_header(w, h, binding, err);
    if (rc == RC_OK)
        rc = put_chunks(w, key, world, tpm, h, passphrase, binding, progress, ctx, err);
    if (rc == RC_OK)
        rc = put_public_file(w, key, KEY_FILE_PLAN, err);
    if (rc == RC_OK)
        rc = put_public_file(w, key, KEY_FILE_NODES, err);
    if (rc == RC_OK && fsync(w->fd) != 0)
        rc = FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of the backup: %s", strerror(errno));
    return rc;
}

/* Under another name until it is whole: what a power cut leaves must neither look like a backup nor
 * stand in the way of the next one. */
static enum rc open_part(const char *path, char part[PATH_MAX], int *fd, struct err *err)
{
    int len = snprintf(part, PATH_MAX, "%s.part", path);
    if (len < 0 || len >= PATH_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the path of the backup is too long");
    struct stat st;
    if (lstat(path, &st) == 0)
        return FAIL(err, RC_REFUSED_EXISTS, "errno", EEXIST, "create %s: %s", path,
                    strerror(EEXIST));
    (void)unlink(part);
    *fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", part, strerror(errno));
    return RC_OK;
}

static enum rc sync_folder_of(const char *path, struct err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)len, path);
    int fd CLEANUP(fd_close) = open(len == 0 ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "open the folder of the backup: %s",
                    strerror(errno));
    return dir_sync(fd, err);
}

/* Some file systems of removable disks know no rename that spares what stands there: open_part()
 * has looked, and the locks keep other exports away. */
static enum rc publish(const char *part, const char *path, struct err *err)
{
    bool done = renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) == 0 ||
                ((errno == EINVAL || errno == ENOSYS) && rename(part, path) == 0);
    if (!done)
        return FAIL(err, errno == EEXIST ? RC_REFUSED_EXISTS : RC_HALT_SYSTEM, "errno", errno,
                    "name the backup %s: %s", path, strerror(errno));
    enum rc rc = sync_folder_of(path, err);
    if (rc != RC_OK)
        (void)unlink(path);
    return rc;
}

enum rc backup_export(struct key *key, const struct world *world, void *tpm, const char *path,
                      const char *passphrase, int64_t through, int64_t now_s, hbs_progress progress,
                      void *progress_ctx, uint8_t sha256[SHA256_LEN], struct err *err)
{
    int64_t first = key_floor(key) + 1;
    if (first < key->record.min_window)
        first = key->record.min_window;
    /* In its last window a key has no secret left to export, and still a mark: a recovery into that
     * window signs when it is acknowledged. */
    if (first > (int64_t)key->plan.window_count)
        first = (int64_t)key->plan.window_count;
    struct backup_header h = {.memory_kib = BOX_COST_DEFAULT.memory_kib,
                              .passes = BOX_COST_DEFAULT.passes,
                              .first_window = (uint64_t)first,
                              .count = key->plan.window_count - (uint64_t)first,
                              .through = through,
                              .made_at_s = now_s,
                              .public_key_len = key->record.public_key_len};
    strcpy(h.key, key->record.name);
    memcpy(h.plan_sha256, key->record.plan_sha256, SHA256_LEN);
    memcpy(h.public_key, key->record.public_key, h.public_key_len);
    random_bytes(h.salt, sizeof(h.salt));
    enum rc rc = unlock(key, world, tpm, passphrase, err);
    if (rc != RC_OK)
        return rc;
    char part[PATH_MAX];
    int fd CLEANUP(fd_close) = -1;
    rc = open_part(path, part, &fd, err);
    if (rc != RC_OK)
        return rc;
    struct writer w = {.fd = fd};
    rc = digest_open(&w.whole, DIGEST_SHA256, err);
    if (rc == RC_OK)
        rc = write_all(&w, key, world, tpm, &h, passphrase, progress, progress_ctx, err);
    if (rc == RC_OK)
        rc = publish(part, path, err);
    if (rc == RC_OK)
        digest_final(&w.whole, sha256);
    else
        (void)unlink(part);
    digest_close(&w.whole);
    return rc;
}

/* Reading ------------------------------------------------------------------------------------- */

static enum rc malformed(struct err *err, const char *what)
{
    return FAIL(err, RC_REFUSED_INPUT, "", 0, "not a backup of a key: %s", what);
}

/* The header is canonical JSON of known members in a known order: a member is found by its name,
 * and what follows must be of its kind. Whoever changed it changed the binding of every chunk, too.
 */
static const char *member(const char *json, const char *name)
{
    char quoted[48];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\":", name);
    const char *p = strstr(json, quoted);
    return p != NULL ? p + strlen(quoted) : NULL;
}

static bool number_member(const char *json, const char *name, int64_t *value)
{
    char digits[24];
    const char *p = member(json, name);
    if (p == NULL)
        return false;
    bool negative = *p == '-';
    p += negative ? 1 : 0;
    size_t n = strspn(p, "0123456789");
    uint64_t v = 0;
    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, p, n);
    digits[n] = '\0';
    if (!text_to_u64(&v, digits, UINT64_C(1) << 53))
        return false;
    *value = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

static bool string_member(const char *json, const char *name, char *out, size_t size)
{
    const char *p = member(json, name);
    if (p == NULL || *p != '"')
        return false;
    size_t n = strcspn(p + 1, "\"");
    if (p[1 + n] != '"' || n >= size)
        return false;
    memcpy(out, p + 1, n);
    out[n] = '\0';
    return true;
}

static bool hex_member(const char *json, const char *name, uint8_t *out, size_t len)
{
    char text[HEX_SIZE(LEDGER_PUBLIC_MAX)];
    return string_member(json, name, text, sizeof(text)) && hex_decode(out, len, text);
}

static bool parse_header(struct backup_header *h, const char *json)
{
    int64_t count = 0;
    int64_t first = 0;
    int64_t memory = 0;
    int64_t passes = 0;
    char public_hex[HEX_SIZE(LEDGER_PUBLIC_MAX)];
    char made_at[RFC3339_SIZE];
    if (!number_member(json, "count", &count) || !number_member(json, "first_window", &first) ||
        !number_member(json, "memory_kib", &memory) || !number_member(json, "passes", &passes) ||
        !number_member(json, "through", &h->through) ||
        !string_member(json, "key", h->key, sizeof(h->key)) || !name_valid(h->key) ||
        !hex_member(json, "plan_sha256", h->plan_sha256, SHA256_LEN) ||
        !hex_member(json, "salt", h->salt, sizeof(h->salt)) ||
        !string_member(json, "made_at", made_at, sizeof(made_at)) ||
        !rfc3339_parse(&h->made_at_s, made_at) ||
        !string_member(json, "public_key", public_hex, sizeof(public_hex)))
        return false;
    h->public_key_len = strlen(public_hex) / 2;
    if (!hex_decode(h->public_key, h->public_key_len, public_hex) || count < 0 || first < 0 ||
        count > (INT64_C(1) << 32) || first > (INT64_C(1) << 32) || memory < 0 ||
        memory > UINT32_MAX || passes < 0 || passes > UINT32_MAX)
        return false;
    h->count = (uint64_t)count;
    h->first_window = (uint64_t)first;
    h->memory_kib = (uint32_t)memory;
    h->passes = (uint32_t)passes;
    return true;
}

static enum rc read_header(struct backup *b, struct err *err)
{
    uint8_t prefix[PREFIX_LEN];
    if (!pread_full(b->fd, prefix, sizeof(prefix), 0) || memcmp(prefix, MAGIC, MAGIC_LEN) != 0)
        return malformed(err, "it does not start like one");
    uint32_t len = be_get32(prefix + MAGIC_LEN + 4);
    if (be_get32(prefix + MAGIC_LEN) != FORMAT)
        return malformed(err, "its format is a newer one");
    char header[BACKUP_HEADER_MAX + 1];
    if (len > BACKUP_HEADER_MAX || !pread_full(b->fd, header, len, PREFIX_LEN))
        return malformed(err, "its header is cut off");
    header[len] = '\0';
    if (strlen(header) != len || !parse_header(&b->header, header))
        return malformed(err, "its header is malformed");
    sha256_2(b->binding, prefix, sizeof(prefix), header, len);
    b->chunks_at = (off_t)(PREFIX_LEN + len);
    return RC_OK;
}

static enum rc read_public_parts(struct backup *b, struct err *err)
{
    struct stat st;
    uint8_t len[8];
    off_t at = b->chunks_at + (off_t)(chunks_of(&b->header) * (CHUNK_LEN + BOX_TAG_LEN));
    if (fstat(b->fd, &st) != 0 || !pread_full(b->fd, len, sizeof(len), at))
        return malformed(err, "it is cut off");
    b->plan_len = (size_t)be_get64(len);
    if (b->plan_len > PLAN_TEXT_MAX)
        return malformed(err, "its plan is too long");
    b->plan = calloc(1, b->plan_len + 1);
    if (b->plan == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    at += 8;
    if (!pread_full(b->fd, b->plan, b->plan_len, at) ||
        !pread_full(b->fd, len, sizeof(len), at + (off_t)b->plan_len))
        return malformed(err, "it is cut off");
    b->nodes_at = at + (off_t)b->plan_len + 8;
    b->nodes_len = be_get64(len);
    if (b->nodes_len > (uint64_t)st.st_size || b->nodes_at + (off_t)b->nodes_len != st.st_size)
        return malformed(err, "it is cut off, or something was added to it");
    uint8_t sha256[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, sha256, b->plan, b->plan_len);
    if (!ct_equal(sha256, b->header.plan_sha256, SHA256_LEN))
        return malformed(err, "its plan was changed");
    return RC_OK;
}

/* Header, plan and public key must be about one key. Whoever knows the passphrase can write what he
 * likes, and what follows counts on these numbers. */
static enum rc check_header(struct backup *b, struct err *err)
{
    const struct backup_header *h = &b->header;
    struct plan plan CLEANUP(plan_free) = {0};
    struct hbs_key hbs;
    if (plan_parse(&plan, b->plan, b->plan_len, NULL, NULL) != RC_OK ||
        scheme_read(&hbs, &plan, h->public_key, h->public_key_len, NULL) != RC_OK)
        return malformed(err, "its plan or its public key cannot be used");
    if (strcmp(plan.key, h->key) != 0 || h->through < 0 || h->first_window > plan.window_count ||
        h->count != plan.window_count - h->first_window)
        return malformed(err, "its header does not fit its plan");
    return RC_OK;
}

static enum rc load_chunk(struct backup *b, uint64_t chunk, struct err *err)
{
    if (b->chunk_number == chunk)
        return RC_OK;
    b->chunk_number = UINT64_MAX;
    uint8_t tag[BOX_TAG_LEN];
    off_t at = b->chunks_at + (off_t)(chunk * (CHUNK_LEN + BOX_TAG_LEN));
    if (!pread_full(b->fd, b->chunk, CHUNK_LEN, at) ||
        !pread_full(b->fd, tag, sizeof(tag), at + (off_t)CHUNK_LEN))
        return malformed(err, "it is cut off");
    enum rc rc = box_open(b->box_key, chunk, b->binding, (uint8_t *)b->chunk, CHUNK_LEN, tag, err);
    if (rc == RC_OK)
        b->chunk_number = chunk;
    return rc;
}

enum rc backup_open(struct backup *b, const char *path, const char *passphrase, struct err *err)
{
    *b = (struct backup){.fd = open(path, O_RDONLY | O_CLOEXEC), .chunk_number = UINT64_MAX};
    if (b->fd < 0)
        return FAIL(err, errno == ENOENT ? RC_REFUSED_NOT_FOUND : RC_HALT_SYSTEM, "errno", errno,
                    "open %s: %s", path, strerror(errno));
    enum rc rc = read_header(b, err);
    if (rc == RC_OK)
        rc = read_public_parts(b, err);
    if (rc == RC_OK)
        rc = check_header(b, err);
    if (rc == RC_OK) {
        b->box_key = secmem_alloc(BOX_KEY_LEN);
        b->chunk = secmem_alloc(CHUNK_LEN);
        if (b->box_key == NULL || b->chunk == NULL)
            rc = FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    }
    struct box_cost cost = {.memory_kib = b->header.memory_kib, .passes = b->header.passes};
    if (rc == RC_OK)
        rc = box_key(b->box_key, passphrase, strlen(passphrase), b->header.salt, &cost, err);
    if (rc == RC_OK && b->header.count > 0) /* the passphrase of nothing cannot be wrong */
        rc = load_chunk(b, 0, err);
    if (rc != RC_OK)
        backup_close(b);
    return rc;
}

void backup_close(struct backup *b)
{
    secmem_free(b->box_key);
    secmem_free(b->chunk);
    free(b->plan);
    fd_close(&b->fd);
    *b = (struct backup){.fd = -1};
}

enum rc backup_secret(struct backup *b, uint64_t window, struct window_secret *secret,
                      struct err *err)
{
    memset(secret, 0, sizeof(*secret));
    if (window < b->header.first_window || window - b->header.first_window >= b->header.count)
        return FAIL(err, RC_REFUSED_RANGE, "", 0, "window %" PRIu64 " is not in the backup",
                    window);
    uint64_t at = window - b->header.first_window;
    enum rc rc = load_chunk(b, at / BACKUP_CHUNK, err);
    if (rc == RC_OK)
        *secret = b->chunk[at % BACKUP_CHUNK];
    return rc;
}

/* @return what went wrong with the file; the digest has all of it otherwise. */
static enum rc digest_file(struct digest *whole, int fd, uint8_t *buffer, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "look at the backup: %s", strerror(errno));
    for (off_t at = 0; at < st.st_size;) {
        size_t n = st.st_size - at < COPY_LEN ? (size_t)(st.st_size - at) : COPY_LEN;
        if (!pread_full(fd, buffer, n, at))
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read the backup: %s",
                        strerror(errno));
        digest_update(whole, buffer, n);
        at += (off_t)n;
    }
    return RC_OK;
}

enum rc backup_sha256(const struct backup *b, uint8_t sha256[SHA256_LEN], struct err *err)
{
    struct digest whole CLEANUP(digest_close) = {0};
    memset(sha256, 0, SHA256_LEN);
    enum rc rc = digest_open(&whole, DIGEST_SHA256, err);
    if (rc != RC_OK)
        return rc;
    uint8_t *buffer = malloc(COPY_LEN);
    rc = buffer != NULL ? digest_file(&whole, b->fd, buffer, err)
                        : FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    if (rc == RC_OK)
        digest_final(&whole, sha256);
    free(buffer);
    return rc;
}

void backup_name(char text[LEDGER_TEXT_MAX + 1], const uint8_t sha256[SHA256_LEN], const char *path)
{
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, sha256, SHA256_LEN);
    bool room = strlen(hex) + 1 + strlen(path) <= LEDGER_TEXT_MAX;
    (void)snprintf(text, LEDGER_TEXT_MAX + 1, room ? "%s %s" : "%s", hex, path);
}

/* What one window has in the top tree, against the node file inside the backup. */
static enum rc check_window(struct backup *b, const struct plan *plan, const struct hbs_key *hbs,
                            uint64_t window, struct err *err)
{
    struct window_secret secret CLEANUP(window_secret_wipe) = {0};
    enum rc rc = backup_secret(b, window, &secret, err);
    if (rc != RC_OK)
        return rc;
    const struct hbs_tree top = hbs_key_top(hbs);
    uint32_t leaves = UINT32_C(1) << top.height;
    uint32_t count = (uint32_t)(plan->window_size >> (hbs->height - top.height));
    uint32_t first = (uint32_t)(window * count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t derived[HBS_N_MAX];
        uint8_t stored[HBS_N_MAX];
        hbs_tree_leaves(&top, first + i, 1, secret.seed, derived);
        off_t at = b->nodes_at + nodes_offset(&top, leaves + first + i);
        if (!pread_full(b->fd, stored, top.n, at) || !ct_equal(derived, stored, top.n))
            return FAIL(err, RC_HALT_NODES, "", 0,
                        "the secret of window %" PRIu64 " does not fit the node file in the backup",
                        window);
    }
    return RC_OK;
}

enum rc backup_check(struct backup *b, hbs_progress progress, void *progress_ctx, struct err *err)
{
    struct plan plan = {0};
    struct hbs_key hbs;
    enum rc rc = plan_parse(&plan, b->plan, b->plan_len, NULL, err);
    if (rc == RC_OK)
        rc = scheme_read(&hbs, &plan, b->header.public_key, b->header.public_key_len, err);
    for (uint64_t i = 0; rc == RC_OK && i < b->header.count; i++) {
        struct window_secret secret CLEANUP(window_secret_wipe) = {0};
        rc = backup_secret(b, b->header.first_window + i, &secret, err);
        if (progress != NULL && !progress(progress_ctx, i + 1, b->header.count))
            rc = FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
    }
    bool any = b->header.count > 0;
    if (rc == RC_OK && any)
        rc = check_window(b, &plan, &hbs, b->header.first_window, err);
    if (rc == RC_OK && any)
        rc = check_window(b, &plan, &hbs, b->header.first_window + b->header.count - 1, err);
    plan_free(&plan);
    return rc;
}
