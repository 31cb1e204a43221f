/*
 * lmots: the one-time scheme LM-OTS (RFC 8554 §4), inside hbs only.
 *
 * Uses: base, hash, params. Pure; any thread. Called by lms.c alone, since a one-time key that
 * signs without a lease would break I1. Leaf numbers, messages and signatures are public; chain
 * values below a signature's are secret, are never branched on, and are wiped.
 */
#ifndef HBS_LMOTS_H
#define HBS_LMOTS_H

#include "hbs/hash.h"

#define D_PBLK 0x8080
#define D_MESG 0x8181
#define D_LEAF 0x8282
#define D_INTR 0x8383

/**
 * The base-2^w digits of Q || Cksm(Q): chain i of a signature stands at step digits[i].
 * @param[in]  value   Q, n bytes.
 * @param[out] digits  p entries below 2^w.
 * Source: RFC 8554 §3.1.3 (coef), §4.4 (checksum).
 */
void lmots_digits(const struct lmots_params *ots, const uint8_t *value,
                  uint16_t digits[LMOTS_P_MAX]);

/**
 * Public keys K of the leaves first … first + count - 1.
 * @param[in]  id     I, 16 bytes.
 * @param[in]  count  Any. Lanes are full if it is a multiple of 32.
 * @param[in]  seed   SEED, n bytes. Secret.
 * @param[out] keys   count · n bytes.
 * Source: RFC 8554 §4.3, Appendix A.
 */
void lmots_public_keys(const struct lmots_params *ots, const uint8_t *id, uint32_t first,
                       size_t count, const uint8_t *seed, uint8_t *keys);

/** One signature to be made. */
struct lmots_signing {
    uint32_t q;           /* leaf */
    const uint8_t *seed;  /* SEED, n bytes. Secret */
    const uint8_t *c;     /* randomizer that went into value, n bytes */
    const uint8_t *value; /* Q, n bytes */
    uint8_t *sig;         /* out: lmots_sig_len() bytes: u32 type, C, y[0] … y[p-1] */
};

/**
 * Sign message values with the one-time keys of count leaves, any number. Lanes are full from about
 * 16 on.
 * Source: RFC 8554 §4.5.
 */
void lmots_sign(const struct lmots_params *ots, const uint8_t *id, const struct lmots_signing *jobs,
                size_t count);

/** One signature to be checked. */
struct lmots_check {
    uint32_t q;
    const uint8_t *value; /* Q, n bytes */
    const uint8_t *sig;   /* lmots_sig_len() bytes; its type was checked by the caller */
    uint8_t *key;         /* out: n bytes */
};

/**
 * The public keys that signatures lead to: Kc of RFC 8554 §4.6, algorithm 4b. Any number; lanes are
 * full from about 16 on.
 */
void lmots_candidates(const struct lmots_params *ots, const uint8_t *id,
                      const struct lmots_check *jobs, size_t count);

#endif
