/*
 * attack [-n ATTEMPTS] [-s SEED]   an attacker with root's powers tries to open windows that are
 * not open (kinds.h says what he has); none may
 *
 * First and last the controls: for each kind the same steps where the protection is missing, which
 * must open, or the attempts would prove nothing; and between the attempts the service opens its
 * own window, which must go on to work. The last line is
 *
 *     attack-tpm: attempts=N kinds=K opened=0
 *
 * Exit status: 1 if a window was opened or a control was not, 2 if the test itself broke, 77 if
 * there is no swtpm. A seed repeats the order of attempts; keys are random.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack/kinds.h"
#include "base/secmem.h"
#include "base/text.h"

#define SKIP 77
#define ATTEMPTS_DEFAULT 200
#define STEP_EVERY 40
#define NEW_TPM_EVERY 2000
#define HONEST_EVERY 20
#define CONTROLS_EACH 4
/* Below the first no window is over, above the last none is still to come. */
#define OPEN_FIRST 1
#define OPEN_LAST (VICTIM_WINDOWS - 3)

struct tally {
    uint64_t attempts, opened;
};

static struct victim victim, other;
static struct attack attack;
static struct tally tally[64];
static bool terminal;

static void somewhere(void)
{
    victim_restore(&victim, OPEN_FIRST + (int64_t)attack_draw(&attack, OPEN_LAST - OPEN_FIRST + 1));
}

static void end_all(void)
{
    victim_end(&victim);
    victim_end(&other);
}

static void begin(void)
{
    victim_make(&victim, NULL);
    victim_make(&other, &victim);
    victim_restore(&other, 2);
    somewhere();
}

/* One attempt or control. @return true: bytes came out. */
static bool run(const struct kind *kind, bool control)
{
    attack.v = &victim;
    attack.other = &other;
    attack.t = attack_pick(&attack, kind->past_only);
    attack.k = &victim.key[attack.t->key];
    attack.control = control;
    if (!means_open(&attack.m, victim.swtpm.tcti, TPM_SRK_DEFAULT))
        give_up("no connection", NULL);
    bool opened = control ? kind->control(&attack) : kind->attempt(&attack);
    means_close(&attack.m);
    if (kind->spoils)
        somewhere();
    return opened;
}

static bool run_controls(void)
{
    bool all = true;
    for (size_t i = 0; i < kinds_count; i++) {
        bool opens = true;
        for (int n = 0; n < CONTROLS_EACH && opens; n++)
            opens = run(&kinds[i], true);
        if (!opens)
            (void)fprintf(stderr, "attack-tpm: control of '%s' does not open without %s\n",
                          kinds[i].name, kinds[i].without);
        all = all && opens;
    }
    victim_honest(&victim);
    return all;
}

static void show(uint64_t done, uint64_t attempts)
{
    if (terminal && done % 25 == 0)
        (void)fprintf(stderr, "\rattack-tpm: %" PRIu64 " of %" PRIu64 " attempts ", done, attempts);
}

static void live(uint64_t n)
{
    if (n % NEW_TPM_EVERY == NEW_TPM_EVERY - 1) {
        end_all();
        begin();
    } else if (n % STEP_EVERY == STEP_EVERY - 1) {
        if (victim.open < OPEN_LAST)
            victim_step(&victim);
        else
            victim_restore(&victim, OPEN_FIRST);
    } else if (n % HONEST_EVERY == HONEST_EVERY - 1) {
        victim_honest(&victim);
    }
}

static uint64_t run_attempts(uint64_t attempts)
{
    uint64_t opened = 0;
    for (uint64_t n = 0; n < attempts; n++) {
        size_t i = attack_draw(&attack, kinds_count);
        bool success = run(&kinds[i], false);
        tally[i].attempts++;
        tally[i].opened += success;
        opened += success;
        if (success)
            (void)fprintf(stderr,
                          "attack-tpm: attempt %" PRIu64 " (%s) opened window %" PRId64
                          " while window %" PRId64 " was open\n",
                          n, kinds[i].name, attack.t->window, victim.open);
        live(n);
        show(n + 1, attempts);
    }
    if (terminal)
        (void)fprintf(stderr, "\n");
    return opened;
}

static bool read_options(int argc, char **argv, uint64_t *attempts)
{
    *attempts = ATTEMPTS_DEFAULT;
    attack.random = 1;
    for (int c; (c = getopt(argc, argv, "n:s:")) != -1;) {
        uint64_t *to = c == 'n' ? attempts : &attack.random;
        if (c == '?' || !text_to_u64(to, optarg, UINT64_C(1) << 40) || *to == 0)
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    uint64_t attempts = 0;
    struct err err = {0};
    if (!read_options(argc, argv, &attempts)) {
        (void)fprintf(stderr, "usage: attack [-n ATTEMPTS] [-s SEED], both 1 or more\n");
        return 2;
    }
    if (system("swtpm --version >/dev/null 2>&1") != 0) /* NOLINT(cert-env33-c) */
        return SKIP;
    if (base_init(&err) != RC_OK)
        give_up("cannot start", &err);
    (void)signal(SIGPIPE, SIG_IGN);
    MUST(kinds_count <= sizeof(tally) / sizeof(tally[0]));
    terminal = isatty(STDERR_FILENO) == 1;
    (void)printf("seed %" PRIu64 "\n", attack.random);
    (void)atexit(end_all);
    begin();

    bool controls = run_controls();
    uint64_t opened = controls ? run_attempts(attempts) : 0;
    controls = controls && run_controls();
    for (size_t i = 0; i < kinds_count; i++)
        (void)printf("%-32s attempts=%-6" PRIu64 " opened=%" PRIu64 "  opens without %s\n",
                     kinds[i].name, tally[i].attempts, tally[i].opened, kinds[i].without);
    (void)printf("honest openings in between: %u\n", victim.honest);
    if (!controls)
        (void)printf("a control did not open: the attempts prove nothing\n");
    (void)printf("attack-tpm: attempts=%" PRIu64 " kinds=%zu opened=%" PRIu64 "\n",
                 controls ? attempts : 0, kinds_count, opened);
    return opened == 0 && controls ? 0 : 1;
}
