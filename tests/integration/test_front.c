/*
 * The front as its clients see it: a real front process, real sockets, and a core that plays its
 * part from a script (lib/front_rig.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "lib/front_rig.h"

#define SIGN "/v1/keys/" RIG_VERSION_KEY "/signatures?version=4.2.1&slot=kernel"

static struct rig rig;

static int start(void **state)
{
    (void)state;
    rig_start(&rig, rig_config());
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void test_sign(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, SIGN, "Content-Type: application/octet-stream\r\n", "firmware", 8);
    printf("%s%s\n", a.head, a.body);
    assert_int_equal(a.status, 201);
}

static void test_reads(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/keys",
                                        "/v1/keys/nightly",
                                        "/v1/keys/nightly/plan",
                                        "/v1/keys/nightly/public?format=spki-pem",
                                        "/v1/keys/nightly/windows?from=1&to=8",
                                        "/v1/keys/nightly/windows/2",
                                        "/v1/keys/router-fw/versions?prefix=4.2",
                                        "/v1/keys/router-fw/indices/7",
                                        "/health/live",
                                        "/health/ready",
                                        "/health/state",
                                        "/problems/window-full",
                                        "/openapi.json"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct answered a CLEANUP(answered_free) = client_get(&rig, paths[i]);
        printf("%s\n%s%s\n", paths[i], a.head, a.body);
        assert_int_equal(a.status, 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sign, start, stop),
        cmocka_unit_test_setup_teardown(test_reads, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
