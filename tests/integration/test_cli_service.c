/*
 * The commands that talk to the service, run as a user runs them, against a service that is a fake
 * on purpose: it can lie, break off, and answer what the real one never should.
 */
#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/secmem.h"
#include "hbs/spki.h"
#include "http/problem.h" /* the list alone; nothing of http is linked */
#include "lib/command.h"
#include "lib/fake_service.h"
#include "lib/small_key.h"

#define SIGN "./tidemark sign @fw.bin --key router-fw --version 1.0.1 --slot b"
#define SIGN_TIME "./tidemark sign @fw.bin --key nightly --window current"
#define RECEIPT "{\"kind\":\"receipt\"}"
#define DIGEST_0 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

/* What the fake is told to do, and what it saw. */
struct script {
    struct small_key key;
    const char *kind, *message;
    bool replayed, wrong_message, wrong_index;
    /* an answer that replaces the one to a request whose target holds this text */
    const char *instead_of;
    int status;
    const char *type;
    const char *body;
    size_t body_len; /* 0: strlen(body) */
    size_t say_len;
    const char *headers;
    bool raw;
    /* seen */
    unsigned posts, requests;
    char target[2048], content_type[80], content_digest[120], idempotency[200];
    uint8_t body_sha256[32];
    char body_text[600];
    size_t posted_len;
};

static struct command c;
static struct fake_service service;
static struct script script;
static char public_pem[SPKI_PEM_MAX]; /* of script.key */

static void expect(int code, const char *out, const char *err)
{
    if (c.exit != code || strstr(c.out, out) == NULL || strstr(c.err, err) == NULL)
        fail_msg("exit %d, not %d\nout: %s\nerr: %s\nwanted: %s / %s", c.exit, code, c.out, c.err,
                 out, err);
}

/* The fake --------------------------------------------------------------------------------------
 */

static void answer_key(struct fake_answer *answer)
{
    fake_text(answer, 200,
              "{\"key\":\"%s\",\"key_id\":\"ab\",\"scheme\":\"lms\",\"parameters\":"
              "[\"LMS_SHA256_M32_H5\",\"LMOTS_SHA256_N32_W8\"],\"profile\":\"sp800-208\","
              "\"kind\":\"%s\",\"message\":\"%s\",\"plan_sha256\":\"%s\",\"state\":\"Operational\","
              "\"tpm\":{\"description\":\"FAKE\",\"virtual\":true},\"windows\":{\"count\":1024,"
              "\"size\":8,\"usable\":1023,\"floor\":36,\"open\":37,\"min\":0},\"epoch\":7,"
              "\"signed\":12345,\"burned\":2,\"remaining\":{\"window\":4,\"key\":"
              "\"18446744073709551615\"},\"export_limit\":null,\"warnings\":[]}",
              "router-fw", script.kind, script.message, DIGEST_0);
}

static void answer_sign(const struct fake_request *request, struct fake_answer *answer)
{
    static uint8_t sig[HSS_SIG_LEN_MAX];
    static char encoded[BASE64_SIZE(HSS_SIG_LEN_MAX)];
    uint8_t digest[DIGEST_LEN_MAX] = {0};
    const void *message = request->body;
    size_t len = request->body_len;
    json_t *json = NULL;
    if (strcmp(script.message, "raw") != 0) {
        json = json_loads((const char *)request->body, 0, NULL);
        const char *hex =
            json_string_value(json_object_get(json_object_get(json, "digest"), script.message));
        len = hex == NULL ? 0 : strlen(hex) / 2;
        if (hex == NULL || !hex_decode(digest, len, hex))
            len = 0;
        message = digest;
    }
    size_t sig_len = small_key_sign(&script.key, 20, script.wrong_message ? "other" : message,
                                    script.wrong_message ? 5 : len, sig);
    json_decref(json);
    base64_encode(encoded, sig, sig_len);
    fake_text(answer, script.replayed ? 200 : 201,
              "{\"id\":\"00112233445566778899aabbccddeeff\",\"key\":\"router-fw\",\"window\":2,"
              "\"index\":%d,\"plan_sha256\":\"%s\",\"artifact_sha256\":\"%s\",\"signature\":\"%s\","
              "\"signed_at\":\"2026-12-08T09:36:00Z\",\"receipt\":{\"log_index\":1},"
              "\"remaining\":{\"window\":5,\"key\":7},\"warnings\":[\"virtual \\u001b[2JTPM\"]}",
              script.wrong_index ? 21 : 20, DIGEST_0, DIGEST_0, encoded);
    if (script.replayed)
        strcpy(answer->headers, "Tidemark-Replayed: true\r\n");
}

static void answer_preview(struct fake_answer *answer)
{
    fake_text(answer, 200,
              "{\"index\":20,\"key\":\"router-fw\",\"version\":\"1.0.1\",\"slot\":\"b\","
              "\"window\":2,\"uses_index\":%s,\"signed_at\":\"2026-12-08T09:36:00Z\","
              "\"remaining\":{\"window\":5,\"key\":7},\"warnings\":[\"virtual TPM\"]}",
              script.replayed ? "false" : "true");
}

static void answer_warnings(struct fake_answer *answer)
{
    fake_text(answer, 200,
              "{\"warnings\":[{\"acknowledged\":%s,\"at\":\"2026-12-08T09:36:00Z\",\"id\":17,"
              "\"key\":\"router-fw\",\"percent\":10,\"sentence\":\"I know.\"}]}",
              script.replayed ? "true" : "false");
}

static void answer_forecast(struct fake_answer *answer)
{
    fake_text(answer, 200,
              "{\"total\":1000,\"remaining\":{\"window\":5,\"key\":90},\"per_year\":24000,"
              "\"rate\":{\"seconds\":7200,\"signatures\":6},\"window_full_at\":null,"
              "\"exhausted_at\":\"2026-12-08T09:36:00Z\",\"waits_for_acknowledgement\":true}");
}

static void note_post(const struct fake_request *request)
{
    script.posts++;
    (void)snprintf(script.target, sizeof(script.target), "%s", request->target);
    (void)fake_header(request, "Content-Type", script.content_type, sizeof(script.content_type));
    (void)fake_header(request, "Content-Digest", script.content_digest,
                      sizeof(script.content_digest));
    (void)fake_header(request, "Idempotency-Key", script.idempotency, sizeof(script.idempotency));
    digest_buffer(DIGEST_SHA256, script.body_sha256, request->body, request->body_len);
    script.posted_len = request->body_len;
    (void)snprintf(script.body_text, sizeof(script.body_text), "%.599s",
                   (const char *)request->body);
}

static void answer_instead(struct fake_answer *answer)
{
    answer->status = script.status;
    answer->body = script.body;
    answer->len = script.body_len != 0  ? script.body_len
                  : script.body != NULL ? strlen(script.body)
                                        : 0;
    answer->say_len = script.say_len;
    answer->raw = script.raw;
    if (script.type != NULL)
        strcpy(answer->type, script.type);
    else if (script.status >= 400)
        strcpy(answer->type, "application/problem+json");
    if (script.headers != NULL)
        strcpy(answer->headers, script.headers);
}

static void handle(void *ctx, const struct fake_request *request, struct fake_answer *answer)
{
    (void)ctx;
    script.requests++;
    bool post = strcmp(request->method, "POST") == 0;
    if (post)
        note_post(request);
    if (script.instead_of != NULL && strstr(request->target, script.instead_of) != NULL)
        answer_instead(answer);
    else if (strstr(request->target, "/v1/warnings") != NULL)
        answer_warnings(answer);
    else if (strstr(request->target, "/forecast") != NULL)
        answer_forecast(answer);
    else if (strstr(request->target, ":preview") != NULL)
        answer_preview(answer);
    else if (post)
        answer_sign(request, answer);
    else if (strstr(request->target, "/receipt") != NULL)
        fake_text(answer, 200, "%s", RECEIPT);
    else if (strstr(request->target, "/public?format=spki-pem") != NULL) {
        fake_text(answer, 200, "%s", public_pem);
        strcpy(answer->type, "application/x-pem-file");
    } else if (strstr(request->target, "/public?format=spki-der") != NULL ||
               strstr(request->target, "/public?format=raw") != NULL) {
        /* The command takes a key in any form. */
        strcpy(answer->type, "application/octet-stream");
        answer->body = script.key.raw;
        answer->len = script.key.raw_len;
    } else
        answer_key(answer);
}

static int setup_group(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(base_init(&err), RC_OK);
    small_key_make(&script.key, 7);
    spki_pem_print(public_pem, HBS_SCHEME_HSS, script.key.raw, script.key.raw_len);
    fake_start(&service, NULL, handle, NULL);
    char url[60];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", (unsigned)service.port);
    assert_int_equal(setenv("TIDEMARK_URL", url, 1), 0);
    assert_int_equal(unsetenv("TIDEMARK_SOCKET"), 0);
    /* A proxy in the environment must not see what is signed. */
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    fake_stop(&service);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    struct small_key key = script.key;
    script = (struct script){.key = key, .kind = "version", .message = "raw"};
    command_write("fw.bin", "firmware", 8);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    command_clean();
    return 0;
}

/* A problem document in place of some answer. */
static void problem(const char *instead_of, int status, const char *body)
{
    script.instead_of = instead_of;
    script.status = status;
    script.body = body;
}

static bool exists(const char *name)
{
    size_t len = 0;
    return command_read(name, &len) != NULL;
}

/* sign ------------------------------------------------------------------------------------------
 */

static void assert_digest_header(const uint8_t digest[32])
{
    char wanted[120], encoded[BASE64_SIZE(32)];
    base64_encode(encoded, digest, 32);
    (void)snprintf(wanted, sizeof(wanted), "sha-256=:%s:", encoded);
    assert_string_equal(script.content_digest, wanted);
}

static void test_sign(void **state)
{
    (void)state;
    static uint8_t sig[HSS_SIG_LEN_MAX];
    char wanted[800];
    command_run(&c, NULL, SIGN);
    expect(0, "", "warning: virtual ?[2JTPM");
    (void)snprintf(wanted, sizeof(wanted),
                   "signed   router-fw  LMS_SHA256_M32_H5/W8  1.0.1 b → window 2, index 20\n"
                   "wrote    %s (1296 bytes), %s\n",
                   command_path("fw.bin.sig"), command_path("fw.bin.receipt"));
    assert_string_equal(c.out, wanted);
    assert_string_equal(script.target, "/v1/keys/router-fw/signatures?version=1.0.1&slot=b");
    assert_string_equal(script.content_type, "application/octet-stream");
    assert_string_equal(script.idempotency, "");
    uint8_t digest[32];
    digest_buffer(DIGEST_SHA256, digest, "firmware", 8);
    assert_digest_header(digest);
    assert_memory_equal(script.body_sha256, digest, 32);
    size_t len = 0, sig_len = small_key_sign(&script.key, 20, "firmware", 8, sig);
    const char *data = command_read("fw.bin.sig", &len);
    assert_int_equal(len, sig_len);
    assert_memory_equal(data, sig, len);
    assert_string_equal(command_read("fw.bin.receipt", &len), RECEIPT);
}

static void test_sign_long_file(void **state)
{
    (void)state;
    size_t len = 3 * 1024 * 1024 + 7; /* long enough for Expect: 100-continue */
    char *data = malloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 7 >> 2);
    command_write("fw.bin", data, len);
    uint8_t digest[32];
    digest_buffer(DIGEST_SHA256, digest, data, len);
    free(data);
    command_run(&c, NULL, SIGN);
    expect(0, "signed", "");
    assert_int_equal(script.posted_len, len);
    assert_memory_equal(script.body_sha256, digest, 32);
    assert_digest_header(digest);
    command_write("fw.bin", "", 0);
    command_run(&c, NULL, SIGN " --force");
    expect(0, "signed", "");
    assert_int_equal(script.posted_len, 0);
}

static void test_sign_again(void **state)
{
    (void)state;
    command_run(&c, NULL, SIGN " --quiet");
    expect(0, "", "");
    assert_int_equal(c.out_len + c.err_len, 0);
    script.replayed = true;
    command_run(&c, NULL, SIGN);
    expect(0, "already signed 2026-12-08 09:36 UTC for the same artifact: returned, no index used",
           "");
    assert_null(strstr(c.out, "wrote"));
    assert_int_equal(unlink(command_path("fw.bin.receipt")), 0);
    command_run(&c, NULL, SIGN);
    expect(0, "wrote    ", "");
    assert_null(strstr(c.out, "fw.bin.sig"));
    command_run(&c, NULL, SIGN " --json");
    expect(0, "\"replayed\": true", "");
    json_t *o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "signature_file")),
                        command_path("fw.bin.sig"));
    json_decref(o);
}

static void test_sign_bound(void **state)
{
    (void)state;
    problem("signatures", 409,
            "{\"type\":\"/problems/version-already-signed\",\"status\":409,\"title\":\"t\","
            "\"detail\":\"d\",\"bound_to\":{\"artifact_sha256\":\"" DIGEST_0
            "\",\"signed_at\":\"2026-12-08T09:36:00Z\",\"request_id\":\"ci-88123\"},"
            "\"next_version\":\"1.1.0\"}");
    command_run(&c, NULL, SIGN);
    expect(3, "",
           "tidemark: refused: 1.0.1 b is bound to sha256:" DIGEST_0
           " (2026-12-08, ci-88123); next free version: 1.1.0\n");
    assert_int_equal(c.out_len, 0);
    assert_false(exists("fw.bin.sig"));
    command_run(&c, NULL, SIGN " --json");
    expect(3, "\"problem\": \"version-already-signed\"", "");
}

static void test_sign_names_taken(void **state)
{
    (void)state;
    size_t len = 0;
    command_write("fw.bin.sig", "mine", 4);
    command_run(&c, NULL, SIGN);
    expect(2, "", "holds something else");
    assert_string_equal(command_read("fw.bin.sig", &len), "mine");
    assert_false(exists("fw.bin.receipt"));
    command_run(&c, NULL, SIGN " --force");
    expect(0, "signed", "");
    assert_non_null(command_read("fw.bin.sig", &len));
    assert_int_equal(len, 1296);
    /* Where a new index would be used, nothing is even sent. */
    script.kind = "time";
    script.posts = 0;
    command_run(&c, NULL, SIGN_TIME);
    expect(2, "", "nothing was sent");
    assert_int_equal(script.posts, 0);
    command_run(&c, NULL, SIGN_TIME " --out @other.sig");
    expect(0, "signed", "");
    assert_true(exists("other.sig"));
    assert_true(exists("other.receipt"));
    command_run(&c, NULL, SIGN_TIME " --out @none/x.sig");
    expect(2, "", "cannot write");
}

static void test_sign_time(void **state)
{
    (void)state;
    script.kind = "time";
    command_run(&c, NULL, SIGN_TIME);
    expect(0, "→ window 2, index 20", "");
    assert_string_equal(script.target, "/v1/keys/nightly/signatures?window=current");
    assert_int_equal(strlen(script.idempotency), 32);
    char first[200];
    strcpy(first, script.idempotency);
    command_run(&c, NULL, SIGN_TIME " --force");
    expect(0, "signed", "");
    assert_string_not_equal(script.idempotency, first);
    command_run(&c, NULL, SIGN_TIME " --idempotency-key build-7");
    expect(0, "", ""); /* same bytes: no --force needed */
    assert_string_equal(script.idempotency, "build-7");
    command_run(&c, NULL, SIGN_TIME " --idempotency-key a\"b");
    expect(2, "", "cannot be sent");
}

/* After a failure the user can get the same signature, if there is one, without another index. */
static void test_sign_time_fails(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int exit;
        bool repeat;
    } failures[] = {
        {503, "{\"type\":\"/problems/outcome-unknown\"}", 7, true},
        {503, "{\"type\":\"/problems/clock-unsafe\",\"detail\":\"d\"}", 6, true},
        {500, "{\"type\":\"/problems/index-burned\",\"detail\":\"d\",\"index\":5}", 9, true},
        {0, NULL, 7, true},
        {201, "{\"id\":", 9, true},
        {403, "{\"type\":\"/problems/forbidden\",\"detail\":\"d\"}", 8, false},
        {422, "{\"type\":\"/problems/idempotency-key-reused\",\"detail\":\"d\"}", 2, false},
    };
    script.kind = "time";
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        problem("signatures", failures[i].status, failures[i].body);
        command_run(&c, NULL, SIGN_TIME " --quiet");
        expect(failures[i].exit, "", "tidemark: next: ");
        char wanted[260];
        (void)snprintf(wanted, sizeof(wanted), "--idempotency-key '%s'", script.idempotency);
        assert_int_equal(strstr(c.err, wanted) != NULL, failures[i].repeat);
        assert_false(exists("fw.bin.sig"));
    }
}

static void test_sign_digest(void **state)
{
    (void)state;
    script.message = "sha384";
    command_run(&c, NULL, SIGN);
    expect(0, "signed", "");
    assert_string_equal(script.target, "/v1/keys/router-fw/signatures");
    assert_string_equal(script.content_type, "application/json");
    json_t *o = json_loads(script.body_text, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_object_size(o), 3);
    assert_string_equal(json_string_value(json_object_get(o, "version")), "1.0.1");
    assert_string_equal(json_string_value(json_object_get(o, "slot")), "b");
    uint8_t digest[48];
    char hex[HEX_SIZE(48)];
    digest_buffer(DIGEST_SHA384, digest, "firmware", 8);
    hex_encode(hex, digest, 48);
    const json_t *named = json_object_get(json_object_get(o, "digest"), "sha384");
    assert_string_equal(json_string_value(named), hex);
    json_decref(o);
    script.kind = "interval";
    command_run(&c, NULL, SIGN_TIME " --force");
    expect(0, "signed", "");
    assert_non_null(strstr(script.body_text, "\"window\":\"current\""));
}

/* The digest goes, the file does not, and nothing is written. */
static void test_sign_preview(void **state)
{
    (void)state;
    command_run(&c, NULL, SIGN " --preview");
    expect(0, " window 2, index 20\nleft now   5 in the window, 7", "virtual TPM");
    expect(0, "would use  router-fw  1.0.1 b ", "");
    assert_string_equal(script.target, "/v1/keys/router-fw/signatures:preview");
    assert_string_equal(script.content_type, "application/json");
    assert_non_null(strstr(script.body_text, "\"version\":\"1.0.1\""));
    assert_non_null(strstr(script.body_text, "\"sha256\":"));
    script.replayed = true;
    command_run(&c, NULL, SIGN " --preview");
    expect(0, "stored     router-fw  1.0.1 b ", "");
    expect(0, " window 2, index 20\nsigned     2026-12-08 09:36 UTC", "");
    command_run(&c, NULL, SIGN " --preview --json");
    expect(0, "\"uses_index\":", "");
    /* Time plans: no key is made up, and none is printed. */
    script.kind = "time";
    script.replayed = false;
    command_run(&c, NULL, SIGN_TIME " --preview");
    expect(0, "would use", "");
    assert_string_equal(script.idempotency, "");
    script.instead_of = ":preview";
    script.status = 429;
    script.type = "application/problem+json";
    script.body = "{\"type\":\"/problems/window-full\",\"status\":429,\"detail\":\"full\"}";
    command_run(&c, NULL, SIGN_TIME " --preview");
    expect(4, "", "full");
    assert_null(strstr(c.err, "--idempotency-key"));
    assert_int_equal(access(command_path("fw.bin.sig"), F_OK), -1);
    assert_int_equal(access(command_path("fw.bin.receipt"), F_OK), -1);
}

/* Of a reservation that cannot be read nothing is hashed, and nothing is sent but the digest. */
static void test_sign_remote_oddities(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{}",
        "{\"id\":\"../a\",\"hash\":\"sha256/192\",\"prefix\":\"AAAA\"}",
        "{\"id\":\"a5\",\"hash\":\"md5/128\",\"prefix\":\"AAAA\"}",
        "{\"id\":\"a5\",\"hash\":\"sha256/192\",\"prefix\":\"\"}",
        "{\"id\":\"a5\",\"hash\":\"sha256/192\",\"prefix\":7}",
    };
    script.instead_of = "/reservations";
    script.status = 201;
    script.type = "application/json";
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        script.posts = 0;
        script.body = bodies[i];
        command_run(&c, NULL, SIGN " --remote");
        expect(9, "", "has no");
        assert_int_equal(script.posts, 1);
        assert_string_equal(script.target, "/v1/keys/router-fw/reservations");
        assert_int_equal(access(command_path("fw.bin.sig"), F_OK), -1);
    }
    command_run(&c, NULL, SIGN " --remote --preview");
    expect(2, "", "do not go together");
}

static void test_warnings(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark forecast --key router-fw");
    expect(0, "90 of 1,000 one-time keys", "");
    expect(0, "24,000 a year, by the newest 6 of 2 h", "");
    expect(0, "window full   not at this rate\nkey used up   2026-12-08 09:36 UTC", "");
    command_run(&c, NULL, "./tidemark forecast");
    expect(2, "", "--key");
    command_run(&c, NULL, "./tidemark warning list");
    expect(5, "  I know.\n", "");
    script.replayed = true;
    command_run(&c, NULL, "./tidemark warning list");
    expect(0, "acknowledged", "");
    command_run(&c, NULL, "./tidemark warning ack --id 17 --sentence Yes.");
    expect(0, "signs again", "");
    assert_string_equal(script.target, "/v1/warnings/17/acknowledgements");
    assert_string_equal(script.body_text, "{\"sentence\":\"Yes.\"}");
    command_write("typed", "I know.\n", 8);
    command_run(&c, command_path("typed"), "./tidemark warning ack --id 18");
    expect(0, "signs again", "Type the sentence");
    assert_string_equal(script.target, "/v1/warnings/18/acknowledgements");
    assert_string_equal(script.body_text, "{\"sentence\":\"I know.\"}");
    unsigned posts = script.posts;
    command_run(&c, NULL, "./tidemark warning ack --id 18");
    expect(2, "", "nothing was done");
    command_run(&c, NULL, "./tidemark warning ack --sentence x");
    expect(2, "", "--id");
    assert_int_equal(script.posts, posts);
}

/* Whatever the service says: nothing is written that does not verify. */
static void test_sign_lies(void **state)
{
    (void)state;
    script.wrong_message = true;
    command_run(&c, NULL, SIGN);
    expect(1, "", "does not verify, nothing was written");
    script.wrong_message = false;
    script.wrong_index = true;
    command_run(&c, NULL, SIGN);
    expect(1, "", "is of index 20, the answer says 21");
    script.wrong_index = false;
    struct small_key other;
    small_key_make(&other, 9);
    command_write("other.pub", other.raw, other.raw_len);
    command_run(&c, NULL, SIGN " --public @other.pub");
    expect(1, "", "does not verify");
    assert_false(exists("fw.bin.sig"));
    assert_false(exists("fw.bin.receipt"));
    command_write("own.pub", script.key.raw, script.key.raw_len);
    problem("/public", 500, "{}");
    command_run(&c, NULL, SIGN " --public @own.pub"); /* and the service's is not even asked for */
    expect(0, "signed", "");
    static const char *const odd[] = {
        "{}",
        "{\"id\":\"a\",\"index\":20,\"window\":2}",
        "{\"id\":\"../../x\",\"index\":20,\"window\":2,\"signature\":\"AAAA\"}",
        "{\"id\":\"a\",\"index\":20,\"window\":2,\"signature\":\"*\"}",
        "{\"id\":\"a\",\"index\":\"x\",\"window\":2,\"signature\":\"AAAA\"}",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        problem("signatures", 201, odd[i]);
        command_run(&c, NULL, SIGN " --force --public @own.pub");
        expect(9, "", "service's answer has no");
    }
    problem("signatures", 201, "{\"id\":\"a\",\"index\":20,\"window\":2,\"signature\":\"AAAA\"}");
    command_run(&c, NULL, SIGN " --force --public @own.pub");
    expect(1, "", "does not verify");
}

/* The signature is worth more than the receipt, which can be fetched again. */
static void test_sign_without_receipt(void **state)
{
    (void)state;
    problem("/receipt", 503, "{\"type\":\"/problems/starting\",\"detail\":\"d\"}");
    command_run(&c, NULL, SIGN);
    expect(6, "", "d\n");
    assert_true(exists("fw.bin.sig"));
    assert_false(exists("fw.bin.receipt"));
    script.instead_of = NULL;
    command_run(&c, NULL, SIGN);
    expect(0, "", "");
    assert_true(exists("fw.bin.receipt"));
}

#define LONG "1234567890123456789012345678901234567890123456789012345678901234" /* 64 */

static void test_sign_usage(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "@fw.bin --version 1",
        "@fw.bin --key router-fw",
        "@fw.bin --key router-fw --version 1 --window current",
        "@fw.bin --key router-fw --window 5",
        "@fw.bin --key router-fw --window current --slot a",
        "@fw.bin --key ../x --version 1",
        "@fw.bin --key router-fw --version " LONG,
        "@fw.bin --key router-fw --version 1.0.1 --slot " LONG,
        "@fw.bin --key router-fw --version 1.0.1 --slot a/b",
        "@none --key router-fw --version 1",
        ". --key router-fw --version 1",
        "- --key router-fw --version 1",
        "@fw.bin --key router-fw --version 1 --url ftp://x",
        "@fw.bin --key router-fw --version 1 --url http://x/?a",
        "@fw.bin --key router-fw --version 1 --url http://x --socket y",
        "@fw.bin --key router-fw --version 1 --public @fw.bin",
        "@fw.bin --key router-fw --window current", /* but the key has a version plan */
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        command_runf(&c, "./tidemark sign %s", lines[i]);
        expect(2, "", "tidemark: next: ");
    }
    script.kind = "time";
    command_run(&c, NULL, SIGN);
    expect(2, "", "knows no versions");
    assert_int_equal(script.posts, 0);
}

/* Problems --------------------------------------------------------------------------------------
 */

static void test_exit_codes(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body, *headers;
        int exit;
        const char *text;
    } cases[] = {
        {409,
         "{\"type\":\"/problems/version-below-floor\",\"detail\":\"too low\","
         "\"next_version\":\"2.0.0\"}",
         NULL, 3, "refused: too low; next free version: 2.0.0"},
        {422, "{\"type\":\"/problems/version-outside-plan\",\"detail\":\"x\"}", NULL, 3,
         "refused: x"},
        {409,
         "{\"type\":\"/problems/window-not-open\",\"detail\":\"closed\","
         "\"opens\":\"2026-12-13T00:00:00Z\"}",
         "Retry-After: 310000\r\n", 4, "closed; try again at 2026-12-13 00:00 UTC (in 3 d 14 h)"},
        {429, "{\"type\":\"/problems/rate-limited\",\"detail\":\"slow\"}", "Retry-After: 90\r\n", 4,
         "(in 1 min 30 s)"},
        {429, "{\"type\":\"/problems/window-full\",\"title\":\"full\"}", NULL, 4, "full"},
        {428,
         "{\"type\":\"/problems/exhaustion-ack-required\",\"detail\":\"ack\","
         "\"action\":\"POST something\"}",
         NULL, 5, "next: an operator has to acknowledge"},
        {428, "{\"type\":\"/problems/brand-new\",\"detail\":\"ack\",\"action\":\"do that\"}", NULL,
         5, "next: do that"},
        {410, "{\"type\":\"/problems/key-exhausted\",\"detail\":\"gone\"}", NULL, 3, "gone"},
        {503, "{\"type\":\"/problems/halted\",\"detail\":\"stop\"}", NULL, 6, "stop"},
        {503, "{\"type\":\"/problems/state-regression\",\"detail\":\"back\"}", NULL, 6, "back"},
        {401, "{\"type\":\"/problems/unauthorised\",\"detail\":\"who\"}", NULL, 8, "who"},
        {403, "{}", NULL, 8, "answered 403"},
        {404, "{\"type\":\"/problems/not-found\",\"detail\":\"no such key\"}", NULL, 2, "no such"},
        {500, "{\"type\":\"/problems/internal\",\"detail\":\"\\u001b]0;x\\u0007\"}", NULL, 9,
         "?]0;x?"},
        {502, "<html>", NULL, 9, "no JSON"},
        {301, "{}", NULL, 9, "answered 301"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        problem("/v1/keys", cases[i].status, cases[i].body);
        script.headers = cases[i].headers;
        command_run(&c, NULL, "./tidemark key list");
        expect(cases[i].exit, "", cases[i].text);
        assert_non_null(strstr(c.err, "tidemark: next: "));
        assert_int_equal(c.out_len, 0);
    }
}

static void test_odd_answers(void **state)
{
    (void)state;
    static char huge[17 * 1024 * 1024];
    memset(huge, ' ', sizeof(huge));
    static char deep[8192];
    memset(deep, '[', sizeof(deep) - 1);
    const struct {
        int status;
        const char *type, *body;
        size_t body_len, say_len;
        bool raw;
        int exit;
        const char *text;
    } cases[] = {
        {200, "application/json", "{\"keys\": [", 0, 0, false, 9, "is no JSON"},
        {200, "application/json", "{\"keys\": 5}", 0, 0, false, 9, "has no list \"keys\""},
        {200, "application/json", "[]", 0, 0, false, 9, "no JSON object"},
        {200, "application/json", "{\"a\":1,\"a\":2}", 0, 0, false, 9, "is no JSON"},
        {200, "application/json", "", 0, 0, false, 9, "is no JSON"},
        {200, "application/json", deep, 0, 0, false, 9, "is no JSON"},
        {200, "application/json", "{\"keys\":[\"\\u0000\"]}", 0, 0, false, 9, "is no JSON"},
        {200, "text/html", "<html>", 0, 0, false, 9, "is not JSON"},
        {200, "application/json", huge, sizeof(huge), 0, false, 9, "longer than 16777216"},
        {200, "application/json", "{\"keys\":", 0, 500, false, 7, "broke"},
        {200, NULL, "SSH-2.0-OpenSSH_9\r\n", 0, 0, true, 9, "is not HTTP"},
        {0, NULL, NULL, 0, 0, false, 7, "broke"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        problem("/v1/keys", cases[i].status, cases[i].body);
        script.type = cases[i].type;
        script.body_len = cases[i].body_len;
        script.say_len = cases[i].say_len;
        script.raw = cases[i].raw;
        command_run(&c, NULL, "./tidemark key list");
        expect(cases[i].exit, "", cases[i].text);
        assert_non_null(strstr(c.err, "tidemark: next: "));
    }
}

static void test_every_problem(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int status;
    } problems[] = {
#define X(id, name, status, title, action) {name, status},
        PROBLEM_LIST(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        char body[200];
        (void)snprintf(body, sizeof(body), "{\"type\":\"/problems/%s\"}", problems[i].name);
        problem("/v1/keys", problems[i].status, body);
        command_run(&c, NULL, "./tidemark key list --json");
        (void)snprintf(body, sizeof(body), "\"problem\": \"%s\"", problems[i].name);
        assert_true(c.exit >= 2 && c.exit <= 9);
        expect(c.exit, body, "tidemark: next: ");
    }
}

/* Where the service is --------------------------------------------------------------------------
 */

static void test_addresses(void **state)
{
    (void)state;
    struct fake_service other;
    const char *path = command_path("sock");
    fake_start(&other, path, handle, NULL);
    command_run(&c, NULL, "./tidemark key show router-fw --socket @sock");
    expect(0, "router-fw", "");
    char *url = strdup(getenv("TIDEMARK_URL"));
    assert_int_equal(setenv("TIDEMARK_SOCKET", path, 1), 0);
    command_run(&c, NULL, "./tidemark key show router-fw");
    expect(2, "", "both set");
    assert_int_equal(unsetenv("TIDEMARK_URL"), 0);
    unsigned before = script.requests;
    command_run(&c, NULL, "./tidemark key show router-fw");
    expect(0, "router-fw", "");
    assert_int_equal(script.requests, before + 1);
    fake_stop(&other);
    command_run(&c, NULL, "./tidemark key show router-fw");
    expect(7, "", "cannot reach the service at socket");
    command_run(&c, NULL, "./tidemark key show router-fw --socket @none");
    expect(7, "", "/none: No such file or directory");
    assert_int_equal(unsetenv("TIDEMARK_SOCKET"), 0);
    command_run(&c, NULL, "./tidemark key show router-fw --url http://127.0.0.1:1/");
    expect(7, "", "cannot reach the service at http://127.0.0.1:1:");
    command_runf(&c, "./tidemark key show router-fw --url %s/", url);
    expect(0, "router-fw", "");
    assert_int_equal(setenv("TIDEMARK_URL", url, 1), 0);
    free(url);
}

/* Tables ----------------------------------------------------------------------------------------
 */

static void test_key_show(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark key show router-fw");
    expect(0, "windows     1,024 of 8 indices, 1023 usable", "");
    assert_non_null(strstr(c.out, "signed      12,345"));
    assert_non_null(
        strstr(c.out, "left        4 in the window, 18,446,744,073,709,551,615 in the"));
    assert_non_null(strstr(c.out, "FAKE (virtual)"));
    command_run(&c, NULL, "./tidemark key show router-fw --json");
    expect(0, "\"key\": \"18446744073709551615\"", "");
    command_run(&c, NULL, "./tidemark key show a/b");
    expect(2, "", "no name of a key");
}

static void test_key_public(void **state)
{
    (void)state;
    size_t len = 0;
    command_run(&c, NULL, "./tidemark key public router-fw");
    assert_string_equal(c.out, public_pem);
    command_run(&c, NULL, "./tidemark key public router-fw --format raw --out @k.pub");
    expect(0, "wrote", "");
    const char *data = command_read("k.pub", &len);
    assert_int_equal(len, script.key.raw_len);
    assert_memory_equal(data, script.key.raw, len);
    command_run(&c, NULL, "./tidemark key public router-fw --out @k.pub");
    expect(2, "", "holds something else");
    command_run(&c, NULL, "./tidemark key public router-fw --out @k.pub --force");
    expect(0, "wrote", "");
    assert_string_equal(command_read("k.pub", &len), public_pem);
    command_run(&c, NULL, "./tidemark key public router-fw --format raw --json");
    expect(0, "\"encoding\": \"base64\"", "");
    command_run(&c, NULL, "./tidemark key public router-fw --format raw");
    assert_int_equal(c.out_len, script.key.raw_len);
}

/* What is no public key in the form that was asked for is neither printed nor written. */
static void expect_no_key(const char *format, const void *body, size_t len)
{
    script.instead_of = "/public?format=";
    script.status = 200;
    script.type = "application/octet-stream";
    script.body = body;
    script.body_len = len;
    static const char *const ways[] = {"", " --json", " --out @none.pub"};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char line[200];
        (void)snprintf(line, sizeof(line), "./tidemark key public router-fw --format %s%s", format,
                       ways[i]);
        command_run(&c, NULL, line);
        expect(9, "", "no public key in the form");
        assert_int_equal(i == 1 ? 0 : c.out_len, 0);
    }
    assert_int_not_equal(access(command_path("none.pub"), F_OK), 0);
    script.instead_of = NULL;
}

static void test_key_public_refused(void **state)
{
    (void)state;
    char text[2 * SPKI_PEM_MAX];
    uint8_t bytes[HBS_PUB_LEN_MAX + 32];
    const uint8_t *raw = script.key.raw;
    size_t len = script.key.raw_len;
    int line = (int)strcspn(public_pem, "\n");
    (void)snprintf(text, sizeof(text), "%.*s\r%s", line, public_pem, public_pem + line);
    expect_no_key("spki-pem", text, strlen(text));
    (void)snprintf(text, sizeof(text), "\rnot what it looks like\033[2J%s", public_pem);
    expect_no_key("spki-pem", text, strlen(text));
    (void)snprintf(text, sizeof(text), "%sand more\n", public_pem);
    expect_no_key("spki-pem", text, strlen(text));
    expect_no_key("spki-pem", raw, len);
    expect_no_key("raw", public_pem, strlen(public_pem));
    expect_no_key("raw", "<html>a proxy</html>", 20);
    expect_no_key("xdr", raw, len - 1);
    expect_no_key("spki-der", raw, len);
    static const uint8_t head[] = {0xa3, 0x01, 0x05, 0x03, 0x38, 0x2d, 0x20, 0x58};
    memcpy(bytes, head, sizeof(head));
    bytes[sizeof(head)] = (uint8_t)(len - 1);
    memcpy(bytes + sizeof(head) + 1, raw, len);
    expect_no_key("cose", bytes, sizeof(head) + 1 + len);
    expect_no_key("c-header", "static const unsigned char k[2] = { 0x00, 0x01, };\n", 51);
    expect_no_key("c-header", "{", 1);
}

static const char windows_page[] =
    "{\"windows\":["
    "{\"window\":35,\"label\":\"2026-11-08\",\"state\":\"closed\",\"opens\":\"2026-11-08T00:00:"
    "00Z\","
    "\"closes\":\"2026-11-15T00:00:00Z\",\"first_index\":0,\"size\":1024,\"usable\":1023,"
    "\"signed\":211,\"burned\":0,\"given_up\":812,\"remaining\":0},"
    "{\"window\":36,\"label\":\"\",\"state\":\"closed\",\"opens\":\"2026-11-15T00:00:00Z\","
    "\"closes\":\"2026-11-22T00:00:00Z\",\"first_index\":0,\"size\":1024,\"usable\":1023,"
    "\"signed\":398,\"burned\":2,\"given_up\":0,\"remaining\":0},"
    "{\"window\":37,\"label\":\"\",\"state\":\"open\",\"opens\":\"2026-11-22T06:30:00Z\","
    "\"closes\":\"2999-11-29T00:00:00Z\",\"first_index\":0,\"size\":1024,\"usable\":1023,"
    "\"signed\":1018,\"burned\":0,\"given_up\":0,\"remaining\":5}],\"next\":null}";

static void test_windows(void **state)
{
    (void)state;
    problem("/windows?", 200, windows_page);
    command_run(&c, NULL, "./tidemark windows --key nightly");
    expect(0, "open, ", "");
    char *open = strstr(c.out, "open, ");
    strcpy(open, ""); /* how long is left depends on today */
    assert_string_equal(c.out,
                        "window  opens             used / 1023                burned  state\n"
                        "    35  2026-11-08        ██░░░░░░░░    211               0  closed\n"
                        "    36  2026-11-15        ████░░░░░░    398               2  closed\n"
                        "    37  2026-11-22 06:30  ██████████   1018  5 left       0  ");
    command_run(&c, NULL, "./tidemark windows --key nightly --json");
    expect(0, "\"given_up\": 812", "");
    command_run(&c, NULL, "./tidemark windows --key nightly --from 5 --to 3");
    expect(2, "", "windows 0 to 1023");
    command_run(&c, NULL, "./tidemark windows");
    expect(2, "", "needs --key");
}

static char last_windows_target[2048];
static unsigned windows_requests;
static void handle_windows(void *ctx, const struct fake_request *request,
                           struct fake_answer *answer)
{
    (void)ctx;
    if (strstr(request->target, "/windows?") == NULL) {
        answer_key(answer);
        return;
    }
    windows_requests++;
    (void)snprintf(last_windows_target, sizeof(last_windows_target), "%s", request->target);
    bool second = strstr(request->target, "cursor=2") != NULL;
    bool endless = strstr(request->target, "from=500") != NULL;
    fake_text(answer, 200,
              "{\"windows\":[{\"window\":%d,\"state\":\"future\",\"label\":\"4.%d\"}],"
              "\"next\":%s}",
              second ? 2 : 1, second ? 2 : 1, second && !endless ? "null" : "2");
}

static void test_windows_range_and_pages(void **state)
{
    (void)state;
    struct fake_service other;
    fake_start(&other, NULL, handle_windows, NULL);
    static const struct {
        const char *options, *target;
    } ranges[] = {
        {"", "?from=28&to=38"}, /* 37 is open, 36 the floor */
        {"--all", "?from=0&to=1023"},
        {"--from 40", "?from=40&to=49"},
        {"--from 3", "?from=3&to=38"},
        {"--to 40", "?from=28&to=40"},
        {"--from 1020 --to 5000", "?from=1020&to=1023"},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        command_runf(&c, "./tidemark windows --key k --url http://127.0.0.1:%u %s",
                     (unsigned)other.port, ranges[i].options);
        expect(0, "4.1", "");
        assert_non_null(strstr(c.out, "4.2"));
        assert_non_null(strstr(last_windows_target, ranges[i].target));
        assert_non_null(strstr(last_windows_target, "&cursor=2"));
    }
    windows_requests = 0;
    command_runf(&c, "./tidemark windows --key k --url http://127.0.0.1:%u --from 500",
                 (unsigned)other.port);
    expect(9, "", "does not end");
    assert_int_equal(windows_requests, 2); /* a cursor that repeats itself is noticed at once */
    fake_stop(&other);
}

static void test_versions(void **state)
{
    (void)state;
    problem("/versions?prefix=4.2.", 200,
            "{\"versions\":[{\"version\":\"4.2.0\",\"slot\":\"kernel\",\"window\":130,"
            "\"index\":402101,\"state\":\"signed\",\"artifact_sha256\":\"" DIGEST_0
            "\",\"signed_at\":\"2026-12-08T09:36:00Z\",\"signature\":\"/v1/x\"},"
            "{\"version\":\"4.2.1\",\"window\":130,\"index\":402103,\"state\":\"unused\"}],"
            "\"next\":null}");
    command_run(&c, NULL, "./tidemark versions --key router-fw --prefix 4.2.");
    expect(0, "", "");
    assert_string_equal(
        c.out,
        "version  slot    window   index  state   signed at             artifact\n"
        "4.2.0    kernel     130  402101  signed  2026-12-08 09:36 UTC  sha256:9f86d081884c7d65\n"
        "4.2.1               130  402103  unused\n");
}

static void test_versions_usage(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark versions --key router-fw --prefix " LONG);
    expect(2, "", "no start of a version");
    command_run(&c, NULL, "./tidemark versions --key a/b");
    expect(2, "", "no name of a key");
}

static void test_status(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int http, exit;
    } states[] = {{"Operational", 200, 0}, {"WindowFull", 200, 4}, {"AckRequired", 200, 5},
                  {"Exhausted", 200, 3},   {"Halted", 503, 6},     {"ClockUnsafe", 200, 6}};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char body[400];
        (void)snprintf(body, sizeof(body),
                       "{\"state\":\"%s\",\"tpm\":{\"description\":\"FAKE\",\"virtual\":true},"
                       "\"checks\":{\"ledger\":\"ok\",\"tpm\":\"ok\",\"clock\":\"no source\","
                       "\"nodes\":\"ok\"}}",
                       states[i].name);
        problem("/health/state", states[i].http, body);
        script.type = "application/json";
        command_run(&c, NULL, "./tidemark status");
        expect(states[i].exit, states[i].name, "");
        assert_non_null(strstr(c.out, "clock     no source"));
        assert_non_null(strstr(c.out, "virtual"));
        command_run(&c, NULL, "./tidemark status --json");
        expect(states[i].exit, "\"service\"", "");
        json_t *o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o);
        json_decref(o);
    }
    problem("/health/state", 404, "{}");
    command_run(&c, NULL, "./tidemark status");
    expect(2, "", "answered 404");
}

/* On a terminal: colours, unless NO_COLOR; no escape sequences that came from outside. */
static void run_on_terminal(const char *line, char *text, size_t size)
{
    int terminal = -1;
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    size_t used = 0;
    for (ssize_t got; used < size - 1 && (got = read(terminal, text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    (void)close(terminal);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_terminal(void **state)
{
    (void)state;
    static char text[65536];
    problem("/health/state", 200, "{\"state\":\"Operational\",\"checks\":{}}");
    run_on_terminal("TERM=xterm ./tidemark status", text, sizeof(text));
    assert_non_null(strstr(text, "\033[32mOperational\033[0m"));
    run_on_terminal("TERM=xterm NO_COLOR=1 ./tidemark status", text, sizeof(text));
    assert_non_null(strstr(text, "Operational"));
    assert_null(strchr(text, '\033'));
    run_on_terminal("TERM=dumb ./tidemark status", text, sizeof(text));
    assert_null(strchr(text, '\033'));
    run_on_terminal("./tidemark key public router-fw --format raw", text, sizeof(text));
    assert_non_null(strstr(text, "binary key is not printed"));
    script.instead_of = NULL;
    (void)snprintf(text, sizeof(text),
                   "cd . && TERM=xterm ./tidemark sign %s --key router-fw "
                   "--version 1.0.1 --slot b",
                   command_path("fw.bin"));
    char line[2048];
    (void)snprintf(line, sizeof(line), "%.2000s", text);
    run_on_terminal(line, text, sizeof(text));
    assert_non_null(strstr(text, "signed"));
    assert_null(strstr(text, "hashing")); /* less than a second: no bar */
    assert_null(strstr(text, "\033[2J"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sign),
        TEST(test_sign_long_file),
        TEST(test_sign_again),
        TEST(test_sign_bound),
        TEST(test_sign_names_taken),
        TEST(test_sign_time),
        TEST(test_sign_time_fails),
        TEST(test_sign_digest),
        TEST(test_sign_preview),
        TEST(test_sign_remote_oddities),
        TEST(test_warnings),
        TEST(test_sign_lies),
        TEST(test_sign_without_receipt),
        TEST(test_sign_usage),
        TEST(test_exit_codes),
        TEST(test_odd_answers),
        TEST(test_every_problem),
        TEST(test_addresses),
        TEST(test_key_show),
        TEST(test_key_public),
        TEST(test_key_public_refused),
        TEST(test_windows),
        TEST(test_windows_range_and_pages),
        TEST(test_versions),
        TEST(test_versions_usage),
        TEST(test_status),
        TEST(test_terminal),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
