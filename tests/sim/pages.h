/*
 * pages: what SQLite would read from a database and its write-ahead log, without opening it.
 *
 * The small model meets the same database in thousands of shapes: with and without half a
 * transaction behind its last commit, before and after a checkpoint. What counts is the pages that
 * a reader would see; pages_hash() is the same for all shapes of the same pages. Source: SQLite's
 * file format, "The Write-Ahead Log".
 *
 * Uses: base. One thread.
 */
#ifndef TESTS_SIM_PAGES_H
#define TESTS_SIM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_COMMITS_MAX 1024
#define PAGES_SUMS 16
#define PAGES_WAL_HEADER 32 /* bytes before the first frame */

struct hash128 {
    uint64_t a, b;
};

/** Go on hashing with more bytes; start with zeros. Good for telling states apart, no more. */
void hash128_add(struct hash128 *hash, const void *data, size_t len);

/** A log as far as it is valid, frame by frame. */
struct pages_log {
    const uint8_t *wal;
    size_t page_size; /* 0: there is no valid log */
    size_t commits[PAGES_COMMITS_MAX];
    size_t count; /* offsets behind the frames that commit, ascending */
};

/** Check header and frames. The bytes are borrowed. */
void pages_scan(struct pages_log *log, const uint8_t *wal, size_t len);

/** How many commits end at `limit` or before it. */
size_t pages_commits_before(const struct pages_log *log, size_t limit);

/** The log's own sums over its first so many commits: other content, other sums. Zeros: none. */
void pages_sums(const struct pages_log *log, size_t commits, uint8_t sums[PAGES_SUMS]);

/** Does the log's beginning, so many commits, hold this page (from 1)? Then the database's own copy
 * is not read. */
bool pages_hides(const struct pages_log *log, size_t commits, size_t page);

/** How many pages the database has after so many commits, at least one. */
size_t pages_count(const struct pages_log *log, size_t commits);

/** Hash of the pages of a database under the log's first so many commits. Left out are the counters
 * in page 1 that say how often a file was written. */
struct hash128 pages_hash(const uint8_t *db, size_t db_len, const struct pages_log *log,
                          size_t commits);

#endif
