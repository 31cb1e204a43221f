#include "hbs/spki.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Everything but the key itself has one possible form, so reading is: cut the key out, print it,
 * and compare. A second encoding of the same key is refused by construction. */

#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----\n"
#define PEM_END "-----END PUBLIC KEY-----\n"
#define PEM_COLUMNS 64

/* AlgorithmIdentifiers of RFC 9802 §3: "the parameters field MUST be absent". */
static const uint8_t hss_algorithm[] = {0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x11};
static const uint8_t xmss_algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                         0x01, 0x05, 0x05, 0x07, 0x06, 0x22};
static const uint8_t xmssmt_algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                           0x01, 0x05, 0x05, 0x07, 0x06, 0x23};

/* Two headers with lengths of two bytes, and the number of unused bits. */
#define DER_AROUND (3 + sizeof(hss_algorithm) + 3 + 1)

_Static_assert(HSS_PUB_LEN_MAX <= HBS_PUB_LEN_MAX, "the longest key");
_Static_assert(DER_AROUND + HBS_PUB_LEN_MAX <= SPKI_DER_MAX, "DER buffer too small");
_Static_assert(DER_AROUND + HBS_PUB_LEN_MAX < 256, "lengths need more than two bytes");
_Static_assert(sizeof(PEM_BEGIN) + sizeof(PEM_END) + BASE64_SIZE(SPKI_DER_MAX) + SPKI_DER_MAX / 48 +
                       1 <=
                   SPKI_PEM_MAX,
               "PEM buffer too small");

static const uint8_t *algorithm_of(enum hbs_scheme scheme, size_t *len)
{
    *len = scheme == HBS_SCHEME_HSS ? sizeof(hss_algorithm) : sizeof(xmss_algorithm);
    return scheme == HBS_SCHEME_HSS    ? hss_algorithm
           : scheme == HBS_SCHEME_XMSS ? xmss_algorithm
                                       : xmssmt_algorithm;
}

/* Tag and length (X.690 §8.1.3, the shortest form as DER wants it); returns where it goes on. */
static uint8_t *header_print(uint8_t *p, uint8_t tag, size_t len)
{
    *p++ = tag;
    if (len >= 128)
        *p++ = 0x81;
    *p++ = (uint8_t)len;
    return p;
}

size_t spki_der_print(uint8_t *out, enum hbs_scheme scheme, const uint8_t *raw, size_t raw_len)
{
    MUST(raw_len <= HBS_PUB_LEN_MAX);
    size_t algorithm_len = 0;
    const uint8_t *algorithm = algorithm_of(scheme, &algorithm_len);
    size_t bits_len = 1 + raw_len;
    size_t inner_len = algorithm_len + (bits_len < 128 ? 2 : 3) + bits_len;
    uint8_t *p = header_print(out, 0x30, inner_len); /* SEQUENCE */
    memcpy(p, algorithm, algorithm_len);
    p = header_print(p + algorithm_len, 0x03, bits_len); /* BIT STRING */
    *p++ = 0;                                            /* no unused bits */
    memcpy(p, raw, raw_len);
    return (size_t)(p - out) + raw_len;
}

void spki_pem_print(char *out, enum hbs_scheme scheme, const uint8_t *raw, size_t raw_len)
{
    uint8_t der[SPKI_DER_MAX];
    char text[BASE64_SIZE(SPKI_DER_MAX)];
    base64_encode(text, der, spki_der_print(der, scheme, raw, raw_len));
    char *p = stpcpy(out, PEM_BEGIN);
    for (const char *line = text; *line != '\0';) {
        size_t columns = strnlen(line, PEM_COLUMNS);
        memcpy(p, line, columns);
        p += columns;
        line += columns;
        *p++ = '\n';
    }
    strcpy(p, PEM_END);
}

/* Where the raw key lies in DER, if this is exactly the one DER of a key of this scheme. */
static const uint8_t *der_find_as(enum hbs_scheme scheme, size_t *raw_len, const uint8_t *data,
                                  size_t len)
{
    uint8_t again[SPKI_DER_MAX];
    /* What stands around a key does not depend on its bytes, and on its length in two ways only. */
    for (size_t around = 0; around < len && around <= DER_AROUND; around++) {
        if (len - around > HBS_PUB_LEN_MAX)
            continue;
        size_t again_len = spki_der_print(again, scheme, data + around, len - around);
        if (again_len == len && ct_equal(again, data, len)) {
            *raw_len = len - around;
            return data + around;
        }
    }
    return NULL;
}

/* Where the raw key lies in DER, and its scheme, or NULL. */
static const uint8_t *der_find(enum hbs_scheme *scheme, size_t *raw_len, const uint8_t *data,
                               size_t len)
{
    static const enum hbs_scheme all[] = {HBS_SCHEME_HSS, HBS_SCHEME_XMSS, HBS_SCHEME_XMSSMT};
    *raw_len = 0;
    if (len > SPKI_DER_MAX)
        return NULL;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const uint8_t *found = der_find_as(all[i], raw_len, data, len);
        if (found == NULL)
            continue;
        *scheme = all[i];
        return found;
    }
    return NULL;
}

/* Copy text without carriage returns before line feeds, and with a line feed at its end: the forms
 * that mail and editors make of one PEM text. False if it does not fit. */
static bool lines_normalise(char out[SPKI_PEM_MAX], const uint8_t *data, size_t len)
{
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\r' && i + 1 < len && data[i + 1] == '\n')
            continue;
        if (done + 2 >= SPKI_PEM_MAX || data[i] == '\0')
            return false;
        out[done++] = (char)data[i];
    }
    if (done > 0 && out[done - 1] != '\n')
        out[done++] = '\n';
    out[done] = '\0';
    return true;
}

/* The raw key in PEM, copied to raw; 0 if this is not exactly the one PEM of a key. */
static size_t pem_read(uint8_t raw[HBS_PUB_LEN_MAX], enum hbs_scheme *scheme, const uint8_t *data,
                       size_t len)
{
    char text[SPKI_PEM_MAX];
    size_t begin = strlen(PEM_BEGIN);
    if (!lines_normalise(text, data, len) || strncmp(text, PEM_BEGIN, begin) != 0)
        return 0;
    char body[SPKI_PEM_MAX];
    size_t body_len = 0;
    for (const char *p = text + begin; *p != '\0' && *p != '-'; p++)
        if (*p != '\n')
            body[body_len++] = *p;
    uint8_t der[SPKI_DER_MAX];
    size_t der_len = 0;
    size_t raw_len = 0;
    if (!base64_decode(der, sizeof(der), &der_len, body, body_len))
        return 0;
    const uint8_t *found = der_find(scheme, &raw_len, der, der_len);
    if (found == NULL)
        return 0;
    memcpy(raw, found, raw_len);
    char again[SPKI_PEM_MAX];
    spki_pem_print(again, *scheme, raw, raw_len);
    return strcmp(again, text) == 0 ? raw_len : 0;
}

/* A key that said itself what it is. */
static enum rc read_as(struct hbs_public *key, enum hbs_scheme wanted, enum hbs_scheme found,
                       const uint8_t *raw, size_t raw_len, struct err *err)
{
    if (wanted != 0 && wanted != found)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "this is a key of scheme %s, not of %s",
                    hbs_scheme_name(found), hbs_scheme_name(wanted));
    return hbs_public_parse(key, found, raw, raw_len, err);
}

enum rc spki_public_read(struct hbs_public *key, enum hbs_scheme scheme, const uint8_t *data,
                         size_t len, struct err *err)
{
    *key = (struct hbs_public){0};
    enum hbs_scheme found = 0;
    size_t raw_len = 0;
    if (len > 0 && data[0] == '-') {
        uint8_t raw[HBS_PUB_LEN_MAX];
        raw_len = pem_read(raw, &found, data, len);
        if (raw_len == 0)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "not the PEM of an HSS or XMSS public key");
        return read_as(key, scheme, found, raw, raw_len, err);
    }
    if (len > 0 && data[0] == 0x30) {
        const uint8_t *raw = der_find(&found, &raw_len, data, len);
        if (raw == NULL)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "not the DER of an HSS or XMSS public key");
        return read_as(key, scheme, found, raw, raw_len, err);
    }
    /* Raw keys begin with a zero byte: a number of levels, or an OID. */
    if (scheme != 0)
        return hbs_public_parse(key, scheme, data, len, err);
    return hbs_public_guess(key, data, len, err);
}
