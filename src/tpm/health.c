#include "tpm/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tpm/internal.h"

/* What an error means -------------------------------------------------------------------------- */

/* Codes of the layers between us and the TPM say that no answer came, or none that makes sense. */
static bool from_tpm(TSS2_RC r)
{
    TSS2_RC layer = r & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

static enum tpm_trouble trouble_of_code(TSS2_RC r)
{
    TSS2_RC code = r & ~TSS2_RC_LAYER_MASK;
    switch (tpm_outcome(r)) {
    case TPM_DONE:
        return TPM_TROUBLE_NONE;
    case TPM_BUSY:
        return code == TPM2_RC_LOCKOUT ? TPM_TROUBLE_LOCKOUT : TPM_TROUBLE_BUSY;
    case TPM_MOVED:
        return r == NV_NO_SUCH_HANDLE ? TPM_TROUBLE_INDEX : TPM_TROUBLE_RESET;
    case TPM_FORGED:
        return TPM_TROUBLE_RESET;
    case TPM_LOST:
        return from_tpm(r) ? TPM_TROUBLE_FAILED : TPM_TROUBLE_GONE;
    case TPM_REFUSED:
    default:
        return TPM_TROUBLE_REFUSED;
    }
}

enum tpm_trouble tpm_trouble_of(const struct err *err)
{
    enum rc_class class = rc_class(err->rc);
    if (err->origin == NULL || (class != RC_CLASS_RETRY && class != RC_CLASS_HALT))
        return TPM_TROUBLE_NONE;
    if (strcmp(err->origin, TPM_ORIGIN_PINS) == 0)
        return err->native != 0 ? TPM_TROUBLE_INDEX : TPM_TROUBLE_REPLACED;
    if (strcmp(err->origin, "tss2") == 0)
        return trouble_of_code((TSS2_RC)err->native);
    /* Values that moved behind our back, with no code of the TPM to say so. */
    return err->rc == RC_HALT_CANARY ? TPM_TROUBLE_RESET : TPM_TROUBLE_NONE;
}

/* How fast it is ------------------------------------------------------------------------------- */

void stopwatch_add(struct stopwatch *s, int64_t ns)
{
    int64_t us = ns / 1000;
    s->us[s->next] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    s->next = (s->next + 1) % TPM_TIMED;
    if (s->count < TPM_TIMED)
        s->count++;
}

void stopwatch_was_increment(struct stopwatch *s)
{
    MUST(s->count > 0);
    histogram_add(&s->increments, histogram_time_bounds_us,
                  s->us[(s->next + TPM_TIMED - 1) % TPM_TIMED]);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void stopwatch_read(const struct stopwatch *s, struct tpm_latency *latency)
{
    uint32_t us[TPM_TIMED];
    *latency = (struct tpm_latency){.count = s->count, .increments = s->increments};
    if (s->count == 0)
        return;
    memcpy(us, s->us, s->count * sizeof(us[0]));
    qsort(us, s->count, sizeof(us[0]), by_value);
    latency->median_us = us[s->count / 2];
    latency->p90_us = us[s->count * 9 / 10];
    latency->max_us = us[s->count - 1];
}

void tpm_latency(const struct tpm *tpm, struct tpm_latency *latency)
{
    stopwatch_read(&tpm->stopwatch, latency);
}

/* Which one it is ------------------------------------------------------------------------------ */

static TSS2_RC read_facts(struct tpm *tpm, struct tpm_facts *facts)
{
    uint32_t high = 0;
    uint32_t low = 0;
    uint32_t permanent = 0;
    const struct {
        TPM2_PT property;
        uint32_t *to;
    } wanted[] = {
        {TPM2_PT_FIRMWARE_VERSION_1, &high},
        {TPM2_PT_FIRMWARE_VERSION_2, &low},
        {TPM2_PT_PERMANENT, &permanent},
        {TPM2_PT_LOCKOUT_COUNTER, &facts->lockout_counter},
        {TPM2_PT_MAX_AUTH_FAIL, &facts->lockout_max},
        {TPM2_PT_LOCKOUT_INTERVAL, &facts->lockout_recovery_s},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        TSS2_RC r = tpm_property(tpm, wanted[i].property, wanted[i].to);
        if (r != TSS2_RC_SUCCESS)
            return r;
    }
    facts->firmware = (uint64_t)high << 32 | low;
    facts->in_lockout = (permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
    return TSS2_RC_SUCCESS;
}

enum rc tpm_facts(struct tpm *tpm, struct tpm_facts *facts, struct err *err)
{
    *facts = (struct tpm_facts){0};
    TSS2_RC r = read_facts(tpm, facts);
    if (r == TSS2_RC_SUCCESS)
        return RC_OK;
    *facts = (struct tpm_facts){0};
    return TPM_FAIL(TPM_RUNNING, r, "GetCapability of the TPM's health", err);
}

enum rc tpm_facts_ek(struct tpm *tpm, struct tpm_facts *facts, struct err *err)
{
    struct attest_key ek = {0};
    struct err why = {0};
    enum rc rc = tpm_facts(tpm, facts, err);
    if (rc != RC_OK)
        return rc;
    rc = attest_read_ek(tpm, &ek, &why);
    /* A TPM that does not make the key for us has none that we know. */
    if (rc == RC_REFUSED_ATTEST)
        return RC_OK;
    if (rc != RC_OK) {
        *facts = (struct tpm_facts){0};
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    }
    facts->ek_known = true;
    memcpy(facts->ek_name, ek.name, TPM_NAME_LEN);
    return RC_OK;
}

void tpm_firmware_print(char text[TPM_FIRMWARE_TEXT], uint64_t firmware)
{
    if (firmware == 0) {
        (void)snprintf(text, TPM_FIRMWARE_TEXT, "unknown");
        return;
    }
    (void)snprintf(text, TPM_FIRMWARE_TEXT, "%u.%u.%u.%u", (unsigned)(firmware >> 48),
                   (unsigned)(firmware >> 32 & 0xffff), (unsigned)(firmware >> 16 & 0xffff),
                   (unsigned)(firmware & 0xffff));
}
