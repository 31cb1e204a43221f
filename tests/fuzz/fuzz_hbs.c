/*
 * Fuzz target: public keys and signatures of every scheme, as src/hbs reads them.
 *
 * The first byte chooses: '0' raw public key (next byte: scheme '1' HSS, '2' XMSS, '3' XMSS^MT, or
 * '0' to guess), '1' public key in any form, '2' a signature (next byte: scheme; then length and
 * bytes of key and signature, two bytes of length each; the rest is the message). Every piece lies
 * in a buffer of exactly its size. Beside not crashing: what is read and printed again is the same,
 * refused keys have no scheme, and a message in two pieces gives the same answer as in one.
 *
 * tests/fuzz/replay_hbs runs this over tests/fuzz/hbs in `make check`. To look for more, with
 * configure --enable-fuzzing: tests/fuzz/fuzz_hbs -max_len=20000 CORPUS tests/fuzz/hbs
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/spki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct piece {
    uint8_t *data;
    size_t len;
};

static void piece_free(struct piece *piece)
{
    free(piece->data);
}

static struct piece piece_of(const uint8_t *data, size_t len)
{
    struct piece piece = {malloc(len > 0 ? len : 1), len};
    MUST(piece.data != NULL);
    if (len > 0)
        memcpy(piece.data, data, len);
    return piece;
}

/* Two bytes of length and what they announce, or what is left of it. */
static struct piece take(const uint8_t **data, size_t *len)
{
    size_t want = *len >= 2 ? be_get16(*data) : 0;
    size_t head = *len >= 2 ? 2 : *len;
    if (want > *len - head)
        want = *len - head;
    struct piece piece = piece_of(*data + head, want);
    *data += head + want;
    *len -= head + want;
    return piece;
}

static void key_check(const struct hbs_public *key, enum rc rc, const uint8_t *raw, size_t raw_len)
{
    if (rc != RC_OK) {
        MUST(rc == RC_REFUSED_INPUT || rc == RC_REFUSED_UNSUPPORTED);
        MUST(key->scheme == 0);
        return;
    }
    uint8_t again[HBS_PUB_LEN_MAX];
    size_t again_len = hbs_public_print(key, again);
    struct hbs_public back;
    MUST(hbs_public_parse(&back, key->scheme, again, again_len, NULL) == RC_OK);
    if (raw != NULL)
        MUST(again_len == raw_len && memcmp(again, raw, raw_len) == 0);
    uint8_t der[SPKI_DER_MAX];
    size_t der_len = spki_der_print(der, key->scheme, again, again_len);
    MUST(spki_public_read(&back, key->scheme, der, der_len, NULL) == RC_OK);
}

static void fuzz_raw(uint8_t scheme, const uint8_t *data, size_t len)
{
    struct piece piece CLEANUP(piece_free) = piece_of(data, len);
    struct hbs_public key;
    enum rc rc =
        scheme >= '1' && scheme <= '3'
            ? hbs_public_parse(&key, (enum hbs_scheme)(scheme - '0'), piece.data, len, NULL)
            : hbs_public_guess(&key, piece.data, len, NULL);
    key_check(&key, rc, piece.data, len);
}

static void fuzz_any_form(const uint8_t *data, size_t len)
{
    struct piece piece CLEANUP(piece_free) = piece_of(data, len);
    struct hbs_public key;
    enum rc rc = spki_public_read(&key, 0, piece.data, len, NULL);
    key_check(&key, rc, NULL, 0);
}

static enum rc verify_in_two(const struct hbs_public *key, const struct piece *sig,
                             const uint8_t *message, size_t len)
{
    struct hbs_verifier v CLEANUP(hbs_verify_close) = {0};
    enum rc rc = hbs_verify_open(&v, key, sig->data, sig->len, NULL);
    if (rc != RC_OK)
        return rc;
    hbs_verify_update(&v, message, len / 2);
    hbs_verify_update(&v, message + len / 2, len - len / 2);
    return hbs_verify_finish(&v, NULL);
}

static void fuzz_signature(uint8_t scheme, const uint8_t *data, size_t len)
{
    struct piece raw CLEANUP(piece_free) = take(&data, &len);
    struct piece sig CLEANUP(piece_free) = take(&data, &len);
    struct piece message CLEANUP(piece_free) = piece_of(data, len);
    struct hbs_public key;
    if (scheme < '1' || scheme > '3' ||
        hbs_public_parse(&key, (enum hbs_scheme)(scheme - '0'), raw.data, raw.len, NULL) != RC_OK)
        return;
    enum rc rc = hbs_verify(&key, message.data, len, sig.data, sig.len, NULL);
    MUST(rc == RC_OK || rc == RC_REFUSED_SIGNATURE);
    MUST(verify_in_two(&key, &sig, message.data, len) == rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len >= 2 && data[0] == '0')
        fuzz_raw(data[1], data + 2, len - 2);
    else if (len >= 1 && data[0] == '1')
        fuzz_any_form(data + 1, len - 1);
    else if (len >= 2 && data[0] == '2')
        fuzz_signature(data[1], data + 2, len - 2);
    return 0;
}
