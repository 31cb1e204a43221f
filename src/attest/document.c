#include "attest/document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

/* Printing. Members in sorted order, as jcs.h wants them. ---------------------------------------*/

/* Beyond 2^53 a number is a string of digits, with a sign where it needs one. */
static void member_i64(struct jcs *j, const char *key, int64_t value)
{
    char text[24];
    if (value >= 0) {
        jcs_member_u64(j, key, (uint64_t)value);
    } else if (value >= -(INT64_C(1) << 53)) {
        jcs_member_int(j, key, value);
    } else {
        (void)snprintf(text, sizeof(text), "%" PRId64, value);
        jcs_member_string(j, key, text);
    }
}

static void member_time(struct jcs *j, const char *key, int64_t seconds)
{
    char text[RFC3339_SIZE];
    rfc3339_print(text, seconds);
    jcs_member_string(j, key, text);
}

static void print_bound(struct jcs *j, const struct attest_bound *b)
{
    jcs_object_open(j);
    jcs_member_hex(j, "a_name", b->a_name, TPM_NAME_LEN);
    jcs_member_hex(j, "ak_name", b->ak_name, TPM_NAME_LEN);
    member_time(j, "at", b->at_s);
    jcs_member_hex(j, "ek_name", b->ek_name, TPM_NAME_LEN);
    jcs_member_u64(j, "entries", b->entries);
    jcs_member_hex(j, "head", b->head, SHA256_LEN);
    jcs_member_string(j, "key", b->key);
    jcs_member_u64(j, "l_first", b->l_first);
    jcs_member_hex(j, "l_name", b->l_name, TPM_NAME_LEN);
    jcs_member_hex(j, "nonce", b->nonce, b->nonce_len);
    jcs_member_hex(j, "plan_sha256", b->plan_sha256, SHA256_LEN);
    jcs_member_hex(j, "public_sha256", b->public_sha256, SHA256_LEN);
    jcs_member_string(j, "tpm", b->tpm);
    jcs_member_bool(j, "tpm_virtual", b->tpm_virtual);
    member_i64(j, "w_base", b->w_base);
    jcs_member_hex(j, "w_name", b->w_name, TPM_NAME_LEN);
    jcs_object_close(j);
}

enum rc attest_digest(uint8_t digest[32], const struct attest_bound *bound, struct err *err)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    memset(digest, 0, 32);
    print_bound(&j, bound);
    if (!jcs_finish(&j))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for an attestation");
    digest_buffer(DIGEST_SHA256, digest, j.text, j.len);
    return RC_OK;
}

static void print_statement(struct jcs *j, const char *key, const struct attested *a)
{
    char base64[BASE64_SIZE(ATTESTED_LEN_MAX)];
    uint8_t der[P256_SIG_DER_MAX];
    if (a->len == 0)
        return;
    jcs_key(j, key);
    jcs_object_open(j);
    base64_encode(base64, a->bytes, a->len);
    jcs_member_string(j, "attested", base64);
    base64_encode(base64, der, p256_sig_print(der, a->sig));
    jcs_member_string(j, "signature", base64);
    jcs_object_close(j);
}

static void print_meaning(struct jcs *j, const struct attest_meaning *m)
{
    uint8_t firmware[8];
    jcs_object_open(j);
    jcs_key(j, "anchored");
    jcs_object_open(j);
    jcs_member_hex(j, "head", m->anchored_head, SHA256_LEN);
    member_i64(j, "wall_s", m->anchored_wall_s);
    member_i64(j, "window", m->anchored_window);
    jcs_object_close(j);
    jcs_member_u64(j, "clock_ms", m->clock_ms);
    jcs_member_u64(j, "epoch", m->epoch);
    be_put64(firmware, m->firmware);
    jcs_member_hex(j, "firmware", firmware, sizeof(firmware));
    member_i64(j, "floor", m->floor);
    jcs_member_u64(j, "l", m->l);
    jcs_member_u64(j, "reset_count", m->reset_count);
    jcs_member_u64(j, "restart_count", m->restart_count);
    jcs_member_bool(j, "safe", m->safe);
    jcs_member_u64(j, "w", m->w);
    jcs_object_close(j);
}

void attest_document_print(struct jcs *j, const struct attest_document *doc)
{
    char pem[P256_PEM_SIZE];
    jcs_object_open(j);
    p256_pem_print(pem, doc->ak);
    jcs_member_string(j, "ak", pem);
    jcs_key(j, "bound");
    print_bound(j, &doc->bound);
    p256_pem_print(pem, doc->ek);
    jcs_member_string(j, "ek", pem);
    jcs_key(j, "evidence");
    jcs_object_open(j);
    print_statement(j, "a", &doc->evidence.a);
    print_statement(j, "l", &doc->evidence.l);
    print_statement(j, "time", &doc->evidence.time);
    print_statement(j, "w", &doc->evidence.w);
    jcs_object_close(j);
    jcs_key(j, "meaning");
    print_meaning(j, &doc->meaning);
    jcs_member_int(j, "tidemark_attestation", ATTEST_DOCUMENT_VERSION);
    jcs_object_close(j);
}

/* Receipts --------------------------------------------------------------------------------------*/

/* Where the attestation goes in: behind "at", which is where sorted order has it. A quote inside a
 * text is escaped, so a mark that begins with one is found at a member only. */
enum rc attest_receipt_join(char **text, const char *entry, const char *document, struct err *err)
{
    static const char mark[] = "\",\"epoch\":";
    const char *behind = strstr(entry, mark);
    *text = NULL;
    if (behind == NULL || strncmp(entry, "{\"artifact_sha256\":", 19) != 0)
        return FAIL(err, RC_HALT_INVARIANT, "", 0, "the receipt's entry is not as it was written");
    size_t size = strlen(entry) + strlen(document) + 32;
    char *joined = malloc(size);
    if (joined == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a receipt");
    (void)snprintf(joined, size, "%.*s\",\"attestation\":%s%s", (int)(behind - entry), entry,
                   document, behind + 1);
    *text = joined;
    return RC_OK;
}
