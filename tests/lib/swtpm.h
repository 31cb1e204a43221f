/*
 * swtpm: a software TPM of its own for one test, with its state in a directory that can be copied,
 * put back, or taken to another one.
 *
 * Needs the program swtpm. Each function prints what went wrong on standard error and returns
 * false; a TPM ends together with the process that started it. Threads: one.
 */
#ifndef TESTS_LIB_SWTPM_H
#define TESTS_LIB_SWTPM_H

#include <stdbool.h>
#include <sys/types.h>

#define SWTPM_DIR_SIZE 64

struct swtpm {
    char dir[SWTPM_DIR_SIZE];       /* state and sockets; short, because socket paths are */
    char tcti[SWTPM_DIR_SIZE + 16]; /* for tpm_open() */
    pid_t pid;                      /* 0: not running */
};

/** Make an empty directory and start a TPM in it. swtpm_remove() in any case. */
bool swtpm_make(struct swtpm *s);

/** Start it again on the state in its directory. A reset as far as the TPM can see. */
bool swtpm_start(struct swtpm *s);

/** SIGTERM or SIGKILL, and wait. Without TPM2_Shutdown both are unorderly for the TPM. */
void swtpm_stop(struct swtpm *s);
void swtpm_kill(struct swtpm *s);

/** kill -9 and start: a TPM reset behind the back of whoever is connected. */
bool swtpm_reset(struct swtpm *s);

/** SIGSTOP and SIGCONT: a TPM that does not answer. */
void swtpm_pause(struct swtpm *s);
void swtpm_resume(struct swtpm *s);

/**
 * Copy the permanent state between two directories, e.g. away to a directory made with mkdtemp()
 * and back later: a snapshot and a rollback. Both TPMs should be stopped.
 */
bool swtpm_copy_state(const char *to_dir, const char *from_dir);

/** Kill it and remove the directory. Fine on a zeroed struct and twice. */
void swtpm_remove(struct swtpm *s);

#endif
