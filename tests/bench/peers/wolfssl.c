/* Times LMS and XMSS of wolfSSL (5.7 or later); the private key stays in memory. */
#include "driver.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/wc_lms.h>
#include <wolfssl/wolfcrypt/wc_xmss.h>

#define KEY_LEN_MAX 65536

static WC_RNG rng;
static LmsKey lms;
static XmssKey xmss;
static byte stored[KEY_LEN_MAX];
static byte *sig;
static word32 sig_len;
static byte message[32];

static const struct lms_set {
    const char *name;
    int height;
    int winternitz;
    bool quick;
} lms_sets[] = {
    {"lms-sha256-m32-h5-w4", 5, 4, true},
    {"lms-sha256-m32-h10-w8", 10, 8, false},
    {"lms-sha256-m32-h10-w4", 10, 4, false},
    {"lms-sha256-m32-h10-w2", 10, 2, false},
};
static const struct lms_set *lms_set;

static const struct xmss_set {
    const char *name;
    const char *theirs;
} xmss_sets[] = {
    {"xmss-sha2_10_256", "XMSS-SHA2_10_256"},
    {"xmssmt-sha2_20/2_256", "XMSSMT-SHA2_20/2_256"},
};
static const struct xmss_set *xmss_set;

static int lms_write(const byte *priv, word32 len, void *context)
{
    (void)context;
    if (len > sizeof(stored))
        return WC_LMS_RC_WRITE_FAIL;
    memcpy(stored, priv, len);
    return WC_LMS_RC_SAVED_TO_NV_MEMORY;
}

static int lms_read(byte *priv, word32 len, void *context)
{
    (void)context;
    if (len > sizeof(stored))
        return WC_LMS_RC_READ_FAIL;
    memcpy(priv, stored, len);
    return WC_LMS_RC_READ_TO_MEMORY;
}

static enum wc_XmssRc xmss_write(const byte *priv, word32 len, void *context)
{
    (void)context;
    if (len > sizeof(stored))
        return WC_XMSS_RC_WRITE_FAIL;
    memcpy(stored, priv, len);
    return WC_XMSS_RC_SAVED_TO_NV_MEMORY;
}

static enum wc_XmssRc xmss_read(byte *priv, word32 len, void *context)
{
    (void)context;
    if (len > sizeof(stored))
        return WC_XMSS_RC_READ_FAIL;
    memcpy(priv, stored, len);
    return WC_XMSS_RC_READ_TO_MEMORY;
}

static bool lms_keygen(void)
{
    wc_LmsKey_Free(&lms);
    return wc_LmsKey_Init(&lms, NULL, INVALID_DEVID) == 0 &&
           wc_LmsKey_SetParameters(&lms, 1, lms_set->height, lms_set->winternitz) == 0 &&
           wc_LmsKey_SetWriteCb(&lms, lms_write) == 0 && wc_LmsKey_SetReadCb(&lms, lms_read) == 0 &&
           wc_LmsKey_SetContext(&lms, stored) == 0 && wc_LmsKey_MakeKey(&lms, &rng) == 0;
}

static bool lms_sign(void)
{
    word32 len = sig_len;
    message[0]++;
    return wc_LmsKey_Sign(&lms, sig, &len, message, sizeof(message)) == 0;
}

static bool lms_verify(void)
{
    return wc_LmsKey_Verify(&lms, sig, sig_len, message, sizeof(message)) == 0;
}

static bool xmss_keygen(void)
{
    wc_XmssKey_Free(&xmss);
    return wc_XmssKey_Init(&xmss, NULL, INVALID_DEVID) == 0 &&
           wc_XmssKey_SetParamStr(&xmss, xmss_set->theirs) == 0 &&
           wc_XmssKey_SetWriteCb(&xmss, xmss_write) == 0 &&
           wc_XmssKey_SetReadCb(&xmss, xmss_read) == 0 &&
           wc_XmssKey_SetContext(&xmss, stored) == 0 && wc_XmssKey_MakeKey(&xmss, &rng) == 0;
}

static bool xmss_sign(void)
{
    word32 len = sig_len;
    message[0]++;
    return wc_XmssKey_Sign(&xmss, sig, &len, message, sizeof(message)) == 0;
}

static bool xmss_verify(void)
{
    return wc_XmssKey_Verify(&xmss, sig, sig_len, message, sizeof(message)) == 0;
}

static void sig_alloc(int rc)
{
    free(sig);
    sig = malloc(sig_len);
    if (rc != 0 || sig == NULL)
        exit(1);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    if (wc_InitRng(&rng) != 0)
        return 1;
    for (size_t i = 0; i < sizeof(lms_sets) / sizeof(lms_sets[0]); i++) {
        lms_set = &lms_sets[i];
        if (lms_set->quick != quick)
            continue;
        driver_row(lms_set->name, "keygen", quick, lms_keygen);
        sig_alloc(wc_LmsKey_GetSigLen(&lms, &sig_len));
        driver_row(lms_set->name, "sign", quick, lms_sign);
        driver_row(lms_set->name, "verify", quick, lms_verify);
    }
    for (size_t i = 0; !quick && i < sizeof(xmss_sets) / sizeof(xmss_sets[0]); i++) {
        xmss_set = &xmss_sets[i];
        driver_row(xmss_set->name, "keygen", quick, xmss_keygen);
        sig_alloc(wc_XmssKey_GetSigLen(&xmss, &sig_len));
        driver_row(xmss_set->name, "sign", quick, xmss_sign);
        driver_row(xmss_set->name, "verify", quick, xmss_verify);
    }
    return 0;
}
