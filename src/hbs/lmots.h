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

/**
 * Stations: the values of all chains of one one-time key at every so many steps, from their starts
 * to their ends, computed before it is known what the key signs. With them a signature is a few
 * steps behind one station, and its verification a few steps up to the next one, instead of all
 * the steps of its chains. Secret, as the seed is: they belong into locked memory, and are wiped.
 *
 * Only for sets whose chains are long, which is W8: elsewhere lmots_stations_len() is 0.
 * @return bytes of the stations of one key.
 */
size_t lmots_stations_len(const struct lmots_params *ots);

/** Keys that are prepared in one call: so many that lanes are full, and no call takes long. */
#define LMOTS_PREPARE_MAX 4

/** One key to be prepared. */
struct lmots_preparing {
    uint32_t q;        /* leaf */
    uint8_t *stations; /* out: lmots_stations_len() bytes */
};

/**
 * Compute the stations of up to LMOTS_PREPARE_MAX (MUST) keys of a set that has them (MUST).
 * @param[in] seed  SEED, n bytes. Secret.
 * Source: RFC 8554 §4.3, Appendix A.
 */
void lmots_prepare(const struct lmots_params *ots, const uint8_t *id, const uint8_t *seed,
                   const struct lmots_preparing *jobs, size_t count);

/** One signature to be made. */
struct lmots_signing {
    uint32_t q;              /* leaf */
    const uint8_t *seed;     /* SEED, n bytes. Secret */
    const uint8_t *stations; /* of this leaf, by lmots_prepare(); NULL: from the seed */
    const uint8_t *c;        /* randomizer that went into value, n bytes */
    const uint8_t *value;    /* Q, n bytes */
    uint8_t *sig;            /* out: lmots_sig_len() bytes: u32 type, C, y[0] … y[p-1] */
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
    const uint8_t *stations; /* of this leaf; NULL: the chains run to their ends */
    const uint8_t *value;    /* Q, n bytes */
    const uint8_t *sig;      /* lmots_sig_len() bytes; its type was checked by the caller */
    uint8_t *key;            /* out: n bytes */
};

/**
 * The public keys that signatures lead to: Kc of RFC 8554 §4.6, algorithm 4b. Any number; lanes are
 * full from about 16 on.
 *
 * With stations every chain runs from the signature to the next station only. If all have met
 * theirs, the ends of the key are those that the stations led to when they were computed; if one
 * has not, all of them run to their ends as if there were no stations. So the answer is the same
 * with and without, but for stations that were damaged behind lmots_prepare(): they may turn the
 * right key into a wrong one, never a wrong one into the right one.
 */
void lmots_candidates(const struct lmots_params *ots, const uint8_t *id,
                      const struct lmots_check *jobs, size_t count);

#endif
