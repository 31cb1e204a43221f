/*
 * load: clients that ask for signatures as fast as answers come, each over one connection that
 * stays open, all in one thread, so that they take as little of the machine as possible.
 *
 * Every request has the same headers and a body of 200 bytes, and an Idempotency-Key of its own.
 * Uses: nothing of ours but base. Not thread-safe.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_CLIENTS_MAX 256
#define LOAD_BODY_LEN 200

struct load; /* opaque: load_open() makes it, load_close() ends it */

/** What came of one load_run(). Times are of a request, from its first byte to the last of the
 * answer, in microseconds. */
struct load_result {
    uint64_t answers; /* with status 2xx */
    uint64_t refused; /* with another status */
    double seconds;   /* between the first answer that counts and the last */
    double p50_us, p99_us, slowest_us;
};

/**
 * Connect.
 * @param[in] socket   Path of a Unix socket.
 * @param[in] target   "/v1/keys/NAME/signatures?window=current".
 * @param[in] clients  1 … LOAD_CLIENTS_MAX.
 * @return NULL with a message on standard error if a connection fails.
 */
struct load *load_open(const char *socket, const char *target, unsigned clients);
void load_close(struct load **load);

/**
 * Keep every client busy for so long. What was asked before the end is waited for.
 * @return false with a message if a connection broke or an answer was none.
 */
bool load_run(struct load *load, double seconds, struct load_result *result);

/** Text of the first answer that was no success; "" if there was none. */
const char *load_refusal(const struct load *load);

#endif
