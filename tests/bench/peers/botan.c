/* Times LMS and XMSS of Botan (3.5 or later) through its C interface; the key stays in memory. */
#include "driver.h"

#include <botan/ffi.h>

#define SIG_LEN_MAX 16384

static const struct set {
    const char *name;
    const char *algorithm;
    const char *theirs;
    bool quick;
} sets[] = {
    {"lms-sha256-m32-h5-w4", "HSS-LMS", "SHA-256,HW(5,4)", true},
    {"lms-sha256-m32-h10-w8", "HSS-LMS", "SHA-256,HW(10,8)", false},
    {"lms-sha256-m32-h10-w4", "HSS-LMS", "SHA-256,HW(10,4)", false},
    {"lms-sha256-m32-h10-w2", "HSS-LMS", "SHA-256,HW(10,2)", false},
    {"lms-sha256-m32-h10-w1", "HSS-LMS", "SHA-256,HW(10,1)", false},
    {"xmss-sha2_10_256", "XMSS", "XMSS-SHA2_10_256", false},
    {"xmss-shake256_10_256", "XMSS", "XMSS-SHAKE256_10_256", false},
};

static const struct set *set;
static botan_rng_t rng;
static botan_privkey_t key;
static botan_pubkey_t pub;
static uint8_t sig[SIG_LEN_MAX];
static size_t sig_len;
static uint8_t message[32];

static bool keygen(void)
{
    if (key != NULL && botan_privkey_destroy(key) != 0)
        return false;
    return botan_privkey_create(&key, set->algorithm, set->theirs, rng) == 0;
}

static bool sign(void)
{
    botan_pk_op_sign_t op = NULL;
    sig_len = sizeof(sig);
    message[0]++;
    return botan_pk_op_sign_create(&op, key, "", 0) == 0 &&
           botan_pk_op_sign_update(op, message, sizeof(message)) == 0 &&
           botan_pk_op_sign_finish(op, rng, sig, &sig_len) == 0 &&
           botan_pk_op_sign_destroy(op) == 0;
}

static bool verify(void)
{
    botan_pk_op_verify_t op = NULL;
    return botan_pk_op_verify_create(&op, pub, "", 0) == 0 &&
           botan_pk_op_verify_update(op, message, sizeof(message)) == 0 &&
           botan_pk_op_verify_finish(op, sig, sig_len) == 0 && botan_pk_op_verify_destroy(op) == 0;
}

static void run(bool quick)
{
    driver_row(set->name, "keygen", quick, keygen);
    driver_row(set->name, "sign", quick, sign);
    if (botan_privkey_export_pubkey(&pub, key) != 0)
        exit(1);
    driver_row(set->name, "verify", quick, verify);
    (void)botan_pubkey_destroy(pub);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    if (botan_rng_init(&rng, "system") != 0)
        return 1;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        set = &sets[i];
        if (set->quick == quick)
            run(quick);
    }
    return 0;
}
