#include "daemon/notify.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "daemon/world.h"
#include "signer/request.h"

#define EXTEND_EVERY_MS 10000
#define EXTEND_BY_S 60

void notify_open(struct notify *n)
{
    uint64_t usec = 0;
    *n = (struct notify){.state = STATE_STARTING};
    /* Twice as often as it must be, so that one turn that comes late harms nothing. */
    if (sd_watchdog_enabled(0, &usec) > 0)
        n->every_ms = (int64_t)(usec / 2000) > 0 ? (int64_t)(usec / 2000) : 1;
}

/* What the state means stands in docs/operations.md; the reasons are in `tidemark status`. */
static void say_status(uint32_t state)
{
    (void)sd_notifyf(0, "STATUS=%s%s", service_state_name(state),
                     state == STATE_OPERATIONAL ? "" : ": see 'tidemark status'");
}

void notify_turn(struct notify *n, int64_t now_ms, bool definite, bool long_work, bool alive,
                 uint32_t state)
{
    if (!n->ready && !definite && long_work && now_ms - n->extend_ms >= EXTEND_EVERY_MS) {
        n->extend_ms = now_ms;
        (void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d000000\nSTATUS=opening the keys", EXTEND_BY_S);
    }
    if (definite && (!n->ready || state != n->state)) {
        n->state = state;
        say_status(state);
    }
    if (definite && !n->ready) {
        n->ready = true;
        (void)sd_notify(0, "READY=1");
    }
    if (alive && n->every_ms > 0 && now_ms - n->alive_ms >= n->every_ms) {
        n->alive_ms = now_ms;
        (void)sd_notify(0, "WATCHDOG=1");
    }
}

void notify_reloading(const struct notify *n)
{
    const struct time_source *t = world_time();
    if (!n->ready)
        return;
    /* The service manager compares with when it asked, by this clock (systemd 253 and newer). */
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, t->mono_ns(t->ctx) / 1000);
}

void notify_reloaded(const struct notify *n, const char *how)
{
    if (n->ready)
        (void)sd_notifyf(0, "READY=1\nSTATUS=%s: %s", service_state_name(n->state), how);
}

void notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}
