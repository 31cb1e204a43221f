/*
 * params: names, numbers and sizes of the LMS and LM-OTS parameter sets.
 *
 * Sources: RFC 8554 §4.1 and §5.1 (SHA-256/256), RFC 9858 and NIST SP 800-208 §4 (SHA-256/192,
 * SHAKE256/256, SHAKE256/192). Pure tables, any thread.
 */
#ifndef HBS_PARAMS_H
#define HBS_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define HBS_N_MAX 32
#define LMS_I_LEN 16
#define LMS_H_MAX 25
#define LMOTS_P_MAX 265
#define HSS_LEVELS_MAX 8

/** Signatures that are made or checked in one call at most. */
#define HBS_BATCH_MAX 256

/** The last two are for some sets of RFC 8391 only, one hash at a time. */
enum hbs_hash_kind { HBS_SHA256, HBS_SHAKE256, HBS_SHA512, HBS_SHAKE128 };

struct lmots_params {
    uint32_t type;    /* IANA "LM-OTS Signatures" number */
    const char *name; /* e.g. "LMOTS_SHA256_N32_W8" */
    enum hbs_hash_kind hash;
    uint8_t n;  /* bytes of a hash value */
    uint8_t w;  /* Winternitz width in bits: 1, 2, 4, 8 */
    uint16_t p; /* number of chains */
    uint8_t ls; /* left shift of the checksum */
};

struct lms_params {
    uint32_t type;    /* IANA "Leighton-Micali Signatures" number */
    const char *name; /* e.g. "LMS_SHA256_M32_H10" */
    enum hbs_hash_kind hash;
    uint8_t m; /* bytes of a node */
    uint8_t h; /* height, 5 … 25 */
};

/** One level of a key: a tree and its one-time scheme, of the same hash and length. */
struct lms_set {
    const struct lms_params *lms;
    const struct lmots_params *ots;
};

/** By number or name; NULL if unknown. The result is static. */
const struct lmots_params *lmots_params_by_type(uint32_t type);
const struct lmots_params *lmots_params_by_name(const char *name);
const struct lms_params *lms_params_by_type(uint32_t type);
const struct lms_params *lms_params_by_name(const char *name);

/** The i-th set, 0-based, NULL behind the last: to list them. */
const struct lmots_params *lmots_params_at(size_t i);
const struct lms_params *lms_params_at(size_t i);

/** True if tree and one-time scheme share hash and length (SP 800-208 §4: no mixing). */
bool lms_set_valid(const struct lms_set *set) MUST_CHECK;

/** 4 + n + p·n (RFC 8554 §4.5). */
size_t lmots_sig_len(const struct lmots_params *ots);
/** 4 + lmots_sig_len + 4 + h·m (RFC 8554 §5.4). */
size_t lms_sig_len(const struct lms_set *set);
/** 4 + 4 + 16 + m (RFC 8554 §5.3). */
size_t lms_pub_len(const struct lms_set *set);

#define LMS_PUB_LEN_MAX (4 + 4 + LMS_I_LEN + HBS_N_MAX)
#define LMS_SIG_LEN_MAX (4 + (4 + HBS_N_MAX + LMOTS_P_MAX * HBS_N_MAX) + 4 + LMS_H_MAX * HBS_N_MAX)
#define HSS_PUB_LEN_MAX (4 + LMS_PUB_LEN_MAX)
#define HSS_SIG_LEN_MAX                                                                            \
    (4 + HSS_LEVELS_MAX * LMS_SIG_LEN_MAX + (HSS_LEVELS_MAX - 1) * LMS_PUB_LEN_MAX)

#endif
