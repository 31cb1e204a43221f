/*
 * hss: signing with trees on 1 … 8 levels at a given index, from one seed (the derivation
 * "hash-sigs-method2" of public test vectors) or from a seed for each level.
 *
 * Uses: base, lms, verify. Pure. This is the in-memory engine for small trees: vectors, self-test
 * and simulation. The service signs single trees through lms.h and nodes.h.
 */
#ifndef HBS_HSS_H
#define HBS_HSS_H

#include "hbs/verify.h"

struct hss_level_secret {
    uint8_t seed[HBS_N_MAX];
    uint8_t i[LMS_I_LEN];
};

/** A private key: sets of all levels, and either one top secret or one for each level. */
struct hss_private {
    uint32_t levels;
    struct lms_set set[HSS_LEVELS_MAX];
    struct hss_level_secret secret[HSS_LEVELS_MAX]; /* [0] only, unless given_levels */
    /* false: the child below leaf q has SEED' = H(I || u32(q) || 0xfffe || 0xff || SEED), and
     * I' alike with 0xffff; all sets then share one hash length. */
    bool given_levels;
};
void hss_private_wipe(struct hss_private *key);

/**
 * I' and SEED' of the tree below leaf q of another one, as above.
 * @param[in]  secret  Of the parent; SEED' is as long as its hash, which the child must share.
 * @param[out] child   sk_prf is zero. Secret: to be wiped by the caller.
 */
void hss_child(const struct lms_tree *parent, uint32_t q, const struct window_secret *secret,
               uint8_t i[LMS_I_LEN], struct window_secret *child);

/** The public key: builds the top tree. @retval RC_RETRY_SYSTEM no memory. */
enum rc hss_keygen(const struct hss_private *key, struct hss_public *pub,
                   struct err *err) MUST_CHECK;

/**
 * Sign at a given index: the q of all levels, top first, as one number of sum(h) bits.
 * Spends the lease like hbs_sign(). Builds one tree a level.
 * @param[in]  randomizer  Injected C of the last level (n bytes), or NULL to derive it.
 * @param[out] sig         HSS_SIG_LEN_MAX bytes of room; *sig_len receives the length. Verified
 *                         before return. On failure all HSS_SIG_LEN_MAX bytes are zero.
 * @retval RC_REFUSED_EXHAUSTED  index is past the last one. The lease is spent all the same.
 * @retval RC_BURNED_VERIFY      The result did not verify; sig is zero.
 * @retval RC_RETRY_SYSTEM       No memory; the lease is spent all the same.
 */
enum rc hss_sign(struct ots_lease *lease, const struct hss_private *key, const void *message,
                 size_t message_len, const uint8_t *randomizer, uint8_t *sig, size_t *sig_len,
                 struct err *err) MUST_CHECK;

#endif
