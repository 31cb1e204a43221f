/*
 * Reading the owner authorisation: which files are taken, which are not, and what comes out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secmem.h"
#include "daemon/owner.h"
#include "tpm/device.h"

static char dir[64], path[128];

static void put(const char *bytes, size_t len, mode_t mode)
{
    (void)unlink(path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect(const char *file, const char *want)
{
    uint8_t *auth = NULL;
    size_t len = 1;
    struct err err = {0};
    assert_int_equal(owner_auth_read(file, &auth, &len, &err), RC_OK);
    assert_int_equal(len, want != NULL ? strlen(want) : 0);
    if (want == NULL)
        assert_null(auth);
    else
        assert_memory_equal(auth, want, len);
    secmem_free(auth);
}

static void refuse(const char *file, const char *word)
{
    uint8_t *auth = (uint8_t *)1;
    size_t len = 1;
    struct err err = {0};
    assert_int_equal(owner_auth_read(file, &auth, &len, &err), RC_REFUSED_CONFIG);
    assert_null(auth);
    assert_int_equal(len, 0);
    assert_non_null(strstr(err.text, word));
    assert_null(strstr(err.text, "hunter2"));
}

static void test_contents(void **state)
{
    (void)state;
    const char *longest = "0123456789abcdef0123456789abcdef";
    assert_int_equal(strlen(longest), TPM_OWNER_AUTH_MAX);
    put("hunter2", 7, 0400);
    expect(path, "hunter2");
    put("hunter2\n", 8, 0600);
    expect(path, "hunter2");
    put("hunter2\n\n", 9, 0600);
    expect(path, "hunter2\n"); /* one newline is an editor's, two are somebody's will */
    put("0123456789abcdef0123456789abcdef\n", 33, 0400);
    expect(path, longest);
    put("0123456789abcdef0123456789abcdefX", 33, 0400);
    refuse(path, "1 to 32 bytes");
    put("0123456789abcdef0123456789abcdef\n\n and more", 44, 0400);
    refuse(path, "1 to 32 bytes");
    put("", 0, 0400);
    refuse(path, "1 to 32 bytes");
    put("\n", 1, 0400);
    refuse(path, "1 to 32 bytes");
}

static void test_permissions(void **state)
{
    (void)state;
    static const mode_t wrong[] = {0404, 0440, 0602, 0620, 0644, 0410};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        put("hunter2", 7, wrong[i]);
        refuse(path, "alone");
    }
    refuse(dir, "regular file");
    (void)unlink(path);
    refuse(path, "No such file");
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(path, "regular file");
}

/* A credential: named by the service manager, readable through its access list. */
static void test_credential(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    expect("", NULL);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    (void)unlink(path);
    expect("", NULL);
    put("hunter2\n", 8, 0440);
    expect("", "hunter2");
    put("hunter2\n", 8, 0444);
    refuse("", "alone");
    put("hunter2\n", 8, 0460);
    refuse("", "alone");
    put("hunter2\n", 8, 0400);
    refuse("/nonexistent/file", "No such file"); /* a file that is named is the one that is meant */
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
    expect("", NULL);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

int main(void)
{
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/owner.XXXXXX",
                   tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL)
        return 1;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, OWNER_CREDENTIAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_credential),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)rmdir(dir);
    return failed;
}
