#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
/* Every line would name the same place in this file. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "base/jcs.h"
#include "base/text.h"

#define LOG_TEXT_MAX 900
#define LOG_FIELDS_MAX 13

static const char *process_name = "tidemark";
static bool to_journal;
static atomic_int level_most = LOG_LEVEL_INFO;

void log_open(const char *process)
{
    process_name = process;
    /* systemd sets it for services whose standard error is the journal (systemd.exec(5)). */
    to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_level_set(enum log_level most)
{
    atomic_store(&level_most, most);
}

struct journal_line {
    struct iovec fields[LOG_FIELDS_MAX];
    char text[LOG_FIELDS_MAX][LOG_TEXT_MAX + 32];
    int count;
};

static void add(struct journal_line *line, const char *name, const char *value)
{
    if (line->count == LOG_FIELDS_MAX || value == NULL)
        return;
    char *text = line->text[line->count];
    int len = snprintf(text, sizeof(line->text[0]), "%s=%s", name, value);
    if (len < 0)
        return;
    size_t cut = (size_t)len < sizeof(line->text[0]) ? (size_t)len : sizeof(line->text[0]) - 1;
    line->fields[line->count++] = (struct iovec){.iov_base = text, .iov_len = cut};
}

static void add_number(struct journal_line *line, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    add(line, name, text);
}

/* What kind of event it is: a hash (FNV-1a, 128 bits) of the format, so every line in the code has
 * a number of its own that stays until its wording changes, and nobody keeps a list of them. */
static void add_message_id(struct journal_line *line, const char *format)
{
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    unsigned __int128 hash =
        (unsigned __int128)UINT64_C(0x6c62272e07bb0142) << 64 | UINT64_C(0x62b821756295c58d);
    char text[33];
    for (; *format != '\0'; format++)
        hash = (hash ^ (unsigned char)*format) * prime;
    (void)snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, (uint64_t)(hash >> 64),
                   (uint64_t)hash);
    add(line, "MESSAGE_ID", text);
}

static void send_journal(enum log_level level, const struct log_fields *f, const char *format,
                         const char *text)
{
    struct journal_line line = {.count = 0};
    add(&line, "MESSAGE", text);
    add_message_id(&line, format);
    add_number(&line, "PRIORITY", level);
    add(&line, "PROCESS", process_name);
    add(&line, "KEY_ID", f->key);
    if (f->index >= 0)
        add_number(&line, "OTS_INDEX", f->index);
    add(&line, "STATE", f->state);
    add(&line, "REQUEST_ID", f->request_id);
    if (f->err != NULL && f->err->rc != RC_OK) {
        add(&line, "RC", rc_name(f->err->rc));
        add(&line, "ORIGIN", f->err->origin);
        add_number(&line, "NATIVE", f->err->native);
        add(&line, "WHERE", f->err->where);
        add(&line, "REASON", err_text(f->err));
    }
    (void)sd_journal_sendv(line.fields, line.count);
}

static void send_stderr(enum log_level level, const struct log_fields *f, const char *text)
{
    static const char *const levels[] = {[LOG_LEVEL_ERROR] = "error",
                                         [LOG_LEVEL_WARNING] = "warning",
                                         [LOG_LEVEL_NOTICE] = "notice",
                                         [LOG_LEVEL_INFO] = "info"};
    char now[RFC3339_SIZE];
    /* The time of a log line is for people; nothing is decided by it. */
    rfc3339_print(now, (int64_t)time(NULL));
    struct jcs j CLEANUP(jcs_wipe) = {0};
    jcs_object_open(&j);
    if (f->err != NULL && f->err->rc != RC_OK) {
        jcs_member_string(&j, "error", err_text(f->err));
    }
    if (f->index >= 0)
        jcs_member_int(&j, "index", f->index);
    if (f->key != NULL)
        jcs_member_string(&j, "key", f->key);
    jcs_member_string(&j, "level", levels[level]);
    jcs_member_string(&j, "message", text);
    if (f->err != NULL && f->err->rc != RC_OK)
        jcs_member_int(&j, "native", f->err->native & INT64_C(0xffffffff));
    jcs_member_string(&j, "process", process_name);
    if (f->err != NULL && f->err->rc != RC_OK)
        jcs_member_string(&j, "rc", rc_name(f->err->rc));
    if (f->request_id != NULL)
        jcs_member_string(&j, "request_id", f->request_id);
    if (f->state != NULL)
        jcs_member_string(&j, "state", f->state);
    jcs_member_string(&j, "time", now);
    if (f->err != NULL && f->err->rc != RC_OK && f->err->where != NULL)
        jcs_member_string(&j, "where", f->err->where);
    jcs_object_close(&j);
    if (!jcs_finish(&j))
        return;
    /* One write for one line, so that lines of two processes do not mix. */
    j.text[j.len] = '\n';
    ssize_t written = write(STDERR_FILENO, j.text, j.len + 1);
    (void)written;
}

void log_event(enum log_level level, const struct log_fields *fields, const char *format, ...)
{
    char text[LOG_TEXT_MAX];
    if ((int)level > atomic_load(&level_most))
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (to_journal)
        send_journal(level, fields, format, text);
    else
        send_stderr(level, fields, text);
}
