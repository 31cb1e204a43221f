#include "signer/wear.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "policy/wear.h"

#define WARNING "tpm-wear"

_Static_assert(WEAR_UNKNOWN == REQUEST_NONE, "an unknown number is handed on as it is");

/* How far a counter has come, the increment that made it readable included. */
static uint64_t increments(uint64_t now, uint64_t first)
{
    return now >= first ? now - first + 1 : 1;
}

void wear_view(const struct key *key, uint64_t endurance, int64_t now_s, struct view_wear *wear)
{
    const struct anchor_pins *pins = &key->record.pins;
    *wear = (struct view_wear){.per_year = REQUEST_NONE, .year = REQUEST_NONE};
    /* Counters that were never read are zero, which no counter is. */
    if (key->w == 0 || key->l == 0)
        return;
    struct wear_used used = {.w = increments(key->w, pins->w_first),
                             .l = increments(key->l, pins->l_first),
                             .a = key_writes_of_a(key)};
    struct wear_outlook outlook;
    wear->endurance = endurance != 0 ? endurance : WEAR_ENDURANCE_DEFAULT;
    wear_project(&used, wear->endurance, key->record.provisioned_s, now_s, &outlook);
    wear->known = 1;
    wear->w = used.w;
    wear->l = used.l;
    wear->a = used.a;
    wear->percent = outlook.percent;
    wear->per_year = outlook.per_year;
    wear->year = outlook.year;
}

void wear_remember(struct key *key, struct ledger *ledger)
{
    int64_t smallest = 0;
    int64_t largest = 0;
    struct err none = {0};
    if (ledger_note_range(ledger, key->record.id, LEDGER_WARNING, WARNING, &smallest, &largest,
                          &none) == RC_OK &&
        largest > 0 && largest <= 100)
        key->wear_warned = (uint32_t)largest;
}

static void describe(char *text, size_t size, const struct view_wear *wear)
{
    int n = snprintf(text, size,
                     "%" PRIu32 " %% of the %" PRIu64
                     " writes that an NV index of the TPM is configured to stand are used",
                     wear->percent, wear->endurance);
    if (wear->year != REQUEST_NONE && n > 0 && (size_t)n < size)
        (void)snprintf(text + n, size - (size_t)n, "; at this rate all of them in %" PRId64,
                       wear->year);
}

static enum rc record(const struct key *key, struct ledger *ledger, uint32_t threshold,
                      const char *text, int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(ledger, key->record.id, LEDGER_WARNING, WARNING, text, threshold, now_s,
                         err);
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc;
}

enum rc wear_warn(struct key *key, struct ledger *ledger, uint64_t endurance, int64_t now_s,
                  struct err *err)
{
    struct view_wear wear;
    wear_view(key, endurance, now_s, &wear);
    uint32_t threshold = wear_threshold(wear.percent);
    if (key->rc != RC_OK || threshold <= key->wear_warned)
        return RC_OK;
    char text[200];
    describe(text, sizeof(text), &wear);
    log_event(LOG_LEVEL_WARNING, &(struct log_fields){.key = key->record.name, .index = -1},
              "TPM wear: %s", text);
    enum rc rc = record(key, ledger, threshold, text, now_s, err);
    if (rc == RC_OK)
        key->wear_warned = threshold;
    return rc;
}
