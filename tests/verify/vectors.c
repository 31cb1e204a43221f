/*
 * vectors: public vectors through libtidemark-verify, which shares no code with src/hbs.
 *
 * Usage: vectors DIR [--only TEXT] [--truncate]. Reads every JSON file of schema hbs-vectors/1 in
 * DIR, prints "NAME passed=… failed=… skipped=…" for each and a total, and exits 1 on a failure.
 *
 * What signs or verifies is verified; what makes a key has its public key read. Each signature goes
 * through in one piece, and in pieces behind the shortest prefix that a stream may begin with.
 * Every key and signature lies in a buffer of exactly its size, so that a sanitizer sees a byte too
 * many; with --truncate every valid one is also tried at every shorter length.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/rc.h"
#include "verify/verify.h"

struct bytes {
    uint8_t *data; /* malloc'ed, exactly len bytes */
    size_t len;
};

static void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

struct options {
    const char *dir;
    const char *only;
    bool truncate;
};

enum outcome { PASSED, FAILED, SKIPPED, OUTCOMES };

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? text : "";
}

/* A prefix, then the bytes of a hex member; false if there is no such member. */
static bool bytes_read(struct bytes *bytes, const json_t *json, const char *name,
                       const uint8_t *prefix, size_t prefix_len)
{
    const char *hex = json_string_value(json_object_get(json, name));
    if (hex == NULL)
        return false;
    bytes->len = prefix_len + strlen(hex) / 2;
    bytes->data = malloc(bytes->len > 0 ? bytes->len : 1);
    MUST(bytes->data != NULL);
    if (prefix_len > 0)
        memcpy(bytes->data, prefix, prefix_len);
    return hex_decode(bytes->data + prefix_len, bytes->len - prefix_len, hex);
}

/* The first len bytes, in a buffer of their own. */
static struct bytes bytes_cut(const struct bytes *bytes, size_t len)
{
    struct bytes cut = {malloc(len > 0 ? len : 1), len};
    MUST(cut.data != NULL);
    memcpy(cut.data, bytes->data, len);
    return cut;
}

static bool scheme_of(const json_t *json, enum tmv_scheme *scheme)
{
    static const char *const names[] = {
        [TMV_LMS] = "LMS", [TMV_HSS] = "HSS", [TMV_XMSS] = "XMSS", [TMV_XMSSMT] = "XMSSMT"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text_of(json, "scheme")) == 0) {
            *scheme = (enum tmv_scheme)i;
            return true;
        }
    }
    return false;
}

/* One signature: in which form, over what, by which key. */
struct trial {
    enum tmv_scheme scheme;
    struct bytes public, message, signature;
};

static void trial_free(struct trial *trial)
{
    bytes_free(&trial->public);
    bytes_free(&trial->message);
    bytes_free(&trial->signature);
}

/* In pieces: the prefix grows byte by byte until it is enough, the message comes in odd lengths. */
static enum tmv_result verify_stream(const struct trial *t, const struct tmv_key *key,
                                     struct tmv_found *found)
{
    struct tmv_verifier v;
    enum tmv_result result = TMV_SHORT;
    for (size_t len = 0; result == TMV_SHORT && len <= t->signature.len; len++) {
        struct bytes prefix CLEANUP(bytes_free) = bytes_cut(&t->signature, len);
        result = tmv_begin(&v, key, prefix.data, len);
    }
    if (result != TMV_OK)
        return result == TMV_SHORT ? TMV_MALFORMED_SIGNATURE : result;
    for (size_t done = 0, piece = 0; done < t->message.len; done += piece) {
        piece = 1 + done * 7 % 97;
        if (piece > t->message.len - done)
            piece = t->message.len - done;
        tmv_update(&v, t->message.data + done, piece);
    }
    return tmv_final(&v, t->signature.data, t->signature.len, found);
}

static enum tmv_result verify_trial(const struct trial *t, struct tmv_found *found)
{
    struct tmv_key key;
    enum tmv_result result = tmv_key_read(&key, t->scheme, t->public.data, t->public.len);
    if (result != TMV_OK)
        return result;
    struct tmv_found streamed = {0, 0};
    enum tmv_result again = verify_stream(t, &key, &streamed);
    result = tmv_verify(&key, t->message.data, t->message.len, t->signature.data, t->signature.len,
                        found);
    MUST(again == result);
    MUST(streamed.index == found->index && streamed.bits == found->bits);
    MUST(result == TMV_OK || (found->index == 0 && found->bits == 0));
    return result;
}

/* Every shorter key and signature of a valid trial, and one that is a byte longer. */
static bool truncated_refused(const struct trial *t)
{
    struct tmv_key key;
    struct tmv_found found;
    for (size_t len = 0; len < t->public.len; len++) {
        struct bytes cut CLEANUP(bytes_free) = bytes_cut(&t->public, len);
        if (tmv_key_read(&key, t->scheme, cut.data, len) == TMV_OK)
            return false;
    }
    if (tmv_key_read(&key, t->scheme, t->public.data, t->public.len) != TMV_OK)
        return false;
    for (size_t len = 0; len < t->signature.len; len++) {
        struct bytes cut CLEANUP(bytes_free) = bytes_cut(&t->signature, len);
        if (tmv_verify(&key, t->message.data, t->message.len, cut.data, len, &found) !=
            TMV_MALFORMED_SIGNATURE)
            return false;
    }
    uint8_t *longer = calloc(1, t->signature.len + 1);
    MUST(longer != NULL);
    memcpy(longer, t->signature.data, t->signature.len);
    enum tmv_result result =
        tmv_verify(&key, t->message.data, t->message.len, longer, t->signature.len + 1, &found);
    free(longer);
    return result == TMV_MALFORMED_SIGNATURE;
}

static bool index_right(const json_t *json, const struct trial *t, const struct tmv_found *found)
{
    const json_t *index = json_object_get(json, "index");
    if (index == NULL || found->bits > 62)
        return true;
    return t->scheme == TMV_LMS || found->index == (uint64_t)json_integer_value(index);
}

static bool trial_read(struct trial *t, const json_t *json, enum tmv_scheme scheme, bool as_hss)
{
    static const uint8_t one[4] = {0, 0, 0, 1};
    static const uint8_t none[4] = {0, 0, 0, 0};
    size_t prefix = as_hss ? 4 : 0;
    t->scheme = as_hss ? TMV_HSS : scheme;
    return bytes_read(&t->public, json, "public_key", one, prefix) &&
           bytes_read(&t->message, json, "message", NULL, 0) &&
           bytes_read(&t->signature, json, "signature", none, prefix);
}

/* A signature as it stands, and for LMS also as HSS with one level. */
static enum outcome check_signature(const json_t *json, enum tmv_scheme scheme, bool as_hss,
                                    const struct options *options, const char **why)
{
    struct trial t CLEANUP(trial_free) = {0};
    struct tmv_found found = {0};
    if (!trial_read(&t, json, scheme, as_hss))
        return SKIPPED;
    bool valid =
        strcmp(text_of(json, "op"), "verify") != 0 || strcmp(text_of(json, "result"), "valid") == 0;
    enum tmv_result result = verify_trial(&t, &found);
    *why = tmv_result_text(result);
    if ((result == TMV_OK) != valid)
        return FAILED;
    if (!valid)
        return PASSED;
    *why = "another index";
    if (!index_right(json, &t, &found))
        return FAILED;
    *why = "taken though it was cut off";
    return options->truncate && !truncated_refused(&t) ? FAILED : PASSED;
}

/* The one DER that RFC 9802 §3 gives a key; der: 192 bytes. */
static size_t spki_print(uint8_t *der, enum tmv_scheme scheme, const struct bytes *raw)
{
    static const char *const algorithms[] = {
        [TMV_HSS] = "300d060b2a864886f70d0109100311",
        [TMV_XMSS] = "300a06082b06010505070622",
        [TMV_XMSSMT] = "300a06082b06010505070623",
    };
    size_t id = strlen(algorithms[scheme]) / 2;
    size_t bits = raw->len + 1;
    size_t head = bits < 128 ? 2 : 3;
    size_t content = id + head + bits;
    size_t at = 0;
    der[at++] = 0x30;
    if (content >= 128)
        der[at++] = 0x81;
    der[at++] = (uint8_t)content;
    MUST(hex_decode(der + at, id, algorithms[scheme]));
    at += id;
    der[at++] = 0x03;
    if (bits >= 128)
        der[at++] = 0x81;
    der[at++] = (uint8_t)bits;
    der[at++] = 0;
    memcpy(der + at, raw->data, raw->len);
    return at + raw->len;
}

/* The key of a certificate, as it stands in there, cut at every length, and with every byte
 * changed: either the same bytes of key come out of it, or nothing. */
static enum outcome check_certificate(const json_t *json, enum tmv_scheme scheme, const char **why)
{
    struct bytes raw CLEANUP(bytes_free) = {0};
    struct bytes cert CLEANUP(bytes_free) = {0};
    uint8_t der[192];
    struct tmv_key key;
    struct tmv_key plain;
    if (!bytes_read(&raw, json, "public_key", NULL, 0) ||
        !bytes_read(&cert, json, "certificate_der", NULL, 0))
        return FAILED;
    struct bytes spki = {der, spki_print(der, scheme, &raw)};
    *why = "its key is not where RFC 9802 puts it";
    if (memmem(cert.data, cert.len, der, spki.len) == NULL)
        return strstr(text_of(json, "id"), "draft") != NULL ||
                       json_object_get(json, "flags") != NULL
                   ? PASSED /* of a time before RFC 9802 */
                   : FAILED;
    *why = "the key in it was not read";
    if (tmv_key_read_spki(&key, der, spki.len) != TMV_OK ||
        tmv_key_read(&plain, scheme, raw.data, raw.len) != TMV_OK ||
        memcmp(&key, &plain, sizeof(key)) != 0)
        return FAILED;
    *why = "a damaged key was read";
    for (size_t len = 0; len < spki.len; len++) {
        struct bytes cut CLEANUP(bytes_free) = bytes_cut(&spki, len);
        if (tmv_key_read_spki(&key, cut.data, len) == TMV_OK)
            return FAILED;
    }
    for (size_t i = 0; i < spki.len - raw.len; i++) {
        der[i] ^= 1;
        bool taken = tmv_key_read_spki(&key, der, spki.len) == TMV_OK;
        der[i] ^= 1;
        if (taken && key.scheme == plain.scheme)
            return FAILED;
    }
    return PASSED;
}

static enum outcome check_public(const json_t *json, enum tmv_scheme scheme)
{
    struct bytes raw CLEANUP(bytes_free) = {0};
    struct tmv_key key;
    if (!bytes_read(&raw, json, "public_key", NULL, 0))
        return SKIPPED;
    return tmv_key_read(&key, scheme, raw.data, raw.len) == TMV_OK ? PASSED : FAILED;
}

static enum outcome check(const json_t *json, const struct options *options, const char **why)
{
    enum tmv_scheme scheme = TMV_LMS;
    *why = "its public key was not read";
    if (!scheme_of(json, &scheme))
        return SKIPPED;
    if (json_object_get(json, "signature") == NULL)
        return check_public(json, scheme);
    /* A key that is exhausted signs nothing, so there is nothing to verify. */
    if (strcmp(text_of(json, "result"), "error") == 0)
        return SKIPPED;
    enum outcome outcome = check_signature(json, scheme, false, options, why);
    if (outcome == PASSED && scheme == TMV_LMS)
        outcome = check_signature(json, scheme, true, options, why);
    if (outcome == PASSED && strcmp(text_of(json, "op"), "x509") == 0)
        outcome = check_certificate(json, scheme, why);
    return outcome;
}

static void file_run(const json_t *root, const struct options *options, unsigned total[OUTCOMES])
{
    unsigned count[OUTCOMES] = {0};
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(root, "vectors"), i, item)
    {
        const char *why = "";
        if (options->only != NULL && strstr(text_of(item, "id"), options->only) == NULL)
            continue;
        enum outcome outcome = check(item, options, &why);
        count[outcome]++;
        total[outcome]++;
        if (outcome == FAILED)
            (void)fprintf(stderr, "FAIL %s: %s\n", text_of(item, "id"), why);
    }
    if (count[PASSED] + count[FAILED] + count[SKIPPED] > 0)
        (void)printf("%s passed=%u failed=%u skipped=%u\n", text_of(root, "name"), count[PASSED],
                     count[FAILED], count[SKIPPED]);
}

static int json_name(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static int dir_run(const struct options *options)
{
    unsigned total[OUTCOMES] = {0};
    struct dirent **entries = NULL;
    bool readable = true;
    int count = scandir(options->dir, &entries, json_name, alphasort);
    if (count < 0) {
        perror(options->dir);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s/%s", options->dir, entries[i]->d_name);
        json_t *root CLEANUP(json_free) = json_load_file(path, 0, NULL);
        if (root == NULL) {
            (void)fprintf(stderr, "FAIL %s: not readable as JSON\n", path);
            readable = false;
        } else if (strcmp(text_of(root, "schema"), "hbs-vectors/1") == 0) {
            file_run(root, options, total);
        }
        free(entries[i]);
    }
    free(entries);
    (void)printf("total passed=%u failed=%u skipped=%u\n", total[PASSED], total[FAILED],
                 total[SKIPPED]);
    return readable && total[FAILED] == 0 && total[PASSED] > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--truncate") == 0)
            options.truncate = true;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            options.only = argv[++i];
        else if (options.dir == NULL)
            options.dir = argv[i];
    }
    if (options.dir == NULL) {
        (void)fprintf(stderr, "usage: %s DIR [--only TEXT] [--truncate]\n", argv[0]);
        return 2;
    }
    return dir_run(&options);
}
