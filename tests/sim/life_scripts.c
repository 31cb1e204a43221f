/* life: the plans, and every way in which the two requests can meet windows and each other. */
#include <stdio.h>
#include <string.h>

#include "sim/life.h"

#define STRICT                                                                                     \
    "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"                \
    "'slots':['a','b'],'window':'minor','order':'strict','max_jump':8}"
/* Each window is a line of its own, so that both stay open side by side. */
#define PER_LINE                                                                                   \
    "{'kind':'version','format':'major.minor.patch','sizes':{'minor':1,'patch':2},"                \
    "'slots':['a','b'],'window':'minor','order':'per-line','max_jump':8}"
#define TIME                                                                                       \
    "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D','signatures_per_window':4,"      \
    "'lease_size':2,'seal':true}"
#define INTERVAL "{'kind':'interval','signatures_per_window':4,'lease_size':2,'seal':true}"

#define HERE(assignment) RIG_PLAN("k", "raw", assignment)
#define REMOTE(assignment)                                                                         \
    "{'tidemark_plan':1,'key':'k','profile':'rfc','scheme':'lms','parameters':"                    \
    "['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W2'],'message':'raw',"                                 \
    "'remote_hashing':{'expires_s':300,'open_per_caller':3},'assignment':" assignment "}"

const struct life_plan life_plans[] = {
    {.name = "time", .json = HERE(TIME), .lease = 2},
    {.name = "interval", .json = HERE(INTERVAL), .lease = 2},
    {.name = "strict", .json = HERE(STRICT)},
    {.name = "per-line", .json = HERE(PER_LINE)},
    {.name = "time-lossy", .json = HERE(TIME), .lease = 2, .lossy = true},
    {.name = "interval-lossy", .json = HERE(INTERVAL), .lease = 2, .lossy = true},
    {.name = "strict-lossy", .json = HERE(STRICT), .lossy = true},
    {.name = "per-line-lossy", .json = HERE(PER_LINE), .lossy = true},
    {.name = "time-remote", .json = REMOTE(TIME), .remote = true, .lease = 2},
    {.name = "interval-remote", .json = REMOTE(INTERVAL), .remote = true, .lease = 2},
    {.name = "strict-remote", .json = REMOTE(STRICT), .remote = true},
    {.name = "per-line-remote", .json = REMOTE(PER_LINE), .remote = true},
};
const size_t life_plan_count = sizeof(life_plans) / sizeof(life_plans[0]);

/* How the two requests meet. "21" and "2", "1" are other orders only where requests have a place of
 * their own: by window they differ in nothing but their names. */
static const struct form {
    const char *name;
    const char *asks[MOMENT_ACTS];
    bool restart;
    bool version_only;
    bool remote;
} forms[] = {
    {.name = "together", .asks = {"12"}},
    {.name = "one-after-the-other", .asks = {"1", "2"}},
    {.name = "retry", .asks = {"1", "1"}},
    {.name = "twins", .asks = {"11"}},
    {.name = "stop-between", .asks = {"1", "2"}, .restart = true},
    {.name = "together-turned", .asks = {"21"}, .version_only = true},
    {.name = "turned", .asks = {"2", "1"}, .version_only = true},
    {.name = "remote", .asks = {"r"}, .remote = true},
    {.name = "remote-around", .asks = {"r2"}, .remote = true},
    {.name = "remote-beside-itself", .asks = {"r1"}, .remote = true},
    {.name = "remote-retry", .asks = {"r", "r"}, .remote = true},
    {.name = "remote-then-other", .asks = {"r", "2"}, .remote = true},
    {.name = "other-then-remote", .asks = {"2", "r"}, .restart = true, .remote = true},
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

/* Where they lie. Time: the window of each act. Version: the two versions. Interval: nowhere; what
 * was used before decides. change_at: the clock goes on inside the first act. */
struct place {
    const char *name;
    unsigned windows[MOMENT_ACTS];
    unsigned change_at;
    bool early; /* before the second act the operator opens window 7 early */
    const char *versions[2];
};

static const struct place by_time[] = {
    {.name = "6-6", .windows = {6, 6}},
    {.name = "6-7", .windows = {6, 7}},
    {.name = "7-7", .windows = {7, 7}},
    {.name = "6-early-7", .windows = {6, 6}, .early = true},
    {.name = "6-early-7-in-time", .windows = {6, 7}, .early = true},
    {.name = "6-then-7-at-reading-1", .windows = {6}, .change_at = 1},
    {.name = "6-then-7-at-reading-2", .windows = {6}, .change_at = 2},
    {.name = "6-then-7-at-reading-3", .windows = {6}, .change_at = 3},
    {.name = "6-then-7-at-reading-4", .windows = {6}, .change_at = 4},
};

static const struct place by_strict[] = {
    {.name = "6-6", .versions = {"1.2.0", "1.2.1"}},
    {.name = "6-7", .versions = {"1.2.1", "1.3.0"}},
    {.name = "7-7", .versions = {"1.3.0", "1.3.1"}},
};

static const struct place by_line[] = {
    {.name = "6-6", .versions = {"6.0.0", "6.0.1"}},
    {.name = "6-7", .versions = {"6.0.1", "7.0.0"}},
    {.name = "7-7", .versions = {"7.0.0", "7.0.1"}},
};

static const struct place anywhere[] = {{.name = "next"}};

static const struct place *places_of(const struct life_plan *plan, size_t *count)
{
    if (strncmp(plan->name, "time", 4) == 0) {
        *count = sizeof(by_time) / sizeof(by_time[0]);
        return by_time;
    }
    *count = sizeof(by_strict) / sizeof(by_strict[0]);
    if (strncmp(plan->name, "strict", 6) == 0)
        return by_strict;
    if (strncmp(plan->name, "per-line", 8) == 0)
        return by_line;
    *count = 1;
    return anywhere;
}

/* Two windows need two acts, or two versions; a clock that moves meanwhile needs one act only. */
static bool makes_sense(const struct life_plan *plan, const struct form *f, const struct place *p)
{
    if ((plan->lease > 0 && f->version_only) || plan->remote != f->remote)
        return false;
    if (p->change_at > 0)
        return strcmp(f->name, f->remote ? "remote-around" : "together") == 0;
    return (p->windows[0] == p->windows[1] && !p->early) || f->asks[1] != NULL;
}

static void write_script(struct life *life, const struct form *f, const struct place *p)
{
    (void)snprintf(life->name, sizeof(life->name), "%s/%s/%s/%u", life->plan->name, f->name,
                   p->name, life->prior);
    memcpy(life->versions, p->versions, sizeof(life->versions));
    life->act_count = f->asks[1] != NULL ? 2 : 1;
    for (unsigned i = 0; i < life->act_count; i++) {
        (void)snprintf(life->acts[i].asks, sizeof(life->acts[i].asks), "%s", f->asks[i]);
        life->acts[i].window = p->windows[i];
    }
    life->acts[0].change_at = p->change_at;
    life->acts[1].restart_before = f->restart;
    life->acts[1].early_before = p->early;
}

bool life_script(struct life *life, const struct life_plan *plan, unsigned number)
{
    size_t places = 0;
    const struct place *place = places_of(plan, &places);
    unsigned priors = strncmp(plan->name, "interval", 8) == 0 ? 3 : 2;
    for (unsigned prior = plan->remote ? priors - 1 : 0; prior < priors; prior++)
        for (size_t p = 0; p < places; p++)
            for (size_t f = 0; f < FORMS; f++) {
                if (!makes_sense(plan, &forms[f], &place[p]) || number-- > 0)
                    continue;
                *life = (struct life){.plan = plan, .prior = prior};
                write_script(life, &forms[f], &place[p]);
                return true;
            }
    return false;
}
