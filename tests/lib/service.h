/*
 * service: complete services for integration tests: software TPM, a pair of real chronyd, the real
 * tidemarkd from the build tree, its tools, its clients, and the ledger that is left behind.
 *
 * Everything lives in one folder that lab_open() makes. A process of its own, the janitor, waits
 * until the test has ended, in whatever way, stops the chronyd in that folder and removes it; all
 * other processes are children that end with the test (PR_SET_PDEATHSIG). So a test that fails, is
 * killed or runs into a time limit leaves nothing behind.
 *
 * Functions without a result fail the running cmocka test when something goes wrong; call them from
 * the main thread. Those of struct client may be called from any thread, one client each.
 */
#ifndef TESTS_LIB_SERVICE_H
#define TESTS_LIB_SERVICE_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ledger/ledger.h"
#include "lib/swtpm.h"

#define LAB_PATH 96    /* paths in the lab: short, because socket paths are */
#define LAB_SKIPPED 77 /* automake's exit status for a test that could not run */
#define TOOL_OUT 8192  /* what a tool says, cut */
#define WAIT_MS 60000  /* for things that should happen soon, on a slow machine */
#define PUBLIC_MAX 64

/* Lab --------------------------------------------------------------------------------------------
 */

/**
 * Make the folder and start the janitor; to be called once, first thing in main().
 * @return 0, or LAB_SKIPPED with a reason on standard error if there is no swtpm or no chronyd
 * (CHRONYD=path names one, otherwise scripts/get-chronyd looks for it), or 1.
 */
int lab_open(void);

/** Remove everything; also called at exit. */
void lab_close(void);

/** Path of the folder. */
const char *lab_dir(void);

/** Milliseconds of a clock that nobody fakes, and a pause. Any thread. */
int64_t lab_now_ms(void);
void lab_sleep_ms(unsigned ms);

/** A TCP port that nobody has; somebody could take it before the service does, and then it says so.
 */
uint16_t lab_free_port(void);

/** Run a command line through the shell; its exit status, or -1. */
int lab_shell(const char *format, ...) PRINTF_LIKE(1, 2);

/**
 * Give a service a credential that lies sealed on the disk, as LoadCredentialEncrypted= does it:
 * the file is sealed under a secret of the host (systemd-creds) and removed, and what is unsealed
 * again becomes FOLDER/NAME, with the mode that the access list for a service's user shows as.
 * Without systemd-creds the file is moved there as it is, and that is said.
 * @param[in] file, folder  In the lab; the folder is made if it is not there.
 */
void lab_sealed_credential(const char *file, const char *folder, const char *name);

/** Change one byte of a file to something else. */
void lab_spoil(const char *path, off_t offset);

/* Clocks -----------------------------------------------------------------------------------------
 */

/** A time server and the chronyd that follows it (scripts/chrony-pair.sh). */
struct clocks {
    char dir[LAB_PATH];
    char file[LAB_PATH]; /* libfaketime's file; "" if the clock is the host's */
    uint16_t port;
    int64_t shift_s;
};

/** @param[in] fake  Under libfaketime, so that clocks_shift() works. clocks_stop() in any case. */
void clocks_start(struct clocks *c, const char *name, bool fake);
void clocks_stop(struct clocks *c);

/** True if libfaketime is here and can be used with this build; says loudly if not. */
bool clocks_can_be_faked(void);

/** Server, client and every service on these clocks see true time plus shift_s from now on. */
void clocks_shift(struct clocks *c, int64_t shift_s);

/* Service ----------------------------------------------------------------------------------------
 */

/** Members for sections of the configuration, with ' for "; each NULL or like "'a':1,'b':2". */
struct service_options {
    const char *clock, *http, *signing, *limits, *restart, *tpm, *attest, *identities, *tls;
};

struct service {
    char dir[LAB_PATH], state[LAB_PATH], config[LAB_PATH], socket[LAB_PATH], log[LAB_PATH];
    struct swtpm tpm;
    const struct clocks *clocks;
    pid_t pid; /* the supervisor; 0: not running */
};

/** A folder with an empty TPM and a configuration; no state directory yet. */
void service_make(struct service *s, const char *name, const struct clocks *clocks,
                  const struct service_options *options);

/** The configuration again, with other options. */
void service_configure(const struct service *s, const struct service_options *options);

/** End everything of it; fine on a zeroed struct and twice. */
void service_end(struct service *s);

/**
 * Run `tidemark WORDS --config …` (or, if it starts with a dash, tidemarkd) to its end.
 * @param[in]  words  Command line words; split at blanks, quotes as in the shell.
 * @param[out] out    TOOL_OUT bytes: both outputs; NULL: on failure they go to standard error.
 * @return exit status; 128 + signal.
 */
int service_tool(const struct service *s, char out[TOOL_OUT], const char *words, ...)
    PRINTF_LIKE(3, 4);

/**
 * The same, but a signal ends it as soon as now() says so; it is asked again and again.
 * @param[in]  sig  SIGTERM or SIGKILL.
 * @param[out] out  TOOL_OUT bytes: both outputs, as far as they came; NULL: nobody reads them.
 * @return exit status; 128 + sig if the signal ended it.
 */
int service_tool_ended(const struct service *s, int sig, char out[TOOL_OUT], bool (*now)(void *ctx),
                       void *ctx, const char *words, ...) PRINTF_LIKE(6, 7);

/** The same for commands that talk to the service: `tidemark WORDS --socket …`. */
int service_client(const struct service *s, char out[TOOL_OUT], const char *words, ...)
    PRINTF_LIKE(3, 4);

/** The same for those that need neither: `tidemark WORDS --public FILE`. */
int service_verify(const struct service *s, char out[TOOL_OUT], const char *public,
                   const char *words, ...) PRINTF_LIKE(4, 5);

/** Make a key under a plan (with ' for ") with `tidemark key new`. */
void service_key(const struct service *s, const char *plan);

/** Start tidemarkd; returns when it answers. service_run() only starts it. */
void service_start(struct service *s);
void service_run(struct service *s);

/** Stop it in order (SIGTERM, exit status 0), or kill all its processes at once. */
void service_stop(struct service *s);
void service_crash(struct service *s);

/** Wait for the end of a service that cannot start. @return exit status */
int service_wait_end(struct service *s);

/** Process id of "core" or "front", waited for; @param[in] not  another one than this. */
pid_t service_child(const struct service *s, const char *name, pid_t not );

/** The state directory to DIR/name and back: what was in it is gone then. A service whose state is
 * copied may run if nobody asks it anything; one whose state is put back may not. */
void service_save(const struct service *s, const char *name);
void service_restore(const struct service *s, const char *name);

/** Does the log of the service have this text behind this offset? */
bool service_log_has(const struct service *s, off_t from, const char *text);
off_t service_log_size(const struct service *s);

/** The last lines of the log to standard error. */
void service_show_log(const struct service *s);

/** The ledger of a stopped service; ledger_close() it. */
struct ledger *service_ledger(const struct service *s);

/* Clients ----------------------------------------------------------------------------------------
 */

struct client {
    CURL *curl;
    char path[LAB_PATH]; /* of the socket */
    long patience_s;     /* for one answer; client_open() sets what is enough for small requests */
};

/** An answer. client_done() it. */
struct answer {
    long status; /* 0: no answer came */
    char *head;  /* header lines */
    size_t head_len;
    char *body; /* NUL-terminated */
    size_t len;
    json_t *json; /* NULL if the body is none */
};

void client_open(struct client *c, const struct service *s);
void client_close(struct client *c);
void client_done(struct answer *a);

/**
 * One request, one answer.
 * @param[in]  headers  Lines with \n between them, or NULL.
 * @param[in]  body     len bytes, or NULL for a GET.
 * @param[out] a        client_done() it, whatever the result.
 * @return status, 0 if the connection broke.
 */
long client_ask(struct client *c, struct answer *a, const char *headers, const void *body,
                size_t len, const char *path, ...) PRINTF_LIKE(6, 7);

/** Value of a header, "" if it is not there; valid until client_done(). Not thread-safe. */
const char *answer_header(const struct answer *a, const char *name);

/** Members of a JSON answer: text ("" if not there), number (-1 if not there). A path of names
 * with dots between them. */
const char *answer_text(const struct answer *a, const char *path);
int64_t answer_number(const struct answer *a, const char *path);

/** GET with a client of its own. @return status */
long service_get(const struct service *s, struct answer *a, const char *path, ...)
    PRINTF_LIKE(3, 4);

/** Wait until a GET of /health/state names this state. */
void service_wait_state(const struct service *s, const char *state);

/** The public key in raw form. @return its length */
size_t service_public(const struct service *s, const char *key, uint8_t out[PUBLIC_MAX]);

/** Fails the test unless the answer is this problem: status, type, and an action that tells what to
 * do. */
void expect_problem(const struct answer *a, long status, const char *name);

#endif
