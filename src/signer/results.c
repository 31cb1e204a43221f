#include "signer/results.h"

#include <string.h>

static enum view_result result_of(const struct reply *reply)
{
    switch (rc_class((enum rc)reply->rc)) {
    case RC_CLASS_OK:
        return RESULT_REPLAYED;
    case RC_CLASS_REFUSED:
        return RESULT_REFUSED;
    case RC_CLASS_RETRY:
        return RESULT_LATER;
    case RC_CLASS_BURNED:
        return RESULT_BURNED;
    case RC_CLASS_HALT:
        break;
    }
    return RESULT_HALTED;
}

static size_t place_of(const struct results *results, const char *key)
{
    size_t i = 0;
    while (i < results->count && strcmp(results->keys[i].key, key) != 0)
        i++;
    return i;
}

void results_count(struct results *results, const char *key, const struct reply *reply)
{
    size_t i = place_of(results, key);
    bool made = reply->rc == RC_OK && !reply->replayed;
    if (made || reply->rc == RC_REFUSED_NO_KEY || i == SIGNER_KEYS_MAX)
        return;
    if (i == results->count) {
        text_copy(results->keys[i].key, sizeof(results->keys[i].key), key);
        results->count++;
    }
    results->keys[i].counts[result_of(reply)]++;
}

void results_fill(const struct results *results, struct view_meter *meter)
{
    size_t i = place_of(results, meter->key.name);
    if (i < results->count)
        memcpy(meter->results, results->keys[i].counts, sizeof(meter->results));
}
