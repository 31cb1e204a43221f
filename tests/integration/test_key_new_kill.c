/*
 * `tidemark key new` is killed again and again, and the key that comes out in the end signs.
 *
 * SIGKILL comes after 1 to 1,500 ms: in the middle of the TPM objects, the draft, the tree and its
 * checkpoints, the ledger. After each of them the same command is given again, as an operator
 * would. At last it comes when the key is made, before the command has ended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/service.h"

#define KILLS 12
#define KILLED (128 + SIGKILL)
#define NEW "key new '%s' --quiet"
/* The exit status of a conflict, here with a key of that name. */
#define ALREADY 3
/* Some seconds of work on one core, so that most of the kills find it at the tree. */
#define PLAN                                                                                       \
    "{\"tidemark_plan\":1,\"key\":\"big\",\"profile\":\"sp800-208\",\"scheme\":\"lms\","           \
    "\"parameters\":[\"LMS_SHA256_M24_H15\",\"LMOTS_SHA256_N24_W8\"],"                             \
    "\"assignment\":{\"kind\":\"version\",\"format\":\"major.minor\",\"sizes\":{\"minor\":256},"   \
    "\"window\":\"major\",\"order\":\"strict\"}}"

static struct clocks clocks;
static char plan[LAB_PATH + 16];

static void write_plan(void)
{
    (void)snprintf(plan, sizeof(plan), "%s/big.json", lab_dir());
    FILE *f = fopen(plan, "we");
    assert_non_null(f);
    assert_true(fputs(PLAN, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A fixed choice of moments, shorter ones first: they fall into what is done before the tree. */
static unsigned moment_ms(unsigned kill)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return kill < 8 ? 1 + kill * 6 : 1 + (unsigned)((state >> 33) % 1500);
}

static bool late_enough(void *until_ms)
{
    return lab_now_ms() >= *(const int64_t *)until_ms;
}

static int killed_after(const struct service *s, unsigned ms)
{
    int64_t until_ms = lab_now_ms() + ms;
    return service_tool_ended(s, SIGKILL, NULL, late_enough, &until_ms, NEW, plan);
}

/* Its name is taken behind the tree; what only an unfinished one needs is gone behind the ledger.
 */
static bool made(void *service)
{
    const struct service *s = service;
    char nodes[LAB_PATH + 32];
    char draft[LAB_PATH + 32];
    (void)snprintf(nodes, sizeof(nodes), "%s/keys/big/nodes", s->state);
    (void)snprintf(draft, sizeof(draft), "%s/keys/big/draft", s->state);
    return access(nodes, F_OK) == 0 && access(draft, F_OK) != 0;
}

static void killed_again_and_again(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "kill", &clocks, NULL);
    write_plan();
    unsigned kills = 0;
    int status = KILLED;
    for (unsigned i = 0; i < KILLS && status == KILLED; i++) {
        status = killed_after(&s, moment_ms(i));
        kills += status == KILLED ? 1 : 0;
    }
    if (status == KILLED)
        status = service_tool_ended(&s, SIGKILL, NULL, made, &s, NEW, plan);
    /* A fast machine may have finished meanwhile; a kill behind the last step leaves a key too. */
    assert_true(status == KILLED || status == 0 || status == ALREADY);
    print_message("killed %u times, and the last one ended with %d\n", kills, status);
    assert_true(kills >= 8);

    assert_int_equal(service_tool(&s, out, NEW, plan), ALREADY);
    assert_non_null(strstr(out, "there is a key 'big' already"));
    service_start(&s);
    assert_int_equal(service_client(&s, NULL,
                                    "sign --key big --version 0.1 '%s' --out '%s/sig' --force",
                                    plan, s.dir),
                     0);
    service_stop(&s);
    service_end(&s);
}

static int set_up(void **state)
{
    (void)state;
    clocks_start(&clocks, "kn", false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_again_and_again)};
    int rc = lab_open();
    if (rc != 0)
        return rc;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
