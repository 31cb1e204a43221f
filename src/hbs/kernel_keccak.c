#include "hbs/kernel_keccak.h"

#include "base/bytes.h"
#include "hbs/kernel_deal.h"
#include "hbs/kernel_lanes.h"

_Static_assert(KECCAK_LANES_MAX <= DEAL_LANES_MAX, "lanes that can be dealt to");

const uint64_t keccak_constants[KECCAK_ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

/* The functions of a kernel spill secrets to the stack. Called from where they were called, this
 * one lies over the same bytes. */
__attribute__((noinline)) void keccak_scrub(void)
{
    uint8_t below[FRAME_MAX + DEAL_FRAME] LEFT_AS_IS;
    wipe(below, sizeof(below));
}

void keccak_start(struct keccak_chains *lanes, uint8_t n, const uint8_t id[LMS_I_LEN])
{
    memset(lanes, 0, sizeof(*lanes));
    lanes->n = n;
    lanes->id[0] = keccak_get(id);
    lanes->id[1] = keccak_get(id + 8);
}

/* Chains ----------------------------------------------------------------------------------------
 */

struct chain_run {
    struct keccak_chains lanes;
    const struct keccak_ops *ops;
    const struct hbs_chain *chains;
    struct dealing dealing;
};

static uint32_t chain_lengths(const void *ctx, size_t first, size_t count, uint32_t *steps)
{
    const struct hbs_chain *chains = ((const struct chain_run *)ctx)->chains + first;
    uint32_t longest = 0;
    for (size_t c = 0; c < count; c++) {
        steps[c] = (uint32_t)chains[c].to - chains[c].from;
        longest = steps[c] > longest ? steps[c] : longest;
    }
    return longest;
}

static void chain_idle(void *ctx, size_t item)
{
    struct chain_run *run = ctx;
    memmove(run->chains[item].out, run->chains[item].in, run->lanes.n);
}

static void chain_load(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    const struct hbs_chain *chain = run->chains + item;
    run->lanes.qij[lane] = keccak_number(chain->q, chain->i) | (uint64_t)(uint8_t)chain->from << 48;
    for (size_t r = 0; r < run->lanes.n / 8U; r++)
        run->lanes.value[r][lane] = keccak_get(chain->in + 8 * r);
}

static void chain_store(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    for (size_t r = 0; r < run->lanes.n / 8U; r++)
        keccak_put(run->chains[item].out + 8 * r, run->lanes.value[r][lane]);
}

static void chain_move(void *ctx, size_t to, size_t from)
{
    struct keccak_chains *lanes = &((struct chain_run *)ctx)->lanes;
    for (size_t r = 0; r < 4; r++)
        lanes->value[r][to] = lanes->value[r][from];
    lanes->qij[to] = lanes->qij[from];
}

static void chain_steps(void *ctx, size_t active, size_t steps)
{
    (void)active; /* one register, full or not */
    struct chain_run *run = ctx;
    run->ops->steps(&run->lanes, (uint32_t)steps);
}

void keccak_chains(const struct keccak_ops *ops, uint8_t n, const uint8_t id[LMS_I_LEN],
                   const struct hbs_chain *chains, size_t count)
{
    const struct deal_ops dealt = {.lanes = ops->lanes,
                                   .lengths = chain_lengths,
                                   .load = chain_load,
                                   .store = chain_store,
                                   .move = chain_move,
                                   .steps = chain_steps,
                                   .idle = chain_idle};
    struct chain_run run LEFT_AS_IS;
    keccak_start(&run.lanes, n, id);
    run.ops = ops;
    run.chains = chains;
    deal(&run.dealing, &dealt, &run, count);
    wipe(&run.lanes, sizeof(run.lanes));
    keccak_scrub();
}

/* Messages --------------------------------------------------------------------------------------
 */

struct job_run {
    alignas(64) uint64_t state[25][KECCAK_LANES_MAX];
    uint8_t tail[KECCAK_RATE]; /* last block of the message that is being absorbed */
    const struct keccak_ops *ops;
    const struct hbs_job *jobs;
    struct dealing dealing;
    const struct hbs_job *job[KECCAK_LANES_MAX];
    size_t at[KECCAK_LANES_MAX]; /* bytes absorbed */
    uint8_t n;
};

/* Blocks; the padding takes at least a byte. */
static uint32_t job_lengths(const void *ctx, size_t first, size_t count, uint32_t *steps)
{
    const struct hbs_job *jobs = ((const struct job_run *)ctx)->jobs + first;
    uint32_t longest = 0;
    for (size_t j = 0; j < count; j++) {
        MUST(jobs[j].len / KECCAK_RATE < UINT32_MAX);
        steps[j] = (uint32_t)(jobs[j].len / KECCAK_RATE) + 1;
        longest = steps[j] > longest ? steps[j] : longest;
    }
    return longest;
}

static void job_load(void *ctx, size_t lane, size_t item)
{
    struct job_run *run = ctx;
    run->job[lane] = run->jobs + item;
    run->at[lane] = 0;
    for (size_t r = 0; r < 25; r++)
        run->state[r][lane] = 0;
}

static void job_store(void *ctx, size_t lane, size_t item)
{
    struct job_run *run = ctx;
    for (size_t r = 0; r < run->n / 8U; r++)
        keccak_put(run->jobs[item].out + 8 * r, run->state[r][lane]);
}

static void job_move(void *ctx, size_t to, size_t from)
{
    struct job_run *run = ctx;
    for (size_t r = 0; r < 25; r++)
        run->state[r][to] = run->state[r][from];
    run->job[to] = run->job[from];
    run->at[to] = run->at[from];
}

/* The next block of a lane; the last one is padded in run->tail. */
static const uint8_t *job_block(struct job_run *run, size_t lane)
{
    const struct hbs_job *job = run->job[lane];
    size_t at = run->at[lane];
    run->at[lane] += KECCAK_RATE;
    if (job->len - at >= KECCAK_RATE)
        return job->in + at;
    size_t rest = job->len - at;
    if (rest > 0)
        memcpy(run->tail, job->in + at, rest);
    memset(run->tail + rest, 0, KECCAK_RATE - rest);
    run->tail[rest] = KECCAK_PAD_FIRST;
    run->tail[KECCAK_RATE - 1] |= KECCAK_PAD_LAST;
    return run->tail;
}

static void job_steps(void *ctx, size_t active, size_t steps)
{
    struct job_run *run = ctx;
    for (; steps > 0; steps--) {
        for (size_t lane = 0; lane < active; lane++) {
            const uint8_t *block = job_block(run, lane);
            for (size_t r = 0; r < KECCAK_RATE / 8; r++)
                run->state[r][lane] ^= keccak_get(block + 8 * r);
        }
        run->ops->permute(run->state);
    }
}

void keccak_jobs(const struct keccak_ops *ops, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    const struct deal_ops dealt = {.lanes = ops->lanes,
                                   .lengths = job_lengths,
                                   .load = job_load,
                                   .store = job_store,
                                   .move = job_move,
                                   .steps = job_steps};
    struct job_run run LEFT_AS_IS;
    memset(run.state, 0, sizeof(run.state));
    run.ops = ops;
    run.jobs = jobs;
    run.n = n;
    deal(&run.dealing, &dealt, &run, count);
    wipe(run.state, sizeof(run.state));
    wipe(run.tail, sizeof(run.tail));
    keccak_scrub();
}
