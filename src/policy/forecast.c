#include "policy/forecast.h"

#define YEAR_S 31556952              /* 365.2425 days */
#define LAST_S INT64_C(253370764800) /* the year 9999 begins */

typedef unsigned __int128 wide; /* a product of two counters fits */

/* When `left` are gone at `used` in `span_s`; FORECAST_UNKNOWN: not before the year 9999. */
static int64_t gone_at(int64_t now_s, uint64_t left, uint64_t used, int64_t span_s)
{
    if (left == 0)
        return now_s;
    if (used == 0 || span_s < FORECAST_RATE_MIN_S)
        return FORECAST_UNKNOWN;
    wide seconds = (wide)left * (wide)span_s / used;
    if (now_s >= LAST_S || seconds > (wide)(LAST_S - now_s))
        return FORECAST_UNKNOWN;
    return now_s + (int64_t)seconds;
}

static int64_t earlier(int64_t a, int64_t b)
{
    if (a == FORECAST_UNKNOWN || b == FORECAST_UNKNOWN)
        return a == FORECAST_UNKNOWN ? b : a;
    return a < b ? a : b;
}

void forecast_project(const struct forecast_past *p, struct forecast *f)
{
    uint64_t used = p->left < p->total ? p->total - p->left : 0;
    *f = (struct forecast){.per_year = FORECAST_UNKNOWN};
    if (p->recent_s >= FORECAST_RATE_MIN_S) {
        wide per_year = (wide)p->recent * YEAR_S / (wide)p->recent_s;
        f->per_year = per_year > INT64_MAX ? INT64_MAX : (int64_t)per_year;
    }
    f->exhausted_s = gone_at(p->now_s, p->left, p->recent, p->recent_s);
    /* Windows of a time plan go by whether they are used or not: its own end is what counts. */
    if (p->plan_end_s == FORECAST_UNKNOWN)
        f->exhausted_s =
            earlier(f->exhausted_s, gone_at(p->now_s, p->left, used, p->now_s - p->since_s));
    f->exhausted_s = earlier(f->exhausted_s, p->plan_end_s);
    f->window_full_s = gone_at(p->now_s, p->window_left, p->recent, p->recent_s);
    if (p->window_end_s != FORECAST_UNKNOWN && f->window_full_s >= p->window_end_s)
        f->window_full_s = FORECAST_UNKNOWN;
}

uint64_t forecast_level_left(uint64_t total, uint32_t level)
{
    return (uint64_t)((wide)total * level / 100);
}

uint32_t forecast_level(uint64_t total, uint64_t left, uint32_t ack_percent)
{
    MUST(ack_percent <= 100);
    if (ack_percent == 0)
        return 0;
    uint32_t last = ack_percent >= 10 ? ack_percent / 10 : 1;
    if (left <= forecast_level_left(total, last))
        return last;
    return left <= forecast_level_left(total, ack_percent) ? ack_percent : 0;
}
