/*
 * Properties of the map, over random plans and inputs (I4: same input, same index; different input,
 * different index).
 *
 * The model knows versions as tuples of numbers and compares them digit by digit; it knows no mixed
 * radix. What must hold: indices stand in the order of (version, slot) tuples, so different tuples
 * have different indices; two tuples share a window exactly if they share its prefix; the way back
 * is the inverse; windows and leases are disjoint; nothing lies past the key, in padding or on a
 * seal; order and jumps are judged as a list of tuples would be.
 *
 * prop_policy [-s SEED] [-n COUNT]: COUNT cases, a case being one plan and one input. The seed is
 * printed, and -s repeats a run.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/secmem.h"
#include "lib/plan_text.h"

#define COUNT_DEFAULT UINT64_C(1500000)
#define INPUTS_PER_PLAN 24
#define MEMBERS_MAX 16
#define ENUMERATE_MAX 512 /* windows that a naive count walks over */
#define WALK_LINES_MAX 16

static uint64_t rng_state;
static uint64_t seed;
static uint64_t cases;
static uint64_t plans_taken;
static uint64_t plans_refused;
static char text[PLAN_TEXT_SIZE]; /* the plan under test */

/* xorshift64*: good enough to choose, and the same everywhere. */
static uint64_t rnd(void)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * UINT64_C(2685821657736338717);
}

/* 0 … bound - 1 */
static uint64_t below(uint64_t bound)
{
    return (rnd() >> 3) % bound;
}

/* Below a bound, with a liking for the ends. */
static uint64_t edgy(uint64_t bound)
{
    switch (below(4)) {
    case 0:
        return 0;
    case 1:
        return bound - 1;
    default:
        return below(bound);
    }
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

/* --- Model --------------------------------------------------------------------------------------
 */

struct key_set {
    const char *scheme;
    const char *parameters;
    uint32_t height;
};

static const struct key_set key_sets[] = {
    {"lms", "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W8'", 5},
    {"lms", "'LMS_SHAKE_M32_H10','LMOTS_SHAKE_N32_W1'", 10},
    {"lms", "'LMS_SHA256_M32_H15','LMOTS_SHA256_N32_W4'", 15},
    {"lms", "'LMS_SHA256_M24_H25','LMOTS_SHA256_N24_W2'", 25},
    {"xmss", "'XMSS-SHA2_10_192'", 10},
    {"xmss", "'XMSS-SHA2_16_256'", 16},
    {"xmss", "'XMSS-SHAKE256_20_256'", 20},
    {"hss", "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W8','LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W8'",
     10},
    {"hss",
     "'LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H20','LMOTS_SHA256_N32_W8',"
     "'LMS_SHA256_M32_H5','LMOTS_SHA256_N32_W2'",
     35},
    {"xmssmt", "'XMSSMT-SHA2_20/4_256'", 20},
    {"xmssmt", "'XMSSMT-SHAKE256_40/2_192'", 40},
    {"xmssmt", "'XMSSMT-SHA2_60/12_192'", 60},
};

/* Plans as the generator meant them. */
struct model {
    const struct key_set *key;
    enum plan_kind kind;
    enum plan_format format;
    bool per_line;
    bool seal;
    uint32_t components;
    uint64_t sizes[3]; /* [0] is 0 if the plan leaves it out */
    uint64_t year;
    uint32_t window_level;
    uint32_t line_level;
    uint64_t per_window; /* flat formats: versions of a window */
    uint32_t slots;      /* 0: none named */
    uint64_t max_jump;
    uint64_t signatures;
    uint64_t lease;   /* 0: left out */
    uint64_t windows; /* 0: left out */
    int64_t start;
    int64_t window_s;
    uint32_t entry_salt;
};

/* One version as numbers counted from 0, most significant first, and its slot. */
struct tuple {
    uint64_t v[3];
    uint32_t slot;
};

static bool flat(const struct model *m)
{
    return m->format == PLAN_INTEGER || m->format == PLAN_TABLE;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* Compare the first `count` numbers. */
static int compare_prefix(const struct tuple *a, const struct tuple *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (a->v[i] != b->v[i])
            return compare_u64(a->v[i], b->v[i]);
    return 0;
}

static int compare_version(const struct model *m, const struct tuple *a, const struct tuple *b)
{
    return compare_prefix(a, b, m->components);
}

static int compare_window(const struct model *m, const struct tuple *a, const struct tuple *b)
{
    if (flat(m))
        return compare_u64(a->v[0] / m->per_window, b->v[0] / m->per_window);
    return compare_prefix(a, b, m->window_level + 1);
}

static int compare_line(const struct model *m, const struct tuple *a, const struct tuple *b)
{
    if (!m->per_line)
        return 0;
    return flat(m) ? compare_window(m, a, b) : compare_prefix(a, b, m->line_level + 1);
}

static void entry_name(const struct model *m, uint64_t i, char out[VERSION_LEN_MAX + 1])
{
    (void)snprintf(out, VERSION_LEN_MAX + 1, "%" PRIu64 "-e%" PRIu32,
                   (i * 7919 + m->entry_salt) % 100003, m->entry_salt);
}

static void slot_name(const struct model *m, uint32_t i, char out[NAME_LEN_MAX + 1])
{
    out[0] = '\0';
    if (m->slots != 0)
        (void)snprintf(out, NAME_LEN_MAX + 1, "s%" PRIu32, i);
}

static void print_tuple(const struct model *m, const struct tuple *t, char out[VERSION_LEN_MAX + 1])
{
    size_t size = VERSION_LEN_MAX + 1;
    if (m->format == PLAN_TABLE)
        entry_name(m, t->v[0], out);
    else if (m->format == PLAN_CALENDAR)
        (void)snprintf(out, size, "%04" PRIu64 ".%02" PRIu64 ".%" PRIu64, m->year + t->v[0],
                       t->v[1] + 1, t->v[2]);
    else if (m->components == 1)
        (void)snprintf(out, size, "%" PRIu64, t->v[0]);
    else if (m->components == 2)
        (void)snprintf(out, size, "%" PRIu64 ".%" PRIu64, t->v[0], t->v[1]);
    else
        (void)snprintf(out, size, "%" PRIu64 ".%" PRIu64 ".%" PRIu64, t->v[0], t->v[1], t->v[2]);
}

/* Windows that lie between two and that nobody signed in although the numbering went past them:
 * counted one by one. from and to are first versions of small plans' windows. */
static uint64_t skipped_naive(const struct model *m, const struct plan *plan,
                              const struct tuple *from, const struct tuple *to)
{
    if (compare_window(m, from, to) >= 0)
        return 0;
    uint32_t differs = 0;
    while (!flat(m) && from->v[differs] == to->v[differs])
        differs++;
    uint64_t count = 0;
    struct tuple t = {0};
    for (;;) {
        bool between = compare_window(m, from, &t) < 0 && compare_window(m, &t, to) < 0;
        /* What is left of a line that ended does not count. */
        if (between && (flat(m) || compare_prefix(from, &t, differs + 1) != 0))
            count++;
        if (flat(m)) {
            t.v[0] += m->per_window;
            if (t.v[0] >= plan->sizes[0])
                return count;
            continue;
        }
        uint32_t i = m->window_level;
        while (++t.v[i] == plan->sizes[i]) {
            t.v[i] = 0;
            if (i-- == 0)
                return count;
        }
    }
}

/* --- Random plans -------------------------------------------------------------------------------
 */

static const char *const level_names[][3] = {
    [PLAN_INTEGER] = {"version"},
    [PLAN_MAJOR_MINOR] = {"major", "minor"},
    [PLAN_MAJOR_MINOR_PATCH] = {"major", "minor", "patch"},
    [PLAN_CALENDAR] = {"year", "month", "number"},
    [PLAN_TABLE] = {"entry"},
};

/* A number of random magnitude, 1 … 2^bits. */
static uint64_t magnitude(uint32_t bits)
{
    uint64_t top = UINT64_C(1) << below(bits + 1);
    return below(3) == 0 ? top : 1 + below(top);
}

static void random_block(struct model *m)
{
    uint32_t bits = m->key->height < 53 ? m->key->height : 53;
    m->seal = below(2) == 0;
    m->signatures = magnitude(bits);
    if (m->signatures == 1)
        m->signatures += m->seal;
    m->lease = below(3) == 0 ? 0 : 1 + edgy(m->signatures);
    if (m->kind == PLAN_TIME) {
        m->start = (int64_t)below(below(8) == 0 ? UINT64_C(253402300799) : UINT64_C(4000000000));
        m->window_s = 600 + (int64_t)below(UINT64_C(1) << below(32));
    }
    m->windows = below(4) == 0 ? magnitude(bits) : 0;
}

static void random_version(struct model *m)
{
    static const uint32_t components[] = {1, 2, 3, 3, 1};
    uint32_t bits = m->key->height;
    m->format = (enum plan_format)below(5);
    m->components = components[m->format];
    m->per_line = below(2) == 0;
    m->seal = below(4) == 0;
    m->per_window = flat(m) && below(2) == 0 ? magnitude(bits / 2) : 1;
    m->slots = below(2) == 0 ? 0 : 1 + (uint32_t)below(below(4) == 0 ? PLAN_SLOTS_MAX : 5);
    for (uint32_t i = 0; i < m->components; i++)
        m->sizes[i] = i == 0 && below(2) == 0 ? 0 : magnitude(bits / 2);
    m->window_level = (uint32_t)below(m->components);
    m->line_level = (uint32_t)below(m->components);
    m->max_jump = below(3) == 0 ? below(40) : 1;
    if (m->format == PLAN_CALENDAR) {
        m->year = 1970 + below(8030);
        m->sizes[0] = m->sizes[0] == 0 ? 0 : 1 + below(10000 - m->year);
        m->sizes[1] = 12;
    }
    if (m->format == PLAN_TABLE)
        m->sizes[0] = 1 + below(60);
}

static void random_model(struct model *m)
{
    *m = (struct model){0};
    m->key = &key_sets[below(sizeof(key_sets) / sizeof(key_sets[0]))];
    m->kind = below(4) == 0 ? PLAN_INTERVAL : below(3) == 0 ? PLAN_TIME : PLAN_VERSION;
    m->entry_salt = (uint32_t)below(1000);
    if (m->kind == PLAN_VERSION)
        random_version(m);
    else
        random_block(m);
}

/* Members of an object, to be written in random order. */
struct members {
    char member[MEMBERS_MAX][4096];
    size_t count;
};

static void add(struct members *members, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct members *members, const char *format, ...)
{
    MUST(members->count < MEMBERS_MAX);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(members->member[members->count++], sizeof(members->member[0]), format, args);
    va_end(args);
}

static void write_object(struct members *members, char *out, size_t size)
{
    static const char *const blanks[] = {"", "", " ", "\n\t"};
    size_t used = (size_t)snprintf(out, size, "{");
    for (size_t left = members->count; left > 0; left--) {
        size_t i = (size_t)below(left);
        used += (size_t)snprintf(out + used, size - used, "%s%s%s", blanks[below(4)],
                                 members->member[i], left > 1 ? "," : "");
        MUST(used < size);
        memmove(members->member[i], members->member[left - 1], sizeof(members->member[0]));
    }
    (void)snprintf(out + used, size - used, "%s}", blanks[below(4)]);
}

static void list(char *out, size_t size, const struct model *m, uint64_t count, bool entries)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint64_t i = 0; i < count; i++) {
        char name[VERSION_LEN_MAX + 1];
        if (entries)
            entry_name(m, i, name);
        else
            slot_name(m, (uint32_t)i, name);
        used += (size_t)snprintf(out + used, size - used, "%s'%s'", i == 0 ? "" : ",", name);
    }
    (void)snprintf(out + used, size - used, "]");
}

static void write_sizes(const struct model *m, struct members *into)
{
    static struct members sizes;
    char object[512];
    sizes.count = 0;
    for (uint32_t i = 0; i < m->components; i++)
        if (m->sizes[i] != 0 && !(m->format == PLAN_CALENDAR && i == 1))
            add(&sizes, "'%s':%" PRIu64, level_names[m->format][i], m->sizes[i]);
    write_object(&sizes, object, sizeof(object));
    add(into, "'sizes':%s", object);
}

static void write_version(const struct model *m, struct members *a)
{
    char array[2048];
    add(a, "'format':'%s'", plan_format_name(m->format));
    if (m->format == PLAN_TABLE) {
        list(array, sizeof(array), m, m->sizes[0], true);
        add(a, "'entries':%s", array);
    } else {
        write_sizes(m, a);
    }
    if (m->format == PLAN_CALENDAR)
        add(a, "'start_year':%" PRIu64, m->year);
    if (flat(m))
        add(a, "'versions_per_window':%" PRIu64, m->per_window);
    else
        add(a, "'window':'%s'", level_names[m->format][m->window_level]);
    if (m->slots != 0) {
        list(array, sizeof(array), m, m->slots, false);
        add(a, "'slots':%s", array);
    }
    add(a, "'order':'%s'", m->per_line ? "per-line" : "strict");
    if (m->per_line && !flat(m))
        add(a, "'line':'%s'", level_names[m->format][m->line_level]);
    if (m->max_jump != 1)
        add(a, "'max_jump':%" PRIu64, m->max_jump);
    add(a, "'seal':%s", m->seal ? "true" : "false");
}

static void write_block(const struct model *m, struct members *a)
{
    char start[RFC3339_SIZE];
    char window[DURATION_SIZE];
    if (m->kind == PLAN_TIME) {
        rfc3339_print(start, m->start);
        duration_print(window, m->window_s);
        add(a, "'start':'%s'", start);
        add(a, "'window':'%s'", window);
    }
    add(a, "'signatures_per_window':%" PRIu64, m->signatures);
    if (m->lease != 0)
        add(a, "'lease_size':%" PRIu64, m->lease);
    if (m->windows != 0)
        add(a, "'windows':%" PRIu64, m->windows);
    if (m->seal != (m->kind == PLAN_TIME))
        add(a, "'seal':%s", m->seal ? "true" : "false");
}

static void write_plan(const struct model *m, char out[PLAN_TEXT_SIZE])
{
    static struct members a;
    static struct members root;
    static char object[4000];
    static char quoted[PLAN_TEXT_SIZE];
    a.count = 0;
    root.count = 0;
    add(&a, "'kind':'%s'", plan_kind_name(m->kind));
    if (m->kind == PLAN_VERSION)
        write_version(m, &a);
    else
        write_block(m, &a);
    write_object(&a, object, sizeof(object));
    add(&root, "'tidemark_plan':1");
    add(&root, "'key':'k'");
    add(&root, "'profile':'sp800-208'");
    add(&root, "'scheme':'%s'", m->key->scheme);
    add(&root, "'parameters':[%s]", m->key->parameters);
    add(&root, "'assignment':%s", object);
    write_object(&root, quoted, sizeof(quoted));
    plan_text(out, quoted);
}

/* --- Does it fit? -------------------------------------------------------------------------------
 */

typedef unsigned __int128 wide;

static wide window_positions(const struct model *m)
{
    wide n = m->signatures;
    if (m->kind == PLAN_VERSION) {
        n = m->per_window * (wide)(m->slots != 0 ? m->slots : 1);
        for (uint32_t i = m->window_level + 1; i < m->components; i++)
            n *= m->sizes[i];
        n += m->seal;
    }
    return n;
}

/* Windows that the plan wants at the least. */
static wide windows_wanted(const struct model *m)
{
    if (m->kind != PLAN_VERSION)
        return m->windows != 0 ? m->windows : 1;
    wide n = m->sizes[0] != 0 ? m->sizes[0] : 1;
    if (flat(m))
        return (n + m->per_window - 1) / m->per_window;
    for (uint32_t i = 1; i <= m->window_level; i++)
        n *= m->sizes[i];
    return n;
}

static bool fits(const struct model *m)
{
    wide capacity = (wide)1 << m->key->height;
    wide size = 1;
    while (size < window_positions(m))
        size *= 2;
    if (size > capacity || windows_wanted(m) > capacity / size)
        return false;
    if (m->kind == PLAN_TIME &&
        m->start + (__int128)windows_wanted(m) * m->window_s > RFC3339_S_MAX)
        return false;
    return true;
}

/* --- Properties of a plan -----------------------------------------------------------------------
 */

static void check_shape(const struct model *m, const struct plan *plan)
{
    wide capacity = (wide)1 << m->key->height;
    CHECK(plan->height == m->key->height);
    CHECK((plan->window_size & (plan->window_size - 1)) == 0);
    CHECK(plan->window_count >= 1);
    CHECK((wide)plan->window_count * plan->window_size <= capacity);
    CHECK(plan->seal == m->seal);
    CHECK(window_positions(m) <= plan->window_size);
    CHECK(window_positions(m) >
          plan->window_size / 2); /* the padding is no larger than it must be */
    CHECK(plan->window_usable == window_positions(m) - m->seal);
    /* As many windows as there can be, unless the plan asks for fewer. */
    wide more = plan->window_count + (wide)1;
    if (m->kind == PLAN_VERSION) {
        CHECK(plan->window_count >= windows_wanted(m));
        wide per_first = windows_wanted(m) / (m->sizes[0] != 0 ? m->sizes[0] : 1);
        more = plan->window_count + (flat(m) ? 1 : per_first);
        if (m->sizes[0] != 0) {
            CHECK(plan->window_count == windows_wanted(m));
            return;
        }
        if (m->format == PLAN_CALENDAR && m->year + plan->sizes[0] == 10000)
            return;
    } else if (m->windows != 0) {
        CHECK(plan->window_count == m->windows);
        return;
    } else if (m->kind == PLAN_TIME && m->start + (__int128)more * m->window_s > RFC3339_S_MAX) {
        return;
    }
    CHECK(more * plan->window_size > capacity);
}

/* The same plan in another order of members, and in canonical form, is the same plan. */
static void check_round_trip(const struct model *m, const struct plan *plan)
{
    static char other[PLAN_TEXT_SIZE];
    struct plan again;
    char *canonical = NULL;
    char *twice = NULL;
    size_t len = 0;
    size_t twice_len = 0;
    write_plan(m, other);
    CHECK(plan_canonical(other, strlen(other), &canonical, &len, NULL) == RC_OK);
    CHECK(plan_canonical(canonical, len, &twice, &twice_len, NULL) == RC_OK);
    CHECK(len == twice_len && strlen(canonical) == len && strcmp(canonical, twice) == 0);
    CHECK(plan_parse(&again, canonical, len, NULL, NULL) == RC_OK);
    size_t table_size = plan->table_count * sizeof(*plan->table);
    CHECK(table_size == 0 || memcmp(plan->table, again.table, table_size) == 0);
    struct plan copy = *plan;
    copy.table = again.table;
    CHECK(memcmp(&copy, &again, sizeof(copy)) == 0);
    plan_free(&again);
    free(canonical);
    free(twice);
}

static void check_index_outside(const struct plan *plan, uint64_t index)
{
    uint64_t window = 0;
    CHECK(plan_window_of_index(plan, index, &window, NULL) == RC_REFUSED_RANGE);
    CHECK(plan_use_of_index(plan, index) == PLAN_USE_NONE);
}

/* Any index of the key: in which window, and for what. */
static void check_any_index(const struct model *m, const struct plan *plan)
{
    uint64_t index = edgy(UINT64_C(1) << m->key->height);
    uint64_t end = plan->window_count * plan->window_size;
    uint64_t window = 0;
    char version[VERSION_LEN_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    enum plan_use use = plan_use_of_index(plan, index);
    check_index_outside(plan, end);
    check_index_outside(plan, end + below(UINT64_MAX - end));
    CHECK((plan_window_of_index(plan, index, &window, NULL) == RC_OK) == (index < end));
    CHECK((use == PLAN_USE_NONE) == (index >= end));
    if (m->kind == PLAN_VERSION)
        CHECK((plan_version_of_index(plan, index, version, slot, NULL) == RC_OK) ==
              (use == PLAN_USE_ARTIFACT));
    if (index >= end)
        return;
    uint64_t first = plan_window_first(plan, window);
    CHECK(first <= index && index - first < plan->window_size);
    CHECK(first % plan->window_size == 0);
    if (use == PLAN_USE_ARTIFACT)
        CHECK(index - first < plan->window_usable);
    CHECK((use == PLAN_USE_SEAL) == (m->seal && index == plan_seal_index(plan, window)));
}

/* --- Properties of time and interval plans ------------------------------------------------------
 */

static void check_second(const struct model *m, const struct plan *plan)
{
    uint64_t window = edgy(plan->window_count);
    uint64_t got = 0;
    int64_t from = 0;
    int64_t to = 0;
    plan_window_times(plan, window, &from, &to);
    CHECK(to - from == m->window_s && to <= RFC3339_S_MAX);
    CHECK(plan_window_at(plan, from, &got, NULL) == RC_OK && got == window);
    CHECK(plan_window_at(plan, to - 1, &got, NULL) == RC_OK && got == window);
    CHECK(plan_window_at(plan, from + (int64_t)below((uint64_t)m->window_s), &got, NULL) == RC_OK &&
          got == window);
    enum rc before = plan_window_at(plan, from - 1, &got, NULL);
    CHECK(window == 0 ? before == RC_REFUSED_OUTSIDE_PLAN && got == 0
                      : before == RC_OK && got == window - 1);
    enum rc after = plan_window_at(plan, to, &got, NULL);
    CHECK(window + 1 == plan->window_count ? after == RC_REFUSED_OUTSIDE_PLAN && got == 0
                                           : after == RC_OK && got == window + 1);
    if (window == 0)
        CHECK(from == m->start);
}

static void check_lease_at(const struct plan *plan, uint64_t window, uint64_t k, uint64_t *first,
                           uint64_t *count)
{
    CHECK(plan_lease(plan, window, k, first, count, NULL) == RC_OK);
    CHECK(*count >= 1 && *count <= plan->lease_size);
    CHECK(*first >= plan_window_first(plan, window));
    CHECK(*first + *count <= plan_window_first(plan, window) + plan->window_usable);
    CHECK(plan_use_of_index(plan, *first) == PLAN_USE_ARTIFACT);
    CHECK(plan_use_of_index(plan, *first + *count - 1) == PLAN_USE_ARTIFACT);
}

/* Two leases are the same or disjoint, and together all leases are all of the window. */
static void check_leases(const struct plan *plan)
{
    uint64_t leases = plan_leases_per_window(plan);
    uint64_t w[2] = {edgy(plan->window_count), edgy(plan->window_count)};
    uint64_t k[2] = {edgy(leases), edgy(leases)};
    uint64_t first[2] = {0};
    uint64_t count[2] = {0};
    for (int i = 0; i < 2; i++)
        check_lease_at(plan, w[i], k[i], &first[i], &count[i]);
    bool same = w[0] == w[1] && k[0] == k[1];
    bool disjoint = first[0] + count[0] <= first[1] || first[1] + count[1] <= first[0];
    CHECK(same != disjoint);
    CHECK(k[0] != 0 || first[0] == plan_window_first(plan, w[0]));
    if (k[0] + 1 < leases) {
        check_lease_at(plan, w[0], k[0] + 1, &first[1], &count[1]);
        CHECK(first[0] + count[0] == first[1] && count[0] == plan->lease_size);
    } else {
        CHECK(first[0] + count[0] == plan_window_first(plan, w[0]) + plan->window_usable);
    }
    uint64_t over = leases + edgy(UINT64_MAX - leases);
    CHECK(plan_lease(plan, w[0], over, &first[0], &count[0], NULL) == RC_RETRY_WINDOW_FULL);
    CHECK(first[0] == 0 && count[0] == 0);
}

/* --- Properties of version plans ----------------------------------------------------------------
 */

static void random_tuple(const struct model *m, const struct plan *plan, struct tuple *t)
{
    *t = (struct tuple){0};
    for (uint32_t i = 0; i < m->components; i++)
        t->v[i] = edgy(plan->sizes[i]);
    t->slot = m->slots != 0 ? (uint32_t)edgy(m->slots) : 0;
}

/* Like another one in some leading numbers, so that windows and lines are met again. */
static void random_near(const struct model *m, const struct plan *plan, const struct tuple *near,
                        struct tuple *t)
{
    random_tuple(m, plan, t);
    uint32_t same = (uint32_t)below(m->components + 1);
    for (uint32_t i = 0; i < same; i++)
        t->v[i] = near->v[i];
    if (same < m->components && below(2) == 0) {
        uint64_t next = near->v[same] + below(4);
        t->v[same] = next < plan->sizes[same] ? next : plan->sizes[same] - 1;
    }
}

/* Place it, and come back from there. */
static void place(const struct model *m, const struct plan *plan, const struct tuple *t,
                  struct plan_place *out)
{
    char version[VERSION_LEN_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    char back[VERSION_LEN_MAX + 1];
    char back_slot[NAME_LEN_MAX + 1];
    uint64_t window = 0;
    print_tuple(m, t, version);
    slot_name(m, t->slot, slot);
    CHECK(plan_place_version(plan, version, slot, out, NULL) == RC_OK);
    CHECK(plan_version_of_index(plan, out->index, back, back_slot, NULL) == RC_OK);
    CHECK(strcmp(version, back) == 0 && strcmp(slot, back_slot) == 0);
    CHECK(plan_window_of_index(plan, out->index, &window, NULL) == RC_OK && window == out->window);
    CHECK(plan_use_of_index(plan, out->index) == PLAN_USE_ARTIFACT);
    CHECK(out->index - plan_window_first(plan, out->window) < plan->window_usable);
    CHECK(out->rank < plan_version_count(plan));
}

static void check_pair(const struct model *m, const struct plan *plan)
{
    struct tuple a;
    struct tuple b;
    struct plan_place at_a;
    struct plan_place at_b;
    random_tuple(m, plan, &a);
    random_near(m, plan, &a, &b);
    place(m, plan, &a, &at_a);
    place(m, plan, &b, &at_b);
    int versions = compare_version(m, &a, &b);
    int tuples = versions != 0 ? versions : compare_u64(a.slot, b.slot);
    CHECK(compare_u64(at_a.index, at_b.index) == tuples);
    CHECK(compare_u64(at_a.rank, at_b.rank) == versions);
    CHECK(compare_u64(at_a.window, at_b.window) == compare_window(m, &a, &b));
    CHECK(compare_u64(at_a.line, at_b.line) == compare_line(m, &a, &b));
    if (versions == 0)
        CHECK(at_a.index - a.slot == at_b.index - b.slot); /* slots of a version are neighbours */
}

static void check_version_outside(const struct model *m, const struct plan *plan)
{
    struct tuple t;
    struct plan_place at;
    char version[VERSION_LEN_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    random_tuple(m, plan, &t);
    slot_name(m, t.slot, slot);
    uint32_t i = (uint32_t)below(m->components);
    t.v[i] = plan->sizes[i] + edgy(1000);
    print_tuple(m, &t, version);
    enum rc rc = plan_place_version(plan, version, slot, &at, NULL);
    bool month = m->format == PLAN_CALENDAR && i == 1; /* no plan has a thirteenth */
    CHECK(rc == (month ? RC_REFUSED_INPUT : RC_REFUSED_OUTSIDE_PLAN));
    CHECK(at.index == 0 && at.window == 0 && at.rank == 0 && at.line == 0);
}

static void check_next(const struct model *m, const struct plan *plan)
{
    struct tuple t;
    char version[VERSION_LEN_MAX + 1];
    char next[VERSION_LEN_MAX + 1];
    char want[VERSION_LEN_MAX + 1] = "";
    random_tuple(m, plan, &t);
    print_tuple(m, &t, version);
    struct tuple n = t;
    uint32_t i = m->components - 1;
    while (++n.v[i] >= plan->sizes[i] && i > 0)
        n.v[i--] = 0;
    bool exists = n.v[0] < plan->sizes[0] && compare_line(m, &t, &n) == 0;
    if (exists)
        print_tuple(m, &n, want);
    CHECK(plan_next_version(plan, version, next, NULL) ==
          (exists ? RC_OK : RC_REFUSED_OUTSIDE_PLAN));
    CHECK(strcmp(next, want) == 0);
}

/* Releases in random order against a list of the highest version of each line. */
static void check_walk(const struct model *m, const struct plan *plan, uint32_t steps)
{
    static struct {
        struct tuple highest;
        struct plan_marks marks;
    } lines[WALK_LINES_MAX];
    size_t count = 0;
    struct tuple t;
    random_tuple(m, plan, &t);
    for (uint32_t step = 0; step < steps; step++) {
        struct plan_place at;
        struct tuple near = t;
        random_near(m, plan, &near, &t);
        place(m, plan, &t, &at);
        size_t i = 0;
        while (i < count && compare_line(m, &lines[i].highest, &t) != 0)
            i++;
        if (i == WALK_LINES_MAX)
            return;
        bool first = i == count;
        struct plan_marks marks = first ? (struct plan_marks){-1, -1} : lines[i].marks;
        bool approved = below(8) == 0;
        enum rc want = RC_OK;
        if (!first && compare_version(m, &t, &lines[i].highest) < 0)
            want = RC_REFUSED_BELOW_FLOOR;
        else if (!first && !approved && skipped_naive(m, plan, &lines[i].highest, &t) > m->max_jump)
            want = RC_REFUSED_JUMP;
        int64_t approval = approved ? (int64_t)at.window : -1;
        CHECK(plan_order_check(plan, &at, &marks, approval, NULL) == want);
        if (want != RC_OK)
            continue;
        count += first;
        lines[i].highest = t;
        lines[i].marks = (struct plan_marks){(int64_t)at.rank, (int64_t)at.window};
    }
}

/* All versions of a small plan, in order, fill the places one after the other. */
static void check_all(const struct model *m, const struct plan *plan)
{
    struct tuple t = {0};
    int64_t last = -1;
    uint64_t rank = 0;
    for (;;) {
        struct plan_place at;
        for (t.slot = 0; t.slot == 0 || t.slot < m->slots; t.slot++) {
            place(m, plan, &t, &at);
            CHECK((int64_t)at.index > last);
            CHECK(at.rank == rank);
            last = (int64_t)at.index;
            cases++;
        }
        rank++;
        uint32_t i = m->components - 1;
        while (++t.v[i] == plan->sizes[i] && i > 0)
            t.v[i--] = 0;
        if (t.v[0] == plan->sizes[0])
            break;
    }
    CHECK(rank == plan_version_count(plan));
}

/* --- Run ----------------------------------------------------------------------------------------
 */

static void check_inputs(const struct model *m, const struct plan *plan)
{
    for (uint32_t i = 0; i < INPUTS_PER_PLAN; i++, cases++) {
        check_any_index(m, plan);
        if (m->kind == PLAN_VERSION)
            check_pair(m, plan);
        else
            check_leases(plan);
        if (m->kind == PLAN_TIME)
            check_second(m, plan);
    }
    if (m->kind != PLAN_VERSION)
        return;
    for (uint32_t i = 0; i < 4; i++, cases += 2) {
        check_version_outside(m, plan);
        check_next(m, plan);
    }
    if (plan->window_count <= ENUMERATE_MAX) {
        check_walk(m, plan, 16);
        cases += 16;
    }
    if (plan_version_count(plan) * plan->slot_count <= 64)
        check_all(m, plan);
}

static void run_plan(void)
{
    struct model m;
    struct plan plan;
    struct plan_fault fault;
    struct err err = {0};
    random_model(&m);
    write_plan(&m, text);
    enum rc rc = plan_parse(&plan, text, strlen(text), &fault, &err);
    CHECK(rc == (fits(&m) ? RC_OK : RC_REFUSED_PLAN));
    cases++;
    if (rc != RC_OK) {
        plans_refused++;
        CHECK(strncmp(fault.path, "$.assignment", 12) == 0 && fault.what[0] != '\0');
        return;
    }
    plans_taken++;
    check_shape(&m, &plan);
    check_round_trip(&m, &plan);
    check_inputs(&m, &plan);
    plan_free(&plan);
}

static bool options(int argc, char **argv, uint64_t *count)
{
    int option = 0;
    while ((option = getopt(argc, argv, "s:n:")) != -1) {
        uint64_t *into = option == 's' ? &seed : option == 'n' ? count : NULL;
        if (into == NULL || !text_to_u64(into, optarg, UINT64_MAX))
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    uint64_t count = COUNT_DEFAULT;
    if (base_init(NULL) != RC_OK || getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return 99;
    if (!options(argc, argv, &count)) {
        fprintf(stderr, "usage: prop_policy [-s SEED] [-n COUNT]\n");
        return 2;
    }
    printf("prop_policy: seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    rng_state = seed != 0 ? seed : 1;
    while (cases < count)
        run_plan();
    printf("%" PRIu64 " cases, %" PRIu64 " plans taken, %" PRIu64 " refused\n", cases, plans_taken,
           plans_refused);
    return 0;
}
