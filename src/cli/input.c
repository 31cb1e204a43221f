#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define PIECE_LEN (256 * 1024)

static enum cli_exit cannot_read(const char *path, int error, struct cli_fault *fault)
{
    const char *next = error == ENOENT   ? "check the path"
                       : error == EACCES ? "check who may read it: ls -l"
                       : error == EISDIR ? "name a file; pack the folder into one first"
                                         : "check the file and its disk";
    return FAULT(fault, CLI_USAGE, next, "cannot read %.300s: %s", path, strerror(error));
}

enum cli_exit input_open(struct input *input, const char *path, struct cli_fault *fault)
{
    *input = INPUT_CLOSED;
    if (strcmp(path, "-") == 0) {
        *input = (struct input){.path = "standard input", .fd = STDIN_FILENO};
        return CLI_OK;
    }
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return cannot_read(path, errno, fault);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return cannot_read(path, errno, fault);
    if (S_ISDIR(st.st_mode))
        return cannot_read(path, EISDIR, fault);
    *input = (struct input){.path = path, .fd = fd, .regular = S_ISREG(st.st_mode)};
    if (input->regular)
        input->size = (uint64_t)st.st_size;
    fd = -1; /* now the caller's */
    return CLI_OK;
}

void input_close(struct input *input)
{
    if (input->fd > STDERR_FILENO)
        fd_close(&input->fd);
    *input = INPUT_CLOSED;
}

static ssize_t read_some(const struct input *input, void *data, size_t len, uint64_t offset)
{
    ssize_t got;
    do {
        got = input->regular ? pread(input->fd, data, len, (off_t)offset)
                             : read(input->fd, data, len);
    } while (got < 0 && errno == EINTR);
    return got;
}

static void free_bytes(uint8_t **p)
{
    free(*p);
}

enum cli_exit input_pump(const struct input *input, const struct out *out, const char *verb,
                         input_sink sink, void *ctx, uint64_t *size, struct cli_fault *fault)
{
    uint8_t *piece CLEANUP(free_bytes) = malloc(PIECE_LEN);
    if (piece == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    struct out_progress progress;
    out_progress_start(&progress, out, verb, input->size);
    uint64_t done = 0;
    for (;;) {
        ssize_t got = read_some(input, piece, PIECE_LEN, done);
        if (got < 0)
            return cannot_read(input->path, errno, fault);
        if (got == 0)
            break;
        sink(ctx, piece, (size_t)got);
        done += (uint64_t)got;
        out_progress_step(&progress, done);
    }
    out_progress_end(&progress, done);
    if (size != NULL)
        *size = done;
    return CLI_OK;
}

static void digest_sink(void *ctx, const void *data, size_t len)
{
    digest_update(ctx, data, len);
}

enum cli_exit input_digest(const struct input *input, const struct out *out, enum digest_kind kind,
                           uint8_t *digest, uint64_t *size, struct cli_fault *fault)
{
    struct err err = {0};
    struct digest d CLEANUP(digest_close) = {0};
    if (digest_open(&d, kind, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "free some memory and repeat");
    enum cli_exit code = input_pump(input, out, "hashing", digest_sink, &d, size, fault);
    if (code != CLI_OK)
        return code;
    digest_final(&d, digest);
    return CLI_OK;
}

static void free_chars(char **p)
{
    free(*p);
}

enum cli_exit input_read_first(const char *path, size_t max, char **data, size_t *len,
                               struct cli_fault *fault)
{
    *data = NULL;
    *len = 0;
    struct input input CLEANUP(input_close) = INPUT_CLOSED;
    enum cli_exit code = input_open(&input, path, fault);
    if (code != CLI_OK)
        return code;
    char *buffer CLEANUP(free_chars) = malloc(max + 1);
    if (buffer == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    size_t used = 0;
    while (used < max) {
        ssize_t got = read_some(&input, buffer + used, max - used, used);
        if (got < 0)
            return cannot_read(input.path, errno, fault);
        if (got == 0)
            break;
        used += (size_t)got;
    }
    buffer[used] = '\0';
    *data = buffer;
    *len = used;
    buffer = NULL; /* now the caller's */
    return CLI_OK;
}

enum cli_exit input_read(const char *path, const char *what, size_t max, char **data, size_t *len,
                         struct cli_fault *fault)
{
    /* One byte more than allowed tells "too long". */
    enum cli_exit code = input_read_first(path, max + 1, data, len, fault);
    if (code != CLI_OK || *len <= max)
        return code;
    free(*data);
    *data = NULL;
    *len = 0;
    return FAULT(fault, CLI_USAGE, "check that it is the right file",
                 "%.300s is no %s: longer than %zu bytes",
                 strcmp(path, "-") == 0 ? "standard input" : path, what, max);
}
