/*
 * plan: the immutable document made with a key, parsed into a plain value, and the map
 *       version or time <-> window <-> index (DESIGN section 4).
 *
 * Uses: base, Jansson (in document.c, plan.c and assignment.c only; its types stay there). Pure: no
 * I/O, no clock, no state. A struct plan may be read from any number of threads; a copy of it
 * shares the table of a table plan with the original, so only one of the two goes to plan_free().
 * Keeps I4 (same input, same index; different input, different index). base_init() first.
 *
 * Every window has the same size, a power of two of indices, aligned: window w holds the indices
 * w * window_size … (w + 1) * window_size - 1, so it is one subtree. Positions at or above
 * window_usable in a window are padding (the waste) or the seal index, and never sign an artifact.
 */
#ifndef POLICY_PLAN_H
#define POLICY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/lease.h"
#include "base/rc.h"
#include "base/text.h"

#define PLAN_LEVELS_MAX 8 /* HSS levels (RFC 8554 §6) */
#define PLAN_LAYERS_MAX                                                                            \
    12                     /* XMSS^MT layers (RFC 8391 §5.4); no scheme has more trees on a path  \
                            */
#define PLAN_HEIGHT_MAX 60 /* RFC 8391's tallest key; keeps index arithmetic inside 63 bits */
#define PLAN_PARAM_NAME_MAX 47
#define PLAN_COMPONENTS_MAX 3
#define PLAN_SLOTS_MAX 64
#define PLAN_TABLE_MAX 4096
#define PLAN_TEXT_MAX (1024 * 1024)         /* bytes of a plan document */
#define PLAN_NUMBER_MAX (UINT64_C(1) << 53) /* largest number in a plan document */
#define PLAN_LEASE_DEFAULT 16               /* lease_size of a plan that names none */
#define PLAN_MAX_JUMP_DEFAULT 1             /* max_jump of a plan that names none */
#define PLAN_REMOTE_EXPIRES_MIN 10 /* seconds; a client must be able to read its artifact in it */
#define PLAN_REMOTE_EXPIRES_MAX 86400
#define PLAN_REMOTE_EXPIRES_DEFAULT 300
#define PLAN_REMOTE_OPEN_MAX 64
#define PLAN_REMOTE_OPEN_DEFAULT 4
#define VERSION_LEN_MAX 63
#define PLAN_WINDOW_S_MIN 600 /* facts/clock: shorter windows drown in their guard bands */

enum plan_kind { PLAN_TIME, PLAN_VERSION, PLAN_INTERVAL };
enum plan_profile { PLAN_CNSA2, PLAN_SP800_208, PLAN_RFC };
enum plan_scheme { PLAN_LMS, PLAN_HSS, PLAN_XMSS, PLAN_XMSSMT };
enum plan_message { PLAN_RAW, PLAN_SHA256, PLAN_SHA384, PLAN_SHA512 };
enum plan_format {
    PLAN_INTEGER,
    PLAN_MAJOR_MINOR,
    PLAN_MAJOR_MINOR_PATCH,
    PLAN_CALENDAR,
    PLAN_TABLE
};
enum plan_order { PLAN_STRICT, PLAN_PER_LINE };

/** Where a plan document is wrong: for people who write one. */
struct plan_fault {
    char path[128];    /* JSON path, e.g. "$.assignment.window" */
    char what[200];    /* what is wrong there */
    char example[160]; /* what would be right */
};

struct plan {
    char key[NAME_LEN_MAX + 1];
    enum plan_profile profile;
    enum plan_scheme scheme;
    uint32_t parameter_count;
    char parameters[2 * PLAN_LEVELS_MAX][PLAN_PARAM_NAME_MAX + 1]; /* as written in the plan */
    enum plan_message message;
    /* May callers hash their artifacts themselves, with a prefix that is given away before? */
    struct {
        bool allowed;
        uint32_t expires_s;       /* a reservation that is not used by then is burned */
        uint32_t open_per_caller; /* reservations of one caller at a time */
    } remote;
    enum plan_kind kind;
    uint8_t sha256[SHA256_LEN]; /* over the canonical form (RFC 8785) of the document as given */

    uint32_t height;      /* sum of tree heights, 5 … PLAN_HEIGHT_MAX: 2^height indices */
    uint32_t level_count; /* trees on a path: 1 for lms and xmss, levels or layers otherwise */
    uint32_t level_heights[PLAN_LAYERS_MAX]; /* top first */

    uint64_t window_size;   /* indices of a window, power of two */
    uint64_t window_usable; /* of these, how many may sign artifacts: positions 0 … usable - 1 */
    uint64_t
        window_count; /* windows that the plan can name; window_count * window_size <= 2^height */
    bool seal;        /* position window_size - 1 is kept for the seal */
    uint64_t lease_size; /* time, interval: indices of one lease, 1 … usable; 0 for versions */

    /* time */
    int64_t start_s;  /* first second of window 0 */
    int64_t window_s; /* seconds of a window */

    /* version */
    enum plan_format format;
    enum plan_order order;
    uint32_t component_count;            /* numbers in a version: 1 … 3 */
    uint64_t sizes[PLAN_COMPONENTS_MAX]; /* exclusive bound of each, counted from its base; [0] is
                                            given, or follows from the capacity */
    uint64_t bases[PLAN_COMPONENTS_MAX]; /* first value: calendar year and month; else 0 */
    uint32_t window_level;               /* components up to this one name the window */
    uint32_t line_level;                 /* per-line: components up to this one name the line;
                                            integer and table: a line is a window */
    uint64_t versions_per_window;        /* versions that share a window */
    uint64_t max_jump;                   /* windows that may be skipped without approval */
    uint32_t slot_count;                 /* 1 if the plan names none */
    char slots[PLAN_SLOTS_MAX][NAME_LEN_MAX + 1];
    bool slots_named;
    uint32_t table_count;               /* PLAN_TABLE: entries, in the order of the plan */
    char (*table)[VERSION_LEN_MAX + 1]; /* malloc'ed by plan_parse(), freed by plan_free() */
};

/**
 * Parse and validate a plan document.
 *
 * The document is described in etc/plan.schema.json; this function is stricter than a schema can
 * be (what fits the height, what the profile allows). What it does with numbers:
 * - window_size is signatures_per_window (time, interval) or versions x slots, plus one for the
 * seal (version), padded up to a power of two. A sealed time or interval window keeps the last of
 * its signatures_per_window for the seal, so usable is one less.
 * - window_count is what the height holds, or fewer: `windows`, the size of the first component, or
 *   (time) the year 9999, whichever comes first.
 * - lease_size is cut to window_usable.
 * - remote_hashing is for keys that sign the artifact itself, and not for profile sp800-208, which
 *   makes the whole signature where the key is.
 *
 * @param[out] plan   Filled on RC_OK, all zero otherwise. plan_free() it.
 * @param[in]  text   len bytes of UTF-8 JSON, at most PLAN_TEXT_MAX.
 * @param[out] fault  Filled on RC_REFUSED_PLAN, all zero otherwise. May be NULL. Printable ASCII.
 * @retval RC_REFUSED_PLAN  Not JSON, duplicate or unknown member, wrong type, value out of range,
 *                          sizes that do not fit the height, a set that the profile forbids, …
 *                          err has the same in one line.
 * @retval RC_RETRY_SYSTEM  No memory. (Where memory runs out inside the JSON library, that may call
 *                          it a syntax error instead; no plan comes out of it either way.)
 */
enum rc plan_parse(struct plan *plan, const char *text, size_t len, struct plan_fault *fault,
                   struct err *err) MUST_CHECK;

/** Free the table and zero the struct; fine on a zeroed struct. For CLEANUP(). */
void plan_free(struct plan *plan);

/**
 * The canonical form (RFC 8785) of any plan document that plan_parse() takes: what is hashed and
 * stored. Defaults are not filled in, so that outsiders get the same bytes from the same document.
 * @param[out] canonical  malloc'ed, NUL-terminated; the caller frees it. NULL unless RC_OK.
 * @param[out] canonical_len  Bytes without the NUL; 0 unless RC_OK.
 * @retval RC_REFUSED_PLAN, RC_RETRY_SYSTEM  As plan_parse().
 */
enum rc plan_canonical(const char *text, size_t len, char **canonical, size_t *canonical_len,
                       struct err *err) MUST_CHECK;

/** Names as in the document. Static. */
const char *plan_kind_name(enum plan_kind kind);
const char *plan_scheme_name(enum plan_scheme scheme);
const char *plan_profile_name(enum plan_profile profile);
const char *plan_message_name(enum plan_message message);
const char *plan_format_name(enum plan_format format);
const char *plan_order_name(enum plan_order order);

/** Name of a component of a version, e.g. "minor"; level < component_count (MUST). Static. */
const char *plan_level_name(const struct plan *plan, uint32_t level);

/** First index of a window; window < window_count (MUST). */
uint64_t plan_window_first(const struct plan *plan, uint64_t window);

/** Window of an index. @retval RC_REFUSED_RANGE index is not in any window of the plan. */
enum rc plan_window_of_index(const struct plan *plan, uint64_t index, uint64_t *window,
                             struct err *err) MUST_CHECK;

/** What the plan keeps an index for. */
enum plan_use {
    PLAN_USE_ARTIFACT, /* may sign an artifact */
    PLAN_USE_SEAL,     /* kept for the window's seal */
    PLAN_USE_PADDING,  /* fills the window up to a power of two; never signs */
    PLAN_USE_NONE      /* behind the last window, or behind the key; never signs */
};
enum plan_use plan_use_of_index(const struct plan *plan, uint64_t index);

/** Index of a window's seal, its last; only if plan->seal, and window < window_count (MUST). */
uint64_t plan_seal_index(const struct plan *plan, uint64_t window);

/**
 * Time plans: the window of a second (UTC as POSIX counts it).
 * @retval RC_REFUSED_OUTSIDE_PLAN  Before the start or behind the last window.
 */
enum rc plan_window_at(const struct plan *plan, int64_t seconds, uint64_t *window,
                       struct err *err) MUST_CHECK;

/** Time plans: [start, end) of a window in seconds; window < window_count (MUST). No window ends
 * behind RFC3339_S_MAX, so every one can be printed. */
void plan_window_times(const struct plan *plan, uint64_t window, int64_t *start, int64_t *end);

/**
 * Time and interval plans: what lease number k (0-based) of a window covers.
 * Position depends on w and k only (DESIGN section 6 rule 4): first(w) + k * lease_size. No lease
 * holds the seal index or padding. window < window_count (MUST).
 * @param[out] first, count  First index and how many, 1 … lease_size; the last lease may be
 * shorter.
 * @retval RC_RETRY_WINDOW_FULL  k is beyond the last lease of the window. first = count = 0.
 */
enum rc plan_lease(const struct plan *plan, uint64_t window, uint64_t k, uint64_t *first,
                   uint64_t *count, struct err *err) MUST_CHECK;

/** Time and interval plans: how many leases a window holds; plan_lease() takes k below it. */
uint64_t plan_leases_per_window(const struct plan *plan);

/*
 * Versions. How each format is written, and what its levels are called:
 *
 *   format             levels               a version     window: default
 *   integer            version              4711          versions_per_window of them
 *   major.minor        major minor          4.2           major
 *   major.minor.patch  major minor patch    4.2.1         minor
 *   calendar           year month number    2026.04.1     month
 *   table              entry                as listed     versions_per_window of them
 *
 * There is one way to write a version: no leading zeros, no 'v', no blanks; the month has two
 * digits. All versions of a plan stand in one order, oldest first, and the rank of a version is its
 * place there, from 0; so a rank names the version, in every line.
 */

/** Where a version plan puts one (version, slot). */
struct plan_place {
    uint64_t window;
    uint64_t index;
    uint64_t line; /* number of the line, 0 for strict plans: marks are kept for each line */
    uint64_t rank; /* place of the version among all of the plan: a later version ranks higher */
};

/**
 * Version plans (MUST): version and slot -> place.
 * @param[in] slot  Name of the slot; NULL or "" is allowed where the plan names no slots or one.
 * @retval RC_REFUSED_INPUT         Not a version of the plan's format; the text shows one that is.
 *                                  Or a slot is needed and none was named.
 * @retval RC_REFUSED_OUTSIDE_PLAN  A number beyond its size, an unknown slot, not in the table.
 */
enum rc plan_place_version(const struct plan *plan, const char *version, const char *slot,
                           struct plan_place *place, struct err *err) MUST_CHECK;

/**
 * Version plans (MUST): index -> version and slot, the inverse of plan_place_version().
 * @param[out] version  VERSION_LEN_MAX + 1 characters, in canonical form; "" unless RC_OK.
 * @param[out] slot     NAME_LEN_MAX + 1 characters, "" if the plan names none.
 * @retval RC_REFUSED_RANGE  Padding, the seal, or outside the plan.
 */
enum rc plan_version_of_index(const struct plan *plan, uint64_t index, char *version, char *slot,
                              struct err *err) MUST_CHECK;

/** How many versions a version plan can name; ranks are below it. */
uint64_t plan_version_count(const struct plan *plan);

/** A human label of a window: version prefix ("4.2"), range of versions ("10..19"), start time, or
 * number. out: 64 characters; a long label is cut. window < window_count (MUST). */
void plan_window_label(const struct plan *plan, uint64_t window, char out[64]);

/** High-water marks that decide about order; -1 means "nothing yet". */
struct plan_marks {
    int64_t rank;   /* highest version rank signed or intended in the place's line */
    int64_t window; /* highest window used in the place's line */
};

/**
 * How many windows the step from window `from` to window `to` leaves out, for max_jump. Counted is
 * what no version was made for although the numbering went past it; what is left of a line that
 * ended is not. With 32 minors a window each: 4.2 -> 4.3 and 4.2 -> 5.0 leave out nothing,
 * 4.2 -> 4.5 two (4.3 and 4.4), 4.2 -> 5.1 one (5.0), 4.2 -> 6.0 thirty-two (all of major 5).
 * Integer and table plans: the windows between the two. to <= from: 0. Both < window_count (MUST).
 */
uint64_t plan_windows_skipped(const struct plan *plan, uint64_t from, uint64_t to);

/**
 * Version plans (MUST): may this place be used after these marks?
 * Strict plans refuse a rank below the mark; per-line plans do so inside each line. Equal rank is
 * fine (another slot of the same version). A window below the mark's is refused too. A window is
 * refused if plan_windows_skipped() from the mark's to it is more than max_jump; `approved_window`
 * (or -1) lifts that for one window. Where the line has no mark yet, every version may be its
 * first: products move to a plan in mid-life, and there is nothing to measure a jump from.
 * @retval RC_REFUSED_BELOW_FLOOR  A later version has been signed. The text names the next free
 * one.
 * @retval RC_REFUSED_JUMP         Skips too many windows without approval.
 */
enum rc plan_order_check(const struct plan *plan, const struct plan_place *place,
                         const struct plan_marks *marks, int64_t approved_window,
                         struct err *err) MUST_CHECK;

/**
 * Version plans (MUST): the smallest version above `version` in its line, e.g. "4.2.2" after
 * "4.2.1"; in a strict plan "4.3.0" after the last patch of 4.2.
 * @param[out] next  VERSION_LEN_MAX + 1 characters; "" unless RC_OK.
 * @retval RC_REFUSED_OUTSIDE_PLAN  There is none, or `version` itself lies outside.
 * @retval RC_REFUSED_INPUT         `version` is not one of the plan's format.
 */
enum rc plan_next_version(const struct plan *plan, const char *version, char *next,
                          struct err *err) MUST_CHECK;

#endif
