/*
 * inside: a signer from within, for the two files that it is made of: signer.c opens it, signs and
 * keeps it in order, read.c answers what it is asked.
 */
#ifndef SIGNER_INSIDE_H
#define SIGNER_INSIDE_H

#include <string.h>

#include "signer/attest.h"
#include "signer/clockbook.h"
#include "signer/limits.h"
#include "signer/signer.h"
#include "signer/tpmwatch.h"

struct signer {
    const struct signer_config *config;
    const struct world *world;
    struct timekeeper *clock;
    struct ledger *ledger;
    void *tpm;
    enum rc tpm_rc;
    struct err tpm_err;
    struct tpmwatch watch;
    struct key keys[SIGNER_KEYS_MAX];
    size_t key_count;
    struct bucket attest_bucket;
    enum rc attest_rc; /* a HALT that an attestation has found */
    struct err attest_err;
    struct clockbook book;
};

static inline int64_t now_s(const struct signer *s)
{
    return s->world->time->real_ns(s->world->time->ctx) / INT64_C(1000000000);
}

static inline struct key *find_key(const struct signer *s, const char *name)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (strcmp(s->keys[i].record.name, name) == 0)
            return (struct key *)(uintptr_t)&s->keys[i];
    return NULL;
}

/** What a batch of a key needs. */
struct batch batch_of(struct signer *s, struct key *key);

/** What an attestation of a key needs. */
struct attest_job attest_job_of(const struct signer *s, struct key *key);

/** A HALT that an attestation has found is no answer to one question: the process ends with this
 * turn. */
void note_attest(struct signer *s, struct key *key, enum rc rc, const struct err *err);

#endif
