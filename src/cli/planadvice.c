#include "cli/planadvice.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/input.h"
#include "cli/tags.h"
#include "hbs/params.h"
#include "policy/advise.h"
#include "policy/plan.h"
#include "policy/wear.h"

#define DAY_S INT64_C(86400)
#define HASHES_PER_S 4.0e6 /* of one core without special instructions, for an estimate */
#define WINDOW_DEFAULT "P7D"
#define KEY_DEFAULT "my-key"

static const char next_step[] =
    "next       tidemark plan PLAN shows all of it, tidemark key new PLAN makes the key\n";

/* The command line in numbers. */
struct wish {
    int64_t window_s;
    double years;
    double exhaust;
    const char *verifier;
    const char *key;
    const char *slots; /* or NULL */
    int64_t start_s;
};

static void free_chars(char **p)
{
    free(*p);
}

static void free_json(json_t **json)
{
    json_decref(*json);
}

static enum cli_exit read_decimal(const struct args *args, const char *name, double fallback,
                                  double min, double max, double *value, struct cli_fault *fault)
{
    *value = fallback;
    const char *text = args_value(args, name);
    if (text == NULL)
        return CLI_OK;
    if (decimal_parse(value, text) && *value >= min && *value <= max)
        return CLI_OK;
    char next[80];
    (void)snprintf(next, sizeof(next), "give a number from %g to %g", min, max);
    return FAULT(fault, CLI_USAGE, next, "--%s %.40s is no such number", name, text);
}

static enum cli_exit read_start(const struct cli *cli, int64_t *start_s, struct cli_fault *fault)
{
    const char *text = args_value(&cli->args, "start");
    const struct time_source *time = &cli->out.time;
    int64_t now_s = time->real_ns(time->ctx) / INT64_C(1000000000);
    *start_s = (now_s / DAY_S + 1) * DAY_S;
    if (text == NULL || rfc3339_parse(start_s, text))
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "write it like 2026-12-06T00:00:00Z", "--start %.40s is no time",
                 text);
}

static enum cli_exit read_wish(const struct cli *cli, struct wish *wish, struct cli_fault *fault)
{
    const struct args *args = &cli->args;
    *wish = (struct wish){.verifier = args_value(args, "verifier"),
                          .key = args_value(args, "key"),
                          .slots = args_value(args, "slots")};
    if (wish->key == NULL)
        wish->key = KEY_DEFAULT;
    if (!name_valid(wish->key))
        return FAULT(fault, CLI_USAGE, "use letters, digits, '.', '_' and '-'",
                     "--key %.80s is no name of a key", wish->key);
    const char *window = args_value(args, "window");
    if (!duration_parse(&wish->window_s, window != NULL ? window : WINDOW_DEFAULT))
        return FAULT(fault, CLI_USAGE, "write it like P7D, P1D or PT6H (no months or years)",
                     "--window %.40s is no duration", window);
    enum cli_exit code = read_decimal(args, "years", 10, 0.01, 1000, &wish->years, fault);
    if (code == CLI_OK)
        code = read_decimal(args, "exhaust", 1e-6, 1e-15, 1, &wish->exhaust, fault);
    if (code == CLI_OK)
        code = read_start(cli, &wish->start_s, fault);
    return code;
}

/* "N" in a window, "N/day" and so on. */
static enum cli_exit read_rate(const char *text, int64_t window_s, double *per_window,
                               struct cli_fault *fault)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"hour", 3600}, {"day", 86400}, {"week", 7 * 86400}, {"year", 365.25 * 86400}};
    char number[40];
    size_t len = strcspn(text, "/");
    (void)snprintf(number, sizeof(number), "%.*s", (int)(len < 39 ? len : 39), text);
    bool ok = decimal_parse(per_window, number);
    if (text[len] == '/') {
        bool known = false;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(units[i].name, text + len + 1) != 0)
                continue;
            *per_window *= (double)window_s / units[i].seconds;
            known = true;
        }
        ok = ok && known;
    }
    if (ok && *per_window > 0)
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "write it like 700 (in a window), 100/day or 5/hour",
                 "--rate %.40s is no rate", text);
}

/* What we print must be a plan: our own parser has the last word. */
static enum cli_exit print_advice(const json_t *document, struct cli_fault *fault)
{
    char *text CLEANUP(free_chars) = document == NULL ? NULL : json_dumps(document, JSON_INDENT(2));
    if (text == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    struct plan plan CLEANUP(plan_free) = {0};
    struct err err = {0};
    if (plan_parse(&plan, text, strlen(text), NULL, &err) != RC_OK)
        return FAULT(fault, CLI_USAGE, "change the wish: fewer slots, another --start or --window",
                     "no valid plan comes of this: %s", err_text(&err));
    (void)printf("%s\n", text);
    return CLI_OK;
}

/* Time plans ------------------------------------------------------------------------------------
 */

static void talk_choice(const struct out *out, const struct advise_choice *c, double mean)
{
    char size[OUT_SHORT], count[OUT_SHORT], span[OUT_SHORT];
    out_count(size, c->window_size);
    out_count(count, c->window_count);
    out_span(span, (int64_t)(c->keygen_hashes / HASHES_PER_S));
    out_talk(out,
             "serves     %.1f signatures in a window\n"
             "windows    %s of %s indices: %.1f years\n"
             "full       a window runs full with probability %.1g\n"
             "signature  %" PRIu64 " bytes\n"
             "new key    %.1g hashes, about %s on one core\n",
             mean, count, size, c->years, c->exhaust, c->sig_len, c->keygen_hashes, span);
}

/* The usual lease, or the smallest larger one that keeps the TPM alive: each costs writes. */
static uint64_t lease_for(const struct advise_choice *c)
{
    uint64_t usable = c->window_size - 1; /* one index is kept for the seal */
    struct plan plan = {
        .kind = PLAN_TIME,
        .window_count = c->window_count,
        .window_usable = usable,
        .lease_size = PLAN_LEASE_DEFAULT < usable ? PLAN_LEASE_DEFAULT : usable,
    };
    struct plan_wear wear;
    if (plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, NULL) == RC_OK)
        return plan.lease_size;
    return wear.lease_size != 0 ? wear.lease_size : usable;
}

static enum cli_exit advise_time(const struct cli *cli, const struct wish *wish, double mean,
                                 struct cli_fault *fault)
{
    struct advise_need need = {.window_s = wish->window_s,
                               .signatures_per_window = mean,
                               .years = wish->years,
                               .exhaust_max = wish->exhaust,
                               .verifier = wish->verifier};
    struct advise_choice choice;
    struct err err = {0};
    if (advise_time_plan(&need, &choice, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "wish for fewer years, or another --window");
    char start[RFC3339_SIZE], window[DURATION_SIZE];
    rfc3339_print(start, wish->start_s);
    duration_print(window, wish->window_s);
    json_t *document CLEANUP(free_json) =
        json_pack("{si ss ss ss s[ss] ss s{ss ss ss sI sI}}", "tidemark_plan", 1, "key", wish->key,
                  "profile", "cnsa2", "scheme", "lms", "parameters", choice.parameters[0],
                  choice.parameters[1], "message", "raw", "assignment", "kind", "time", "start",
                  start, "window", window, "signatures_per_window", (json_int_t)choice.window_size,
                  "lease_size", (json_int_t)lease_for(&choice));
    enum cli_exit code = print_advice(document, fault);
    if (code != CLI_OK)
        return code;
    talk_choice(&cli->out, &choice, mean);
    out_talk(&cli->out, "%s", next_step);
    return CLI_OK;
}

/* Version plans ---------------------------------------------------------------------------------
 */

/* Twice what was seen, as a power of two, and no less than least. */
static uint64_t headroom(uint64_t max, uint64_t least)
{
    uint64_t size = least;
    while (size < 2 * (max + 1))
        size *= 2;
    return size;
}

static enum cli_exit read_slots(const char *list, json_t *slots, struct cli_fault *fault)
{
    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, ",");
        char name[NAME_LEN_MAX + 2];
        (void)snprintf(name, sizeof(name), "%.*s", (int)(len <= NAME_LEN_MAX ? len : 0), at);
        if (!name_valid(name))
            return FAULT(fault, CLI_USAGE, "write it like bootloader,kernel,rootfs",
                         "--slots: %.*s is no name", (int)(len < 80 ? len : 80), at);
        (void)json_array_append_new(slots, json_string(name));
        at += len + (at[len] == ',');
    }
    return CLI_OK;
}

/* What versions need: so many windows of so many indices. */
struct version_need {
    uint64_t sizes[3]; /* [0]: how many of the first component */
    uint64_t window;   /* indices of a window */
    uint64_t windows;
};

static void need_of_tags(const struct tags *tags, const struct wish *wish, uint64_t slots,
                         struct version_need *need)
{
    *need = (struct version_need){.sizes = {1, 1, 1}};
    double used = tags_years(tags), first = (double)tags->max[0] + 1;
    if (tags->calendar)
        first = ceil(wish->years) + 1;
    else if (used > 0.25) /* as fast as until now; a shorter history says nothing */
        first += ceil(first / used * wish->years);
    else
        first *= 4;
    need->sizes[0] = first < 1e9 ? (uint64_t)first : 1000000000;
    uint64_t last = tags->components > 1 ? tags->components - 1 : 0;
    if (last == 2)
        need->sizes[1] = tags->calendar ? 12 : headroom(tags->max[1], 8);
    if (last > 0)
        need->sizes[last] = headroom(tags->max[last], 4);
    /* A window is what lies under the last but one component; integers share windows of 16. */
    uint64_t versions = last > 0 ? need->sizes[last] : 16;
    for (need->window = 1; need->window < versions * slots;)
        need->window *= 2;
    need->windows =
        last > 0 ? need->sizes[0] * (last == 2 ? need->sizes[1] : 1) : need->sizes[0] / 16 + 1;
}

/* The smallest standard tree that holds it and that the verifier takes. */
static enum cli_exit choose_set(const struct version_need *need, const char *verifier, char lms[48],
                                char ots[48], struct cli_fault *fault)
{
    static const uint32_t lengths[] = {24, 32};
    double indices = (double)need->windows * (double)need->window;
    for (uint32_t h = 5; h <= 25; h += 5) {
        if (indices > ldexp(1.0, (int)h))
            continue;
        for (size_t i = 0; i < 2; i++) {
            if (!advise_verifier_takes(verifier, lengths[i], h, 8))
                continue;
            (void)snprintf(lms, 48, "LMS_SHA256_M%u_H%u", (unsigned)lengths[i], (unsigned)h);
            (void)snprintf(ots, 48, "LMOTS_SHA256_N%u_W8", (unsigned)lengths[i]);
            return CLI_OK;
        }
    }
    return FAULT(fault, CLI_USAGE, "wish for fewer --years or --slots, or another --verifier",
                 "%" PRIu64 " windows of %" PRIu64 " indices fit no tree that the verifier takes",
                 need->windows, need->window);
}

static json_t *version_sizes(const struct tags *tags, const struct version_need *need)
{
    if (tags->calendar)
        return json_pack("{sI}", "number", (json_int_t)need->sizes[2]);
    if (tags->components == 3)
        return json_pack("{sIsI}", "minor", (json_int_t)need->sizes[1], "patch",
                         (json_int_t)need->sizes[2]);
    if (tags->components == 2)
        return json_pack("{sI}", "minor", (json_int_t)need->sizes[1]);
    return NULL;
}

static json_t *version_assignment(const struct tags *tags, const struct version_need *need,
                                  json_t *slots)
{
    const char *format = tags->calendar          ? "calendar"
                         : tags->components == 3 ? "major.minor.patch"
                         : tags->components == 2 ? "major.minor"
                                                 : "integer";
    json_t *o = json_pack("{ssss}", "kind", "version", "format", format);
    bool ok = o != NULL;
    if (tags->calendar)
        ok = ok &&
             json_object_set_new(o, "start_year", json_integer((json_int_t)tags->year_min)) == 0;
    if (tags->components > 1)
        ok = ok && json_object_set_new(o, "sizes", version_sizes(tags, need)) == 0;
    else
        ok = ok && json_object_set_new(o, "versions_per_window", json_integer(16)) == 0;
    if (json_array_size(slots) > 0)
        ok = ok && json_object_set(o, "slots", slots) == 0;
    ok = ok && json_object_set_new(o, "order",
                                   json_string(tags->components > 1 ? "per-line" : "strict")) == 0;
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static enum cli_exit advise_versions(const struct cli *cli, const struct wish *wish,
                                     const struct tags *tags, struct cli_fault *fault)
{
    char lms[48], ots[48];
    struct version_need need;
    json_t *slots CLEANUP(free_json) = json_array();
    enum cli_exit code = read_slots(wish->slots, slots, fault);
    if (code != CLI_OK)
        return code;
    uint64_t slot_count = json_array_size(slots) > 0 ? json_array_size(slots) : 1;
    need_of_tags(tags, wish, slot_count, &need);
    code = choose_set(&need, wish->verifier, lms, ots, fault);
    if (code != CLI_OK)
        return code;
    json_t *document CLEANUP(free_json) =
        json_pack("{si ss ss ss s[ss] ss so}", "tidemark_plan", 1, "key", wish->key, "profile",
                  "cnsa2", "scheme", "lms", "parameters", lms, ots, "message", "raw", "assignment",
                  version_assignment(tags, &need, slots));
    code = print_advice(document, fault);
    if (code != CLI_OK)
        return code;
    out_talk(&cli->out,
             "read       %" PRIu64 " versions, %zu dates; %" PRIu64 " lines left out\n"
             "windows    %" PRIu64 " are expected to be needed, of %" PRIu64 " indices each\n%s",
             tags->versions, tags->date_count, tags->ignored, need.windows, need.window, next_step);
    return CLI_OK;
}

static enum cli_exit advise_tags(const struct cli *cli, const struct wish *wish, const char *path,
                                 struct cli_fault *fault)
{
    char *text CLEANUP(free_chars) = NULL;
    size_t len = 0;
    enum cli_exit code = input_read(path, "list of tags", TAGS_TEXT_MAX, &text, &len, fault);
    if (code != CLI_OK)
        return code;
    struct tags tags CLEANUP(tags_free) = {0};
    struct err err = {0};
    if (tags_read(&tags, text, len, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "give one version or date a line: git tag");
    if (tags.versions > 0)
        return advise_versions(cli, wish, &tags, fault);
    /* Releases come in bursts, so plan for the busiest window of the past as if it were the mean.
     */
    return advise_time(cli, wish, (double)tags_peak(&tags, wish->window_s), fault);
}

enum cli_exit planadvice_run(struct cli *cli, struct cli_fault *fault)
{
    const char *rate = args_value(&cli->args, "rate"), *tags = args_value(&cli->args, "tags");
    if (rate != NULL && tags != NULL)
        return FAULT(fault, CLI_USAGE, "give one of them", "--rate and --tags are two sources");
    if (rate == NULL && tags == NULL && isatty(STDIN_FILENO) == 1)
        return FAULT(fault, CLI_USAGE,
                     "tidemark plan FILE checks a plan; --rate or --tags have one advised",
                     "plan needs a PLAN, --rate or --tags");
    struct wish wish;
    enum cli_exit code = read_wish(cli, &wish, fault);
    if (code != CLI_OK)
        return code;
    if (rate == NULL)
        return advise_tags(cli, &wish, tags != NULL ? tags : "-", fault);
    if (wish.slots != NULL)
        return FAULT(fault, CLI_USAGE, "give --tags for a version plan", "--slots needs --tags");
    double mean = 0;
    code = read_rate(rate, wish.window_s, &mean, fault);
    return code == CLI_OK ? advise_time(cli, &wish, mean, fault) : code;
}
