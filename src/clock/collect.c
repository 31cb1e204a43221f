/* The collector: the only part of the clock that talks to anybody. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secmem.h"
#include "clock/chrony.h"
#include "clock/machine.h"

#define NS_PER_MS INT64_C(1000000)

/* Reading real and raw as one: a pair that took longer than this is read again, so often. */
#define PAIR_NS_MAX NS_PER_MS
#define PAIR_TRIES 4

/* Packets thrown away before a request, and looked at while waiting for its answer. */
#define DRAIN_MAX 64
#define ANSWERS_MAX 16

struct clk {
    int fd;
    int step_fd; /* becomes readable when somebody sets the clock */
    struct clk_policy policy;
    struct clk_state state;
    const struct time_source *time;
};

static enum rc check_limits(const struct clk_policy *p, struct err *err)
{
    if (p->max_error_ms < 1 || p->max_error_ms > CLK_ERROR_MS_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "clock: error limit of %" PRId64 " ms",
                    p->max_error_ms);
    if (p->max_age_s < 1 || p->max_age_s > CLK_AGE_S_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "clock: age limit of %" PRId64 " s",
                    p->max_age_s);
    if (p->max_stratum < 1 || p->max_stratum > CLK_STRATUM_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "clock: stratum limit of %" PRIu32,
                    p->max_stratum);
    if (p->warmup > CLK_WARMUP_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "clock: warm-up of %" PRIu32 " updates",
                    p->warmup);
    if (p->guard_ms < 0 || p->guard_ms > CLK_GUARD_MS_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "clock: guard of %" PRId64 " ms", p->guard_ms);
    return RC_OK;
}

/* Only loopback: nobody outside this host may say what time it is, and no answer that crossed a
 * network could be told from a forged one. */
static enum rc loopback(const struct clk_policy *policy, struct sockaddr_storage *address,
                        socklen_t *len, struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(policy->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(policy->port)};
    size_t text_len = strnlen(policy->address, sizeof(policy->address));
    if (text_len < sizeof(policy->address) && policy->port != 0) {
        if (inet_pton(AF_INET, policy->address, &v4.sin_addr) == 1 &&
            ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) {
            memcpy(address, &v4, sizeof(v4));
            *len = sizeof(v4);
            return RC_OK;
        }
        if (inet_pton(AF_INET6, policy->address, &v6.sin6_addr) == 1 &&
            IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) {
            memcpy(address, &v6, sizeof(v6));
            *len = sizeof(v6);
            return RC_OK;
        }
    }
    return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                "clock: chronyd must be at a loopback address and a port: \"%.63s\" port %u",
                policy->address, policy->port);
}

/* A timer that never ends, and is cancelled by every setting of the clock: also by one that is
 * taken back before the next sample. */
static bool arm(int fd)
{
    const struct itimerspec never = {.it_value.tv_sec = CLK_REAL_S_MAX};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0;
}

static bool was_set(const struct clk *clk)
{
    uint64_t expired = 0;
    if (read(clk->step_fd, &expired, sizeof(expired)) < 0 && errno == EAGAIN)
        return false;
    (void)arm(clk->step_fd);
    return true;
}

enum rc clk_open(struct clk **clk, const struct clk_policy *policy, const struct time_source *time,
                 struct err *err)
{
    *clk = NULL;
    struct sockaddr_storage address = {0};
    socklen_t len = 0;
    enum rc rc = check_limits(policy, err);
    if (rc == RC_OK)
        rc = loopback(policy, &address, &len, err);
    if (rc != RC_OK)
        return rc;

    /* Connected: the kernel drops what comes from elsewhere, and tells when nobody listens. */
    int fd CLEANUP(fd_close) =
        socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, len) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "clock: socket to chronyd: %s",
                    strerror(errno));
    int step_fd CLEANUP(fd_close) = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (step_fd < 0 || !arm(step_fd))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "clock: timer for steps: %s",
                    strerror(errno));
    struct clk *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "", 0, "clock: no memory");
    *c = (struct clk){.fd = fd, .step_fd = step_fd, .policy = *policy, .time = time};
    fd = -1;
    step_fd = -1;
    *clk = c;
    return RC_OK;
}

void clk_close(struct clk **clk)
{
    if (*clk == NULL)
        return;
    fd_close(&(*clk)->fd);
    fd_close(&(*clk)->step_fd);
    free(*clk);
    *clk = NULL;
}

static int64_t raw_ns(const struct clk *clk)
{
    return clk->time->raw_ns(clk->time->ctx);
}

/* Late answers to earlier requests, and the refusal that a dead chronyd left on the socket, which
 * the next call on it would report instead of doing its work. */
static void drain(const struct clk *clk)
{
    uint8_t packet[CHRONY_PACKET_LEN];
    for (int i = 0; i < DRAIN_MAX; i++)
        if (recv(clk->fd, packet, sizeof(packet), MSG_DONTWAIT) < 0 && errno == EAGAIN)
            return;
}

/* False: nothing to read came before the deadline. */
static bool readable(const struct clk *clk, int64_t begin_ns)
{
    for (int i = 0; i < ANSWERS_MAX; i++) {
        int64_t left_ms = CLK_TIMEOUT_MS - (raw_ns(clk) - begin_ns) / NS_PER_MS;
        if (left_ms <= 0 || left_ms > CLK_TIMEOUT_MS)
            return false;
        struct pollfd p = {.fd = clk->fd, .events = POLLIN};
        int ready = poll(&p, 1, (int)left_ms);
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
    return false;
}

static void ask_chronyd(const struct clk *clk, struct clk_evidence *e, int64_t begin_ns)
{
    uint8_t packet[CHRONY_PACKET_LEN + 1]; /* one more, to see that an answer is too long */
    uint32_t sequence = 0;
    random_bytes(&sequence, sizeof(sequence));
    drain(clk);
    chrony_request(packet, sequence);
    if (send(clk->fd, packet, CHRONY_PACKET_LEN, MSG_NOSIGNAL) != CHRONY_PACKET_LEN)
        return;
    for (int i = 0; i < ANSWERS_MAX && readable(clk, begin_ns); i++) {
        ssize_t len = recv(clk->fd, packet, sizeof(packet), 0);
        if (len < 0 && errno != EAGAIN && errno != EINTR)
            return; /* ECONNREFUSED: nobody there, no use waiting */
        if (len < 0 || !chrony_answers(packet, (size_t)len, sequence))
            continue;
        e->replied = chrony_reply(&e->tracking, packet, (size_t)len, sequence, NULL) == RC_OK;
        e->malformed = !e->replied;
        return;
    }
}

static void ask_kernel(struct clk_evidence *e)
{
    struct timex t = {.modes = 0}; /* read only */
    if (adjtimex(&t) < 0)
        return;
    e->kernel_asked = true;
    e->kernel_unsync = (t.status & STA_UNSYNC) != 0;
    e->kernel_maxerror_us = t.maxerror;
}

/* Both clocks at one moment. If the process was put aside between the two calls, their difference
 * would look like a step. */
static void read_clocks(const struct clk *clk, struct clk_evidence *e)
{
    for (int i = 0; i < PAIR_TRIES; i++) {
        int64_t before = raw_ns(clk);
        e->real_ns = clk->time->real_ns(clk->time->ctx);
        e->raw_ns = raw_ns(clk);
        if (e->raw_ns - before <= PAIR_NS_MAX)
            return;
    }
}

void clk_sample(struct clk *clk, struct clk_sample *sample)
{
    *sample = (struct clk_sample){0};
    struct clk_evidence *e = &sample->evidence;
    const struct time_source *t = clk->time;
    int64_t begin_ns = raw_ns(clk);
    ask_chronyd(clk, e, begin_ns);
    if (clk->policy.kernel_witness)
        ask_kernel(e);
    read_clocks(clk, e);
    e->query_ns = e->raw_ns - begin_ns;
    sample->stepped = was_set(clk);
    if (t->mono_ns != NULL && t->boot_ns != NULL) {
        /* In this order a pause between the two looks like sleep, never the other way round. */
        sample->mono_ns = t->mono_ns(t->ctx);
        sample->boot_ns = t->boot_ns(t->ctx);
    }
}

void clk_read(struct clk *clk, struct clk_reading *reading)
{
    struct clk_sample sample;
    clk_sample(clk, &sample);
    if (sample.stepped)
        clk->state.fresh = 0;
    clk_judge(&clk->state, &clk->policy, &sample.evidence, reading);
}
