#include "daemon/operations.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host.h"

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

enum {
    OPT_START = 256,
    OPT_ACK,
    OPT_THROUGH,
    OPT_DESTROYED,
    OPT_JSON,
    OPT_QUIET,
    OPT_YES,
    OPT_FROM,
    OPT_CHRONY,
    OPT_WINDOW,
    OPT_EXPORT,
    OPT_REASON,
    OPT_RESTART,
    OPT_ESCROW,
    OPT_PUBLIC
};

static const struct option known_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"key", required_argument, NULL, 'k'},
    {"out", required_argument, NULL, 'o'},
    {"from", required_argument, NULL, OPT_FROM},
    {"chrony-conf", required_argument, NULL, OPT_CHRONY},
    {"public", required_argument, NULL, OPT_PUBLIC},
    {"passphrase-file", required_argument, NULL, 'p'},
    {"escrow-passphrase-file", required_argument, NULL, OPT_ESCROW},
    {"start-window", required_argument, NULL, OPT_START},
    {"acknowledged-through", required_argument, NULL, OPT_ACK},
    {"through", required_argument, NULL, OPT_THROUGH},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"acknowledged-export", required_argument, NULL, OPT_EXPORT},
    {"reason", required_argument, NULL, OPT_REASON},
    {"old-device-destroyed", required_argument, NULL, OPT_DESTROYED},
    {"json", no_argument, NULL, OPT_JSON},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"yes", no_argument, NULL, OPT_YES},
    {"restart", no_argument, NULL, OPT_RESTART},
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
    case OPT_ESCROW:
        o->escrow_passphrase_file = optarg;
        return true;
    case OPT_FROM:
        o->from = optarg;
        return true;
    case OPT_CHRONY:
        o->chrony_conf = optarg;
        return true;
    case OPT_PUBLIC:
        o->public = optarg;
        return true;
    case OPT_DESTROYED:
        o->statement = optarg;
        return true;
    case OPT_EXPORT:
        o->acknowledged_export = optarg;
        return true;
    case OPT_REASON:
        o->reason = optarg;
        return true;
    case OPT_WINDOW:
        return window_option(&o->window, "window");
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
    case OPT_RESTART:
        o->restart = true;
        return true;
    default:
        return false; /* getopt has said what is wrong */
    }
}

static bool parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .start_window = -1, .acknowledged_through = -1, .through = -1, .window = -1};
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

/* Table --------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*run)(const struct options *);
} operations[] = {
    {"key-new", operation_key_new},
    {"key-selftest", operation_key_selftest},
    {"backup-export", operation_backup_export},
    {"backup-check", operation_backup_check},
    {"recover", operation_recover},
    {"advance-window", operation_advance_window},
    {"reseal", operation_reseal},
    {"doctor", operation_doctor},
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
