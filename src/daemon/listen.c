#include "daemon/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Which kinds were handed over. */
struct given {
    bool unix_, tcp, tls;
};

static enum rc add(struct front_config *front, int fd, bool tls, struct err *err)
{
    if (front->listener_count == FRONT_LISTENERS_MAX) {
        (void)close(fd);
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "more than %d sockets to listen on",
                    FRONT_LISTENERS_MAX);
    }
    front->listener_tls[front->listener_count] = tls;
    front->listeners[front->listener_count++] = fd;
    return RC_OK;
}

/* Handed over --------------------------------------------------------------------------------- */

/* The same that the configuration is held to: without TLS nothing leaves this machine. */
static bool is_loopback(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return false;
    if (address.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24 ==
               IN_LOOPBACKNET;
    return address.ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&address)->sin6_addr);
}

static enum rc take_one(const struct config *config, struct given *given, int fd, const char *name,
                        struct err *err)
{
    bool is_unix = strcmp(name, LISTEN_NAME_UNIX) == 0;
    bool is_tls = strcmp(name, LISTEN_NAME_TLS) == 0;
    if (!is_unix && !is_tls && strcmp(name, LISTEN_NAME_TCP) != 0)
        return FAIL(
            err, RC_REFUSED_CONFIG, "", 0,
            "a socket named '%.40s' was handed over; FileDescriptorName= must be %s, %s or %s",
            name, LISTEN_NAME_UNIX, LISTEN_NAME_TCP, LISTEN_NAME_TLS);
    if (is_tls && config->front.tls.certificate[0] == '\0')
        return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                    "the socket '%s' was handed over, and the configuration names no certificate "
                    "for it (tls.certificate_file)",
                    name);
    bool right = is_unix ? sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0
                         : sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) > 0 ||
                               sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) > 0;
    if (!right)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                    "the socket '%s' that was handed over is no listening %s stream socket", name,
                    is_unix ? "Unix" : "TCP");
    if (!is_unix && !is_tls && !is_loopback(fd))
        return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                    "the socket '%s' that was handed over is not at a loopback address", name);
    given->unix_ = given->unix_ || is_unix;
    given->tls = given->tls || is_tls;
    given->tcp = given->tcp || (!is_unix && !is_tls);
    return RC_OK;
}

static enum rc take_given(const struct config *config, struct front_config *front,
                          struct given *given, struct err *err)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    enum rc rc = RC_OK;
    if (count < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", -count,
                    "the sockets of the service manager cannot be taken: %s", strerror(-count));
    for (int i = 0; i < count; i++) {
        if (rc == RC_OK)
            rc = take_one(config, given, SD_LISTEN_FDS_START + i, names[i], err);
        if (rc == RC_OK)
            rc = add(front, SD_LISTEN_FDS_START + i, strcmp(names[i], LISTEN_NAME_TLS) == 0, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* Our own ------------------------------------------------------------------------------------- */

static enum rc listen_on(int fd, const struct sockaddr *address, socklen_t len, const char *name,
                         struct err *err)
{
    if (fd >= 0 && bind(fd, address, len) == 0 && listen(fd, SOMAXCONN) == 0)
        return RC_OK;
    int saved = errno;
    if (fd >= 0)
        (void)close(fd);
    return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "listen on %s: %s", name, strerror(saved));
}

static enum rc listen_unix(const char *path, struct front_config *front, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    MUST(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    (void)unlink(path); /* left by a service before us: we hold its state directory's lock */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    enum rc rc = listen_on(fd, (struct sockaddr *)&address, sizeof(address), path, err);
    if (rc != RC_OK)
        return rc;
    (void)chmod(path, 0660);
    return add(front, fd, false, err);
}

static enum rc listen_tcp(const char *text, uint16_t port, bool tls, struct front_config *front,
                          struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "%s.%s: %s is no address", tls ? "tls" : "http",
                    tls ? "address" : "tcp_address", text);
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    enum rc rc = is_v4 ? listen_on(fd, (struct sockaddr *)&v4, sizeof(v4), text, err)
                       : listen_on(fd, (struct sockaddr *)&v6, sizeof(v6), text, err);
    return rc == RC_OK ? add(front, fd, tls, err) : rc;
}

enum rc listen_open(const struct config *config, struct front_config *front, bool *ours,
                    struct err *err)
{
    struct given given = {0};
    *ours = false;
    enum rc rc = take_given(config, front, &given, err);
    if (rc == RC_OK && !given.unix_ && config->http_unix[0] != '\0') {
        rc = listen_unix(config->http_unix, front, err);
        *ours = rc == RC_OK;
    }
    if (rc == RC_OK && !given.tcp && config->http_tcp_address[0] != '\0')
        rc = listen_tcp(config->http_tcp_address, config->http_tcp_port, false, front, err);
    if (rc == RC_OK && !given.tls && config->tls_address[0] != '\0')
        rc = listen_tcp(config->tls_address, config->tls_port, true, front, err);
    return rc;
}

void listen_close(const struct config *config, struct front_config *front, bool ours)
{
    for (size_t i = 0; i < front->listener_count; i++)
        (void)close(front->listeners[i]);
    front->listener_count = 0;
    if (ours)
        (void)unlink(config->http_unix);
}
