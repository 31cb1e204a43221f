/*
 * small_key: a key of 32 indices that signs in a test in no time: LMS_SHA256_M32_H5 with W8, HSS
 * with one level, from a seed that everybody knows. And plans for it.
 */
#ifndef TESTS_SMALL_KEY_H
#define TESTS_SMALL_KEY_H

#include "hbs/hss.h"

/* Windows of 8: majors 0 and 1, minors 0 and 1, patches 0 and 1 of three slots, two of padding.
 * So 1.0.1 b is window 2, index 16 + 3 + 1 = 20; index 22 is padding. */
#define SMALL_VERSION_PLAN                                                                         \
    "{\"tidemark_plan\":1,\"key\":\"router-fw\",\"profile\":\"sp800-208\",\"scheme\":\"lms\","     \
    "\"parameters\":[\"LMS_SHA256_M32_H5\",\"LMOTS_SHA256_N32_W8\"],\"message\":\"%s\","           \
    "\"assignment\":{\"kind\":\"version\",\"format\":\"major.minor.patch\","                       \
    "\"sizes\":{\"minor\":2,\"patch\":2},\"slots\":[\"a\",\"b\",\"c\"],\"order\":\"per-line\"}}"

/* Four weeks of 8 indices, the last of each for the seal. */
#define SMALL_TIME_PLAN                                                                            \
    "{\"tidemark_plan\":1,\"key\":\"nightly\",\"profile\":\"sp800-208\",\"scheme\":\"lms\","       \
    "\"parameters\":[\"LMS_SHA256_M32_H5\",\"LMOTS_SHA256_N32_W8\"],\"message\":\"raw\","          \
    "\"assignment\":{\"kind\":\"time\",\"start\":\"2026-12-06T00:00:00Z\",\"window\":\"P7D\","     \
    "\"signatures_per_window\":8}}"

struct small_key {
    struct hss_private secret;
    struct hss_public public;
    uint8_t raw[HSS_PUB_LEN_MAX];
    size_t raw_len;
};

/** number: another number is another key. */
void small_key_make(struct small_key *key, uint8_t number);

/** sig: HSS_SIG_LEN_MAX bytes. @return its length. */
size_t small_key_sign(const struct small_key *key, uint64_t index, const void *message, size_t len,
                      uint8_t *sig);

#endif
