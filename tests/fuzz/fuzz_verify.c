/*
 * Fuzz target: everything that libtidemark-verify reads from outside.
 *
 * The first byte chooses: '0' raw public key (next byte: scheme), '1' SubjectPublicKeyInfo, '2' a
 * signature (next byte: scheme; then length and bytes of key and signature, two bytes of length
 * each; the rest is the message), '3' compiled plan, '4' compiled plan whose digest is put right
 * first, so that what is behind it is reached. Every piece lies in a buffer of exactly its size.
 * Beside not crashing: one piece and many give one result, an index has one place, and the place
 * leads back to it.
 *
 * tests/fuzz/replay_verify runs this over tests/fuzz/verify in `make check`. To look for more, with
 * configure --enable-fuzzing: tests/fuzz/fuzz_verify -max_len=20000 CORPUS tests/fuzz/verify
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/lease.h"
#include "base/rc.h"
#include "verify/verify.h"

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

static void check_key(const struct tmv_key *key)
{
    struct tmv_key again;
    MUST(key->n == 24 || key->n == 32 || key->n == 64);
    MUST(key->levels >= 1 && key->levels <= 12 && key->height >= 5 && key->height <= 60);
    MUST(key->scheme == TMV_LMS ||
         tmv_key_read(&again, key->scheme, key->raw, key->raw_len) == TMV_OK);
}

static void fuzz_raw(const uint8_t *data, size_t len)
{
    struct tmv_key key;
    if (len < 1)
        return;
    struct piece raw CLEANUP(piece_free) = piece_of(data + 1, len - 1);
    if (tmv_key_read(&key, (enum tmv_scheme)(data[0] & 3), raw.data, raw.len) == TMV_OK)
        check_key(&key);
}

static void fuzz_spki(const uint8_t *data, size_t len)
{
    struct tmv_key key;
    struct piece der CLEANUP(piece_free) = piece_of(data, len);
    if (tmv_key_read_spki(&key, der.data, der.len) == TMV_OK)
        check_key(&key);
}

static enum tmv_result in_pieces(const struct tmv_key *key, const struct piece *sig,
                                 const struct piece *message, struct tmv_found *found)
{
    struct tmv_verifier v;
    size_t half = message->len / 2;
    enum tmv_result result = tmv_begin(&v, key, sig->data, sig->len);
    if (result != TMV_OK)
        return result == TMV_SHORT ? TMV_MALFORMED_SIGNATURE : result;
    tmv_update(&v, message->data, half);
    tmv_update(&v, message->data + half, message->len - half);
    return tmv_final(&v, sig->data, sig->len, found);
}

static void fuzz_signature(const uint8_t *data, size_t len)
{
    struct tmv_key key;
    struct tmv_found whole = {0, 0};
    struct tmv_found pieces = {0, 0};
    if (len < 1)
        return;
    enum tmv_scheme scheme = (enum tmv_scheme)(data[0] & 3);
    data++;
    len--;
    struct piece raw CLEANUP(piece_free) = take(&data, &len);
    struct piece sig CLEANUP(piece_free) = take(&data, &len);
    struct piece message CLEANUP(piece_free) = piece_of(data, len);
    if (tmv_key_read(&key, scheme, raw.data, raw.len) != TMV_OK)
        return;
    enum tmv_result result = tmv_verify(&key, message.data, message.len, sig.data, sig.len, &whole);
    MUST(result == TMV_OK || (whole.index == 0 && whole.bits == 0));
    /* A second reading costs as much as the first; where all the hashing was done, some must do. */
    if (result == TMV_WRONG_SIGNATURE && message.len % 8 != 0)
        return;
    MUST(in_pieces(&key, &sig, &message, &pieces) == result);
    MUST(whole.index == pieces.index && whole.bits == pieces.bits);
}

static void check_place(const struct tmv_plan *plan, uint64_t index)
{
    char version[TMV_TEXT_MAX + 1], slot[TMV_TEXT_MAX + 1];
    struct tmv_found found = {index, plan->height};
    struct tmv_place place, again;
    if (tmv_plan_check_index(plan, &found, &place) != TMV_OK)
        return;
    MUST(place.index == index && place.window < plan->window_count);
    MUST(tmv_plan_check_window(plan, &found, place.window, NULL) == TMV_OK);
    tmv_plan_print(plan, &place, version, slot);
    if (plan->kind != TMV_PLAN_VERSION)
        return;
    MUST(tmv_plan_check_numbers(plan, &found, place.numbers, place.slot, &again) == TMV_OK);
    /* A table may list a text twice, and a damaged one may hold what no version is written with. */
    enum tmv_result result = tmv_plan_check_version(plan, &found, version, slot, &again);
    MUST(result == TMV_OK || plan->format == TMV_TABLE || plan->slots_named);
}

static void fuzz_plan(const uint8_t *data, size_t len, bool mend)
{
    struct tmv_plan plan;
    struct piece piece CLEANUP(piece_free) = piece_of(data, len);
    if (mend && len >= 12 + SHA256_LEN) {
        be_put32(piece.data + 8, (uint32_t)len);
        digest_buffer(DIGEST_SHA256, piece.data + len - SHA256_LEN, piece.data, len - SHA256_LEN);
    }
    if (tmv_plan_open(&plan, piece.data, piece.len) != TMV_OK)
        return;
    uint64_t end = plan.window_count * plan.window_size;
    MUST(end <= UINT64_C(1) << plan.height);
    const uint64_t indices[] = {0,       1,         plan.window_usable - 1, plan.window_usable,
                                end / 2, end - 1,   end - plan.window_size, end,
                                len,     UINT64_MAX};
    for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
        check_place(&plan, indices[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    switch (data[0]) {
    case '0':
        fuzz_raw(data + 1, len - 1);
        break;
    case '1':
        fuzz_spki(data + 1, len - 1);
        break;
    case '2':
        fuzz_signature(data + 1, len - 1);
        break;
    case '3':
    case '4':
        fuzz_plan(data + 1, len - 1, data[0] == '4');
        break;
    default:
        break;
    }
    return 0;
}
