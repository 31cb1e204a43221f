#include "faults/powerdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"

#define PROGRAM BUILDDIR "/tests/faults/powercut_disk"
#define STATUS_MAX 512
#define PAUSE_MS 2
#define PATIENCE_MS 60000

const char *powerdisk_possible(void)
{
    if (geteuid() != 0)
        return "only root can mount a disk";
    if (access(PROGRAM, X_OK) != 0)
        return "powercut_disk was not built: there was no libfuse3";
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return "there is no /dev/fuse";
    if (access("/dev/loop-control", R_OK | W_OK) != 0)
        return "there are no loop devices";
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return "a mount namespace is not allowed here";
    return NULL;
}

/* Control ----------------------------------------------------------------------------------------
 */

bool powerdisk_tell(const struct powerdisk *d, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    int fd CLEANUP(fd_close) = open(d->control, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, line, (size_t)len) == len;
}

static bool status(const struct powerdisk *d, char text[STATUS_MAX])
{
    int fd CLEANUP(fd_close) = open(d->control, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, STATUS_MAX - 1) : -1;
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

enum powerdisk_power powerdisk_power(const struct powerdisk *d)
{
    char text[STATUS_MAX];
    if (!status(d, text) || strstr(text, "power=off") != NULL)
        return POWERDISK_OFF;
    return strstr(text, "power=held") != NULL ? POWERDISK_HELD : POWERDISK_ON;
}

uint64_t powerdisk_count(const struct powerdisk *d, const char *name)
{
    char text[STATUS_MAX];
    char word[32];
    uint64_t number = 0;
    assert_true(status(d, text));
    (void)snprintf(word, sizeof(word), "%s=", name);
    char *at = strstr(text, word);
    assert_non_null(at);
    at += strlen(word);
    at[strcspn(at, " \n")] = '\0';
    assert_true(text_to_u64(&number, at, UINT64_MAX));
    return number;
}

/* Mounting ---------------------------------------------------------------------------------------
 */

/* The loop device hangs on the file system on it and lets go by itself: nothing is left of it if
 * the test is killed. */
static bool mount_it(const struct powerdisk *d)
{
    return lab_shell("mount -t ext4 -o loop '%s' '%s' 2>&1", d->disk, d->mount) == 0;
}

/* Processes that are just dying may still hold it. */
static void unmount_it(const struct powerdisk *d)
{
    int64_t until = lab_now_ms() + PATIENCE_MS;
    while (umount(d->mount) != 0) {
        if (errno != EBUSY || lab_now_ms() > until)
            fail_msg("umount %s: %s", d->mount, strerror(errno));
        lab_sleep_ms(PAUSE_MS);
    }
    while (lab_shell("losetup -n -O BACK-FILE | grep -qF '%s'", d->disk) == 0) {
        if (lab_now_ms() > until)
            fail_msg("the loop device of %s does not go", d->disk);
        lab_sleep_ms(PAUSE_MS);
    }
}

void powerdisk_format(struct powerdisk *d)
{
    if (lab_shell("mountpoint -q '%s'", d->mount) == 0)
        unmount_it(d);
    (void)powerdisk_tell(d, "lie 0");
    assert_int_equal(
        lab_shell("mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0 -b 4096 '%s' 2>&1", d->disk), 0);
    assert_true(mount_it(d));
}

bool powerdisk_again(struct powerdisk *d)
{
    unmount_it(d);
    assert_true(powerdisk_tell(d, "on"));
    return mount_it(d);
}

bool powerdisk_sound(struct powerdisk *d)
{
    unmount_it(d);
    bool sound = lab_shell("e2fsck -fn '%s' >'%s/e2fsck.log' 2>&1", d->disk, lab_dir()) == 0;
    if (!sound)
        (void)lab_shell("cat '%s/e2fsck.log' >&2", lab_dir());
    return mount_it(d) && sound;
}

/* Life -------------------------------------------------------------------------------------------
 */

static void run_disk(const struct powerdisk *d)
{
    char size[16];
    (void)snprintf(size, sizeof(size), "%d", POWERDISK_MIB);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* Ctrl-C is for the test */
    (void)execl(PROGRAM, PROGRAM, d->fuse, size, (char *)NULL);
    _exit(127);
}

void powerdisk_make(struct powerdisk *d, const char *name)
{
    *d = (struct powerdisk){.pid = 0};
    (void)snprintf(d->fuse, sizeof(d->fuse), "%s/%s.fuse", lab_dir(), name);
    (void)snprintf(d->mount, sizeof(d->mount), "%s/%s.disk", lab_dir(), name);
    (void)snprintf(d->control, sizeof(d->control), "%s/control", d->fuse);
    (void)snprintf(d->disk, sizeof(d->disk), "%s/disk", d->fuse);
    assert_int_equal(mkdir(d->fuse, 0700), 0);
    assert_int_equal(mkdir(d->mount, 0700), 0);
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0)
        run_disk(d);
    for (int64_t until = lab_now_ms() + PATIENCE_MS; access(d->control, F_OK) != 0;) {
        if (lab_now_ms() > until || waitpid(d->pid, NULL, WNOHANG) == d->pid)
            fail_msg("powercut_disk does not run");
        lab_sleep_ms(PAUSE_MS);
    }
    powerdisk_format(d);
}

void powerdisk_end(struct powerdisk *d)
{
    if (d->pid <= 0)
        return;
    (void)powerdisk_tell(d, "release");
    (void)umount2(d->mount, MNT_DETACH);
    (void)umount2(d->fuse, MNT_DETACH);
    (void)kill(d->pid, SIGKILL);
    (void)waitpid(d->pid, NULL, 0);
    *d = (struct powerdisk){.pid = 0};
}
