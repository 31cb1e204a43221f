/* Times the reference code of RFC 8391 with its traversal state (xmss_core_fast.c). */
#include <stdint.h>

#include "driver.h"

#include "params.h"
#include "xmss.h"

#define MESSAGE_LEN 32

static const struct set {
    const char *name;
    const char *theirs;
    bool multi;
    bool quick;
} sets[] = {
    {"xmss-sha2_10_256", "XMSS-SHA2_10_256", false, true},
    {"xmss-sha2_10_192", "XMSS-SHA2_10_192", false, false},
    {"xmssmt-sha2_20/2_256", "XMSSMT-SHA2_20/2_256", true, false},
    {"xmss-shake256_10_256", "XMSS-SHAKE256_10_256", false, false},
};

static const struct set *set;
static uint32_t oid;
static unsigned char *pub;
static unsigned char *priv;
static unsigned char *sig_msg;
static unsigned char *opened;
static unsigned long long sig_msg_len;
static unsigned char message[MESSAGE_LEN];

static bool keygen(void)
{
    return (set->multi ? xmssmt_keypair(pub, priv, oid) : xmss_keypair(pub, priv, oid)) == 0;
}

static bool sign(void)
{
    message[0]++;
    return (set->multi ? xmssmt_sign(priv, sig_msg, &sig_msg_len, message, sizeof(message))
                       : xmss_sign(priv, sig_msg, &sig_msg_len, message, sizeof(message))) == 0;
}

static bool verify(void)
{
    unsigned long long len = 0;
    return (set->multi ? xmssmt_sign_open(opened, &len, sig_msg, sig_msg_len, pub)
                       : xmss_sign_open(opened, &len, sig_msg, sig_msg_len, pub)) == 0;
}

/* False if the source does not know the set. */
static bool prepare(void)
{
    xmss_params params;
    if (set->multi) {
        if (xmssmt_str_to_oid(&oid, set->theirs) != 0 || xmssmt_parse_oid(&params, oid) != 0)
            return false;
    } else if (xmss_str_to_oid(&oid, set->theirs) != 0 || xmss_parse_oid(&params, oid) != 0) {
        return false;
    }
    pub = malloc(XMSS_OID_LEN + (size_t)params.pk_bytes);
    priv = malloc(XMSS_OID_LEN + (size_t)params.sk_bytes);
    sig_msg = malloc((size_t)params.sig_bytes + MESSAGE_LEN);
    opened = malloc((size_t)params.sig_bytes + MESSAGE_LEN);
    return pub != NULL && priv != NULL && sig_msg != NULL && opened != NULL;
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        set = &sets[i];
        if ((quick && !set->quick) || !prepare())
            continue;
        driver_row(set->name, "keygen", quick, keygen);
        driver_row(set->name, "sign", quick, sign);
        driver_row(set->name, "verify", quick, verify);
        free(pub);
        free(priv);
        free(sig_msg);
        free(opened);
    }
    return 0;
}
