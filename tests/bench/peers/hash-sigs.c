/* Times the LMS library "hash-sigs": single trees, the auxiliary data that its demo keeps. */
#include "driver.h"

#include "hss.h"

#define AUX_LEN 10916
#define SIG_LEN_MAX 16384
#define PUB_LEN_MAX 64
#define PRIV_LEN_MAX 128

static const struct set {
    const char *name;
    param_set_t lm;
    param_set_t ots;
    bool quick;
} sets[] = {
    {"lms-sha256-m32-h5-w4", LMS_SHA256_N32_H5, LMOTS_SHA256_N32_W4, true},
    {"lms-sha256-m32-h10-w8", LMS_SHA256_N32_H10, LMOTS_SHA256_N32_W8, false},
    {"lms-sha256-m32-h10-w4", LMS_SHA256_N32_H10, LMOTS_SHA256_N32_W4, false},
    {"lms-sha256-m32-h10-w2", LMS_SHA256_N32_H10, LMOTS_SHA256_N32_W2, false},
    {"lms-sha256-m32-h10-w1", LMS_SHA256_N32_H10, LMOTS_SHA256_N32_W1, false},
};

static const struct set *set;
static struct hss_working_key *working;
static unsigned char priv[PRIV_LEN_MAX];
static unsigned char pub[PUB_LEN_MAX];
static unsigned char aux[AUX_LEN];
static unsigned char sig[SIG_LEN_MAX];
static size_t sig_len;
static unsigned char message[32];

static bool random_fill(void *out, size_t len)
{
    unsigned char *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)rand();
    return true;
}

static bool keygen(void)
{
    return hss_generate_private_key(random_fill, 1, &set->lm, &set->ots, NULL, priv, pub,
                                    sizeof(pub), aux, sizeof(aux), NULL);
}

static bool sign(void)
{
    message[0]++;
    return hss_generate_signature(working, NULL, priv, message, sizeof(message), sig, sig_len,
                                  NULL);
}

static bool verify(void)
{
    return hss_validate_signature(pub, message, sizeof(message), sig, sig_len, NULL);
}

static void run(bool quick)
{
    driver_row(set->name, "keygen", quick, keygen);
    sig_len = hss_get_signature_len(1, &set->lm, &set->ots);
    working = hss_load_private_key(NULL, priv, 0, aux, sizeof(aux), NULL);
    if (working == NULL || sig_len == 0 || sig_len > sizeof(sig))
        exit(1);
    driver_row(set->name, "sign", quick, sign);
    driver_row(set->name, "verify", quick, verify);
    hss_free_working_key(working);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        set = &sets[i];
        if (set->quick == quick)
            run(quick);
    }
    return 0;
}
