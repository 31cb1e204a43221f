/*
 * trespass: a library that a test loads into the real daemon (LD_PRELOAD) and that then does,
 * inside front or core, what these may not: the sandbox is tried from where an intruder would
 * stand.
 *
 * The test chooses a process and a call in a shared page; the next time that process waits for
 * something, it makes the call, once. Uses: libc. Plain data.
 */
#ifndef TESTS_LIB_TRESPASS_H
#define TESTS_LIB_TRESPASS_H

#include <stdatomic.h>
#include <stdint.h>

#define TRESPASS_ENV "TIDEMARK_TRESPASS" /* path of the page's file */

enum trespass_role { TRESPASS_NOBODY, TRESPASS_FRONT, TRESPASS_CORE };

enum trespass_call {
    TRESPASS_NOTHING,
    TRESPASS_READ_FILE,  /* open /etc/shadow */
    TRESPASS_WRITE_FILE, /* make a file beside the state directory: page->path */
    TRESPASS_EXECVE,
    TRESPASS_FORK,
    TRESPASS_PTRACE,
    TRESPASS_READ_MEMORY, /* process_vm_readv() of the supervisor */
    TRESPASS_KILL,        /* a signal to the supervisor */
    TRESPASS_SOCKET_TCP,
    TRESPASS_SOCKET_UDP,
    TRESPASS_SOCKET_PACKET,
    TRESPASS_MAP_CODE,
    TRESPASS_MOUNT,
    TRESPASS_SETUID,
    TRESPASS_IO_URING,
    TRESPASS_BPF,
    TRESPASS_KEYCTL,
    TRESPASS_UNSHARE,
    TRESPASS_IOCTL, /* TIOCSTI: type into the terminal */
    TRESPASS_CALLS
};

struct trespass_page {
    char path[128];
    _Atomic uint32_t role, call; /* call goes back to NOTHING when it is begun */
    _Atomic uint32_t begun;      /* calls begun, over all processes */
    _Atomic uint32_t returned;   /* and those behind which the process still lived */
    _Atomic int32_t error;       /* of the last that returned: errno, 0 for success */
};

#endif
