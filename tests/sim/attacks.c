/*
 * Every row of docs/attacks.md by its number: the scenario that shows its outcome, or what the row
 * waits for. A scenario is a test of the module that it attacks; this program runs each one alone,
 * and sees to it that page and table are of one mind: every row of the page is here, with the same
 * scenario, and no other.
 *
 * Options: attacks [NUMBER...]: those rows, e.g. 18b. Prints a line a row, and at the end
 * "attacks: rows=… shown=… open=…".
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE SRCDIR "/docs/attacks.md"
#define LINE_MAX_LEN 4096
#define PATH_LEN 512
#define PARTS 2

#define ADVANCE "tests/unit/test_signer_advance"
#define BACKUP "tests/unit/test_signer_backup"
#define SCHEMES "tests/unit/test_signer_schemes"
#define CLOCK "tests/unit/test_signer_clock"
#define START "tests/unit/test_signer_start"
#define VERSION "tests/unit/test_signer_version"
#define WEAR "tests/unit/test_policy_wear"
#define WINDOW "tests/unit/test_signer_window"

/* One scenario; a second part where one test is not all of it. */
struct part {
    const char *program;
    const char *test;
};

static const struct row {
    const char *number;
    const char *name;
    struct part parts[PARTS];
    const char *open; /* what it waits for */
} rows[] = {
    {"1", "attack_01_lost_device_comes_back", {{0}}, "proof that the old device is past, or gone"},
    {"2", "attack_02_replacement_by_export", {{BACKUP, "attack_02_*"}}, NULL},
    {"3", "attack_03_seal_text_changes", {{0}}, "seals"},
    {"4", "attack_04_image_resumed_between_batches", {{WINDOW, "attack_04_*"}}, NULL},
    {"5", "attack_05_lease_size_changed", {{WINDOW, "attack_05_*"}}, NULL},
    {"6", "attack_06_a_torn", {{WINDOW, "attack_06_*"}}, NULL},
    {"7", "attack_07_tpm_that_loses_writes", {{VERSION, "attack_07_*"}}, NULL},
    {"8", "attack_08_old_a_and_old_disk", {{WINDOW, "attack_08_*"}}, NULL},
    {"9", "attack_09_windows_handed_over", {{0}}, "hand-over"},
    {"10", "attack_10_other_bytes_than_announced", {{VERSION, "attack_10_*"}}, NULL},
    {"11", "attack_11_completion_gives_the_same_bytes", {{VERSION, "attack_11_*"}}, NULL},
    {"12", "attack_12_wrong_root_signed", {{SCHEMES, "attack_12_*"}}, NULL},
    {"13", "attack_13_line_opened_and_the_old_disk", {{VERSION, "attack_13_*"}}, NULL},
    {"14", "attack_14_two_keys_in_one_ledger", {{WINDOW, "attack_14_*"}}, NULL},
    {"15", "attack_15_crash_before_the_increment", {{WINDOW, "attack_15_*"}}, NULL},
    {"16", "attack_16_idle_restarts_cost_nothing", {{WINDOW, "attack_16_*"}}, NULL},
    {"17", "attack_17_disk_back_within_one_lease", {{WINDOW, "attack_17_*"}}, NULL},
    {"18", "attack_18_anchored_intent_before_new_work", {{VERSION, "attack_18_*"}}, NULL},
    {"18b", "attack_18b_mistyped_version", {{VERSION, "attack_18b_*"}}, NULL},
    {"19", "attack_19_short_pause", {{CLOCK, "attack_19_*"}}, NULL},
    {"20", "attack_20_window_advanced_early", {{ADVANCE, "attack_20_*"}}, NULL},
    {"21", "attack_21_wear_is_counted", {{WEAR, "small_leases_get_a_proposal"}}, NULL},
    {"22", "attack_22_twins", {{VERSION, "attack_22_*"}}, NULL},
    {"23",
     "attack_23_old_core",
     {{START, "core_checks_every_field"}, {"tests/unit/test_base", "locks"}},
     NULL},
    {"24", "attack_24_retry_over_midnight", {{WINDOW, "attack_24_*"}}, NULL},
    {"25", "attack_25_voided_is_not_completed", {{VERSION, "attack_25_*"}}, NULL},
    {"26", "attack_26_old_disk_between_w_and_a", {{VERSION, "attack_26_*"}}, NULL},
    {"27", "attack_27_torn_a_and_old_disk", {{VERSION, "attack_27_*"}}, NULL},
    {"28", "attack_28_recovery_of_lines", {{VERSION, "attack_28_*"}}, NULL},
    {"29", "attack_29_early_window_and_a_lost_device", {{ADVANCE, "attack_29_*"}}, NULL},
    {"30", "attack_30_nothing_beyond_the_export", {{WINDOW, "attack_30_*"}}, NULL},
    {"31", "attack_31_image_resumed_inside_a_batch", {{WINDOW, "attack_31_*"}}, NULL},
    {"32", "attack_32_seal_and_a_tpm_that_forgets", {{0}}, "seals"},
    {"33", "attack_33_windows_beyond_the_horizon", {{0}}, "the sealing horizon"},
    {"34", "attack_34_crash_while_l_is_raised", {{WINDOW, "attack_34_*"}}, NULL},
    {"35", "attack_35_honest_crashes", {{VERSION, "attack_35_*"}}, NULL},
    {"36", "attack_36_one_batch_over_two_windows", {{VERSION, "attack_36_*"}}, NULL},
    {"37", "attack_37_orderly_counter", {{0}}, "an ORDERLY L"},
    {"38", "attack_38_ledger_that_forgot_an_export", {{BACKUP, "attack_38_*"}}, NULL},
    {"39", "attack_39_check_cut_off", {{0}}, "nothing in the code: a rule for operators"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* Running ----------------------------------------------------------------------------------------
 */

static void run_child(const char *path, const char *test, int out)
{
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(126);
    (void)execl(path, path, test, (char *)NULL);
    _exit(127);
}

/* Did the program run at least one test of that name, and all of them well? cmocka ends well, too,
 * if the name matches nothing. */
static bool run_part(const struct part *part)
{
    char path[PATH_LEN];
    char line[LINE_MAX_LEN];
    int ends[2];
    bool ran = false;
    (void)snprintf(path, sizeof(path), "%s/%s", BUILDDIR, part->program);
    if (pipe(ends) != 0)
        return false;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        run_child(path, part->test, ends[1]);
    (void)close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    while (out != NULL && fgets(line, sizeof(line), out) != NULL)
        ran = ran || strncmp(line, "[       OK ]", 12) == 0;
    if (out != NULL)
        (void)fclose(out);
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 && ran;
}

static bool run_row(const struct row *row)
{
    if (row->open != NULL) {
        printf("%s: open, waits for %s\n", row->name, row->open);
        return true;
    }
    bool good = true;
    for (size_t i = 0; i < PARTS && row->parts[i].program != NULL; i++)
        good = run_part(&row->parts[i]) && good;
    printf("%s: %s\n", row->name, good ? "shown" : "FAILED");
    return good;
}

/* The page ---------------------------------------------------------------------------------------
 */

static const struct row *find_row(const char *number, size_t len)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].number) == len && strncmp(rows[i].number, number, len) == 0)
            return &rows[i];
    return NULL;
}

/* The test's name without the pattern, or "open". */
static bool page_agrees(const struct row *row, const char *line)
{
    if (row->open != NULL)
        return strstr(line, "| open: ") != NULL;
    for (size_t i = 0; i < PARTS && row->parts[i].program != NULL; i++) {
        char name[PATH_LEN];
        (void)snprintf(name, sizeof(name), "%s", row->parts[i].test);
        name[strcspn(name, "*")] = '\0';
        if (strstr(line, name) == NULL)
            return false;
    }
    return true;
}

/* Rows begin with "| 18b | ". @return how many things the page says otherwise. */
static unsigned compare_with_page(void)
{
    char line[LINE_MAX_LEN];
    unsigned wrong = 0;
    size_t seen = 0;
    FILE *page = fopen(PAGE, "r");
    while (page != NULL && fgets(line, sizeof(line), page) != NULL) {
        if (strncmp(line, "| ", 2) != 0 || line[2] < '0' || line[2] > '9')
            continue;
        const struct row *row = find_row(line + 2, strcspn(line + 2, " "));
        if (row == NULL || !page_agrees(row, line)) {
            printf("docs/attacks.md says otherwise: %.40s…\n", line);
            wrong++;
        }
        seen++;
    }
    if (page != NULL)
        (void)fclose(page);
    if (seen != ROWS)
        printf("docs/attacks.md has %zu rows, this program %zu\n", seen, ROWS);
    return wrong + (seen != ROWS ? 1 : 0);
}

static bool is_asked_for(const struct row *row, int count, char **numbers)
{
    for (int i = 0; i < count; i++)
        if (strcmp(row->number, numbers[i]) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    unsigned shown = 0;
    unsigned open = 0;
    unsigned failed = compare_with_page();
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_asked_for(&rows[i], argc - 1, argv + 1))
            continue;
        if (!run_row(&rows[i]))
            failed++;
        else if (rows[i].open != NULL)
            open++;
        else
            shown++;
    }
    printf("attacks: rows=%zu shown=%u open=%u failed=%u\n", ROWS, shown, open, failed);
    return failed == 0 ? 0 : 1;
}
