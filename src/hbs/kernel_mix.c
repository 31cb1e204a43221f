#include <stdio.h>

#include "hbs/kernel_keccak.h"
#include "hbs/kernel_lanes.h"

#define NAME_MAX_LEN 48

/* What is mixed for one hash. The functions of a kernel get no context, so there is one of these
 * for each hash, and each hash has functions of its own. */
struct mix {
    const struct hbs_kernel *wide;
    const struct hbs_kernel *narrow;
    size_t narrow_max;
    char name[NAME_MAX_LEN];
    struct lane_ops lanes;
    struct hbs_kernel kernel;
};

static struct mix sha256;
static struct mix shake256;

static const struct hbs_kernel *kernel_for(const struct mix *mix, size_t count)
{
    return count <= mix->narrow_max ? mix->narrow : mix->wide;
}

/* SHA-256: lane by lane -------------------------------------------------------------------------
 */

static const struct lane_ops *lanes_for(size_t active)
{
    return kernel_for(&sha256, active)->lanes;
}

static void mixed_steps(struct chain_lanes *lanes, size_t active, uint32_t steps)
{
    lanes_for(active)->steps(lanes, active, steps);
}

static void mixed_blocks(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    lanes_for(active)->blocks(lanes, active, blocks);
}

static void mixed_words(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                        const uint32_t block[16][LANES_MAX], size_t active)
{
    lanes_for(active)->words(out, start, block, active);
}

static void mixed_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                         size_t count)
{
    lanes_chains(&sha256.lanes, n, id, chains, count);
}

/* A call of few jobs needs none of the wide kernel's lanes to be prepared. */
static void mixed_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    if (count <= sha256.narrow_max)
        sha256.narrow->jobs(n, jobs, count);
    else
        lanes_jobs(&sha256.lanes, n, jobs, count);
}

static void lanes_mix(const struct lane_ops *wide, const struct lane_ops *narrow)
{
    sha256.lanes =
        (struct lane_ops){.lanes = wide->lanes,
                          .frame = narrow->frame > wide->frame ? narrow->frame : wide->frame,
                          .steps = mixed_steps,
                          .blocks = mixed_blocks,
                          .words = mixed_words,
                          .load = wide->load,
                          .store = wide->store,
                          .splice = wide->splice};
}

/* Whole calls ---------------------------------------------------------------------------------- */

static void sha256_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                          size_t count)
{
    kernel_for(&sha256, count)->chains(n, id, chains, count);
}

static void sha256_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    kernel_for(&sha256, count)->jobs(n, jobs, count);
}

static void shake256_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                            size_t count)
{
    kernel_for(&shake256, count)->chains(n, id, chains, count);
}

static void shake256_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    kernel_for(&shake256, count)->jobs(n, jobs, count);
}

const struct hbs_kernel *hbs_kernel_mix(const struct hbs_kernel *wide,
                                        const struct hbs_kernel *narrow, size_t narrow_max)
{
    MUST(wide->hash == narrow->hash);
    if (wide == narrow || narrow_max == 0)
        return wide;
    bool sha = wide->hash == HBS_SHA256;
    struct mix *mix = sha ? &sha256 : &shake256;
    MUST(wide != &mix->kernel && narrow != &mix->kernel);
    mix->wide = wide;
    mix->narrow = narrow;
    mix->narrow_max = narrow_max;
    (void)snprintf(mix->name, sizeof(mix->name), "%s+%s", wide->name, narrow->name);
    mix->kernel = *wide;
    mix->kernel.name = mix->name;
    mix->kernel.chains = sha ? sha256_chains : shake256_chains;
    mix->kernel.jobs = sha ? sha256_jobs : shake256_jobs;
    if (wide->lanes != NULL && narrow->lanes != NULL) {
        lanes_mix(wide->lanes, narrow->lanes);
        mix->kernel.lanes = &mix->lanes;
        mix->kernel.chains = mixed_chains;
        mix->kernel.jobs = mixed_jobs;
    }
    return &mix->kernel;
}
