#include "daemon/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/jcs.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/secmem.h"
#include "daemon/config.h"
#include "daemon/supervisor.h"
#include "daemon/world.h"
#include "policy/wear.h"
#include "signer/backup.h"
#include "signer/provision.h"
#include "signer/recover.h"

#define PASSPHRASE_MAX 1024
#define THREADS_MAX 16
#define CLOCK_TRIES 20
#define LEDGER_FILE "ledger.db"

int operation_exit_code(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return 0;
    case RC_REFUSED_SIGNATURE:
        return 1;
    case RC_REFUSED_CONFIG:
    case RC_REFUSED_INPUT:
    case RC_REFUSED_NOT_FOUND:
        return 2;
    case RC_RETRY_BUSY:
    case RC_RETRY_CLOCK:
    case RC_RETRY_ANCHOR:
        return 6;
    default:
        break;
    }
    switch (rc_class(rc)) {
    case RC_CLASS_OK:
        return 0;
    case RC_CLASS_REFUSED:
        return 3;
    case RC_CLASS_RETRY:
        return 4;
    case RC_CLASS_HALT:
        return 6;
    case RC_CLASS_BURNED:
        break;
    }
    return 9;
}

/* Options ------------------------------------------------------------------------------------- */

struct options {
    const char *config, *key, *out, *from, *passphrase_file, *argument;
    const char *statement; /* --old-device-destroyed */
    int64_t start_window, acknowledged_through, through;
    bool json, quiet, yes;
};

enum {
    OPT_START = 256,
    OPT_ACK,
    OPT_THROUGH,
    OPT_DESTROYED,
    OPT_JSON,
    OPT_QUIET,
    OPT_YES,
    OPT_FROM
};

static const struct option known_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"key", required_argument, NULL, 'k'},
    {"out", required_argument, NULL, 'o'},
    {"from", required_argument, NULL, OPT_FROM},
    {"passphrase-file", required_argument, NULL, 'p'},
    {"start-window", required_argument, NULL, OPT_START},
    {"acknowledged-through", required_argument, NULL, OPT_ACK},
    {"through", required_argument, NULL, OPT_THROUGH},
    {"old-device-destroyed", required_argument, NULL, OPT_DESTROYED},
    {"json", no_argument, NULL, OPT_JSON},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"yes", no_argument, NULL, OPT_YES},
    {NULL, 0, NULL, 0},
};

static bool window_option(int64_t *to, const char *name)
{
    uint64_t value = 0;
    if (!text_to_u64(&value, optarg, UINT64_C(1) << 32)) {
        (void)fprintf(stderr, "tidemark: --%s: '%s' is not a window number\n", name, optarg);
        return false;
    }
    *to = (int64_t)value;
    return true;
}

static bool take_option(struct options *o, int letter)
{
    switch (letter) {
    case 'c':
        o->config = optarg;
        return true;
    case 'k':
        o->key = optarg;
        return true;
    case 'o':
        o->out = optarg;
        return true;
    case 'p':
        o->passphrase_file = optarg;
        return true;
    case OPT_FROM:
        o->from = optarg;
        return true;
    case OPT_DESTROYED:
        o->statement = optarg;
        return true;
    case OPT_START:
        return window_option(&o->start_window, "start-window");
    case OPT_ACK:
        return window_option(&o->acknowledged_through, "acknowledged-through");
    case OPT_THROUGH:
        return window_option(&o->through, "through");
    case OPT_JSON:
        o->json = true;
        return true;
    case OPT_QUIET:
        o->quiet = true;
        return true;
    case OPT_YES:
        o->yes = true;
        return true;
    default:
        return false; /* getopt has said what is wrong */
    }
}

static bool parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.start_window = -1, .acknowledged_through = -1, .through = -1};
    optind = 1;
    for (int letter = 0; (letter = getopt_long(argc, argv, "", known_options, NULL)) != -1;)
        if (!take_option(o, letter))
            return false;
    if (optind < argc)
        o->argument = argv[optind++];
    if (optind < argc)
        (void)fprintf(stderr, "tidemark: unexpected argument '%s'\n", argv[optind]);
    return optind >= argc;
}

/* People -------------------------------------------------------------------------------------- */

struct bar {
    const char *what;
    int64_t start_ns;
    bool quiet, shown;
};

static bool show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct bar *bar = ctx;
    const struct time_source *t = world_time();
    int64_t now = t->raw_ns(t->ctx);
    if (bar->start_ns == 0)
        bar->start_ns = now;
    /* Only for people, and only when it takes longer than a second. */
    if (bar->quiet || !isatty(STDERR_FILENO) || now - bar->start_ns < INT64_C(1000000000))
        return true;
    static const char full[] = "################################";
    int width = (int)sizeof(full) - 1;
    int filled = total == 0 ? width : (int)((uint64_t)width * done / total);
    int64_t left_s = done == 0 ? 0
                               : (int64_t)((double)(now - bar->start_ns) / 1e9 *
                                           (double)(total - done) / (double)done);
    (void)fprintf(stderr, "\r%-10s [%-*.*s] %3u%%  %" PRId64 " s left ", bar->what, width, filled,
                  full, (unsigned)(total == 0 ? 100 : 100 * done / total), left_s);
    if (done == total)
        (void)fprintf(stderr, "\n");
    bar->shown = done != total;
    return true;
}

static int fail(const struct err *err, enum rc rc, const char *next_step)
{
    (void)fprintf(stderr, "tidemark: %s\n", err->rc != RC_OK ? err_text(err) : rc_text(rc));
    if (next_step != NULL)
        (void)fprintf(stderr, "          %s\n", next_step);
    return operation_exit_code(rc);
}

static bool confirm(const struct options *o)
{
    if (o->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        (void)fprintf(stderr, "tidemark: nothing was done: run it again with --yes to go on\n");
        return false;
    }
    (void)fprintf(stderr, "Type 'recover' to go on: ");
    char line[32] = {0};
    return fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "recover\n") == 0;
}

/* A passphrase from a file (its first line) or, unseen, from the terminal. In locked memory. */
static enum rc read_passphrase(const struct options *o, char *passphrase, struct err *err)
{
    if (o->passphrase_file != NULL) {
        char *data = NULL;
        size_t len = 0;
        enum rc rc = file_read(AT_FDCWD, o->passphrase_file, PASSPHRASE_MAX - 1, &data, &len, err);
        if (rc != RC_OK)
            return rc;
        size_t line = strcspn(data, "\n");
        memcpy(passphrase, data, line);
        wipe(data, len);
        free(data);
    } else {
        struct termios old;
        if (tcgetattr(STDIN_FILENO, &old) != 0)
            return FAIL(err, RC_REFUSED_INPUT, "", 0,
                        "no terminal to ask for the passphrase: give --passphrase-file FILE");
        struct termios silent = old;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &silent);
        (void)fprintf(stderr, "Passphrase of the backup: ");
        bool ok = fgets(passphrase, PASSPHRASE_MAX, stdin) != NULL;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &old);
        (void)fprintf(stderr, "\n");
        passphrase[ok ? strcspn(passphrase, "\n") : 0] = '\0';
    }
    if (strlen(passphrase) < 8)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "the passphrase must have at least 8 bytes: it guards every future window");
    return RC_OK;
}

/* The host ------------------------------------------------------------------------------------ */

/* Everything an operation works on. */
struct host {
    struct config config;
    int state_dirfd, service_lock, core_lock;
    struct ledger *ledger;
    struct tpm *tpm;
    struct clk *clock;
    struct world world;
    struct key *key; /* loaded by load_key() */
    char *passphrase;
};

static void host_close(struct host *h)
{
    if (h->key != NULL) {
        key_close(h->key, &h->world);
        free(h->key);
    }
    secmem_free(h->passphrase);
    tpm_close(&h->tpm);
    ledger_close(&h->ledger);
    clk_close(&h->clock);
    fd_close(&h->core_lock);
    fd_close(&h->service_lock);
    fd_close(&h->state_dirfd);
}

static enum rc open_ledger(struct host *h, bool create, struct err *err)
{
    char path[CONFIG_PATH_MAX + sizeof(LEDGER_FILE) + 1];
    (void)snprintf(path, sizeof(path), "%s/%s", h->config.state_dir, LEDGER_FILE);
    struct ledger_options options = {.path = path, .create = create};
    return ledger_open(&h->ledger, &options, err);
}

static enum rc host_open(struct host *h, const struct options *o, bool create, struct err *err)
{
    *h = (struct host){.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    enum rc rc = base_init(err);
    if (rc == RC_OK)
        rc = config_read(&h->config, o->config, err);
    if (rc == RC_OK)
        rc = state_dir_open(h->config.state_dir, create, &h->state_dirfd, &h->service_lock, err);
    if (rc == RC_OK)
        rc = lock_take(h->state_dirfd, CORE_LOCK, 1000, &h->core_lock, err);
    if (rc == RC_OK)
        rc = open_ledger(h, create, err);
    if (rc == RC_OK)
        rc = tpm_open(&h->tpm, &h->config.tpm, create, err);
    /* One update is enough to place a key in time; signing asks for more. */
    h->config.settings.clock.warmup = 1;
    if (rc == RC_OK)
        rc = clk_open(&h->clock, &h->config.settings.clock, world_time(), err);
    h->world = (struct world){.time = world_time(),
                              .tpm = &world_tpm,
                              .tpm_ctx = &h->config.tpm,
                              .clock_read = world_clock_read,
                              .clock_ctx = h->clock};
    return rc;
}

static int64_t host_now_s(void)
{
    const struct time_source *t = world_time();
    return t->real_ns(t->ctx) / INT64_C(1000000000);
}

/* The trusted time, waited for a few seconds. @return -1 if there is none. */
static int64_t trusted_s(struct host *h, char reasons[160])
{
    reasons[0] = '\0';
    for (int i = 0; i < CLOCK_TRIES; i++) {
        struct clk_reading reading;
        clk_read(h->clock, &reading);
        if (reading.safe)
            return reading.latest_ns / INT64_C(1000000000);
        clk_reasons_print(reading.reasons, reasons, 160);
        world_time()->sleep_ms(world_time()->ctx, 500);
    }
    return -1;
}

static enum rc load_key(struct host *h, const char *name, struct err *err)
{
    struct ledger_key record;
    if (name == NULL)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "which key? Give --key NAME");
    enum rc rc = ledger_key_by_name(h->ledger, name, &record, err);
    if (rc != RC_OK)
        return rc;
    h->key = calloc(1, sizeof(*h->key));
    if (h->key == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory");
    const struct key_limits none = {0};
    /* Whether a virtual TPM may sign is the service's question. */
    h->config.settings.virtual_policy = VIRTUAL_DEMO;
    key_open(h->key, &record, h->state_dirfd, &h->world, h->tpm, h->ledger, &h->config.settings,
             &none);
    return RC_OK;
}

/* key-new ------------------------------------------------------------------------------------- */

static enum rc first_window(struct host *h, const char *text, size_t len, int64_t *window,
                            struct plan_fault *fault, struct err *err)
{
    struct plan plan = {0};
    *window = 0;
    enum rc rc = plan_parse(&plan, text, len, fault, err);
    if (rc == RC_OK && plan.kind == PLAN_TIME) {
        char reasons[160];
        int64_t now = trusted_s(h, reasons);
        uint64_t at = 0;
        if (now < 0)
            rc = FAIL(err, RC_RETRY_CLOCK, "", 0,
                      "a time plan needs a trusted clock to know its first window (%s)", reasons);
        else if (now >= plan.start_s)
            rc = plan_window_at(&plan, now, &at, err);
        *window = (int64_t)at;
    }
    plan_free(&plan);
    return rc;
}

/* DESIGN section 6 rule 7: all NV writes over the key's life against what the TPM stands. */
static enum rc check_wear(const struct config *config, const char *text, size_t len, bool quiet,
                          struct err *err)
{
    struct plan plan = {0};
    struct plan_wear wear = {0};
    enum rc rc = plan_parse(&plan, text, len, NULL, err);
    if (rc == RC_OK)
        rc = plan_wear_check(&plan, config->nv_endurance, &wear, err);
    if (rc == RC_OK && wear.a > config->nv_endurance && !quiet)
        (void)fprintf(
            stderr,
            "tidemark: note: if every version of this plan were signed, each alone, the TPM "
            "would write one\n          index %" PRIu64 " times; it is configured to stand %" PRIu64
            " (tpm.nv_endurance)\n",
            wear.a, config->nv_endurance);
    plan_free(&plan);
    return rc;
}

static unsigned thread_count(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > THREADS_MAX ? THREADS_MAX : (unsigned)online;
}

static int print_key(const struct options *o, const struct ledger_key *key, int64_t first,
                     const char *verb)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    jcs_object_open(&j);
    jcs_member_int(&j, "first_window", first);
    jcs_member_string(&j, "key", key->name);
    jcs_member_hex(&j, "key_id", key->key_id, KEY_ID_LEN);
    jcs_member_hex(&j, "plan_sha256", key->plan_sha256, SHA256_LEN);
    jcs_member_hex(&j, "public_key", key->public_key, key->public_key_len);
    jcs_object_close(&j);
    if (!jcs_finish(&j))
        return 9;
    if (o->json)
        (void)printf("%s\n", j.text);
    else if (!o->quiet) {
        char plan[HEX_SIZE(SHA256_LEN)];
        hex_encode(plan, key->plan_sha256, SHA256_LEN);
        (void)printf("%s\n", key->name);
        (void)fprintf(stderr, "%s  %s under plan %.16s…, first window %" PRId64 "\n", verb,
                      key->name, plan, first);
    }
    return 0;
}

static void explain_fault(const struct plan_fault *fault)
{
    if (fault->path[0] == '\0')
        return;
    (void)fprintf(stderr, "          at %s: %s\n          right would be: %s\n", fault->path,
                  fault->what, fault->example);
}

static int key_new(const struct options *o)
{
    struct host h CLEANUP(host_close) = {.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    struct err err = {0};
    struct plan_fault fault = {0};
    struct ledger_key key;
    char *text = NULL;
    size_t len = 0;
    if (o->argument == NULL) {
        (void)fprintf(stderr, "usage: tidemark key new PLAN [--config FILE]\n");
        return 2;
    }
    enum rc rc = file_read(AT_FDCWD, o->argument, PLAN_TEXT_MAX, &text, &len, &err);
    if (rc == RC_OK) {
        /* The plan first: a mistake in it must not cost the making of a state directory. */
        struct plan plan = {0};
        rc = plan_parse(&plan, text, len, &fault, &err);
        plan_free(&plan);
    }
    int64_t first = 0;
    if (rc == RC_OK)
        rc = host_open(&h, o, true, &err);
    if (rc == RC_OK)
        rc = check_wear(&h.config, text, len, o->quiet, &err);
    if (rc == RC_OK)
        rc = first_window(&h, text, len, &first, &fault, &err);
    struct bar bar = {.what = "key", .quiet = o->quiet};
    struct provision p = {.state_dirfd = h.state_dirfd,
                          .ledger = h.ledger,
                          .tpm = h.tpm,
                          .now_s = host_now_s(),
                          .first_window = first,
                          .threads = thread_count(),
                          .progress = show_progress,
                          .progress_ctx = &bar};
    if (rc == RC_OK)
        rc = provision_new(&p, text, len, &key, &fault, &err);
    free(text);
    if (rc == RC_OK)
        return print_key(o, &key, first, "made");
    int code = fail(&err, rc, NULL);
    explain_fault(&fault);
    return code;
}

/* backup -------------------------------------------------------------------------------------- */

static enum rc take_passphrase(struct host *h, const struct options *o, struct err *err)
{
    h->passphrase = secmem_alloc(PASSPHRASE_MAX);
    if (h->passphrase == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    return read_passphrase(o, h->passphrase, err);
}

static enum rc note(struct host *h, enum ledger_note_kind kind, const char *what, const char *text,
                    int64_t number, struct err *err)
{
    enum rc rc = ledger_begin(h->ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_note(h->ledger, h->key->record.id, kind, what, text, number, host_now_s(),
                             err);
    return rc == RC_OK ? ledger_commit(h->ledger, err) : rc;
}

/* The mark is recorded before the file is written: a file that exists is never unknown here. */
static enum rc export_marked(struct host *h, const struct options *o, int64_t through,
                             uint8_t sha256[SHA256_LEN], struct err *err)
{
    struct bar bar = {.what = "backup", .quiet = o->quiet};
    enum rc rc = note(h, LEDGER_OPERATION, "backup-export", o->out, through, err);
    if (rc == RC_OK)
        rc = backup_export(h->key, &h->world, h->tpm, o->out, h->passphrase, through, host_now_s(),
                           show_progress, &bar, sha256, err);
    return rc;
}

static int backup_export_operation(const struct options *o)
{
    struct host h CLEANUP(host_close) = {.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    struct err err = {0};
    uint8_t sha256[SHA256_LEN];
    if (o->out == NULL) {
        (void)fprintf(stderr, "usage: tidemark backup export --key K --out FILE\n");
        return 2;
    }
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = load_key(&h, o->key, &err);
    if (rc == RC_OK && h.key->rc != RC_OK)
        rc = FAIL(&err, h.key->rc, "", 0, "%s", err_text(&h.key->err));
    if (rc == RC_OK)
        rc = take_passphrase(&h, o, &err);
    int64_t through = -1;
    if (rc == RC_OK) {
        int64_t floor = key_floor(h.key);
        through = floor > o->through ? floor : o->through;
        if (through < 0)
            through = 0;
        rc = export_marked(&h, o, through, sha256, &err);
    }
    if (rc != RC_OK)
        return fail(&err, rc, NULL);
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, sha256, SHA256_LEN);
    (void)printf("%s  %s\n", hex, o->out);
    if (!o->quiet)
        (void)fprintf(stderr,
                      "wrote the windows after %" PRId64 " to %s\n"
                      "Take it off this machine, then acknowledge it: tidemark backup check %s\n",
                      key_floor(h.key), o->out, o->out);
    return 0;
}

static int backup_check_operation(const struct options *o)
{
    struct host h CLEANUP(host_close) = {.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    struct backup backup = {.fd = -1};
    struct err err = {0};
    if (o->argument == NULL) {
        (void)fprintf(stderr, "usage: tidemark backup check FILE\n");
        return 2;
    }
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = take_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = backup_open(&backup, o->argument, h.passphrase, &err);
    struct bar bar = {.what = "check", .quiet = o->quiet};
    if (rc == RC_OK)
        rc = backup_check(&backup, show_progress, &bar, &err);
    if (rc == RC_OK)
        rc = load_key(&h, backup.header.key, &err);
    if (rc == RC_OK && (h.key->record.public_key_len != backup.header.public_key_len ||
                        !ct_equal(h.key->record.public_key, backup.header.public_key,
                                  backup.header.public_key_len)))
        rc = FAIL(&err, RC_REFUSED_INPUT, "", 0, "the backup is of another key named '%s'",
                  backup.header.key);
    if (rc == RC_OK)
        rc = note(&h, LEDGER_ACKNOWLEDGEMENT, "backup-export", o->argument, backup.header.through,
                  &err);
    if (rc == RC_OK && !o->quiet)
        (void)printf(
            "%s: good: %" PRIu64 " windows from %" PRIu64 ", mark %" PRId64 " acknowledged\n",
            o->argument, backup.header.count, backup.header.first_window, backup.header.through);
    if (backup.fd >= 0)
        backup_close(&backup);
    return rc == RC_OK ? 0 : fail(&err, rc, NULL);
}

/* recover ------------------------------------------------------------------------------------- */

static void show_plan(const struct recover_plan *r)
{
    char opens[RFC3339_SIZE] = "";
    if (r->opens_s >= 0)
        rfc3339_print(opens, r->opens_s);
    (void)fprintf(stderr,
                  "what is wrong   %s\n"
                  "closed for good every window up to %" PRId64 "\n"
                  "starts again in window %" PRId64 "%s%s\n"
                  "given up        what is left of %" PRIu64 " window(s)\n",
                  r->why, r->floor, r->start_window, opens[0] != '\0' ? ", which opens " : "",
                  opens, r->windows_given_up);
}

static int recover_on_this_device(const struct options *o)
{
    struct host h CLEANUP(host_close) = {.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    struct err err = {0};
    struct recover_plan plan;
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = load_key(&h, o->key, &err);
    if (rc == RC_OK)
        rc = recover_here_plan(h.key, &h.world, h.ledger, &plan, &err);
    if (rc != RC_OK)
        return fail(&err, rc, NULL);
    show_plan(&plan);
    if (!confirm(o))
        return 2;
    rc = recover_here(h.key, &h.world, h.ledger, &plan, &err);
    if (rc != RC_OK)
        return fail(&err, rc, "run the same command again when the cause is mended");
    return print_key(o, &h.key->record, plan.start_window, "recovered");
}

static enum rc plan_from_backup(struct host *h, const struct options *o, struct backup *backup,
                                struct recover_plan *plan, struct err *err)
{
    char reasons[160];
    enum rc rc = backup_open(backup, o->from, h->passphrase, err);
    if (rc != RC_OK)
        return rc;
    struct recover_statement statement = {.acknowledged_through = o->acknowledged_through,
                                          .start_window = o->start_window,
                                          .margin = h->config.settings.export_margin,
                                          .clock_latest_s = trusted_s(h, reasons)};
    return recover_backup_plan(backup, &statement, plan, err);
}

static int recover_from_file(const struct options *o)
{
    struct host h CLEANUP(host_close) = {.state_dirfd = -1, .service_lock = -1, .core_lock = -1};
    struct backup backup = {.fd = -1};
    struct err err = {0};
    struct recover_plan plan;
    struct ledger_key key;
    if (o->statement == NULL) {
        (void)fprintf(
            stderr, "tidemark: the lost device may come back and sign in the same windows.\n"
                    "          State that it cannot: --old-device-destroyed 'who saw it, when'\n");
        return 3;
    }
    enum rc rc = host_open(&h, o, true, &err);
    if (rc == RC_OK)
        rc = take_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = plan_from_backup(&h, o, &backup, &plan, &err);
    bool go = false;
    if (rc == RC_OK) {
        show_plan(&plan);
        go = confirm(o);
    }
    struct bar bar = {.what = "recover", .quiet = o->quiet};
    struct provision p = {.state_dirfd = h.state_dirfd,
                          .ledger = h.ledger,
                          .tpm = h.tpm,
                          .now_s = host_now_s(),
                          .threads = thread_count(),
                          .progress = show_progress,
                          .progress_ctx = &bar};
    if (go)
        rc = recover_from_backup(&p, &backup, &plan, o->statement, &key, &err);
    if (backup.fd >= 0)
        backup_close(&backup);
    if (rc != RC_OK)
        return fail(&err, rc, NULL);
    return go ? print_key(o, &key, plan.start_window, "recovered") : 2;
}

static int recover(const struct options *o)
{
    return o->from != NULL ? recover_from_file(o) : recover_on_this_device(o);
}

/*  -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*run)(const struct options *);
} operations[] = {
    {"key-new", key_new},
    {"backup-export", backup_export_operation},
    {"backup-check", backup_check_operation},
    {"recover", recover},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

bool operation_known(const char *word)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        if (strcmp(operations[i].name, word) == 0)
            return true;
    return false;
}

int operation_run(int argc, char **argv)
{
    struct options o;
    if (!parse_options(&o, argc, argv))
        return 2;
    for (size_t i = 0; i < OPERATIONS; i++)
        if (strcmp(operations[i].name, argv[0]) == 0)
            return operations[i].run(&o);
    return 2;
}
