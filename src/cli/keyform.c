#include "cli/keyform.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/spki.h"

/* Up to and with the head of the byte string; its length and its bytes follow. */
static const uint8_t cose_head[] = {0xa3, 0x01, 0x05, 0x03, 0x38, 0x2d, 0x20, 0x58};

static bool parses(enum hbs_scheme scheme, const uint8_t *data, size_t len)
{
    struct err err = {0};
    struct hbs_public key;
    return hbs_public_parse(&key, scheme, data, len, &err) == RC_OK;
}

/* Raw bytes may be a key of either XMSS or XMSS^MT: here it does not matter which. */
static bool is_raw(const uint8_t *data, size_t len)
{
    return parses(HBS_SCHEME_HSS, data, len) || parses(HBS_SCHEME_XMSS, data, len) ||
           parses(HBS_SCHEME_XMSSMT, data, len);
}

static bool is_spki(const uint8_t *data, size_t len, uint8_t first)
{
    struct err err = {0};
    struct hbs_public key;
    return len > 0 && data[0] == first && spki_public_read(&key, 0, data, len, &err) == RC_OK;
}

static bool is_der(const uint8_t *data, size_t len)
{
    return is_spki(data, len, 0x30);
}

static bool is_text(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != '\n' && (data[i] < 0x20 || data[i] > 0x7e))
            return false;
    return true;
}

static bool is_pem(const uint8_t *data, size_t len)
{
    return is_text(data, len) && is_spki(data, len, '-');
}

static bool is_cose(const uint8_t *data, size_t len)
{
    const size_t head = sizeof(cose_head);
    return len > head + 1 && memcmp(data, cose_head, head) == 0 && data[head] == len - head - 1 &&
           parses(HBS_SCHEME_HSS, data + head + 1, len - head - 1);
}

/* The bytes of the first list in braces, each written 0xHH; false if it holds anything else. */
static bool list_read(const uint8_t *data, size_t len, uint8_t raw[HBS_PUB_LEN_MAX],
                      size_t *raw_len)
{
    const uint8_t *at = memchr(data, '{', len);
    const uint8_t *end = data + len;
    *raw_len = 0;
    for (at = at == NULL ? end : at + 1; at < end; at++) {
        if (*at == ' ' || *at == '\n' || *at == ',')
            continue;
        if (*at == '}')
            return true;
        char hex[3] = {0};
        if (end - at < 4 || at[0] != '0' || at[1] != 'x' || *raw_len == HBS_PUB_LEN_MAX)
            return false;
        memcpy(hex, at + 2, 2);
        if (!hex_decode(raw + *raw_len, 1, hex))
            return false;
        *raw_len += 1;
        at += 3;
    }
    return false;
}

static bool is_c_header(const uint8_t *data, size_t len)
{
    uint8_t raw[HBS_PUB_LEN_MAX];
    size_t raw_len = 0;
    return is_text(data, len) && list_read(data, len, raw, &raw_len) && is_raw(raw, raw_len);
}

static const struct form {
    const char *name;
    bool binary;
    bool (*is)(const uint8_t *data, size_t len);
} forms[] = {
    {"raw", true, is_raw},      {"xdr", true, is_raw},   {"spki-pem", false, is_pem},
    {"spki-der", true, is_der}, {"cose", true, is_cose}, {"c-header", false, is_c_header},
};

static const struct form *form_of(const char *name)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}

bool keyform_binary(const char *format)
{
    const struct form *form = form_of(format);
    return form != NULL && form->binary;
}

enum cli_exit keyform_check(const char *format, const void *data, size_t len,
                            struct cli_fault *fault)
{
    const struct form *form = form_of(format);
    if (form == NULL)
        return FAULT(fault, CLI_USAGE, "tidemark key public --help shows the forms",
                     "%.40s is no form of a public key", format);
    if (form->is(data, len))
        return CLI_OK;
    return FAULT(fault, CLI_INTERNAL,
                 "see that the address is the service's and not a proxy's, and compare tidemark "
                 "--version with the service's; nothing was written",
                 "the service sent %zu bytes that are no public key in the form %s", len, format);
}
