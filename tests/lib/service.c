#include "lib/service.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "base/text.h"

#define COMMAND_MAX 4096
#define CONFIG_MAX 4096
#define PATH_LEN_MAX 512
#define POLL_MS 5
#define STOP_MS 30000
#define ASK_S 60 /* nothing that a client asks takes longer */

/* Lab --------------------------------------------------------------------------------------------
 */

static char lab[48]; /* shorter than LAB_PATH: what lies in it must fit too */
static char chronyd[PATH_LEN_MAX];
static pid_t lab_owner;
static pid_t janitor;
static int janitor_pipe = -1;

const char *lab_dir(void)
{
    return lab;
}

int64_t lab_now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void lab_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

uint16_t lab_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd CLEANUP(fd_close) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static int exit_status(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : -1;
}

int lab_shell(const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(command))
        return -1;
    return exit_status(system(command));
}

void lab_sealed_credential(const char *file, const char *folder, const char *name)
{
    assert_int_equal(lab_shell("cd '%s' && mkdir -p '%s'", lab_dir(), folder), 0);
    if (lab_shell("command -v systemd-creds >/dev/null") != 0) {
        print_message("there is no systemd-creds (package systemd): %s is not sealed\n", name);
        assert_int_equal(lab_shell("cd '%s' && mv '%s' '%s/%s'", lab_dir(), file, folder, name), 0);
    } else {
        assert_int_equal(
            lab_shell("cd '%s' && f='%s' && to='%s/%s' && name='%s' && "
                      "export SYSTEMD_CREDENTIAL_SECRET=\"$PWD/host-secret\" && "
                      "systemd-creds encrypt --with-key=host --name=\"$name\" \"$f\" "
                      "\"$f.sealed\" 2>/dev/null && "
                      "! grep -qaF \"$(sed -n 1p \"$f\")\" \"$f.sealed\" && "
                      "systemd-creds decrypt --name=\"$name\" \"$f.sealed\" \"$to\" && "
                      "cmp -s \"$f\" \"$to\" && rm \"$f\"",
                      lab_dir(), file, folder, name, name),
            0);
    }
    assert_int_equal(lab_shell("cd '%s/%s' && chmod 0440 '%s'", lab_dir(), folder, name), 0);
}

void lab_spoil(const char *path, off_t offset)
{
    uint8_t byte = 0;
    int fd CLEANUP(fd_close) = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(pread_full(fd, &byte, 1, offset));
    byte ^= 0x01;
    assert_true(pwrite_full(fd, &byte, 1, offset));
}

/* What is left when the test has ended: chronyd, which chrony-pair.sh has put into a session of its
 * own, and files. Everything else was a child of the test and has died with it. */
static _Noreturn void clean_up(int end_of_test)
{
    char byte = 0;
    (void)setsid(); /* Ctrl-C is for the test */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    while (read(end_of_test, &byte, 1) < 0 && errno == EINTR)
        continue;
    (void)lab_shell("for d in '%s'/clocks.*; do [ ! -d \"$d\" ] || '" SRCDIR
                    "/scripts/chrony-pair.sh' stop \"$d\"; done",
                    lab);
    /* Processes that are just dying may still make a file. */
    for (int i = 0; i < 20 && lab_shell("rm -rf '%s' 2>/dev/null && [ ! -e '%s' ]", lab, lab) != 0;
         i++)
        lab_sleep_ms(100);
    _exit(0);
}

static bool make_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL || strlen(tmp) > 24)
        tmp = "/tmp";
    (void)snprintf(lab, sizeof(lab), "%s/tmi.XXXXXX", tmp);
    if (mkdtemp(lab) == NULL) {
        perror(lab);
        return false;
    }
    return setenv("TMPDIR", lab, 1) == 0; /* the software TPMs go there too */
}

static bool start_janitor(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    lab_owner = getpid();
    janitor = fork();
    if (janitor == 0) {
        (void)close(ends[1]);
        clean_up(ends[0]);
    }
    (void)close(ends[0]);
    janitor_pipe = ends[1];
    return janitor > 0;
}

static bool find_chronyd(void)
{
    const char *named = getenv("CHRONYD");
    if (named != NULL) {
        (void)snprintf(chronyd, sizeof(chronyd), "%s", named);
        return true;
    }
    char command[PATH_LEN_MAX];
    (void)snprintf(command, sizeof(command), "'%s/scripts/get-chronyd' '%s/chrony'", SRCDIR, lab);
    FILE *out = popen(command, "re");
    if (out == NULL)
        return false;
    bool got = fgets(chronyd, sizeof(chronyd), out) != NULL;
    chronyd[strcspn(chronyd, "\n")] = '\0';
    return pclose(out) == 0 && got;
}

int lab_open(void)
{
    struct err err = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    if (base_init(&err) != RC_OK || curl_global_init(CURL_GLOBAL_ALL) != 0 || !make_dir() ||
        !start_janitor() || atexit(lab_close) != 0)
        return 1;
    if (lab_shell("command -v swtpm >/dev/null") != 0) {
        (void)fprintf(stderr, "SKIPPED: there is no swtpm\n");
        return LAB_SKIPPED;
    }
    if (!find_chronyd()) {
        (void)fprintf(stderr, "SKIPPED: there is no chronyd\n");
        return LAB_SKIPPED;
    }
    return 0;
}

void lab_close(void)
{
    if (janitor <= 0 || getpid() != lab_owner)
        return;
    fd_close(&janitor_pipe);
    while (waitpid(janitor, NULL, 0) < 0 && errno == EINTR)
        continue;
    janitor = 0;
}

/* Clocks -----------------------------------------------------------------------------------------
 */

static uint64_t number_in_file(const char *path)
{
    char text[32] = "";
    uint64_t number = 0;
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    (void)fclose(f);
    text[strcspn(text, "\n")] = '\0';
    assert_true(text_to_u64(&number, text, UINT32_MAX));
    return number;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

bool clocks_can_be_faked(void)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)fprintf(stderr,
                  "\n*** NOT RUN: no test that moves the clock: libfaketime and the address "
                  "sanitizer both want to be loaded first ***\n\n");
    return false;
#else
    if (lab_shell("'%s/scripts/chrony-pair.sh' faketime '%s/none' true", SRCDIR, lab) == 0)
        return true;
    (void)fprintf(stderr,
                  "\n*** NOT RUN: no test that moves the clock: libfaketime is not installed "
                  "(package faketime) ***\n\n");
    return false;
#endif
}

void clocks_shift(struct clocks *c, int64_t shift_s)
{
    char text[32];
    char next[PATH_LEN_MAX];
    (void)snprintf(text, sizeof(text), "%+" PRId64 "\n", shift_s);
    (void)snprintf(next, sizeof(next), "%s.new", c->file);
    write_text(next, text);
    assert_int_equal(rename(next, c->file), 0);
    c->shift_s = shift_s;
}

void clocks_start(struct clocks *c, const char *name, bool fake)
{
    char port[PATH_LEN_MAX];
    *c = (struct clocks){.port = 0};
    (void)snprintf(c->dir, sizeof(c->dir), "%s/clocks.%s", lab, name);
    if (fake) {
        (void)snprintf(c->file, sizeof(c->file), "%s/time.%s", lab, name);
        clocks_shift(c, 0);
    }
    assert_int_equal(lab_shell("%s%s '%s/scripts/chrony-pair.sh' start '%s' '%s'",
                               fake ? "FAKETIME_FILE=" : "", c->file, SRCDIR, c->dir, chronyd),
                     0);
    (void)snprintf(port, sizeof(port), "%s/client.cmdport", c->dir);
    c->port = (uint16_t)number_in_file(port);
}

void clocks_stop(struct clocks *c)
{
    if (c->dir[0] != '\0')
        assert_int_equal(lab_shell("'%s/scripts/chrony-pair.sh' stop '%s'", SRCDIR, c->dir), 0);
}

/* Configuration ----------------------------------------------------------------------------------
 */

static void put_path(char out[LAB_PATH], const struct service *s, const char *name)
{
    int len = snprintf(out, LAB_PATH, "%s/%s", s->dir, name);
    assert_true(len > 0 && len < LAB_PATH);
}

static const char *more(const char *members, char *room, size_t size)
{
    (void)snprintf(room, size, "%s%s", members != NULL ? "," : "", members != NULL ? members : "");
    return room;
}

void service_configure(const struct service *s, const struct service_options *options)
{
    static const struct service_options none;
    const struct service_options *o = options != NULL ? options : &none;
    char text[CONFIG_MAX];
    char clock[256];
    char http[256];
    char tpm[256];
    char signing[256];
    /* Tests that use a key up are not about the warning before, unless they say so. */
    bool asked = o->signing != NULL && strstr(o->signing, "ack_percent") != NULL;
    (void)snprintf(signing, sizeof(signing), "%s%s%s", asked ? "" : "'ack_percent':0",
                   !asked && o->signing != NULL ? "," : "", o->signing != NULL ? o->signing : "");
    int len = snprintf(
        text, sizeof(text),
        "{'state_dir':'%s','tpm':{'tcti':'%s','virtual':'demo'%s},"
        "'clock':{'port':%u,'kernel_witness':false%s},'http':{'unix':'%s',"
        "'spool_keep_free':0%s}," /* some tests have disks of a few MiB */
        "'signing':{%s},'limits':{%s},'restart':{%s},'attest':{%s},'tls':{%s}%s%s%s,"
        "'sandbox':{'also_read':'%s'}}\n",
        s->state, s->tpm.tcti, more(o->tpm, tpm, sizeof(tpm)), s->clocks->port,
        more(o->clock, clock, sizeof(clock)), s->socket, more(o->http, http, sizeof(http)), signing,
        o->limits != NULL ? o->limits : "", o->restart != NULL ? o->restart : "",
        o->attest != NULL ? o->attest : "", o->tls != NULL ? o->tls : "",
        o->identities != NULL ? ",'identities':{" : "", o->identities != NULL ? o->identities : "",
        o->identities != NULL ? "}" : "",
        /* the library that shifts the clock looks at its file, which is another each time */
        s->clocks->file[0] != '\0' ? lab : "");
    assert_true(len > 0 && (size_t)len < sizeof(text));
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\'')
            *p = '"';
    write_text(s->config, text);
}

void service_make(struct service *s, const char *name, const struct clocks *clocks,
                  const struct service_options *options)
{
    static unsigned number; /* so that a test that failed does not stand in the way of the next */
    *s = (struct service){.clocks = clocks};
    int len = snprintf(s->dir, sizeof(s->dir), "%s/%s%u", lab, name, number++);
    assert_true(len > 0 && (size_t)len < sizeof(s->dir));
    assert_int_equal(mkdir(s->dir, 0700), 0);
    put_path(s->state, s, "state");
    put_path(s->config, s, "tidemark.json");
    put_path(s->socket, s, "sock");
    put_path(s->log, s, "log");
    assert_true(swtpm_make(&s->tpm));
    service_configure(s, options);
}

void service_end(struct service *s)
{
    service_crash(s);
    swtpm_remove(&s->tpm);
    if (s->dir[0] != '\0')
        (void)lab_shell("rm -rf '%s'", s->dir);
    *s = (struct service){0};
}

/* Programs ---------------------------------------------------------------------------------------
 */

/* For words that the shell runs: the program, under the service's clocks. */
static void put_program(char *out, size_t size, const struct service *s, const char *program)
{
    int len =
        s->clocks->file[0] == '\0'
            ? snprintf(out, size, "exec '" BUILDDIR "/%s'", program)
            : snprintf(out, size,
                       "exec '" SRCDIR "/scripts/chrony-pair.sh' faketime '%s' '" BUILDDIR "/%s'",
                       s->clocks->file, program);
    assert_true(len > 0 && (size_t)len < size);
}

/* A child that ends with this process. Its output goes to fd. */
static pid_t spawn(const char *command, int fd)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static size_t read_all(int fd, char *out, size_t size)
{
    size_t used = 0;
    char rest[512];
    for (;;) {
        bool room = used < size - 1;
        ssize_t got = read(fd, room ? out + used : rest, room ? size - 1 - used : sizeof(rest));
        if (got <= 0)
            break;
        if (room)
            used += (size_t)got;
    }
    out[used] = '\0';
    return used;
}

/* Run a tool with these words and one option more. */
static int run_tool(const struct service *s, char *out, const char *option, const char *value,
                    const char *words, va_list args) PRINTF_LIKE(5, 0);
static int run_tool(const struct service *s, char *out, const char *option, const char *value,
                    const char *words, va_list args)
{
    char program[PATH_LEN_MAX];
    char arguments[PATH_LEN_MAX * 2];
    char command[COMMAND_MAX];
    char said[TOOL_OUT];
    (void)vsnprintf(arguments, sizeof(arguments), words, args);
    bool daemon = arguments[0] == '-';
    put_program(program, sizeof(program), s, daemon ? "tidemarkd" : "tidemark");
    (void)snprintf(command, sizeof(command), "%s %s %s '%s'", program, arguments, option, value);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = spawn(command, ends[1]);
    (void)close(ends[1]);
    (void)read_all(ends[0], said, sizeof(said));
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    status = exit_status(status);
    if (out != NULL)
        memcpy(out, said, sizeof(said));
    else if (status != 0)
        (void)fprintf(stderr, "%s\n%s\n", command, said);
    return status;
}

int service_tool(const struct service *s, char out[TOOL_OUT], const char *words, ...)
{
    va_list args;
    va_start(args, words);
    int status = run_tool(s, out, "--config", s->config, words, args);
    va_end(args);
    return status;
}

/* Start a tool that may be ended before it ends by itself; what it says goes to fd. */
static pid_t begin_tool(const struct service *s, int fd, const char *words, va_list args)
    PRINTF_LIKE(3, 0);
static pid_t begin_tool(const struct service *s, int fd, const char *words, va_list args)
{
    char program[PATH_LEN_MAX];
    char arguments[PATH_LEN_MAX * 2];
    char command[COMMAND_MAX];
    (void)vsnprintf(arguments, sizeof(arguments), words, args);
    put_program(program, sizeof(program), s, "tidemark");
    (void)snprintf(command, sizeof(command), "%s %s --config '%s'", program, arguments, s->config);
    return spawn(command, fd);
}

int service_tool_ended(const struct service *s, int sig, char out[TOOL_OUT], bool (*now)(void *ctx),
                       void *ctx, const char *words, ...)
{
    int ends[2];
    char unread[TOOL_OUT];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    va_list args;
    va_start(args, words);
    pid_t pid = begin_tool(s, ends[1], words, args);
    va_end(args);
    (void)close(ends[1]);
    int status = 0;
    pid_t ended = 0;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && !now(ctx))
        lab_sleep_ms(1);
    if (ended == 0)
        (void)kill(pid, sig);
    (void)read_all(ends[0], out != NULL ? out : unread, TOOL_OUT);
    (void)close(ends[0]);
    if (ended == 0)
        ended = waitpid(pid, &status, 0);
    assert_int_equal(ended, pid);
    return exit_status(status);
}

int service_client(const struct service *s, char out[TOOL_OUT], const char *words, ...)
{
    va_list args;
    va_start(args, words);
    int status = run_tool(s, out, "--socket", s->socket, words, args);
    va_end(args);
    return status;
}

int service_verify(const struct service *s, char out[TOOL_OUT], const char *public,
                   const char *words, ...)
{
    va_list args;
    va_start(args, words);
    int status = run_tool(s, out, "--public", public, words, args);
    va_end(args);
    return status;
}

void service_key(const struct service *s, const char *plan)
{
    char path[LAB_PATH];
    char text[CONFIG_MAX];
    put_path(path, s, "plan.json");
    assert_true(strlen(plan) < sizeof(text));
    for (size_t i = 0; i <= strlen(plan); i++)
        text[i] = plan[i] == '\'' ? '"' : plan[i];
    write_text(path, text);
    assert_int_equal(service_tool(s, NULL, "key new '%s'", path), 0);
}

void service_run(struct service *s)
{
    char command[COMMAND_MAX];
    put_program(command, sizeof(command) - PATH_LEN_MAX, s, "tidemarkd");
    (void)sprintf(command + strlen(command), " --config '%s'", s->config);
    int log CLEANUP(fd_close) = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log >= 0);
    assert_int_equal(s->pid, 0);
    s->pid = spawn(command, log);
}

void service_show_log(const struct service *s)
{
    (void)fprintf(stderr, "---- the last lines of %s\n", s->log);
    (void)lab_shell("tail -n 25 '%s' >&2", s->log);
}

void service_start(struct service *s)
{
    service_run(s);
    int64_t until = lab_now_ms() + WAIT_MS;
    struct client c;
    long status = 0;
    client_open(&c, s);
    while (status != 200 && lab_now_ms() < until) {
        struct answer a;
        status = client_ask(&c, &a, NULL, NULL, 0, "/health/state");
        /* Until the core answers, the front says so in its own words. */
        if (status == 200 && strcmp(answer_text(&a, "state"), "Starting") == 0)
            status = 0;
        client_done(&a);
        if (status != 200)
            lab_sleep_ms(POLL_MS);
    }
    client_close(&c);
    if (status != 200) {
        service_show_log(s);
        fail_msg("the service does not answer: %ld", status);
    }
}

int service_wait_end(struct service *s)
{
    int status = 0;
    pid_t got = 0;
    for (int64_t until = lab_now_ms() + STOP_MS; got == 0 && lab_now_ms() < until;) {
        got = waitpid(s->pid, &status, WNOHANG);
        if (got == 0)
            lab_sleep_ms(POLL_MS);
    }
    if (got != s->pid) {
        service_show_log(s);
        fail_msg("the service does not end");
    }
    s->pid = 0;
    return exit_status(status);
}

void service_stop(struct service *s)
{
    assert_true(s->pid > 0);
    assert_int_equal(kill(s->pid, SIGTERM), 0);
    int status = service_wait_end(s);
    if (status != 0)
        service_show_log(s);
    assert_int_equal(status, 0);
}

/* Parent and name of a process. */
static bool process_is(pid_t pid, pid_t parent, const char *name)
{
    char path[64];
    char text[256];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool got = fgets(text, sizeof(text), f) != NULL;
    (void)fclose(f);
    const char *open_ = strchr(text, '(');
    char *close_ = strrchr(text, ')');
    char state = 0;
    int ppid = 0;
    if (!got || open_ == NULL || close_ == NULL || sscanf(close_ + 1, " %c %d", &state, &ppid) != 2)
        return false;
    *close_ = '\0';
    return ppid == (int)parent && state != 'Z' && (name == NULL || strcmp(open_ + 1, name) == 0);
}

static pid_t find_child(pid_t parent, const char *name, pid_t not )
{
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *e = readdir(proc); e != NULL && found == 0; e = readdir(proc)) {
        uint64_t number = 0;
        if (text_to_u64(&number, e->d_name, INT32_MAX) &&
            (pid_t)number != not &&process_is((pid_t)number, parent, name))
            found = (pid_t)number;
    }
    (void)closedir(proc);
    return found;
}

pid_t service_child(const struct service *s, const char *name, pid_t not )
{
    char title[16];
    (void)snprintf(title, sizeof(title), "tidemarkd-%s", name);
    for (int64_t until = lab_now_ms() + WAIT_MS; lab_now_ms() < until; lab_sleep_ms(POLL_MS)) {
        pid_t pid = find_child(s->pid, title, not );
        if (pid != 0)
            return pid;
    }
    service_show_log(s);
    fail_msg("there is no %s", title);
    return 0;
}

void service_crash(struct service *s)
{
    if (s->pid <= 0)
        return;
    pid_t core = find_child(s->pid, "tidemarkd-core", 0);
    /* The core first, and nobody to start another one: a core that sees its supervisor's sockets
     * close before its own end comes begins an orderly stop, and may still write A. */
    (void)kill(s->pid, SIGSTOP);
    if (core > 0)
        (void)kill(core, SIGKILL);
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
    s->pid = 0;
    /* The kernel ends its children for it; wait until nobody holds the TPM any more. */
    for (int i = 0; core != 0 && kill(core, 0) == 0 && i < 1000; i++)
        lab_sleep_ms(POLL_MS);
}

/* State ------------------------------------------------------------------------------------------
 */

void service_save(const struct service *s, const char *name)
{
    assert_int_equal(
        lab_shell("rm -rf '%s/%s' && cp -a '%s' '%s/%s'", s->dir, name, s->state, s->dir, name), 0);
}

void service_restore(const struct service *s, const char *name)
{
    assert_int_equal(s->pid, 0);
    assert_int_equal(
        lab_shell("rm -rf '%s' && cp -a '%s/%s' '%s'", s->state, s->dir, name, s->state), 0);
}

off_t service_log_size(const struct service *s)
{
    struct stat st;
    return stat(s->log, &st) == 0 ? st.st_size : 0;
}

bool service_log_has(const struct service *s, off_t from, const char *text)
{
    return lab_shell("tail -c +%lld '%s' | grep -qF -- '%s'", (long long)from + 1, s->log, text) ==
           0;
}

struct ledger *service_ledger(const struct service *s)
{
    char path[LAB_PATH];
    struct err err = {0};
    struct ledger *ledger = NULL;
    put_path(path, s, "state/ledger.db");
    struct ledger_options options = {.path = path};
    assert_int_equal(s->pid, 0);
    if (ledger_open(&ledger, &options, &err) != RC_OK)
        fail_msg("%s: %s", path, err_text(&err));
    return ledger;
}

/* Clients ----------------------------------------------------------------------------------------
 */

void client_open(struct client *c, const struct service *s)
{
    *c = (struct client){.curl = curl_easy_init(), .patience_s = ASK_S};
    memcpy(c->path, s->socket, sizeof(c->path));
    MUST(c->curl != NULL);
}

void client_close(struct client *c)
{
    if (c->curl != NULL)
        curl_easy_cleanup(c->curl);
    *c = (struct client){0};
}

void client_done(struct answer *a)
{
    free(a->head);
    free(a->body);
    json_decref(a->json);
    *a = (struct answer){0};
}

static size_t append(char **to, size_t *len, const void *data, size_t more_len)
{
    char *grown = realloc(*to, *len + more_len + 1);
    MUST(grown != NULL);
    memcpy(grown + *len, data, more_len);
    *len += more_len;
    grown[*len] = '\0';
    *to = grown;
    return more_len;
}

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct answer *a = ctx;
    return append(&a->body, &a->len, data, size * count);
}

static size_t take_head(char *data, size_t size, size_t count, void *ctx)
{
    struct answer *a = ctx;
    return append(&a->head, &a->head_len, data, size * count);
}

static struct curl_slist *header_list(const char *headers, bool has_body)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (has_body && (headers == NULL || strcasestr(headers, "Content-Type:") == NULL))
        list = curl_slist_append(list, "Content-Type: application/octet-stream");
    for (const char *p = headers; p != NULL && *p != '\0';) {
        char line[512];
        size_t len = strcspn(p, "\n");
        MUST(len < sizeof(line));
        memcpy(line, p, len);
        line[len] = '\0';
        list = curl_slist_append(list, line);
        p += len + (p[len] == '\n' ? 1 : 0);
    }
    MUST(list != NULL);
    return list;
}

long client_ask(struct client *c, struct answer *a, const char *headers, const void *body,
                size_t len, const char *path, ...)
{
    char url[1024] = "http://signer";
    va_list args;
    va_start(args, path);
    int printed = vsnprintf(url + strlen(url), sizeof(url) - 16, path, args);
    va_end(args);
    MUST(printed > 0 && (size_t)printed < sizeof(url) - 16);
    *a = (struct answer){0};
    struct curl_slist *list = header_list(headers, body != NULL);
    curl_easy_reset(c->curl);
    (void)curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->path);
    (void)curl_easy_setopt(c->curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, c->patience_s);
    (void)curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, list);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, a);
    (void)curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_head);
    (void)curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, a);
    if (body != NULL) {
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        (void)curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
    }
    /* An answer that breaks off in its middle is no answer. */
    if (curl_easy_perform(c->curl) == CURLE_OK)
        (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_slist_free_all(list);
    if (a->status != 0 && a->body != NULL)
        a->json = json_loadb(a->body, a->len, 0, NULL);
    return a->status;
}

const char *answer_header(const struct answer *a, const char *name)
{
    static char value[1024];
    size_t name_len = strlen(name);
    for (const char *line = a->head; line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        if (end == NULL)
            break;
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *from = line + name_len + 1;
            from += strspn(from, " ");
            size_t len = (size_t)(end - from);
            MUST(len < sizeof(value));
            memcpy(value, from, len);
            value[len] = '\0';
            return value;
        }
        line = end + 2;
    }
    return "";
}

static json_t *member(const struct answer *a, const char *path)
{
    json_t *at = a->json;
    while (at != NULL && *path != '\0') {
        char name[64];
        size_t len = strcspn(path, ".");
        MUST(len < sizeof(name));
        memcpy(name, path, len);
        name[len] = '\0';
        at = json_object_get(at, name);
        path += len + (path[len] == '.' ? 1 : 0);
    }
    return at;
}

const char *answer_text(const struct answer *a, const char *path)
{
    const char *text = json_string_value(member(a, path));
    return text != NULL ? text : "";
}

int64_t answer_number(const struct answer *a, const char *path)
{
    const json_t *value = member(a, path);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

long service_get(const struct service *s, struct answer *a, const char *path, ...)
{
    char whole[512];
    struct client c;
    va_list args;
    va_start(args, path);
    (void)vsnprintf(whole, sizeof(whole), path, args);
    va_end(args);
    client_open(&c, s);
    long status = client_ask(&c, a, NULL, NULL, 0, "%s", whole);
    client_close(&c);
    return status;
}

void service_wait_state(const struct service *s, const char *state)
{
    char seen[64] = "";
    for (int64_t until = lab_now_ms() + WAIT_MS; lab_now_ms() < until; lab_sleep_ms(POLL_MS)) {
        struct answer a;
        (void)service_get(s, &a, "/health/state");
        (void)snprintf(seen, sizeof(seen), "%s", answer_text(&a, "state"));
        client_done(&a);
        if (strcmp(seen, state) == 0)
            return;
    }
    service_show_log(s);
    fail_msg("the service is %s, not %s", seen, state);
}

size_t service_public(const struct service *s, const char *key, uint8_t out[PUBLIC_MAX])
{
    struct answer a;
    assert_int_equal(service_get(s, &a, "/v1/keys/%s/public?format=raw", key), 200);
    size_t len = a.len;
    assert_true(len > 0 && len <= PUBLIC_MAX);
    memcpy(out, a.body, len);
    client_done(&a);
    return len;
}

void expect_problem(const struct answer *a, long status, const char *name)
{
    char type[96];
    (void)snprintf(type, sizeof(type), "/problems/%s", name);
    if (a->status != status || strcmp(answer_text(a, "type"), type) != 0)
        fail_msg("wanted %ld %s, got %ld %s", status, type, a->status,
                 a->body != NULL ? a->body : "nothing");
    assert_string_equal(answer_header(a, "Content-Type"), "application/problem+json");
    assert_int_equal(answer_number(a, "status"), status);
    assert_true(answer_text(a, "action")[0] != '\0');
}
