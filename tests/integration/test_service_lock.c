/*
 * Windows that the TPM opens only in their turn, on a real one: a key whose escrow is under a
 * passphrase is exported and taken over by a second device, and one that is sealed under PCRs is
 * brought over a change of firmware.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/evidence.h"
#include "lib/outsider.h"

#define STATEMENT "--old-device-destroyed 'shredded, two witnesses' --yes"
#define PLAN                                                                                       \
    "{\"tidemark_plan\":1,\"key\":\"fw\",\"profile\":\"sp800-208\",\"scheme\":\"lms\","            \
    "\"parameters\":[\"LMS_SHA256_M24_H5\",\"LMOTS_SHA256_N24_W4\"],\"assignment\":"               \
    "{\"kind\":\"version\",\"format\":\"major.minor\",\"sizes\":{\"minor\":4},"                    \
    "\"window\":\"major\",\"max_jump\":6}}"

static struct clocks clocks;
static char passphrase[LAB_PATH], wrong[LAB_PATH], plan[LAB_PATH], backup[LAB_PATH + 16];

static void put(char path[LAB_PATH], const char *name, const char *text)
{
    (void)snprintf(path, LAB_PATH, "%s/%s", lab_dir(), name);
    assert_int_equal(lab_shell("printf '%%s\\n' '%s' >'%s'", text, path), 0);
}

static int start_all(void **state)
{
    (void)state;
    clocks_start(&clocks, "lock", false);
    put(passphrase, "passphrase", "correct horse battery staple");
    put(wrong, "wrong", "incorrect horse");
    put(plan, "plan.json", PLAN);
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

static void expect(const struct service *s, int code, const char *word, const char *command)
{
    char out[TOOL_OUT];
    int got = service_tool(s, out, "%s", command);
    if (got != code || strstr(out, word) == NULL)
        fail_msg("%s: wanted %d and '%s', got %d %s", command, code, word, got, out);
}

/* Export with a passphrase file, and acknowledge. */
static void export_key(const struct service *s, const char *file)
{
    char command[1024];
    (void)snprintf(backup, sizeof(backup), "%s/%s", lab_dir(), file);
    (void)snprintf(command, sizeof(command),
                   "backup export --key fw --through 7 --out '%s' --passphrase-file '%s'", backup,
                   passphrase);
    expect(s, 0, "", command);
    (void)snprintf(command, sizeof(command), "backup check '%s' --passphrase-file '%s'", backup,
                   passphrase);
    expect(s, 0, "good", command);
}

/* Nothing on the device opens the escrow; its passphrase is that of the backups. */
static void test_escrow_under_passphrase(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    struct evidence e = EVIDENCE_EMPTY;
    char command[1024];
    service_make(&old, "old", &clocks, NULL);
    (void)snprintf(command, sizeof(command), "key new '%s' --escrow-passphrase-file '%s'", plan,
                   passphrase);
    expect(&old, 0, "", command);
    service_start(&old);
    (void)must_sign_version(&old, &e, "fw", "0.0", "", "0.0");
    (void)must_sign_version(&old, &e, "fw", "2.0", "", "2.0"); /* over a window */
    service_stop(&old);
    (void)snprintf(command, sizeof(command),
                   "backup export --key fw --out '%s/refused' --passphrase-file '%s'", lab_dir(),
                   wrong);
    expect(&old, 3, "another passphrase", command);
    export_key(&old, "old.backup");
    service_start(&old);
    (void)must_sign_version(&old, &e, "fw", "3.0", "", "3.0");
    service_crash(&old);

    service_make(&new, "new", &clocks, NULL);
    (void)snprintf(command, sizeof(command),
                   "recover --from '%s' --passphrase-file '%s' --acknowledged-through 7 "
                   "--escrow-passphrase-file '%s' " STATEMENT,
                   backup, passphrase, passphrase);
    expect(&new, 3, "only", command); /* everything may have been opened: nothing is left */
    service_end(&old);
    service_end(&new);
    evidence_free(&e);
}

/* The default: the TPM opens the escrow; a second device goes on from such a backup. */
static void test_escrow_in_the_tpm(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    struct evidence e = EVIDENCE_EMPTY;
    char command[1024];
    service_make(&old, "old", &clocks, NULL);
    (void)snprintf(command, sizeof(command), "key new '%s'", plan);
    expect(&old, 0, "", command);
    service_start(&old);
    (void)must_sign_version(&old, &e, "fw", "1.0", "", "1.0");
    service_stop(&old);
    (void)snprintf(backup, sizeof(backup), "%s/tpm.backup", lab_dir());
    (void)snprintf(command, sizeof(command),
                   "backup export --key fw --out '%s' --passphrase-file '%s'", backup, passphrase);
    expect(&old, 0, "", command);

    service_make(&new, "new", &clocks, NULL);
    (void)snprintf(command, sizeof(command),
                   "recover --from '%s' --passphrase-file '%s' --acknowledged-through 1 "
                   "--escrow-passphrase-file '%s' " STATEMENT,
                   backup, passphrase, passphrase);
    expect(&new, 0, "fw", command);
    export_key(&new, "new.backup");
    service_start(&new);
    (void)must_sign_version(&new, &e, "fw", "3.0", "", "3.0");
    (void)must_sign_version(&new, &e, "fw", "5.0", "", "5.0");
    service_stop(&new);
    service_end(&old);
    service_end(&new);
    evidence_free(&e);
}

static void test_pcrs(void **state)
{
    (void)state;
    static const struct service_options sealed = {.tpm = "'pcrs':'sha256:0,7'"};
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char command[1024];
    service_make(&s, "pcrs", &clocks, &sealed);
    (void)snprintf(command, sizeof(command), "key new '%s'", plan);
    expect(&s, 0, "", command);
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "0.0", "", "0.0");
    service_stop(&s);
    export_key(&s, "pcrs.backup");
    assert_true(outsider_extend(s.tpm.tcti, 7));
    service_start(&s);
    (void)sign_version(&s, &a, "fw", "1.0", "", "1.0");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "sha256:0,7"));
    client_done(&a);
    /* While the service runs, it has the TPM to itself. */
    (void)snprintf(command, sizeof(command), "reseal --key fw --from '%s' --passphrase-file '%s'",
                   backup, passphrase);
    service_stop(&s);
    expect(&s, 0, "7 windows from 1 sealed anew, PCRs sha256:0,7", command);
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0", "", "1.0");
    (void)must_sign_version(&s, &e, "fw", "4.0", "", "4.0");
    service_stop(&s);
    expect(&s, 0, "3 windows from 5", command); /* twice is no harm */
    /* A selection that is none, and one that this TPM does not have. */
    static const struct service_options malformed = {.tpm = "'pcrs':'sha256:7,0'"};
    service_configure(&s, &malformed);
    expect(&s, 2, "tpm.pcrs", command);
    service_end(&s);
    evidence_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escrow_under_passphrase),
        cmocka_unit_test(test_escrow_in_the_tpm),
        cmocka_unit_test(test_pcrs),
    };
    int result = lab_open();
    if (result != 0)
        return result;
    result = cmocka_run_group_tests_name("service_lock", tests, start_all, stop_all);
    lab_close();
    return result;
}
