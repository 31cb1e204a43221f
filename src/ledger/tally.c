#include <string.h>

#include "ledger/internal.h"

static bool is_of(const struct tally *t, uint32_t key, uint64_t window, const char *requester)
{
    return t->used != 0 && t->key == key && t->window == window &&
           t->whole == (requester == NULL) &&
           (requester == NULL || strcmp(t->requester, requester) == 0);
}

struct tally *tally_find(struct tallies *tallies, uint32_t key, uint64_t window,
                         const char *requester)
{
    for (size_t i = 0; i < TALLIES_MAX; i++) {
        struct tally *t = &tallies->list[i];
        if (!is_of(t, key, window, requester))
            continue;
        t->used = ++tallies->clock;
        return t;
    }
    return NULL;
}

void tally_keep(struct tallies *tallies, const struct tally *tally)
{
    struct tally *oldest = &tallies->list[0];
    for (size_t i = 1; i < TALLIES_MAX; i++)
        if (tallies->list[i].used < oldest->used)
            oldest = &tallies->list[i];
    *oldest = *tally;
    oldest->used = ++tallies->clock;
}

void tally_forget(struct tallies *tallies)
{
    *tallies = (struct tallies){0};
}

void tally_lease(struct tallies *tallies, uint32_t key, const struct ledger_lease *lease)
{
    struct tally *t = tally_find(tallies, key, lease->window, NULL);
    if (t != NULL)
        t->leased += lease->count;
    tallies->keys[key].totals.leased += lease->count;
}

void tally_intent(struct tallies *tallies, uint32_t key, const struct ledger_intent *intent)
{
    struct tally *whole = tally_find(tallies, key, intent->window, NULL);
    struct tally *part = tally_find(tallies, key, intent->window, intent->origin.requester);
    if (whole != NULL)
        whole->bound++;
    if (part != NULL)
        part->bound++;
}

void tally_receipt(struct tallies *tallies, uint32_t key, const struct ledger_receipt *receipt)
{
    struct tally *whole = tally_find(tallies, key, receipt->window, NULL);
    struct tally *part = tally_find(tallies, key, receipt->window, receipt->origin.requester);
    tallies->keys[key].totals.receipts++;
    /* What a lease had reserved for it is not counted twice. */
    uint64_t moved = receipt->caller_hash_len > 0 && receipt->version[0] == '\0' ? 1 : 0;
    if (whole != NULL) {
        whole->receipts++;
        whole->reserved -= moved;
    }
    if (part != NULL) {
        part->receipts++;
        part->reserved -= moved;
    }
}

/* Burns may overlap, and which one an index is counted by is for the tables to say. */
void tally_burn(struct tallies *tallies, uint32_t key, const struct ledger_burn *burn, bool again)
{
    struct key_tally *t = &tallies->keys[key];
    if (again)
        t->counted = false;
    t->totals.burned += burn->count;
    t->totals.burned_by[burn_reason_of(burn->why)] += burn->count;
}

void tally_reservation(struct tallies *tallies, uint32_t key,
                       const struct ledger_reservation *reservation)
{
    if (reservation->intent != 0)
        return;
    struct tally *whole = tally_find(tallies, key, reservation->window, NULL);
    struct tally *part =
        tally_find(tallies, key, reservation->window, reservation->origin.requester);
    if (whole != NULL)
        whole->reserved++;
    if (part != NULL)
        part->reserved++;
}
