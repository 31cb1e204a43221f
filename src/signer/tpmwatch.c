#include "signer/tpmwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

#define ASK_EVERY_MS 10000
#define REFUSED_SHOWN_MS INT64_C(3600000)
#define FIRMWARE_SHOWN_S (INT64_C(7) * 86400)
#define NOTE_EK "tpm-ek"
#define NOTE_FIRMWARE "tpm-firmware"

static int64_t now_ms(const struct tpmwatch *watch)
{
    const struct time_source *t = watch->world->time;
    return t->raw_ns(t->ctx) / 1000000;
}

/* Notes ---------------------------------------------------------------------------------------- */

/* The ledger keeps 64 bits of the Name's hash: enough to tell two TPMs apart, and no secret. */
static int64_t fingerprint(const struct tpm_facts *facts)
{
    return (int64_t)be_get64(facts->ek_name + 2);
}

static enum rc note(struct ledger *ledger, const char *what, const char *text, int64_t number,
                    int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(ledger, 0, LEDGER_OPERATION, what, text, number, now_s, err);
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc;
}

static bool noted(struct ledger *ledger, const char *what, int64_t *number, int64_t *at_s)
{
    struct err none = {0};
    return ledger_note_latest(ledger, 0, LEDGER_OPERATION, what, number, at_s, &none) == RC_OK;
}

static enum rc note_ek(const struct tpmwatch *watch, const struct tpmwatch_start *start,
                       struct err *err)
{
    int64_t number = 0;
    int64_t at_s = 0;
    struct tpm_facts facts;
    struct err none = {0};
    if (noted(start->ledger, NOTE_EK, &number, &at_s))
        return RC_OK;
    const struct world *w = watch->world;
    if (w->tpm->facts(w->tpm_ctx, start->tpm, true, &facts, &none) != RC_OK || !facts.ek_known)
        return RC_OK;
    char name[2 * TPM_NAME_LEN + 1];
    char text[2 * TPM_NAME_LEN + 40];
    hex_encode(name, facts.ek_name, TPM_NAME_LEN);
    (void)snprintf(text, sizeof(text), "Name of the endorsement key: %s", name);
    return note(start->ledger, NOTE_EK, text, fingerprint(&facts), start->now_s, err);
}

static enum rc note_firmware(struct tpmwatch *watch, const struct tpmwatch_start *start,
                             struct err *err)
{
    int64_t number = 0;
    int64_t at_s = 0;
    char was[TPM_FIRMWARE_TEXT];
    char is[TPM_FIRMWARE_TEXT];
    char text[TPMWATCH_TEXT];
    if (watch->facts.firmware == 0)
        return RC_OK;
    bool known = noted(start->ledger, NOTE_FIRMWARE, &number, &at_s);
    if (known && (uint64_t)number == watch->facts.firmware)
        return RC_OK;
    tpm_firmware_print(was, (uint64_t)number);
    tpm_firmware_print(is, watch->facts.firmware);
    if (known) {
        (void)snprintf(text, sizeof(text), "firmware was %s and is %s", was, is);
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "%s: %s", tpm_trouble_word(TPM_TROUBLE_FIRMWARE),
                  text);
    } else {
        (void)snprintf(text, sizeof(text), "firmware is %s", is);
    }
    return note(start->ledger, NOTE_FIRMWARE, text, (int64_t)watch->facts.firmware, start->now_s,
                err);
}

/* Named for a week after the note, over restarts: the first number is that of provisioning. */
static void remember_firmware(struct tpmwatch *watch, const struct tpmwatch_start *start)
{
    int64_t smallest = 0;
    int64_t largest = 0;
    int64_t number = 0;
    int64_t at_s = 0;
    struct err none = {0};
    if (!noted(start->ledger, NOTE_FIRMWARE, &number, &at_s) ||
        start->now_s - at_s > FIRMWARE_SHOWN_S ||
        ledger_note_range(start->ledger, 0, LEDGER_OPERATION, NOTE_FIRMWARE, &smallest, &largest,
                          &none) != RC_OK ||
        smallest == largest)
        return;
    char is[TPM_FIRMWARE_TEXT];
    tpm_firmware_print(is, (uint64_t)number);
    (void)snprintf(watch->firmware_text, sizeof(watch->firmware_text),
                   "%s: it is %s now; the ledger has the date and the one before",
                   tpm_trouble_text(TPM_TROUBLE_FIRMWARE), is);
}

/* Start ---------------------------------------------------------------------------------------- */

/* None of our keys is at home in this TPM. Its endorsement key survives a clear, so it tells. */
static enum tpm_trouble cleared_or_replaced(struct tpmwatch *watch,
                                            const struct tpmwatch_start *start)
{
    const struct world *w = watch->world;
    struct tpm_facts facts = {0};
    struct err why = {0};
    int64_t number = 0;
    int64_t at_s = 0;
    if (w->tpm->facts == NULL)
        return TPM_TROUBLE_REPLACED;
    enum rc rc = w->tpm->facts(w->tpm_ctx, start->tpm, true, &facts, &why);
    if (rc != RC_OK && tpm_trouble_of(&why) != TPM_TROUBLE_NONE)
        return tpm_trouble_of(&why);
    if (rc != RC_OK || !facts.ek_known || !noted(start->ledger, NOTE_EK, &number, &at_s)) {
        (void)snprintf(watch->start_text, sizeof(watch->start_text),
                       "this TPM was replaced or cleared: its endorsement key is not known");
        return TPM_TROUBLE_REPLACED;
    }
    return number == fingerprint(&facts) ? TPM_TROUBLE_CLEARED : TPM_TROUBLE_REPLACED;
}

static void name_trouble(struct tpmwatch *watch, const struct tpmwatch_start *start,
                         enum tpm_trouble trouble, const char *key, const struct err *err)
{
    if (key[0] == '\0')
        (void)snprintf(watch->start_text, sizeof(watch->start_text), "%.150s", err_text(err));
    else
        (void)snprintf(watch->start_text, sizeof(watch->start_text), "%.20s: %.130s", key,
                       err_text(err));
    watch->at_start = trouble;
    if (trouble != TPM_TROUBLE_REPLACED)
        return;
    (void)snprintf(watch->start_text, sizeof(watch->start_text), "%s",
                   tpm_trouble_text(TPM_TROUBLE_REPLACED));
    watch->at_start = cleared_or_replaced(watch, start);
    if (watch->at_start != TPM_TROUBLE_REPLACED)
        (void)snprintf(watch->start_text, sizeof(watch->start_text), "%s",
                       tpm_trouble_text(watch->at_start));
}

/* @return true if some key is at home in this TPM. */
static bool look_at_keys(struct tpmwatch *watch, const struct tpmwatch_start *start)
{
    bool ours = false;
    for (size_t i = 0; i < start->key_count; i++) {
        const struct key *key = &start->keys[i];
        enum tpm_trouble trouble = key->rc != RC_OK ? tpm_trouble_of(&key->err) : TPM_TROUBLE_NONE;
        ours = ours || key->anchor != NULL;
        if (trouble != TPM_TROUBLE_NONE && watch->at_start == TPM_TROUBLE_NONE)
            name_trouble(watch, start, trouble, key->record.name, &key->err);
    }
    return ours;
}

enum rc tpmwatch_start(struct tpmwatch *watch, const struct world *world, uint32_t slow_ms,
                       const struct tpmwatch_start *start, struct err *err)
{
    *watch = (struct tpmwatch){.world = world, .slow_ms = slow_ms};
    if (start->tpm == NULL) {
        /* Without a storage key of ours it is a stranger, whatever code said so. */
        enum tpm_trouble trouble = start->tpm_err->rc == RC_HALT_REGRESSION
                                       ? TPM_TROUBLE_REPLACED
                                       : tpm_trouble_of(start->tpm_err);
        if (trouble != TPM_TROUBLE_NONE && start->key_count > 0)
            name_trouble(watch, start, trouble, "", start->tpm_err);
        return RC_OK;
    }
    bool ours = look_at_keys(watch, start);
    struct err none = {0};
    watch->asked_ms = now_ms(watch);
    if (!ours || world->tpm->facts == NULL ||
        world->tpm->facts(world->tpm_ctx, start->tpm, false, &watch->facts, &none) != RC_OK)
        return RC_OK;
    enum rc rc = note_ek(watch, start, err);
    if (rc == RC_OK)
        rc = note_firmware(watch, start, err);
    if (rc == RC_OK)
        remember_firmware(watch, start);
    return rc;
}

/* Later ---------------------------------------------------------------------------------------- */

static void refused(struct tpmwatch *watch, enum tpm_trouble trouble, const char *text)
{
    if (trouble == TPM_TROUBLE_NONE)
        return;
    if (watch->refused != trouble)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "%s: %.150s", tpm_trouble_word(trouble), text);
    watch->refused = trouble;
    watch->refused_ms = now_ms(watch);
    (void)snprintf(watch->refused_text, sizeof(watch->refused_text), "%.150s", text);
}

enum rc tpmwatch_ask(struct tpmwatch *watch, void *tpm, struct err *err)
{
    const struct world *w = watch->world;
    int64_t now = now_ms(watch);
    if (w->tpm->facts == NULL || now - watch->asked_ms < ASK_EVERY_MS)
        return RC_OK;
    watch->asked_ms = now;
    struct err why = {0};
    struct tpm_facts facts;
    enum rc rc = w->tpm->facts(w->tpm_ctx, tpm, false, &facts, &why);
    if (rc == RC_OK) {
        if (facts.in_lockout && !watch->facts.in_lockout)
            log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "%s: %s",
                      tpm_trouble_word(TPM_TROUBLE_LOCKOUT), tpm_trouble_text(TPM_TROUBLE_LOCKOUT));
        watch->facts = facts;
        return RC_OK;
    }
    refused(watch, tpm_trouble_of(&why), err_text(&why));
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    return RC_OK;
}

void tpmwatch_heed(struct tpmwatch *watch, const struct reply *reply)
{
    if (reply->rc == RC_OK && !reply->replayed)
        watch->refused = TPM_TROUBLE_NONE;
    for (int i = TPM_TROUBLE_NONE + 1; i < TPM_TROUBLE_COUNT; i++)
        if (strcmp(reply->tpm_state, tpm_trouble_word((enum tpm_trouble)i)) == 0)
            refused(watch, (enum tpm_trouble)i, reply->text);
}

static bool is_slow(const struct tpmwatch *watch, void *tpm, char text[TPMWATCH_TEXT])
{
    struct tpm_latency latency = {0};
    if (tpm == NULL || watch->world->tpm->latency == NULL || watch->slow_ms == 0)
        return false;
    watch->world->tpm->latency(tpm, &latency);
    if (latency.p90_us / 1000 < watch->slow_ms)
        return false;
    (void)snprintf(text, TPMWATCH_TEXT,
                   "one command in ten takes %" PRIu32 " ms or more (half of them %" PRIu32
                   " ms, the slowest %" PRIu32 " ms)",
                   latency.p90_us / 1000, latency.median_us / 1000, latency.max_us / 1000);
    return true;
}

enum tpm_trouble tpmwatch_now(const struct tpmwatch *watch, void *tpm, char text[TPMWATCH_TEXT])
{
    text[0] = '\0';
    if (watch->at_start != TPM_TROUBLE_NONE) {
        memcpy(text, watch->start_text, TPMWATCH_TEXT);
        return watch->at_start;
    }
    if (watch->refused != TPM_TROUBLE_NONE &&
        now_ms(watch) - watch->refused_ms < REFUSED_SHOWN_MS) {
        memcpy(text, watch->refused_text, TPMWATCH_TEXT);
        return watch->refused;
    }
    if (watch->facts.in_lockout) {
        (void)snprintf(text, TPMWATCH_TEXT,
                       "%" PRIu32 " wrong authorisations of %" PRIu32
                       "; one is forgotten every %" PRIu32 " s; our keys go on",
                       watch->facts.lockout_counter, watch->facts.lockout_max,
                       watch->facts.lockout_recovery_s);
        return TPM_TROUBLE_LOCKOUT;
    }
    if (is_slow(watch, tpm, text))
        return TPM_TROUBLE_SLOW;
    if (watch->firmware_text[0] == '\0')
        return TPM_TROUBLE_NONE;
    memcpy(text, watch->firmware_text, TPMWATCH_TEXT);
    return TPM_TROUBLE_FIRMWARE;
}
