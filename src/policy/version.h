/*
 * version: formats of versions, and the one order in which all versions of a plan stand.
 *
 * Internal to policy; plan.h has what others may call. Pure functions, any thread.
 */
#ifndef POLICY_VERSION_H
#define POLICY_VERSION_H

#include <stdint.h>

#include "base/rc.h"
#include "policy/plan.h"

/** Names of a format's levels, NULL-terminated, most significant first. Static. */
const char *const *version_levels(enum plan_format format);

/** True for formats whose windows are runs of versions_per_window (integer, table), false for those
 * whose windows are named by leading components. */
bool version_flat(enum plan_format format);

/**
 * Version -> rank. Return codes as plan_place_version().
 * @param[out] rank  0 … plan_version_count() - 1.
 */
enum rc version_parse(const struct plan *plan, const char *version, uint64_t *rank,
                      struct err *err) MUST_CHECK;

/** Rank -> version; rank < plan_version_count() (MUST). out: VERSION_LEN_MAX + 1 characters. */
void version_print(const struct plan *plan, uint64_t rank, char *out);

/** First and last + 1 rank of a window; window < window_count (MUST). */
void version_ranks_of_window(const struct plan *plan, uint64_t window, uint64_t *from,
                             uint64_t *to);

/** Label of a window of a version plan. out: 64 characters. */
void version_window_label(const struct plan *plan, uint64_t window, char out[64]);

#endif
