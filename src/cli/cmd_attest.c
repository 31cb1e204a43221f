/*
 * attest get, attest verify: what the TPM of a device says about its counters. Verifying needs no
 * TPM, no service and no network: only the files on the command line.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verify.h"
#include "base/bytes.h"
#include "base/secmem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/save.h"

#define FILE_MAX (64 * 1024) /* a receipt with its attestation has about 5 KiB */

static const char do_not_rely[] = "do not rely on it: ask the device again, and call its operator";

static void free_chars(char **p)
{
    free(*p);
}

/* Nonces ----------------------------------------------------------------------------------------*/

struct nonce {
    uint8_t bytes[ATTEST_NONCE_MAX];
    size_t len; /* 0: not to be compared */
};

static enum cli_exit read_nonce(const char *text, struct nonce *nonce, struct cli_fault *fault)
{
    size_t len = strlen(text) / 2;
    if (len < ATTEST_NONCE_MIN || len > ATTEST_NONCE_MAX || !hex_decode(nonce->bytes, len, text))
        return FAULT(fault, CLI_USAGE, "give 16 to 128 hex digits", "--nonce %.140s is no nonce",
                     text);
    nonce->len = len;
    return CLI_OK;
}

/* Files -----------------------------------------------------------------------------------------*/

/* An attestation on its own, or in the receipt that it belongs to. */
struct found {
    bool in_receipt;
    struct attest_receipt receipt; /* of an attestation alone: document only */
    struct attest_meaning meaning;
};

/* What a file claims to be; only the reading of it proves anything. */
static bool looks_like_receipt(const char *text, size_t len)
{
    json_t *json = json_loadb(text, len, 0, NULL);
    bool receipt = json_object_get(json, "kind") != NULL;
    json_decref(json);
    return receipt;
}

static enum cli_exit no(struct cli_fault *fault, const char *what, enum rc rc,
                        const struct err *err)
{
    if (rc == RC_REFUSED_SIGNATURE)
        return FAULT(fault, CLI_NO, do_not_rely, "%s%s", what, err_text(err));
    if (rc == RC_REFUSED_NOT_FOUND)
        return FAULT(fault, CLI_NO,
                     "take the receipt of the first signature of a day, or "
                     "tidemark attest get",
                     "%s%s", what, err_text(err));
    return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "%s%s", what, err_text(err));
}

static enum rc judge_text(struct found *f, const char *text, size_t len,
                          const struct attest_expected *want, struct err *err)
{
    struct attest_expected of_receipt = *want;
    of_receipt.nonce = NULL; /* a receipt brings its own */
    f->in_receipt = looks_like_receipt(text, len);
    enum rc rc = f->in_receipt ? attest_receipt_parse(&f->receipt, text, len, err)
                               : attest_document_parse(&f->receipt.document, text, len, err);
    if (rc == RC_OK)
        rc = f->in_receipt ? attest_receipt_verify(&f->receipt, &of_receipt, &f->meaning, err)
                           : attest_verify(&f->receipt.document, want, &f->meaning, err);
    if (rc == RC_OK)
        rc = attest_meaning_check(&f->receipt.document, &f->meaning, err);
    return rc;
}

/* What is trusted already has to hold in itself as well. */
static enum cli_exit read_earlier(const char *path, struct found *f, struct cli_fault *fault)
{
    static const struct attest_expected nothing;
    char *text CLEANUP(free_chars) = NULL;
    size_t len = 0;
    struct err err = {0};
    enum cli_exit code = input_read(path, "earlier attestation", FILE_MAX, &text, &len, fault);
    if (code != CLI_OK)
        return code;
    enum rc rc = judge_text(f, text, len, &nothing, &err);
    return rc == RC_OK ? CLI_OK : no(fault, "the earlier attestation: ", rc, &err);
}

static enum cli_exit read_ak(const char *path, uint8_t ak[P256_POINT_LEN], struct cli_fault *fault)
{
    char *text CLEANUP(free_chars) = NULL;
    size_t len = 0;
    enum cli_exit code = input_read(path, "attestation key", 4096, &text, &len, fault);
    if (code != CLI_OK)
        return code;
    if (strlen(text) != len || !p256_pem_parse(ak, text))
        return FAULT(fault, CLI_USAGE, "give what --save-ak wrote",
                     "%.300s is no P-256 public key in PEM", path);
    return CLI_OK;
}

/* Printing --------------------------------------------------------------------------------------*/

static void print_facts(const struct out *out, const struct found *f)
{
    const struct attest_bound *b = &f->receipt.document.bound;
    const struct attest_meaning *m = &f->meaning;
    char text[OUT_SHORT], hex[HEX_SIZE(TPM_NAME_LEN)];
    out_data(out, "key         %s\n", b->key);
    if (f->in_receipt)
        out_data(out, "receipt     of index %" PRIu64 "\n", f->receipt.index);
    if (m->floor >= 0)
        out_data(out, "floor       window %" PRId64 " was opened, none behind it (W %" PRIu64 ")\n",
                 m->floor, m->w);
    else
        out_data(out, "floor       no window was opened yet (W %" PRIu64 ")\n", m->w);
    out_data(out, "epoch       %" PRIu64 " (L %" PRIu64 ")\n", m->epoch, m->l);
    hex_encode(hex, b->head, SHA256_LEN);
    out_data(out, "ledger      %" PRIu64 " entries, the key's newest is %s\n", b->entries, hex);
    hex_encode(hex, m->anchored_head, SHA256_LEN);
    out_data(out, "anchored    %s\n", hex);
    out_time(text, b->at_s);
    out_data(out, "host clock  %s\n", text);
    out_span(text, (int64_t)(m->clock_ms / 1000));
    out_data(out,
             "TPM clock   %s%s, %" PRIu32 " resets, %" PRIu32 " restarts, firmware %016" PRIx64
             "\n",
             text, m->safe ? "" : " (may have been later before)", m->reset_count, m->restart_count,
             m->firmware);
    out_data(out, "TPM         %s%s\n", b->tpm, b->tpm_virtual ? " (virtual)" : "");
    hex_encode(hex, b->ak_name, TPM_NAME_LEN);
    out_data(out, "signed by   %s\n", hex);
    hex_encode(hex, b->plan_sha256, SHA256_LEN);
    out_data(out, "plan        %s\n", hex);
    hex_encode(hex, b->public_sha256, SHA256_LEN);
    out_data(out, "public key  %s\n", hex);
}

static json_t *hex_json(const uint8_t *bytes, size_t len)
{
    char hex[HEX_SIZE(ATTEST_NONCE_MAX)];
    hex_encode(hex, bytes, len);
    return json_string(hex);
}

static enum cli_exit print_facts_json(const struct found *f, bool ak_compared,
                                      struct cli_fault *fault)
{
    const struct attest_bound *b = &f->receipt.document.bound;
    const struct attest_meaning *m = &f->meaning;
    json_t *o = json_pack(
        "{sb ss so sI sI sI sI sI sI sI sb sI so so so so so ss sb}", "ak_compared",
        (int)ak_compared, "key", b->key, "ak_name", hex_json(b->ak_name, TPM_NAME_LEN), "floor",
        (json_int_t)m->floor, "epoch", (json_int_t)m->epoch, "w", (json_int_t)m->w, "l",
        (json_int_t)m->l, "tpm_clock_ms", (json_int_t)m->clock_ms, "reset_count",
        (json_int_t)m->reset_count, "restart_count", (json_int_t)m->restart_count, "safe",
        (int)m->safe, "entries", (json_int_t)b->entries, "head", hex_json(b->head, SHA256_LEN),
        "anchored_head", hex_json(m->anchored_head, SHA256_LEN), "nonce",
        hex_json(b->nonce, b->nonce_len), "plan_sha256", hex_json(b->plan_sha256, SHA256_LEN),
        "public_sha256", hex_json(b->public_sha256, SHA256_LEN), "tpm", b->tpm, "tpm_virtual",
        (int)b->tpm_virtual);
    bool ok = o != NULL &&
              (!f->in_receipt ||
               json_object_set_new(o, "index", json_integer((json_int_t)f->receipt.index)) == 0);
    enum cli_exit code = json_print(ok ? o : NULL, fault);
    json_decref(o);
    return code;
}

/* attest verify ---------------------------------------------------------------------------------*/

static enum cli_exit save_ak(const struct args *args, const struct found *f,
                             struct cli_fault *fault)
{
    const char *path = args_value(args, "save-ak");
    char pem[P256_PEM_SIZE];
    if (path == NULL)
        return CLI_OK;
    p256_pem_print(pem, f->receipt.document.ak);
    return save_write(path, pem, strlen(pem), args_switch(args, "force"), NULL, fault);
}

static enum cli_exit judge_file(const struct args *args, struct found *f, struct cli_fault *fault)
{
    static struct found earlier;
    const char *nonce_text = args_value(args, "nonce"), *ak_path = args_value(args, "ak"),
               *earlier_path = args_value(args, "earlier");
    char *text CLEANUP(free_chars) = NULL;
    size_t len = 0;
    struct nonce nonce = {.len = 0};
    uint8_t ak[P256_POINT_LEN];
    struct err err = {0};
    enum cli_exit code = CLI_OK;
    if (nonce_text != NULL && strcmp(nonce_text, "any") != 0)
        code = read_nonce(nonce_text, &nonce, fault);
    if (code == CLI_OK && ak_path != NULL)
        code = read_ak(ak_path, ak, fault);
    if (code == CLI_OK && earlier_path != NULL)
        code = read_earlier(earlier_path, &earlier, fault);
    if (code == CLI_OK)
        code = input_read(args->operands[0], "attestation", FILE_MAX, &text, &len, fault);
    if (code != CLI_OK)
        return code;
    const struct attest_expected want = {.nonce = nonce.len > 0 ? nonce.bytes : NULL,
                                         .nonce_len = nonce.len,
                                         .ak = ak_path != NULL ? ak : NULL,
                                         .earlier = earlier_path != NULL ? &earlier.receipt.document
                                                                         : NULL};
    enum rc rc = judge_text(f, text, len, &want, &err);
    if (rc != RC_OK)
        return no(fault, "", rc, &err);
    if (!f->in_receipt && nonce_text == NULL)
        return FAULT(fault, CLI_USAGE,
                     "give --nonce HEX, or --nonce any if its age does not matter",
                     "without its nonce nobody knows how old an attestation is");
    if (f->in_receipt && nonce.len > 0)
        return FAULT(fault, CLI_USAGE, "leave out --nonce", "the nonce of a receipt is its id");
    return CLI_OK;
}

enum cli_exit cmd_attest_verify(struct cli *cli, struct cli_fault *fault)
{
    static struct found found;
    const struct args *args = &cli->args;
    char file[200];
    enum cli_exit code = judge_file(args, &found, fault);
    bool compared = args_value(args, "ak") != NULL || args_value(args, "earlier") != NULL;
    out_clean(file, sizeof(file), args->operands[0]);
    if (code == CLI_NO && !cli->out.quiet) {
        out_coloured(&cli->out, OUT_BAD, "BAD");
        out_data(&cli->out, "         %s\n", file);
    }
    if (code == CLI_OK)
        code = save_ak(args, &found, fault);
    if (code != CLI_OK)
        return code;
    if (!compared)
        out_talk(&cli->out, "tidemark: warning: the attestation key was not compared with a known "
                            "one (--ak, --earlier):\n          anybody could have made it\n");
    if (cli->out.json)
        return print_facts_json(&found, compared, fault);
    out_coloured(&cli->out, OUT_GOOD, "GOOD");
    out_data(&cli->out, "        %s\n", file);
    if (!cli->out.quiet)
        print_facts(&cli->out, &found);
    return CLI_OK;
}

/* attest get ------------------------------------------------------------------------------------*/

static enum cli_exit choose_nonce(const struct args *args, struct nonce *nonce,
                                  struct cli_fault *fault)
{
    const char *text = args_value(args, "nonce");
    if (text != NULL && strcmp(text, "random") != 0)
        return read_nonce(text, nonce, fault);
    nonce->len = 32;
    random_bytes(nonce->bytes, nonce->len);
    return CLI_OK;
}

static enum cli_exit fetch(const struct cli *cli, const char *key, const struct nonce *nonce,
                           struct answer *answer, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    char path[CLIENT_URL_MAX] = "", hex[HEX_SIZE(ATTEST_NONCE_MAX)];
    hex_encode(hex, nonce->bytes, nonce->len);
    client_path_add(path, "/v1/keys/", key);
    client_path_add(path, "/attestation?nonce=", hex);
    enum cli_exit code = client_open(&client, cli, fault);
    if (code == CLI_OK)
        code = client_get(&client, path, answer, fault);
    return code == CLI_OK ? answer_check(answer, client_now_s(&client), fault) : code;
}

/* Not to be written if it is not what was asked for. */
static enum cli_exit check_answer(const struct answer *answer, const char *key,
                                  const struct nonce *nonce, struct found *f,
                                  struct cli_fault *fault)
{
    const struct attest_expected want = {.nonce = nonce->bytes, .nonce_len = nonce->len};
    struct err err = {0};
    if (answer->len == 0)
        return FAULT(fault, CLI_INTERNAL, "compare tidemark --version with the service's",
                     "the service sent an empty attestation");
    enum rc rc = judge_text(f, answer->body, answer->len, &want, &err);
    if (rc == RC_OK && (f->in_receipt || strcmp(f->receipt.document.bound.key, key) != 0))
        return FAULT(fault, CLI_NO, do_not_rely, "the service attested another key");
    return rc == RC_OK ? CLI_OK
                       : no(fault, "what the service returned does not verify: ", rc, &err);
}

enum cli_exit cmd_attest_get(struct cli *cli, struct cli_fault *fault)
{
    static struct found found;
    struct answer answer CLEANUP(answer_free) = {0};
    struct nonce nonce = {.len = 0};
    const char *key = NULL, *out = args_value(&cli->args, "out");
    char hex[HEX_SIZE(ATTEST_NONCE_MAX)], path[300];
    enum cli_exit code = args_need(&cli->args, "key", &key, fault);
    if (code == CLI_OK)
        code = choose_nonce(&cli->args, &nonce, fault);
    if (code == CLI_OK)
        code = fetch(cli, key, &nonce, &answer, fault);
    if (code == CLI_OK)
        code = check_answer(&answer, key, &nonce, &found, fault);
    if (code != CLI_OK)
        return code;
    hex_encode(hex, nonce.bytes, nonce.len);
    if (out == NULL) {
        (void)printf("%s\n", answer.body);
        out_talk(&cli->out, "nonce %s\n", hex);
        return CLI_OK;
    }
    code = save_write(out, answer.body, answer.len, args_switch(&cli->args, "force"), NULL, fault);
    if (code != CLI_OK)
        return code;
    out_clean(path, sizeof(path), out);
    out_note(&cli->out, "wrote %s (%zu bytes)\n", path, answer.len);
    out_note(&cli->out, "verify it with --nonce %s\n", hex);
    return cli->out.json ? print_facts_json(&found, false, fault) : CLI_OK;
}
