/*
 * command: run a program as a user would, and look at what it printed and how it ended.
 *
 * All functions fail the running cmocka test when something goes wrong. One thread.
 */
#ifndef TESTS_COMMAND_H
#define TESTS_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#define COMMAND_OUT_MAX (256 * 1024)
#define COMMAND_WORDS_MAX 32

struct command {
    char out[COMMAND_OUT_MAX]; /* standard output, NUL-terminated */
    size_t out_len;
    char err[COMMAND_OUT_MAX]; /* standard error */
    size_t err_len;
    int exit; /* exit code, or 1000 + signal */
};

/** Folder of this test's files; made by the first call, removed by command_clean(). */
const char *command_dir(void);
void command_clean(void);

/** "DIR/name" in static memory, good for the next few calls. */
const char *command_path(const char *name);

void command_write(const char *name, const void *data, size_t len);
/** Contents of a file in the folder, NUL-terminated, in static memory; NULL if it is not there. */
const char *command_read(const char *name, size_t *len);

/**
 * Run a command line: words with single blanks between, no quotes; "@name" is a file of the folder.
 * The first word is the program. Standard input is stdin_path, or /dev/null.
 */
void command_run(struct command *c, const char *stdin_path, const char *line);

/** command_run() of a printed line, nothing on standard input. */
void command_runf(struct command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
