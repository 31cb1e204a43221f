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
 * Skipped are keygen and sign above --max-cost (default medium), and keys that are derived by rules
 * that we do not follow (of these, signatures are verified). A sign vector that is skipped for its
 * cost is still checked as far as that is cheap: its path is taken from the vector, everything else
 * is computed. --only keeps the vectors whose id contains TEXT.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/spki.h"
#include "vectors/run.h"

#define FILE_LEN_MAX (16 * 1024 * 1024)
#define FILES_MAX 256

static const char *const cost_names[COSTS] = {"low", "medium", "high", "extreme"};

struct options {
    const char *dir;
    enum cost max_cost;
    const char *only; /* NULL: all */
};

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

static void json_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

enum outcome failed(struct vector *v, const char *what, const struct err *err)
{
    (void)snprintf(v->why, sizeof(v->why), "%s%s%s", what, err != NULL ? ": " : "",
                   err != NULL ? err_text(err) : "");
    return FAILED;
}

const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

bool has(const struct vector *v, const char *name)
{
    return json_object_get(v->json, name) != NULL;
}

bool flagged(const struct vector *v, const char *flag)
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

bool bytes_read(struct bytes *b, const json_t *object, const char *name, const uint8_t *prefix,
                size_t prefix_len)
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

bool bytes_equal(const struct bytes *b, const uint8_t *data, size_t len)
{
    return b->len == len && (len == 0 || memcmp(b->data, data, len) == 0);
}

bool public_read(struct bytes *b, const struct vector *v)
{
    static const uint8_t one_level[4] = {0, 0, 0, 1};
    return bytes_read(b, v->json, "public_key", one_level, v->bare ? 4 : 0);
}

bool signature_read(struct bytes *b, const struct vector *v)
{
    static const uint8_t no_signed_keys[4] = {0};
    return bytes_read(b, v->json, "signature", no_signed_keys, v->bare ? 4 : 0);
}

enum rc verify_bytes(const struct vector *v, const struct bytes *pub, const struct bytes *message,
                     const struct bytes *sig, struct err *err)
{
    struct hbs_public key;
    enum rc rc = hbs_public_parse(&key, v->scheme, pub->data, pub->len, err);
    if (rc != RC_OK)
        return rc;
    return hbs_verify(&key, message->data, message->len, sig->data, sig->len, err);
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
    enum rc rc = verify_bytes(v, &pub, &message, &sig, &err);
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
    size_t spki_len = spki_der_print(spki, v->scheme, pub.data, pub.len);
    if (memmem(certificate.data, certificate.len, spki, spki_len) == NULL)
        return failed(v, "the certificate does not hold our SubjectPublicKeyInfo", NULL);
    struct hbs_public key;
    struct err err = {0};
    if (spki_public_read(&key, 0, spki, spki_len, &err) != RC_OK)
        return failed(v, "own SubjectPublicKeyInfo refused", &err);
    return PASSED;
}

bool signature_as_published(const struct vector *v, const uint8_t *sig, size_t sig_len)
{
    if (has(v, "signature_sha256")) {
        size_t skip = v->bare ? 4 : 0;
        uint8_t digest[32];
        uint8_t expected[32];
        digest_buffer(DIGEST_SHA256, digest, sig + skip, sig_len - skip);
        return hex_decode(expected, 32, text_of(v->json, "signature_sha256")) &&
               memcmp(digest, expected, 32) == 0;
    }
    struct bytes expected CLEANUP(bytes_free) = {0};
    return signature_read(&expected, v) && bytes_equal(&expected, sig, sig_len);
}

const uint8_t *randomizer_read(uint8_t *c, const struct vector *v, uint8_t n)
{
    const json_t *secret = json_object_get(v->json, "private");
    if (strcmp(text_of(secret, "randomizer_derivation"), "random") != 0)
        return NULL;
    return hex_decode(c, n, text_of(v->json, "randomizer")) ? c : NULL;
}

bool too_costly(const struct vector *v, enum cost max)
{
    const char *name = text_of(v->json, "cost");
    for (unsigned c = 0; c <= max; c++)
        if (strcmp(name, cost_names[c]) == 0)
            return false;
    return name[0] != '\0';
}

/* The operations that need a private key, by family of schemes. */
static enum outcome check_keygen(struct vector *v)
{
    return v->scheme == HBS_SCHEME_HSS ? lms_check_keygen(v) : xmss_check_keygen(v);
}

static enum outcome check_sign(struct vector *v)
{
    return v->scheme == HBS_SCHEME_HSS ? lms_check_sign(v) : xmss_check_sign(v);
}

static enum outcome check_sign_with_path(struct vector *v)
{
    return v->scheme == HBS_SCHEME_HSS ? lms_check_sign_with_path(v) : xmss_check_sign_with_path(v);
}

static enum outcome check_cose(struct vector *v)
{
    enum outcome outcome = check_verify(v);
    if (outcome == PASSED && has(v, "private"))
        outcome = check_sign(v);
    return outcome;
}

static bool scheme_read(struct vector *v)
{
    static const struct {
        const char *name;
        enum hbs_scheme scheme;
        bool bare;
    } schemes[] = {{"LMS", HBS_SCHEME_HSS, true},
                   {"HSS", HBS_SCHEME_HSS, false},
                   {"XMSS", HBS_SCHEME_XMSS, false},
                   {"XMSSMT", HBS_SCHEME_XMSSMT, false}};
    const char *name = text_of(v->json, "scheme");
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strcmp(name, schemes[i].name) != 0)
            continue;
        v->scheme = schemes[i].scheme;
        v->bare = schemes[i].bare;
        return true;
    }
    return false;
}

static enum outcome check(struct vector *v, const struct options *options)
{
    if (!scheme_read(v))
        return failed(v, "unknown scheme", NULL);
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
