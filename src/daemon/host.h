/*
 * host: what every offline operation needs: its options, the signer host opened and locked, and the
 *       words it has for people.
 *
 * Uses: everything of daemon and signer. One thread.
 */
#ifndef DAEMON_HOST_H
#define DAEMON_HOST_H

#include "daemon/config.h"
#include "daemon/progress.h"
#include "signer/key.h"
#include "signer/toolclock.h"

/** Options of all operations; NULL or -1 where one was not given. */
struct options {
    const char *config, *key, *out, *from, *passphrase_file, *argument;
    const char *escrow_passphrase_file;
    const char *statement;   /* --old-device-destroyed */
    const char *chrony_conf; /* --chrony-conf */
    const char *public;      /* --public */
    const char *acknowledged_export, *reason;
    int64_t start_window, acknowledged_through, through, window;
    bool json, quiet, yes, restart;
};

/** Print what went wrong and, if not NULL, the next step. @return the exit code of the command. */
int operation_fail(const struct err *err, enum rc rc, const char *next_step);

/** Ask for `word`, unless --yes was given. @return false if nothing is to be done. */
bool operation_confirm(const struct options *o, const char *word) MUST_CHECK;

/**
 * The result of an operation that made or moved a key.
 * @param[in] verb  "made" or "recovered".
 * @return the exit code of the command.
 */
int operation_print_key(const struct options *o, const struct ledger_key *key, int64_t first,
                        const char *verb);

/* Everything an operation works on. */
struct host {
    struct config config;
    int state_dirfd, service_lock, core_lock;
    struct ledger *ledger;
    struct tpm *tpm;
    struct clk *clock;
    struct world world;
    struct tool_clock tool_clock;
    struct key *key; /* loaded by load_key() */
    char *passphrase;
    char *escrow_passphrase; /* NULL: none was given */
};

#define LEDGER_FILE "ledger.db" /* in the state directory */
#define HOST_CLOSED ((struct host){.state_dirfd = -1, .service_lock = -1, .core_lock = -1})

/**
 * Open configuration, state directory (with both locks), ledger, TPM and clock.
 * @param[in] create  Make state directory, ledger and storage key if they are not there.
 * @return What failed first; host_close() in any case.
 */
enum rc host_open(struct host *h, const struct options *o, bool create, struct err *err) MUST_CHECK;
void host_close(struct host *h);

/** Load a key into h->key; its rc says whether it would sign. name NULL: RC_REFUSED_INPUT. */
enum rc host_load_key(struct host *h, const char *name, struct err *err) MUST_CHECK;

/** Read the backup's passphrase into h->passphrase (locked), from --passphrase-file or unseen. */
enum rc host_passphrase(struct host *h, const struct options *o, struct err *err) MUST_CHECK;

/** Read --escrow-passphrase-file into h->escrow_passphrase (locked), if it was given. */
enum rc host_escrow_passphrase(struct host *h, const struct options *o, struct err *err) MUST_CHECK;

/** The host's own clock, for records. */
int64_t host_now_s(void);

/** How many threads make a tree. */
unsigned host_threads(void);

/* The operations: each returns the exit code of the command. */
int operation_key_new(const struct options *o);
int operation_backup_export(const struct options *o);
int operation_backup_check(const struct options *o);
int operation_recover(const struct options *o);
int operation_advance_window(const struct options *o);
int operation_reseal(const struct options *o);
int operation_doctor(const struct options *o);
int operation_key_selftest(const struct options *o);

#endif
