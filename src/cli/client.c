#include "config.h"

#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

#define SOCKET_DEFAULT "/run/tidemark/tidemark.sock"
#define URL_DEFAULT "http://127.0.0.1:8793"

/* Where the service is ------------------------------------------------------------------------- */

static enum cli_exit use_url(struct client *client, const char *url, struct cli_fault *fault)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    bool scheme = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    if (!scheme || len >= CLIENT_URL_MAX / 2 || !token_valid(url, CLIENT_URL_MAX / 2) ||
        strpbrk(url, "?# ") != NULL)
        return FAULT(fault, CLI_USAGE, "write it like " URL_DEFAULT,
                     "%.200s is no address of a service", url);
    memcpy(client->base, url, len);
    client->base[len] = '\0';
    (void)snprintf(client->where, sizeof(client->where), "%s", client->base);
    return CLI_OK;
}

static enum cli_exit use_socket(struct client *client, const char *path, struct cli_fault *fault)
{
    if (path[0] == '\0' || strlen(path) >= sizeof(client->socket))
        return FAULT(fault, CLI_USAGE, "give a path of at most 107 characters",
                     "%.120s is no path of a socket", path);
    (void)snprintf(client->socket, sizeof(client->socket), "%s", path);
    (void)snprintf(client->base, sizeof(client->base), "http://localhost");
    (void)snprintf(client->where, sizeof(client->where), "socket %s", path);
    return CLI_OK;
}

static enum cli_exit find_service(struct client *client, const struct args *args,
                                  struct cli_fault *fault)
{
    const char *url = args_value(args, "url"), *path = args_value(args, "socket");
    if (url != NULL && path != NULL)
        return FAULT(fault, CLI_USAGE, "give one of them", "--url and --socket are two addresses");
    if (url == NULL && path == NULL) {
        url = getenv("TIDEMARK_URL");
        path = getenv("TIDEMARK_SOCKET");
        if (url != NULL && path != NULL)
            return FAULT(fault, CLI_USAGE, "unset one of them, or give --url or --socket",
                         "TIDEMARK_URL and TIDEMARK_SOCKET are both set");
    }
    if (url != NULL)
        return use_url(client, url, fault);
    if (path != NULL)
        return use_socket(client, path, fault);
    if (access(SOCKET_DEFAULT, F_OK) == 0)
        return use_socket(client, SOCKET_DEFAULT, fault);
    return use_url(client, URL_DEFAULT, fault);
}

/* TLS ------------------------------------------------------------------------------------------ */

static enum cli_exit tls_file(const char **file, const struct client *client,
                              const struct args *args, const char *option, const char *variable,
                              struct cli_fault *fault)
{
    const char *given = args_value(args, option);
    *file = given != NULL ? given : getenv(variable);
    if (*file != NULL && (*file)[0] == '\0')
        *file = NULL;
    if (given != NULL && !client->https)
        return FAULT(fault, CLI_USAGE, "write the address as https://HOST:8794",
                     "--%s is for https, and %s is none", option, client->where);
    if (*file != NULL && client->https && access(*file, R_OK) != 0)
        return FAULT(fault, CLI_USAGE, "check the path and who may read it",
                     "cannot read %.300s (--%s, %s): %s", *file, option, variable, strerror(errno));
    return CLI_OK;
}

static enum cli_exit find_tls_files(struct client *client, const struct args *args,
                                    struct cli_fault *fault)
{
    client->https = client->socket[0] == '\0' && strncmp(client->base, "https://", 8) == 0;
    enum cli_exit code =
        tls_file(&client->tls_cert, client, args, "tls-cert", "TIDEMARK_TLS_CERT", fault);
    if (code == CLI_OK)
        code = tls_file(&client->tls_key, client, args, "tls-key", "TIDEMARK_TLS_KEY", fault);
    if (code == CLI_OK)
        code = tls_file(&client->tls_ca, client, args, "tls-ca", "TIDEMARK_TLS_CA", fault);
    if (code == CLI_OK && client->https && (client->tls_cert == NULL) != (client->tls_key == NULL))
        code = FAULT(fault, CLI_USAGE, "give --tls-cert and --tls-key",
                     "certificate and key go together, and only one of them is given");
    return code;
}

enum cli_exit client_open(struct client *client, const struct cli *cli, struct cli_fault *fault)
{
    *client = (struct client){.time = cli->out.time};
    enum cli_exit code = find_service(client, &cli->args, fault);
    if (code == CLI_OK)
        code = find_tls_files(client, &cli->args, fault);
    if (code != CLI_OK)
        return code;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return FAULT(fault, CLI_INTERNAL, "check the installation of libcurl",
                     "libcurl does not start");
    client->curl = curl_easy_init();
    if (client->curl == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    return CLI_OK;
}

void client_close(struct client *client)
{
    if (client->curl != NULL)
        curl_easy_cleanup(client->curl);
    *client = (struct client){0};
}

int64_t client_now_s(const struct client *client)
{
    return client->time.real_ns(client->time.ctx) / INT64_C(1000000000);
}

void client_path_add(char path[CLIENT_URL_MAX], const char *literal, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = strlen(path);
    for (; *literal != '\0' && used + 1 < CLIENT_URL_MAX; literal++)
        path[used++] = *literal;
    for (; *text != '\0' && used + 4 < CLIENT_URL_MAX; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c) != NULL) {
            path[used++] = (char)c;
        } else {
            path[used++] = '%';
            path[used++] = digits[c >> 4];
            path[used++] = digits[c & 15];
        }
    }
    path[used] = '\0';
}

/* One exchange --------------------------------------------------------------------------------- */

struct exchange {
    struct answer *answer;
    size_t cap;
    bool too_long;
    bool no_memory;
    const struct upload *upload;
    uint64_t sent;
    bool read_failed;
    struct out_progress progress;
    char error[CURL_ERROR_SIZE];
    long connect_errno; /* why no connection was made, or 0 */
};

void answer_free(struct answer *answer)
{
    free(answer->body);
    json_decref(answer->json);
    *answer = (struct answer){0};
}

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * count; /* libcurl: size is 1 */
    struct answer *a = x->answer;
    if (len > CLIENT_ANSWER_MAX - a->len) {
        x->too_long = true;
        return 0;
    }
    if (a->len + len + 1 > x->cap) {
        size_t cap = 2 * (a->len + len + 1);
        char *body = realloc(a->body, cap);
        if (body == NULL) {
            x->no_memory = true;
            return 0;
        }
        a->body = body;
        x->cap = cap;
    }
    memcpy(a->body + a->len, data, len);
    a->len += len;
    a->body[a->len] = '\0';
    return len;
}

/* Value of a header line if it has this name; copied without blanks around it. */
static bool header_value(const char *line, size_t len, const char *name, char *value, size_t size)
{
    size_t name_len = strlen(name);
    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
        return false;
    const char *from = line + name_len + 1, *to = line + len;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == '\r' || to[-1] == '\n' || to[-1] == ' ' || to[-1] == '\t'))
        to--;
    (void)snprintf(value, size, "%.*s", (int)(to - from), from);
    return true;
}

static size_t take_header(char *line, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * count;
    char value[64];
    uint64_t seconds = 0;
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) { /* a new one: 100 Continue came before it */
        x->answer->replayed = false;
        x->answer->retry_after_s = -1;
    } else if (header_value(line, len, "Tidemark-Replayed", value, sizeof(value))) {
        x->answer->replayed = strcasecmp(value, "true") == 0;
    } else if (header_value(line, len, "Retry-After", value, sizeof(value)) &&
               text_to_u64(&seconds, value, RFC3339_S_MAX)) {
        x->answer->retry_after_s = (int64_t)seconds;
    }
    return len;
}

static size_t give_body(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    const struct input *input = x->upload->input;
    size_t len = size * count;
    if (len > input->size - x->sent)
        len = (size_t)(input->size - x->sent);
    if (len > 0 && !pread_full(input->fd, data, len, (off_t)x->sent)) {
        x->read_failed = true;
        return CURL_READFUNC_ABORT;
    }
    x->sent += len;
    out_progress_step(&x->progress, x->sent);
    return len;
}

/* libcurl sends again from the start if a kept connection turns out to be dead. */
static int rewind_body(void *ctx, curl_off_t offset, int origin)
{
    struct exchange *x = ctx;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->upload->input->size)
        return CURL_SEEKFUNC_FAIL;
    x->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool set_tls(CURL *c, const struct client *client)
{
    bool ok = curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) == CURLE_OK;
    if (client->tls_cert != NULL)
        ok = ok && curl_easy_setopt(c, CURLOPT_SSLCERT, client->tls_cert) == CURLE_OK &&
             curl_easy_setopt(c, CURLOPT_SSLKEY, client->tls_key) == CURLE_OK;
    if (client->tls_ca != NULL) /* these issuers alone, none of this host's */
        ok = ok && curl_easy_setopt(c, CURLOPT_CAINFO, client->tls_ca) == CURLE_OK &&
             curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
    return ok;
}

static bool set_common(CURL *c, struct client *client, const char *url, struct exchange *x)
{
    curl_easy_reset(c);
    bool ok = curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CLIENT_CONNECT_S) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)CLIENT_STALL_S) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->error) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_WRITEDATA, (void *)x) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HEADERDATA, (void *)x) == CURLE_OK;
    if (client->socket[0] != '\0')
        ok = ok && curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, client->socket) == CURLE_OK;
    if (client->https)
        ok = ok && set_tls(c, client);
    return ok;
}

static bool set_upload(CURL *c, struct exchange *x)
{
    const struct upload *upload = x->upload;
    bool ok = curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK;
    if (upload->input == NULL)
        return ok &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)strlen(upload->text)) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDS, upload->text) == CURLE_OK;
    curl_off_t size = (curl_off_t)upload->input->size;
    ok = ok && curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, size) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_READDATA, (void *)x) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, rewind_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_SEEKDATA, (void *)x) == CURLE_OK;
    out_progress_start(&x->progress, upload->out, "sending", upload->input->size);
    return ok;
}

static enum cli_exit broken(const struct client *client, const struct exchange *x, CURLcode result,
                            struct cli_fault *fault)
{
    const char *text = x->error[0] != '\0' ? x->error : curl_easy_strerror(result);
    if (x->too_long)
        return FAULT(fault, CLI_INTERNAL, "check the address: is that a tidemark service?",
                     "answer from %s is longer than %d bytes", client->where, CLIENT_ANSWER_MAX);
    if (x->no_memory)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    if (x->read_failed)
        return FAULT(fault, CLI_USAGE, "repeat when nobody is writing to it",
                     "%.300s became shorter or unreadable while it was sent",
                     x->upload->input->path);
    switch (result) {
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* a server that answers in HTTP/0.9 ends here too */
        return FAULT(fault, CLI_INTERNAL, "check the address: is that a tidemark service?",
                     "answer from %s is not HTTP: %s", client->where, text);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        /* Of a socket libcurl speaks as of port 80 of localhost. */
        if (client->socket[0] != '\0' && x->connect_errno != 0)
            text = strerror((int)x->connect_errno);
        return FAULT(fault, CLI_NETWORK,
                     "check that the service runs (systemctl status tidemarkd), or give --url or "
                     "--socket",
                     "cannot reach the service at %s: %s", client->where, text);
    case CURLE_PEER_FAILED_VERIFICATION:
        return FAULT(fault, CLI_NETWORK,
                     "check the name in --url, and --tls-ca: it must have the issuer of the "
                     "service's certificate",
                     "%s does not show a certificate that is trusted: %s", client->where, text);
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return FAULT(
            fault, CLI_NETWORK,
            "check --tls-cert, --tls-key and --tls-ca: PEM files, and a key that belongs to "
            "the certificate",
            "the certificate files cannot be used: %s", text);
    default:
        if (client->https) /* in TLS 1.3 a client hears late that its certificate is not taken */
            return FAULT(fault, CLI_NETWORK,
                         "check that --tls-cert is a client's certificate of an issuer that the "
                         "service trusts, and has not run out; else repeat the command",
                         "connection to %s broke: %s", client->where, text);
        return FAULT(fault, CLI_NETWORK,
                     "repeat the same command; if it fails again, look into "
                     "the service's log",
                     "connection to %s broke: %s", client->where, text);
    }
}

static enum cli_exit parse_json(const struct client *client, struct answer *answer,
                                const char *type, struct cli_fault *fault)
{
    static const char next[] = "check the address: is that a tidemark service?";
    size_t len = type == NULL ? 0 : strcspn(type, "; ");
    bool plain = len == 16 && strncasecmp(type, "application/json", len) == 0;
    bool problem = len == 24 && strncasecmp(type, "application/problem+json", len) == 0;
    if (!plain && !problem)
        return CLI_OK;
    json_error_t error = {0};
    answer->json = json_loadb(answer->body != NULL ? answer->body : "", answer->len,
                              JSON_REJECT_DUPLICATES, &error);
    if (answer->json == NULL)
        return FAULT(fault, CLI_INTERNAL, next, "answer from %s is no JSON: line %d: %s",
                     client->where, error.line, error.text);
    if (!json_is_object(answer->json))
        return FAULT(fault, CLI_INTERNAL, next, "answer from %s is no JSON object", client->where);
    return CLI_OK;
}

static void free_headers(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static enum cli_exit exchange(struct client *client, const char *path, const struct upload *upload,
                              struct answer *answer, struct cli_fault *fault)
{
    *answer = (struct answer){.retry_after_s = -1};
    struct exchange x = {.answer = answer, .upload = upload};
    CURL *c = client->curl;
    char url[2 * CLIENT_URL_MAX];
    (void)snprintf(url, sizeof(url), "%s%s", client->base, path);
    struct curl_slist *headers CLEANUP(free_headers) = NULL;
    bool ok = set_common(c, client, url, &x);
    if (upload != NULL)
        ok = ok && set_upload(c, &x);
    for (size_t i = 0; upload != NULL && upload->headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(headers, upload->headers[i]);
        ok = ok && longer != NULL;
        headers = longer != NULL ? longer : headers;
    }
    ok = ok && curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    if (!ok)
        return FAULT(fault, CLI_INTERNAL, "check the installation of libcurl",
                     "libcurl refuses an option");
    CURLcode result = curl_easy_perform(c);
    if (upload != NULL && upload->input != NULL)
        out_progress_end(&x.progress, x.sent);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer->status);
    (void)curl_easy_getinfo(c, CURLINFO_OS_ERRNO, &x.connect_errno);
    /* A service that refuses early closes while we still send: what it said counts. */
    bool refused_early = result == CURLE_SEND_ERROR && answer->status >= 400 && answer->len > 0;
    if (result != CURLE_OK && !refused_early)
        return broken(client, &x, result, fault);
    char *type = NULL;
    (void)curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
    return parse_json(client, answer, type, fault);
}

enum cli_exit client_get(struct client *client, const char *path, struct answer *answer,
                         struct cli_fault *fault)
{
    return exchange(client, path, NULL, answer, fault);
}

enum cli_exit client_get_json(struct client *client, const char *path, struct answer *answer,
                              struct cli_fault *fault)
{
    enum cli_exit code = exchange(client, path, NULL, answer, fault);
    if (code == CLI_OK)
        code = answer_check(answer, client_now_s(client), fault);
    if (code == CLI_OK && answer->json == NULL)
        code = FAULT(fault, CLI_INTERNAL, "check the address: is that a tidemark service?",
                     "answer from %s is not JSON", client->where);
    return code;
}

enum cli_exit client_post(struct client *client, const char *path, const struct upload *upload,
                          struct answer *answer, struct cli_fault *fault)
{
    MUST(upload->input == NULL || upload->input->regular);
    return exchange(client, path, upload, answer, fault);
}
