/*
 * out: what people read: notes, bars, sizes, spans of time, tables, colours, progress.
 *
 * The result of a command goes to standard output, talk to standard error. --quiet silences talk
 * and notes; --json replaces data and notes by one JSON value. Bars and arrows are UTF-8, unless
 * the terminal's character set is another one. Colours only on a terminal, and not if NO_COLOR is
 * set.
 *
 * Uses: base, libc. One thread.
 */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/world.h"

struct out {
    bool json;
    bool quiet;
    bool colour;      /* escape sequences on standard output */
    bool ascii;       /* no UTF-8 */
    bool progress;    /* standard error is a terminal */
    unsigned columns; /* width of standard error's terminal */
    struct time_source time;
};

/** Find out what standard output and standard error are. time: for progress; copied. */
void out_init(struct out *out, bool json, bool quiet, const struct time_source *time);

/** What was asked for, as text on standard output: nothing with --json, which prints it otherwise.
 */
void out_data(const struct out *out, const char *format, ...) PRINTF_LIKE(2, 3);

/** News of what was done, on standard output: nothing with --json or --quiet. */
void out_note(const struct out *out, const char *format, ...) PRINTF_LIKE(2, 3);

/** Talk on standard error: nothing with --quiet. */
void out_talk(const struct out *out, const char *format, ...) PRINTF_LIKE(2, 3);

/** "→" or "->". */
const char *out_arrow(const struct out *out);

/**
 * Copy text that came from outside, so that it cannot drive a terminal: control characters (C0,
 * DEL, C1) and bytes that are not UTF-8 become '?'. Cut at size - 1 bytes, at a whole character.
 * size >= 1.
 */
void out_clean(char *dst, size_t size, const char *src);

/* Pure printers -------------------------------------------------------------------------------- */

#define OUT_SHORT 32

/** "999 B", "1.5 KiB", "256 MiB": binary units, at most one digit behind the point. */
void out_size(char text[OUT_SHORT], uint64_t bytes);

/** "1.9 GB/s": decimal units; "" if ns is 0. */
void out_rate(char text[OUT_SHORT], uint64_t bytes, int64_t ns);

/** The two largest units of a span: "3 d 14 h", "12 min", "40 s"; negative counts as 0. */
void out_span(char text[OUT_SHORT], int64_t seconds);

/** "2026-12-08 09:36 UTC". */
void out_time(char text[OUT_SHORT], int64_t seconds);

/** 4096 -> "4,096". */
void out_count(char text[OUT_SHORT], uint64_t value);

#define OUT_BAR_CELLS_MAX 40
#define OUT_BAR_SIZE (3 * OUT_BAR_CELLS_MAX + 1)

/**
 * A bar of cells cells, rounded to the nearest; at least one is full if used > 0, and all are only
 * if nothing much is missing. total 0 prints an empty bar.
 */
void out_bar(char text[OUT_BAR_SIZE], uint64_t used, uint64_t total, unsigned cells, bool ascii);

/* Tables --------------------------------------------------------------------------------------- */

enum out_colour { OUT_PLAIN, OUT_GOOD, OUT_WARN, OUT_BAD, OUT_DIM, OUT_BOLD };

/** Text between the escape sequences of a colour, on standard output; else like out_data(). */
void out_coloured(const struct out *out, enum out_colour colour, const char *text);

#define OUT_TABLE_COLUMNS_MAX 12

struct out_cell {
    char *text; /* malloc'ed */
    enum out_colour colour;
};

/** Cells in reading order; a full row is columns cells. Memory failure is sticky. */
struct out_table {
    unsigned columns;
    const char *align; /* one of 'l' 'r' for each column; static */
    struct out_cell *cells;
    size_t count;
    size_t cap;
    bool failed;
};

/** The first row is the heading. columns = strlen(align), 1 … OUT_TABLE_COLUMNS_MAX (MUST). */
void out_table_init(struct out_table *table, const char *align);
void out_table_cell(struct out_table *table, enum out_colour colour, const char *format, ...)
    PRINTF_LIKE(3, 4);
/** Print with columns as wide as needed. @retval false memory ran out; nothing was printed. */
bool out_table_print(const struct out *out, const struct out_table *table) MUST_CHECK;
void out_table_free(struct out_table *table);

/* Progress ------------------------------------------------------------------------------------- */

/** A line that redraws itself on a terminal, from one second on. */
struct out_progress {
    const struct out *out;
    const char *verb; /* static, e.g. "hashing" */
    uint64_t total;   /* 0: unknown */
    int64_t start_ns;
    int64_t drawn_ns; /* 0: nothing on the screen yet */
};

void out_progress_start(struct out_progress *p, const struct out *out, const char *verb,
                        uint64_t total);
void out_progress_step(struct out_progress *p, uint64_t done);
/** Draw the end and go to the next line, if anything was drawn. */
void out_progress_end(struct out_progress *p, uint64_t done);

#endif
