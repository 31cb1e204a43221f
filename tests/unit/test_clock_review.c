/* The review of chrony configurations: each thing that is asked for, missing and there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock/review.h"

#define FOUND_MAX 4096

static unsigned bad, weak, good;
static char found[FOUND_MAX];

static void take(void *ctx, enum clk_review_grade grade, const char *text)
{
    assert_ptr_equal(ctx, found);
    bad += grade == CLK_REVIEW_BAD;
    weak += grade == CLK_REVIEW_WEAK;
    good += grade == CLK_REVIEW_GOOD;
    assert_true(strlen(found) + strlen(text) + 2 < sizeof(found));
    strcat(found, text);
    strcat(found, "\n");
}

static void review(const char *text)
{
    bad = weak = good = 0;
    found[0] = '\0';
    struct clk_review *r = clk_review_begin();
    assert_non_null(r);
    clk_review_file(r, text, strlen(text));
    clk_review_end(r, take, found);
}

static char *recommended(void)
{
    FILE *f = fopen(SRCDIR "/etc/chrony/tidemark.conf", "re");
    assert_non_null(f);
    char *text = calloc(1, FOUND_MAX * 2);
    assert_non_null(text);
    assert_true(fread(text, 1, FOUND_MAX * 2 - 1, f) > 0);
    (void)fclose(f);
    return text;
}

static void test_recommended_is_good(void **state)
{
    (void)state;
    char *text = recommended();
    review(text);
    assert_string_equal(found, "keeps all that etc/chrony/tidemark.conf asks for\n");
    assert_int_equal(good, 1);
    free(text);
}

/* Every line of it but the last few is asked for: without it there is a complaint. */
static void test_each_line_is_missed(void **state)
{
    (void)state;
    static const char *const asked[] = {
        "server ntp1.example nts iburst minpoll 4 maxpoll 6\n",
        "authselectmode require\n",
        "minsources 3\n",
        "maxdistance 0.5\n",
        "maxclockerror 50\n",
        "maxdrift 200\n",
        "maxslewrate 300\n",
        "maxchange 1 3 -1\n",
        "rtcsync\n",
    };
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        char *text = recommended();
        char *at = strstr(text, asked[i]);
        assert_non_null(at);
        memset(at, ' ', strlen(asked[i]) - 1);
        review(text);
        assert_int_equal(bad + weak, 1);
        assert_int_equal(good, 0);
        free(text);
    }
}

static void test_each_line_too_many(void **state)
{
    (void)state;
    static const char *const more[] = {"local stratum 10",       "manual",
                                       "allow 10.0.0.0/8",       "cmdallow all",
                                       "nocerttimecheck 1",      "sourcedir /run/chrony-dhcp",
                                       "maxdistance 0.51",       "maxclockerror 49.99",
                                       "makestep 1 -1",          "makestep 0.1 10",
                                       "minsources 1",           "pool pool.example nts maxpoll 6",
                                       "server plain maxpoll 6", "server slow nts",
                                       "  LOCAL  stratum 3 "};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        char *text = recommended();
        size_t len = strlen(text);
        (void)snprintf(text + len, FOUND_MAX, "%s", more[i]); /* without a newline at its end */
        review(text);
        if (bad + weak != 1)
            fail_msg("%s: %s", more[i], found);
        free(text);
    }
    static const char *const harmless[] = {
        "# local stratum 10", "! manual", "; allow", "% cmdallow", "", "\t \r", "log tracking"};
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        char *text = recommended();
        (void)snprintf(text + strlen(text), FOUND_MAX, "%s\n", harmless[i]);
        review(text);
        assert_int_equal(bad + weak, 0);
        free(text);
    }
}

/* What Debian installs. */
static void test_distribution_default(void **state)
{
    (void)state;
    review("confdir /etc/chrony/conf.d\npool 2.debian.pool.ntp.org iburst\n"
           "sourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\n"
           "keyfile /etc/chrony/chrony.keys\ndriftfile /var/lib/chrony/chrony.drift\n"
           "ntsdumpdir /var/lib/chrony\nlogdir /var/log/chrony\nmaxupdateskew 100.0\nrtcsync\n"
           "makestep 1 3\nleapsectz right/UTC\n");
    assert_int_equal(good, 0);
    assert_true(bad >= 5);
    assert_non_null(strstr(found, "authselectmode require"));
    assert_non_null(strstr(found, "583333 ppm"));
    assert_null(strstr(found, "makestep"));
}

static bool includes(const char *line, char pattern[64])
{
    memset(pattern, 0, 64);
    return clk_review_includes(line, strlen(line), pattern, 64);
}

static void test_includes(void **state)
{
    (void)state;
    char pattern[64];
    assert_true(includes("include /etc/chrony/*.extra", pattern));
    assert_string_equal(pattern, "/etc/chrony/*.extra");
    assert_true(includes("\tconfdir /etc/chrony/conf.d", pattern));
    assert_string_equal(pattern, "/etc/chrony/conf.d/*.conf");
    assert_true(includes("sourcedir /a", pattern));
    assert_string_equal(pattern, "/a/*.sources");
    assert_false(includes("include", pattern));
    assert_false(includes("# include /x", pattern));
    assert_false(includes("server include", pattern));
    assert_false(includes(
        "include /a-name-that-is-longer-than-the-sixty-three-characters-that-fit-in", pattern));
}

static void test_odd_texts(void **state)
{
    (void)state;
    static char text[64 * 1024];
    memset(text, 'x', sizeof(text) - 1);
    review(text);
    assert_true(bad > 0);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    review(text);
    review("minsources\nminsources many\nmaxdrift 1e400\nmakestep\nmaxdistance nan\n");
    assert_true(bad > 0);
    review("");
    assert_true(bad > 0 && good == 0);
    unsigned silent = bad;
    review("maxdrift 1e1\nmaxslewrate 12345678901234567890\nmaxclockerror 9.9.9\nminsources -\n");
    assert_int_equal(bad, silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recommended_is_good),
        cmocka_unit_test(test_each_line_is_missed),
        cmocka_unit_test(test_each_line_too_many),
        cmocka_unit_test(test_distribution_default),
        cmocka_unit_test(test_includes),
        cmocka_unit_test(test_odd_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
