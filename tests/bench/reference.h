/*
 * reference: the least that a service of this kind can do. An empty handler of the HTTP library
 * that ours uses takes a request, has a committer write a record of 200 bytes for it, and answers
 * when the record is durable. One sync serves all requests that wait for it. No routes, no checks,
 * no signature: what a request costs here, HTTP, threads and disk cost any service.
 */
#ifndef BENCH_REFERENCE_H
#define BENCH_REFERENCE_H

#include <stdbool.h>
#include <sys/types.h>

#define REFERENCE_RECORD_LEN 200

/**
 * Start it in a process of its own, which ends with this one.
 * @param[in] dir  The socket and the file of records go there.
 * @return its process id, or 0 with a message on standard error. Kill and wait for it.
 */
pid_t reference_start(const char *dir, const char *socket);

/**
 * How long a sync takes behind one record, one after another, without anything else going on.
 * @param[out] p50_us, p99_us  Microseconds.
 * @return false with a message if the disk fails.
 */
bool reference_sync(const char *dir, double seconds, double *p50_us, double *p99_us);

#endif
