/*
 * loop: what the signer thread does with the requests it is handed: open the signer, answer, look
 * at the clock, bring A up to date, open again after trouble. No thread, no queue, no socket: the
 * core brings those (core.c), the simulator brings its own.
 *
 * Uses: signer. One thread. Keeps nothing of its own that a crash could lose.
 */
#ifndef SIGNER_LOOP_H
#define SIGNER_LOOP_H

#include "signer/results.h"
#include "signer/signer.h"

/** One request on its way through the core. */
struct item {
    struct item *next; /* in the core's queues */
    struct request request;
    int fd;                /* of the body; -1: none. Its owner closes it */
    uint8_t *behind;       /* the body as it came behind the request, or NULL. Its owner frees it */
    const uint8_t *mapped; /* the artifact, from artifact_map(), or NULL. Its owner unmaps it */
    struct job job;
    struct artifact_pass pass; /* another look at a large artifact, for sink->read_again() */
    unsigned passes;           /* so many it has had */
    bool unread;               /* a large artifact that nobody has looked at yet: job is empty */
    struct reply reply;
    enum rc rc; /* not RC_OK: refused before it reached the signer, for the reason in err */
    struct err err;
};

/**
 * Fill item->reply with a refusal; a question for the state is answered with what is known.
 * @param[in] trouble  Of the TPM, if that is the reason.
 */
void item_refuse(struct item *item, enum rc rc, enum tpm_trouble trouble, const struct err *err);

/** Where answers go. The functions are called from loop_start() and loop_turn(). */
#define LOOP_PASSES_MAX 4 /* then the index is not left to others any more */

struct loop_sink {
    void *ctx;
    /* item->reply is complete. payload (a signature, views) is borrowed for the call and may be
     * NULL. After it the item is its owner's again: each item handed over comes back exactly once.
     */
    void (*answer)(void *ctx, struct item *item, const void *payload, size_t payload_len);
    /* The artifact is large and must be read, for the index in item->pass if that is open: have
     * artifact_pass_run() do it in another thread, or artifact_open_for() if the item is `unread`,
     * and hand the item in again with rc and err as they say, and not unread. It is not answered
     * before. NULL: large artifacts are read while everybody waits, and no item is unread. */
    void (*read_again)(void *ctx, struct item *item);
    /* The signer was opened: the keys, and how each of them takes its messages, may be others than
     * before. May be NULL. */
    void (*opened)(void *ctx, const struct signer *signer);
    /* The signer is about to be opened, which may take long. May be NULL. */
    void (*opening)(void *ctx);
};

struct loop {
    const struct signer_config *config;
    const struct world *world;
    const struct loop_sink *sink;
    uint32_t idle_ms; /* after so long without a request every A is brought up to date */

    struct timekeeper clock;
    struct signer *signer;     /* NULL while it cannot be opened */
    struct view_meters meters; /* counters and histograms since loop_start() */
    struct results results;    /* the same, of each key */
    struct err why;            /* then: the reason */

    /* What is due by the clock, however much is asked meanwhile. Raw milliseconds. */
    int64_t tick_at;
    int64_t asked_at; /* when somebody last asked for a signature */
    int64_t reopen_at;
    uint32_t reopen_ms; /* doubles while opening does not help */
};

/**
 * Begin: open the signer. That it cannot be opened (TPM away, ledger damaged) is no failure: its
 * requests are answered with the reason, and opening is tried again where that can help.
 *
 * @param[out] loop  Filled; loop_end() it.
 * @param[in]  config, world, sink  Borrowed until loop_end().
 */
void loop_start(struct loop *loop, const struct signer_config *config, uint32_t idle_ms,
                const struct world *world, const struct loop_sink *sink);

/** Milliseconds until loop_turn() wants to be called though no request came; 0: now. */
int64_t loop_wait_ms(const struct loop *loop);

/**
 * Answer these requests, in one batch for each key, and do what is due.
 *
 * @param[in] items  0 … BATCH_MAX requests with their artifacts hashed; all are answered when it
 *                   returns, whatever it returns.
 * @retval RC_OK     Go on.
 * @retval RC_HALT_… The outcome of something is unknown: end the process without settling; the
 *                   next one decides from ledger and TPM. err says what.
 */
enum rc loop_turn(struct loop *loop, struct item **items, size_t count, struct err *err) MUST_CHECK;

/** What whoever asks for the state is told, without asking anybody: as of the last look at the
 * clock.
 */
enum service_state loop_state(const struct loop *loop);

/** The limits in the configuration are others now: have them hold, without refilling anything. */
void loop_limits(struct loop *loop);

/** Close the signer. @param[in] settle  An orderly stop: bring A up to date. Fine twice. */
void loop_end(struct loop *loop, bool settle);

#endif
