/*
 * answer: what the service said, as results and faults. The second half of client.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/client.h"

void member_text(const json_t *object, const char *name, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(object, name));
    out_clean(text, size, value != NULL ? value : "");
}

bool member_u64(const json_t *object, const char *name, uint64_t *value)
{
    *value = 0;
    const json_t *member = json_object_get(object, name);
    if (json_is_string(member))
        return text_to_u64(value, json_string_value(member), UINT64_MAX);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return false;
    *value = (uint64_t)json_integer_value(member);
    return true;
}

uint64_t member_count(const json_t *object, const char *name)
{
    uint64_t value = 0;
    return member_u64(object, name, &value) ? value : 0;
}

bool member_time(const json_t *object, const char *name, int64_t *seconds)
{
    *seconds = 0;
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && rfc3339_parse(seconds, text);
}

static enum cli_exit lacks(const char *name, const char *what, struct cli_fault *fault)
{
    return FAULT(fault, CLI_INTERNAL, "compare tidemark --version with the service's",
                 "the service's answer has no %s \"%s\"", what, name);
}

enum cli_exit member_need_u64(const json_t *object, const char *name, uint64_t *value,
                              struct cli_fault *fault)
{
    return member_u64(object, name, value) ? CLI_OK : lacks(name, "number", fault);
}

enum cli_exit member_need_array(const json_t *object, const char *name, json_t **array,
                                struct cli_fault *fault)
{
    *array = json_object_get(object, name);
    return json_is_array(*array) ? CLI_OK : lacks(name, "list", fault);
}

enum cli_exit json_print(const json_t *value, struct cli_fault *fault)
{
    if (value != NULL && json_dumpf(value, stdout, JSON_INDENT(2)) == 0 && printf("\n") > 0)
        return CLI_OK;
    return FAULT(fault, CLI_INTERNAL, "check where standard output goes, and repeat",
                 "the result could not be printed");
}

/* "; try again at 2026-12-13 00:00 UTC (in 3 d 14 h)", or as much of it as is known. */
static void print_when(char *text, size_t size, const struct answer *answer, int64_t now_s)
{
    int64_t opens = 0;
    char when[OUT_SHORT], span[OUT_SHORT];
    bool has_opens = member_time(answer->json, "opens", &opens);
    int64_t wait = answer->retry_after_s;
    if (wait < 0 && has_opens && now_s >= 0)
        wait = opens - now_s;
    if (!has_opens && wait >= 0 && now_s >= 0)
        opens = now_s + wait;
    text[0] = '\0';
    if (opens > 0) {
        out_time(when, opens);
        (void)snprintf(text, size, "; try again at %s", when);
    }
    size_t used = strlen(text);
    out_span(span, wait);
    if (wait >= 0)
        (void)snprintf(text + used, size - used, opens > 0 ? " (in %s)" : "; try again in %s",
                       span);
}

enum cli_exit answer_check(const struct answer *answer, int64_t now_s, struct cli_fault *fault)
{
    if (answer->status >= 200 && answer->status < 300)
        return CLI_OK;
    char type[80], detail[360], title[120], action[400], when[120] = "", after[120] = "";
    member_text(answer->json, "type", type, sizeof(type));
    member_text(answer->json, "detail", detail, sizeof(detail));
    member_text(answer->json, "title", title, sizeof(title));
    member_text(answer->json, "action", action, sizeof(action));
    const struct cli_problem *problem =
        cli_problem_find(type, answer->status, answer->retry_after_s >= 0);
    if (problem->exit == CLI_LATER)
        print_when(when, sizeof(when), answer, now_s);
    char version[80];
    member_text(answer->json, "next_version", version, sizeof(version));
    if (version[0] != '\0')
        (void)snprintf(after, sizeof(after), "; next free version: %s", version);
    const char *what = detail[0] != '\0' ? detail : title;
    const char *name = strrchr(type, '/');
    if (fault->exit == CLI_OK && name != NULL)
        (void)snprintf(fault->problem, sizeof(fault->problem), "%.47s", name + 1);
    /* Of a problem that is new to us, the service alone knows what to do. */
    bool known = cli_problem_is(problem, type);
    const char *next = known || action[0] == '\0' ? problem->next : action;
    if (what[0] == '\0')
        return FAULT(fault, problem->exit, next, "the service answered %ld without saying why%s",
                     answer->status, when);
    return FAULT(fault, problem->exit, next, "%s%s%s%s",
                 problem->exit == CLI_REFUSED ? "refused: " : "", what, when, after);
}
