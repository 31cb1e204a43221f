#include "hbs/spki.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Everything but the key itself has one possible form, so reading is: cut the key out, print it,
 * and compare. A second encoding of the same key is refused by construction. */

#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----\n"
#define PEM_END "-----END PUBLIC KEY-----\n"
#define PEM_COLUMNS 64

/* AlgorithmIdentifier of RFC 9802 §3: "the parameters field MUST be absent". */
static const uint8_t algorithm[] = {0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
                                    0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x11};

#define DER_PREFIX (2 + sizeof(algorithm) + 3)

_Static_assert(DER_PREFIX + HSS_PUB_LEN_MAX <= SPKI_DER_MAX, "DER buffer too small");
_Static_assert(DER_PREFIX + HSS_PUB_LEN_MAX - 2 < 128, "lengths need more than one byte");
_Static_assert(sizeof(PEM_BEGIN) + sizeof(PEM_END) + BASE64_SIZE(SPKI_DER_MAX) + SPKI_DER_MAX / 48 +
                       1 <=
                   SPKI_PEM_MAX,
               "PEM buffer too small");

size_t spki_der_print(uint8_t *out, const uint8_t *raw, size_t raw_len)
{
    MUST(raw_len <= HSS_PUB_LEN_MAX);
    out[0] = 0x30; /* SEQUENCE */
    out[1] = (uint8_t)(DER_PREFIX - 2 + raw_len);
    memcpy(out + 2, algorithm, sizeof(algorithm));
    uint8_t *bits = out + 2 + sizeof(algorithm);
    bits[0] = 0x03; /* BIT STRING */
    bits[1] = (uint8_t)(raw_len + 1);
    bits[2] = 0; /* no unused bits */
    memcpy(bits + 3, raw, raw_len);
    return DER_PREFIX + raw_len;
}

void spki_pem_print(char *out, const uint8_t *raw, size_t raw_len)
{
    uint8_t der[SPKI_DER_MAX];
    char text[BASE64_SIZE(SPKI_DER_MAX)];
    base64_encode(text, der, spki_der_print(der, raw, raw_len));
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

/* Where the raw key lies in DER, or NULL if this is not exactly the one DER of a key. */
static const uint8_t *der_find(size_t *raw_len, const uint8_t *data, size_t len)
{
    *raw_len = 0;
    if (len < DER_PREFIX || len > DER_PREFIX + HSS_PUB_LEN_MAX)
        return NULL;
    uint8_t again[SPKI_DER_MAX];
    size_t again_len = spki_der_print(again, data + DER_PREFIX, len - DER_PREFIX);
    if (!ct_equal(again, data, again_len))
        return NULL;
    *raw_len = len - DER_PREFIX;
    return data + DER_PREFIX;
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
static size_t pem_read(uint8_t raw[HSS_PUB_LEN_MAX], const uint8_t *data, size_t len)
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
    const uint8_t *found = der_find(&raw_len, der, der_len);
    if (found == NULL)
        return 0;
    memcpy(raw, found, raw_len);
    char again[SPKI_PEM_MAX];
    spki_pem_print(again, raw, raw_len);
    return strcmp(again, text) == 0 ? raw_len : 0;
}

enum rc spki_public_read(struct hss_public *key, const uint8_t *data, size_t len, struct err *err)
{
    *key = (struct hss_public){0};
    if (len > 0 && data[0] == '-') {
        uint8_t raw[HSS_PUB_LEN_MAX];
        size_t raw_len = pem_read(raw, data, len);
        if (raw_len == 0)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "not the PEM of an HSS/LMS public key");
        return hss_public_parse(key, raw, raw_len, err);
    }
    if (len > 0 && data[0] == 0x30) {
        size_t raw_len = 0;
        const uint8_t *raw = der_find(&raw_len, data, len);
        if (raw == NULL)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "not the DER of an HSS/LMS public key");
        return hss_public_parse(key, raw, raw_len, err);
    }
    return hss_public_parse(key, data, len, err); /* begins with a zero byte, since L <= 8 */
}
