/*
 * A real chronyd between time servers that lie and the anchored clock: cases 2, 5, 7 to 10, 12, 35
 * and 38 to 40 of docs/clock.md. The servers are ours (tests/lib/liar.h), chronyd an observer that
 * touches no clock, so the time of this host is the truth; those with network time security are
 * chronyd too.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/clock_bench.h"

static void case_02_chronyd_hangs(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    assert_int_equal(kill(b->chronyd[0], SIGSTOP), 0);
    look(b);
    assert_int_equal(b->v.mode, CLK_HOLDOVER);
    until(b, CLK_UNSYNCED);
    assert_int_equal(b->r.reasons, CLK_REASON(CLK_NO_REPLY));
    assert_int_equal(kill(b->chronyd[0], SIGCONT), 0);
    until(b, CLK_SYNCED);
}

/* The offset is tiny long before the bound is. */
static void case_05_bound_too_wide(void **state)
{
    struct bench *b = *state;
    struct lies vague = liar_honest();
    vague.root_dispersion_s = 0.8;
    tell(b, 0, SERVERS - 1, &vague);
    observe_servers(b, "");
    do {
        look(b);
        assert_false(b->r.safe);
        pause_ms(LOOK_MS);
    } while (b->r.reasons != CLK_REASON(CLK_ERR_BIG));
    assert_true(fabs(b->sample.evidence.tracking.correction_s) < 0.1);
    assert_true(b->r.error_ns > 800 * MS);
    tell_offset(b, 0, SERVERS - 1, 0);
    until(b, CLK_SYNCED);
}

/* chronyd goes on saying "normal"; the age of its last update does not lie. */
static void case_07_all_sources_lost(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    struct lies silent = liar_honest();
    silent.silent = true;
    tell(b, 0, SERVERS - 1, &silent);
    look(b);
    assert_int_equal(b->v.mode, CLK_SYNCED);
    until(b, CLK_HOLDOVER);
    assert_int_equal(b->sample.evidence.tracking.leap, 0);
    until(b, CLK_UNSYNCED);
    assert_int_equal(b->r.reasons, CLK_REASON(CLK_STALE));
    tell_offset(b, 0, SERVERS - 1, 0);
    until(b, CLK_SYNCED);
}

static void case_08_too_few_sources(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "minsources 2");
    until(b, CLK_SYNCED);
    struct lies silent = liar_honest();
    silent.silent = true;
    tell(b, 0, 1, &silent);
    until(b, CLK_HOLDOVER);
    until_reason(b, CLK_REASON(CLK_STALE));
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
    tell_offset(b, 0, 1, 0);
    until(b, CLK_SYNCED);
}

static void case_09_no_majority(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    tell_offset(b, 0, 0, 60 * SECOND);
    tell_offset(b, 1, 1, -60 * SECOND);
    until_reason(b, CLK_REASON(CLK_LEAP3));
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
    tell_offset(b, 0, 1, 0);
    until(b, CLK_SYNCED);
}

static void case_10_one_of_three_lies(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    tell_offset(b, 2, 2, 30 * SECOND);
    stays_right(b, 60);
    struct lies other = liar_honest();
    other.stratum = 15;
    tell(b, 2, 2, &other);
    stays_right(b, 20);
}

/* The majority jumps. An observer does not follow: what it says is an offset of an hour. */
static void cases_12_13_majority_lies(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    tell_offset(b, 0, 1, 3600 * SECOND);
    until(b, CLK_UNSYNCED);
    stays_shut(b, 30);
    tell_offset(b, 0, 1, 0);
    until(b, CLK_SYNCED);
    assert_int_equal(b->v.quarantine.id, 0);
}

static void case_35_smearing_sources(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    struct lies smear = liar_honest();
    smear.rate = -1.0 / 86400;
    tell(b, 0, SERVERS - 1, &smear);
    stays_right(b, 50);
}

/* A Unix socket that others can reach is refused by chronyd, which goes on without it; we never
 * needed it. */
static void case_38_unix_socket_refused(void **state)
{
    struct bench *b = *state;
    char path[128];
    assert_int_equal(run("mkdir '%s/open' && chmod 777 '%s/open'", bench_dir, bench_dir), 0);
    (void)snprintf(path, sizeof(path), "%s/open/socket", bench_dir);
    b->unix_socket = path;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    assert_true(log_says("observer", "Disabled command socket"));
    assert_int_not_equal(run("test -e '%s'", path), 0);
}

/* The way back takes 0.2 s longer than the way there: the offset is wrong, the interval right. */
static void case_40_asymmetric_delay(void **state)
{
    struct bench *b = *state;
    struct lies late = liar_honest();
    late.lag_ns = 200 * MS;
    tell(b, 0, SERVERS - 1, &late);
    b->policy.max_error_ms = 1000;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    assert_true(b->r.error_ns >= 190 * MS);
    stays_right(b, 20);
}

/* Network time security ------------------------------------------------------------------------ */

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

/* A key and a certificate for 127.0.0.1 by an authority, made some days ago and valid so long. */
static void make_certificate(const char *authority, const char *name, int made_days, int valid_days)
{
    assert_int_equal(run("cd '%s' && { [ -f %s.crt ] || openssl req -x509 " NEW_KEY
                         " -keyout %s.key -out %s.crt -days 30 -subj /CN=%s; } >log 2>&1",
                         bench_dir, authority, authority, authority, authority),
                     0);
    assert_int_equal(run("cd '%s' && openssl req -new " NEW_KEY
                         " -keyout %s.key -out %s.csr -subj /CN=127.0.0.1 >log 2>&1 && "
                         "chmod 600 %s.key && echo 'subjectAltName=IP:127.0.0.1' >ext && "
                         "echo '%+dd' >date",
                         bench_dir, name, name, name, made_days),
                     0);
    assert_int_equal(run("cd '%s' && '%s/scripts/chrony-pair.sh' faketime date openssl x509 -req "
                         "-in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial -days %d "
                         "-extfile ext -out %s.crt >log 2>&1 || { cat log >&2; false; }",
                         bench_dir, SRCDIR, name, authority, authority, valid_days, name),
                     0);
}

/* A chronyd that serves with this certificate, and an observer that trusts `authority`. */
static void serve_secure(struct bench *b, const char *certificate, const char *more)
{
    char conf[CONF_MAX];
    uint16_t port = free_port();
    uint16_t key_port = free_port();
    (void)snprintf(conf, sizeof(conf),
                   "local stratum 1\nallow 127.0.0.1\nport %" PRIu16 "\nbindaddress 127.0.0.1\n"
                   "cmdport 0\nbindcmdaddress /\nntsport %" PRIu16
                   "\nntsserverkey %s/%s.key\nntsservercert %s/%s.crt",
                   port, key_port, bench_dir, certificate, bench_dir, certificate);
    b->chronyd[1] = spawn_chronyd(b, "server", conf);
    (void)snprintf(conf, sizeof(conf),
                   "server 127.0.0.1 port %" PRIu16 " nts ntsport %" PRIu16
                   " iburst minpoll -2 maxpoll -2\nntstrustedcerts %s/authority.crt\n"
                   "nosystemcert\nauthselectmode require\n%s",
                   port, key_port, bench_dir, more);
    observe(b, conf);
}

static void case_39_nts_good(void **state)
{
    struct bench *b = *state;
    char liar[128];
    make_certificate("authority", "good", 0, 10);
    tell_offset(b, 0, 0, 120 * SECOND);
    (void)snprintf(liar, sizeof(liar),
                   "server 127.0.0.2 port %" PRIu16 " iburst minpoll -2 maxpoll -2",
                   b->servers[0].port);
    serve_secure(b, "good", liar);
    until(b, CLK_SYNCED);
    stays_right(b, 20);
}

/* Refused for its certificate: chronyd says so, and nothing is signed by such a time. */
static void expect_refused(struct bench *b, const char *certificate)
{
    serve_secure(b, certificate, "");
    int64_t begin = raw_now_ns();
    while (!log_says("observer", "TLS handshake")) {
        if (raw_now_ns() - begin > PATIENCE_MS * MS) {
            (void)run("cat '%s/observer.log' >&2", bench_dir);
            fail_msg("chronyd does not complain about the certificate '%s'", certificate);
        }
        look(b);
        assert_false(b->r.safe);
        pause_ms(LOOK_MS);
    }
    while (b->r.reasons != CLK_REASON(CLK_LEAP3)) {
        assert_true(raw_now_ns() - begin < 2 * PATIENCE_MS * MS);
        pause_ms(LOOK_MS);
        look(b);
        assert_false(b->r.safe);
    }
}

static void case_39_nts_expired(void **state)
{
    make_certificate("authority", "expired", -20, 10);
    expect_refused(*state, "expired");
}

static void case_39_nts_not_yet_valid(void **state)
{
    make_certificate("authority", "early", 5, 10);
    expect_refused(*state, "early");
}

static void case_39_nts_unknown_authority(void **state)
{
    make_certificate("authority", "good", 0, 10); /* so that there is an authority to trust */
    make_certificate("other", "foreign", 0, 10);
    expect_refused(*state, "foreign");
}

/* What is shipped for signer hosts is what chronyd itself can read. */
static void test_shipped_configuration(void **state)
{
    (void)state;
    assert_int_equal(
        run("'%s' -p -f '%s/etc/chrony/tidemark.conf' >'%s/log'", bench_chronyd, SRCDIR, bench_dir),
        0);
}

#define LIES(f) cmocka_unit_test_setup_teardown(f, bench_start, bench_stop)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LIES(case_02_chronyd_hangs),
        LIES(case_05_bound_too_wide),
        LIES(case_07_all_sources_lost),
        LIES(case_08_too_few_sources),
        LIES(case_09_no_majority),
        LIES(case_10_one_of_three_lies),
        LIES(cases_12_13_majority_lies),
        LIES(case_35_smearing_sources),
        LIES(case_38_unix_socket_refused),
        LIES(case_40_asymmetric_delay),
        LIES(case_39_nts_good),
        LIES(case_39_nts_expired),
        LIES(case_39_nts_not_yet_valid),
        LIES(case_39_nts_unknown_authority),
        cmocka_unit_test(test_shipped_configuration),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, bench_group_start, bench_group_stop);
}
