/*
 * review: does a chrony configuration keep what etc/chrony/tidemark.conf asks for?
 *
 * Directives, not meaning: what chronyd itself would refuse is not noticed. Files that a
 * configuration includes are the caller's to read (clk_review_includes()).
 *
 * Uses: base. Pure; any thread. Source: the chrony.conf(5) manual; docs/clock.md.
 */
#ifndef CLOCK_REVIEW_H
#define CLOCK_REVIEW_H

#include <stdbool.h>
#include <stddef.h>

enum clk_review_grade {
    CLK_REVIEW_GOOD,
    CLK_REVIEW_WEAK, /* signing works, with less protection or less often */
    CLK_REVIEW_BAD   /* an attacker or a fault can move the clock further than the signer allows for
                      */
};

/** One finding. text: what was found and what to do, one sentence; valid for the call. */
typedef void (*clk_review_say)(void *ctx, enum clk_review_grade grade, const char *text);

struct clk_review; /* opaque */

/** @return NULL without memory. clk_review_end() it. */
struct clk_review *clk_review_begin(void);

/** Take the lines of one file, in the order in which chronyd reads them. */
void clk_review_file(struct clk_review *review, const char *text, size_t len);

/**
 * Does this line name other files? "include PATTERN", "confdir DIR …", "sourcedir DIR …".
 * @param[out] pattern  cap bytes: a pattern for glob(3); its matches are read at this place, in
 *                      order. A confdir's are DIR/x.conf, a sourcedir's DIR/x.sources.
 * @return false if it does not, or the name does not fit.
 */
bool clk_review_includes(const char *line, size_t len, char *pattern, size_t cap);

/** Say everything that was found; at least one sentence. Frees the review. */
void clk_review_end(struct clk_review *review, clk_review_say say, void *ctx);

#endif
