/*
 * tpmproxy: stands between a connection under test and its software TPM, and spoils one command.
 *
 * A thread of the test process; commands and answers pass one at a time. It knows of TPM 2.0 only
 * the ten bytes of a header.
 */
#ifndef TESTS_LIB_TPMPROXY_H
#define TESTS_LIB_TPMPROXY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/swtpm.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_REFUSE,  /* answer with rc; the TPM never sees the command */
    FAULT_DROP,    /* hang up; the TPM never sees the command */
    FAULT_LOSE,    /* the TPM runs it; hang up instead of the answer */
    FAULT_REPLACE, /* the TPM runs it; answer with rc instead */
    FAULT_CORRUPT, /* the TPM runs it; the last byte of the answer is changed */
    FAULT_SHORT,   /* the TPM runs it; only the first half of the answer arrives */
    FAULT_DELAY,   /* the TPM runs it; the answer comes rc milliseconds later */
    FAULT_FIRMWARE /* GetCapability: TPM_PT_FIRMWARE_VERSION_1 is rc */
};

struct tpm_fault {
    enum fault_kind kind;
    uint32_t command; /* TPM_CC that is meant; 0: any */
    unsigned at;      /* the first of them that is spoiled, counted from 1 */
    unsigned times;   /* how many in a row */
    uint32_t rc;
};

struct tpmproxy {
    char tcti[SWTPM_DIR_SIZE + 16]; /* for tpm_open() */
    char behind[SWTPM_DIR_SIZE + 8];
    int listener;
    int wake[2];
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards what follows */
    struct tpm_fault fault;
    unsigned seen;    /* commands of fault.command since the fault was set */
    uint8_t *traffic; /* every command and answer, one after the other */
    size_t traffic_len;
};

/** Bytes of traffic that are kept; what comes later is not (tpmproxy_traffic() fails then). */
#define TPMPROXY_TRAFFIC_MAX ((size_t)1 << 20)

/** @return false: a call failed; printed. tpmproxy_stop() before swtpm_remove(). */
bool tpmproxy_start(struct tpmproxy *p, const struct swtpm *behind);
void tpmproxy_stop(struct tpmproxy *p);

/** Set the fault (NULL: none) and count from here. */
void tpmproxy_set(struct tpmproxy *p, const struct tpm_fault *fault);

/** True once the fault has been reached. */
bool tpmproxy_reached(struct tpmproxy *p);

/**
 * What a listener on the bus has heard since tpmproxy_start(). Borrowed until tpmproxy_stop(); call
 * it while no command is under way.
 * @return NULL if there was more than TPMPROXY_TRAFFIC_MAX.
 */
const uint8_t *tpmproxy_traffic(struct tpmproxy *p, size_t *len);

#endif
