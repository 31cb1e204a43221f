/*
 * report: what all runs together did, counted, and its last line.
 *
 * Uses: libc. Plain values, summed up in shared memory.
 */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* X(name, text for people) */
#define COUNTS(X)                                                                                  \
    X(seeds, "seeds")                                                                              \
    X(operations, "operations")                                                                    \
    X(requests, "requests that reached a signer")                                                  \
    X(released, "signatures that left a device for the first time")                                \
    X(replayed, "stored signatures returned")                                                      \
    X(refused, "requests refused or put off")                                                      \
    X(told, "prefixes told for remote hashes, each for one index")                                 \
    X(hashes, "remote hashes signed")                                                              \
    X(hashes_late, "remote hashes that came too late")                                             \
    X(hashes_other, "remote hashes refused behind another one")                                    \
    X(lost_requests, "requests lost on the way")                                                   \
    X(lost_replies, "replies lost on the way")                                                     \
    X(duplicates, "requests sent twice")                                                           \
    X(time_steps, "steps of time")                                                                 \
    X(starts, "starts of a signer")                                                                \
    X(halts, "processes that ended by themselves")                                                 \
    X(cuts, "power cuts")                                                                          \
    X(cuts_disk, "power cuts in the middle of a disk step")                                        \
    X(cuts_tpm, "power cuts before or behind a TPM command")                                       \
    X(kills, "processes killed")                                                                   \
    X(eio, "I/O errors of a disk step")                                                            \
    X(full, "full disks")                                                                          \
    X(tpm_faults, "TPM commands that failed")                                                      \
    X(tpm_busy, "TPM commands answered with busy")                                                 \
    X(tpm_lockouts, "TPMs in lock-out")                                                            \
    X(tpm_lost, "TPMs that lost acknowledged writes")                                              \
    X(tpm_late, "TPM commands done after their answer was given up")                               \
    X(tpm_gone, "TPMs away")                                                                       \
    X(clock_steps, "clocks set")                                                                   \
    X(clock_dead, "chronyd stopped")                                                               \
    X(clock_answers, "chronyd answering badly")                                                    \
    X(clock_asides, "machines paused or asleep")                                                   \
    X(clock_lies, "time sources that lied")                                                        \
    X(clock_acks, "jumps forward acknowledged")                                                    \
    X(clock_files, "records of the clock lost, torn or put back")                                  \
    X(rollbacks, "disks or parts of them put back to an earlier state")                            \
    X(clones, "disks copied to another machine")                                                   \
    X(images, "memory images resumed")                                                             \
    X(machine_images, "whole machines put back, TPM included")                                     \
    X(second_daemons, "second daemons started on one state")                                       \
    X(exports, "backups exported")                                                                 \
    X(acknowledged, "backups acknowledged")                                                        \
    X(advances, "windows opened before their start")                                               \
    X(recoveries, "recoveries on the same device")                                                 \
    X(replacements, "devices replaced from a backup")                                              \
    X(returns, "lost devices that came back")                                                      \
    X(keys_made, "keys made")                                                                      \
    X(years, "long times without power")                                                           \
    X(durable_checks, "releases checked against what a power cut would leave")                     \
    X(audits, "accounts compared with the oracle, index by index")                                 \
    X(burn_events, "crashes and halts with a lease in hand")                                       \
    X(burned, "indices given up by them")                                                          \
    X(same_window, "runs that signed again in the same window")                                    \
    X(next_window, "runs that signed again after a recovery")                                      \
    X(reuses, "indices used twice")                                                                \
    X(violations, "violations")                                                                    \
    X(uncovered_lie, "runs with reuse after a lie of the time source (not covered)")               \
    X(uncovered_machine,                                                                           \
      "runs with reuse after a machine was put back with its TPM (not covered)")                   \
    X(uncovered_rewind, "runs with reuse after disk and TPM both went back (not covered)")

struct counts {
#define X(name, text) uint64_t name;
    COUNTS(X)
#undef X
    uint64_t processor_ms;
    uint64_t burned_most; /* by one crash, relative to the lease: at most 1 is allowed */
};

/** Add the counts of another job. */
void report_add(struct counts *total, const struct counts *c);

/** Every count, one a line. */
void report_print(FILE *out, const struct counts *c);

/**
 * Write the figures between the two marker lines of a file (REPORT_BEGIN, REPORT_END).
 * @return false if they are not there, or the file cannot be read or written.
 */
bool report_write(const char *path, const struct counts *c);
#define REPORT_BEGIN "<!-- figures of the simulator: make sim-report writes them -->"
#define REPORT_END "<!-- end of the figures -->"

/** The last line. @return true if nothing is wrong. */
bool report_last_line(const struct counts *c);

#endif
