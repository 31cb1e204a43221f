/*
 * request: the fixed-size messages between front and core, and the life of one signing request.
 *
 * The front parses what comes from outside and sends a struct request over a SOCK_SEQPACKET pair;
 * the core answers each with one struct reply of the same number. What is short goes behind the
 * struct in its message: then it lies in the memory of who received it, and nobody else can change
 * it. Longer bodies travel as file handles (SCM_RIGHTS): the artifact with a request, lists with a
 * reply, as a sealed memfd.
 * Both processes are forks of one program, so the structs are sent as they lie in memory; the core
 * re-checks every field all the same (request_check), since a front that was taken over may send
 * anything.
 *
 * Uses: base. This is the one header of signer that http sees. Plain values, any thread.
 * Every text field is NUL-terminated; unused bytes are zero. Times are seconds of UTC as POSIX
 * counts.
 */
#ifndef SIGNER_REQUEST_H
#define SIGNER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/burn.h"
#include "base/histogram.h"
#include "base/lease.h"
#include "base/rc.h"
#include "base/text.h"
#include "base/trouble.h"

#define REQUEST_MAGIC UINT32_C(0x54444d51)
#define REPLY_MAGIC UINT32_C(0x54444d52)
#define REQUEST_TEXT_MAX 255
#define REQUEST_VERSION_MAX 63
#define REQUEST_LIST_MAX 1000 /* entries of one list; the client asks again from `next` */
#define REQUEST_NONE INT64_C(-1)
#define WARNING_SENTENCE_SIZE 256
#define REQUEST_BATCH_MAX 64                     /* items of one REQUEST_BATCH */
#define REQUEST_PAYLOAD_MAX (UINT64_C(12) << 20) /* of any reply */
#define REPLY_BEHIND_MAX 16384                   /* bytes of it in the reply's own message */
#define REQUEST_BEHIND_MAX 16384                 /* bytes of a body in the request's own message */
#define REQUEST_NONCE_MIN 8                      /* bytes of a nonce for an attestation */
#define REQUEST_NONCE_MAX 64
#define REQUEST_UPLOAD_MIN (UINT64_C(4) << 20) /* longer bodies are announced */
#define REQUEST_PREFIX_MAX 256                 /* bytes of what is hashed before an artifact */

/* Names of limits, in RateLimit fields, problem documents and refusal entries. */
#define LIMIT_WINDOW "window"
#define LIMIT_RESERVE "reserve"
#define LIMIT_CALLER "caller"
#define LIMIT_RATE "rate"
#define LIMIT_CALLER_RATE "caller-rate"
#define LIMIT_RESERVATIONS "reservations"

enum request_op {
    REQUEST_STATE = 1, /* payload: none */
    REQUEST_KEYS,      /* payload: struct view_key[] (one if key is named) */
    REQUEST_PLAN,      /* payload: the plan's canonical JSON */
    REQUEST_SIGN,      /* payload: the signature */
    REQUEST_WINDOWS,   /* payload: struct view_window[], windows from … to */
    REQUEST_VERSIONS,  /* payload: struct view_version[], prefix in version, from index `from` on */
    REQUEST_INDEX,     /* payload: struct view_index[1], index in from */
    REQUEST_SIGNATURE, /* payload: the signature; by id */
    REQUEST_RECEIPT, /* payload: the receipt entry's canonical JSON, with its attestation; by id */
    REQUEST_ATTEST,  /* payload: an attestation, canonical JSON; with a nonce */
    REQUEST_CLOCK,   /* payload: struct view_clock[1] */
    REQUEST_CLOCK_ACK,   /* the same, afterwards */
    REQUEST_PREVIEW,     /* payload: none; what REQUEST_SIGN would do now, in `signature` */
    REQUEST_BATCH,       /* body: struct request_item[]; payload: struct reply[], signatures */
    REQUEST_METERS,      /* payload: struct view_meters[1], then struct view_meter[] */
    REQUEST_FORECAST,    /* payload: struct view_forecast[1] */
    REQUEST_WARNINGS,    /* payload: struct view_warning[], of all keys */
    REQUEST_WARNING_ACK, /* the same, afterwards; id of the warning in from */
    REQUEST_RESERVE,     /* payload: what is hashed before the artifact; or a stored signature */
    REQUEST_COMMIT,      /* payload: the signature; of a reservation, by id */
    REQUEST_UPLOAD,      /* the body of a REQUEST_SIGN, its handle, begins to come; no reply */
    REQUEST_OP_END
};

enum request_by { REQUEST_BY_VERSION = 1, REQUEST_BY_WINDOW };
enum request_body { REQUEST_BODY_BYTES = 1, REQUEST_BODY_DIGEST };

struct request {
    uint32_t magic;
    uint32_t op;         /* enum request_op */
    uint64_t generation; /* of the core that is meant; another core refuses it */
    uint64_t number;     /* the front's number for this request, copied into the reply */
    char key[NAME_LEN_MAX + 1];
    /* REQUEST_SIGN */
    uint32_t by;   /* enum request_by */
    uint32_t body; /* enum request_body */
    char version[REQUEST_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    char idempotency_key[REQUEST_TEXT_MAX + 1];
    char request_id[REQUEST_TEXT_MAX + 1];
    char requester[REQUEST_TEXT_MAX + 1]; /* every op: the identity's name, as http/identity.h says;
                                             kept in receipts, looked up in policy/access.h */
    uint64_t body_len;                    /* bytes of the body: artifact, or items. Behind the
                                             request, up to REQUEST_BEHIND_MAX, or in a handle */
    uint32_t digest_kind;                 /* REQUEST_BODY_DIGEST: enum digest_kind */
    uint8_t digest[64];  /* the digest to sign, or the front's claim for the body's SHA-256 */
    uint32_t hash_len;   /* REQUEST_COMMIT: bytes of digest, which is what the caller has hashed */
    bool digest_claimed; /* body: digest[0..31] is what the front (or client) says it is.
                            REQUEST_PREVIEW: there is a digest */
    /* REQUEST_CLOCK_ACK */
    uint64_t ack_id, ack_windows;
    int64_t ack_utc_s;
    char sentence[WARNING_SENTENCE_SIZE]; /* REQUEST_WARNING_ACK: what the operator typed */
    /* reading */
    int64_t from, to; /* inclusive */
    uint8_t id[16];
    uint8_t nonce[REQUEST_NONCE_MAX]; /* REQUEST_ATTEST */
    uint32_t nonce_len;               /* REQUEST_NONCE_MIN … REQUEST_NONCE_MAX */
};

/** One of the requests of a REQUEST_BATCH: what is its own. All else is that of the message. */
struct request_item {
    uint32_t by; /* enum request_by */
    uint32_t digest_kind;
    uint8_t digest[64];
    char version[REQUEST_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    char idempotency_key[REQUEST_TEXT_MAX + 1];
};

enum service_state {
    STATE_STARTING,
    STATE_OPERATIONAL,
    STATE_WINDOW_FULL,
    STATE_ACK_REQUIRED,
    STATE_CLOCK_UNSAFE,
    STATE_RECOVERING,
    STATE_HALTED,
    STATE_EXHAUSTED
};

/** Everything a client may be told about one signature. */
struct signature_view {
    uint8_t id[16];
    char key[NAME_LEN_MAX + 1];
    char version[REQUEST_VERSION_MAX + 1]; /* "" for time and interval plans */
    char slot[NAME_LEN_MAX + 1];
    uint64_t window;
    uint64_t index;
    uint8_t plan_sha256[SHA256_LEN];
    uint8_t
        artifact_sha256[SHA256_LEN]; /* for digests given as JSON: SHA-256 of the digest bytes,
                                        unless the plan's message is sha256: the digest itself */
    uint64_t artifact_size;
    int64_t signed_at_s;
    uint64_t epoch;
    uint64_t log_index;       /* number of the receipt's entry, 0-based */
    uint64_t checkpoint_size; /* entries in the ledger when it was written */
    uint64_t remaining_window;
    uint64_t remaining_key;
    char request_id[REQUEST_TEXT_MAX + 1];
};

struct reply {
    uint32_t magic;
    uint32_t op;
    uint64_t generation;
    uint64_t number;
    int32_t rc;              /* enum rc */
    char text[ERR_TEXT_MAX]; /* for people; "" on RC_OK */
    bool replayed; /* REQUEST_SIGN: a stored signature, no index was used. PREVIEW: it would be */
    struct signature_view signature; /* SIGN, SIGNATURE, RECEIPT, COMMIT; PREVIEW: what would be
                                        signed; RESERVE: what will be, once */
    /* REQUEST_RESERVE */
    bool reserved;     /* false: signed already, and the payload is the signature */
    int64_t expires_s; /* UTC */
    char hash[16];     /* "sha256/192": algorithm, and bits of its output that are wanted */
    /* Up to REPLY_BEHIND_MAX bytes of payload stand behind the reply in its message; more of them
     * are in a memfd that is attached. 0: neither. */
    uint64_t payload_len;
    int64_t next; /* lists: continue from here, or REQUEST_NONE */
    /* refusals: what the client needs to do the next thing; REQUEST_NONE or "" where unknown */
    int64_t retry_after_s; /* from now */
    int64_t burned_index;
    int64_t window;
    int64_t window_opens_s;
    uint8_t bound_sha256[SHA256_LEN]; /* RC_REFUSED_BOUND: what the version is bound to */
    int64_t bound_at_s;
    char bound_request_id[REQUEST_TEXT_MAX + 1];
    char next_version[REQUEST_VERSION_MAX + 1];
    /* limits, for the RateLimit fields; limit 0: no such limit; resets in seconds from now */
    uint64_t window_limit, window_remaining;
    int64_t window_reset_s;
    uint64_t rate_limit, rate_remaining;
    int64_t rate_reset_s, rate_window_s; /* window: an empty bucket is full again after it */
    uint64_t caller_rate_limit, caller_rate_remaining; /* the same for the one who asks */
    int64_t caller_rate_reset_s, caller_rate_window_s;
    uint64_t share_limit, share_remaining; /* of the window, for the one who asks */
    char violated[16];                     /* which limit refused: one of LIMIT_…; or "" */
    /* REQUEST_STATE, and the reason of refusals by state */
    uint32_t state;   /* enum service_state */
    bool tpm_virtual; /* every answer says so (DESIGN section 6 rule 11) */
    char tpm[40];     /* manufacturer and vendor string */
    /* Word of base/trouble.h, which names a section of docs/operations.md: "ok", or what is wrong.
     * Also in refusals that the TPM is the reason of; "" where nothing is said of it. */
    char tpm_state[TPM_TROUBLE_WORD_MAX];
    char check_ledger[96], check_tpm[192], check_clock[160],
        check_nodes[96]; /* "ok" or what is wrong */
    int64_t clock_earliest_ms, clock_latest_ms;
    uint32_t wear_percent; /* of the key whose NV indices are worn most (policy/wear.h) */
};

/* Entries of lists ---------------------------------------------------------------------------- */

/** Writes to the key's NV indices (policy/wear.h). */
struct view_wear {
    uint32_t known; /* 1: the counters could be read; all else is zero if not */
    uint64_t w, l, a;
    uint64_t endurance;
    uint32_t percent;
    int64_t per_year, year; /* or REQUEST_NONE */
};

struct view_key {
    char name[NAME_LEN_MAX + 1];
    uint8_t key_id[KEY_ID_LEN];
    uint8_t plan_sha256[SHA256_LEN];
    uint8_t public_key[128]; /* raw RFC 8554 or RFC 8391 */
    uint32_t public_key_len;
    uint32_t scheme;   /* enum plan_scheme */
    uint8_t spki[192]; /* the same as SubjectPublicKeyInfo, DER (RFC 9802) */
    uint32_t spki_len;
    uint32_t state;       /* enum service_state of this key alone */
    char reason[160];     /* "" when operational */
    int64_t floor;        /* W - W_base: highest window opened, or REQUEST_NONE */
    int64_t min_window;   /* lowest window that this device may sign in */
    int64_t open_window;  /* time plans: the window that may sign now, or REQUEST_NONE */
    int64_t early_window; /* the same if its start is still to come, or REQUEST_NONE */
    uint64_t epoch;       /* leases or batches that this device ever took */
    uint64_t signed_total, burned_total; /* burned: all of burned_by */
    uint64_t burned_by[BURN_COUNT];      /* indices gone without a signature, by reason */
    uint64_t remaining_window, remaining_key;
    int64_t
        export_limit; /* highest window that may sign until an export is acknowledged, or NONE */
    struct view_wear wear;
};

enum window_state { WINDOW_FUTURE, WINDOW_OPEN, WINDOW_CLOSED, WINDOW_SKIPPED };

struct view_window {
    uint64_t window;
    char label[64];
    uint32_t state;            /* enum window_state */
    int64_t opens_s, closes_s; /* time plans, or REQUEST_NONE */
    int64_t lead_s;            /* so much before its start it was opened early; 0: it was not */
    uint64_t first_index, size, usable;
    uint64_t signatures; /* indices with a receipt */
    uint64_t burned;     /* leased or intended, no receipt, and never to come */
    uint64_t given_up;   /* never used and never to be, in a closed window */
    uint64_t remaining;  /* may still be signed */
    uint64_t reserved;   /* of remote hashes that have not come yet */
};

struct view_version {
    char version[REQUEST_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    uint64_t window, index;
    uint32_t state;  /* enum index_state */
    uint32_t reason; /* INDEX_BURNED: enum burn_reason */
    uint8_t artifact_sha256[SHA256_LEN];
    int64_t signed_at_s;
    uint8_t id[16];
};

/** When a key will be used up. Times are seconds of UTC, or REQUEST_NONE. */
struct view_forecast {
    char key[NAME_LEN_MAX + 1];
    uint64_t total; /* one-time keys of the plan */
    uint64_t remaining_window, remaining_key;
    uint64_t signed_total, burned_total;
    int64_t window;   /* that remaining_window is of, or REQUEST_NONE */
    uint64_t recent;  /* signatures, at most 1000, … */
    int64_t recent_s; /* … and in how many seconds up to now they were made */
    int64_t per_year, exhausted_s, window_full_s, plan_ends_s;
    uint32_t ack_percent;   /* so much left must be acknowledged */
    uint32_t waits_percent; /* this level waits for an acknowledgement; 0: none */
};

/** A key is running out. */
struct view_warning {
    uint64_t id; /* number of its entry in the ledger */
    char key[NAME_LEN_MAX + 1];
    uint32_t percent; /* so much or less is left */
    int64_t at_s;
    bool acknowledged;
    char sentence[WARNING_SENTENCE_SIZE]; /* to be typed as it stands */
};

enum index_state {
    INDEX_UNUSED,
    INDEX_LEASED,
    INDEX_SIGNED,
    INDEX_BURNED,
    INDEX_GIVEN_UP,
    INDEX_SEAL,
    INDEX_PADDING
};

struct view_index {
    uint64_t index, window;
    uint32_t state;                        /* enum index_state */
    uint32_t reason;                       /* INDEX_BURNED: enum burn_reason */
    char why[REQUEST_TEXT_MAX + 1];        /* INDEX_BURNED: the ledger's words for it, or "" */
    char version[REQUEST_VERSION_MAX + 1]; /* version plans: what it is kept for */
    char slot[NAME_LEN_MAX + 1];
    uint64_t epoch; /* lease or batch that holds it, 0 if none */
    uint8_t id[16]; /* INDEX_SIGNED */
    int64_t signed_at_s;
};

#define REQUEST_CLOCK_KEYS_MAX 32

/** The clock that is signed by. Times are seconds of UTC where they do not say otherwise; 0: none.
 */
struct view_clock {
    char state[24];               /* "synced" */
    char reasons[200];            /* "leap3,err-big"; "" when safe */
    char explained[ERR_TEXT_MAX]; /* the same for people, and what helps; "" when safe */
    bool safe;
    int64_t since_s; /* in this state, as far as this process knows */
    int64_t wait_s;  /* after which asking again may help; 0 when safe */
    int64_t earliest_ms, latest_ms;
    int64_t error_us;  /* half width; REQUEST_NONE: unknown */
    int64_t offset_us; /* of the system clock, that chronyd slews out */
    uint32_t ref_id, stratum;
    int64_t floor_ms, record_ms; /* highest time under which an index was taken; last record */
    int64_t closed_before_s;     /* virtual TPM: windows that began before stay closed */
    bool tpm_read, tpm_safe;
    uint64_t tpm_clock_ms;
    uint32_t tpm_resets, tpm_restarts;
    int64_t tpm_age_ms; /* of that reading */
    /* a jump that nobody has acknowledged */
    uint64_t jump_id; /* 0: none, and the rest is 0 */
    int64_t jump_from_s, jump_to_s;
    uint64_t windows, one_time_keys; /* what accepting it would cost, over all keys */
    uint32_t key_count;
    struct {
        char name[NAME_LEN_MAX + 1];
        uint64_t windows, one_time_keys;
    } keys[REQUEST_CLOCK_KEYS_MAX];
};

/** Classes of the histogram of batches: requests. */
extern const uint64_t view_batch_bounds[HISTOGRAM_BOUNDS];

#define VIEW_CODES_MAX 64 /* codes of RC_LIST; view_code_number() is below it */

/** Place of a code in RC_LIST, from 1; 0: RC_OK. */
uint32_t view_code_number(enum rc rc);

/** What a monitor is told of the core. Counters begin at 0 with each core. */
struct view_meters {
    uint32_t state;   /* enum service_state */
    bool open;        /* 0: no ledger, no TPM, no keys; of what follows only the counters hold */
    uint64_t entries; /* of the ledger */
    char clock_state[24];        /* "synced" */
    bool clock_safe, clock_jump; /* jump: one waits to be acknowledged */
    int64_t clock_error_us;      /* half width; REQUEST_NONE: unknown */
    int64_t clock_offset_us;     /* of the system clock, that chronyd slews out */
    uint32_t tpm_median_us, tpm_p90_us, tpm_max_us; /* of the last commands; 0: there was none */
    struct histogram commit;        /* of each signature: from batch to durable, microseconds */
    struct histogram batch;         /* requests in each batch */
    struct histogram tpm_increment; /* of a counter of the TPM, since it was opened; microseconds */
    uint64_t codes[VIEW_CODES_MAX]; /* answers to signing requests, by code */
};

/** What became of signing requests. Signed ones are receipts of the ledger, view_key has them. */
enum view_result { RESULT_REPLAYED, RESULT_REFUSED, RESULT_LATER, RESULT_BURNED, RESULT_HALTED };
#define VIEW_RESULTS (RESULT_HALTED + 1)

/** The same of one key. */
struct view_meter {
    struct view_key key;
    uint64_t results[VIEW_RESULTS]; /* by enum view_result, since the signing process started */
    uint32_t kind;                  /* enum plan_kind */
    int64_t window; /* that signs now, or did last; REQUEST_NONE: none yet. The rest is about it */
    int64_t opens_s, ends_s; /* time plans; else REQUEST_NONE */
    uint64_t capacity, used, burned;
    uint64_t burst, per_hour, window_max; /* configured limits, 0: none */
    int64_t prepared_until;  /* highest window that needs no operator before it signs */
    int64_t exhausted_s;     /* at the rate so far, or REQUEST_NONE */
    uint32_t unacknowledged; /* warnings that wait for an operator, and the key with them */
};

/** Names for JSON and logs: "Operational", "open", "signed". Static. */
const char *service_state_name(uint32_t state);
const char *window_state_name(uint32_t state);
const char *index_state_name(uint32_t state);
const char *result_name(uint32_t result); /* "replayed" */

/**
 * Is this a message that the core may act on? Magic, generation, op, terminated strings, enum
 * values, lengths. Names and versions are checked again by those who use them.
 * @param[in] has_handle  A file came with it.
 * @param[in] behind      So many bytes stood behind it in its message.
 * @retval RC_REFUSED_INPUT  No; the text says which field.
 */
enum rc request_check(const struct request *request, uint64_t generation, bool has_handle,
                      size_t behind, struct err *err) MUST_CHECK;

/** May this request use an index? If its answer is lost, its outcome is unknown. */
bool request_may_sign(const struct request *request);

/* The life of a signing request --------------------------------------------------------------- */

/** RECEIVED → PLACED → LEASED → ANCHORED → SIGNED → RELEASED, or REFUSED, or BURNED; a request for
 * a reservation ends as RESERVED in the place of SIGNED. */
enum request_life {
    LIFE_RECEIVED, /* the core has it */
    LIFE_PLACED,   /* plan and clock say where it belongs; limits passed */
    LIFE_LEASED,   /* lease or intent is durable in the ledger */
    LIFE_ANCHORED, /* A and L hold it */
    LIFE_SIGNED,   /* computed and verified */
    LIFE_RELEASED, /* receipt durable, bytes handed to the front; or a stored signature */
    LIFE_REFUSED,  /* nothing changed */
    LIFE_BURNED,   /* index gone, no signature */
    LIFE_RESERVED, /* durable, and what comes before the artifact is handed to the front */
    LIFE_COUNT
};

const char *request_life_name(enum request_life life);

/** True if the table of allowed moves has this one. */
bool request_move_allowed(enum request_life from, enum request_life to) MUST_CHECK;

/**
 * Make a move: checks the table (MUST) and changes *life. The only function that does.
 * After LEASED every failure leaves BURNED, HALT included.
 */
void request_move(enum request_life *life, enum request_life to);

#endif
