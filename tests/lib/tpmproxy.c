#include "lib/tpmproxy.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

#define HEADER_LEN 10
#define PACKET_MAX 4096
#define TAG_NO_SESSIONS 0x8001
#define CAP_TPM_PROPERTIES 6
#define PT_FIRMWARE_VERSION_1 0x10b

struct packet {
    uint8_t bytes[PACKET_MAX];
    size_t len;
};

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* Wait for bytes, but not longer than until the proxy is stopped. */
static bool read_some(int fd, int wake, uint8_t *to, size_t len)
{
    while (len > 0) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = wake, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return false;
        ssize_t got = read(fd, to, len);
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

static bool read_packet(int fd, int wake, struct packet *p)
{
    p->len = 0;
    if (!read_some(fd, wake, p->bytes, HEADER_LEN))
        return false;
    size_t len = be_get32(p->bytes + 2);
    if (len < HEADER_LEN || len > PACKET_MAX)
        return false;
    p->len = len;
    return read_some(fd, wake, p->bytes + HEADER_LEN, len - HEADER_LEN);
}

static bool send_all(int fd, const uint8_t *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static struct tpm_fault fault_of(struct tpmproxy *p, uint32_t command)
{
    struct tpm_fault hit = {0};
    (void)pthread_mutex_lock(&p->lock);
    const struct tpm_fault *f = &p->fault;
    if (f->command == 0 || f->command == command) {
        p->seen++;
        if (p->seen >= f->at && p->seen < f->at + f->times)
            hit = *f;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return hit;
}

static void record(struct tpmproxy *p, const struct packet *packet)
{
    (void)pthread_mutex_lock(&p->lock);
    size_t room = TPMPROXY_TRAFFIC_MAX - p->traffic_len;
    size_t len = packet->len < room ? packet->len : room;
    memcpy(p->traffic + p->traffic_len, packet->bytes, len);
    p->traffic_len += len;
    (void)pthread_mutex_unlock(&p->lock);
}

static void make_answer(struct packet *p, uint32_t rc)
{
    be_put16(p->bytes, TAG_NO_SESSIONS);
    be_put32(p->bytes + 2, HEADER_LEN);
    be_put32(p->bytes + 6, rc);
    p->len = HEADER_LEN;
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* TPM 2.0 Part 3, 30.2: header, moreData, capability, count, then property and value. */
static void change_firmware(struct packet *p, uint32_t version)
{
    enum { AT_CAPABILITY = 11, AT_PROPERTY = 19, AT_VALUE = 23, LEN = 27 };
    if (p->len >= LEN && be_get32(p->bytes + AT_CAPABILITY) == CAP_TPM_PROPERTIES &&
        be_get32(p->bytes + AT_PROPERTY) == PT_FIRMWARE_VERSION_1)
        be_put32(p->bytes + AT_VALUE, version);
}

/* One command and its answer. @return false to hang up. */
static bool pass(struct tpmproxy *p, int client, struct packet *packet)
{
    if (!read_packet(client, p->wake[0], packet))
        return false;
    record(p, packet);
    struct tpm_fault f = fault_of(p, be_get32(packet->bytes + 6));
    if (f.kind == FAULT_DROP)
        return false;
    if (f.kind != FAULT_REFUSE) {
        int server = connect_to(p->behind);
        bool ok = server >= 0 && send_all(server, packet->bytes, packet->len) &&
                  read_packet(server, p->wake[0], packet);
        if (server >= 0)
            (void)close(server);
        if (!ok || f.kind == FAULT_LOSE)
            return false;
        record(p, packet);
    }
    if (f.kind == FAULT_REFUSE || f.kind == FAULT_REPLACE)
        make_answer(packet, f.rc);
    if (f.kind == FAULT_CORRUPT)
        packet->bytes[packet->len - 1] ^= 1;
    if (f.kind == FAULT_SHORT)
        packet->len /= 2;
    if (f.kind == FAULT_DELAY)
        pause_ms(f.rc);
    if (f.kind == FAULT_FIRMWARE)
        change_firmware(packet, f.rc);
    return send_all(client, packet->bytes, packet->len) && f.kind != FAULT_SHORT;
}

static void *serve(void *arg)
{
    struct tpmproxy *p = arg;
    static struct packet packet;
    for (;;) {
        struct pollfd fds[2] = {{.fd = p->listener, .events = POLLIN},
                                {.fd = p->wake[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return NULL;
        int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue;
        while (pass(p, client, &packet))
            ;
        (void)close(client);
    }
}

bool tpmproxy_start(struct tpmproxy *p, const struct swtpm *behind)
{
    *p = (struct tpmproxy){.listener = -1, .wake = {-1, -1}};
    (void)snprintf(p->tcti, sizeof(p->tcti), "swtpm:path=%s/p", behind->dir);
    (void)snprintf(p->behind, sizeof(p->behind), "%s/s", behind->dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/p", behind->dir);
    char ctrl[sizeof(address.sun_path) + 8];
    (void)snprintf(ctrl, sizeof(ctrl), "%s/p.ctrl", behind->dir);

    (void)unlink(ctrl);
    (void)unlink(address.sun_path);
    (void)pthread_mutex_init(&p->lock, NULL);
    p->traffic = calloc(1, TPMPROXY_TRAFFIC_MAX);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* The control channel needs no proxy: the library opens it beside the other one and is happy.
     */
    bool ok = p->traffic != NULL && p->listener >= 0 && symlink("s.ctrl", ctrl) == 0 &&
              pipe2(p->wake, O_CLOEXEC) == 0 &&
              bind(p->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(p->listener, 8) == 0 && pthread_create(&p->thread, NULL, serve, p) == 0;
    p->running = ok;
    if (!ok)
        perror("tpmproxy");
    return ok;
}

void tpmproxy_stop(struct tpmproxy *p)
{
    if (p->running) {
        (void)!write(p->wake[1], "x", 1);
        (void)pthread_join(p->thread, NULL);
    }
    p->running = false;
    int *const fds[] = {&p->listener, &p->wake[0], &p->wake[1]};
    for (size_t i = 0; i < 3; i++) {
        if (*fds[i] > 0)
            (void)close(*fds[i]);
        *fds[i] = -1;
    }
    free(p->traffic);
    p->traffic = NULL;
}

void tpmproxy_set(struct tpmproxy *p, const struct tpm_fault *fault)
{
    (void)pthread_mutex_lock(&p->lock);
    p->fault = fault != NULL ? *fault : (struct tpm_fault){0};
    p->seen = 0;
    (void)pthread_mutex_unlock(&p->lock);
}

bool tpmproxy_reached(struct tpmproxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    bool reached = p->fault.kind != FAULT_NONE && p->seen >= p->fault.at;
    (void)pthread_mutex_unlock(&p->lock);
    return reached;
}

const uint8_t *tpmproxy_traffic(struct tpmproxy *p, size_t *len)
{
    (void)pthread_mutex_lock(&p->lock);
    *len = p->traffic_len;
    (void)pthread_mutex_unlock(&p->lock);
    return *len < TPMPROXY_TRAFFIC_MAX ? p->traffic : NULL;
}
