#include "daemon/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/config_access.h"
#include "daemon/mistakes.h"
#include "policy/wear.h"

/* One known member: where it goes and what is right. A table, so that --check-config, the manual
 * page and the code cannot drift apart. */
enum kind { TEXT, NUMBER, BOOLEAN, CHOICE };

struct member {
    const char *name; /* "tpm.tcti" */
    enum kind kind;
    void *to;
    size_t size; /* TEXT: room */
    uint64_t min, max, initial;
    const char *const *choices; /* CHOICE: NULL-terminated; *to is an int */
    const char *right;          /* what a right value looks like */
    bool live;                  /* may change while the service runs */
};

struct members {
    struct member list[CONFIG_MEMBERS_MAX];
    size_t count;
};

static const char *const virtual_choices[] = {"refuse", "wait", "demo", NULL};
static const char *const sandbox_choices[] = {"enforce", "off", NULL};
static const char *const log_choices[] = {"error", "warning", "notice", "info", NULL};
static const char tls_file[] = "an absolute path of a PEM file, or \"\" for the credential";
static const int log_levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE,
                                 LOG_LEVEL_INFO};
#define LOG_CHOICE_INFO 3

static void text(struct members *m, const char *name, char *to, size_t size, const char *right)
{
    m->list[m->count++] =
        (struct member){.name = name, .kind = TEXT, .to = to, .size = size, .right = right};
}

/* Numbers are read as 64 bits and put into their fields afterwards. */
static void number(struct config *c, struct members *m, const char *name, uint64_t initial,
                   uint64_t min, uint64_t max, const char *right)
{
    m->list[m->count] = (struct member){.name = name,
                                        .kind = NUMBER,
                                        .to = &c->numbers[m->count],
                                        .initial = initial,
                                        .min = min,
                                        .max = max,
                                        .right = right};
    m->count++;
}

static void choice(struct members *m, const char *name, int *to, const char *const *choices,
                   const char *right)
{
    m->list[m->count++] =
        (struct member){.name = name, .kind = CHOICE, .to = to, .choices = choices, .right = right};
}

/* What was described last may change while the service runs. */
static void live(struct members *m)
{
    m->list[m->count - 1].live = true;
}

static void boolean(struct members *m, const char *name, bool *to)
{
    m->list[m->count++] =
        (struct member){.name = name, .kind = BOOLEAN, .to = to, .right = "true or false"};
}

static uint64_t got(const struct members *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->list[i].name, name) == 0)
            return *(const uint64_t *)m->list[i].to;
    MUST(false);
}

static void defaults(struct config *c)
{
    *c = (struct config){
        .tcti = "device:/dev/tpmrm0",
        .state_dir = LOCALSTATEDIR "/lib/tidemark",
        .http_unix = "/run/tidemark/tidemark.sock",
        .settings = {.virtual_policy = VIRTUAL_REFUSE,
                     .clock = {.address = "127.0.0.1", .kernel_witness = true}},
        .virtual_choice = VIRTUAL_REFUSE,
        .log_choice = LOG_CHOICE_INFO,
    };
}

static void describe(struct config *c, struct members *m)
{
    *m = (struct members){.count = 0};
    text(m, "state_dir", c->state_dir, sizeof(c->state_dir), "an absolute path");
    text(m, "tpm.tcti", c->tcti, sizeof(c->tcti), "\"device:/dev/tpmrm0\"");
    text(m, "tpm.endorsement_auth_file", c->endorsement_auth_file, sizeof(c->endorsement_auth_file),
         "an absolute path, or \"\" for none");
    text(m, "tpm.owner_auth_file", c->owner_auth_file, sizeof(c->owner_auth_file),
         "an absolute path, or \"\" for none");
    choice(m, "tpm.virtual", &c->virtual_choice, virtual_choices,
           "\"refuse\", \"wait\" or \"demo\"");
    text(m, "tpm.pcrs", c->pcrs_text, sizeof(c->pcrs_text), "\"sha256:0,7\", or \"\" for none");
    number(c, m, "tpm.srk_handle", TPM_SRK_DEFAULT, 0x81000000, 0x817fffff,
           "a number from 2164260864 to 2172649471 (0x81000000 to 0x817fffff)");
    number(c, m, "tpm.watchdog_s", 60, 1, 600, "seconds, 1 to 600");
    number(c, m, "tpm.slow_ms", 1000, 1, 600000, "milliseconds, 1 to 600000");
    number(c, m, "tpm.nv_endurance", WEAR_ENDURANCE_DEFAULT, 1000, UINT64_C(1) << 40,
           "writes that one NV index stands, 1000 or more");
    text(m, "clock.address", c->settings.clock.address, sizeof(c->settings.clock.address),
         "\"127.0.0.1\"");
    number(c, m, "clock.port", 323, 1, 65535, "a port, 1 to 65535");
    number(c, m, "clock.max_error_ms", 250, 1, CLK_ERROR_MS_MAX, "milliseconds, 1 to 60000");
    number(c, m, "clock.max_age_s", 512, 1, CLK_AGE_S_MAX, "seconds, 1 to 86400");
    number(c, m, "clock.max_stratum", 4, 1, CLK_STRATUM_MAX, "a stratum, 1 to 15");
    number(c, m, "clock.warmup", 3, 1, 100, "updates, 1 to 100");
    number(c, m, "clock.guard_ms", 2000, 0, 60000, "milliseconds, 0 to 60000");
    number(c, m, "clock.max_forward_ms", 2000, CLK_FORWARD_MS_MIN, CLK_FORWARD_MS_MAX,
           "milliseconds, 100 to 3600000");
    number(c, m, "clock.max_offline_s", 172800, CLK_OFFLINE_S_MIN, CLK_OFFLINE_S_MAX,
           "seconds, 60 to 315360000");
    number(c, m, "clock.raw_ppm", 200, CLK_RAW_PPM_MIN, CLK_RAW_PPM_MAX,
           "parts in a million, 1 to 10000");
    boolean(m, "clock.kernel_witness", &c->settings.clock.kernel_witness);
    boolean(m, "clock.allow_local_refid", &c->settings.clock.allow_local_refid);
    number(c, m, "signing.ack_percent", 10, 0, 100, "percent, 0 to 100; 0 for never");
    number(c, m, "signing.edge_wait_ms", 5000, 0, 60000, "milliseconds, 0 to 60000");
    number(c, m, "signing.export_margin", 1, 1, 1000, "windows, 1 to 1000");
    number(c, m, "signing.idle_ms", 2000, 100, 3600000, "milliseconds, 100 to 3600000");
    text(m, "http.unix", c->http_unix, sizeof(c->http_unix), "an absolute path, or \"\" for none");
    text(m, "http.tcp_address", c->http_tcp_address, sizeof(c->http_tcp_address),
         "\"127.0.0.1\", \"::1\", or \"\" for none");
    text(m, "tls.address", c->tls_address, sizeof(c->tls_address),
         "an IPv4 or IPv6 address to listen on, or \"\" for none");
    number(c, m, "tls.port", 8794, 0, 65535, "a port, 0 to 65535");
    text(m, "tls.certificate_file", c->front.tls.certificate, sizeof(c->front.tls.certificate),
         tls_file);
    text(m, "tls.key_file", c->front.tls.key, sizeof(c->front.tls.key), tls_file);
    text(m, "tls.trust_file", c->front.tls.trust, sizeof(c->front.tls.trust), tls_file);
    text(m, "tls.crl_file", c->front.tls.crl, sizeof(c->front.tls.crl), tls_file);
    number(c, m, "attest.period_s", 86400, 0, UINT64_C(366) * 86400,
           "seconds, 60 to 31622400, or 0 for never");
    number(c, m, "attest.per_minute", 12, 1, 600, "attestations, 1 to 600");
    number(c, m, "http.tcp_port", 8793, 0, 65535, "a port, 0 to 65535");
    number(c, m, "http.body_max", UINT64_C(8) << 30, 1, UINT64_C(1) << 50, "bytes, 1 to 2^50");
    live(m);
    number(c, m, "http.body_memory_max", 1 << 20, 0, UINT64_C(1) << 30, "bytes, 0 to 2^30");
    live(m);
    number(c, m, "http.memory_max", UINT64_C(256) << 20, 0, UINT64_C(1) << 50,
           "bytes, 0 to 2^50; 0 for no limit");
    number(c, m, "http.spool_max", UINT64_C(64) << 30, 0, UINT64_C(1) << 50,
           "bytes, 0 to 2^50; 0 for no limit");
    number(c, m, "http.spool_keep_free", UINT64_C(256) << 20, 0, UINT64_C(1) << 50,
           "bytes, 0 to 2^50; 0 for none");
    number(c, m, "http.body_rate_min", 65536, 0, UINT64_C(1) << 30,
           "bytes a second, 0 to 2^30; 0 for none");
    number(c, m, "http.peer_connections", 500, 0, 100000, "0 to 100000; 0 for no limit");
    number(c, m, "http.peer_requests", 200, 0, 10000, "0 to 10000; 0 for no limit");
    number(c, m, "http.connections_max", 1000, 8, 100000, "8 to 100000");
    number(c, m, "http.requests_max", 256, 1, 10000, "1 to 10000");
    number(c, m, "http.header_deadline_s", 10, 1, 3600, "seconds, 1 to 3600");
    live(m);
    number(c, m, "http.body_deadline_s", 3600, 1, 86400, "seconds, 1 to 86400");
    live(m);
    number(c, m, "http.core_deadline_s", 120, 1, 3600, "seconds, 1 to 3600");
    live(m);
    choice(m, "sandbox.mode", &c->sandbox_choice, sandbox_choices, "\"enforce\" or \"off\"");
    text(m, "sandbox.also_read", c->also_read, sizeof(c->also_read),
         "an absolute path, or \"\" for none");
    choice(m, "log.level", &c->log_choice, log_choices,
           "\"error\", \"warning\", \"notice\" or \"info\"");
    live(m);
    number(c, m, "restart.delay_ms_max", 5000, 1, 60000, "milliseconds, 1 to 60000");
    live(m);
}

static void put_numbers(struct config *c, const struct members *m)
{
    c->tpm = (struct tpm_config){.tcti = c->tcti,
                                 .srk_handle = (uint32_t)got(m, "tpm.srk_handle"),
                                 .watchdog_s = (uint32_t)got(m, "tpm.watchdog_s")};
    if (c->pcrs_text[0] == '\0' || !tpm_pcrs_scan(&c->pcrs, c->pcrs_text))
        c->pcrs = (struct tpm_pcrs){0}; /* check() says what is wrong with it */
    c->settings.tpm_slow_ms = (uint32_t)got(m, "tpm.slow_ms");
    c->settings.nv_endurance = got(m, "tpm.nv_endurance");
    struct clk_policy *k = &c->settings.clock;
    k->port = (uint16_t)got(m, "clock.port");
    k->max_error_ms = (int64_t)got(m, "clock.max_error_ms");
    k->max_age_s = (int64_t)got(m, "clock.max_age_s");
    k->max_stratum = (uint32_t)got(m, "clock.max_stratum");
    k->warmup = (uint32_t)got(m, "clock.warmup");
    k->guard_ms = (int64_t)got(m, "clock.guard_ms");
    c->settings.tolerance =
        (struct clk_tolerance){.raw_ppm = (uint32_t)got(m, "clock.raw_ppm"),
                               .max_forward_ms = (int64_t)got(m, "clock.max_forward_ms"),
                               .max_offline_s = (int64_t)got(m, "clock.max_offline_s")};
    c->settings.ack_percent = (uint32_t)got(m, "signing.ack_percent");
    c->settings.edge_wait_ms = (int64_t)got(m, "signing.edge_wait_ms");
    c->settings.export_margin = (int64_t)got(m, "signing.export_margin");
    c->settings.attest_period_s = (int64_t)got(m, "attest.period_s");
    c->attest_per_minute = got(m, "attest.per_minute");
    c->idle_ms = (uint32_t)got(m, "signing.idle_ms");
    c->http_tcp_port = (uint16_t)got(m, "http.tcp_port");
    c->tls_port = (uint16_t)got(m, "tls.port");
    c->restart_delay_ms_max = (int64_t)got(m, "restart.delay_ms_max");
    struct front_config *f = &c->front;
    f->memory_max = got(m, "http.memory_max");
    f->spool_max = got(m, "http.spool_max");
    f->spool_keep_free = got(m, "http.spool_keep_free");
    f->body_rate_min = (uint32_t)got(m, "http.body_rate_min");
    f->peer_connections = (uint32_t)got(m, "http.peer_connections");
    f->peer_requests = (uint32_t)got(m, "http.peer_requests");
    f->connections_max = (uint32_t)got(m, "http.connections_max");
    f->requests_max = (uint32_t)got(m, "http.requests_max");
    f->settings = (struct front_settings){
        .body_max = got(m, "http.body_max"),
        .body_memory_max = got(m, "http.body_memory_max"),
        .header_deadline_s = (uint32_t)got(m, "http.header_deadline_s"),
        .body_deadline_s = (uint32_t)got(m, "http.body_deadline_s"),
        .core_deadline_s = (uint32_t)got(m, "http.core_deadline_s"),
        .log_level = (uint32_t)log_levels[c->log_choice],
    };
    c->core.log_level = f->settings.log_level;
}

static void take_choice(const struct member *m, const json_t *value, struct mistakes *bad)
{
    for (int i = 0; json_is_string(value) && m->choices[i] != NULL; i++) {
        if (strcmp(m->choices[i], json_string_value(value)) == 0) {
            *(int *)m->to = i;
            return;
        }
    }
    mistake(bad, m->name, "not one of the choices", m->right);
}

static void take_text(const struct member *m, const json_t *value, struct mistakes *bad)
{
    const char *s = json_string_value(value);
    if (s == NULL || strlen(s) >= m->size)
        mistake(bad, m->name, "not a text, or too long", m->right);
    else
        strcpy(m->to, s);
}

static void take_number(const struct member *m, const json_t *value, struct mistakes *bad)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || (uint64_t)n < m->min || (uint64_t)n > m->max)
        mistake(bad, m->name, "not a whole number in range", m->right);
    else
        *(uint64_t *)m->to = (uint64_t)n;
}

/* A value that is wrong leaves the default in its place. */
static void take(const struct member *m, const json_t *value, struct mistakes *bad)
{
    if (m->kind == CHOICE)
        take_choice(m, value, bad);
    else if (m->kind == TEXT)
        take_text(m, value, bad);
    else if (m->kind == NUMBER)
        take_number(m, value, bad);
    else if (json_is_boolean(value))
        *(bool *)m->to = json_is_true(value);
    else
        mistake(bad, m->name, "not a boolean", m->right);
}

static const struct member *find(const struct members *m, const char *path)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->list[i].name, path) == 0)
            return &m->list[i];
    return NULL;
}

static bool is_section(const struct members *m, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < m->count; i++)
        if (strncmp(m->list[i].name, name, len) == 0 && m->list[i].name[len] == '.')
            return true;
    return false;
}

static void take_limit_number(struct key_limits *l, const char *name, const json_t *number_,
                              const char *path, struct mistakes *bad)
{
    uint64_t *to = strcmp(name, "burst") == 0             ? &l->burst
                   : strcmp(name, "per_hour") == 0        ? &l->per_hour
                   : strcmp(name, "caller_burst") == 0    ? &l->caller_burst
                   : strcmp(name, "caller_per_hour") == 0 ? &l->caller_per_hour
                   : strcmp(name, "reserve") == 0         ? &l->reserve
                   : strcmp(name, "window_max") == 0      ? &l->window_max
                                                          : NULL;
    json_int_t n = json_integer_value(number_);
    if (to == NULL)
        mistake(bad, path, "unknown member",
                "burst, per_hour, caller_burst, caller_per_hour, window_max, reserve, reserve_for");
    else if (!json_is_integer(number_) || n < 0 || n > 1000000000)
        mistake(bad, path, "not a number in range", "0 to 1000000000");
    else
        *to = (uint64_t)n;
}

static void take_reserve_for(struct key_limits *l, const json_t *value, const char *path,
                             struct mistakes *bad)
{
    const char *name = json_string_value(value);
    if (name == NULL || strlen(name) > NAME_LEN_MAX || name[0] == '\0')
        mistake(bad, path, "not a name", "the name of an identity");
    else
        strcpy(l->reserve_for, name);
}

static void check_limit(const struct key_limits *l, const char *path, struct mistakes *bad)
{
    if (l->burst != 0 && l->per_hour == 0)
        mistake(bad, path, "has a burst but no rate", "\"per_hour\": 3600");
    else if (l->caller_burst != 0 && l->caller_per_hour == 0)
        mistake(bad, path, "has a burst but no rate", "\"caller_per_hour\": 600");
    else if ((l->reserve != 0) != (l->reserve_for[0] != '\0'))
        mistake(bad, path, "has a reserve for nobody, or none for somebody",
                "\"reserve\": 16, \"reserve_for\": \"incident\"");
}

/* "limits": {"default": {...}, "KEY": {...}} */
static void take_limit(struct config *c, const char *key, json_t *value, struct mistakes *bad)
{
    char path[NAME_LEN_MAX + 32];
    (void)snprintf(path, sizeof(path), "limits.%.63s", key);
    if (!json_is_object(value) || !name_valid(key) || c->core.limits_count > SIGNER_KEYS_MAX) {
        mistake(bad, path, "not the limits of a key",
                "{\"burst\": 64, \"per_hour\": 3600, \"window_max\": 0}");
        return;
    }
    struct named_limits *l = &c->core.limits[c->core.limits_count++];
    if (strcmp(key, "default") != 0)
        strcpy(l->name, key);
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach(value, name, member)
    {
        char inner[sizeof(path) + 64];
        (void)snprintf(inner, sizeof(inner), "%s.%.60s", path, name);
        if (strcmp(name, "reserve_for") == 0)
            take_reserve_for(&l->limits, member, inner, bad);
        else
            take_limit_number(&l->limits, name, member, inner, bad);
    }
    check_limit(&l->limits, path, bad);
}

static void take_member(const struct members *m, const char *path, const json_t *value,
                        struct mistakes *bad)
{
    const struct member *known = find(m, path);
    if (known == NULL)
        mistake(bad, path, "unknown member", "one of those in tidemark.conf(5)");
    else
        take(known, value, bad);
}

static void take_section(struct config *c, const struct members *m, const char *section,
                         json_t *object, struct mistakes *bad)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (!json_is_object(object))
        mistake(bad, section, "not an object", "{ … }");
    json_object_foreach(object, name, value)
    {
        char path[128];
        (void)snprintf(path, sizeof(path), "%.40s.%.60s", section, name);
        if (strcmp(section, "limits") == 0)
            take_limit(c, name, value, bad);
        else
            take_member(m, path, value, bad);
    }
}

static void take_all(struct config *c, const struct members *m, json_t *root, struct mistakes *bad)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (!json_is_object(root))
        mistake(bad, "$", "not an object", "{ … }");
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "identities") == 0)
            config_access(&c->access, value, bad);
        else if (strcmp(name, "limits") == 0 || is_section(m, name))
            take_section(c, m, name, value, bad);
        else
            take_member(m, name, value, bad);
    }
}

static bool loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Files that the configuration does not name are looked for among the credentials that the service
 * manager hands over. */
static void find_tls_files(struct config *c)
{
    const struct {
        char *path;
        const char *credential;
    } files[] = {{c->front.tls.certificate, "tidemark-tls-certificate"},
                 {c->front.tls.key, "tidemark-tls-key"},
                 {c->front.tls.trust, "tidemark-tls-trust"},
                 {c->front.tls.crl, "tidemark-tls-crl"}};
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    for (size_t i = 0; dir != NULL && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[TLS_PATH_MAX];
        int len = snprintf(path, sizeof(path), "%s/%s", dir, files[i].credential);
        if (files[i].path[0] == '\0' && len < (int)sizeof(path) && access(path, F_OK) == 0)
            strcpy(files[i].path, path);
    }
}

static void check_tls(const struct config *c, struct mistakes *bad)
{
    const struct tls_files *f = &c->front.tls;
    const struct {
        const char *name, *path;
        bool needed;
    } files[] = {{"tls.certificate_file", f->certificate, true},
                 {"tls.key_file", f->key, true},
                 {"tls.trust_file", f->trust, true},
                 {"tls.crl_file", f->crl, false}};
    struct in6_addr any;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i].path[0] != '\0' && files[i].path[0] != '/')
            mistake(bad, files[i].name, "not an absolute path", tls_file);
        if (files[i].path[0] == '\0' && files[i].needed && c->tls_address[0] != '\0')
            mistake(bad, files[i].name, "is needed for tls.address", tls_file);
    }
    if (c->tls_address[0] != '\0' && inet_pton(AF_INET, c->tls_address, &any) != 1 &&
        inet_pton(AF_INET6, c->tls_address, &any) != 1)
        mistake(bad, "tls.address", "not an address", "\"0.0.0.0\" or \"::\"");
}

static void check_paths(const struct config *c, struct mistakes *bad)
{
    const struct {
        const char *name, *path;
        bool needed;
    } paths[] = {{"sandbox.also_read", c->also_read, false},
                 {"state_dir", c->state_dir, true},
                 {"tpm.owner_auth_file", c->owner_auth_file, false},
                 {"tpm.endorsement_auth_file", c->endorsement_auth_file, false},
                 {"http.unix", c->http_unix, false}};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i].path[0] != '/' && (paths[i].needed || paths[i].path[0] != '\0'))
            mistake(bad, paths[i].name, "not an absolute path", "an absolute path");
}

static void check(const struct config *c, struct mistakes *bad)
{
    struct tpm_pcrs pcrs;
    if (c->pcrs_text[0] != '\0' && !tpm_pcrs_scan(&pcrs, c->pcrs_text))
        mistake(bad, "tpm.pcrs", "not a selection of PCRs",
                "\"sha256:0,7\": bank sha256 or sha384, PCRs 0 to 23 in rising order");
    if (c->tcti[0] == '\0')
        mistake(bad, "tpm.tcti", "empty", "\"device:/dev/tpmrm0\"");
    if (c->settings.attest_period_s > 0 && c->settings.attest_period_s < 60)
        mistake(bad, "attest.period_s", "too short for a TPM",
                "seconds, 60 to 31622400, or 0 for never");
    check_paths(c, bad);
    if (strlen(c->http_unix) > 107)
        mistake(bad, "http.unix", "too long for a socket", "at most 107 bytes");
    if (c->http_tcp_address[0] != '\0' && !loopback(c->http_tcp_address))
        mistake(bad, "http.tcp_address", "not a loopback address",
                "\"127.0.0.1\": without TLS nothing leaves this machine");
    if (c->http_unix[0] == '\0' && c->http_tcp_address[0] == '\0' && c->tls_address[0] == '\0')
        mistake(bad, "http", "neither unix nor tcp_address is set, and no tls.address",
                "one of the three");
    check_tls(c, bad);
}

/* *root: owned by the caller on RC_OK. */
static enum rc load(const char *file, json_t **root, struct err *err)
{
    char *data = NULL;
    size_t len = 0;
    struct err e = {0};
    json_error_t where;
    if (file_read(AT_FDCWD, file, CONFIG_FILE_MAX, &data, &len, &e) != RC_OK)
        return FAIL(err, RC_REFUSED_CONFIG, e.origin, e.native, "%s", err_text(&e));
    *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &where);
    free(data);
    if (*root == NULL)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "%s: line %d, column %d: %s", file, where.line,
                    where.column, where.text);
    return RC_OK;
}

enum rc config_read(struct config *config, const char *path, void (*tell)(const char *text),
                    struct err *err)
{
    struct mistakes bad = {.file = path != NULL ? path : CONFIG_DEFAULT_PATH, .tell = tell};
    struct err unread = {0};
    json_t *root = NULL;
    defaults(config);
    if (load(bad.file, &root, &unread) != RC_OK) {
        mistake_unreadable(&bad, &unread);
        return mistakes_end(&bad, err);
    }
    struct members members;
    describe(config, &members);
    for (size_t i = 0; i < members.count; i++)
        if (members.list[i].kind == NUMBER)
            *(uint64_t *)members.list[i].to = members.list[i].initial;
    take_all(config, &members, root, &bad);
    json_decref(root);
    config->sandbox = config->sandbox_choice == 0;
    config->settings.virtual_policy = (enum virtual_policy)config->virtual_choice;
    put_numbers(config, &members);
    find_tls_files(config);
    check(config, &bad);
    return mistakes_end(&bad, err);
}

/* Changing ------------------------------------------------------------------------------------ */

static bool equal(const struct member *a, const struct member *b)
{
    switch (a->kind) {
    case TEXT:
        return strcmp(a->to, b->to) == 0;
    case NUMBER:
        return *(const uint64_t *)a->to == *(const uint64_t *)b->to;
    case BOOLEAN:
        return *(const bool *)a->to == *(const bool *)b->to;
    default:
        return *(const int *)a->to == *(const int *)b->to;
    }
}

enum rc config_change(const struct config *from, const struct config *to, struct err *err)
{
    static struct config a, b; /* too large for a stack; the supervisor has one thread */
    struct members before;
    struct members after;
    a = *from;
    b = *to;
    describe(&a, &before);
    describe(&b, &after);
    for (size_t i = 0; i < before.count; i++)
        if (!before.list[i].live && !equal(&before.list[i], &after.list[i]))
            return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                        "%s cannot change while the service runs: restart it for that",
                        before.list[i].name);
    return RC_OK;
}

bool config_renews(const struct config *from, const struct config *to)
{
    return !access_equal(&from->access, &to->access);
}
