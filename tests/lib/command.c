#include "lib/command.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

const char *command_dir(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, P_tmpdir "/tidemark-cli-XXXXXX");
        assert_non_null(mkdtemp(folder));
    }
    return folder;
}

void command_clean(void)
{
    if (folder[0] == '\0')
        return;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
    (void)closedir(dir);
    assert_int_equal(rmdir(folder), 0);
    folder[0] = '\0';
}

const char *command_path(const char *name)
{
    static char paths[16][400];
    static unsigned next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", command_dir(), name);
    return path;
}

void command_write(const char *name, const void *data, size_t len)
{
    FILE *file = fopen(command_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

const char *command_read(const char *name, size_t *len)
{
    static char data[COMMAND_OUT_MAX];
    *len = 0;
    FILE *file = fopen(command_path(name), "rb");
    if (file == NULL)
        return NULL;
    *len = fread(data, 1, sizeof(data) - 1, file);
    data[*len] = '\0';
    (void)fclose(file);
    return data;
}

static void child(char *const words[], const char *stdin_path, int out, int err)
{
    int in = open(stdin_path != NULL ? stdin_path : "/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    execv(words[0], words);
    _exit(127);
}

static bool drain(int fd, char *text, size_t *len)
{
    char spare[4096];
    bool full = *len >= COMMAND_OUT_MAX - 1;
    ssize_t got =
        full ? read(fd, spare, sizeof(spare)) : read(fd, text + *len, COMMAND_OUT_MAX - 1 - *len);
    if (got > 0 && !full)
        *len += (size_t)got;
    return got > 0;
}

static void collect(struct command *c, int out, int err)
{
    bool open[2] = {true, true};
    while (open[0] || open[1]) {
        struct pollfd fds[2] = {{.fd = open[0] ? out : -1, .events = POLLIN},
                                {.fd = open[1] ? err : -1, .events = POLLIN}};
        assert_true(poll(fds, 2, 60000) > 0);
        if (fds[0].revents != 0)
            open[0] = drain(out, c->out, &c->out_len);
        if (fds[1].revents != 0)
            open[1] = drain(err, c->err, &c->err_len);
    }
    c->out[c->out_len] = '\0';
    c->err[c->err_len] = '\0';
}

void command_run(struct command *c, const char *stdin_path, const char *line)
{
    static char store[8192], paths[COMMAND_WORDS_MAX][600];
    char *words[COMMAND_WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    assert_true(strlen(line) < sizeof(store));
    strcpy(store, line);
    char *rest = NULL;
    for (char *w = strtok_r(store, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
        assert_true(count < COMMAND_WORDS_MAX);
        if (w[0] == '@')
            (void)snprintf(paths[count], sizeof(paths[0]), "%s/%s", command_dir(), w + 1);
        words[count] = w[0] == '@' ? paths[count] : w;
        count++;
    }
    c->out_len = c->err_len = 0;
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(words, stdin_path, out[1], err[1]);
    (void)close(out[1]);
    (void)close(err[1]);
    collect(c, out[0], err[0]);
    (void)close(out[0]);
    (void)close(err[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    c->exit = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void command_runf(struct command *c, const char *format, ...)
{
    char line[8192];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    assert_true(n > 0 && (size_t)n < sizeof(line));
    command_run(c, NULL, line);
}
