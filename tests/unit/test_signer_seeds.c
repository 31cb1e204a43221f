/*
 * The file of sealed secrets: what is destroyed is gone, on the disk too, and nothing else is. The
 * file's own calls are counted and made to fail (link with -Wl,--wrap=pwrite_full
 * -Wl,--wrap=fdatasync).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "signer/seeds.h"

#define WINDOWS 8

static char dir[32];
static int dirfd_;
static int fd;
static unsigned writes;
static unsigned writes_at_sync; /* how many had been made when the file was synced last */
static unsigned fail_write;     /* this one fails; 0: none */
static bool fail_sync;

bool __real_pwrite_full(int to, const void *data, size_t len, off_t offset);
bool __wrap_pwrite_full(int to, const void *data, size_t len, off_t offset);
int __wrap_fdatasync(int of);

bool __wrap_pwrite_full(int to, const void *data, size_t len, off_t offset)
{
    if (++writes == fail_write) {
        errno = EIO;
        return false;
    }
    return __real_pwrite_full(to, data, len, offset);
}

int __wrap_fdatasync(int of)
{
    assert_int_equal(of, fd);
    writes_at_sync = writes;
    errno = EIO;
    return fail_sync ? -1 : 0;
}

/* A file in which every window has a secret of its own. */
static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tidemark-seeds-XXXXXX");
    assert_non_null(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = openat(dirfd_, SEEDS_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (uint64_t w = 0; w < WINDOWS; w++) {
        uint8_t blob[40];
        memset(blob, (int)(w + 1), sizeof(blob));
        assert_int_equal(seeds_write(fd, w, blob, sizeof(blob), NULL), RC_OK);
    }
    writes = writes_at_sync = fail_write = 0;
    fail_sync = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fd_close(&fd);
    (void)unlinkat(dirfd_, SEEDS_FILE, 0);
    fd_close(&dirfd_);
    return rmdir(dir);
}

/* The secrets from `first` on are there, unchanged, and none below is. */
static void expect_from(uint64_t first)
{
    for (uint64_t w = 0; w < WINDOWS; w++) {
        uint8_t blob[TPM_SEALED_MAX];
        size_t len = 7;
        assert_int_equal(seeds_read(fd, w, blob, &len, NULL), RC_OK);
        assert_int_equal(len, w < first ? 0 : 40);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(blob[i], w + 1);
        uint8_t record[SEEDS_RECORD_LEN];
        assert_true(pread_full(fd, record, sizeof(record), (off_t)(w * sizeof(record))));
        for (size_t i = 0; w < first && i < sizeof(record); i++)
            assert_int_equal(record[i], 0);
    }
}

static void opened_by_its_length(void **state)
{
    (void)state;
    int other = -1;
    assert_int_equal(seeds_open(dirfd_, SEEDS_FILE, WINDOWS, &other, NULL), RC_OK);
    fd_close(&other);
    assert_int_equal(seeds_open(dirfd_, SEEDS_FILE, WINDOWS + 1, &other, NULL), RC_HALT_SEEDS);
    assert_int_equal(other, -1);
    assert_int_equal(seeds_open(dirfd_, "none", WINDOWS, &other, NULL), RC_HALT_SEEDS);
    assert_int_equal(other, -1);
}

static void damaged_length_is_told(void **state)
{
    (void)state;
    static const uint8_t head[4] = {0, 0, 0xff, 0xff};
    uint8_t blob[TPM_SEALED_MAX];
    size_t len = 7;
    assert_true(pwrite_full(fd, head, sizeof(head), 3 * (off_t)SEEDS_RECORD_LEN));
    assert_int_equal(seeds_read(fd, 3, blob, &len, NULL), RC_HALT_SEEDS);
    assert_int_equal(len, 0);
    assert_int_equal(seeds_read(fd, WINDOWS, blob, &len, NULL), RC_HALT_SEEDS);
}

static void destroyed_below_a_window(void **state)
{
    (void)state;
    expect_from(0);
    assert_int_equal(seeds_destroy_below(fd, 3, false, NULL), RC_OK);
    expect_from(3);
    assert_int_equal(writes, 3);
    assert_int_equal(writes_at_sync, 3);
    /* Once more: there is nothing to do, and nothing is done. */
    assert_int_equal(seeds_destroy_below(fd, 3, false, NULL), RC_OK);
    assert_int_equal(writes, 3);
    assert_int_equal(seeds_destroy_below(fd, 4, false, NULL), RC_OK);
    expect_from(4);
    assert_int_equal(writes, 4);
    assert_int_equal(seeds_destroy_below(fd, WINDOWS, false, NULL), RC_OK);
    expect_from(WINDOWS);
}

static void failed_sync_is_told(void **state)
{
    (void)state;
    struct err err = {0};
    fail_sync = true;
    assert_int_equal(seeds_destroy_below(fd, 3, true, &err), RC_HALT_SYSTEM);
    assert_int_equal(err.native, EIO);
}

/* Cut off before any of its writes: what is left, the next sweep finds. */
static void cut_off_at_each_write(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 5; n++) {
        fail_write = n;
        assert_int_equal(seeds_destroy_below(fd, 5, true, NULL), RC_HALT_SYSTEM);
        fail_write = 0;
        assert_int_equal(seeds_destroy_below(fd, 5, true, NULL), RC_OK);
        expect_from(5);
        assert_int_equal(teardown(NULL), 0);
        assert_int_equal(setup(NULL), 0);
    }
}

/* A power cut keeps any of the zeros that were not synced, down to single sectors: here the newest
 * record's, and the head of another one. */
static void zeros_kept_out_of_order(void **state)
{
    (void)state;
    static const uint8_t zeros[SEEDS_RECORD_LEN];
    uint8_t record[SEEDS_RECORD_LEN];
    assert_true(pwrite_full(fd, zeros, sizeof(zeros), 4 * (off_t)SEEDS_RECORD_LEN));
    assert_true(pwrite_full(fd, zeros, 4, 1 * (off_t)SEEDS_RECORD_LEN));
    assert_int_equal(seeds_destroy_below(fd, 5, true, NULL), RC_OK);
    expect_from(5);
    assert_true(pread_full(fd, record, sizeof(record), 1 * (off_t)SEEDS_RECORD_LEN));
    assert_memory_equal(record, zeros, sizeof(record));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opened_by_its_length, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_length_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(destroyed_below_a_window, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_sync_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_off_at_each_write, setup, teardown),
        cmocka_unit_test_setup_teardown(zeros_kept_out_of_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
