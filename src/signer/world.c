#include "signer/world.h"

#include "tpm/attest.h"

static enum rc real_open(void *ctx, void **tpm, struct err *err)
{
    struct tpm *opened = NULL;
    enum rc rc = tpm_open(&opened, ctx, false, err);
    *tpm = opened;
    return rc;
}

static void real_close(void *ctx, void **tpm)
{
    (void)ctx;
    struct tpm *closing = *tpm;
    tpm_close(&closing);
    *tpm = NULL;
}

static const struct tpm_identity *real_identify(void *tpm)
{
    return tpm_identify(tpm);
}

static enum rc real_unseal(void *tpm, void *anchor, const uint8_t auth[32], const uint8_t *blob,
                           size_t blob_len, void *secret, size_t secret_len, struct err *err)
{
    return tpm_unseal(tpm, anchor, auth, blob, blob_len, secret, secret_len, err);
}

static enum rc real_sealed_check(void *tpm, void *anchor, const uint8_t *blob, size_t blob_len,
                                 struct err *err)
{
    return tpm_sealed_check(tpm, anchor, blob, blob_len, err);
}

static enum rc real_anchor_open(void **anchor, void *tpm, const struct anchor_pins *pins,
                                const uint8_t auth_secret[32], struct err *err)
{
    struct anchor *opened = NULL;
    enum rc rc = anchor_open(&opened, tpm, pins, auth_secret, err);
    *anchor = opened;
    return rc;
}

static void real_anchor_close(void **anchor)
{
    struct anchor *closing = *anchor;
    anchor_close(&closing);
    *anchor = NULL;
}

static enum rc real_read(void *anchor, struct anchor_state *state, struct err *err)
{
    return anchor_read(anchor, state, err);
}

static enum rc real_write(void *anchor, const struct anchor_record *a, struct err *err)
{
    return anchor_write(anchor, a, err);
}

static enum rc real_step_w(void *anchor, uint64_t expected, struct err *err)
{
    return anchor_step_w(anchor, expected, err);
}

static enum rc real_step_l(void *anchor, uint64_t expected, struct err *err)
{
    return anchor_step_l(anchor, expected, err);
}

static enum rc real_prove(void *anchor, uint64_t expected_l, struct tpm_time *time, struct err *err)
{
    return anchor_prove(anchor, expected_l, time, err);
}

static enum rc real_attest_keys(void *tpm, bool with_ek, struct attest_keys *keys, struct err *err)
{
    return tpm_attest_keys(tpm, with_ek, keys, err);
}

static enum rc real_attest(void *anchor, const uint8_t ak_name[TPM_NAME_LEN],
                           const uint8_t digest[32], struct attest_evidence *evidence,
                           struct err *err)
{
    return anchor_attest(anchor, ak_name, digest, evidence, err);
}

static enum rc real_seal(void *tpm, const uint8_t auth[32], const struct tpm_lock *lock,
                         const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                         struct err *err)
{
    return tpm_seal(tpm, auth, lock, secret, secret_len, blob, blob_len, err);
}

static enum rc real_pcrs_read(void *tpm, struct tpm_pcrs *pcrs, struct err *err)
{
    return tpm_pcrs_read(tpm, pcrs, err);
}

static enum rc real_choose(void *tpm, struct anchor_pins *pins, struct err *err)
{
    return anchor_choose(tpm, pins, err);
}

static enum rc real_provision(void *tpm, const uint8_t auth_secret[32], int64_t floor_window,
                              struct anchor_pins *pins, struct err *err)
{
    return anchor_provision(tpm, auth_secret, floor_window, pins, err);
}

static enum rc real_undefine(void *tpm, const struct anchor_pins *pins,
                             const uint8_t auth_secret[32], struct err *err)
{
    return anchor_undefine(tpm, pins, auth_secret, err);
}

static enum rc real_read_time(void *tpm, struct tpm_time *time, struct err *err)
{
    return tpm_read_time(tpm, time, err);
}

static enum rc real_facts(void *ctx, void *tpm, bool ek, struct tpm_facts *facts, struct err *err)
{
    if (tpm == NULL)
        return tpm_look(ctx, facts, err);
    return ek ? tpm_facts_ek(tpm, facts, err) : tpm_facts(tpm, facts, err);
}

static void real_latency(void *tpm, struct tpm_latency *latency)
{
    tpm_latency(tpm, latency);
}

const struct tpm_ops world_tpm = {
    .open = real_open,
    .close = real_close,
    .identify = real_identify,
    .unseal = real_unseal,
    .sealed_check = real_sealed_check,
    .sealed_lock = tpm_sealed_lock,
    .anchor_open = real_anchor_open,
    .anchor_close = real_anchor_close,
    .read = real_read,
    .write = real_write,
    .step_w = real_step_w,
    .step_l = real_step_l,
    .prove = real_prove,
    .attest_keys = real_attest_keys,
    .attest = real_attest,
    .seal = real_seal,
    .pcrs_read = real_pcrs_read,
    .choose = real_choose,
    .provision = real_provision,
    .undefine = real_undefine,
    .read_time = real_read_time,
    .facts = real_facts,
    .latency = real_latency,
};

void world_clock_sample(void *ctx, struct clk_sample *sample)
{
    clk_sample(ctx, sample);
}
