#include "lib/swtpm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 1000                /* of 5 ms */
#define PATH_SIZE (SWTPM_DIR_SIZE + 32) /* shorter than a socket path may be: 108 */
#define STATE_FILE "tpm2-00.permall"
#define STATE_MAX ((size_t)1 << 20)

static bool fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "swtpm: %s %s: %s\n", what, name, strerror(errno));
    return false;
}

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return ok;
}

static void run_swtpm(const char *dir)
{
    char state[PATH_SIZE], ctrl[PATH_SIZE], server[PATH_SIZE], log[PATH_SIZE];
    (void)snprintf(state, sizeof(state), "dir=%s", dir);
    (void)snprintf(ctrl, sizeof(ctrl), "type=unixio,path=%s/s.ctrl", dir);
    (void)snprintf(server, sizeof(server), "type=unixio,path=%s/s", dir);
    (void)snprintf(log, sizeof(log), "file=%s/log,level=1", dir);
    /* No orphan may outlive a test that was aborted, and none may answer Ctrl-C before it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    (void)execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--ctrl", ctrl,
                 "--server", server, "--flags", "not-need-init,startup-clear", "--log", log,
                 (char *)NULL);
    (void)fail("cannot run", "swtpm");
    _exit(127);
}

bool swtpm_start(struct swtpm *s)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/s", s->dir);
    (void)unlink(path);
    s->pid = fork();
    if (s->pid < 0) {
        s->pid = 0;
        return fail("fork for", s->dir);
    }
    if (s->pid == 0)
        run_swtpm(s->dir);
    for (int i = 0; i < START_TRIES; i++) {
        if (answers(path))
            return true;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            return fail("ended at once in", s->dir);
        }
        struct timespec pause = {.tv_nsec = 5000000};
        (void)nanosleep(&pause, NULL);
    }
    return fail("does not answer in", s->dir);
}

bool swtpm_make(struct swtpm *s)
{
    const char *tmp = getenv("TMPDIR");
    *s = (struct swtpm){0};
    if (tmp == NULL || strlen(tmp) > SWTPM_DIR_SIZE - 16)
        tmp = "/tmp";
    (void)snprintf(s->dir, sizeof(s->dir), "%s/tm.XXXXXX", tmp);
    if (mkdtemp(s->dir) == NULL) {
        s->dir[0] = '\0';
        return fail("mkdtemp in", tmp);
    }
    (void)snprintf(s->tcti, sizeof(s->tcti), "swtpm:path=%s/s", s->dir);
    return swtpm_start(s);
}

static void end(struct swtpm *s, int signal_number)
{
    if (s->pid <= 0)
        return;
    (void)kill(s->pid, signal_number);
    (void)kill(s->pid, SIGCONT); /* it may be paused */
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    s->pid = 0;
}

void swtpm_stop(struct swtpm *s)
{
    end(s, SIGTERM);
}

void swtpm_kill(struct swtpm *s)
{
    end(s, SIGKILL);
}

bool swtpm_reset(struct swtpm *s)
{
    swtpm_kill(s);
    return swtpm_start(s);
}

void swtpm_pause(struct swtpm *s)
{
    int status = 0;
    if (s->pid > 0 && kill(s->pid, SIGSTOP) == 0)
        (void)waitpid(s->pid, &status, WUNTRACED);
}

void swtpm_resume(struct swtpm *s)
{
    if (s->pid > 0)
        (void)kill(s->pid, SIGCONT);
}

bool swtpm_copy_state(const char *to_dir, const char *from_dir)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/" STATE_FILE, from_dir);
    FILE *from = fopen(path, "re");
    if (from == NULL)
        return fail("cannot open", path);
    (void)snprintf(path, sizeof(path), "%s/" STATE_FILE, to_dir);
    FILE *to = fopen(path, "we");
    if (to == NULL) {
        (void)fclose(from);
        return fail("cannot make", path);
    }
    bool ok = true;
    char buffer[4096];
    size_t total = 0, got = 0;
    while (ok && total < STATE_MAX && (got = fread(buffer, 1, sizeof(buffer), from)) > 0) {
        ok = fwrite(buffer, 1, got, to) == got;
        total += got;
    }
    ok = ferror(from) == 0 && ok;
    (void)fclose(from);
    ok = fclose(to) == 0 && ok;
    return ok ? true : fail("cannot copy to", path);
}

void swtpm_remove(struct swtpm *s)
{
    swtpm_kill(s);
    if (s->dir[0] == '\0')
        return;
    DIR *dir = opendir(s->dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(s->dir);
    s->dir[0] = '\0';
}
