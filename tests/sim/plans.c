#include "sim/plans.h"

#include <stdio.h>
#include <string.h>

#include "base/rc.h"

enum sim_plan plans_by_name(const char *name)
{
    static const char *const names[] = {"time", "strict", "per-line", "interval"};
    enum sim_plan kind = SIM_TIME;
    while (kind < SIM_PLANS && strcmp(names[kind], name) != 0)
        kind++;
    return kind;
}

/* One draw a statement: in which order arguments are evaluated is the compiler's choice, and a seed
 * must be the same run in every build. */
static void time_plan(struct chance *c, char *out, size_t size)
{
    static const char *const windows[] = {"PT20M", "P1D", "P7D"};
    unsigned per = 1U << chance_between(c, 1, 3);
    bool seal = per > 2 && chance_percent(c, 30);
    unsigned lease = (unsigned)chance_between(c, 1, (int64_t)per / 2);
    const char *window = windows[chance_below(c, 3)];
    (void)snprintf(out, size,
                   "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'%s',"
                   "'signatures_per_window':%u,'lease_size':%u,'seal':%s}",
                   window, per, lease, seal ? "true" : "false");
}

static void interval_plan(struct chance *c, char *out, size_t size)
{
    unsigned per = 1U << chance_between(c, 1, 3);
    bool seal = per > 2 && chance_percent(c, 30);
    unsigned lease = (unsigned)chance_between(c, 1, (int64_t)per / 2);
    (void)snprintf(out, size,
                   "{'kind':'interval','signatures_per_window':%u,'lease_size':%u,'seal':%s}", per,
                   lease, seal ? "true" : "false");
}

static void version_plan(struct chance *c, const char *order, char *out, size_t size)
{
    int64_t jump = chance_between(c, 1, 8);
    if (strcmp(order, "strict") == 0 && chance_percent(c, 40)) {
        (void)snprintf(out, size,
                       "{'kind':'version','format':'integer','versions_per_window':%u,"
                       "'order':'strict','max_jump':%d}",
                       1U << chance_between(c, 0, 3), (int)jump);
        return;
    }
    (void)snprintf(out, size,
                   "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"
                   "'slots':['a','b'],'window':'minor','order':'%s','max_jump':%d}",
                   order, (int)jump);
}

/* How a key takes what it signs. */
static void message_draw(struct chance *c, bool remote, char *out, size_t size)
{
    static const int expires_s[] = {10, 60, 300, 3600};
    if (!remote) {
        (void)snprintf(out, size, "'message':'%s'", chance_percent(c, 50) ? "raw" : "sha256");
        return;
    }
    int expires = expires_s[chance_below(c, 4)];
    int open = (int)chance_between(c, 1, 6);
    (void)snprintf(out, size,
                   "'message':'raw','remote_hashing':{'expires_s':%d,'open_per_caller':%d}",
                   expires, open);
}

void plans_draw(struct chance *c, enum sim_plan kind, const char *key, bool small_ots, bool remote,
                char text[PLANS_TEXT_MAX])
{
    char message[128];
    char assignment[PLANS_TEXT_MAX / 2];
    switch (kind) {
    case SIM_TIME:
        time_plan(c, assignment, sizeof(assignment));
        break;
    case SIM_INTERVAL:
        interval_plan(c, assignment, sizeof(assignment));
        break;
    default:
        version_plan(c, kind == SIM_STRICT ? "strict" : "per-line", assignment, sizeof(assignment));
        break;
    }
    message_draw(c, remote, message, sizeof(message));
    int printed =
        snprintf(text, PLANS_TEXT_MAX,
                 "{'tidemark_plan':1,'key':'%s','profile':'%s','scheme':'lms',"
                 "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W%u'],"
                 "%s,'assignment':%s}",
                 key, remote ? "rfc" : "sp800-208", small_ots ? 8 : 2, message, assignment);
    MUST(printed > 0 && printed < PLANS_TEXT_MAX);
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\'')
            *p = '"';
}
