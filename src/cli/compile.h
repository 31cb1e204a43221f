/*
 * compile: a plan as the bytes that libtidemark-verify reads, bound to one public key.
 *
 * The layout stands in docs/verify.md. This writes it and src/verify/plan.c reads it; they share no
 * constants, and what is written is read back before anybody gets it. Uses: base, policy, verify.
 * Pure functions, any thread.
 */
#ifndef CLI_COMPILE_H
#define CLI_COMPILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "cli/exit.h"
#include "policy/plan.h"
#include "verify/verify.h"

/** Head and numbers, every slot and table entry with its length, the digest. */
#define COMPILE_MAX                                                                                \
    (192 + PLAN_SLOTS_MAX * (NAME_LEN_MAX + 1) + PLAN_TABLE_MAX * (VERSION_LEN_MAX + 1) +          \
     SHA256_LEN)

/** Compile. out: COMPILE_MAX bytes. @return how many were written. */
size_t compile_plan(const struct plan *plan, const struct tmv_key *key, uint8_t *out);

/** A C header with public key and plan, and how much of it there can be. */
#define COMPILE_HEADER_MAX (2048 + 6 * (COMPILE_MAX + TMV_PUBLIC_MAX))

/** Write that header, NUL-terminated. out: COMPILE_HEADER_MAX characters. @return its length. */
size_t compile_header(const struct plan *plan, const struct tmv_key *key, const uint8_t *compiled,
                      size_t compiled_len, char *out);

/**
 * Read a public key of the plan's scheme: raw, DER or PEM, told apart by content.
 * @param[in]  data  len bytes, a NUL behind them.
 * @retval false  Not such a key; *why says so, static text.
 */
bool compile_key_read(struct tmv_key *key, const struct plan *plan, const char *data, size_t len,
                      const char **why) MUST_CHECK;

#define COMPILE_SET_SIZE 96

/** Names of the key's parameter sets, as plans have them: "LMS_… LMOTS_…", or one of XMSS. */
void compile_set_name(const struct tmv_key *key, char out[COMPILE_SET_SIZE]);

#endif
