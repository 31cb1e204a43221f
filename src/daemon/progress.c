#include "daemon/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/rc.h"
#include "daemon/world.h"

#define NS_PER_S INT64_C(1000000000)
#define BAR_EVERY_NS (NS_PER_S / 10)
#define LINE_EVERY_NS (30 * NS_PER_S)
#define MINUTE 60
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* Stopping ------------------------------------------------------------------------------------ */

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void progress_stoppable(struct bar *bar)
{
    const sigset_t set = stop_signals();
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    bar->stoppable = true;
}

bool progress_stopped(struct bar *bar)
{
    const sigset_t set = stop_signals();
    const struct timespec at_once = {0};
    if (bar->stoppable && !bar->stopped)
        bar->stopped = sigtimedwait(&set, NULL, &at_once) > 0;
    return bar->stopped;
}

/* Time ---------------------------------------------------------------------------------------- */

void progress_time(char text[PROGRESS_TIME_MAX], int64_t s)
{
    if (s < 2 * MINUTE)
        (void)snprintf(text, PROGRESS_TIME_MAX, "%" PRId64 " s", s);
    else if (s < 2 * HOUR)
        (void)snprintf(text, PROGRESS_TIME_MAX, "%" PRId64 " min", (s + MINUTE / 2) / MINUTE);
    else if (s < 2 * DAY)
        (void)snprintf(text, PROGRESS_TIME_MAX, "%" PRId64 " h %" PRId64 " min", s / HOUR,
                       s % HOUR / MINUTE);
    else
        (void)snprintf(text, PROGRESS_TIME_MAX, "%" PRId64 " d %" PRId64 " h", s / DAY,
                       s % DAY / HOUR);
}

int64_t progress_left_s(uint64_t first, uint64_t done, uint64_t total, int64_t elapsed_ns)
{
    if (done <= first || elapsed_ns <= 0 || done > total)
        return -1;
    double each = (double)elapsed_ns / (double)NS_PER_S / (double)(done - first);
    double left = each * (double)(total - done);
    return left > 1e15 ? -1 : (int64_t)(left + 0.5);
}

/* Showing ------------------------------------------------------------------------------------- */

static void print(struct bar *bar, uint64_t done, uint64_t total, int64_t elapsed_ns, bool terminal)
{
    static const char full[] = "################################";
    unsigned width = (unsigned)sizeof(full) - 1;
    double part = total == 0 ? 1 : (double)done / (double)total;
    char time[PROGRESS_TIME_MAX] = "";
    int64_t left_s = progress_left_s(bar->first, done, total, elapsed_ns);
    if (left_s >= 0)
        progress_time(time, left_s);
    const char *left = left_s >= 0 ? " left" : "";
    if (terminal)
        (void)fprintf(stderr, "\r%-10s [%-*.*s] %3u%%  %s%s\033[K", bar->what, (int)width,
                      (int)(width * part), full, (unsigned)(100 * part), time, left);
    else
        (void)fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 ", %u%%%s%s%s\n", bar->what, done,
                      total, (unsigned)(100 * part), left_s >= 0 ? ", " : "", time, left);
    (void)fflush(stderr);
    bar->shown = terminal;
}

void progress_end(struct bar *bar)
{
    if (bar->shown)
        (void)fputc('\n', stderr);
    bar->shown = false;
}

static void begin(struct bar *bar, uint64_t done, uint64_t total, int64_t now)
{
    bar->begun = true;
    bar->start_ns = bar->shown_ns = now;
    bar->first = done;
    if (bar->resumed != NULL && !bar->quiet && done > 0)
        (void)fprintf(stderr,
                      "tidemark: going on with what was begun: %" PRIu64 " of %" PRIu64
                      " %s are made\n",
                      done, total, bar->resumed);
}

bool show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct bar *bar = ctx;
    const struct time_source *t = world_time();
    int64_t now = t->raw_ns(t->ctx);
    if (!bar->begun)
        begin(bar, done, total, now);
    bool terminal = !bar->quiet && isatty(STDERR_FILENO) == 1;
    /* Only for people, and only when it takes longer than a second. */
    bool late = now - bar->start_ns >= NS_PER_S;
    int64_t every = terminal ? BAR_EVERY_NS : LINE_EVERY_NS;
    bool last = done == total && bar->shown;
    if (!bar->quiet && !bar->ended && late && (last || now - bar->shown_ns >= every)) {
        print(bar, done, total, now - bar->start_ns, terminal);
        bar->shown_ns = now;
    }
    if (done == total) {
        progress_end(bar);
        bar->ended = true;
    }
    return !progress_stopped(bar);
}
