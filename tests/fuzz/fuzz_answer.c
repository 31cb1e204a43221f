/*
 * Fuzz target: what the command line reads of a service that is broken, or in wrong hands.
 *
 * The first byte chooses the command, as the table below says, a capital the same with --json. The
 * rest is what the service answers to its requests, one after the other: a line "HTTP/1.1 STATUS",
 * lines of headers, an empty line, the body; a line "%%" ends it. libcurl is replaced: HTTP itself
 * is its work, and all behind it is ours. Beside not crashing: nothing that is printed can drive a
 * terminal, a failure says why in text that JSON can hold, --json prints JSON, and a signature
 * that is written is one of this very file. Run: tests/fuzz/fuzz_answer -max_len=8192 CORPUS
 * tests/fuzz/answer
 */
#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secmem.h"
#include "cli/cli.h"
#include "fuzz/scratch.h"
#include "hbs/kernel.h"

#define WORDS_MAX 16
#define AT_NS INT64_C(1796000000000000000)
#define MESSAGE "Test message for SHA256-192\n" /* what the signature in the corpus is of */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct {
    char letter;
    const char *line; /* @: the file */
} commands[] = {
    {'a', "status"},
    {'b', "windows --key router-fw"},
    {'c', "versions --key router-fw --prefix 4."},
    {'d', "key list"},
    {'e', "key show router-fw"},
    {'f', "key public router-fw"},
    {'g', "forecast --key router-fw"},
    {'h', "warning list"},
    {'i', "warning ack --id 7 --sentence yes"},
    {'j', "clock status"},
    {'k', "clock ack-forward --id 7 --windows 3 --utc 2026-11-25T10:00:00Z --yes"},
    {'l', "attest get --key router-fw --nonce 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"},
    {'m', "sign @ --key router-fw --version 1.0.1 --slot b"},
    {'n', "sign @ --key router-fw --window current --idempotency-key x"},
    {'o', "sign @ --key router-fw --window current --remote"},
    {'p', "sign @ --key router-fw --version 1.0.1 --preview"},
};

/* libcurl --------------------------------------------------------------------------------------
 */

static const uint8_t *rest; /* answers to come */
static size_t rest_len;
static long status;
static char *content_type;
static struct {
    curl_write_callback body, header;
    curl_read_callback read;
    void *body_ctx, *header_ctx, *read_ctx;
} set;

CURL *__wrap_curl_easy_init(void);
void __wrap_curl_easy_cleanup(CURL *c);
void __wrap_curl_easy_reset(CURL *c);
CURLcode __wrap_curl_easy_setopt(CURL *c, CURLoption option, ...);
CURLcode __wrap_curl_easy_getinfo(CURL *c, CURLINFO info, ...);
CURLcode __wrap_curl_easy_perform(CURL *c);

CURL *__wrap_curl_easy_init(void)
{
    return (CURL *)&set;
}

void __wrap_curl_easy_cleanup(CURL *c)
{
    MUST(c == (CURL *)&set);
}

void __wrap_curl_easy_reset(CURL *c)
{
    MUST(c == (CURL *)&set);
    memset(&set, 0, sizeof(set));
}

CURLcode __wrap_curl_easy_setopt(CURL *c, CURLoption option, ...)
{
    va_list more;
    MUST(c == (CURL *)&set);
    va_start(more, option);
    if (option == CURLOPT_WRITEFUNCTION)
        set.body = va_arg(more, curl_write_callback);
    else if (option == CURLOPT_WRITEDATA)
        set.body_ctx = va_arg(more, void *);
    else if (option == CURLOPT_HEADERFUNCTION)
        set.header = va_arg(more, curl_write_callback);
    else if (option == CURLOPT_HEADERDATA)
        set.header_ctx = va_arg(more, void *);
    else if (option == CURLOPT_READFUNCTION)
        set.read = va_arg(more, curl_read_callback);
    else if (option == CURLOPT_READDATA)
        set.read_ctx = va_arg(more, void *);
    va_end(more);
    return CURLE_OK;
}

CURLcode __wrap_curl_easy_getinfo(CURL *c, CURLINFO info, ...)
{
    va_list more;
    MUST(c == (CURL *)&set);
    va_start(more, info);
    if (info == CURLINFO_RESPONSE_CODE)
        *va_arg(more, long *) = status;
    else
        *va_arg(more, char **) = content_type;
    va_end(more);
    return CURLE_OK;
}

/* A copy of its own, so that reading beyond the end is seen. */
static size_t give(curl_write_callback take, const void *data, size_t len, void *ctx)
{
    char *copy = malloc(len > 0 ? len : 1);
    MUST(copy != NULL);
    memcpy(copy, data, len);
    size_t taken = take(copy, 1, len, ctx);
    free(copy);
    return taken;
}

static void note_header(const char *line, size_t len)
{
    static const char name[] = "content-type: ";
    size_t skip = sizeof(name) - 1;
    bool first = len >= 12 && strncmp(line, "HTTP/1.1 ", 9) == 0;
    status = first ? 0 : status;
    if (first)
        for (size_t i = 9; i < 12 && isdigit((unsigned char)line[i]); i++)
            status = 10 * status + (line[i] - '0');
    if (len < skip || strncasecmp(line, name, skip) != 0)
        return;
    free(content_type);
    content_type = strndup(line + skip, len - skip);
    MUST(content_type != NULL);
}

/* One line of the answer that is next, without its end; false: it has ended. */
static bool next_line(const char **line, size_t *len)
{
    const uint8_t *end = rest_len > 0 ? memchr(rest, '\n', rest_len) : NULL;
    *line = (const char *)rest;
    *len = end != NULL ? (size_t)(end - rest) : rest_len;
    size_t used = *len + (end != NULL ? 1 : 0);
    rest = rest_len > 0 ? rest + used : rest;
    rest_len -= used;
    return *len > 0;
}

static CURLcode give_body(void)
{
    static const char mark[] = "\n%%\n";
    const uint8_t *end = rest_len > 0 ? memmem(rest, rest_len, mark, 4) : NULL;
    size_t len = end != NULL ? (size_t)(end - rest) : rest_len;
    size_t first = len / 2;
    if (len == 0)
        return CURLE_OK;
    bool taken = give(set.body, rest, first, set.body_ctx) == first &&
                 give(set.body, rest + first, len - first, set.body_ctx) == len - first;
    size_t used = len + (end != NULL ? 4 : 0);
    rest += used;
    rest_len -= used;
    return taken ? CURLE_OK : CURLE_WRITE_ERROR;
}

CURLcode __wrap_curl_easy_perform(CURL *c)
{
    char sent[64];
    const char *line = NULL;
    size_t len = 0;
    MUST(c == (CURL *)&set);
    while (set.read != NULL && set.read(sent, 1, sizeof(sent), set.read_ctx) > 0)
        ;
    free(content_type);
    content_type = NULL;
    status = 0;
    if (rest_len == 0)
        return CURLE_COULDNT_CONNECT;
    while (next_line(&line, &len)) {
        note_header(line, len);
        MUST(give(set.header, line, len, set.header_ctx) == len);
    }
    return status >= 100 ? give_body() : CURLE_WEIRD_SERVER_REPLY;
}

/* The command ---------------------------------------------------------------------------------- */

static int64_t now(void *ctx)
{
    (void)ctx;
    return AT_NS;
}

static void no_sleep(void *ctx, uint32_t ms)
{
    (void)ctx;
    (void)ms;
}

static char file[160], sig[180], receipt[180];

static void make_file(void)
{
    (void)scratch_folder("fw.bin", (const uint8_t *)MESSAGE, strlen(MESSAGE));
    (void)snprintf(file, sizeof(file), "%s/fw.bin", scratch_folder_path());
    (void)snprintf(sig, sizeof(sig), "%s.sig", file);
    (void)snprintf(receipt, sizeof(receipt), "%s.receipt", file);
}

static enum cli_exit run(const char *line, bool json, struct cli_fault *fault)
{
    static char words[200];
    char *argv[WORDS_MAX] = {"tidemark"};
    char *behind = NULL;
    int argc = 1;
    struct cli cli = {
        .out = {.json = json, .time = {.real_ns = now, .raw_ns = now, .sleep_ms = no_sleep}}};
    (void)snprintf(words, sizeof(words), "%s --url http://service%s", line, json ? " --json" : "");
    for (char *word = strtok_r(words, " ", &behind); word != NULL;
         word = strtok_r(NULL, " ", &behind)) {
        MUST(argc < WORDS_MAX - 1);
        argv[argc++] = strcmp(word, "@") == 0 ? file : word;
    }
    MUST(args_parse(&cli.args, argc, argv, fault) == CLI_OK);
    return cli.args.command->run(&cli, fault);
}

/* Judgement ------------------------------------------------------------------------------------ */

/* UTF-8, lines, and no control characters, neither those of ASCII nor C1. */
static void is_harmless(const char *text, size_t len)
{
    json_t *utf8 = json_stringn(text, len);
    MUST(utf8 != NULL);
    json_decref(utf8);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        MUST((c >= 0x20 && c != 0x7f) || c == '\n');
        MUST(c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0);
    }
}

static void is_json(const char *text, size_t len)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_DECODE_ANY, &error);
    MUST(root != NULL);
    json_decref(root);
}

struct printed {
    char *text;
    size_t len;
    FILE *file;
};

static FILE *print_into(struct printed *p)
{
    p->file = open_memstream(&p->text, &p->len);
    MUST(p->file != NULL);
    return p->file;
}

static void judge(char letter, bool json, enum cli_exit code, const struct cli_fault *fault,
                  const struct printed *out, const struct printed *talk)
{
    is_harmless(fault->text, strlen(fault->text));
    is_harmless(fault->next, strlen(fault->next));
    is_harmless(fault->problem, strlen(fault->problem));
    is_harmless(talk->text, talk->len);
    /* These have said it, and end with a code of their own for what it is. */
    bool told = letter == 'a' || letter == 'h' || letter == 'j';
    MUST(code == CLI_OK || fault->text[0] != '\0' || told);
    if (json && code == CLI_OK)
        is_json(out->text, out->len);
    else if (!json && letter != 'f') /* a key goes into a file as it came */
        is_harmless(out->text, out->len);
    bool signs = letter >= 'm' && letter <= 'o';
    bool there = access(sig, F_OK) == 0;
    MUST(!there || signs);
    MUST(!signs || code != CLI_OK || (there && access(receipt, F_OK) == 0));
    MUST(code != CLI_NO || !there);
}

static void try(char letter, const char *line, bool json)
{
    struct printed out = {0}, talk = {0};
    struct cli_fault fault = {0};
    FILE *before[2] = {stdout, stderr};
    stdout = print_into(&out);
    stderr = print_into(&talk);
    enum cli_exit code = run(line, json, &fault);
    stdout = before[0];
    stderr = before[1];
    MUST(fclose(out.file) == 0 && fclose(talk.file) == 0);
    judge(letter, json, code, &fault, &out, &talk);
    (void)unlink(sig);
    (void)unlink(receipt);
    free(out.text);
    free(talk.text);
    free(content_type);
    content_type = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (file[0] == '\0') {
        MUST(base_init_public(NULL) == RC_OK && hbs_kernel_start(NULL) == RC_OK);
        make_file();
    }
    if (len < 1)
        return 0;
    char letter = (char)tolower(data[0]);
    rest = data + 1;
    rest_len = len - 1;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i].letter == letter)
            try(letter, commands[i].line, letter != (char)data[0]);
    return 0;
}
