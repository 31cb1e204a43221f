/*
 * Fuzz target: plan documents, and the texts that a plan gives a meaning to.
 *
 * Lines: the first is a version, the second a slot, and what follows them is the document. Beside
 * not crashing: a plan that is taken has a canonical form which is taken too and is its own
 * canonical form; an index that is given out lies in its window and may sign, and leads back to the
 * version; whatever is refused leaves zeros and says where it is wrong.
 * Run: tests/fuzz/fuzz_plan -max_len=4096 CORPUS tests/fuzz/plan
 */
#include <stdlib.h>
#include <string.h>

#include "base/secmem.h"
#include "policy/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* One line, cut at a size that no version or name has. */
static void take_line(char out[80], const char **text, size_t *len)
{
    const char *end = memchr(*text, '\n', *len);
    size_t line = end == NULL ? *len : (size_t)(end - *text);
    size_t kept = line < 79 ? line : 79;
    memcpy(out, *text, kept);
    out[kept] = '\0';
    line += end == NULL ? 0 : 1;
    *text += line;
    *len -= line;
}

static void try_version(const struct plan *plan, const char *version, const char *slot)
{
    struct plan_place place, again;
    char back[VERSION_LEN_MAX + 1], back_slot[NAME_LEN_MAX + 1], next[VERSION_LEN_MAX + 1];
    uint64_t window = 0;
    if (plan_place_version(plan, version, slot, &place, NULL) == RC_OK) {
        MUST(plan_window_of_index(plan, place.index, &window, NULL) == RC_OK);
        MUST(window == place.window && window < plan->window_count);
        MUST(plan_use_of_index(plan, place.index) == PLAN_USE_ARTIFACT);
        MUST(plan_version_of_index(plan, place.index, back, back_slot, NULL) == RC_OK);
        MUST(strcmp(back, version) == 0);
        MUST(plan_place_version(plan, back, back_slot, &again, NULL) == RC_OK);
        MUST(again.index == place.index && again.rank == place.rank);
    }
    if (plan_next_version(plan, version, next, NULL) == RC_OK)
        MUST(strcmp(next, version) != 0);
    else
        MUST(next[0] == '\0');
}

static void try_windows(const struct plan *plan)
{
    const uint64_t some[] = {0, plan->window_count / 2, plan->window_count - 1};
    for (size_t i = 0; i < 3; i++) {
        char label[64];
        uint64_t window = 0;
        plan_window_label(plan, some[i], label);
        MUST(strlen(label) < sizeof(label));
        MUST(plan_window_of_index(plan, plan_window_first(plan, some[i]), &window, NULL) == RC_OK);
        MUST(window == some[i]);
        if (plan->kind == PLAN_TIME) {
            int64_t start = 0, end = 0;
            plan_window_times(plan, some[i], &start, &end);
            MUST(plan_window_at(plan, start, &window, NULL) == RC_OK && window == some[i]);
            MUST(plan_window_at(plan, end - 1, &window, NULL) == RC_OK && window == some[i]);
        }
    }
}

/* What was taken is taken again in its canonical form, which is its own. */
static void try_canonical(const char *text, size_t len)
{
    struct plan again CLEANUP(plan_free) = {0};
    char *first = NULL, *second = NULL;
    size_t first_len = 0, second_len = 0;
    MUST(plan_canonical(text, len, &first, &first_len, NULL) == RC_OK);
    MUST(plan_canonical(first, first_len, &second, &second_len, NULL) == RC_OK);
    MUST(first_len == second_len && memcmp(first, second, first_len) == 0);
    MUST(plan_parse(&again, first, first_len, NULL, NULL) == RC_OK);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct plan none;
    static bool started;
    struct plan plan CLEANUP(plan_free) = {0};
    struct plan_fault fault;
    struct err err = {0};
    const char *text = (const char *)data;
    char version[80], slot[80];
    if (!started)
        MUST(base_init_public(NULL) == RC_OK);
    started = true;
    take_line(version, &text, &len);
    take_line(slot, &text, &len);
    enum rc rc = plan_parse(&plan, text, len, &fault, &err);
    if (rc != RC_OK) {
        MUST(rc == RC_REFUSED_PLAN && err.rc == rc);
        MUST(fault.path[0] == '$' && fault.what[0] != '\0');
        MUST(memcmp(&plan, &none, sizeof(plan)) == 0);
        return 0;
    }
    MUST(plan.window_count >= 1 && plan.window_usable <= plan.window_size);
    try_windows(&plan);
    try_canonical(text, len);
    if (plan.kind == PLAN_VERSION)
        try_version(&plan, version, slot);
    return 0;
}
