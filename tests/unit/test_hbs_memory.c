/*
 * Memory of making, checking and repairing a node file: it must not grow with the height. A tree of
 * H20 needs 48 MiB on disk, one of H10 48 KiB; what a process of its own holds at most (its peak
 * resident memory) is measured for both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/kernel.h"
#include "hbs/nodes.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#define LARGE "LMS_SHA256_M24_H15" /* shadow memory would be measured, not ours */
#define LARGE_H 15
#define LIMIT_KIB (1024L * 1024)
#else
#define LARGE "LMS_SHA256_M24_H20"
#define LARGE_H 20
#define LIMIT_KIB (64L * 1024)
#endif
/* 8 MiB between two releases, and pages that a map brings along. */
#define GROWTH_KIB (24L * 1024)

static char dir[] = "test-hbs-memory.XXXXXX";
static int dirfd;

static struct hbs_tree tree_of(const char *lms)
{
    struct lms_tree tree = {
        .set = {lms_params_by_name(lms), lmots_params_by_name("LMOTS_SHA256_N24_W1")}};
    return hbs_tree_of_lms(&tree);
}

static enum rc source(void *ctx, uint64_t window, struct window_secret *secret, struct err *err)
{
    (void)ctx;
    (void)err;
    *secret = (struct window_secret){0};
    be_put64(secret->seed, window);
    return RC_OK;
}

static bool again(void *ctx, uint64_t windows, bool inside)
{
    (void)ctx;
    (void)windows;
    (void)inside;
    return true;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

static enum rc secure(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return RC_OK;
}

static long peak_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : -1;
}

static void make(const char *lms, bool damage)
{
    const struct hbs_tree tree = tree_of(lms);
    const struct hbs_making how = {.window_size = 1024,
                                   .source = source,
                                   .resume = again,
                                   .due = never,
                                   .secure = secure,
                                   .threads = 2};
    uint8_t root[HBS_N_MAX];
    struct hbs_nodes *nodes = NULL;
    bool repaired = false;
    struct err err = {0};
    if (hbs_nodes_continue(dirfd, lms, &tree, &how, root, &err) != RC_OK)
        _exit(2);
    if (damage) {
        int fd = openat(dirfd, lms, O_RDWR | O_CLOEXEC);
        if (!pwrite_full(fd, root, 8, 4096 + 3 * 24))
            _exit(3);
        (void)close(fd);
    }
    if (hbs_nodes_open(&nodes, dirfd, lms, &tree, root, &repaired, &err) != RC_OK ||
        repaired != damage)
        _exit(4);
    hbs_nodes_close(&nodes);
}

/* What a process that does this holds at most, above what it holds before. */
static long growth_kib(const char *lms, bool damage)
{
    int ends[2];
    long grown = -1;
    int status = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        long before = peak_kib();
        make(lms, damage);
        grown = peak_kib() - before;
        _exit(write(ends[1], &grown, sizeof(grown)) == sizeof(grown) && peak_kib() < LIMIT_KIB ? 0
                                                                                               : 5);
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &grown, sizeof(grown)), sizeof(grown));
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(unlinkat(dirfd, lms, 0), 0);
    return grown;
}

static void test_does_not_grow(void **state)
{
    (void)state;
    for (int damage = 0; damage < 2; damage++) {
        long small = growth_kib("LMS_SHA256_M24_H10", damage != 0);
        long large = growth_kib(LARGE, damage != 0);
        (void)printf("%s: H10 %ld KiB, H%d %ld KiB\n",
                     damage != 0 ? "repaired" : "made and checked", small, LARGE_H, large);
        assert_true(large - small < GROWTH_KIB);
    }
}

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    if (base_init(&err) != RC_OK || hbs_kernel_start(&err) != RC_OK || mkdtemp(dir) == NULL)
        return -1;
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(dirfd);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_does_not_grow)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
