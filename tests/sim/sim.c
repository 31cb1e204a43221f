#include "sim/sim.h"

#include <string.h>
#include <sys/mman.h>

/* Worlds with remote hashing came late. They are drawn from a stream of their own, so that all
 * others stay what they were, and from one in which the seeds that check.sh names are others. */
#define REMOTE_STREAM 33
#define REMOTE_PERCENT 30

struct sim *sim;

void sim_map(void)
{
    sim = mmap(NULL, sizeof(*sim), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(sim != MAP_FAILED);
}

void sim_begin(uint64_t seed, bool telling, bool fully)
{
    sim->seed = seed;
    sim->ops = 0;
    sim->now_ns = SIM_START_S * NS_PER_S;
    sim->chance = chance_make(seed, 1);
    sim->keys_chance = chance_make(seed, 2);
    struct chance remote = chance_make(seed, REMOTE_STREAM);
    sim->remote = chance_percent(&remote, REMOTE_PERCENT);
    trace_start(&sim->trace, telling, fully);
    oracle_start(&sim->oracle);
    memset(sim->wishes, 0, sizeof(sim->wishes));
    sim->wish_count = sim->next_wish = sim->message_count = 0;
    memset(sim->version_cursor, 0, sizeof(sim->version_cursor));
    memset(sim->clocks, 0, sizeof(sim->clocks));
    memset(sim->holds, 0, sizeof(sim->holds));
    sim->hold_count = sim->next_hold = 0;
    sim->numbers = 0;
    sim->processes = 0;
    sim->mended = false;
}
