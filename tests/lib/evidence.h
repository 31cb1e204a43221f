/*
 * evidence: every signature that a client received, and whether all of it can be true at once.
 *
 * The oracle of the integration tests. It knows nothing of the signer: it verifies each signature
 * against the artifact, compares all of them with each other, and walks the ledger entry by entry
 * as JSON with a book of its own about every index. It does not ask the ledger's tables.
 *
 * evidence_take() may be called from any thread; everything else from the main thread. Whatever is
 * wrong is said on standard error; the result is the number of faults.
 */
#ifndef TESTS_LIB_EVIDENCE_H
#define TESTS_LIB_EVIDENCE_H

#include <pthread.h>

#include "base/bytes.h"

#include "lib/service.h"

#define EVIDENCE_TEXT 128

/* One signature as a client got it. */
struct shown {
    char key[NAME_LEN_MAX + 1];
    char request[EVIDENCE_TEXT]; /* what makes two requests the same: version and slot, or the
                                    idempotency key */
    char artifact[EVIDENCE_TEXT];
    uint64_t index, window;
    bool replayed;
    uint8_t *signature;
    size_t signature_len;
};

struct evidence {
    pthread_mutex_t lock;
    struct shown *list;
    size_t count, cap;
};

#define EVIDENCE_EMPTY ((struct evidence){.lock = PTHREAD_MUTEX_INITIALIZER})

/**
 * Keep a signature from an answer with status 200 or 201 and JSON.
 * @param[in] artifact  The bytes that were sent: a text.
 * @return false if the answer is none, or contradicts itself: Tidemark-Replayed with 201 and so on.
 */
bool evidence_take(struct evidence *e, const char *key, const char *request, const char *artifact,
                   const struct answer *a) MUST_CHECK;
void evidence_free(struct evidence *e);

/** Everything of `from` into `to` as well. */
void evidence_copy(struct evidence *to, const struct evidence *from);

/**
 * Each signature verifies over its artifact under the key's public key and carries the index that
 * the answer names; no index has two signatures or two artifacts (NoReuse); a request that was
 * answered twice got the same bytes both times.
 */
unsigned evidence_check(const struct evidence *e, const char *key, const uint8_t *public_key,
                        size_t public_key_len) MUST_CHECK;

/* What the ledger says about one index. */
struct index_facts {
    uint32_t lease; /* 1-based number of the lease that covers it, 0: none */
    bool bound, signed_, burned;
    uint64_t epoch; /* of intent or lease */
    char version[64], slot[64];
    char artifact_sha256[HEX_SIZE(SHA256_LEN)];
    char signature_sha256[HEX_SIZE(SHA256_LEN)];
};

struct audit {
    struct index_facts *at; /* by index */
    size_t size;
    uint64_t entries, windows, leases, leased, receipts, intents, voids, burns, recoveries;
    uint64_t leases_cut_short; /* leases with an index that has no receipt */
    uint64_t epochs;           /* highest epoch that an entry names, minus the first of the key */
    int64_t window;            /* highest window opened; -1: none */
};

/**
 * Walk the entries of one key and keep a book. Faults are: a broken chain; an index in two leases,
 * in a lease and bound, with two receipts, or with a receipt that neither a lease of its epoch nor
 * a binding of its version, slot and digest covers; epochs that repeat or leave one out; windows
 * that go down.
 * @param[out] audit  audit_free() it.
 */
unsigned audit_ledger(struct audit *audit, struct ledger *ledger, const char *key) MUST_CHECK;
void audit_free(struct audit *audit);

/** Every signature of the key that a client received stands in the book with its digests. */
unsigned audit_evidence(const struct audit *audit, const struct evidence *e,
                        const char *key) MUST_CHECK;

/* Signing, for tests with a handful of signatures ------------------------------------------------
 */

/** POST …/signatures?version=…&slot=… or ?window=current with this artifact. */
long sign_version(const struct service *s, struct answer *a, const char *key, const char *version,
                  const char *slot, const char *artifact);
long sign_window(const struct service *s, struct answer *a, const char *key,
                 const char *idempotency_key, const char *artifact);

/**
 * The same with the answer kept; fails the test unless it is a new signature (201).
 * @return its index
 */
uint64_t must_sign_version(const struct service *s, struct evidence *e, const char *key,
                           const char *version, const char *slot, const char *artifact);
uint64_t must_sign_window(const struct service *s, struct evidence *e, const char *key,
                          const char *idempotency_key, const char *artifact);

/**
 * Wait until a window request is answered with this status, e.g. 201 behind a clock's warm-up.
 * @return How many indices were burned meanwhile: a clock that has just been moved may still become
 * unsafe behind a signature, and then the next try has the next index.
 */
uint64_t wait_sign_window(const struct service *s, struct answer *a, const char *key,
                          const char *idempotency_key, const char *artifact, long status);

#endif
