#include "signer/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define READ_LEN (256 * 1024)

/* Where the bytes of one pass go: up to three hashes at a time. */
struct sinks {
    struct digest *digests[2];
    struct hbs_message *message;
};

static void feed(const struct sinks *sinks, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < 2; i++)
        if (sinks->digests[i] != NULL)
            digest_update(sinks->digests[i], data, len);
    if (sinks->message != NULL)
        hbs_message_update(sinks->message, data, len);
}

/* From *done on. */
static enum rc read_until(int fd, uint64_t *done, uint64_t end, const struct sinks *sinks,
                          struct err *err)
{
    static _Thread_local uint8_t buffer[READ_LEN];
    while (*done < end) {
        uint64_t left = end - *done;
        size_t want = left < READ_LEN ? (size_t)left : READ_LEN;
        ssize_t got = pread(fd, buffer, want, (off_t)*done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "the artifact cannot be read: %s",
                        got == 0 ? "it is shorter than announced" : strerror(errno));
        feed(sinks, buffer, (size_t)got);
        *done += (uint64_t)got;
    }
    return RC_OK;
}

static enum rc read_all(const struct artifact *a, const struct sinks *sinks, struct err *err)
{
    uint64_t done = 0;
    if (a->bytes == NULL)
        return read_until(a->fd, &done, a->size, sinks, err);
    feed(sinks, a->bytes, (size_t)a->size);
    return RC_OK;
}

static enum rc check_handle(const struct request *request, int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return FAIL(err, RC_REFUSED_INPUT, "errno", errno, "the artifact's handle is no file");
    if ((uint64_t)st.st_size != request->body_len)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the artifact is not as long as announced");
    return RC_OK;
}

const uint8_t *artifact_map(const struct request *request, int fd)
{
    const int still = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    struct err none = {0};
    int seals = fcntl(fd, F_GET_SEALS);
    if (request->body != REQUEST_BODY_BYTES || request->body_len == 0 ||
        request->body_len > ARTIFACT_LARGE || seals < 0 || (seals & still) != still ||
        check_handle(request, fd, &none) != RC_OK)
        return NULL;
    void *bytes =
        mmap(NULL, (size_t)request->body_len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

void artifact_unmap(const struct request *request, const uint8_t *bytes)
{
    if (bytes != NULL)
        MUST(munmap((void *)(uintptr_t)bytes, (size_t)request->body_len) == 0);
}

static enum digest_kind kind_of(enum plan_message mode)
{
    return mode == PLAN_SHA384   ? DIGEST_SHA384
           : mode == PLAN_SHA512 ? DIGEST_SHA512
                                 : DIGEST_SHA256;
}

/* What a pass has found, once it has been over all bytes. */
static void keep_value(struct artifact *a, struct artifact_pass *pass)
{
    a->at = (struct artifact_at){.known = true, .index = pass->index};
    memcpy(a->at.c, pass->c, sizeof(a->at.c));
    hbs_message_final(&pass->message, a->at.value);
}

enum rc artifact_look_open(struct artifact_look *look, enum plan_message mode,
                           struct artifact_pass *pass, struct err *err)
{
    *look = (struct artifact_look){.mode = mode};
    if (pass != NULL && mode == PLAN_RAW)
        look->pass = *pass;
    else if (pass != NULL)
        artifact_pass_close(pass);
    if (pass != NULL)
        *pass = (struct artifact_pass){0};
    enum rc rc = digest_open(&look->sha256, DIGEST_SHA256, err);
    if (rc == RC_OK && (mode == PLAN_SHA384 || mode == PLAN_SHA512))
        rc = digest_open(&look->other, kind_of(mode), err);
    return rc;
}

void artifact_look_close(struct artifact_look *look)
{
    digest_close(&look->sha256);
    digest_close(&look->other);
    artifact_pass_close(&look->pass);
    *look = (struct artifact_look){0};
}

static struct sinks sinks_of(struct artifact_look *look)
{
    return (struct sinks){
        .digests = {&look->sha256, look->other.handle != NULL ? &look->other : NULL},
        .message = artifact_pass_is_open(&look->pass) ? &look->pass.message : NULL};
}

enum rc artifact_look_read(struct artifact_look *look, int fd, uint64_t end, struct err *err)
{
    struct sinks sinks = sinks_of(look);
    return read_until(fd, &look->done, end, &sinks, err);
}

/* All of it was seen: what is it? */
static enum rc finish_look(struct artifact *a, const struct request *request,
                           struct artifact_look *look, struct err *err)
{
    digest_final(&look->sha256, a->sha256);
    if (request->digest_claimed && !ct_equal(a->sha256, request->digest, SHA256_LEN))
        return FAIL(err, RC_REFUSED_DIGEST, "", 0, "the artifact is not the one announced");
    if (artifact_pass_is_open(&look->pass))
        keep_value(a, &look->pass);
    if (look->mode == PLAN_RAW)
        return RC_OK;
    a->message_len = digest_len(kind_of(look->mode));
    if (look->other.handle != NULL)
        digest_final(&look->other, a->message);
    else
        memcpy(a->message, a->sha256, SHA256_LEN);
    return RC_OK;
}

static enum rc open_body(struct artifact *a, const struct request *request,
                         struct artifact_pass *pass, struct err *err)
{
    struct artifact_look look CLEANUP(artifact_look_close) = {0};
    enum rc rc = artifact_look_open(&look, a->mode, pass, err);
    struct sinks sinks = sinks_of(&look);
    if (rc == RC_OK)
        rc = read_all(a, &sinks, err);
    return rc == RC_OK ? finish_look(a, request, &look, err) : rc;
}

static enum rc open_digest(struct artifact *a, const struct request *request,
                           enum plan_message mode, struct err *err)
{
    if (mode == PLAN_RAW)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "this key signs the artifact itself: send its bytes as "
                    "application/octet-stream");
    if (request->digest_kind != (uint32_t)kind_of(mode))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "this key signs %s digests",
                    digest_name(kind_of(mode)));
    a->message_len = digest_len(kind_of(mode));
    memcpy(a->message, request->digest, a->message_len);
    if (mode == PLAN_SHA256)
        memcpy(a->sha256, a->message, SHA256_LEN);
    else
        digest_buffer(DIGEST_SHA256, a->sha256, a->message, a->message_len);
    return RC_OK;
}

static enum rc open_any(struct artifact *a, const struct request *request, int fd,
                        enum plan_message mode, struct artifact_pass *pass, struct err *err)
{
    *a = (struct artifact){.fd = fd, .mode = mode, .size = request->body_len};
    if (request->body == REQUEST_BODY_DIGEST) {
        a->fd = -1;
        a->size = 0;
        return open_digest(a, request, mode, err);
    }
    enum rc rc = check_handle(request, fd, err);
    if (rc != RC_OK)
        return rc;
    return open_body(a, request, pass, err);
}

enum rc artifact_open_bytes(struct artifact *a, const struct request *request, const uint8_t *bytes,
                            enum plan_message mode, struct err *err)
{
    *a = (struct artifact){.fd = -1, .bytes = bytes, .mode = mode, .size = request->body_len};
    return open_body(a, request, NULL, err);
}

enum rc artifact_open(struct artifact *a, const struct request *request, int fd,
                      enum plan_message mode, struct err *err)
{
    return open_any(a, request, fd, mode, NULL, err);
}

enum rc artifact_open_for(struct artifact *a, const struct request *request, int fd,
                          enum plan_message mode, struct artifact_pass *pass, struct err *err)
{
    enum rc rc = open_any(a, request, fd, mode, pass, err);
    artifact_pass_close(pass);
    return rc;
}

enum rc artifact_open_rest(struct artifact *a, const struct request *request, int fd,
                           struct artifact_look *look, struct err *err)
{
    *a = (struct artifact){.fd = fd, .mode = look->mode, .size = request->body_len};
    enum rc rc = check_handle(request, fd, err);
    if (rc == RC_OK)
        rc = artifact_look_read(look, fd, a->size, err);
    return rc == RC_OK ? finish_look(a, request, look, err) : rc;
}

enum rc artifact_of_preview(struct artifact *a, const struct request *request,
                            const struct plan *plan, struct err *err)
{
    *a = (struct artifact){.fd = -1, .mode = plan->message};
    if (!request->digest_claimed)
        return RC_OK;
    if (plan->message != PLAN_RAW)
        return open_digest(a, request, plan->message, err);
    if (request->digest_kind != DIGEST_SHA256)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "this key signs the artifact itself, which is known by its sha256");
    memcpy(a->sha256, request->digest, SHA256_LEN);
    return RC_OK;
}

static enum rc raw_value(const struct artifact *a, struct hbs_message *message, struct err *err)
{
    if (a->bytes != NULL)
        return read_all(a, &(struct sinks){.message = message}, err);
    struct digest sha256 CLEANUP(digest_close) = {0};
    enum rc rc = digest_open(&sha256, DIGEST_SHA256, err);
    if (rc != RC_OK)
        return rc;
    struct sinks sinks = {.digests = {&sha256, NULL}, .message = message};
    rc = read_all(a, &sinks, err);
    if (rc != RC_OK)
        return rc;
    uint8_t again[SHA256_LEN];
    digest_final(&sha256, again);
    if (!ct_equal(again, a->sha256, SHA256_LEN))
        return FAIL(err, RC_REFUSED_DIGEST, "", 0, "the artifact changed while it was signed");
    return RC_OK;
}

/* Equal randomizers mean the same index of the same window's secret: they are derived from both. */
static bool is_known(const struct artifact *a, const struct hbs_branch *branch, uint64_t index,
                     const uint8_t *c)
{
    return a->at.known && a->at.index == index && ct_equal(a->at.c, c, hbs_branch_n(branch));
}

bool artifact_is_long(const struct artifact *a, const struct hbs_branch *branch, uint64_t index,
                      const uint8_t *c)
{
    return a->message_len == 0 && a->size > ARTIFACT_LARGE && !is_known(a, branch, index, c);
}

enum rc artifact_pass_open(struct artifact_pass *pass, const struct hbs_branch *branch,
                           uint64_t index, const uint8_t *c, struct err *err)
{
    artifact_pass_close(pass);
    pass->index = index;
    memcpy(pass->c, c, hbs_branch_n(branch));
    return hbs_message_open(&pass->message, branch, index, c, err);
}

enum rc artifact_pass_run(struct artifact_pass *pass, struct artifact *a, struct err *err)
{
    a->at = (struct artifact_at){0};
    enum rc rc = raw_value(a, &pass->message, err);
    if (rc == RC_OK)
        keep_value(a, pass);
    artifact_pass_close(pass);
    return rc;
}

bool artifact_pass_is_open(const struct artifact_pass *pass)
{
    return pass->message.kind != 0;
}

void artifact_pass_close(struct artifact_pass *pass)
{
    hbs_message_close(&pass->message);
    *pass = (struct artifact_pass){0};
}

enum rc artifact_value(const struct artifact *a, const struct hbs_branch *branch, uint64_t index,
                       const uint8_t *c, uint8_t *value, struct err *err)
{
    struct hbs_message message CLEANUP(hbs_message_close) = {0};
    if (is_known(a, branch, index, c)) {
        memcpy(value, a->at.value, hbs_branch_n(branch));
        return RC_OK;
    }
    enum rc rc = hbs_message_open(&message, branch, index, c, err);
    if (rc != RC_OK)
        return rc;
    if (a->message_len > 0)
        hbs_message_update(&message, a->message, a->message_len);
    else
        rc = raw_value(a, &message, err);
    if (rc == RC_OK)
        hbs_message_final(&message, value);
    return rc;
}
