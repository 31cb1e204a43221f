#include "signer/complete.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "signer/allocate.h"
#include "signer/branches.h"
#include "signer/checked.h"

static bool closed_for_good(const struct key *key, uint64_t window)
{
    if ((int64_t)window < key->record.min_window)
        return true;
    return key->plan.order == PLAN_STRICT && (int64_t)window < key_floor(key);
}

static enum rc complete_one(struct key *key, const struct world *world, void *tpm,
                            struct ledger *ledger, const struct ledger_intent *intent,
                            int64_t now_s, struct err *err)
{
    static uint8_t signature[HBS_SIG_LEN_MAX];
    const struct hbs_branch *branch = NULL;
    const size_t len = hbs_key_sig_len(&key->hbs);
    struct allocator alloc = {.key = key, .world = world, .ledger = ledger};
    enum rc rc = branches_of(&alloc, tpm, intent->window, intent->index, &branch, err);
    if (rc != RC_OK)
        return rc;
    struct tpm_time time;
    rc = world->tpm->prove(key->anchor, key->l, &time, err);
    if (rc != RC_OK)
        return rc;
    struct ots_lease lease = {0};
    allocate_intent(&alloc, intent->index, key->l, &lease);
    bool good = false;
    const struct hbs_branch_signing signing = {
        .lease = &lease, .c = intent->randomizer, .value = intent->value, .sig = signature};
    sign_checked(branch, &signing, len, 1, &good);
    if (!good)
        return not_verified(intent->index, err);
    struct ledger_receipt receipt = {.epoch = intent->epoch,
                                     .window = intent->window,
                                     .index = intent->index,
                                     .artifact_size = intent->artifact_size,
                                     .origin = intent->origin,
                                     .at_s = now_s};
    text_copy(receipt.version, sizeof(receipt.version), intent->version);
    text_copy(receipt.slot, sizeof(receipt.slot), intent->slot);
    memcpy(receipt.artifact_sha256, intent->artifact_sha256, SHA256_LEN);
    return ledger_add_receipt(ledger, key->record.id, &receipt, signature, len, err);
}

static enum rc give_up_intent(const struct key *key, struct ledger *ledger,
                              const struct ledger_intent *intent, int64_t now_s, struct err *err)
{
    char text[LEDGER_TEXT_MAX + 1];
    if (intent->remote)
        burn_text(text, sizeof(text), BURN_RESTART, "the process that held the reservation ended");
    else
        burn_text(text, sizeof(text), BURN_WINDOW,
                  "the window was closed before the intent could be completed");
    return ledger_add_burn(ledger, key->record.id, intent->window, intent->index, 1, text, now_s,
                           err);
}

enum rc complete_intents(struct key *key, const struct world *world, void *tpm,
                         struct ledger *ledger, struct err *err)
{
    if (key->plan.kind != PLAN_VERSION)
        return RC_OK;
    int64_t now_s = world->time->real_ns(world->time->ctx) / INT64_C(1000000000);
    uint64_t after = 0;
    for (;;) {
        struct ledger_intent intent;
        struct err none = {0};
        enum rc rc = ledger_next_open_intent(ledger, key->record.id, after, &intent, &none);
        if (rc == RC_REFUSED_NOT_FOUND)
            return RC_OK;
        if (rc != RC_OK)
            return FAIL(err, rc, "", 0, "%s", err_text(&none));
        after = intent.seq;
        /* What a caller was to hash has no value to complete, and whether its prefix was given away
         * is not asked. */
        const bool closed = intent.remote || closed_for_good(key, intent.window);
        const struct hbs_branch *branch = NULL;
        struct allocator alloc = {.key = key, .world = world, .ledger = ledger};
        /* Outside the transaction: a branch without a record would get one now. */
        rc = closed ? RC_OK : branches_of(&alloc, tpm, intent.window, intent.index, &branch, err);
        if (rc == RC_OK)
            rc = ledger_begin(ledger, err);
        if (rc == RC_OK && closed)
            rc = give_up_intent(key, ledger, &intent, now_s, err);
        else if (rc == RC_OK)
            rc = complete_one(key, world, tpm, ledger, &intent, now_s, err);
        if (rc != RC_OK) {
            ledger_rollback(ledger);
            return rc;
        }
        rc = ledger_commit(ledger, err);
        if (rc != RC_OK)
            return rc;
        log_event(LOG_LEVEL_NOTICE,
                  &(struct log_fields){.key = key->record.name,
                                       .index = (int64_t)intent.index,
                                       .request_id = intent.origin.request_id},
                  "start: intent for %s %s %s", intent.version, intent.slot,
                  closed ? "given up" : "completed");
    }
}
