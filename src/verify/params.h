/*
 * params: the numbers of the parameter sets, from their type numbers. Internal to verify.
 *
 * Sources: RFC 8554 §4.1 and §5.1, RFC 9858, RFC 8391 §5.3 and §5.4, NIST SP 800-208 §4 and §5.
 * Pure, any thread.
 */
#ifndef VERIFY_PARAMS_H
#define VERIFY_PARAMS_H

#include "verify/verify.h"

#define TMVI_ID_LEN 16 /* of an LMS key's I */

/** A tree and its one-time scheme, or a (hyper)tree of XMSS. */
struct tmvi_set {
    enum tmv_hash_kind hash;
    uint8_t n;      /* bytes of a hash value */
    uint8_t pad;    /* XMSS: bytes of the number that tells the keyed functions apart */
    uint8_t w;      /* Winternitz width in bits; XMSS: always 4 */
    uint8_t shift;  /* LM-OTS: left shift of the checksum (ls) */
    uint16_t p;     /* chains: p of LM-OTS, len of WOTS+ */
    uint8_t height; /* LMS: of the tree; XMSS^MT: of all layers together */
    uint8_t layers; /* XMSS^MT; else 1 */
};

/** False: no such pair, tree and one-time scheme differ in hash function, or left out. */
bool tmvi_set_lms(struct tmvi_set *set, uint32_t lms_type, uint32_t ots_type) TMV_CHECKED;

/** False: no such OID (of XMSS^MT if mt, else of XMSS), or left out. */
bool tmvi_set_xmss(struct tmvi_set *set, uint32_t oid, bool mt) TMV_CHECKED;

/** 4 + n + p * n + 4 + 4 + h * n (RFC 8554 §5.4). */
size_t tmvi_lms_sig_len(const struct tmvi_set *set);

#endif
