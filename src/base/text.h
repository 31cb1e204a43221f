/*
 * text: bounded parsers and printers for numbers, times and names.
 *
 * Uses: libc. Pure functions, any thread. Everything here refuses what it does not understand
 * completely: no leading blanks, no trailing rubbish, no overflow.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/**
 * Decimal number without sign, blanks or leading zeros ("0" itself is fine), 0 … max.
 * @retval false  Not such a number; *value is 0.
 */
bool text_to_u64(uint64_t *value, const char *text, uint64_t max) MUST_CHECK;

/** Size of a buffer for rfc3339_print(): "2026-12-06T00:00:00Z" and NUL. */
#define RFC3339_SIZE 21

/** Earliest and latest second that rfc3339 functions accept: 1970-01-01 … 9999-12-31T23:59:59. */
#define RFC3339_S_MAX INT64_C(253402300799)

/** Seconds since 1970 as UTC with 'Z'; seconds outside 0 … RFC3339_S_MAX are clamped. */
void rfc3339_print(char out[RFC3339_SIZE], int64_t seconds);

/**
 * Read exactly "YYYY-MM-DDTHH:MM:SSZ" (UTC, upper case, whole seconds, no leap second).
 * @retval false  Another form or an impossible date; *seconds is 0.
 */
bool rfc3339_parse(int64_t *seconds, const char *text) MUST_CHECK;

#define DURATION_SIZE 32

/** Print seconds (>= 0) as an ISO 8601 duration without months or years: "P7D", "PT10M", "PT0S". */
void duration_print(char out[DURATION_SIZE], int64_t seconds);

/**
 * Read an ISO 8601 duration of weeks, days, hours, minutes and seconds ("P7D", "P1W", "PT1H30M").
 * Years and months have no fixed length and are refused.
 * @param[out] seconds  1 … 10^11.
 */
bool duration_parse(int64_t *seconds, const char *text) MUST_CHECK;

/**
 * Copy a string into an array of size bytes (>= 1), cut to fit, always ended by NUL; the rest is
 * zero, so that a fixed-size message holds nothing that was there before. from may not overlap to.
 */
void text_copy(char *to, size_t size, const char *from);

/** Longest key, slot or file name that name_valid() accepts, without NUL. */
#define NAME_LEN_MAX 63

/**
 * Names of keys and slots: 1 … 63 characters of a–z A–Z 0–9 . _ -, not starting with '.' or '-'.
 * Such a name is safe as a file name and in a URL.
 */
bool name_valid(const char *text) MUST_CHECK;

/** True if text has at most max bytes, all of them printable ASCII without '"' and '\\'. */
bool token_valid(const char *text, size_t max) MUST_CHECK;

#endif
