#include "daemon/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secmem.h"
#include "daemon/host.h"
#include "daemon/operations.h"
#include "daemon/sandbox.h"
#include "http/tls.h"

/* The worst code so far: a wrong configuration is to be put right first. */
struct found {
    int code;
};

static void found(struct found *f, enum rc rc, const char *format, ...) PRINTF_LIKE(3, 4);
static void found(struct found *f, enum rc rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("tidemarkd: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    int code = operation_exit_code(rc);
    if (f->code != 2)
        f->code = code;
}

/* Is the address one of this host's? The port is left out: a service that runs has it. */
static void look_at_address(struct found *f, const char *member, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (text[0] == '\0')
        return;
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) {
        found(f, RC_REFUSED_CONFIG, "%s: %s is no address", member, text);
        return;
    }
    int fd CLEANUP(fd_close) = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || (is_v4 ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
                         : bind(fd, (struct sockaddr *)&v6, sizeof(v6))) != 0)
        found(f, RC_REFUSED_CONFIG, "%s: %s cannot be listened on: %s", member, text,
              strerror(errno));
}

static void look_at_socket(struct found *f, const char *path)
{
    char folder[CONFIG_PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (access(folder[0] != '\0' ? folder : "/", W_OK | X_OK) != 0)
        found(f, RC_HALT_SYSTEM, "http.unix: no socket can be made in %s: %s", folder,
              strerror(errno));
}

static void look_at_state(struct found *f, const char *path)
{
    struct stat st;
    int dirfd CLEANUP(fd_close) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0 || fstat(dirfd, &st) != 0)
        found(f, RC_HALT_STATE_DIR, "state_dir: %s: %s", path, strerror(errno));
    else if (st.st_uid != geteuid() || (st.st_mode & 0022) != 0)
        found(f, RC_HALT_STATE_DIR,
              "state_dir: %s must belong to this user and be writable by nobody else", path);
    else if (faccessat(dirfd, LEDGER_FILE, F_OK, 0) != 0)
        found(f, RC_HALT_STATE_DIR,
              "state_dir: there is no ledger in %s yet: make a key with 'tidemark key new PLAN'",
              path);
}

static void look_at_sandbox(struct found *f, const struct config *c)
{
    const struct sandbox sandbox = {
        .role = SANDBOX_CORE, .dirfd = -1, .tcti = c->tcti, .also_read = c->also_read};
    int abi = 0;
    if (c->sandbox && !sandbox_try(&sandbox, &abi))
        found(f, RC_HALT_SYSTEM, "sandbox.mode: this kernel refuses the sandbox");
}

int check_start(const struct config *config)
{
    struct found f = {0};
    struct err tls = {0};
    struct err memory = {0};
    if (config->front.tls.certificate[0] != '\0' && tls_check(&config->front.tls, &tls) != RC_OK)
        found(&f, tls.rc, "%s", err_text(&tls));
    look_at_address(&f, "http.tcp_address", config->http_tcp_address);
    look_at_address(&f, "tls.address", config->tls_address);
    if (!tpm_load(config->tcti))
        found(&f, RC_REFUSED_CONFIG, "tpm.tcti: there is no library for \"%s\" (libtss2-tcti-...)",
              config->tcti);
    look_at_socket(&f, config->http_unix);
    look_at_state(&f, config->state_dir);
    look_at_sandbox(&f, config);
    if (base_init(&memory) != RC_OK)
        found(&f, memory.rc, "%s", err_text(&memory));
    return f.code;
}
