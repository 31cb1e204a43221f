/*
 * What monitors are told by the real service: the numbers follow what happened, promtool finds
 * nothing to say, every name that the alert rules and the board use exists, and no name and no
 * label comes from a client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/service.h"

#define SIGNATURES(result)                                                                         \
    "tidemark_signatures_total{key=\"fw\",policy=\"version\",result=\"" result "\"}"
#define STRANGE "a-name-that-nobody-made"

static const char plan[] =
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'version','format':'major.minor','sizes':{'minor':4},'window':'major',"
    "'order':'strict'}}";

static struct clocks clocks;
static struct service s;

static char *read_file(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    assert_true(getdelim(&text, &len, EOF, f) > 0);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* GET /metrics, kept in the lab for promtool. */
static void scrape(struct answer *a)
{
    char path[LAB_PATH + 16];
    assert_int_equal(service_get(&s, a, "/metrics"), 200);
    assert_string_equal(answer_header(a, "Content-Type"),
                        "text/plain; version=0.0.4; charset=utf-8");
    (void)snprintf(path, sizeof(path), "%s/metrics", lab_dir());
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(a->body, 1, a->len, f), a->len);
    assert_int_equal(fclose(f), 0);
}

/* The number behind a name and its labels, exactly as they are printed. */
static double value_of(const struct answer *a, const char *series)
{
    size_t len = strlen(series);
    for (const char *line = a->body; line != NULL && *line != '\0';) {
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            return strtod(line + len + 1, NULL);
        line = strchr(line, '\n');
        line += line != NULL ? 1 : 0;
    }
    fail_msg("%s is not there:\n%s", series, a->body);
    return -1;
}

static void expect(const char *series, double want)
{
    struct answer a;
    scrape(&a);
    double value = value_of(&a, series);
    client_done(&a);
    if (value < want || value > want)
        fail_msg("%s is %g instead of %g", series, value, want);
}

static void sign(const char *version, const char *artifact, long status)
{
    struct client c;
    struct answer a;
    client_open(&c, &s);
    long got = client_ask(&c, &a, "Content-Type: application/octet-stream", artifact,
                          strlen(artifact), "/v1/keys/fw/signatures?version=%s", version);
    if (got != status)
        fail_msg("%ld instead of %ld: %s", got, status, a.body);
    client_done(&a);
    client_close(&c);
}

static void test_numbers_follow(void **state)
{
    struct answer a;
    (void)state;
    expect(SIGNATURES("signed"), 0);
    expect("tidemark_core_up", 1);
    expect("tidemark_core_starts_total", 1);
    expect("tidemark_state{state=\"Operational\"}", 1);
    expect("tidemark_tpm_state{state=\"ok\"}", 1);
    expect("tidemark_tpm_virtual", 1);
    sign("1.0", "one", 201);
    sign("1.0", "one", 200);
    sign("1.0", "two", 409);
    sign("1.1", "three", 201);
    expect(SIGNATURES("signed"), 2);
    expect(SIGNATURES("replayed"), 1);
    expect(SIGNATURES("refused"), 1);
    expect(SIGNATURES("burned"), 0);
    expect("tidemark_leaves_burned_total{key=\"fw\",reason=\"clock\"}", 0);
    expect("tidemark_leaves_burned_total{key=\"fw\",reason=\"lease\"}", 0);
    expect("tidemark_window_used{key=\"fw\"}", 2);
    expect("tidemark_commit_seconds_count", 2);
    expect("tidemark_batch_size_count", 4);
    expect("tidemark_refusals_total{reason=\"version-already-signed\"}", 1);
    expect("tidemark_http_requests_total{method=\"POST\",route=\"/v1/keys/{key}/signatures\","
           "status=\"201\"}",
           2);
    expect("tidemark_index_conflict_total", 0);
    expect("tidemark_unacknowledged_warnings{key=\"fw\"}", 0);
    /* W was written once and is known for each of the three. */
    scrape(&a);
    assert_true(value_of(&a, "tidemark_tpm_nv_writes_total{key=\"fw\",index=\"l\"}") >= 2);
    assert_true(value_of(&a, "tidemark_tpm_command_max_seconds") > 0);
    assert_true(value_of(&a, "tidemark_tpm_increment_seconds_count") > 0);
    assert_true(value_of(&a, "tidemark_tpm_increment_seconds_sum") > 0);
    client_done(&a);
}

/* Names, paths and fields of a client's own making. */
static void test_nothing_from_clients(void **state)
{
    struct answer a;
    (void)state;
    assert_int_equal(service_get(&s, &a, "/v1/keys/" STRANGE), 404);
    client_done(&a);
    assert_int_equal(service_get(&s, &a, "/" STRANGE), 404);
    client_done(&a);
    scrape(&a);
    assert_null(strstr(a.body, STRANGE));
    assert_true(value_of(&a, "tidemark_problems_total{problem=\"not-found\"}") >= 2);
    assert_true(
        value_of(&a, "tidemark_http_requests_total{method=\"\",route=\"\",status=\"404\"}") >= 1);
    client_done(&a);
}

/* Within a minute the log has a line of this process with this request's id. */
static bool logged_by(const char *process, const char *id)
{
    return lab_shell("for i in $(seq 600); do"
                     " grep -F '\"process\":\"%s\"' '%s' | grep -qF '\"request_id\":\"%s\"'"
                     " && exit 0; sleep 0.1; done; exit 1",
                     process, s.log, id) == 0;
}

/* What a client calls its request stands in the answer, in the log and in the receipt. */
static void test_request_id(void **state)
{
    struct client c;
    struct answer a;
    char id[64];
    (void)state;
    client_open(&c, &s);
    assert_int_equal(client_ask(&c, &a,
                                "Content-Type: application/octet-stream\nRequest-Id: ci-4711.7",
                                "four", 4, "/v1/keys/fw/signatures?version=1.2"),
                     201);
    assert_string_equal(answer_header(&a, "Request-Id"), "ci-4711.7");
    (void)snprintf(id, sizeof(id), "%s", answer_text(&a, "id"));
    client_done(&a);
    client_close(&c);
    /* The front may write its line when the client has its answer already. */
    assert_true(logged_by("core", "ci-4711.7"));
    assert_true(logged_by("front", "ci-4711.7"));
    assert_int_equal(service_get(&s, &a, "/v1/keys/fw/signatures/%s/receipt", id), 200);
    assert_string_equal(answer_text(&a, "request_id"), "ci-4711.7");
    /* One that was not given is made, for every answer. */
    assert_int_equal(strlen(answer_header(&a, "Request-Id")), 32);
    client_done(&a);
}

/* A core that is gone takes its numbers along; the front still says so. */
static void test_without_core(void **state)
{
    (void)state;
    pid_t core = service_child(&s, "core", 0);
    assert_int_equal(lab_shell("kill -9 %d", (int)core), 0);
    (void)service_child(&s, "core", core);
    service_wait_state(&s, "Operational");
    expect("tidemark_core_starts_total", 2);
    expect("tidemark_commit_seconds_count", 0);
    expect(SIGNATURES("signed"), 3);
    expect(SIGNATURES("replayed"), 0);
}

static void test_promtool(void **state)
{
    struct answer a;
    (void)state;
    if (lab_shell("command -v promtool >/dev/null 2>&1") != 0) {
        (void)fprintf(stderr, "no promtool (package prometheus): not asked\n");
        skip();
    }
    scrape(&a);
    client_done(&a);
    assert_int_equal(lab_shell("promtool check metrics <'%s/metrics' >&2", lab_dir()), 0);
    assert_int_equal(
        lab_shell("promtool check rules '%s' >&2", SRCDIR "/etc/prometheus/tidemark.rules.yml"), 0);
}

/* Each alert fires when it should and is silent when all is well, and none is left out. */
static void test_alerts(void **state)
{
    (void)state;
    if (lab_shell("command -v promtool >/dev/null 2>&1") != 0) {
        (void)fprintf(stderr, "no promtool (package prometheus): not asked\n");
        skip();
    }
    assert_int_equal(
        lab_shell("promtool test rules '%s' >&2", SRCDIR "/tests/monitoring/rules.test.yml"), 0);
    assert_int_equal(
        lab_shell("for a in $(sed -n 's/.* alert: //p' '%s'); do "
                  "grep -q \"\\\"$a\\\"\" '%s' || { echo \"$a is not tested\" >&2; exit 1; }; done",
                  SRCDIR "/etc/prometheus/tidemark.rules.yml",
                  SRCDIR "/tests/monitoring/rules.test.yml"),
        0);
}

static bool is_metric(const struct answer *a, const char *name, size_t len)
{
    static const char *const ends[] = {"", "_bucket", "_sum", "_count"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        char type[160];
        if (len <= end || strncmp(name + len - end, ends[i], end) != 0)
            continue;
        (void)snprintf(type, sizeof(type), "# TYPE %.*s %s", (int)(len - end), name,
                       end > 0 ? "histogram" : "");
        if (strstr(a->body, type) != NULL)
            return true;
    }
    return false;
}

/* A name that the rules themselves record. */
static bool is_recorded(const char *name, size_t len)
{
    char record[160];
    char *rules = read_file(SRCDIR "/etc/prometheus/tidemark.rules.yml");
    (void)snprintf(record, sizeof(record), "- record: %.*s\n", (int)len, name);
    bool found = strstr(rules, record) != NULL;
    free(rules);
    return found;
}

/* Every tidemark_… in a file is the name of something that was printed, or is recorded. */
static void names_exist(const struct answer *a, const char *path)
{
    char *text = read_file(path);
    size_t found = 0;
    for (const char *p = strstr(text, "tidemark_"); p != NULL; p = strstr(p, "tidemark_")) {
        size_t len = 0;
        while (p[len] == '_' || isalnum((unsigned char)p[len]))
            len++;
        if (!is_metric(a, p, len) && !is_recorded(p, len))
            fail_msg("%s: there is no metric %.*s", path, (int)len, p);
        found++;
        p += len;
    }
    assert_true(found > 10);
    free(text);
}

static void test_rules_and_board(void **state)
{
    struct answer a;
    (void)state;
    scrape(&a);
    names_exist(&a, SRCDIR "/etc/prometheus/tidemark.rules.yml");
    names_exist(&a, SRCDIR "/etc/grafana/tidemark.json");
    client_done(&a);
    json_t *board =
        json_load_file(SRCDIR "/etc/grafana/tidemark.json", JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_array_size(json_object_get(board, "panels")) > 10);
    json_decref(board);
}

/* And every metric that is printed is in the documentation. */
static void test_documented(void **state)
{
    struct answer a;
    (void)state;
    char *docs = read_file(SRCDIR "/docs/metrics.md");
    const size_t prefix = strlen("tidemark_");
    scrape(&a);
    for (const char *p = strstr(a.body, "# TYPE "); p != NULL; p = strstr(p, "# TYPE ")) {
        char name[120];
        p += strlen("# TYPE ");
        (void)snprintf(name, sizeof(name), "`%.*s`", (int)strcspn(p + prefix, " "), p + prefix);
        if (strstr(docs, name) == NULL)
            fail_msg("%s is not in docs/metrics.md", name);
    }
    client_done(&a);
    free(docs);
}

static int setup(void **state)
{
    static const struct service_options usual = {0};
    (void)state;
    clocks_start(&clocks, "clocks", false);
    service_make(&s, "metrics", &clocks, &usual);
    service_key(&s, plan);
    service_start(&s);
    service_wait_state(&s, "Operational");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_end(&s);
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_follow), cmocka_unit_test(test_nothing_from_clients),
        cmocka_unit_test(test_request_id),     cmocka_unit_test(test_without_core),
        cmocka_unit_test(test_promtool),       cmocka_unit_test(test_rules_and_board),
        cmocka_unit_test(test_documented),     cmocka_unit_test(test_alerts),
    };
    int status = lab_open();
    return status != 0 ? status : cmocka_run_group_tests(tests, setup, teardown);
}
