#include "hbs/public.h"

#include <string.h>

#include "base/bytes.h"

static const struct {
    enum hbs_scheme scheme;
    const char *name;
} names[] = {{HBS_SCHEME_HSS, "hss"}, {HBS_SCHEME_XMSS, "xmss"}, {HBS_SCHEME_XMSSMT, "xmssmt"}};

#define NAMES (sizeof(names) / sizeof(names[0]))

const char *hbs_scheme_name(enum hbs_scheme scheme)
{
    for (size_t i = 0; i < NAMES; i++)
        if (names[i].scheme == scheme)
            return names[i].name;
    MUST(false);
}

bool hbs_scheme_by_name(enum hbs_scheme *scheme, const char *name)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (strcmp(names[i].name, name) != 0)
            continue;
        *scheme = names[i].scheme;
        return true;
    }
    return false;
}

enum rc hbs_public_parse(struct hbs_public *key, enum hbs_scheme scheme, const uint8_t *data,
                         size_t len, struct err *err)
{
    *key = (struct hbs_public){0};
    enum rc rc = RC_OK;
    if (scheme == HBS_SCHEME_HSS)
        rc = hss_public_parse(&key->hss, data, len, err);
    else
        rc = xmss_public_parse(&key->xmss, scheme == HBS_SCHEME_XMSSMT, data, len, err);
    if (rc == RC_OK)
        key->scheme = scheme;
    return rc;
}

enum rc hbs_public_guess(struct hbs_public *key, const uint8_t *data, size_t len, struct err *err)
{
    /* An HSS key begins with 1 … 8 levels, and is 60 bytes long, or 52 with n = 24; XMSS keys are
     * 68 and 132 bytes long, or 52 with OIDs above 8. */
    struct err why = {0};
    if (hbs_public_parse(key, HBS_SCHEME_HSS, data, len, &why) == RC_OK)
        return RC_OK;
    struct hbs_public multi;
    bool single_fits = hbs_public_parse(key, HBS_SCHEME_XMSS, data, len, NULL) == RC_OK;
    bool multi_fits = hbs_public_parse(&multi, HBS_SCHEME_XMSSMT, data, len, NULL) == RC_OK;
    if (single_fits && multi_fits) {
        const char *name = key->xmss.params->name;
        *key = (struct hbs_public){0};
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "these bytes are a key of %s or of %s: say which, or give DER or PEM", name,
                    multi.xmss.params->name);
    }
    if (multi_fits)
        *key = multi;
    if (single_fits || multi_fits)
        return RC_OK;
    return FAIL(err, why.rc, why.origin, why.native, "neither of XMSS nor of HSS: %.160s",
                why.text);
}

size_t hbs_public_print(const struct hbs_public *key, uint8_t *out)
{
    return key->scheme == HBS_SCHEME_HSS ? hss_public_print(&key->hss, out)
                                         : xmss_public_print(&key->xmss, out);
}

enum rc hbs_verify_open(struct hbs_verifier *v, const struct hbs_public *key, const uint8_t *sig,
                        size_t sig_len, struct err *err)
{
    *v = (struct hbs_verifier){.scheme = key->scheme};
    enum rc rc = key->scheme == HBS_SCHEME_HSS
                     ? hss_verify_open(&v->hss, &key->hss, sig, sig_len, err)
                     : xmss_verify_open(&v->xmss, &key->xmss, sig, sig_len, err);
    if (rc != RC_OK)
        v->scheme = 0; /* the scheme's own function has cleaned up */
    return rc;
}

void hbs_verify_update(struct hbs_verifier *v, const void *data, size_t len)
{
    if (v->scheme == HBS_SCHEME_HSS)
        hss_verify_update(&v->hss, data, len);
    else
        xmss_verify_update(&v->xmss, data, len);
}

enum rc hbs_verify_finish(struct hbs_verifier *v, struct err *err)
{
    return v->scheme == HBS_SCHEME_HSS ? hss_verify_finish(&v->hss, err)
                                       : xmss_verify_finish(&v->xmss, err);
}

uint64_t hbs_verify_index(const struct hbs_verifier *v)
{
    return v->scheme == HBS_SCHEME_HSS ? v->hss.sig.index : v->xmss.sig.index;
}

void hbs_verify_close(struct hbs_verifier *v)
{
    if (v->scheme == HBS_SCHEME_HSS)
        hss_verify_close(&v->hss);
    else if (v->scheme != 0)
        xmss_verify_close(&v->xmss);
    *v = (struct hbs_verifier){0};
}

enum rc hbs_verify(const struct hbs_public *key, const void *message, size_t message_len,
                   const uint8_t *sig, size_t sig_len, struct err *err)
{
    struct hbs_verifier v CLEANUP(hbs_verify_close) = {0};
    enum rc rc = hbs_verify_open(&v, key, sig, sig_len, err);
    if (rc != RC_OK)
        return rc;
    hbs_verify_update(&v, message, message_len);
    return hbs_verify_finish(&v, err);
}
