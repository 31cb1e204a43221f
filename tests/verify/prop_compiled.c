/*
 * Properties of compiled plans: what a device reads out of one is what src/policy says, in both
 * directions, for random plans of every kind and format and for random inputs, good and bad.
 *
 * An input is one index, one version with a slot, or one second. Where policy has a place for it,
 * libtidemark-verify must have the same; where policy refuses, it must refuse for the same reason.
 * A damaged plan must be refused; one that was damaged and given a new digest may be read, and must
 * then lead nobody outside it.
 *
 * prop_compiled [-s SEED] [-n COUNT]: COUNT inputs. The seed is printed, and -s repeats a run.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/secmem.h"
#include "cli/compile.h"
#include "lib/plan_text.h"

#define COUNT_DEFAULT UINT64_C(1000000)
#define COUNT_QUICK UINT64_C(100000)
#define INPUTS_PER_PLAN 40
#define TABLE_ENTRIES_MAX 40
#define VERSION_ROOM 200 /* of a version as a user may write it */

static uint64_t rng_state;
static uint64_t seed;
static uint64_t inputs;
static uint64_t plans;
static uint64_t seen[8]; /* inputs by their result, so that a run shows what it met */
static char text[PLAN_TEXT_SIZE];

/* xorshift64*: good enough to choose, and the same everywhere. */
static uint64_t rnd(void)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * UINT64_C(2685821657736338717);
}

static uint64_t below(uint64_t bound)
{
    return (rnd() >> 3) % bound;
}

static bool chance(uint64_t of)
{
    return below(of) == 0;
}

/* 1 … 2^bits, all magnitudes alike. */
static uint64_t magnitude(uint32_t bits)
{
    uint64_t top = UINT64_C(1) << below(bits + 1);
    return chance(3) ? top : 1 + below(top);
}

static _Noreturn void failed(const char *condition, int line)
{
    printf("line %d: %s does not hold\nplan: %s\nrepeat with: -s %" PRIu64 "\n", line, condition,
           text, seed);
    exit(1);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            failed(#condition, __LINE__);                                                          \
    } while (0)

/* --- Random plans ------------------------------------------------------------------------------
 */

static const struct key_set {
    const char *scheme;
    const char *parameters;
    uint32_t height;
    enum tmv_scheme as;
    uint8_t head[12]; /* of the raw public key: numbers in front of root and seed, or I */
    uint8_t head_len;
    uint8_t rest_len;
} key_sets[] = {
    {"lms",
     "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W8'",
     5,
     TMV_HSS,
     {0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 8},
     12,
     40},
    {"lms",
     "'LMS_SHAKE_M32_H10','LMOTS_SHAKE_N32_W1'",
     10,
     TMV_HSS,
     {0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 9},
     12,
     48},
    {"lms",
     "'LMS_SHA256_M32_H25','LMOTS_SHA256_N32_W4'",
     25,
     TMV_HSS,
     {0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 3},
     12,
     48},
    {"hss",
     "'LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H20','LMOTS_SHA256_N32_W8'",
     30,
     TMV_HSS,
     {0, 0, 0, 2, 0, 0, 0, 6, 0, 0, 0, 4},
     12,
     48},
    {"xmss", "'XMSS-SHA2_16_256'", 16, TMV_XMSS, {0, 0, 0, 2}, 4, 64},
    {"xmss", "'XMSS-SHAKE256_20_192'", 20, TMV_XMSS, {0, 0, 0, 0x15}, 4, 48},
    {"xmssmt", "'XMSSMT-SHA2_40/8_256'", 40, TMV_XMSSMT, {0, 0, 0, 5}, 4, 64},
    {"xmssmt", "'XMSSMT-SHA2_60/12_192'", 60, TMV_XMSSMT, {0, 0, 0, 0x28}, 4, 48},
};

static const struct key_set *set;
static struct tmv_key key;

static void random_key(void)
{
    uint8_t raw[TMV_PUBLIC_MAX];
    set = &key_sets[below(sizeof(key_sets) / sizeof(key_sets[0]))];
    memcpy(raw, set->head, set->head_len);
    for (size_t i = 0; i < set->rest_len; i++)
        raw[set->head_len + i] = (uint8_t)rnd();
    size_t len = (size_t)set->head_len + set->rest_len;
    CHECK(tmv_key_read(&key, set->as, raw, len) == TMV_OK);
}

/* A text that grows. */
struct growing {
    char at[PLAN_TEXT_SIZE];
    size_t len;
};

static void add(struct growing *g, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct growing *g, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g->len += (size_t)vsnprintf(g->at + g->len, sizeof(g->at) - g->len, format, args);
    va_end(args);
    MUST(g->len < sizeof(g->at));
}

static void add_block(struct growing *g, bool time)
{
    char start[RFC3339_SIZE];
    char window[DURATION_SIZE];
    add(g, "'kind':'%s','signatures_per_window':%" PRIu64, time ? "time" : "interval",
        1 + magnitude(set->height / 2));
    if (time) {
        rfc3339_print(start, (int64_t)below(chance(8) ? UINT64_C(253402300000) : UINT32_MAX));
        duration_print(window, 600 + (int64_t)below(UINT64_C(1) << below(33)));
        add(g, ",'start':'%s','window':'%s'", start, window);
    }
    if (chance(2))
        add(g, ",'seal':%s", chance(2) ? "true" : "false");
    if (chance(3))
        add(g, ",'windows':%" PRIu64, magnitude(set->height / 2));
}

static void add_slots(struct growing *g)
{
    uint64_t slots = chance(6) ? 1 + below(PLAN_SLOTS_MAX) : below(5);
    if (slots == 0)
        return;
    add(g, ",'slots':[");
    for (uint64_t i = 0; i < slots; i++)
        add(g, "%s's%" PRIu64 "%s'", i == 0 ? "" : ",", i, i % 3 == 0 ? "-longer_name" : "");
    add(g, "]");
}

static void add_entries(struct growing *g)
{
    uint64_t count = 1 + below(TABLE_ENTRIES_MAX);
    add(g, ",'entries':[");
    for (uint64_t i = 0; i < count; i++)
        add(g, "%s'%" PRIu64 ".%" PRIu64 "%s'", i == 0 ? "" : ",", i / 3, i % 3,
            i % 5 == 0 ? "-rc 1" : "");
    add(g, "]");
}

/* Sizes of the levels of a format; the first may be left out. */
static void add_sizes(struct growing *g, const char *first, const char *second, const char *third)
{
    const char *const names[3] = {first, second, third};
    const char *comma = "";
    add(g, ",'sizes':{");
    for (size_t i = 0; i < 3; i++) {
        if (names[i] == NULL || (i == 0 && chance(2)))
            continue;
        add(g, "%s'%s':%" PRIu64, comma, names[i], magnitude(set->height / 3));
        comma = ",";
    }
    add(g, "}");
}

static void add_format(struct growing *g, unsigned format)
{
    static const char *const levels[][3] = {
        {"version"}, {"major", "minor"}, {"major", "minor", "patch"}, {"year", "month", "number"}};
    unsigned components = format < 2 ? format + 1 : 3;
    if (format == 4) {
        add_entries(g);
    } else if (format == 3) {
        add_sizes(g, chance(3) ? "year" : NULL, NULL, "number");
        add(g, ",'start_year':%" PRIu64, 1970 + below(8030));
    } else {
        add_sizes(g, levels[format][0], levels[format][1], levels[format][2]);
    }
    bool flat = format == 0 || format == 4;
    if (flat && chance(2))
        add(g, ",'versions_per_window':%" PRIu64, magnitude(set->height / 2));
    if (!flat && chance(2))
        add(g, ",'window':'%s'", levels[format][below(components)]);
    if (chance(2)) {
        add(g, ",'order':'per-line'");
        if (!flat && chance(2))
            add(g, ",'line':'%s'", levels[format][below(components)]);
    }
}

static void add_versions(struct growing *g)
{
    static const char *const formats[] = {"integer", "major.minor", "major.minor.patch", "calendar",
                                          "table"};
    unsigned format = (unsigned)below(5);
    add(g, "'kind':'version','format':'%s'", formats[format]);
    add_format(g, format);
    add_slots(g);
    if (chance(4))
        add(g, ",'seal':true");
}

/* False if policy refuses the plan, which sizes out of thin air often earn. */
static bool random_plan(struct plan *plan)
{
    static const char *const messages[] = {"raw", "sha256", "sha384", "sha512"};
    static struct growing g;
    g.len = 0;
    random_key();
    add(&g, "{'tidemark_plan':1,'key':'k%" PRIu64 "','profile':'rfc','scheme':'%s',", below(9),
        set->scheme);
    add(&g, "'parameters':[%s],'message':'%s','assignment':{", set->parameters, messages[below(4)]);
    if (chance(3))
        add_block(&g, chance(2));
    else
        add_versions(&g);
    add(&g, "}}");
    plan_text(text, g.at);
    return plan_parse(plan, text, strlen(text), NULL, NULL) == RC_OK;
}

/* --- The same in both ------------------------------------------------------------------------- */

static enum tmv_result as_result(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return TMV_OK;
    case RC_REFUSED_INPUT:
        return TMV_NOT_A_VERSION;
    case RC_REFUSED_OUTSIDE_PLAN:
        return TMV_OUTSIDE_PLAN;
    default:
        failed("policy has another code", (int)rc);
    }
}

static void check_found(const struct tmv_plan *compiled, const struct tmv_place *place,
                        const char *version, const char *slot)
{
    struct tmv_found found = {place->index, set->height};
    struct tmv_place again;
    CHECK(tmv_plan_check_version(compiled, &found, version, slot, &again) == TMV_OK);
    CHECK(memcmp(&again, place, sizeof(again)) == 0);
    CHECK(tmv_plan_check_numbers(compiled, &found, place->numbers, place->slot, NULL) == TMV_OK);
    found.index ^= UINT64_C(1) << below(set->height);
    enum tmv_result other = tmv_plan_check_version(compiled, &found, version, slot, NULL);
    CHECK(other == TMV_OTHER_PLACE || other == TMV_UNUSED_INDEX || other == TMV_SEAL_INDEX);
    CHECK(tmv_plan_check_numbers(compiled, &found, place->numbers, place->slot, NULL) == other);
    found = (struct tmv_found){place->index, set->height + 1};
    CHECK(tmv_plan_check_version(compiled, &found, version, slot, &again) == TMV_UNUSED_INDEX);
}

/* One version and slot, as somebody may write them. */
static void input_version(const struct plan *plan, const struct tmv_plan *compiled,
                          const char *version, const char *slot)
{
    struct plan_place expected;
    struct tmv_place place;
    enum tmv_result result = as_result(plan_place_version(plan, version, slot, &expected, NULL));
    CHECK(tmv_plan_place_version(compiled, version, slot, &place) == result);
    seen[result == TMV_OK ? 0 : result == TMV_OUTSIDE_PLAN ? 1 : 2]++;
    CHECK(place.index == expected.index && place.window == expected.window);
    CHECK(place.line == expected.line && place.mark == expected.rank);
    if (result == TMV_OK)
        check_found(compiled, &place, version, slot);
}

/* A version of the plan, often with a mistake in it. */
static void random_version(const struct plan *plan, char version[VERSION_ROOM])
{
    static const char marks[] = "0123456789..-v x\"";
    char slot[NAME_LEN_MAX + 1];
    uint64_t window = below(plan->window_count);
    uint64_t index = window * plan->window_size + below(plan->window_usable);
    if (plan_version_of_index(plan, index, version, slot, NULL) != RC_OK)
        (void)snprintf(version, VERSION_ROOM, "%" PRIu64, rnd() >> below(64));
    size_t len = strlen(version);
    size_t at = (size_t)below(len);
    switch (below(10)) {
    case 8: /* one less */
        memmove(version + at, version + at + 1, len - at);
        break;
    case 9: /* one more, anywhere */
        memmove(version + at + 1, version + at, len - at + 1);
        version[at] = marks[below(sizeof(marks) - 1)];
        break;
    case 0: /* another character */
        version[at] = marks[below(sizeof(marks) - 1)];
        break;
    case 1: /* one more */
        version[len] = marks[below(sizeof(marks) - 1)];
        version[len + 1] = '\0';
        break;
    case 2: /* cut off */
        version[at] = '\0';
        break;
    case 3: /* many digits, around the limits of 64 bits and of the text */
        for (uint64_t more = 1 + below(70); more > 0; more--)
            version[len++] = (char)('0' + below(10));
        version[len] = '\0';
        break;
    default:
        break;
    }
}

static const char *random_slot(const struct plan *plan, char slot[NAME_LEN_MAX + 2])
{
    if (chance(6))
        return chance(2) ? NULL : "";
    uint64_t i = below(plan->slot_count);
    memcpy(slot, plan->slots[i], NAME_LEN_MAX + 1);
    if (chance(6))
        slot[below(strlen(slot) + 1)] = 'x'; /* another name, or a longer one */
    slot[NAME_LEN_MAX + 1] = '\0';
    return slot;
}

static void check_version_at(const struct plan *plan, const struct tmv_plan *compiled,
                             const struct tmv_place *place)
{
    char version[VERSION_LEN_MAX + 1], slot[NAME_LEN_MAX + 1];
    char version_here[TMV_TEXT_MAX + 1], slot_here[TMV_TEXT_MAX + 1];
    CHECK(plan_version_of_index(plan, place->index, version, slot, NULL) == RC_OK);
    tmv_plan_print(compiled, place, version_here, slot_here);
    CHECK(strcmp(version, version_here) == 0 && strcmp(slot, slot_here) == 0);
    struct tmv_place again;
    CHECK(tmv_plan_place_numbers(compiled, place->numbers, place->slot, &again) == TMV_OK);
    CHECK(memcmp(&again, place, sizeof(again)) == 0);
    input_version(plan, compiled, version, slot);
}

/* One index: what is it for, and whose? */
static void input_index(const struct plan *plan, const struct tmv_plan *compiled, uint64_t index)
{
    struct tmv_place place;
    struct tmv_found found = {index, set->height};
    enum plan_use use = plan_use_of_index(plan, index);
    enum tmv_result result = tmv_plan_place_index(compiled, index, &place);
    CHECK(result == (use == PLAN_USE_ARTIFACT ? TMV_OK
                     : use == PLAN_USE_SEAL   ? TMV_SEAL_INDEX
                                              : TMV_UNUSED_INDEX));
    CHECK(tmv_plan_check_index(compiled, &found, NULL) == result);
    seen[3 + use]++;
    uint64_t window = 0;
    bool inside = plan_window_of_index(plan, index, &window, NULL) == RC_OK;
    if (inside)
        CHECK(tmv_plan_check_window(compiled, &found, window, NULL) == result);
    if (result != TMV_OK) {
        CHECK(place.index == 0 && place.window == 0 && place.mark == 0);
        return;
    }
    CHECK(place.index == index && place.window == window);
    uint64_t other = below(plan->window_count);
    CHECK(tmv_plan_check_window(compiled, &found, other, NULL) ==
          (other == window ? TMV_OK : TMV_OTHER_PLACE));
    CHECK(tmv_plan_check_window(compiled, &found, plan->window_count, NULL) == TMV_OUTSIDE_PLAN);
    if (plan->kind == PLAN_VERSION) {
        check_version_at(plan, compiled, &place);
        return;
    }
    int64_t start = 0, end = 0;
    if (plan->kind == PLAN_TIME)
        plan_window_times(plan, window, &start, &end);
    CHECK(place.mark == window && place.start_s == start && place.end_s == end);
    CHECK(plan->kind == PLAN_TIME ||
          tmv_plan_check_time(compiled, &found, 0, NULL) == TMV_WRONG_KIND);
}

static void input_second(const struct plan *plan, const struct tmv_plan *compiled)
{
    int64_t end = plan->start_s + (int64_t)plan->window_count * plan->window_s;
    int64_t at = plan->start_s + (int64_t)below((uint64_t)(end - plan->start_s));
    switch (below(8)) {
    case 0:
        at = chance(2) ? plan->start_s : plan->start_s - 1;
        break;
    case 1:
        at = chance(2) ? end : end - 1;
        break;
    case 2:
        at = (int64_t)rnd();
        break;
    default:
        break;
    }
    uint64_t expected = 0;
    uint64_t window = 0;
    enum tmv_result result = as_result(plan_window_at(plan, at, &expected, NULL));
    CHECK(tmv_plan_window_at(compiled, at, &window) == result);
    CHECK(window == expected);
    uint64_t index = below(UINT64_C(1) << set->height);
    struct tmv_found found = {index, set->height};
    enum tmv_result claim = tmv_plan_check_time(compiled, &found, at, NULL);
    if (result != TMV_OK)
        CHECK(claim == result);
    else
        CHECK(claim == tmv_plan_check_window(compiled, &found, window, NULL));
}

static void random_input(const struct plan *plan, const struct tmv_plan *compiled)
{
    char version[VERSION_ROOM] = "";
    char slot[NAME_LEN_MAX + 2] = "";
    inputs++;
    if (plan->kind == PLAN_VERSION && chance(2)) {
        random_version(plan, version);
        input_version(plan, compiled, version, random_slot(plan, slot));
        return;
    }
    if (plan->kind == PLAN_TIME && chance(2)) {
        input_second(plan, compiled);
        return;
    }
    /* Around the edges of windows, and of all windows. */
    uint64_t index = below(UINT64_C(1) << set->height);
    if (chance(2))
        index = below(plan->window_count + 1) * plan->window_size - below(3) + 1;
    if (chance(8))
        index = rnd();
    input_index(plan, compiled, index);
}

/* --- Damage ------------------------------------------------------------------------------------
 */

/* Whatever was read: no call may leave the plan's bytes, which a sanitizer watches. */
static void use_up(const struct tmv_plan *compiled)
{
    char version[TMV_TEXT_MAX + 1], slot[TMV_TEXT_MAX + 1];
    struct tmv_place place;
    uint64_t window = 0;
    uint64_t index =
        below(compiled->window_count) * compiled->window_size + below(compiled->window_usable);
    if (tmv_plan_place_index(compiled, index, &place) == TMV_OK) {
        tmv_plan_print(compiled, &place, version, slot);
        struct tmv_found found = {index, compiled->height};
        if (compiled->kind == TMV_PLAN_VERSION)
            seen[7] += tmv_plan_check_version(compiled, &found, version, slot, &place) == TMV_OK;
    }
    seen[7] += tmv_plan_window_at(compiled, place.start_s, &window) == TMV_OK;
}

/* One change, in a buffer of exactly the plan's size: refused; and with a new digest, harmless. */
static void damage(const uint8_t *data, size_t len)
{
    struct tmv_plan read;
    size_t cut = (size_t)below(len);
    uint8_t *copy = malloc(len);
    uint8_t *shorter = malloc(cut > 0 ? cut : 1);
    CHECK(copy != NULL && shorter != NULL);
    memcpy(copy, data, len);
    memcpy(shorter, data, cut);
    CHECK(tmv_plan_open(&read, shorter, cut) == TMV_MALFORMED_PLAN);
    copy[below(len)] ^= (uint8_t)(1 + below(255));
    CHECK(tmv_plan_open(&read, copy, len) == TMV_MALFORMED_PLAN);
    digest_buffer(DIGEST_SHA256, copy + len - SHA256_LEN, copy, len - SHA256_LEN);
    if (tmv_plan_open(&read, copy, len) == TMV_OK)
        use_up(&read);
    free(copy);
    free(shorter);
}

/* --- The whole ---------------------------------------------------------------------------------
 */

static void check_plan(const struct plan *plan)
{
    static uint8_t out[COMPILE_MAX];
    struct tmv_plan compiled;
    size_t len = compile_plan(plan, &key, out);
    uint8_t *data = malloc(len);
    CHECK(data != NULL);
    memcpy(data, out, len);
    CHECK(tmv_plan_open(&compiled, data, len) == TMV_OK);
    CHECK(tmv_plan_check_key(&compiled, &key) == TMV_OK);
    struct tmv_key other = key;
    other.raw[other.raw_len - 1 - below(other.raw_len - 4)] ^= 1;
    CHECK(tmv_plan_check_key(&compiled, &other) == TMV_OTHER_KEY);
    CHECK(memcmp(compiled.plan_sha256, plan->sha256, SHA256_LEN) == 0);
    CHECK((unsigned)compiled.message == (unsigned)plan->message);
    CHECK(compiled.window_count == plan->window_count);
    if (plan->kind == PLAN_VERSION)
        CHECK(compiled.version_count == plan_version_count(plan));
    for (unsigned i = 0; i < INPUTS_PER_PLAN; i++)
        random_input(plan, &compiled);
    damage(data, len);
    free(data);
    plans++;
}

static uint64_t fresh_seed(void)
{
    uint64_t fresh = 0;
    MUST(getrandom(&fresh, sizeof(fresh), 0) == sizeof(fresh));
    return fresh;
}

int main(int argc, char **argv)
{
    const char *quick = getenv("TIDEMARK_QUICK");
    uint64_t count = quick != NULL && strcmp(quick, "1") == 0 ? COUNT_QUICK : COUNT_DEFAULT;
    seed = fresh_seed();
    for (int option; (option = getopt(argc, argv, "s:n:")) != -1;) {
        if (option == '?' || !text_to_u64(option == 's' ? &seed : &count, optarg, UINT64_MAX)) {
            (void)fprintf(stderr, "usage: %s [-s SEED] [-n COUNT]\n", argv[0]);
            return 2;
        }
    }
    MUST(base_init(NULL) == RC_OK);
    rng_state = seed | 1;
    printf("seed %" PRIu64 "\n", seed);
    while (inputs < count) {
        struct plan plan;
        if (!random_plan(&plan))
            continue;
        check_plan(&plan);
        plan_free(&plan);
    }
    printf("%" PRIu64 " plans, %" PRIu64 " inputs; versions: %" PRIu64 " placed, %" PRIu64
           " outside, %" PRIu64 " malformed; indices: %" PRIu64 " of artifacts, %" PRIu64
           " of seals, %" PRIu64 " padding, %" PRIu64 " behind\n",
           plans, inputs, seen[0], seen[1], seen[2], seen[3], seen[4], seen[5], seen[6]);
    for (size_t i = 0; i < 7; i++)
        CHECK(count < COUNT_QUICK || seen[i] > 0);
    return 0;
}
