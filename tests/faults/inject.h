/*
 * inject: the shared page between a test and the library that it loads into the real daemon.
 *
 * The test chooses one process (role), one kind of call, one thing that goes wrong, and a number n;
 * inject.c, loaded with LD_PRELOAD, counts the calls of every role and kind and spoils the n-th.
 * The page is a file that all processes map, so the count goes on over the end and the next start
 * of a process: a fault strikes once and not again in the core that the supervisor starts after it.
 *
 * Uses: libc. Plain data; every member that changes while processes run is atomic.
 */
#ifndef TESTS_FAULTS_INJECT_H
#define TESTS_FAULTS_INJECT_H

#include <stdatomic.h>
#include <stdint.h>

#define INJECT_ENV "TIDEMARK_INJECT" /* path of the page's file */
#define INJECT_MAGIC UINT32_C(0x74696e6a)
#define INJECT_PATH 96

/* Who makes the call. Programs that are not tidemarkd are never touched. */
enum inject_role {
    ROLE_NONE,
    ROLE_SUPERVISOR, /* the parent of the next two */
    ROLE_CORE,
    ROLE_FRONT,
    ROLE_TOOL, /* tidemarkd OPERATION: key-new, recover, backup-export, backup-check */
    ROLE_COUNT
};

/* What is called. Handles 0 to 2 are never spoiled: what a process says is not its state. */
enum inject_call {
    CALL_WRITE,    /* write, pwrite, writev, pwritev to a file */
    CALL_SYNC,     /* fsync, fdatasync */
    CALL_RENAME,   /* rename, renameat, renameat2 */
    CALL_UNLINK,   /* unlink, unlinkat */
    CALL_TRUNCATE, /* ftruncate, posix_fallocate */
    CALL_CONNECT,  /* connect, but to the TPM */
    CALL_SEND,     /* send, sendmsg, sendto, write to a socket that is not the TPM's */
    CALL_RECEIVE,  /* recv, recvmsg, recvfrom, read from such a socket */
    CALL_ACCEPT,   /* accept, accept4 */
    CALL_TPM_CONNECT,
    CALL_TPM_SEND, /* commands to the TPM */
    CALL_TPM_RECEIVE,
    CALL_COUNT
};

enum inject_action {
    ACT_NONE,
    ACT_FAIL,  /* not done; the call's error */
    ACT_LOSE,  /* done; reported as that error: the caller cannot know */
    ACT_SHORT, /* half of the bytes */
    ACT_KILL,  /* SIGKILL before the call */
    ACT_SKIP,  /* not done; reported as done: a disk that lies */
    ACT_COUNT
};

struct inject_page {
    uint32_t magic;
    char tpm[INJECT_PATH]; /* sockets whose path begins so are the TPM's */
    /* Written by the test while nothing is armed. */
    uint32_t role, call, action;
    int32_t error;  /* errno of ACT_FAIL and ACT_LOSE */
    uint32_t nth;   /* 1: the first call */
    uint32_t times; /* how many calls in a row are spoiled */
    /* From here on both sides. */
    atomic_uint armed; /* count and spoil */
    atomic_uint fired; /* how many calls were spoiled */
    atomic_uint seen[ROLE_COUNT][CALL_COUNT];
};

#endif
