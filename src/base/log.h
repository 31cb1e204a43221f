/*
 * log: structured lines to journald, or one JSON object a line on standard error elsewhere.
 *
 * A function either returns an error or logs it, not both: only daemon, http and signer log.
 * Text from outside is quoted by the format and cut; secrets never come here.
 * Threads: any. Blocks on the log sink only.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

#include "base/rc.h"

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6
};

/** Fields of one event beside its text; NULL or -1 means "not there". */
struct log_fields {
    const char *key;        /* KEY_ID */
    int64_t index;          /* OTS_INDEX; use -1 when there is none */
    const char *state;      /* STATE */
    const char *request_id; /* REQUEST_ID */
    const struct err *err;  /* RC, NATIVE, WHERE and its text */
};
#define LOG_NOTHING ((struct log_fields){.index = -1})

/** Lines above this level (LOG_LEVEL_INFO at the start: none) are left out. Any thread. */
void log_level_set(enum log_level most);

/** Name of this process in the log ("front", "core", "tidemarkd"). Static string. */
void log_open(const char *process);

/** One line. text is for people; at most 900 bytes are kept. */
void log_event(enum log_level level, const struct log_fields *fields, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
