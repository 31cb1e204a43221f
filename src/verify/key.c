/*
 * Public keys: raw and as SubjectPublicKeyInfo.
 */
#include "verify/bytes.h"
#include "verify/params.h"

static enum tmv_result fail(struct tmv_key *key, enum tmv_result result)
{
    tmvi_zero(key, sizeof(*key));
    return result;
}

static void keep(struct tmv_key *key, const struct tmvi_set *set)
{
    key->hash = set->hash;
    key->n = set->n;
    key->w = set->w;
    key->height = set->height;
}

#if TMV_WITH_LMS
/* data: an HSS public key without its first four bytes, which say how many levels there are. */
static enum tmv_result read_lms(struct tmv_key *key, uint32_t levels, const uint8_t *data,
                                size_t len)
{
    struct tmvi_set set;
    if (levels < 1 || levels > 8 || len < 8)
        return TMV_MALFORMED_KEY;
    key->type = tmvi_get32(data);
    key->ots_type = tmvi_get32(data + 4);
    if ((levels > 1 && !TMV_WITH_HSS) || !tmvi_set_lms(&set, key->type, key->ots_type))
        return TMV_UNSUPPORTED;
    if (len != 8 + TMVI_ID_LEN + (size_t)set.n)
        return TMV_MALFORMED_KEY;
    keep(key, &set);
    key->levels = (uint8_t)levels;
    key->raw_len = (uint8_t)(4 + len);
    tmvi_put(key->raw, levels, 4);
    tmvi_copy(key->raw + 4, data, len);
    return TMV_OK;
}
#endif

#if TMV_WITH_XMSS || TMV_WITH_XMSSMT
static enum tmv_result read_xmss(struct tmv_key *key, const uint8_t *data, size_t len)
{
    struct tmvi_set set;
    if (len < 4)
        return TMV_MALFORMED_KEY;
    key->type = tmvi_get32(data);
    if (!tmvi_set_xmss(&set, key->type, key->scheme == TMV_XMSSMT))
        return TMV_UNSUPPORTED;
    if (len != 4 + 2 * (size_t)set.n)
        return TMV_MALFORMED_KEY;
    keep(key, &set);
    key->levels = set.layers;
    key->raw_len = (uint8_t)len;
    tmvi_copy(key->raw, data, len);
    return TMV_OK;
}
#endif

static enum tmv_result read_raw(struct tmv_key *key, const uint8_t *data, size_t len)
{
    switch (key->scheme) {
#if TMV_WITH_LMS
    case TMV_LMS:
        return read_lms(key, 1, data, len);
    case TMV_HSS:
        return len < 4 ? TMV_MALFORMED_KEY : read_lms(key, tmvi_get32(data), data + 4, len - 4);
#endif
#if TMV_WITH_XMSS
    case TMV_XMSS:
        return read_xmss(key, data, len);
#endif
#if TMV_WITH_XMSSMT
    case TMV_XMSSMT:
        return read_xmss(key, data, len);
#endif
    default:
        return TMV_UNSUPPORTED;
    }
}

enum tmv_result tmv_key_read(struct tmv_key *key, enum tmv_scheme scheme, const uint8_t *data,
                             size_t len)
{
    tmvi_zero(key, sizeof(*key));
    key->scheme = scheme;
    enum tmv_result result = read_raw(key, data, len);
    return result == TMV_OK ? TMV_OK : fail(key, result);
}

#if TMV_WITH_SPKI

/* RFC 9802 §3: AlgorithmIdentifiers whose "parameters field MUST be absent", whole:
 * id-alg-hss-lms-hashsig 1.2.840.113549.1.9.16.3.17, id-alg-xmss-hashsig 1.3.6.1.5.5.7.6.34 and
 * id-alg-xmssmt-hashsig 1.3.6.1.5.5.7.6.35. */
static const uint8_t algorithm_hss[] = {0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x11};
static const uint8_t algorithm_xmss[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                         0x01, 0x05, 0x05, 0x07, 0x06, 0x22};
static const uint8_t algorithm_xmssmt[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                           0x01, 0x05, 0x05, 0x07, 0x06, 0x23};

/* What is left of the DER. */
struct rest {
    const uint8_t *data;
    size_t len;
};

/* Take the head of an element that has to fill the rest. DER allows one way to write a length, and
 * no key needs more than a byte behind the first. */
static bool take_head(struct rest *rest, uint8_t tag)
{
    if (rest->len < 2 || rest->data[0] != tag)
        return false;
    size_t head = rest->data[1] == 0x81 ? 3 : 2;
    if (rest->len < head || (head == 2 && rest->data[1] >= 0x80) ||
        (head == 3 && rest->data[2] < 0x80) || rest->data[head - 1] != rest->len - head)
        return false;
    rest->data += head;
    rest->len -= head;
    return true;
}

static bool take_bytes(struct rest *rest, const uint8_t *bytes, size_t len)
{
    if (rest->len < len || !tmvi_equal(rest->data, bytes, len))
        return false;
    rest->data += len;
    rest->len -= len;
    return true;
}

enum tmv_result tmv_key_read_spki(struct tmv_key *key, const uint8_t *der, size_t len)
{
    static const uint8_t no_unused_bits = 0;
    enum tmv_scheme scheme = TMV_HSS;
    struct rest rest = {der, len};
    if (!take_head(&rest, 0x30))
        return fail(key, TMV_MALFORMED_KEY);
    if (take_bytes(&rest, algorithm_xmss, sizeof(algorithm_xmss)))
        scheme = TMV_XMSS;
    else if (take_bytes(&rest, algorithm_xmssmt, sizeof(algorithm_xmssmt)))
        scheme = TMV_XMSSMT;
    else if (!take_bytes(&rest, algorithm_hss, sizeof(algorithm_hss)))
        return fail(key, TMV_MALFORMED_KEY);
    if (!take_head(&rest, 0x03) || !take_bytes(&rest, &no_unused_bits, 1))
        return fail(key, TMV_MALFORMED_KEY);
    return tmv_key_read(key, scheme, rest.data, rest.len);
}

#endif
