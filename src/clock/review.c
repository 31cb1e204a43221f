#include "clock/review.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"
#include "base/text.h"

#define LINE_MAX_LEN 1024
#define WORDS_MAX 32
#define TEXT_MAX 240

/* What etc/chrony/tidemark.conf says. */
#define SOURCES_MIN 4
#define MINSOURCES_MIN 3
#define MAXDISTANCE_MAX 0.5
#define MAXCLOCKERROR_MIN 50
#define DRAG_PPM_MAX 1000 /* maxdrift and maxslewrate together */
#define STEPS_MAX 3
#define POLL_MAX 6

struct clk_review {
    unsigned sources, secure, pools, slow;
    bool require, rtcsync, maxchange, makestep_forever, makestep;
    double minsources, maxdistance, maxclockerror, maxdrift, maxslewrate, steps;
    bool local, manual, allow, cmdallow, nocerttimecheck, dhcp;
};

/* Lines ---------------------------------------------------------------------------------------- */

struct words {
    char text[LINE_MAX_LEN + 1];
    char *word[WORDS_MAX];
    size_t count;
};

/* chrony.conf: words separated by blanks; lines that begin with !, ;, # or % are comments. */
static void split(struct words *w, const char *line, size_t len)
{
    w->count = 0;
    if (len > LINE_MAX_LEN)
        len = LINE_MAX_LEN;
    memcpy(w->text, line, len);
    w->text[len] = '\0';
    char *rest = NULL;
    for (char *word = strtok_r(w->text, " \t\r", &rest); word != NULL && w->count < WORDS_MAX;
         word = strtok_r(NULL, " \t\r", &rest)) {
        if (w->count == 0 && strchr("!;#%", word[0]) != NULL)
            return;
        w->word[w->count++] = word;
    }
}

static bool is(const struct words *w, size_t at, const char *word)
{
    return at < w->count && strcasecmp(w->word[at], word) == 0;
}

static bool has(const struct words *w, const char *word)
{
    for (size_t i = 1; i < w->count; i++)
        if (is(w, i, word))
            return true;
    return false;
}

/* [-]digits[.digits], as chrony.conf has them; anything else is not a number. */
static bool parse(const char *text, double *value)
{
    double sign = *text == '-' ? -1 : 1;
    double scale = 1;
    bool point = false;
    size_t digits = 0;
    *value = 0;
    for (text += *text == '-'; *text != '\0'; text++) {
        if (*text == '.' && !point) {
            point = true;
            continue;
        }
        if (!isdigit((unsigned char)*text) || ++digits > 18)
            return false;
        *value = *value * 10 + (*text - '0');
        scale *= point ? 10 : 1;
    }
    *value = sign * *value / scale;
    return digits > 0;
}

/* The number behind word number `at`, or otherwise if there is none that can be read. */
static double number(const struct words *w, size_t at, double otherwise)
{
    double value = 0;
    return at < w->count && parse(w->word[at], &value) ? value : otherwise;
}

static double option(const struct words *w, const char *name, double otherwise)
{
    for (size_t i = 1; i + 1 < w->count; i++)
        if (is(w, i, name))
            return number(w, i + 1, otherwise);
    return otherwise;
}

/* Reading -------------------------------------------------------------------------------------- */

static void take_source(struct clk_review *r, const struct words *w)
{
    r->sources++;
    r->secure += has(w, "nts") || has(w, "key");
    r->pools += is(w, 0, "pool");
    r->slow += option(w, "maxpoll", 10) > POLL_MAX;
}

static const struct {
    const char *name;
    size_t flag;
} flags[] = {
    {"rtcsync", offsetof(struct clk_review, rtcsync)},
    {"local", offsetof(struct clk_review, local)},
    {"manual", offsetof(struct clk_review, manual)},
    {"allow", offsetof(struct clk_review, allow)},
    {"cmdallow", offsetof(struct clk_review, cmdallow)},
    {"nocerttimecheck", offsetof(struct clk_review, nocerttimecheck)},
    {"maxchange", offsetof(struct clk_review, maxchange)},
};

static const struct {
    const char *name;
    size_t value;
} values[] = {
    {"minsources", offsetof(struct clk_review, minsources)},
    {"maxdistance", offsetof(struct clk_review, maxdistance)},
    {"maxclockerror", offsetof(struct clk_review, maxclockerror)},
    {"maxdrift", offsetof(struct clk_review, maxdrift)},
    {"maxslewrate", offsetof(struct clk_review, maxslewrate)},
};

static void take_line(struct clk_review *r, const struct words *w)
{
    if (is(w, 0, "server") || is(w, 0, "pool") || is(w, 0, "peer"))
        take_source(r, w);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (is(w, 0, flags[i].name))
            *(bool *)((char *)r + flags[i].flag) = true;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        double *value = (double *)(void *)((char *)r + values[i].value);
        if (is(w, 0, values[i].name))
            *value = number(w, 1, *value); /* what cannot be read changes nothing */
    }
    if (is(w, 0, "authselectmode"))
        r->require = is(w, 1, "require");
    if (is(w, 0, "makestep")) {
        r->makestep = true;
        r->steps = number(w, 2, 0);
    }
    if (is(w, 0, "sourcedir") && w->count > 1 && strstr(w->word[1], "dhcp") != NULL)
        r->dhcp = true;
}

struct clk_review *clk_review_begin(void)
{
    struct clk_review *r = calloc(1, sizeof(*r));
    /* chronyd's own defaults, which hold where a file is silent. */
    if (r != NULL)
        *r = (struct clk_review){.minsources = 1,
                                 .maxdistance = 3,
                                 .maxclockerror = 1,
                                 .maxdrift = 500000,
                                 .maxslewrate = 83333.333};
    return r;
}

void clk_review_file(struct clk_review *r, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end != NULL ? (size_t)(end - text) - at : len - at;
        struct words w;
        split(&w, text + at, line);
        take_line(r, &w);
        at += line + 1;
    }
}

bool clk_review_includes(const char *line, size_t len, char *pattern, size_t cap)
{
    struct words w;
    split(&w, line, len);
    if (w.count < 2)
        return false;
    const char *suffix = is(&w, 0, "include")     ? ""
                         : is(&w, 0, "confdir")   ? "/*.conf"
                         : is(&w, 0, "sourcedir") ? "/*.sources"
                                                  : NULL;
    if (suffix == NULL)
        return false;
    int got = snprintf(pattern, cap, "%s%s", w.word[1], suffix);
    return got > 0 && (size_t)got < cap;
}

/* Judging -------------------------------------------------------------------------------------- */

struct judge {
    clk_review_say say;
    void *ctx;
};

static void tell(const struct judge *j, bool good, enum clk_review_grade otherwise,
                 const char *format, ...) PRINTF_LIKE(4, 5);
static void tell(const struct judge *j, bool good, enum clk_review_grade otherwise,
                 const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    if (good)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    j->say(j->ctx, otherwise, text);
}

static void judge_sources(const struct clk_review *r, const struct judge *j)
{
    tell(j, r->sources >= SOURCES_MIN, CLK_REVIEW_WEAK,
         "%u sources: name at least %d, of three operators", r->sources, SOURCES_MIN);
    tell(j, r->pools == 0, CLK_REVIEW_WEAK,
         "a pool names servers that nobody chose: use 'server' lines");
    tell(j, r->secure == r->sources, CLK_REVIEW_BAD,
         "%u of %u sources prove nothing: add 'nts' to each 'server' line", r->sources - r->secure,
         r->sources);
    tell(j, r->require, CLK_REVIEW_BAD,
         "sources that prove nothing may be followed: add 'authselectmode require'");
    tell(j, r->minsources >= MINSOURCES_MIN, CLK_REVIEW_BAD,
         "%.0f source alone is followed: add 'minsources %d'", r->minsources, MINSOURCES_MIN);
    tell(j, r->slow == 0, CLK_REVIEW_WEAK,
         "%u sources may be asked less than once in %d s: add 'maxpoll %d'", r->slow, 1 << POLL_MAX,
         POLL_MAX);
    tell(j, !r->dhcp, CLK_REVIEW_BAD,
         "whoever answers DHCP names time servers: remove the 'sourcedir' line for DHCP");
}

static void judge_bounds(const struct clk_review *r, const struct judge *j)
{
    tell(j, r->maxclockerror >= MAXCLOCKERROR_MIN, CLK_REVIEW_BAD,
         "the error bound is an estimate: add 'maxclockerror %d'", MAXCLOCKERROR_MIN);
    tell(j, r->maxdistance <= MAXDISTANCE_MAX, CLK_REVIEW_WEAK,
         "sources as far as %.1f s are followed: add 'maxdistance %.1f'", r->maxdistance,
         MAXDISTANCE_MAX);
    tell(j, r->maxdrift + r->maxslewrate <= DRAG_PPM_MAX, CLK_REVIEW_BAD,
         "sources that lie can drag the clock by %.0f ppm: add 'maxdrift 200' and 'maxslewrate "
         "300'",
         r->maxdrift + r->maxslewrate);
    tell(j, !r->makestep || (r->steps >= 0 && r->steps <= STEPS_MAX), CLK_REVIEW_BAD,
         "the clock may be stepped at any time: write 'makestep 1 %d'", STEPS_MAX);
    tell(j, r->maxchange, CLK_REVIEW_WEAK,
         "any offset is followed: add 'maxchange 1 3 -1', which ignores one over a second");
    tell(j, r->rtcsync, CLK_REVIEW_BAD,
         "the kernel is not told that its clock is synchronised: add 'rtcsync'");
}

static void judge_forbidden(const struct clk_review *r, const struct judge *j)
{
    tell(j, !r->local, CLK_REVIEW_BAD,
         "'local' makes chronyd serve its own clock as if it were right: remove it");
    tell(j, !r->manual, CLK_REVIEW_BAD, "'manual' lets the time be typed in: remove it");
    tell(j, !r->nocerttimecheck, CLK_REVIEW_BAD,
         "'nocerttimecheck' takes expired certificates: remove it");
    tell(j, !r->cmdallow, CLK_REVIEW_BAD, "'cmdallow' lets other hosts send commands: remove it");
    tell(j, !r->allow, CLK_REVIEW_WEAK, "'allow' serves time to others: remove it on a signer");
}

static void count_complaint(void *ctx, enum clk_review_grade grade, const char *text)
{
    (void)grade;
    (void)text;
    ++*(unsigned *)ctx;
}

void clk_review_end(struct clk_review *r, clk_review_say say, void *ctx)
{
    unsigned complaints = 0;
    const struct judge judges[] = {{count_complaint, &complaints}, {say, ctx}};
    for (size_t i = 0; i < 2; i++) {
        judge_sources(r, &judges[i]);
        judge_bounds(r, &judges[i]);
        judge_forbidden(r, &judges[i]);
    }
    if (complaints == 0)
        say(ctx, CLK_REVIEW_GOOD, "keeps all that etc/chrony/tidemark.conf asks for");
    free(r);
}
