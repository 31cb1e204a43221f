/*
 * faultrig: a real service in which one chosen call goes wrong, and a book of what it then said.
 *
 * Uses the rig of tests/lib/service.h and the library inject.c. One service, called the victim,
 * with three keys (by version, by interval, by time) and every signature that was ever received
 * from it. Functions without a result fail the running cmocka test. One thread.
 */
#ifndef TESTS_FAULTS_FAULTRIG_H
#define TESTS_FAULTS_FAULTRIG_H

#include <stdbool.h>
#include <stdio.h>

#include "faults/inject.h"
#include "lib/evidence.h"

#define WORDS_MAX 24 /* different answers of one row */
#define WORD_SIZE 48

/* Book of answers --------------------------------------------------------------------------------
 */

/** What was answered while a fault was at work, each counted: names of problems, "no-answer",
 * "exit-N", "signal-N". */
struct book {
    char word[WORDS_MAX][WORD_SIZE];
    unsigned count[WORDS_MAX];
    size_t size;
};

void book_add(struct book *b, const char *format, ...) PRINTF_LIKE(2, 3);
/** "halted 3, starting 1", or "-". */
void book_print(const struct book *b, FILE *to);
/** Words that are not in the list (words with blanks between); each is said on standard error. */
unsigned book_strangers(const struct book *b, const char *allowed, const char *row);

/* Faults -----------------------------------------------------------------------------------------
 */

struct fault {
    enum inject_role role;
    enum inject_call call;
    enum inject_action action;
    int error;
    unsigned nth, times;
};

/** Make the page; once, behind lab_open(). */
void faults_open(void);

/** From here on tidemarkd is started with the library, and calls are counted and spoiled. */
void faults_arm(const struct fault *f, const struct service *s);
/** Nothing more is spoiled, nor is what is started from here on loaded with the library. */
void faults_disarm(void);
/** Calls spoiled, and calls of that kind made, since the last faults_arm(). */
unsigned faults_fired(void);
unsigned faults_seen(enum inject_role role, enum inject_call call);

/* The victim -------------------------------------------------------------------------------------
 */

#define KEYS 3
#define SAVES_MAX 4
extern const char *const victim_keys[KEYS]; /* "fw" by version, "builds" by interval, "nightly" */
#define KEY_FW 1U                           /* the same as bits */
#define KEY_BUILDS 2U
#define KEY_NIGHTLY 4U

enum victim_size {
    VICTIM_LARGE, /* three keys, room for hundreds of turns */
    VICTIM_SMALL, /* "fw" only, of 8 windows: so that a tool is done with it in few calls */
    VICTIM_EMPTY, /* a TPM and an empty state directory */
};

struct save {
    char name[16];
    size_t all, kept;
    unsigned turn, keys;
};

struct victim {
    struct service service;
    struct evidence all;  /* every signature ever received: no index twice among them */
    struct evidence kept; /* those whose receipts must stand in the ledger now */
    enum victim_size size;
    unsigned keys;   /* which there are */
    unsigned turn;   /* numbers versions and builds; never goes back */
    unsigned minors; /* windows of a major version */
    uint8_t public_key[KEYS][PUBLIC_MAX];
    size_t public_len[KEYS];
    char said[TOOL_OUT]; /* by the last tool that failed */
    unsigned restarts;   /* that an operator had to make, because the service stayed away */
    struct save saves[SAVES_MAX];
};

/** A service with its keys and a first signature under each, stopped; saved as "template". */
void victim_make(struct victim *v, const char *name, const struct clocks *clocks,
                 enum victim_size size);
void victim_end(struct victim *v);

/** Its state directory is another one from now on; victim_restore() fills it. */
void victim_move(struct victim *v, const char *dir);

/** Take the public keys of a running victim, for victim_check_reuse(). */
void victim_learn(struct victim *v);

/** A plan for "builds", of 4 windows. */
extern const char victim_extra_plan[];

/** Make a plan document beside the service. */
void victim_plan(const struct victim *v, const char *name, const char *plan);

/**
 * The whole world to DIR/name and back: state directory, software TPM, what was received. Stopped.
 * victim_restore_state() leaves TPM and evidence as they are: a disk put back, or gone back. What
 * was received since then does not count as kept any more.
 */
void victim_save(struct victim *v, const char *name);
void victim_restore(struct victim *v, const char *name);
void victim_restore_state(struct victim *v, const char *name);

/** Start it, whatever is armed. Comes back when it answers; what it said is in the book. */
void victim_start(struct victim *v, struct book *b);

/** One new signature under each key (or under these, by bits) and a stored one, asked for until
 * they are there, whatever is armed; what was said before that is in the book. */
void victim_sign(struct victim *v, struct book *b);
void victim_sign_some(struct victim *v, struct book *b, unsigned keys);

/** The n-th request of a key: version, or idempotency key. Pure. */
void victim_request(char out[EVIDENCE_TEXT / 2], const struct victim *v, size_t key, unsigned n);

/** The same request again and again, until it is answered with a signature. */
void victim_ask(struct victim *v, struct book *b, size_t key, const char *request,
                const char *artifact);

/** End it in order, whatever is armed, and wait until nobody holds its state any more. */
void victim_stop(struct victim *v, struct book *b);

/**
 * What must hold whenever it stands still: the ledger opens and its check passes, the walk of its
 * entries finds no fault, every signature that counts has its receipt.
 * @return faults, each said on standard error
 */
unsigned victim_check(struct victim *v) MUST_CHECK;

/** No index twice among all signatures ever received, and each verifies. @return faults */
unsigned victim_check_reuse(const struct victim *v) MUST_CHECK;

/** Lines of the log that no fault explains: failed assertions, sanitizers, signals other than 9. */
unsigned victim_check_log(const struct victim *v, off_t from) MUST_CHECK;

/**
 * Run `tidemark WORDS` and put its exit into the book, unless it is 0; "exit-N-without-a-word" if
 * it does not say what went wrong, although it was not killed.
 * @return exit status
 */
int victim_tool(struct victim *v, struct book *b, const char *words, ...) PRINTF_LIKE(3, 4);

#endif
