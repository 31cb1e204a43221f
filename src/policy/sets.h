/*
 * sets: parameter sets by name: how tall, which hash, who approves. For policy alone; the numbers
 *       that a signature needs are in hbs/params.h, which policy may not see.
 *
 * Names are those of the IANA registries: "LMS_SHA256_M24_H20" and "LMOTS_SHA256_N24_W8" (RFC 8554,
 * RFC 9858), "XMSS-SHA2_16_256" and "XMSSMT-SHAKE256_40/4_192" (RFC 8391, SP 800-208).
 * Uses: base. Pure functions, any thread.
 */
#ifndef POLICY_SETS_H
#define POLICY_SETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

enum set_hash {
    SET_SHA2,     /* SHA-256, cut to n; SHA-512 for n = 64 */
    SET_SHAKE256, /* SHAKE256; in RFC 8391 names only for n = 64 */
    SET_SHAKE128  /* RFC 8391 names with n = 32; not approved */
};

struct set {
    enum set_hash hash;
    uint32_t n;      /* bytes of a hash value: 24, 32 or 64 */
    uint32_t height; /* of all layers together; 0 for a one-time scheme */
    uint32_t layers; /* 1 but for XMSS^MT */
    bool approved;   /* NIST SP 800-208 has it */
};

/** One LMS tree, a LM-OTS scheme, a single XMSS tree, an XMSS^MT hypertree. false: no such set. */
bool set_lms(struct set *set, const char *name) MUST_CHECK;
bool set_lmots(struct set *set, const char *name) MUST_CHECK;
bool set_xmss(struct set *set, const char *name) MUST_CHECK;
bool set_xmssmt(struct set *set, const char *name) MUST_CHECK;

/** Same hash function of the same length. */
bool set_same_hash(const struct set *a, const struct set *b) MUST_CHECK;

#endif
