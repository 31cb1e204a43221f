/* Reading documents and receipts: the other half of document.h. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "attest/document.h"
#include "base/bytes.h"
#include "base/digest.h"

#define RECEIPT_TEXT_MAX (ATTEST_TEXT_MAX + 8 * 1024)
#define NO(err, ...) FAIL((err), RC_REFUSED_SIGNATURE, "", 0, __VA_ARGS__)

static void json_release(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* One object on the way: members are taken by name, and at the end each must have been. */
struct object {
    json_t *json;
    const char *name; /* for messages */
    size_t taken;
    struct err *err; /* the first thing that is wrong */
    enum rc rc;
};

static void wrong(struct object *o, const char *what, const char *member)
{
    if (o->rc == RC_OK)
        o->rc = FAIL(o->err, RC_REFUSED_SIGNATURE, "", 0, "%s: \"%s\" %s",
                     o->name[0] != '\0' ? o->name : "the document", member, what);
}

static json_t *member(struct object *o, const char *name)
{
    json_t *value = json_object_get(o->json, name);
    if (value == NULL)
        wrong(o, "is missing", name);
    else
        o->taken++;
    return value;
}

static struct object child(struct object *o, const char *name)
{
    struct object c = {.json = member(o, name), .name = name, .err = o->err, .rc = o->rc};
    if (o->rc == RC_OK && !json_is_object(c.json)) {
        wrong(o, "is no object", name);
        c.rc = o->rc;
    }
    return c;
}

/* Nothing may stand there that nobody looked at. */
static void close_object(struct object *parent, struct object *o)
{
    if (o->rc == RC_OK && json_object_size(o->json) != o->taken)
        o->rc = NO(o->err, "%s: has members that do not belong there",
                   o->name[0] != '\0' ? o->name : "the document");
    if (parent->rc == RC_OK)
        parent->rc = o->rc;
}

static const char *take_text(struct object *o, const char *name)
{
    const json_t *value = member(o, name);
    if (value != NULL && !json_is_string(value))
        wrong(o, "is no text", name);
    const char *text = json_string_value(value);
    return text != NULL ? text : "";
}

static void take_hex(struct object *o, const char *name, uint8_t *out, size_t len)
{
    if (!hex_decode(out, len, take_text(o, name)))
        wrong(o, "is not hex of its length", name);
}

/* Numbers beyond 2^53 are strings of digits; printing them again shows whether they had to be. */
static uint64_t take_u64(struct object *o, const char *name, uint64_t max)
{
    const json_t *value = member(o, name);
    uint64_t number = 0;
    bool good = false;
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
        good = number <= max;
    } else if (json_is_string(value)) {
        good = text_to_u64(&number, json_string_value(value), max);
    }
    if (!good)
        wrong(o, "is no number in its range", name);
    return good ? number : 0;
}

static int64_t take_i64(struct object *o, const char *name)
{
    const json_t *value = json_object_get(o->json, name);
    uint64_t number = 0;
    if (json_is_integer(value)) {
        o->taken++;
        return json_integer_value(value);
    }
    const char *text = json_string_value(value);
    if (text == NULL || text[0] != '-')
        return (int64_t)take_u64(o, name, INT64_MAX);
    o->taken++;
    if (!text_to_u64(&number, text + 1, INT64_MAX))
        wrong(o, "is no number in its range", name);
    return -(int64_t)number;
}

static bool take_bool(struct object *o, const char *name)
{
    const json_t *value = member(o, name);
    if (value != NULL && !json_is_boolean(value))
        wrong(o, "is neither true nor false", name);
    return json_is_true(value);
}

static int64_t take_time(struct object *o, const char *name)
{
    int64_t seconds = 0;
    if (!rfc3339_parse(&seconds, take_text(o, name)))
        wrong(o, "is no time", name);
    return seconds;
}

static void take_name(struct object *o, const char *name, char out[NAME_LEN_MAX + 1])
{
    const char *text = take_text(o, name);
    if (!name_valid(text))
        wrong(o, "is no name of a key", name);
    else
        text_copy(out, NAME_LEN_MAX + 1, text);
}

static void take_point(struct object *o, const char *name, uint8_t point[P256_POINT_LEN])
{
    if (!p256_pem_parse(point, take_text(o, name)))
        wrong(o, "is no P-256 public key in PEM", name);
}

static void take_nonce(struct object *o, struct attest_bound *b)
{
    const char *text = take_text(o, "nonce");
    size_t len = strnlen(text, HEX_SIZE(ATTEST_NONCE_MAX)) / 2;
    if (len < ATTEST_NONCE_MIN || len > ATTEST_NONCE_MAX || !hex_decode(b->nonce, len, text))
        wrong(o, "is not hex of 8 to 64 bytes", "nonce");
    else
        b->nonce_len = len;
}

static void take_bound(struct object *parent, struct attest_bound *b)
{
    struct object o = child(parent, "bound");
    take_hex(&o, "a_name", b->a_name, TPM_NAME_LEN);
    take_hex(&o, "ak_name", b->ak_name, TPM_NAME_LEN);
    b->at_s = take_time(&o, "at");
    take_hex(&o, "ek_name", b->ek_name, TPM_NAME_LEN);
    b->entries = take_u64(&o, "entries", INT64_MAX);
    take_hex(&o, "head", b->head, SHA256_LEN);
    take_name(&o, "key", b->key);
    b->l_first = take_u64(&o, "l_first", INT64_MAX);
    take_hex(&o, "l_name", b->l_name, TPM_NAME_LEN);
    take_nonce(&o, b);
    take_hex(&o, "plan_sha256", b->plan_sha256, SHA256_LEN);
    take_hex(&o, "public_sha256", b->public_sha256, SHA256_LEN);
    const char *tpm = take_text(&o, "tpm");
    if (!token_valid(tpm, sizeof(b->tpm) - 1))
        wrong(&o, "is no name of a TPM", "tpm");
    else
        text_copy(b->tpm, sizeof(b->tpm), tpm);
    b->tpm_virtual = take_bool(&o, "tpm_virtual");
    b->w_base = take_i64(&o, "w_base");
    take_hex(&o, "w_name", b->w_name, TPM_NAME_LEN);
    close_object(parent, &o);
}

static void take_statement(struct object *parent, const char *name, struct attested *a)
{
    uint8_t der[P256_SIG_DER_MAX];
    size_t der_len = 0;
    struct object o = child(parent, name);
    const char *attested = take_text(&o, "attested");
    if (!base64_decode(a->bytes, sizeof(a->bytes), &a->len, attested, strlen(attested)) ||
        a->len == 0)
        wrong(&o, "is no base64 of a statement", "attested");
    const char *sig = take_text(&o, "signature");
    if (!base64_decode(der, sizeof(der), &der_len, sig, strlen(sig)) ||
        !p256_sig_parse(a->sig, der, der_len))
        wrong(&o, "is no base64 of an ECDSA signature in DER", "signature");
    close_object(parent, &o);
}

static void take_evidence(struct object *parent, struct attest_evidence *e)
{
    struct object o = child(parent, "evidence");
    take_statement(&o, "a", &e->a);
    take_statement(&o, "l", &e->l);
    if (json_object_get(o.json, "time") != NULL)
        take_statement(&o, "time", &e->time);
    take_statement(&o, "w", &e->w);
    close_object(parent, &o);
}

static void take_anchored(struct object *parent, struct attest_meaning *m)
{
    struct object o = child(parent, "anchored");
    take_hex(&o, "head", m->anchored_head, SHA256_LEN);
    m->anchored_wall_s = take_i64(&o, "wall_s");
    m->anchored_window = take_i64(&o, "window");
    close_object(parent, &o);
}

static void take_meaning(struct object *parent, struct attest_meaning *m)
{
    uint8_t firmware[8] = {0};
    struct object o = child(parent, "meaning");
    take_anchored(&o, m);
    m->clock_ms = take_u64(&o, "clock_ms", UINT64_MAX);
    m->epoch = take_u64(&o, "epoch", INT64_MAX);
    take_hex(&o, "firmware", firmware, sizeof(firmware));
    m->firmware = be_get64(firmware);
    m->floor = take_i64(&o, "floor");
    m->l = take_u64(&o, "l", UINT64_MAX);
    m->reset_count = (uint32_t)take_u64(&o, "reset_count", UINT32_MAX);
    m->restart_count = (uint32_t)take_u64(&o, "restart_count", UINT32_MAX);
    m->safe = take_bool(&o, "safe");
    m->w = take_u64(&o, "w", UINT64_MAX);
    close_object(parent, &o);
}

static enum rc take_document(struct attest_document *doc, json_t *json, const char *name,
                             struct err *err)
{
    struct object nobody = {0};
    struct object o = {.json = json, .name = name, .err = err};
    uint64_t version = take_u64(&o, "tidemark_attestation", INT64_MAX);
    if (o.rc == RC_OK && version != ATTEST_DOCUMENT_VERSION)
        o.rc = NO(err, "an attestation of form %" PRIu64 ", and this program reads %d", version,
                  ATTEST_DOCUMENT_VERSION);
    take_point(&o, "ak", doc->ak);
    take_point(&o, "ek", doc->ek);
    take_bound(&o, &doc->bound);
    take_evidence(&o, &doc->evidence);
    take_meaning(&o, &doc->meaning);
    close_object(&nobody, &o);
    return o.rc;
}

/* Text to JSON ----------------------------------------------------------------------------------*/

static enum rc load(json_t **json, const char *text, size_t len, size_t max, struct err *err)
{
    json_error_t where;
    if (len > max)
        return NO(err, "%zu bytes are more than an attestation has", len);
    *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (*json == NULL)
        return NO(err, "no JSON: %.60s at byte %d", where.text, where.position);
    if (!json_is_object(*json))
        return NO(err, "no JSON object");
    return RC_OK;
}

static bool one_form(const struct jcs *j, const char *text, size_t len)
{
    bool newline = len == j->len + 1 && text[j->len] == '\n';
    return (len == j->len || newline) && memcmp(text, j->text, j->len) == 0;
}

enum rc attest_document_parse(struct attest_document *doc, const char *text, size_t len,
                              struct err *err)
{
    json_t *json CLEANUP(json_release) = NULL;
    struct jcs again CLEANUP(jcs_wipe) = {0};
    *doc = (struct attest_document){0};
    enum rc rc = load(&json, text, len, ATTEST_TEXT_MAX, err);
    if (rc == RC_OK)
        rc = take_document(doc, json, "", err);
    if (rc == RC_OK) {
        attest_document_print(&again, doc);
        if (!jcs_finish(&again))
            rc = FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for an attestation");
        else if (!one_form(&again, text, len))
            rc = NO(err, "not canonical JSON: somebody wrote it anew");
    }
    if (rc != RC_OK)
        *doc = (struct attest_document){0};
    return rc;
}

/* Receipts --------------------------------------------------------------------------------------*/

/* Hash the entry, which is the text without the attestation and the comma before it. */
static enum rc hash_entry(uint8_t hash[SHA256_LEN], const char *text, size_t len,
                          const struct attest_document *doc, struct err *err)
{
    static const char before[] = ",\"attestation\":";
    const size_t before_len = sizeof(before) - 1;
    static const uint8_t leaf = 0x00; /* RFC 6962 §2.1 */
    struct jcs again CLEANUP(jcs_wipe) = {0};
    struct digest d CLEANUP(digest_close) = {0};
    attest_document_print(&again, doc);
    if (!jcs_finish(&again))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for an attestation");
    const char *at = memmem(text, len, before, before_len);
    size_t head_len = at != NULL ? (size_t)(at - text) : len;
    size_t tail = head_len + before_len + again.len;
    if (tail > len || memcmp(at + before_len, again.text, again.len) != 0)
        return NO(err, "its attestation is not canonical JSON: somebody wrote it anew");
    enum rc rc = digest_open(&d, DIGEST_SHA256, err);
    if (rc != RC_OK)
        return rc;
    if (text[len - 1] == '\n')
        len--;
    digest_update(&d, &leaf, 1);
    digest_update(&d, text, head_len);
    digest_update(&d, text + tail, len - tail);
    digest_final(&d, hash);
    return RC_OK;
}

static enum rc take_receipt(struct attest_receipt *r, json_t *json, struct err *err)
{
    struct object o = {.json = json, .name = "the receipt", .err = err};
    if (strcmp(take_text(&o, "kind"), "receipt") != 0)
        wrong(&o, "is not \"receipt\"", "kind");
    take_name(&o, "key", r->key);
    take_hex(&o, "id", r->id, sizeof(r->id));
    r->index = take_u64(&o, "index", INT64_MAX);
    if (o.rc != RC_OK)
        return o.rc;
    json_t *attestation = json_object_get(json, "attestation");
    if (attestation == NULL)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0,
                    "this receipt carries no attestation; one in each period does");
    if (!json_is_object(attestation))
        return NO(err, "the receipt: \"attestation\" is no object");
    return take_document(&r->document, attestation, "its attestation", err);
}

enum rc attest_receipt_parse(struct attest_receipt *receipt, const char *text, size_t len,
                             struct err *err)
{
    json_t *json CLEANUP(json_release) = NULL;
    *receipt = (struct attest_receipt){0};
    enum rc rc = load(&json, text, len, RECEIPT_TEXT_MAX, err);
    if (rc == RC_OK)
        rc = take_receipt(receipt, json, err);
    if (rc == RC_OK)
        rc = hash_entry(receipt->entry_sha256, text, len, &receipt->document, err);
    if (rc != RC_OK)
        *receipt = (struct attest_receipt){0};
    return rc;
}
