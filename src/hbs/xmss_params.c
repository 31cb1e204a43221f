#include "hbs/xmss_params.h"

#include <string.h>

/* toByte() in front of a hash is as long as n in RFC 8391 §5.1, and four bytes for n = 24 in
 * SP 800-208. Both registries number the sets of one hash function in the same order. */
#define SET(oid, name, h, d, multi, idx, hash, n, pad, nist, len)                                  \
    {                                                                                              \
        oid, name, hash, n, pad, h, d, multi, nist, idx, len                                       \
    }
#define XMSS(first, H, bits, hash, n, pad, nist, len)                                              \
    SET((first), "XMSS-" #H "_10_" #bits, 10, 1, false, 4, hash, n, pad, nist, len),               \
        SET((first) + 1, "XMSS-" #H "_16_" #bits, 16, 1, false, 4, hash, n, pad, nist, len),       \
        SET((first) + 2, "XMSS-" #H "_20_" #bits, 20, 1, false, 4, hash, n, pad, nist, len)
#define MT(oid, H, h, d, idx, bits, ...)                                                           \
    SET(oid, "XMSSMT-" #H "_" #h "/" #d "_" #bits, h, d, true, idx, __VA_ARGS__)
#define XMSSMT(first, H, bits, ...)                                                                \
    MT((first), H, 20, 2, 3, bits, __VA_ARGS__), MT((first) + 1, H, 20, 4, 3, bits, __VA_ARGS__),  \
        MT((first) + 2, H, 40, 2, 5, bits, __VA_ARGS__),                                           \
        MT((first) + 3, H, 40, 4, 5, bits, __VA_ARGS__),                                           \
        MT((first) + 4, H, 40, 8, 5, bits, __VA_ARGS__),                                           \
        MT((first) + 5, H, 60, 3, 8, bits, __VA_ARGS__),                                           \
        MT((first) + 6, H, 60, 6, 8, bits, __VA_ARGS__),                                           \
        MT((first) + 7, H, 60, 12, 8, bits, __VA_ARGS__)

/* RFC 8391 §8 for the first four of each, SP 800-208 §5 for the others. */
static const struct xmss_params table[] = {
    XMSS(0x01, SHA2, 256, HBS_SHA256, 32, 32, true, 67),
    XMSS(0x04, SHA2, 512, HBS_SHA512, 64, 64, false, 131),
    XMSS(0x07, SHAKE, 256, HBS_SHAKE128, 32, 32, false, 67),
    XMSS(0x0a, SHAKE, 512, HBS_SHAKE256, 64, 64, false, 131),
    XMSS(0x0d, SHA2, 192, HBS_SHA256, 24, 4, true, 51),
    XMSS(0x10, SHAKE256, 256, HBS_SHAKE256, 32, 32, true, 67),
    XMSS(0x13, SHAKE256, 192, HBS_SHAKE256, 24, 4, true, 51),
    XMSSMT(0x01, SHA2, 256, HBS_SHA256, 32, 32, true, 67),
    XMSSMT(0x09, SHA2, 512, HBS_SHA512, 64, 64, false, 131),
    XMSSMT(0x11, SHAKE, 256, HBS_SHAKE128, 32, 32, false, 67),
    XMSSMT(0x19, SHAKE, 512, HBS_SHAKE256, 64, 64, false, 131),
    XMSSMT(0x21, SHA2, 192, HBS_SHA256, 24, 4, true, 51),
    XMSSMT(0x29, SHAKE256, 256, HBS_SHAKE256, 32, 32, true, 67),
    XMSSMT(0x31, SHAKE256, 192, HBS_SHAKE256, 24, 4, true, 51),
};

#define COUNT (sizeof(table) / sizeof(table[0]))

const struct xmss_params *xmss_params_at(size_t i)
{
    return i < COUNT ? &table[i] : NULL;
}

const struct xmss_params *xmss_params_by_oid(bool multi, uint32_t oid)
{
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].multi == multi && table[i].oid == oid)
            return &table[i];
    return NULL;
}

const struct xmss_params *xmss_params_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

uint8_t xmss_layer_height(const struct xmss_params *params)
{
    return params->h / params->d;
}

size_t wots_sig_len(const struct xmss_params *params)
{
    return (size_t)params->len * params->n;
}

size_t xmss_sig_len(const struct xmss_params *params)
{
    return (size_t)params->idx_len + params->n +
           ((size_t)params->d * params->len + params->h) * params->n;
}

size_t xmss_pub_len(const struct xmss_params *params)
{
    return 4 + 2 * (size_t)params->n;
}
