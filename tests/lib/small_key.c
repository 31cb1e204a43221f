#include "lib/small_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void small_key_make(struct small_key *key, uint8_t number)
{
    struct err err = {0};
    *key = (struct small_key){.secret.levels = 1};
    key->secret.set[0].lms = lms_params_by_name("LMS_SHA256_M32_H5");
    key->secret.set[0].ots = lmots_params_by_name("LMOTS_SHA256_N32_W8");
    memset(key->secret.secret[0].seed, number, HBS_N_MAX);
    memset(key->secret.secret[0].i, number, LMS_I_LEN);
    assert_int_equal(hss_keygen(&key->secret, &key->public, &err), RC_OK);
    key->raw_len = hss_public_print(&key->public, key->raw);
}

size_t small_key_sign(const struct small_key *key, uint64_t index, const void *message, size_t len,
                      uint8_t *sig)
{
    struct err err = {0};
    struct ots_lease lease = {.index = index, .epoch = 1};
    size_t sig_len = 0;
    assert_int_equal(hss_sign(&lease, &key->secret, message, len, NULL, sig, &sig_len, &err),
                     RC_OK);
    return sig_len;
}
