/*
 * run: hold src/hbs to public test vectors.
 *
 *     run DIR [--max-cost low|medium|high|extreme] [--only TEXT]
 *
 * DIR holds JSON files in the schema of tests/vectors/data/README.md. One line per file says how
 * many vectors passed, failed and were skipped; failures are named on standard error. Exit status 1
 * if any failed or none passed.
 *
 * - keygen: the public key must come out byte for byte.
 * - sign: the signature must come out byte for byte, and verify under the vector's public key. For
 * HSS at cost low the public key is made too.
 * - verify: valid or refused, as the vector says.
 * - x509: verify, and the certificate must hold the key as we print it (RFC 9802 form only).
 * - cose: verify, and sign where the private key is given.
 *
 * XMSS and XMSS^MT are skipped, and so are keygen and sign above --max-cost (default medium). A
 * sign vector that is skipped for its cost is still checked as far as that is cheap: its path is
 * taken from the vector, everything else is computed. --only keeps the vectors whose id contains
 * TEXT.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/hss.h"
#include "hbs/spki.h"

#define FILE_LEN_MAX (16 * 1024 * 1024)
#define FILES_MAX 256

enum outcome { PASSED, FAILED, SKIPPED, OUTCOMES };
enum cost { COST_LOW, COST_MEDIUM, COST_HIGH, COST_EXTREME, COSTS };

static const char *const cost_names[COSTS] = {"low", "medium", "high", "extreme"};

struct options {
    const char *dir;
    enum cost max_cost;
    const char *only; /* NULL: all */
};

/* Bytes on the heap in a block of exactly their length, so that AddressSanitizer sees an over-read.
 */
struct bytes {
    uint8_t *data;
    size_t len;
};

static void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

static void json_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* A vector, its fields as text, and why it failed. */
struct vector {
    const json_t *json;
    const char *id;
    const char *op;
    bool hss; /* else a bare LMS tree, which we wrap into one level of HSS */
    char why[300];
};

static enum outcome failed(struct vector *v, const char *what, const struct err *err)
{
    (void)snprintf(v->why, sizeof(v->why), "%s%s%s", what, err != NULL ? ": " : "",
                   err != NULL ? err_text(err) : "");
    return FAILED;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static bool has(const struct vector *v, const char *name)
{
    return json_object_get(v->json, name) != NULL;
}

static bool flagged(const struct vector *v, const char *flag)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(v->json, "flags"), i, item)
    {
        if (strcmp(json_string_value(item), flag) == 0)
            return true;
    }
    return false;
}

/* A hex field behind prefix_len bytes of prefix. */
static bool bytes_read(struct bytes *b, const json_t *object, const char *name,
                       const uint8_t *prefix, size_t prefix_len)
{
    const char *hex = json_string_value(json_object_get(object, name));
    if (hex == NULL || strlen(hex) % 2 != 0)
        return false;
    size_t len = strlen(hex) / 2;
    b->data = malloc(prefix_len + len);
    if (b->data == NULL && prefix_len + len > 0)
        return false;
    b->len = prefix_len + len;
    if (prefix_len > 0)
        memcpy(b->data, prefix, prefix_len);
    return len == 0 || hex_decode(b->data + prefix_len, len, hex);
}

static bool bytes_equal(const struct bytes *b, const uint8_t *data, size_t len)
{
    return b->len == len && (len == 0 || memcmp(b->data, data, len) == 0);
}

/* Public key and signature in HSS form. */
static bool public_read(struct bytes *b, const struct vector *v)
{
    static const uint8_t one_level[4] = {0, 0, 0, 1};
    return bytes_read(b, v->json, "public_key", one_level, v->hss ? 0 : 4);
}

static bool signature_read(struct bytes *b, const struct vector *v)
{
    static const uint8_t no_signed_keys[4] = {0};
    return bytes_read(b, v->json, "signature", no_signed_keys, v->hss ? 0 : 4);
}

static enum rc verify_bytes(const struct bytes *pub, const struct bytes *message,
                            const struct bytes *sig, struct err *err)
{
    struct hss_public key;
    enum rc rc = hss_public_parse(&key, pub->data, pub->len, err);
    if (rc != RC_OK)
        return rc;
    return hss_verify(&key, message->data, message->len, sig->data, sig->len, err);
}

static enum outcome check_verify(struct vector *v)
{
    struct bytes pub CLEANUP(bytes_free) = {0};
    struct bytes message CLEANUP(bytes_free) = {0};
    struct bytes sig CLEANUP(bytes_free) = {0};
    if (!public_read(&pub, v) || !bytes_read(&message, v->json, "message", NULL, 0) ||
        !signature_read(&sig, v))
        return failed(v, "fields missing", NULL);
    struct err err = {0};
    enum rc rc = verify_bytes(&pub, &message, &sig, &err);
    bool valid = strcmp(text_of(v->json, "result"), "valid") == 0;
    if (valid && rc != RC_OK)
        return failed(v, "refused", &err);
    if (!valid && rc == RC_OK)
        return failed(v, "accepted", NULL);
    if (!valid && rc_class(rc) != RC_CLASS_REFUSED)
        return failed(v, "not cleanly refused", &err);
    return PASSED;
}

static enum outcome check_x509(struct vector *v)
{
    enum outcome verified = check_verify(v);
    if (verified != PASSED || flagged(v, "pre-rfc9802-oid") ||
        flagged(v, "spki-octet-string-wrapped") || flagged(v, "draft-example"))
        return verified;
    struct bytes pub CLEANUP(bytes_free) = {0};
    struct bytes certificate CLEANUP(bytes_free) = {0};
    if (!public_read(&pub, v) || !bytes_read(&certificate, v->json, "certificate_der", NULL, 0))
        return failed(v, "fields missing", NULL);
    uint8_t spki[SPKI_DER_MAX];
    size_t spki_len = spki_der_print(spki, pub.data, pub.len);
    if (memmem(certificate.data, certificate.len, spki, spki_len) == NULL)
        return failed(v, "the certificate does not hold our SubjectPublicKeyInfo", NULL);
    struct hss_public key;
    struct err err = {0};
    if (spki_public_read(&key, spki, spki_len, &err) != RC_OK)
        return failed(v, "own SubjectPublicKeyInfo refused", &err);
    return PASSED;
}

/* Seed and I of one level. False if the seed is not of n bytes. */
static bool level_read(struct hss_level_secret *secret, const struct lms_set *set,
                       const json_t *json)
{
    return hex_decode(secret->seed, set->ots->n, text_of(json, "seed")) &&
           hex_decode(secret->i, LMS_I_LEN, text_of(json, "i"));
}

static bool private_read(struct hss_private *key, const struct vector *v)
{
    const json_t *sets = json_object_get(v->json, "lms_types");
    const json_t *ots = json_object_get(v->json, "lmots_types");
    const json_t *secret = json_object_get(v->json, "private");
    const json_t *levels = json_object_get(secret, "levels");
    size_t count = json_array_size(sets);
    if (count < 1 || count > HSS_LEVELS_MAX || json_array_size(ots) != count)
        return false;
    key->levels = (uint32_t)count;
    key->given_levels = levels != NULL;
    for (size_t i = 0; i < count; i++) {
        const char *lms_name = json_string_value(json_array_get(sets, i));
        const char *ots_name = json_string_value(json_array_get(ots, i));
        key->set[i] =
            (struct lms_set){lms_params_by_name(lms_name), lmots_params_by_name(ots_name)};
        if (!lms_set_valid(&key->set[i]))
            return false;
        if (key->given_levels &&
            !level_read(&key->secret[i], &key->set[i], json_array_get(levels, i)))
            return false;
    }
    return key->given_levels || level_read(&key->secret[0], &key->set[0], secret);
}

static enum outcome check_public(struct vector *v, const struct hss_private *key)
{
    struct bytes expected CLEANUP(bytes_free) = {0};
    if (!public_read(&expected, v))
        return failed(v, "fields missing", NULL);
    struct hss_public pub;
    struct err err = {0};
    if (hss_keygen(key, &pub, &err) != RC_OK)
        return failed(v, "keygen", &err);
    uint8_t raw[HSS_PUB_LEN_MAX];
    if (!bytes_equal(&expected, raw, hss_public_print(&pub, raw)))
        return failed(v, "another public key", NULL);
    return PASSED;
}

static enum outcome check_keygen(struct vector *v)
{
    /* Old samples hash a seed of 32 bytes whole where n is 24; we insist on n (RFC 9858). */
    if (flagged(v, "seed-longer-than-n"))
        return SKIPPED;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    if (!private_read(&key, v))
        return failed(v, "private key not understood", NULL);
    return check_public(v, &key);
}

static bool signature_as_published(const struct vector *v, const uint8_t *sig, size_t sig_len)
{
    if (has(v, "signature_sha256")) {
        size_t skip = v->hss ? 0 : 4;
        uint8_t digest[32];
        uint8_t expected[32];
        digest_buffer(DIGEST_SHA256, digest, sig + skip, sig_len - skip);
        return hex_decode(expected, 32, text_of(v->json, "signature_sha256")) &&
               memcmp(digest, expected, 32) == 0;
    }
    struct bytes expected CLEANUP(bytes_free) = {0};
    return signature_read(&expected, v) && bytes_equal(&expected, sig, sig_len);
}

/* The injected randomizer, or NULL where it is derived. */
static const uint8_t *randomizer_read(uint8_t c[HBS_N_MAX], const struct vector *v, uint8_t n)
{
    const json_t *secret = json_object_get(v->json, "private");
    if (strcmp(text_of(secret, "randomizer_derivation"), "random") != 0)
        return NULL;
    return hex_decode(c, n, text_of(v->json, "randomizer")) ? c : NULL;
}

static bool too_costly(const struct vector *v, enum cost max)
{
    const char *name = text_of(v->json, "cost");
    for (unsigned c = 0; c <= max; c++)
        if (strcmp(name, cost_names[c]) == 0)
            return false;
    return name[0] != '\0';
}

static enum outcome check_sign(struct vector *v)
{
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    struct bytes message CLEANUP(bytes_free) = {0};
    struct bytes pub CLEANUP(bytes_free) = {0};
    if (!private_read(&key, v) || !bytes_read(&message, v->json, "message", NULL, 0) ||
        !public_read(&pub, v))
        return failed(v, "fields missing", NULL);
    struct ots_lease lease = {.epoch = 1};
    lease.index = (uint64_t)json_integer_value(json_object_get(v->json, "index"));
    uint8_t c[HBS_N_MAX];
    const uint8_t *randomizer = randomizer_read(c, v, key.set[key.levels - 1].ots->n);
    static uint8_t sig[HSS_SIG_LEN_MAX];
    struct bytes made = {.data = sig};
    struct err err = {0};
    enum rc rc =
        hss_sign(&lease, &key, message.data, message.len, randomizer, sig, &made.len, &err);
    if (strcmp(text_of(v->json, "result"), "error") == 0)
        return rc == RC_REFUSED_EXHAUSTED ? PASSED : failed(v, "not refused", &err);
    if (rc != RC_OK)
        return failed(v, "sign", &err);
    if (!signature_as_published(v, sig, made.len))
        return failed(v, "another signature", NULL);
    if (verify_bytes(&pub, &message, &made, &err) != RC_OK)
        return failed(v, "refused", &err);
    /* Equal bytes that verify came from the same root. HSS has no keygen vectors of its own,
     * though. */
    return v->hss && !too_costly(v, COST_LOW) ? check_public(v, &key) : PASSED;
}

/* A sign vector whose tree would take too long: everything but the path is computed, and the path
 * must lead to the root. */
static enum outcome check_sign_with_path(struct vector *v)
{
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    struct bytes message CLEANUP(bytes_free) = {0};
    struct bytes pub CLEANUP(bytes_free) = {0};
    struct bytes sig CLEANUP(bytes_free) = {0};
    struct hss_public parsed;
    if (has(v, "signature_sha256") || !private_read(&key, v) || key.levels != 1 ||
        !bytes_read(&message, v->json, "message", NULL, 0) || !public_read(&pub, v) ||
        !signature_read(&sig, v) || hss_public_parse(&parsed, pub.data, pub.len, NULL) != RC_OK)
        return SKIPPED;
    const struct lms_tree *tree = &parsed.top;
    struct ots_lease lease = {.epoch = 1};
    lease.index = (uint64_t)json_integer_value(json_object_get(v->json, "index"));
    uint32_t q = (uint32_t)lease.index;
    struct window_secret secret CLEANUP(window_secret_wipe) = {0};
    memcpy(secret.seed, key.secret[0].seed, HBS_N_MAX);
    uint8_t c[HBS_N_MAX];
    if (randomizer_read(c, v, tree->set.ots->n) == NULL)
        lms_randomizer(tree, q, &secret, c);
    uint8_t value[HBS_N_MAX];
    struct lms_message m CLEANUP(lms_message_close) = {0};
    if (lms_message_open(&m, tree, q, c, NULL) != RC_OK)
        return failed(v, "no memory", NULL);
    lms_message_update(&m, message.data, message.len);
    lms_message_final(&m, value);
    size_t len = lms_sig_len(&tree->set);
    if (sig.len != 4 + len)
        return failed(v, "signature of another length", NULL);
    static uint8_t made[LMS_SIG_LEN_MAX];
    const uint8_t *path = sig.data + sig.len - (size_t)tree->set.lms->h * tree->set.lms->m;
    hbs_sign(&lease, tree, &secret, c, value, path, made);
    if (memcmp(made, sig.data + 4, len) != 0)
        return failed(v, "another one-time signature", NULL);
    if (!lms_verify_release(tree, parsed.root, q, c, value, made, len))
        return failed(v, "the path does not lead to the root", NULL);
    return SKIPPED;
}

static enum outcome check_cose(struct vector *v)
{
    enum outcome outcome = check_verify(v);
    if (outcome == PASSED && has(v, "private"))
        outcome = check_sign(v);
    return outcome;
}

static enum outcome check(struct vector *v, const struct options *options)
{
    const char *scheme = text_of(v->json, "scheme");
    v->hss = strcmp(scheme, "HSS") == 0;
    if (!v->hss && strcmp(scheme, "LMS") != 0)
        return SKIPPED;
    bool costly = too_costly(v, options->max_cost);
    if (strcmp(v->op, "keygen") == 0)
        return costly ? SKIPPED : check_keygen(v);
    if (strcmp(v->op, "sign") == 0)
        return costly ? check_sign_with_path(v) : check_sign(v);
    if (strcmp(v->op, "verify") == 0)
        return check_verify(v);
    if (strcmp(v->op, "x509") == 0)
        return check_x509(v);
    if (strcmp(v->op, "cose") == 0)
        return check_cose(v);
    return failed(v, "unknown operation", NULL);
}

struct tally {
    unsigned count[OUTCOMES];
};

static void vector_run(const json_t *json, const struct options *options, struct tally *tally)
{
    struct vector v = {.json = json, .id = text_of(json, "id"), .op = text_of(json, "op")};
    if (options->only != NULL && strstr(v.id, options->only) == NULL)
        return;
    enum outcome outcome = check(&v, options);
    if (outcome == FAILED)
        (void)fprintf(stderr, "FAIL %s %s: %s\n", v.id, v.op, v.why);
    tally->count[outcome]++;
}

/* One file. False if it cannot be read; a JSON file of another schema counts for nothing. */
static bool file_run(int dirfd, const char *name, const struct options *options,
                     struct tally *total)
{
    struct bytes text CLEANUP(bytes_free) = {0};
    struct err err = {0};
    if (file_read(dirfd, name, FILE_LEN_MAX, (char **)&text.data, &text.len, &err) != RC_OK) {
        (void)fprintf(stderr, "FAIL %s: %s\n", name, err_text(&err));
        return false;
    }
    json_error_t where;
    json_t *root CLEANUP(json_free) = json_loadb((char *)text.data, text.len, 0, &where);
    if (root == NULL) {
        (void)fprintf(stderr, "FAIL %s:%d: %s\n", name, where.line, where.text);
        return false;
    }
    if (strcmp(text_of(root, "schema"), "hbs-vectors/1") != 0)
        return true;
    struct tally tally = {0};
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(root, "vectors"), i, item)
    {
        vector_run(item, options, &tally);
    }
    for (unsigned o = 0; o < OUTCOMES; o++)
        total->count[o] += tally.count[o];
    if (tally.count[PASSED] + tally.count[FAILED] + tally.count[SKIPPED] > 0)
        (void)printf("%s passed=%u failed=%u skipped=%u\n", text_of(root, "name"),
                     tally.count[PASSED], tally.count[FAILED], tally.count[SKIPPED]);
    (void)fflush(stdout);
    return true;
}

static int json_name(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static int dir_run(const struct options *options)
{
    int fd CLEANUP(fd_close) = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **entries = NULL;
    int count = fd < 0 ? -1 : scandir(options->dir, &entries, json_name, alphasort);
    if (count < 0) {
        perror(options->dir);
        return 1;
    }
    struct tally total = {0};
    bool read = true;
    for (int i = 0; i < count; i++) {
        read = file_run(fd, entries[i]->d_name, options, &total) && read;
        free(entries[i]);
    }
    free(entries);
    (void)printf("total passed=%u failed=%u skipped=%u\n", total.count[PASSED], total.count[FAILED],
                 total.count[SKIPPED]);
    return read && total.count[FAILED] == 0 && total.count[PASSED] > 0 ? 0 : 1;
}

static bool options_read(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--max-cost") == 0 && value) {
            unsigned c = 0;
            i++;
            while (c < COSTS && strcmp(argv[i], cost_names[c]) != 0)
                c++;
            if (c == COSTS)
                return false;
            options->max_cost = (enum cost)c;
        } else if (strcmp(argv[i], "--only") == 0 && value) {
            options->only = argv[++i];
        } else if (options->dir == NULL && argv[i][0] != '-') {
            options->dir = argv[i];
        } else {
            return false;
        }
    }
    return options->dir != NULL;
}

int main(int argc, char **argv)
{
    struct options options = {.max_cost = COST_MEDIUM};
    if (!options_read(&options, argc, argv)) {
        (void)fprintf(stderr, "usage: %s DIR [--max-cost low|medium|high|extreme] [--only TEXT]\n",
                      argv[0]);
        return 2;
    }
    struct err err = {0};
    if (base_init(&err) != RC_OK) {
        (void)fprintf(stderr, "%s\n", err_text(&err));
        return 1;
    }
    return dir_run(&options);
}
