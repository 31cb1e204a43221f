/*
 * tags: what a list of past releases says about the need: how versions are written, how high their
 * numbers went, how often there was one. Pure; any thread.
 *
 * A line is a version, a date, or a version, blanks and a date, as
 * `git tag --format='%(refname:short) %(creatordate:short)'` prints them. Letters, '-', '_' and '/'
 * before the first digit of a version are skipped ("v4.2.1", "release-4.2"); versions with
 * something behind the numbers ("4.2.1-rc1") are counted and left out. Dates start with YYYY-MM-DD;
 * the time of day does not matter.
 */
#ifndef CLI_TAGS_H
#define CLI_TAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define TAGS_TEXT_MAX (16 * 1024 * 1024)

struct tags {
    uint64_t versions;   /* lines with a version that was understood */
    uint64_t ignored;    /* lines with something else */
    unsigned components; /* numbers in the longest version, 1 … 3 */
    bool calendar;       /* all versions look like YYYY.MM.N */
    uint64_t max[3];     /* highest number of each component */
    uint64_t year_min;   /* calendar: first year */
    int64_t *dates;      /* seconds of the days, ascending; malloc'ed */
    size_t date_count;
};

/**
 * Read a list.
 * @param[out] tags  tags_free() it. All zero unless RC_OK.
 * @retval RC_REFUSED_INPUT  Nothing in it was understood.
 * @retval RC_RETRY_SYSTEM   No memory.
 */
enum rc tags_read(struct tags *tags, const char *text, size_t len, struct err *err) MUST_CHECK;
void tags_free(struct tags *tags);

/** Most releases that ever fell into one span of window_s seconds (> 0), counted from each date. */
uint64_t tags_peak(const struct tags *tags, int64_t window_s);

/** Years from the first to the last date; 0 if there are fewer than two. */
double tags_years(const struct tags *tags);

/**
 * A decimal number without sign: "120", "0.5", "1e-6". At most 15 digits, exponent -99 … 99.
 * @retval false  Another form; *value is 0.
 */
bool decimal_parse(double *value, const char *text) MUST_CHECK;

#endif
