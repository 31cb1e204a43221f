/*
 * progress: how far long work has come, for people, and how they stop it.
 *
 * On a terminal one line that is written over; elsewhere (a log, a pipe) a line now and then; with
 * --quiet nothing. A signal to stop is not handled but blocked and looked for between two pieces of
 * work, so that it can interrupt no call to the TPM and no write: what it stops is always whole.
 *
 * Uses: base. One thread.
 */
#ifndef DAEMON_PROGRESS_H
#define DAEMON_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** State of one display; zero but for the first four. */
struct bar {
    const char *what;
    bool quiet;
    const char *resumed; /* what is counted, where an earlier run may have done some; else NULL */
    bool stoppable;      /* progress_stoppable() was called */
    bool begun;          /* what follows is set */
    bool ended, shown, stopped;
    uint64_t first;   /* done at the first call: what an earlier run did */
    int64_t start_ns; /* raw time of that call, */
    int64_t shown_ns; /* and of the last output */
};

/** An hbs_progress for a struct bar. @return false if a signal says stop. */
bool show_progress(void *bar, uint64_t done, uint64_t total);

/** End the line that stands on the terminal, if there is one, before something else is written. */
void progress_end(struct bar *bar);

/**
 * From now on SIGINT, SIGTERM and SIGHUP only stop work that shows progress. Behind questions to
 * people, who may want to leave by them. All threads of ours keep these signals blocked.
 */
void progress_stoppable(struct bar *bar);

/** Has one of them come? For work that waits without showing progress. */
bool progress_stopped(struct bar *bar);

#define PROGRESS_TIME_MAX 32

/** "45 s", "12 min", "3 h 20 min", "5 d 3 h": rounded to what is worth knowing. */
void progress_time(char text[PROGRESS_TIME_MAX], int64_t seconds);

/**
 * Seconds that are left at the rate since the first call; -1 if there is no rate yet.
 * @param[in] first  Done before that call, which took no time of this run.
 */
int64_t progress_left_s(uint64_t first, uint64_t done, uint64_t total, int64_t elapsed_ns);

#endif
