#include "hbs/kernel_lanes.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_deal.h"

#define BLOCK_LEN 64
#define NOINLINE __attribute__((noinline))

_Static_assert(LANES_MAX <= DEAL_LANES_MAX, "lanes that can be dealt to");

const uint32_t sha256_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32 - n));
}

/* Rounds 0 … 3 (§6.2.2), once for all chains of a tree. */
static void mid_state(uint32_t s[8], const uint32_t w[4])
{
    memcpy(s, sha256_iv, sizeof(sha256_iv));
    for (size_t t = 0; t < 4; t++) {
        uint32_t sum1 = rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25);
        uint32_t ch = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t t1 = s[7] + sum1 + ch + sha256_k[t] + w[t];
        uint32_t sum0 = rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22);
        uint32_t maj = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += t1;
        s[0] = t1 + sum0 + maj;
    }
}

/* The functions of a kernel spill secrets to the stack. Called from where they were called, this
 * one lies over the same bytes. */
static NOINLINE void scrub(size_t len)
{
    uint8_t below[FRAME_MAX + DEAL_FRAME] LEFT_AS_IS;
    MUST(len <= sizeof(below));
    wipe(below + sizeof(below) - len, len); /* the stack grows downwards */
}

NOINLINE void lanes_scrub(const struct lane_ops *ops)
{
    scrub(ops->frame + DEAL_FRAME);
}

void lanes_start(struct chain_lanes *lanes, uint8_t n, const uint8_t id[LMS_I_LEN])
{
    memset(lanes, 0, sizeof(*lanes));
    lanes->n = n;
    for (size_t w = 0; w < 4; w++)
        lanes->id[w] = be_get32(id + 4 * w);
    mid_state(lanes->mid, lanes->id);
}

void lanes_load(struct chain_lanes *lanes, size_t count, const uint8_t *const in[])
{
    for (size_t l = 0; l < count; l++)
        for (size_t r = 0; r < lanes->n / 4U; r++)
            lanes->d[r][l] = be_get32(in[l] + 4 * r);
}

void lanes_store(const struct chain_lanes *lanes, size_t from, size_t to, uint8_t *const out[])
{
    for (size_t l = from; l < to; l++)
        for (size_t r = 0; r < lanes->n / 4U; r++)
            be_put32(out[l] + 4 * r, lanes->d[r][l]);
}

void lanes_splice(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                  const uint32_t d[][LANES_MAX], size_t words)
{
    for (size_t r = 0; r < words; r++) {
        const uint32_t *last = r > 0 ? d[r - 1] : before;
        for (size_t l = 0; l < LANES_MAX; l++)
            to[r][l] = last[l] << 16 | d[r][l] >> 16;
    }
}

/* Chains ----------------------------------------------------------------------------------------
 */

struct chain_run {
    struct chain_lanes lanes;
    const struct lane_ops *ops;
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
    const struct hbs_chain *chain = run->chains + item;
    uint8_t value[HBS_N_MAX] LEFT_AS_IS; /* public: a chain of no steps is one that ends here */
    if (run->lanes.n == 32) {
        memcpy(value, chain->in, 32);
        memcpy(chain->out, value, 32);
    } else {
        memcpy(value, chain->in, 24);
        memcpy(chain->out, value, 24);
    }
}

static void chain_number(struct chain_lanes *lanes, size_t lane, const struct hbs_chain *chain)
{
    lanes->q[lane] = chain->q;
    lanes->ij[lane] = ((uint32_t)chain->i << 16) | ((chain->from & 0xffU) << 8);
}

static void chain_load_row(void *ctx, const size_t *items)
{
    struct chain_run *run = ctx;
    const uint8_t *in[LANES_MAX] LEFT_AS_IS;
    for (size_t l = 0; l < run->ops->lanes; l++) {
        const struct hbs_chain *chain = run->chains + items[l];
        chain_number(&run->lanes, l, chain);
        in[l] = chain->in;
    }
    run->ops->load(&run->lanes, in);
}

static void chain_store_row(void *ctx, size_t from, size_t to, const size_t *items)
{
    struct chain_run *run = ctx;
    uint8_t *out[LANES_MAX] LEFT_AS_IS;
    for (size_t l = from; l < to; l++)
        out[l] = run->chains[items[l]].out;
    run->ops->store(&run->lanes, from, to, out);
}

static void chain_load(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    const struct hbs_chain *chain = run->chains + item;
    size_t words = run->lanes.n / 4U;
    for (size_t r = 0; r < words; r++)
        run->lanes.d[r][lane] = be_get32(chain->in + 4 * r);
    chain_number(&run->lanes, lane, chain);
}

static void chain_store(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    size_t words = run->lanes.n / 4U;
    for (size_t r = 0; r < words; r++)
        be_put32(run->chains[item].out + 4 * r, run->lanes.d[r][lane]);
}

static void chain_move(void *ctx, size_t to, size_t from)
{
    struct chain_lanes *lanes = &((struct chain_run *)ctx)->lanes;
    for (size_t r = 0; r < 8; r++)
        lanes->d[r][to] = lanes->d[r][from];
    lanes->q[to] = lanes->q[from];
    lanes->ij[to] = lanes->ij[from];
}

static void chain_steps(void *ctx, size_t active, size_t steps)
{
    struct chain_run *run = ctx;
    run->ops->steps(&run->lanes, active, (uint32_t)steps);
}

void lanes_chains(const struct lane_ops *ops, uint8_t n, const uint8_t id[LMS_I_LEN],
                  const struct hbs_chain *chains, size_t count)
{
    const struct deal_ops dealt = {.lanes = ops->lanes,
                                   .lengths = chain_lengths,
                                   .load = chain_load,
                                   .store = chain_store,
                                   .move = chain_move,
                                   .steps = chain_steps,
                                   .load_row = chain_load_row,
                                   .store_row = chain_store_row,
                                   .idle = chain_idle};
    struct chain_run run LEFT_AS_IS;
    lanes_start(&run.lanes, n, id);
    run.ops = ops;
    run.chains = chains;
    deal(&run.dealing, &dealt, &run, count);
    wipe(&run.lanes, sizeof(run.lanes));
    lanes_scrub(ops);
}

/* Messages --------------------------------------------------------------------------------------
 */

struct job_run {
    struct block_lanes lanes;
    const struct hbs_job *job[LANES_MAX];
    size_t left[LANES_MAX]; /* blocks: whole ones of the message, then those of the tail */
    bool in_tail[LANES_MAX];
    uint8_t tail[LANES_MAX][2 * BLOCK_LEN]; /* rest of the message, padding, length */
    size_t active;
    uint8_t n;
};

/* §5.1.1 */
static void tail_start(struct job_run *run, size_t lane)
{
    const struct hbs_job *job = run->job[lane];
    uint8_t *tail = run->tail[lane];
    size_t rest = job->len % BLOCK_LEN;
    size_t len = rest < BLOCK_LEN - 8 ? BLOCK_LEN : 2 * BLOCK_LEN;
    /* Two of a block: the compiler makes stores of these, and a slow string instruction of one. */
    memset(tail, 0, BLOCK_LEN);
    memset(tail + BLOCK_LEN, 0, BLOCK_LEN);
    if (rest > 0)
        memcpy(tail, job->in + (job->len - rest), rest);
    tail[rest] = 0x80;
    be_put64(tail + len - 8, (uint64_t)job->len * 8);
    run->lanes.block[lane] = tail;
    run->left[lane] = len / BLOCK_LEN;
    run->in_tail[lane] = true;
}

static void job_load(struct job_run *run, size_t lane, const struct hbs_job *job)
{
    for (size_t r = 0; r < 8; r++)
        run->lanes.state[r][lane] = sha256_iv[r];
    run->job[lane] = job;
    run->lanes.block[lane] = job->in;
    run->left[lane] = job->len / BLOCK_LEN;
    run->in_tail[lane] = false;
    if (run->left[lane] == 0)
        tail_start(run, lane);
}

static void job_store(const struct job_run *run, size_t lane)
{
    size_t words = run->n / 4U;
    for (size_t r = 0; r < words; r++)
        be_put32(run->job[lane]->out + 4 * r, run->lanes.state[r][lane]);
}

static void job_move(struct job_run *run, size_t to, size_t from)
{
    for (size_t r = 0; r < 8; r++)
        run->lanes.state[r][to] = run->lanes.state[r][from];
    run->job[to] = run->job[from];
    run->left[to] = run->left[from];
    run->in_tail[to] = run->in_tail[from];
    run->lanes.block[to] = run->lanes.block[from];
    if (run->in_tail[to]) {
        memcpy(run->tail[to], run->tail[from], sizeof(run->tail[to]));
        run->lanes.block[to] = run->tail[to] + (run->lanes.block[from] - run->tail[from]);
    }
}

static void jobs_advance(struct job_run *run, const struct lane_ops *ops)
{
    size_t blocks = run->left[0];
    for (size_t lane = 1; lane < run->active; lane++)
        blocks = run->left[lane] < blocks ? run->left[lane] : blocks;
    if (blocks > UINT32_MAX)
        blocks = UINT32_MAX;
    ops->blocks(&run->lanes, run->active, (uint32_t)blocks);
    for (size_t lane = run->active; lane-- > 0;) {
        run->left[lane] -= blocks;
        run->lanes.block[lane] += blocks * BLOCK_LEN;
        if (run->left[lane] > 0)
            continue;
        if (!run->in_tail[lane]) {
            tail_start(run, lane);
            continue;
        }
        job_store(run, lane);
        run->active--;
        if (lane != run->active)
            job_move(run, lane, run->active);
    }
}

void lanes_jobs(const struct lane_ops *ops, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    struct job_run run LEFT_AS_IS;
    size_t used = count < ops->lanes ? count : ops->lanes;
    memset(run.lanes.state, 0, sizeof(run.lanes.state));
    run.active = 0;
    run.n = n;
    size_t next = 0;
    do {
        for (; run.active < ops->lanes && next < count; next++)
            job_load(&run, run.active++, jobs + next);
        if (run.active > 0)
            jobs_advance(&run, ops);
    } while (run.active > 0 || next < count);
    wipe(run.lanes.state, sizeof(run.lanes.state));
    wipe(run.tail, used * sizeof(run.tail[0]));
    scrub(ops->frame);
}
