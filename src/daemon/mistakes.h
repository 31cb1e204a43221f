/*
 * mistakes: what is wrong with a configuration file, all of it at once.
 *
 * Who reads a part of the file says what is wrong there and goes on with the next part; the reader
 * of the whole asks at the end whether anything was said. What only follows from a mistake that was
 * told already (a member that lacks its partner because the partner could not be read) is not told.
 *
 * Uses: base. One thread.
 */
#ifndef DAEMON_MISTAKES_H
#define DAEMON_MISTAKES_H

#include <stddef.h>

#include "base/rc.h"

#define MISTAKES_MAX 64 /* more are counted, and not told one by one */
#define MISTAKE_PATH_SIZE 160
#define MISTAKE_TEXT_SIZE 512

struct mistakes {
    const char *file;
    void (*tell)(const char *text); /* gets each as one line without its end; NULL: nobody does */
    size_t count;
    char paths[MISTAKES_MAX][MISTAKE_PATH_SIZE];
    struct err first;
};

/**
 * Something is wrong at a path: "FILE: PATH: WHAT; right would be RIGHT".
 *
 * Nothing is told if a mistake at that path, or below it, was told before.
 * @param[in,out] m      file and tell are set by the caller, all else begins as zero.
 * @param[in]     path   "tpm.tcti"; cut at MISTAKE_PATH_SIZE - 1.
 * @param[in]     what   What is wrong there.
 * @param[in]     right  What a right value looks like.
 */
void mistake(struct mistakes *m, const char *path, const char *what, const char *right);

/** The file cannot be read, or is no JSON: there is nothing else to say of it. */
void mistake_unreadable(struct mistakes *m, const struct err *why);

/**
 * What was told, as an error.
 * @retval RC_OK              Nothing.
 * @retval RC_REFUSED_CONFIG  The text is that of the first; beyond MISTAKES_MAX it was told, too,
 *                            how many there were in all.
 */
enum rc mistakes_end(const struct mistakes *m, struct err *err) MUST_CHECK;

#endif
