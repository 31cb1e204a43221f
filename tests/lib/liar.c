#include "lib/liar.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

#define NS_PER_S INT64_C(1000000000)
#define PACKET_LEN 48                    /* RFC 5905 §7.3, without extensions */
#define NTP_EPOCH_S UINT64_C(2208988800) /* 1900 to 1970 */
#define POLL_MS 50

static int64_t now_ns(clockid_t clock)
{
    struct timespec t = {0};
    MUST(clock_gettime(clock, &t) == 0);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* True time minus raw clock. Set once, before the threads that read it are made. */
static int64_t true_minus_raw_ns;
static bool true_is_set;

void liar_set_true_ns(int64_t ns)
{
    true_minus_raw_ns = ns - now_ns(CLOCK_MONOTONIC_RAW);
    true_is_set = true;
}

int64_t liar_true_ns(void)
{
    if (!true_is_set)
        liar_set_true_ns(now_ns(CLOCK_REALTIME));
    return now_ns(CLOCK_MONOTONIC_RAW) + true_minus_raw_ns;
}

struct lies liar_honest(void)
{
    return (struct lies){.stratum = 1, .root_delay_s = 0.001, .root_dispersion_s = 0.005};
}

/* 64-bit time stamp of RFC 5905 §6. */
static void put_stamp(uint8_t out[8], int64_t ns)
{
    uint64_t s = (uint64_t)(ns / NS_PER_S) + NTP_EPOCH_S;
    uint64_t fraction = ((uint64_t)(ns % NS_PER_S) << 32) / (uint64_t)NS_PER_S;
    be_put32(out, (uint32_t)s);
    be_put32(out + 4, (uint32_t)fraction);
}

/* 16.16 bits. */
static void put_short(uint8_t out[4], double s)
{
    be_put32(out, (uint32_t)(s * 65536));
}

static int64_t said_time(const struct liar *liar, int64_t true_ns)
{
    double told_s = (double)(now_ns(CLOCK_MONOTONIC_RAW) - liar->told_raw_ns) / 1e9;
    return true_ns + liar->lies.offset_ns + (int64_t)(liar->lies.rate * told_s * 1e9);
}

static void answer(struct liar *liar, const uint8_t request[PACKET_LEN],
                   const struct sockaddr_in *from, int64_t true_ns)
{
    uint8_t packet[PACKET_LEN] = {0};
    const struct lies *l = &liar->lies;
    bool leapt = l->leap_at_ns != 0 && true_ns >= l->leap_at_ns;
    int64_t said = said_time(liar, true_ns) - (leapt ? NS_PER_S : 0);
    unsigned leap = leapt ? 0 : l->leap;
    packet[0] = (uint8_t)(leap << 6 | 4 << 3 | 4); /* version 4, server */
    packet[1] = (uint8_t)l->stratum;
    packet[2] = request[2];
    packet[3] = (uint8_t)-20; /* precision: a microsecond */
    put_short(packet + 4, l->root_delay_s);
    put_short(packet + 8, l->root_dispersion_s);
    memcpy(packet + 12, "LIAR", 4);
    put_stamp(packet + 16, said - NS_PER_S);
    memcpy(packet + 24, request + 40, 8); /* the client's transmit time comes back */
    put_stamp(packet + 32, said);
    put_stamp(packet + 40, said);
    if (l->lag_ns > 0) {
        struct timespec lag = {.tv_sec = l->lag_ns / NS_PER_S, .tv_nsec = l->lag_ns % NS_PER_S};
        (void)nanosleep(&lag, NULL);
    }
    (void)sendto(liar->fd, packet, sizeof(packet), 0, (const struct sockaddr *)from, sizeof(*from));
}

/* @return false when it is time to stop. */
static bool serve(struct liar *liar)
{
    uint8_t request[512];
    struct sockaddr_in from = {0};
    socklen_t from_len = sizeof(from);
    struct pollfd p = {.fd = liar->fd, .events = POLLIN};
    bool ready = poll(&p, 1, POLL_MS) > 0;
    ssize_t len =
        ready ? recvfrom(liar->fd, request, sizeof(request), 0, (struct sockaddr *)&from, &from_len)
              : 0;
    int64_t true_ns = liar_true_ns();
    MUST(pthread_mutex_lock(&liar->lock) == 0);
    bool stop = liar->stop;
    if (!stop && len >= PACKET_LEN && !liar->lies.silent)
        answer(liar, request, &from, true_ns);
    MUST(pthread_mutex_unlock(&liar->lock) == 0);
    return !stop;
}

static void *work(void *argument)
{
    while (serve(argument))
        continue;
    return NULL;
}

void liar_start(struct liar *liar, unsigned host, uint16_t port)
{
    (void)liar_true_ns(); /* from now on it is set */
    *liar = (struct liar){.lies = liar_honest(), .told_raw_ns = now_ns(CLOCK_MONOTONIC_RAW)};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr.s_addr = htonl(UINT32_C(0x7f000000) + host)};
    socklen_t len = sizeof(a);
    liar->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(liar->fd >= 0);
    MUST(bind(liar->fd, (const struct sockaddr *)&a, sizeof(a)) == 0);
    MUST(getsockname(liar->fd, (struct sockaddr *)&a, &len) == 0);
    liar->port = ntohs(a.sin_port);
    MUST(pthread_mutex_init(&liar->lock, NULL) == 0);
    MUST(pthread_create(&liar->thread, NULL, work, liar) == 0);
}

void liar_tell(struct liar *liar, const struct lies *lies)
{
    MUST(pthread_mutex_lock(&liar->lock) == 0);
    liar->lies = *lies;
    liar->told_raw_ns = now_ns(CLOCK_MONOTONIC_RAW);
    MUST(pthread_mutex_unlock(&liar->lock) == 0);
}

void liar_stop(struct liar *liar)
{
    if (liar->port == 0)
        return;
    MUST(pthread_mutex_lock(&liar->lock) == 0);
    liar->stop = true;
    MUST(pthread_mutex_unlock(&liar->lock) == 0);
    MUST(pthread_join(liar->thread, NULL) == 0);
    (void)close(liar->fd);
    *liar = (struct liar){0};
}
