/*
 * jcs: a writer of canonical JSON (RFC 8785) into a growing buffer.
 *
 * The caller adds members in sorted order (MUST holds it to that), so the output is canonical by
 * construction: no blanks, sorted members, shortest escapes, integers only. Numbers beyond 2^53 are
 * written as strings (jcs_u64), as API section 1 wants them.
 *
 * Uses: libc. A struct jcs belongs to one thread. Memory failure is sticky: write on, ask once at
 * the end with jcs_finish().
 */
#ifndef BASE_JCS_H
#define BASE_JCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define JCS_DEPTH_MAX 16
#define JCS_KEY_MAX 64

struct jcs {
    char *text; /* NUL-terminated once finished; NULL if nothing was written */
    size_t len;
    size_t cap;
    size_t depth;
    bool failed;
    bool started[JCS_DEPTH_MAX];               /* a comma is due before the next item */
    char last_key[JCS_DEPTH_MAX][JCS_KEY_MAX]; /* to check the order */
};

/** Free the buffer and zero the struct; fine on a zeroed struct. For CLEANUP(). */
void jcs_wipe(struct jcs *j);

void jcs_object_open(struct jcs *j);
void jcs_object_close(struct jcs *j);
void jcs_array_open(struct jcs *j);
void jcs_array_close(struct jcs *j);

/** Name of the next member. ASCII, shorter than JCS_KEY_MAX, above the one before it (MUST). */
void jcs_key(struct jcs *j, const char *key);

/** A string, escaped as RFC 8785 §3.2.2.2 says. text: UTF-8 (checked where it came in). */
void jcs_string(struct jcs *j, const char *text);

/** An integer with magnitude up to 2^53 (MUST). */
void jcs_int(struct jcs *j, int64_t value);

/** A counter or index: a number up to 2^53, a string of digits above it. */
void jcs_u64(struct jcs *j, uint64_t value);

void jcs_bool(struct jcs *j, bool value);
void jcs_null(struct jcs *j);

/** Bytes as a string of lower-case hex. */
void jcs_hex(struct jcs *j, const uint8_t *bytes, size_t len);

/** Shorthands: jcs_key() and the value. */
void jcs_member_string(struct jcs *j, const char *key, const char *text);
void jcs_member_int(struct jcs *j, const char *key, int64_t value);
void jcs_member_u64(struct jcs *j, const char *key, uint64_t value);
void jcs_member_hex(struct jcs *j, const char *key, const uint8_t *bytes, size_t len);
void jcs_member_bool(struct jcs *j, const char *key, bool value);

/**
 * End the text. All objects and arrays must be closed (MUST).
 * @retval true   j->text and j->len are complete, until jcs_wipe().
 * @retval false  Memory ran out somewhere on the way.
 */
bool jcs_finish(struct jcs *j) MUST_CHECK;

#endif
