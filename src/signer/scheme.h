/*
 * scheme: a plan's scheme and parameter sets as hbs takes them. The only place that knows both; the
 * rest of the signer calls hbs/key.h and hbs/branch.h and never asks which scheme it has.
 *
 * Uses: hbs, policy. Pure; any thread.
 */
#ifndef SIGNER_SCHEME_H
#define SIGNER_SCHEME_H

#include "hbs/key.h"
#include "policy/plan.h"

/**
 * A new key under a plan.
 * @param[in] id  Random bytes that become I or SEED.
 * @retval RC_REFUSED_UNSUPPORTED  A set that cannot be signed with.
 * @retval RC_REFUSED_PLAN         Its windows do not fit the trees of the scheme.
 */
enum rc scheme_new(struct hbs_key *key, const struct plan *plan, const uint8_t id[HBS_KEY_ID_LEN],
                   struct err *err) MUST_CHECK;

/**
 * The key of a plan that has this public key.
 * @retval RC_REFUSED_INPUT  The public key is none, or is not of the plan's parameters. Otherwise
 * as scheme_new().
 */
enum rc scheme_read(struct hbs_key *key, const struct plan *plan, const uint8_t *raw,
                    size_t raw_len, struct err *err) MUST_CHECK;

/** Bytes of a randomizer and of the value that a one-time key signs. */
size_t scheme_value_len(const struct hbs_key *key);

/** Public keys of XMSS and XMSS^MT number their sets apart: which one is it? */
enum hbs_scheme scheme_of(const struct plan *plan);

#endif
