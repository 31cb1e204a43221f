/*
 * verify: checks signatures by LMS, HSS, XMSS and XMSS^MT keys, and which release an index belongs
 *         to. Small enough for a boot loader. Installed as <tidemark/verify.h>.
 *
 * Freestanding C11: no allocation, no input or output, no floating point, no recursion, no state of
 * its own, no library beside it. A compiler may call memcpy, memmove, memset and memcmp, which it
 * asks of every platform. Uses: nothing of ours; that it stands beside src/hbs on purpose says
 * ADR 9.
 *
 * Rules for all functions: pointers are not NULL unless it is said; inputs are borrowed, and only a
 * struct that says so keeps a pointer to them; no byte outside a given length is read; outputs are
 * complete on TMV_OK and all zero otherwise. There are no secrets here, so nothing is constant
 * time. Any thread; a struct belongs to one thread while a function changes it.
 *
 * What is not needed can be left out: compile the library, and everything that includes this
 * header, with the macros below set to 0. docs/verify.md says what that saves.
 */
#ifndef TIDEMARK_VERIFY_H
#define TIDEMARK_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Schemes. HSS with one level counts as LMS: that is what tidemark's "lms" keys are on the wire. */
#ifndef TMV_WITH_LMS
#define TMV_WITH_LMS 1
#endif
#ifndef TMV_WITH_HSS /* HSS with 2 to 8 levels; needs TMV_WITH_LMS */
#define TMV_WITH_HSS TMV_WITH_LMS
#endif
#ifndef TMV_WITH_XMSS
#define TMV_WITH_XMSS 1
#endif
#ifndef TMV_WITH_XMSSMT
#define TMV_WITH_XMSSMT 1
#endif

/* Hash functions of the parameter sets. */
#ifndef TMV_WITH_SHA256 /* SHA-256 with 24 and 32 bytes */
#define TMV_WITH_SHA256 1
#endif
#ifndef TMV_WITH_SHAKE256 /* SHAKE256 with 24 and 32 bytes */
#define TMV_WITH_SHAKE256 1
#endif
#ifndef TMV_WITH_RFC8391 /* sets of RFC 8391 that SP 800-208 left out: SHA-512, SHAKE */
#define TMV_WITH_RFC8391 (TMV_WITH_XMSS || TMV_WITH_XMSSMT)
#endif

/* What goes with them. */
#ifndef TMV_WITH_SPKI /* public keys as SubjectPublicKeyInfo */
#define TMV_WITH_SPKI 1
#endif
#ifndef TMV_WITH_PLAN /* compiled plans; brings SHA-256 along */
#define TMV_WITH_PLAN 1
#endif
#ifndef TMV_WITH_DIGEST /* SHA-256, SHA-384 and SHA-512 of files, for plans that sign digests */
#define TMV_WITH_DIGEST 1
#endif

#if TMV_WITH_HSS && !TMV_WITH_LMS
#error "TMV_WITH_HSS needs TMV_WITH_LMS"
#endif
#if !TMV_WITH_LMS && !TMV_WITH_XMSS && !TMV_WITH_XMSSMT
#error "no scheme is left"
#endif

#define TMV_CHECKED __attribute__((warn_unused_result))

/** What a call came to. Everything but TMV_OK means: do not use the file. */
enum tmv_result {
    TMV_OK = 0,
    TMV_MALFORMED_KEY,       /* not a public key of this form, or of another length */
    TMV_UNSUPPORTED,         /* a parameter set that does not exist, or that was left out */
    TMV_MALFORMED_SIGNATURE, /* truncated, too long, or of other parameters than the key */
    TMV_SHORT,               /* tmv_begin(): the prefix ends too early; give more of it */
    TMV_WRONG_SIGNATURE,     /* not a signature of this message by this key */
    TMV_MALFORMED_PLAN,      /* not a compiled plan, damaged, or of a later format */
    TMV_OTHER_KEY,           /* the plan is for another public key */
    TMV_UNUSED_INDEX,        /* the plan never signs an artifact with this index */
    TMV_SEAL_INDEX,          /* the index is kept for the seal of its window */
    TMV_NOT_A_VERSION,       /* not written as versions of this plan are; or a slot is missing */
    TMV_OUTSIDE_PLAN,        /* no such version, slot, window or time in the plan */
    TMV_WRONG_KIND,          /* the plan has no versions, or no times */
    TMV_OTHER_PLACE,         /* the index belongs to another version, slot or window */
    TMV_ROLLBACK             /* older than the caller still takes */
};

/** A short English sentence for each; static. "unknown result" for other numbers. */
const char *tmv_result_text(enum tmv_result result);

/* --- Public keys ------------------------------------------------------------------------------ */

enum tmv_scheme {
    TMV_LMS,   /* RFC 8554 §5: bare key and signature of one tree */
    TMV_HSS,   /* RFC 8554 §6: 1 to 8 levels; tidemark's lms and hss keys */
    TMV_XMSS,  /* RFC 8391 §4.1 */
    TMV_XMSSMT /* RFC 8391 §4.2 */
};

/** Hash functions; numbers are private to the library and may change. */
enum tmv_hash_kind { TMV_SHA256, TMV_SHAKE256, TMV_SHAKE128, TMV_SHA512, TMV_SHA384 };

/** Longest hash value of any set, and longest raw public key. */
#if TMV_WITH_RFC8391
#define TMV_N_MAX 64
#else
#define TMV_N_MAX 32
#endif
#define TMV_PUBLIC_MAX (4 + 4 + 4 + 16 + 2 * TMV_N_MAX)

/** A public key, read and checked. Plain value; keeps no pointer. Read-only for callers. */
struct tmv_key {
    enum tmv_scheme scheme;
    enum tmv_hash_kind hash;
    uint32_t type;     /* LMS: number of the (top) tree; XMSS, XMSS^MT: OID */
    uint32_t ots_type; /* LMS: number of the (top) one-time scheme; else 0 */
    uint8_t n;         /* bytes of a hash value: 24, 32 or 64 */
    uint8_t w;         /* Winternitz width in bits */
    uint8_t levels;    /* HSS levels or XMSS^MT layers; else 1 */
    uint8_t height;    /* of the top tree (LMS, HSS), of all layers together (XMSS, XMSS^MT) */
    uint8_t raw_len;
    uint8_t raw[TMV_PUBLIC_MAX]; /* as in SubjectPublicKeyInfo; a bare LMS key as HSS with L = 1 */
};

/**
 * Read a raw public key: RFC 8554 §5.3 (TMV_LMS), §6.1 (TMV_HSS), RFC 8391 §4.1.7 and §4.2.5 with
 * the OID in front. The scheme has to be said, since number spaces overlap.
 * @retval TMV_MALFORMED_KEY  Wrong length, or levels outside 1 … 8.
 * @retval TMV_UNSUPPORTED    Unknown number; tree and one-time scheme of different hash functions
 *                            (SP 800-208 §4 forbids it); scheme or set left out of this build.
 */
enum tmv_result tmv_key_read(struct tmv_key *key, enum tmv_scheme scheme, const uint8_t *data,
                             size_t len) TMV_CHECKED;

#if TMV_WITH_SPKI
/**
 * Read a SubjectPublicKeyInfo in DER (RFC 9802 §3: parameters absent, the raw key in the BIT
 * STRING). The object identifier names the scheme: TMV_HSS, TMV_XMSS or TMV_XMSSMT.
 * @retval TMV_MALFORMED_KEY, TMV_UNSUPPORTED  As above, or not exactly this DER.
 */
enum tmv_result tmv_key_read_spki(struct tmv_key *key, const uint8_t *der, size_t len) TMV_CHECKED;
#endif

/* --- Signatures ------------------------------------------------------------------------------- */

/** State of a hash function. Private. */
struct tmv_hash {
    union {
        struct {
            uint32_t h[8];
            uint8_t block[64];
        } s256;
#if TMV_WITH_RFC8391 || TMV_WITH_DIGEST
        struct {
            uint64_t h[8];
            uint8_t block[128];
        } s512;
#endif
#if TMV_WITH_RFC8391 || TMV_WITH_SHAKE256
        uint64_t keccak[25];
#endif
    } u;
    uint64_t len; /* bytes so far */
    uint8_t kind;
};

/** A verification under way. Private; keeps a pointer to the key, and to nothing else. */
struct tmv_verifier {
    const struct tmv_key *key;
    struct tmv_hash hash; /* of the message, behind what comes before it */
    uint64_t index;       /* of the tree that signs the message */
    uint8_t n;
    uint8_t id[16]; /* LMS: I of that tree */
    uint8_t random[TMV_N_MAX];
};

#define TMV_NO_INDEX UINT64_MAX /* an HSS index of more than 64 bits */

/** What a valid signature says beside its message. */
struct tmv_found {
    uint64_t index; /* of the one-time key, over all levels; TMV_NO_INDEX if it has no 64 bits */
    uint32_t bits;  /* that an index of this key has: the heights of all levels together */
};

/**
 * Start to verify a signature whose message comes in pieces.
 *
 * What is read is the prefix that the hash of the message begins with: the first 12 + n bytes of an
 * HSS signature with one level, 8 + n of a bare LMS signature, 4 + n for XMSS, ceil(h/8) + n for
 * XMSS^MT; with more levels everything up to the last level's randomiser. The rest may follow with
 * tmv_final(); whoever has all of it gives all of it twice.
 *
 * @param[out] v    All zero on failure.
 * @param[in]  key  From tmv_key_read(); must live until tmv_final().
 * @param[in]  sig  len bytes: the signature, or its beginning. May be gone afterwards.
 * @retval TMV_SHORT                A longer prefix is needed.
 * @retval TMV_MALFORMED_SIGNATURE  Of other parameters than the key, or an index past its tree.
 * @retval TMV_UNSUPPORTED          A lower HSS level has a set that does not exist or was left out.
 */
enum tmv_result tmv_begin(struct tmv_verifier *v, const struct tmv_key *key, const uint8_t *sig,
                          size_t len) TMV_CHECKED;

/** The next piece of the message; any length, also 0. After tmv_begin() came to TMV_OK only. */
void tmv_update(struct tmv_verifier *v, const void *data, size_t len);

/**
 * Verify. v is all zero afterwards, whatever the result.
 * @param[in]  sig    len bytes: the whole signature. What tmv_begin() has seen of it must be the
 * same.
 * @param[out] found  Index of the signature. May be NULL.
 * @retval TMV_MALFORMED_SIGNATURE, TMV_UNSUPPORTED  As above; truncated or with bytes behind its
 * end.
 * @retval TMV_WRONG_SIGNATURE  Not of this message by this key, or not what tmv_begin() has seen.
 */
enum tmv_result tmv_final(struct tmv_verifier *v, const uint8_t *sig, size_t len,
                          struct tmv_found *found) TMV_CHECKED;

/** All of it for a message in memory. Result codes as above, but for TMV_SHORT. */
enum tmv_result tmv_verify(const struct tmv_key *key, const void *message, size_t message_len,
                           const uint8_t *sig, size_t sig_len, struct tmv_found *found) TMV_CHECKED;

/* --- Digests ---------------------------------------------------------------------------------- */

/** What the signature is over; from the plan, and fixed for the life of a key. */
enum tmv_message { TMV_RAW, TMV_DIGEST_SHA256, TMV_DIGEST_SHA384, TMV_DIGEST_SHA512 };

#if TMV_WITH_DIGEST
#define TMV_DIGEST_MAX 64

/** Start a digest; kind is not TMV_RAW. */
void tmv_digest_begin(struct tmv_hash *digest, enum tmv_message kind);
void tmv_digest_update(struct tmv_hash *digest, const void *data, size_t len);
/** out: TMV_DIGEST_MAX bytes. @return how many of them are the digest: 32, 48 or 64. */
size_t tmv_digest_final(struct tmv_hash *digest, uint8_t *out);
#endif

/* --- Compiled plans --------------------------------------------------------------------------- */

#if TMV_WITH_PLAN

enum tmv_plan_kind { TMV_PLAN_TIME, TMV_PLAN_VERSION, TMV_PLAN_INTERVAL };
enum tmv_plan_format {
    TMV_INTEGER,           /* 4711 */
    TMV_MAJOR_MINOR,       /* 4.2 */
    TMV_MAJOR_MINOR_PATCH, /* 4.2.1 */
    TMV_CALENDAR,          /* 2026.04.1 */
    TMV_TABLE              /* as listed in the plan */
};

#define TMV_COMPONENTS_MAX 3
#define TMV_SLOTS_MAX 64
#define TMV_TABLE_MAX 4096
#define TMV_TEXT_MAX 63 /* characters of a version or of a slot's name */

/**
 * A compiled plan, read and checked: `tidemark plan compile` makes one from a plan and a public
 * key. Keeps pointers into the bytes it was read from. Read-only for callers.
 */
struct tmv_plan {
    enum tmv_plan_kind kind;
    enum tmv_plan_format format; /* version plans */
    enum tmv_message message;    /* what the key signs: raw bytes or a digest */
    enum tmv_scheme scheme;      /* of the key; an lms plan has TMV_HSS, as it is on the wire */
    uint8_t height;              /* bits of an index */
    uint8_t levels;              /* HSS levels or XMSS^MT layers */
    uint8_t components;          /* numbers of a version */
    uint8_t window_level, line_level;
    bool per_line; /* each line has marks of its own */
    bool seal;     /* the last index of a window is kept for its seal */
    bool slots_named;
    uint32_t slot_count;        /* 1 if the plan names none */
    const uint8_t *plan_sha256; /* 32 bytes: digest of the plan's canonical JSON */
    const uint8_t *key_sha256;  /* 32 bytes: digest of the raw public key */
    uint64_t window_size;       /* indices of a window, a power of two */
    uint64_t window_usable;     /* the first so many of them sign artifacts */
    uint64_t window_count;
    int64_t start_s;                    /* time plans: first second of window 0 (UTC since 1970) */
    int64_t window_s;                   /* time plans: seconds of a window */
    uint64_t sizes[TMV_COMPONENTS_MAX]; /* how many values each number of a version can have */
    uint64_t bases[TMV_COMPONENTS_MAX]; /* the first of them */
    uint64_t versions_per_window;
    uint64_t version_count;
    uint32_t table_count;
    const uint8_t *slots; /* slot_count times: length, characters */
    const uint8_t *table; /* table_count times the same */
};

/**
 * Read a compiled plan. It holds its own SHA-256, so every change is noticed; and it is checked as
 * if it did not, so that no number in it can lead outside it.
 * @param[in] data  len bytes; must live as long as the plan is used.
 * @retval TMV_MALFORMED_PLAN  Anything else.
 */
enum tmv_result tmv_plan_open(struct tmv_plan *plan, const uint8_t *data, size_t len) TMV_CHECKED;

/** @retval TMV_OTHER_KEY  The plan was not compiled for this public key. */
enum tmv_result tmv_plan_check_key(const struct tmv_plan *plan,
                                   const struct tmv_key *key) TMV_CHECKED;

/** Where an index stands in a plan. */
struct tmv_place {
    uint64_t index;
    uint64_t window;
    uint64_t mark; /* version plans: place of the version among all; else the window */
    uint64_t line; /* version plans: marks of different lines are not compared per line */
    uint64_t numbers[TMV_COMPONENTS_MAX]; /* of the version; a table has the entry's number */
    uint32_t slot;                        /* number of the slot, 0-based */
    int64_t start_s;                      /* time plans: the window is [start_s, end_s) */
    int64_t end_s;
};

/**
 * Index -> place.
 * @retval TMV_UNUSED_INDEX  Padding, or behind the last window or the key.
 * @retval TMV_SEAL_INDEX    Kept for the seal of its window.
 */
enum tmv_result tmv_plan_place_index(const struct tmv_plan *plan, uint64_t index,
                                     struct tmv_place *place) TMV_CHECKED;

/**
 * Version and slot as text -> place. There is one way to write a version: no leading zeros, no 'v',
 * no blanks; the month of a calendar version has two digits.
 * @param[in] slot  May be NULL or "" where the plan names no slots, or one.
 * @retval TMV_WRONG_KIND     Not a version plan.
 * @retval TMV_NOT_A_VERSION  Not of the plan's form; or a slot is needed and none was named.
 * @retval TMV_OUTSIDE_PLAN   A number past its size, an unknown slot, not in the table.
 */
enum tmv_result tmv_plan_place_version(const struct tmv_plan *plan, const char *version,
                                       const char *slot, struct tmv_place *place) TMV_CHECKED;

/**
 * The same with numbers, as boot loaders have them in a header: major, minor, patch; year, month,
 * number; or the number of the table's entry.
 * @param[in] numbers  plan->components of them.
 * @param[in] slot     Number of the slot, 0 … plan->slot_count - 1.
 * @retval TMV_WRONG_KIND, TMV_OUTSIDE_PLAN  As above.
 */
enum tmv_result tmv_plan_place_numbers(const struct tmv_plan *plan, const uint64_t *numbers,
                                       uint32_t slot, struct tmv_place *place) TMV_CHECKED;

/**
 * Time plans: the window of a second (UTC as POSIX counts it).
 * @retval TMV_WRONG_KIND    Not a time plan.
 * @retval TMV_OUTSIDE_PLAN  Before its start or behind its last window.
 */
enum tmv_result tmv_plan_window_at(const struct tmv_plan *plan, int64_t seconds,
                                   uint64_t *window) TMV_CHECKED;

/**
 * Print version and slot of a place that came from this plan.
 * @param[out] version  TMV_TEXT_MAX + 1 characters; "" if the plan has no versions.
 * @param[out] slot     TMV_TEXT_MAX + 1 characters; "" if the plan names none. May be NULL.
 */
void tmv_plan_print(const struct tmv_plan *plan, const struct tmv_place *place, char *version,
                    char *slot);

/*
 * Does a signature belong to what its file claims to be? Each takes what tmv_final() found, finds
 * its place, and compares. place may be NULL. Retval TMV_UNUSED_INDEX or TMV_SEAL_INDEX as
 * tmv_plan_place_index(), also if the key has more or fewer indices than the plan; TMV_OTHER_PLACE
 * if the index belongs elsewhere.
 */

/** To any artifact at all? */
enum tmv_result tmv_plan_check_index(const struct tmv_plan *plan, const struct tmv_found *found,
                                     struct tmv_place *place) TMV_CHECKED;

/** To this version and slot? Also retval as tmv_plan_place_version(). */
enum tmv_result tmv_plan_check_version(const struct tmv_plan *plan, const struct tmv_found *found,
                                       const char *version, const char *slot,
                                       struct tmv_place *place) TMV_CHECKED;

/** The same with numbers. Also retval as tmv_plan_place_numbers(). */
enum tmv_result tmv_plan_check_numbers(const struct tmv_plan *plan, const struct tmv_found *found,
                                       const uint64_t *numbers, uint32_t slot,
                                       struct tmv_place *place) TMV_CHECKED;

/** To this window? Also TMV_OUTSIDE_PLAN. */
enum tmv_result tmv_plan_check_window(const struct tmv_plan *plan, const struct tmv_found *found,
                                      uint64_t window, struct tmv_place *place) TMV_CHECKED;

/** To the window of this second? Also retval as tmv_plan_window_at(). */
enum tmv_result tmv_plan_check_time(const struct tmv_plan *plan, const struct tmv_found *found,
                                    int64_t seconds, struct tmv_place *place) TMV_CHECKED;

/*
 * Rollback. The caller keeps a number where an attacker cannot lower it, and compares it before it
 * starts a file. By mark: a later version (or window) has a higher mark, and all slots of a version
 * have the same, so that all parts of a release may be installed in any order. By index: also the
 * order inside a version or window counts. Keep one number for each line if lines live on side by
 * side.
 */

/** @retval TMV_ROLLBACK  place->mark < lowest. */
enum tmv_result tmv_rollback_check_mark(const struct tmv_place *place, uint64_t lowest) TMV_CHECKED;

/** @retval TMV_ROLLBACK  place->index < lowest. */
enum tmv_result tmv_rollback_check_index(const struct tmv_place *place,
                                         uint64_t lowest) TMV_CHECKED;

/** The number to keep once the file has proved itself: the greater of both; it never falls. */
uint64_t tmv_rollback_raise_mark(const struct tmv_place *place, uint64_t lowest);
uint64_t tmv_rollback_raise_index(const struct tmv_place *place, uint64_t lowest);

#endif /* TMV_WITH_PLAN */

#ifdef __cplusplus
}
#endif

#endif
