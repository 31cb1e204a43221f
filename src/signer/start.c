#include "signer/start.h"

#include <inttypes.h>

const char *start_step_name(enum start_step step)
{
    static const char *const names[] = {
        [START_DONE] = "done",
        [START_FINISH_L] = "finish-l",
        [START_VOID] = "void",
        [START_ANCHOR_INTENTS] = "anchor-intents",
        [START_RAISE_L] = "raise-l",
        [START_WRITE_A] = "write-a",
        [START_STEP_W_WRITE_A] = "step-w-write-a",
        [START_RECORD_WINDOW] = "record-window",
        [START_OPEN_EARLY] = "open-early",
        [START_REFUSE] = "refuse",
    };
    return names[step];
}

static enum start_step refuse(enum rc *rc, enum rc code)
{
    *rc = code;
    return START_REFUSE;
}

/* A is approved for the window behind the one it stands in at most, and in time plans alone. */
static bool early_unheard_of(const struct start_facts *f)
{
    const struct anchor_record *a = &f->tpm.a;
    if (a->early_window == ANCHOR_NO_WINDOW)
        return false;
    return f->kind != PLAN_TIME || a->early_window > (int64_t)a->w - f->w_base + 1;
}

/* Rule 2, last sentence: values that no order of our own writes can leave behind. */
static bool impossible(const struct start_facts *f, enum rc *rc, struct err *err)
{
    const struct anchor_state *t = &f->tpm;
    if (t->a.w > t->w)
        *rc = FAIL(err, RC_HALT_INVARIANT, "", 0,
                   "A was written at W = %" PRIu64 " but W is %" PRIu64
                   ": the TPM has lost writes or A was composed by somebody else",
                   t->a.w, t->w);
    else if (t->a.l_base > t->l)
        *rc = FAIL(err, RC_HALT_INVARIANT, "", 0, "A says L_base = %" PRIu64 " but L is %" PRIu64,
                   t->a.l_base, t->l);
    else if (t->a.l < t->l)
        *rc =
            FAIL(err, RC_HALT_REGRESSION, "", 0,
                 "A anchors epoch %" PRIu64 " but L is %" PRIu64
                 ": an older A was put back, or the counter was removed and made anew, or raised, "
                 "by somebody else",
                 t->a.l, t->l);
    else if (t->a.l > t->l + 1)
        *rc = FAIL(err, RC_HALT_INVARIANT, "", 0,
                   "A anchors epoch %" PRIu64 " but L is only %" PRIu64
                   ": the TPM has lost writes or A was composed by somebody else",
                   t->a.l, t->l);
    else if (early_unheard_of(f))
        *rc = FAIL(err, RC_HALT_INVARIANT, "", 0,
                   "A approves window %" PRId64 " before its start, but was written in window "
                   "%" PRId64 " of a plan that knows no such step",
                   t->a.early_window, (int64_t)t->a.w - f->w_base);
    return *rc != RC_OK;
}

/* Rule 10, first half. A lease of exactly L + 1 without receipts is an ordinary crash. */
static bool tpm_behind(const struct start_facts *f, enum rc *rc, struct err *err)
{
    const struct ledger_standing *s = &f->ledger;
    int64_t l = (int64_t)f->tpm.l;
    int64_t w = (int64_t)f->tpm.w;
    if (s->lease_epoch > l + 1 || s->intent_epoch > l + 1)
        *rc = FAIL(err, RC_HALT_TPM_BEHIND, "", 0,
                   "the ledger holds epoch %" PRId64 " but L is only %" PRId64,
                   s->lease_epoch > s->intent_epoch ? s->lease_epoch : s->intent_epoch, l);
    else if (s->receipt_epoch > l)
        *rc = FAIL(err, RC_HALT_TPM_BEHIND, "", 0,
                   "the ledger holds a receipt of epoch %" PRId64 " but L is only %" PRId64,
                   s->receipt_epoch, l);
    else if (s->window_w > w)
        *rc = FAIL(err, RC_HALT_TPM_BEHIND, "", 0,
                   "the ledger opened a window at W = %" PRId64 " but W is only %" PRId64,
                   s->window_w, w);
    return *rc != RC_OK;
}

/* A missing or torn. Positions of time and interval plans come from the TPM alone, so a new window
 * is safe whatever the ledger says; a version plan cannot know whether its ledger is the latest. */
static enum start_step a_lost(const struct start_facts *f, enum rc *rc, struct err *err)
{
    if (f->kind != PLAN_VERSION)
        return START_STEP_W_WRITE_A;
    (void)FAIL(err, RC_HALT_REGRESSION, "", 0,
               "the anchor record A is missing or torn: a version plan cannot tell whether this "
               "ledger is the latest one");
    return refuse(rc, RC_HALT_REGRESSION);
}

/* Everything but the two counters agrees; what is left is tidying up behind a crash. */
static enum start_step tidy(const struct start_facts *f)
{
    const struct anchor_state *t = &f->tpm;
    const struct ledger_standing *s = &f->ledger;
    if (s->open_intents_behind > 0)
        return f->keeps_writes ? START_VOID : START_ANCHOR_INTENTS;
    if (t->a.w < t->w)
        return t->a.l == t->l ? START_WRITE_A : START_STEP_W_WRITE_A;
    if (s->lease_epoch == (int64_t)t->l + 1)
        return START_RAISE_L;
    if (t->w > f->w_first && s->window_w < (int64_t)t->w)
        return START_RECORD_WINDOW;
    /* Approved, and the power went before W + 1: what was promised to the operator is finished. */
    if (t->a.early_window > (int64_t)t->w - f->w_base)
        return START_OPEN_EARLY;
    return START_DONE;
}

enum start_step start_decide(const struct start_facts *f, enum rc *rc, struct err *err)
{
    *rc = RC_OK;
    const struct anchor_state *t = &f->tpm;
    if (!t->a_valid)
        return a_lost(f, rc, err);
    if (impossible(f, rc, err))
        return START_REFUSE;
    /* Finishing L changes nothing that the tests below look at: A has promised it already. */
    if (t->a.l == t->l + 1 && t->a.w == t->w)
        return START_FINISH_L;
    /* The ancestor test stands before any writing of A: a rewritten A would pass it with the old
     * ledger's head (attacks 26, 27). */
    if (!f->ledger.head_known) {
        (void)FAIL(err, RC_HALT_REGRESSION, "", 0,
                   "the TPM anchors a ledger entry that this ledger does not have (epoch %" PRIu64
                   "): the state was restored from a backup or belongs to another device",
                   t->a.l);
        return refuse(rc, RC_HALT_REGRESSION);
    }
    if (tpm_behind(f, rc, err))
        return START_REFUSE;
    return tidy(f);
}
