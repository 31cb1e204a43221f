#include "base/box.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"

static enum rc derive(uint8_t *key, const char *passphrase, size_t passphrase_len,
                      const uint8_t *salt, const struct box_cost *cost, struct err *err)
{
    /* tag length, passes, memory in KiB, lanes */
    const unsigned long parameters[4] = {BOX_KEY_LEN, cost->passes, cost->memory_kib, 1};
    gcry_kdf_hd_t kdf = NULL;
    gcry_error_t e =
        gcry_kdf_open(&kdf, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID, parameters, 4, passphrase,
                      passphrase_len, salt, BOX_SALT_LEN, NULL, 0, NULL, 0);
    if (e == 0)
        e = gcry_kdf_compute(kdf, NULL);
    if (e == 0)
        e = gcry_kdf_final(kdf, BOX_KEY_LEN, key);
    gcry_kdf_close(kdf);
    if (e != 0)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "Argon2id with %u KiB: %s",
                    (unsigned)cost->memory_kib, gcry_strerror(e));
    return RC_OK;
}

enum rc box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost, struct err *err)
{
    if (cost->memory_kib < 8192 || cost->memory_kib > (UINT32_C(1) << 22) || cost->passes < 1 ||
        cost->passes > 64)
        return FAIL(err, RC_REFUSED_RANGE, "", 0, "Argon2id cost of %u KiB and %u passes",
                    (unsigned)cost->memory_kib, (unsigned)cost->passes);
    return derive(key, passphrase, passphrase_len, salt, cost, err);
}

static gcry_error_t start(gcry_cipher_hd_t *cipher, const uint8_t *key, uint64_t chunk,
                          const uint8_t *binding)
{
    uint8_t nonce[12] = {0};
    be_put64(nonce + 4, chunk);
    gcry_error_t e = gcry_cipher_open(cipher, GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305,
                                      GCRY_CIPHER_SECURE);
    if (e == 0)
        e = gcry_cipher_setkey(*cipher, key, BOX_KEY_LEN);
    if (e == 0)
        e = gcry_cipher_setiv(*cipher, nonce, sizeof(nonce));
    if (e == 0)
        e = gcry_cipher_authenticate(*cipher, binding, 32);
    return e;
}

enum rc box_seal(const uint8_t *key, uint64_t chunk, const uint8_t binding[32], uint8_t *data,
                 size_t len, uint8_t tag[BOX_TAG_LEN], struct err *err)
{
    gcry_cipher_hd_t cipher = NULL;
    gcry_error_t e = start(&cipher, key, chunk, binding);
    if (e == 0)
        e = gcry_cipher_encrypt(cipher, data, len, NULL, 0);
    if (e == 0)
        e = gcry_cipher_gettag(cipher, tag, BOX_TAG_LEN);
    gcry_cipher_close(cipher);
    if (e != 0)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "encryption: %s", gcry_strerror(e));
    return RC_OK;
}

enum rc box_open(const uint8_t *key, uint64_t chunk, const uint8_t binding[32], uint8_t *data,
                 size_t len, const uint8_t tag[BOX_TAG_LEN], struct err *err)
{
    gcry_cipher_hd_t cipher = NULL;
    gcry_error_t e = start(&cipher, key, chunk, binding);
    if (e == 0)
        e = gcry_cipher_decrypt(cipher, data, len, NULL, 0);
    if (e == 0)
        e = gcry_cipher_checktag(cipher, tag, BOX_TAG_LEN);
    gcry_cipher_close(cipher);
    if (e == 0)
        return RC_OK;
    wipe(data, len);
    if (gcry_err_code(e) == GPG_ERR_CHECKSUM)
        return FAIL(err, RC_REFUSED_PASSPHRASE, "gcrypt", e,
                    "the passphrase is wrong, or the file was changed");
    return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "decryption: %s", gcry_strerror(e));
}
