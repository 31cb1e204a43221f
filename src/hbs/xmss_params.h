/*
 * xmss_params: names, numbers and sizes of the XMSS and XMSS^MT parameter sets.
 *
 * Sources: RFC 8391 §5.3 and §5.4 and its IANA registries (SHA-256, SHA-512, SHAKE128, SHAKE256
 * with n = 64), NIST SP 800-208 §5 (SHA-256/192, SHAKE256/256, SHAKE256/192). Names are easily
 * mistaken: XMSS-SHAKE_10_256 is SHAKE128 with n = 32, XMSS-SHAKE256_10_256 is SHAKE256 with n
 * = 32. Pure tables, any thread.
 */
#ifndef HBS_XMSS_PARAMS_H
#define HBS_XMSS_PARAMS_H

#include "hbs/params.h"

#define XMSS_N_MAX 64
#define XMSS_H_MAX 60     /* of all layers together */
#define XMSS_LAYER_MAX 20 /* of one layer */
#define XMSS_D_MAX 12
#define WOTS_LEN_MAX 131 /* n = 64 */

struct xmss_params {
    uint32_t oid;     /* XMSS and XMSS^MT count separately */
    const char *name; /* e.g. "XMSS-SHA2_10_256", "XMSSMT-SHAKE256_40/4_192" */
    enum hbs_hash_kind hash;
    uint8_t n;       /* bytes of a hash value: 24, 32, 64 */
    uint8_t pad;     /* bytes of the toByte(…) in front of each kind of hash */
    uint8_t h;       /* height of all layers together: 10 … 60 */
    uint8_t d;       /* layers; 1 for XMSS */
    bool multi;      /* XMSS^MT: signatures begin with ceil(h / 8) bytes of index, not with 4 */
    bool sp800_208;  /* one of NIST's, which may sign; the others are for verification */
    uint8_t idx_len; /* bytes of the index in a signature */
    uint8_t len;     /* number of WOTS+ chains, w = 16: 51, 67, 131 */
};

/** By number or name, in one of the two registries; NULL if unknown. The result is static. */
const struct xmss_params *xmss_params_by_oid(bool multi, uint32_t oid);
const struct xmss_params *xmss_params_by_name(const char *name);

/** The i-th set, 0-based, NULL behind the last: to list them, XMSS first. */
const struct xmss_params *xmss_params_at(size_t i);

/** Height of one layer, h / d. */
uint8_t xmss_layer_height(const struct xmss_params *params);
/** len · n, a WOTS+ signature. */
size_t wots_sig_len(const struct xmss_params *params);
/** idx_len + n + d · (len + h / d) · n (RFC 8391 §4.1.8, §4.2.3). */
size_t xmss_sig_len(const struct xmss_params *params);
/** 4 + 2 · n: OID, root, SEED (RFC 8391 §4.1.7). */
size_t xmss_pub_len(const struct xmss_params *params);

#define XMSS_PUB_LEN_MAX (4 + 2 * XMSS_N_MAX)
#define XMSS_SIG_LEN_MAX                                                                           \
    (8 + XMSS_N_MAX + (XMSS_D_MAX * WOTS_LEN_MAX + XMSS_H_MAX) * (size_t)XMSS_N_MAX)

#endif
