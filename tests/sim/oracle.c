#include "sim/oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void oracle_start(struct oracle *o)
{
    memset(o, 0, sizeof(*o));
}

static void broken(struct oracle *o, const char *invariant, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static void broken(struct oracle *o, const char *invariant, const char *format, va_list args)
{
    if (o->broken)
        return;
    o->broken = true;
    (void)snprintf(o->invariant, sizeof(o->invariant), "%s", invariant);
    (void)vsnprintf(o->why, sizeof(o->why), format, args);
}

void oracle_break(struct oracle *o, const char *invariant, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    broken(o, invariant, format, args);
    va_end(args);
}

void oracle_break_key(struct oracle *o, const struct oracle_key *key, const char *invariant,
                      const char *format, ...)
{
    va_list args;
    o->excused |= key->excuses;
    if (key->excuses != 0)
        return;
    va_start(args, format);
    broken(o, invariant, format, args);
    va_end(args);
}

struct oracle_key *oracle_key_by_id(struct oracle *o, const uint8_t key_id[KEY_ID_LEN])
{
    for (size_t i = 0; i < o->key_count; i++)
        if (memcmp(o->keys[i].key_id, key_id, KEY_ID_LEN) == 0)
            return &o->keys[i];
    return NULL;
}

struct oracle_key *oracle_key_by_name(struct oracle *o, const char *name)
{
    for (size_t i = 0; i < o->key_count; i++)
        if (strcmp(o->keys[i].plan.key, name) == 0)
            return &o->keys[i];
    return NULL;
}

void oracle_computed(struct oracle *o, struct oracle_key *key, uint64_t index, const uint8_t *value,
                     size_t len)
{
    if (index >= ORACLE_INDICES) {
        oracle_break(o, "NoReuse", "%s: index %" PRIu64 " is none of the key's", key->plan.key,
                     index);
        return;
    }
    struct oracle_index *at = &key->index[index];
    int64_t window = (int64_t)(index / key->plan.window_size);
    if (window > key->highest_window)
        key->highest_window = window;
    if (at->computed && memcmp(at->value, value, len) != 0) {
        if (key->excuses == 0)
            oracle_break(o, "NoReuse", "%s: index %" PRIu64 " signed two different messages",
                         key->plan.key, index);
        o->excused |= key->excuses;
    }
    at->computed = true;
    memcpy(at->value, value, len);
}

bool oracle_window_open(const struct oracle_key *key, uint64_t window, int64_t now_ns)
{
    int64_t start_s = 0;
    int64_t end_s = 0;
    plan_window_times(&key->plan, window, &start_s, &end_s);
    bool early = (key->early >> window & 1) != 0;
    return (early || now_ns >= start_s * INT64_C(1000000000)) &&
           now_ns < end_s * INT64_C(1000000000);
}
