#include "cli/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "hbs/spki.h"

static void free_chars(char **p)
{
    free(*p);
}

enum cli_exit check_public_read(struct hbs_public *key, enum hbs_scheme scheme, const char *path,
                                struct cli_fault *fault)
{
    char *data CLEANUP(free_chars) = NULL;
    size_t len = 0;
    enum cli_exit code = input_read(path, "public key", CHECK_PUBLIC_FILE_MAX, &data, &len, fault);
    if (code != CLI_OK)
        return code;
    struct err err = {0};
    if (spki_public_read(key, scheme, (const uint8_t *)data, len, &err) == RC_OK)
        return CLI_OK;
    return FAULT(fault, CLI_USAGE,
                 "give an HSS, XMSS or XMSS^MT public key, raw (RFC 8554 §6.1, RFC 8391), DER or "
                 "PEM, and --scheme where raw bytes do not tell: tidemark key public KEY",
                 "%.300s is no public key: %s", path, err_text(&err));
}

void check_name(char text[CHECK_NAME_SIZE], const struct hbs_public *key)
{
    if (key->scheme != HBS_SCHEME_HSS) {
        (void)snprintf(text, CHECK_NAME_SIZE, "%s", key->xmss.params->name);
        return;
    }
    const struct hss_public *hss = &key->hss;
    int n = snprintf(text, CHECK_NAME_SIZE, "%s/W%u", hss->top.set.lms->name,
                     (unsigned)hss->top.set.ots->w);
    if (hss->levels > 1 && n > 0 && n < CHECK_NAME_SIZE)
        (void)snprintf(text + n, CHECK_NAME_SIZE - (size_t)n, " (%u levels)",
                       (unsigned)hss->levels);
}

enum digest_kind check_digest_kind(enum plan_message message)
{
    MUST(message != PLAN_RAW);
    return message == PLAN_SHA256   ? DIGEST_SHA256
           : message == PLAN_SHA384 ? DIGEST_SHA384
                                    : DIGEST_SHA512;
}

static void verify_sink(void *ctx, const void *data, size_t len)
{
    hbs_verify_update(ctx, data, len);
}

static enum cli_exit feed(struct hbs_verifier *v, enum plan_message message,
                          const struct input *input, const struct out *out, struct cli_fault *fault)
{
    if (message == PLAN_RAW)
        return input_pump(input, out, "verifying", verify_sink, v, NULL, fault);
    uint8_t digest[DIGEST_LEN_MAX];
    enum digest_kind kind = check_digest_kind(message);
    enum cli_exit code = input_digest(input, out, kind, digest, NULL, fault);
    if (code == CLI_OK)
        hbs_verify_update(v, digest, digest_len(kind));
    return code;
}

static const char next[] =
    "do not use the file; check that file, signature and key belong together (and, where the "
    "key signs digests, give --plan or --message), or fetch them again";

enum cli_exit check_file(const struct hbs_public *key, const uint8_t *sig, size_t sig_len,
                         enum plan_message message, const struct input *input,
                         const struct out *out, uint64_t *index, struct cli_fault *fault)
{
    *index = 0;
    struct err err = {0};
    struct hbs_verifier v CLEANUP(hbs_verify_close) = {0};
    if (hbs_verify_open(&v, key, sig, sig_len, &err) != RC_OK)
        return cli_fault_rc(fault, &err, "not a signature by this key", next);
    enum cli_exit code = feed(&v, message, input, out, fault);
    if (code != CLI_OK)
        return code;
    if (hbs_verify_finish(&v, &err) != RC_OK)
        return cli_fault_rc(fault, &err, "the signature is not of this file by this key", next);
    *index = hbs_verify_index(&v);
    return CLI_OK;
}

enum cli_exit check_bytes(const struct hbs_public *key, const uint8_t *sig, size_t sig_len,
                          const uint8_t *message, size_t len, uint64_t *index,
                          struct cli_fault *fault)
{
    *index = 0;
    struct err err = {0};
    struct hbs_verifier v CLEANUP(hbs_verify_close) = {0};
    if (hbs_verify_open(&v, key, sig, sig_len, &err) != RC_OK)
        return cli_fault_rc(fault, &err, "not a signature by this key", next);
    hbs_verify_update(&v, message, len);
    if (hbs_verify_finish(&v, &err) != RC_OK)
        return cli_fault_rc(fault, &err, "the signature is not of this digest by this key", next);
    *index = hbs_verify_index(&v);
    return CLI_OK;
}
