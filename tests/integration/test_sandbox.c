/*
 * The sandbox of front and core, tried from inside the real processes: what they may not do ends
 * them or fails, and the service goes on. That what they must do is still possible is shown by all
 * other tests with the real service, which run in the sandbox too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "lib/evidence.h"
#include "lib/trespass.h"

#define LIBRARY BUILDDIR "/tests/lib/.libs/trespass.so"
#define PATIENCE_MS 60000
#define KILLED (-1)
#define NR_LANDLOCK_CREATE_RULESET 444

#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"                          \
    "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'],"                                    \
    "'assignment':{'kind':'version','format':'integer'}}"

static const struct service_options quick = {.restart = "'delay_ms_max':50"};

static struct clocks clocks;
static struct trespass_page *page;
static char page_path[LAB_PATH];

static int start_all(void **state)
{
    (void)state;
    clocks_start(&clocks, "sandbox", false);
    (void)snprintf(page_path, sizeof(page_path), "%s/trespass", lab_dir());
    int fd = open(page_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof(*page)), 0);
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return page == MAP_FAILED ? -1 : 0;
}

static int stop_all(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

static void start(struct service *s, const char *name, const char *library)
{
    service_make(s, name, &clocks, &quick);
    service_key(s, PLAN);
    if (library != NULL) {
        assert_int_equal(setenv("LD_PRELOAD", library, 1), 0);
        assert_int_equal(setenv(TRESPASS_ENV, page_path, 1), 0);
    }
    service_start(s);
    (void)unsetenv("LD_PRELOAD");
    (void)unsetenv(TRESPASS_ENV);
}

static bool landlocked(void)
{
    return syscall(NR_LANDLOCK_CREATE_RULESET, NULL, 0, 1U) > 0;
}

/* What the kernel says of them ------------------------------------------------------------------
 */

/* The number behind a word at the beginning of a line of a file of /proc, or -1. */
static int64_t proc_number(pid_t pid, const char *file, const char *word)
{
    char path[64];
    char line[256];
    int64_t number = -1;
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (number < 0 && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, word, strlen(word)) == 0 &&
            sscanf(line + strlen(word), " %" SCNd64, &number) != 1)
            break;
    (void)fclose(f);
    return number;
}

static void check_process(const struct service *s, const char *name)
{
    pid_t pid = service_child(s, name, 0);
    /* It may be on its way there just now: the service answers when both have been. */
    assert_int_equal(proc_number(pid, "status", "NoNewPrivs:"), 1);
    assert_int_equal(proc_number(pid, "status", "Seccomp:"), 2);
    assert_int_equal(proc_number(pid, "limits", "Max core file size"), 0);
#ifndef TIDEMARK_SANITIZED /* which lock no memory at all */
    /* The pool for secrets: a child of a process that has locked it has not. */
    if (strcmp(name, "core") == 0)
        assert_true(proc_number(pid, "smaps_rollup", "Locked:") >= 256);
#endif
}

static void test_locked_in(void **state)
{
    (void)state;
    struct service s;
    start(&s, "locked", NULL);
    check_process(&s, "front");
    check_process(&s, "core");
    assert_true(service_log_has(&s, 0, "locked in: system calls"));
    service_stop(&s);
    service_end(&s);
}

/* Trespassing ------------------------------------------------------------------------------------
 */

struct attempt {
    enum trespass_call call;
    const char *name;
    int front, core; /* errno that it fails with, 0: it may, or KILLED */
};

#ifdef TIDEMARK_SANITIZED
#define NO_PROCESS EPERM /* their reports would like to have one */
#else
#define NO_PROCESS KILLED
#endif

static const struct attempt attempts[] = {
    {TRESPASS_READ_FILE, "open a file to read", EACCES, EACCES},
    {TRESPASS_WRITE_FILE, "make a file", EACCES, EACCES},
    {TRESPASS_EXECVE, "execve", KILLED, KILLED},
    {TRESPASS_FORK, "fork", NO_PROCESS, NO_PROCESS},
    {TRESPASS_PTRACE, "ptrace", KILLED, KILLED},
    {TRESPASS_READ_MEMORY, "process_vm_readv", KILLED, KILLED},
    {TRESPASS_KILL, "kill", KILLED, KILLED},
    {TRESPASS_SOCKET_TCP, "a TCP socket", KILLED, KILLED},
    {TRESPASS_SOCKET_UDP, "a UDP socket", KILLED, KILLED},
    {TRESPASS_SOCKET_PACKET, "a packet socket", KILLED, KILLED},
    {TRESPASS_MAP_CODE, "memory to execute", EACCES, EACCES},
    {TRESPASS_MOUNT, "mount", KILLED, KILLED},
    {TRESPASS_SETUID, "setuid", KILLED, KILLED},
    {TRESPASS_IO_URING, "io_uring_setup", KILLED, KILLED},
    {TRESPASS_BPF, "bpf", KILLED, KILLED},
    {TRESPASS_KEYCTL, "keyctl", KILLED, KILLED},
    {TRESPASS_UNSHARE, "unshare", KILLED, KILLED},
    {TRESPASS_IOCTL, "ioctl", ENOTTY, ENOTTY},
};

/* @return what came of it: errno, 0 or KILLED. */
static int try_call(const struct service *s, enum trespass_role role, enum trespass_call call)
{
    const char *said = role == TRESPASS_FRONT ? "the front was ended by signal 31"
                                              : "the core was ended by signal 31";
    off_t from = service_log_size(s);
    uint32_t returned = atomic_load(&page->returned);
    uint32_t begun = atomic_load(&page->begun);
    atomic_store(&page->role, role);
    atomic_store(&page->call, call);
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(10)) {
        if (atomic_load(&page->returned) != returned)
            return atomic_load(&page->error);
        if (atomic_load(&page->begun) != begun && service_log_has(s, from, said))
            return KILLED;
    }
    service_show_log(s);
    fail_msg("call %d was not made", (int)call);
    return 0;
}

static unsigned try_all(const struct service *s, enum trespass_role role)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        const struct attempt *a = &attempts[i];
        bool file = a->call == TRESPASS_READ_FILE || a->call == TRESPASS_WRITE_FILE;
        if (i % 2 == 1 && i > 3 && getenv("TIDEMARK_QUICK") != NULL)
            continue;
        int right = role == TRESPASS_FRONT ? a->front : a->core;
        int got = try_call(s, role, a->call);
        if (got == right || (file && !landlocked()))
            continue;
        (void)fprintf(stderr, "%s, %s: %d (%s) instead of %d\n",
                      role == TRESPASS_FRONT ? "front" : "core", a->name, got,
                      got > 0 ? strerror(got) : "", right);
        wrong++;
    }
    return wrong;
}

static void test_trespassing(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    start(&s, "trespass", LIBRARY);
    (void)snprintf(page->path, sizeof(page->path), "%s/beside", s.dir);
    if (!landlocked())
        (void)fprintf(stderr, "\n*** this kernel has no Landlock: files are not tried ***\n\n");
    assert_int_equal(try_all(&s, TRESPASS_CORE) + try_all(&s, TRESPASS_FRONT), 0);
    assert_int_not_equal(access(page->path, F_OK), 0);
    /* And the service goes on: nothing was used but what a core that ends leaves of its lease. */
    service_wait_state(&s, "Operational");
    assert_int_equal(sign_version(&s, &a, "fw", "1", "", "one"), 201);
    client_done(&a);
    service_stop(&s);
    service_end(&s);
}

/* The library works, and the switch does: without the sandbox the same call is made. */
static void test_off(void **state)
{
    (void)state;
    struct service s;
    service_make(&s, "off", &clocks, &quick);
    service_key(&s, PLAN);
    assert_int_equal(
        lab_shell("sed -i 's/\"sandbox\":{/\"sandbox\":{\"mode\":\"off\",/' '%s'", s.config), 0);
    assert_int_equal(setenv("LD_PRELOAD", LIBRARY, 1), 0);
    assert_int_equal(setenv(TRESPASS_ENV, page_path, 1), 0);
    service_start(&s);
    (void)unsetenv("LD_PRELOAD");
    (void)unsetenv(TRESPASS_ENV);
    assert_true(service_log_has(&s, 0, "the sandbox is off"));
    assert_int_equal(try_call(&s, TRESPASS_CORE, TRESPASS_SOCKET_TCP), 0);
    assert_int_equal(try_call(&s, TRESPASS_FRONT, TRESPASS_MAP_CODE), 0);
    service_stop(&s);
    service_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locked_in),
        cmocka_unit_test(test_trespassing),
        cmocka_unit_test(test_off),
    };
    int opened = lab_open();
    if (opened != 0)
        return opened;
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
