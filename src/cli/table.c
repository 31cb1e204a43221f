#include "cli/table.h"

#include <string.h>

#include "cli/cli.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Options of every command, and of those that talk to the service. */
static const struct cli_option common_options[] = {
    {"json", NULL, "print the result as one JSON value", WORDS_NONE, NULL},
    {"quiet", NULL, "print errors and asked-for data only", WORDS_NONE, NULL},
    {"help", NULL, "show help and stop", WORDS_NONE, NULL},
    END,
};

static const struct cli_option service_options[] = {
    {"url", "URL", "address of the service", WORDS_NONE, NULL},
    {"socket", "PATH", "unix socket of the service", WORDS_FILE, NULL},
    {"tls-cert", "FILE", "own certificate, for https (PEM)", WORDS_FILE, NULL},
    {"tls-key", "FILE", "its key (PEM)", WORDS_FILE, NULL},
    {"tls-ca", "FILE", "issuers of the service's certificate (PEM)", WORDS_FILE, NULL},
    END,
};

#define OPTION_KEY                                                                                 \
    {                                                                                              \
        "key", "NAME", "key to use", WORDS_KEY, NULL                                               \
    }
#define OPTION_FORCE                                                                               \
    {                                                                                              \
        "force", NULL, "replace files that exist", WORDS_NONE, NULL                                \
    }
#define OPTION_CONFIG                                                                              \
    {                                                                                              \
        "config", "FILE", "configuration of the service on this host", WORDS_FILE, NULL            \
    }
#define OPTION_PASSPHRASE                                                                          \
    {                                                                                              \
        "passphrase-file", "FILE", "file with the passphrase of the backup", WORDS_FILE, NULL      \
    }

#define OPTION_ESCROW                                                                              \
    {                                                                                              \
        "escrow-passphrase-file", "FILE", "keep the escrow under this passphrase, not in the TPM", \
            WORDS_FILE, NULL                                                                       \
    }

static const struct cli_option forecast_options[] = {
    OPTION_KEY,
    END,
};

static const struct cli_option warning_ack_options[] = {
    {"id", "N", "the warning, as warning list names it", WORDS_NONE, NULL},
    {"sentence", "TEXT", "its sentence; default: read from standard input", WORDS_NONE, NULL},
    END,
};

static const struct cli_option clock_ack_options[] = {
    {"id", "N", "the jump, as clock status names it", WORDS_NONE, NULL},
    {"windows", "N", "windows that it costs, as clock status counts them", WORDS_NONE, NULL},
    {"utc", "TIME", "what a clock of your own says now, e.g. 2026-11-25T10:00:00Z", WORDS_NONE,
     NULL},
    {"yes", NULL, "do not ask", WORDS_NONE, NULL},
    END,
};

static const struct cli_option plan_options[] = {
    {"rate", "N[/UNIT]", "signatures in a window, or in an hour, day, week or year", WORDS_NONE,
     NULL},
    {"window", "DURATION", "length of a window, e.g. P7D", WORDS_NONE, NULL},
    {"years", "N", "life that is wanted; default 10", WORDS_NONE, NULL},
    {"verifier", "NAME", "who has to verify", WORDS_CHOICE, "any cnsa2 hash-sigs mcuboot rfc8554"},
    {"exhaust", "P", "accepted probability that any one window runs full; default 0.000001",
     WORDS_NONE, NULL},
    {"tags", "FILE", "list of past tags or dates; - is standard input", WORDS_FILE, NULL},
    {"slots", "LIST", "artifacts of one version, e.g. bootloader,kernel", WORDS_NONE, NULL},
    {"key", "NAME", "name of the key in the advised plan", WORDS_NONE, NULL},
    {"start", "TIME", "start of an advised time plan; default next midnight UTC", WORDS_NONE, NULL},
    END,
};

static const struct cli_option plan_compile_options[] = {
    {"pub", "FILE", "public key that the plan is for: raw, DER or PEM", WORDS_FILE, NULL},
    {"format", "FORM", "form of the result; default bin", WORDS_CHOICE, "bin c-header"},
    {"out", "FILE", "write to a file", WORDS_FILE, NULL},
    OPTION_FORCE,
    END,
};

static const struct cli_option key_new_options[] = {
    OPTION_CONFIG,
    {"restart", NULL, "throw away what an earlier, unfinished attempt made", WORDS_NONE, NULL},
    OPTION_ESCROW,
    END,
};

static const struct cli_option key_public_options[] = {
    {"format", "FORM", "form of the key; default spki-pem", WORDS_CHOICE,
     "raw spki-pem spki-der xdr cose c-header"},
    {"out", "FILE", "write to a file", WORDS_FILE, NULL},
    OPTION_FORCE,
    END,
};

static const struct cli_option key_selftest_options[] = {
    OPTION_CONFIG,
    OPTION_KEY,
    {"public", "FILE", "compare with this public key, not the service's", WORDS_FILE, NULL},
    END,
};

static const struct cli_option sign_options[] = {
    OPTION_KEY,
    {"version", "V", "release version, for version plans", WORDS_NONE, NULL},
    {"slot", "NAME", "artifact name inside the version", WORDS_NONE, NULL},
    {"window", "current", "sign in the open window, for time and interval plans", WORDS_CHOICE,
     "current"},
    {"idempotency-key", "TEXT", "name of this request, to repeat it safely; default random",
     WORDS_NONE, NULL},
    {"preview", NULL, "ask what would happen; uses and writes nothing", WORDS_NONE, NULL},
    {"remote", NULL, "hash the file here and upload only the hash, if the plan allows it",
     WORDS_NONE, NULL},
    {"sha256", "HEX", "SHA-256 of the file, if it is known: one read less", WORDS_NONE, NULL},
    {"public", "FILE", "check against this public key, not the service's", WORDS_FILE, NULL},
    {"out", "FILE", "signature file; default FILE.sig", WORDS_FILE, NULL},
    OPTION_FORCE,
    END,
};

static const struct cli_option verify_options[] = {
    {"sig", "FILE", "signature", WORDS_FILE, NULL},
    {"public", "FILE", "public key: raw, DER or PEM", WORDS_FILE, NULL},
    {"scheme", "NAME", "what the key is, where raw bytes do not tell", WORDS_CHOICE,
     "hss xmss xmssmt"},
    {"message", "MODE", "what was signed; default raw, or what the plan says", WORDS_CHOICE,
     "raw sha256 sha384 sha512"},
    {"plan", "FILE", "check the index in the signature against this plan", WORDS_FILE, NULL},
    {"version", "V", "version that the index must be allotted to", WORDS_NONE, NULL},
    {"slot", "NAME", "artifact name inside the version", WORDS_NONE, NULL},
    {"window", "N", "window that the index must lie in", WORDS_NONE, NULL},
    {"time", "TIME", "time whose window the index must lie in", WORDS_NONE, NULL},
    END,
};

static const struct cli_option attest_get_options[] = {
    OPTION_KEY,
    {"nonce", "HEX", "8 to 64 bytes that nobody could foresee; default random", WORDS_NONE, NULL},
    {"out", "FILE", "write to a file", WORDS_FILE, NULL},
    OPTION_FORCE,
    END,
};

static const struct cli_option attest_verify_options[] = {
    {"nonce", "HEX", "what was asked with; any: do not compare", WORDS_NONE, NULL},
    {"ak", "FILE", "attestation key of the device, PEM", WORDS_FILE, NULL},
    {"earlier", "FILE",
     "an attestation of the same key that is trusted: nothing may have gone back", WORDS_FILE,
     NULL},
    {"save-ak", "FILE", "write the attestation key to a file, PEM", WORDS_FILE, NULL},
    OPTION_FORCE,
    END,
};

static const struct cli_option windows_options[] = {
    OPTION_KEY,
    {"from", "N", "first window; default ten before the newest", WORDS_NONE, NULL},
    {"to", "N", "last window; default one behind the newest", WORDS_NONE, NULL},
    {"all", NULL, "every window of the key", WORDS_NONE, NULL},
    END,
};

static const struct cli_option versions_options[] = {
    OPTION_KEY,
    {"prefix", "P", "versions that start so, e.g. 4.2.", WORDS_NONE, NULL},
    END,
};

static const struct cli_option backup_export_options[] = {
    OPTION_CONFIG,
    OPTION_KEY,
    {"out", "FILE", "where the backup goes", WORDS_FILE, NULL},
    OPTION_PASSPHRASE,
    {"through", "N", "last window that may sign before the next export", WORDS_NONE, NULL},
    END,
};

static const struct cli_option backup_check_options[] = {OPTION_CONFIG, OPTION_PASSPHRASE, END};

static const struct cli_option doctor_options[] = {
    OPTION_CONFIG,
    {"chrony-conf", "FILE", "chronyd's configuration; default /etc/chrony/chrony.conf", WORDS_FILE,
     NULL},
    END,
};

static const struct cli_option recover_options[] = {
    OPTION_CONFIG,
    OPTION_KEY,
    {"from", "FILE", "backup of the lost device", WORDS_FILE, NULL},
    OPTION_PASSPHRASE,
    {"old-device-destroyed", "STATEMENT", "who saw that the lost device is destroyed, and when",
     WORDS_NONE, NULL},
    {"acknowledged-through", "N", "highest mark of any acknowledged export of the key", WORDS_NONE,
     NULL},
    {"start-window", "N", "first window that may sign from now on", WORDS_NONE, NULL},
    {"yes", NULL, "do not ask", WORDS_NONE, NULL},
    OPTION_ESCROW,
    END,
};

static const struct cli_option advance_options[] = {
    OPTION_CONFIG,
    OPTION_KEY,
    {"window", "N", "window to open: the next one", WORDS_NONE, NULL},
    {"acknowledged-export", "FILE", "export with mark N or above that was checked, or its SHA-256",
     WORDS_FILE, NULL},
    {"reason", "TEXT", "who wants it, and why; stands in the ledger", WORDS_NONE, NULL},
    {"yes", NULL, "do not ask", WORDS_NONE, NULL},
    END,
};

static const struct cli_option reseal_options[] = {
    OPTION_CONFIG,     OPTION_KEY,    {"from", "FILE", "backup of the key", WORDS_FILE, NULL},
    OPTION_PASSPHRASE, OPTION_ESCROW, END,
};

static const struct cli_option no_options[] = {END};

static const struct cli_command commands[] = {
    {.name = "plan",
     .operands = "[PLAN]",
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "check and show a plan, or advise one",
     .text = "With PLAN (- is standard input): checks the plan and shows windows, waste, years of "
             "life, capacity\nand signature size.\n\n"
             "With --rate, or with --tags (or tags on standard input): prints a plan that serves "
             "the need, and what\nit costs. A line of tags is a version, a date, or a version, a "
             "blank and a date.",
     .example = "tidemark plan router-fw.json\n"
                "tidemark plan --rate 120/day --window P7D --years 15 >nightly.json\n"
                "git tag | tidemark plan --slots bootloader,kernel,rootfs >router-fw.json",
     .options = plan_options,
     .run = cmd_plan},
    {.name = "plan compile",
     .operands = "PLAN",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "compile a plan for devices that verify",
     .text = "Writes what libtidemark-verify needs of a plan: a few hundred bytes, or a C header "
             "with these bytes and the\npublic key to link into a boot loader. They hold digests "
             "of the plan and of the public key, so a device\nknows that the two belong together. "
             "A plan in a file of the name compile is tidemark plan ./compile.",
     .example = "tidemark plan compile router-fw.json --pub router-fw.pem --out router-fw.tmcp\n"
                "tidemark plan compile router-fw.json --pub router-fw.pem --format c-header \\\n"
                "    --out router_fw.h",
     .options = plan_compile_options,
     .run = cmd_plan_compile},
    {.name = "key new",
     .operands = "PLAN",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "make a key under a plan, on the signer host",
     .text =
         "Runs tidemarkd key-new while the service is stopped: makes the TPM counters, seals the "
         "secrets of the\nwindows, builds the tree. The plan can not be changed afterwards. It can "
         "be stopped with Ctrl-C; stopped,\nkilled or cut off from power, the same command goes on "
         "where it "
         "was, under the same plan on the same TPM.",
     .example = "tidemark key new router-fw.json",
     .options = key_new_options,
     .run = cmd_local},
    {.name = "key list",
     .operands = "",
     .summary = "list the keys of the service",
     .text = "One line a key: kind of plan, state, signatures made, indices left.",
     .example = "tidemark key list",
     .options = no_options,
     .service = true,
     .run = cmd_key_list},
    {.name = "key show",
     .operands = "KEY",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_KEY,
     .summary = "show one key",
     .text = "Parameters, plan hash, state, windows, what is left, wear of the TPM, warnings.",
     .example = "tidemark key show router-fw",
     .options = no_options,
     .service = true,
     .run = cmd_key_show},
    {.name = "key public",
     .operands = "KEY",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_KEY,
     .summary = "print or save the public key",
     .text = "Goes to standard output, or to a file with --out. Binary forms are not printed on a "
             "terminal.",
     .example = "tidemark key public router-fw --out router-fw.pem",
     .options = key_public_options,
     .service = true,
     .run = cmd_key_public},
    {.name = "key selftest",
     .operands = "",
     .summary = "see whether keys are whole and this machine computes right, on the signer host",
     .text =
         "Runs tidemarkd key-selftest, which only reads, also while the service runs: hash "
         "functions and public test\nvectors; of each key, or of --key, the plan, every node up "
         "to the root, and how many secrets of windows\nare here. Root and plan are compared "
         "with --public, or with what the service says if it answers.\nIt uses no index, and "
         "asks neither ledger nor TPM. Exit status 6: something is not as it was.",
     .example = "sudo -u tidemark tidemark key selftest\n"
                "sudo -u tidemark tidemark key selftest --key router-fw --public router-fw.pem",
     .options = key_selftest_options,
     .run = cmd_local},
    {.name = "sign",
     .operands = "FILE",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "sign a file; writes FILE.sig and FILE.receipt",
     .text =
         "Hashes the file, uploads it (or its digest, if the key's plan signs digests), checks "
         "the signature\nagainst the public key and writes it. Version plans need --version, "
         "and --slot if the plan names\nslots; time and interval plans need --window current.\n\n"
         "Repeating the same command is safe: the same version and file give the same "
         "signature, and no index\nis used. For --window, give the --idempotency-key that "
         "the failed command printed.\n\n"
         "With --preview nothing is used or written: it shows which window and index would sign, "
         "or why\nnone would.\n\n"
         "With --remote the file stays here: its SHA-256 reserves an index, and the hash that is "
         "signed is made\nhere, in a second read. What is stopped in between costs the index, and "
         "with it the version, when\nthe reservation expires; the same command again before that "
         "goes on with it.\n\n"
         "With --sha256 the file is not hashed first. Where the plan signs SHA-256 digests it is "
         "not read at all\nand need not be here: it only names the results. Elsewhere a digest of "
         "another file is found out\nbefore anything is signed.",
     .example = "tidemark sign router.bin --key router-fw --version 4.2.1 --slot kernel\n"
                "tidemark sign image.img --key nightly --window current",
     .options = sign_options,
     .service = true,
     .run = cmd_sign},
    {.name = "verify",
     .operands = "FILE",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "verify a signature, offline",
     .text =
         "FILE may be - for standard input. With --plan, the index in the signature must be one "
         "that the plan\nallots to artifacts, and to the --version (and --slot), --window or "
         "--time if one is given;\nwithout these it is shown what the index belongs to. Keys "
         "and signatures are those of RFC 8554 §6\n(lms keys are HSS with one level).",
     .example = "tidemark verify router.bin --sig router.bin.sig --public router-fw.pem \\\n"
                "    --plan router-fw.json --version 4.2.1 --slot kernel",
     .options = verify_options,
     .run = cmd_verify},
    {.name = "attest get",
     .operands = "",
     .summary = "have the TPM sign what its counters stand at",
     .text =
         "The TPM signs the window floor, the epoch, its clock and reset counts, over a nonce "
         "and the key's newest\nledger entry. The document is checked before it is written, and "
         "can be verified anywhere.",
     .example = "tidemark attest get --key router-fw --out router-fw.attestation",
     .options = attest_get_options,
     .service = true,
     .run = cmd_attest_get},
    {.name = "attest verify",
     .operands = "FILE",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "verify an attestation, offline",
     .text =
         "FILE is a document of attest get, or a receipt that carries an attestation (the first in "
         "each period does).\nA document needs the --nonce that it was asked with; a receipt "
         "brings its own. Without --ak or --earlier\nnothing says which TPM it was: keep the "
         "first document of a key, or its --save-ak, from when it was made.",
     .example =
         "tidemark attest verify router-fw.attestation --nonce 0b5c... --ak router-fw.ak.pem\n"
         "tidemark attest verify router.bin.receipt --earlier router-fw.attestation",
     .options = attest_verify_options,
     .run = cmd_attest_verify},
    {.name = "status",
     .operands = "",
     .summary = "show the state of the service and its keys",
     .text = "The exit code follows the state: 0 Operational, 4 WindowFull, 5 AckRequired, "
             "3 Exhausted, else 6.",
     .example = "tidemark status",
     .options = no_options,
     .service = true,
     .run = cmd_status},
    {.name = "clock status",
     .operands = "",
     .summary = "show the clock that the service signs by",
     .text = "State, reasons, the interval that holds the true time, the floor, the last record, "
             "the TPM's clock, and a\njump forward that nobody has acknowledged, with what "
             "accepting it would cost. The exit code is 0 if the\nclock may be signed by, 5 if a "
             "jump waits for a word, else 6.",
     .example = "tidemark clock status",
     .options = no_options,
     .service = true,
     .run = cmd_clock_status},
    {.name = "clock ack-forward",
     .operands = "",
     .summary = "accept a jump of the clock forward",
     .text = "Over the unix socket only. Repeats what tidemark clock status has shown in the last "
             "ten minutes: the id of\nthe jump and the number of windows that it costs, and the "
             "time of a clock that has nothing to do with\nthis host, right to a minute. It "
             "cannot be taken back.",
     .example = "tidemark clock ack-forward --id 1795514400 --windows 3 "
                "--utc 2026-11-25T10:00:00Z",
     .options = clock_ack_options,
     .service = true,
     .run = cmd_clock_ack},
    {.name = "windows",
     .operands = "",
     .summary = "show how full the windows of a key are",
     .text = "Shows the newest windows, or those from --from to --to, and how often the key wrote "
             "the TPM.",
     .example = "tidemark windows --key nightly",
     .options = windows_options,
     .service = true,
     .run = cmd_windows},
    {.name = "versions",
     .operands = "",
     .summary = "show which versions of a key are signed",
     .text = "For keys with a version plan.",
     .example = "tidemark versions --key router-fw --prefix 4.2.",
     .options = versions_options,
     .service = true,
     .run = cmd_versions},
    {.name = "forecast",
     .operands = "",
     .summary = "show when a key will be used up",
     .text = "At the rate of the newest signatures, or at that at which its one-time keys went so "
             "far, whichever is sooner.",
     .example = "tidemark forecast --key router-fw",
     .options = forecast_options,
     .service = true,
     .run = cmd_forecast},
    {.name = "warning list",
     .operands = "",
     .summary = "show the warnings of keys that run out",
     .text =
         "With the sentence that acknowledges each. The exit code is 5 if one of them waits for "
         "that.",
     .example = "tidemark warning list",
     .options = no_options,
     .service = true,
     .run = cmd_warning_list},
    {.name = "warning ack",
     .operands = "",
     .summary = "acknowledge that a key runs out, so that it signs on",
     .text =
         "Asks for the sentence of the warning, to the letter. It goes into the ledger with the "
         "name of whoever\ntyped it, and cannot be taken back.",
     .example = "tidemark warning ack --id 20117",
     .options = warning_ack_options,
     .service = true,
     .run = cmd_warning_ack},
    {.name = "backup export",
     .operands = "",
     .summary = "write a backup of a key, on the signer host",
     .text =
         "Runs tidemarkd backup-export while the service is stopped. A backup holds the secrets "
         "of future windows,\nencrypted, and no counter: who has it can go on, but not go back.",
     .example = "tidemark backup export --key nightly --out nightly.backup --passphrase-file pass",
     .options = backup_export_options,
     .run = cmd_local},
    {.name = "backup check",
     .operands = "FILE",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_FILE,
     .summary = "check a backup and acknowledge it, on the signer host",
     .text =
         "Runs tidemarkd backup-check while the service is stopped: reads all of the backup, and "
         "notes that it is\nstored off this device, so that the windows behind it may sign.",
     .example = "tidemark backup check nightly.backup --passphrase-file pass",
     .options = backup_check_options,
     .run = cmd_local},
    {.name = "recover",
     .operands = "",
     .summary = "go on after a loss by skipping windows, on the signer host",
     .text =
         "Runs tidemarkd recover while the service is stopped. What may have been used is never "
         "used again: signing\nstarts with a later window. Without --from, this device goes on "
         "with its own state; with --from, it\nreplaces a lost device.",
     .example = "tidemark recover --key nightly\n"
                "tidemark recover --from nightly.backup --passphrase-file pass \\\n"
                "    --acknowledged-through 4 --old-device-destroyed 'A. Smith, 2026-12-08'",
     .options = recover_options,
     .run = cmd_local},
    {.name = "advance-window",
     .operands = "",
     .summary = "open the next window of a time plan before its start, on the signer host",
     .text =
         "Runs tidemarkd advance-window while the service is stopped. The window may be used at "
         "once and until its\nplanned end, and every window before it is closed for good. The "
         "lead is paid back: the window behind it\nopens no earlier than planned. An export with "
         "a mark that covers the window must have been checked, so\nthat no replacement of this "
         "device starts in it.",
     .example = "tidemark backup export --key nightly --through 12 --out nightly.backup\n"
                "tidemark backup check nightly.backup\n"
                "tidemark advance-window --key nightly --window 12 \\\n"
                "    --acknowledged-export nightly.backup --reason 'A. Smith: window 11 is full'",
     .options = advance_options,
     .run = cmd_local},
    {.name = "reseal",
     .operands = "",
     .summary = "seal the secrets of later windows anew, on the signer host",
     .text =
         "Runs tidemarkd reseal while the service is stopped. For windows that do not open since "
         "the firmware was\nupgraded (tpm.pcrs), and for keys that an older version made. Windows "
         "that are open or closed stay as\nthey are.",
     .example = "tidemark reseal --key nightly --from nightly.backup --passphrase-file pass",
     .options = reseal_options,
     .run = cmd_local},
    {.name = "doctor",
     .operands = "",
     .summary = "see whether this host is fit to be a signer",
     .text =
         "Runs tidemarkd doctor: storage (measures a sync), permissions, memory, TPM, clock, and "
         "chrony's\nconfiguration against etc/chrony/tidemark.conf. Changes nothing. While the "
         "service runs, it has the\nTPM to itself. Exit status 6: something is bad.",
     .example = "sudo tidemark doctor",
     .options = doctor_options,
     .run = cmd_local},
    {.name = "completion",
     .operands = "SHELL",
     .operands_min = 1,
     .operands_max = 1,
     .operand_words = WORDS_CHOICE,
     .operand_choices = "bash zsh fish",
     .summary = "print completions for a shell",
     .text = "make install puts them where the shells look.",
     .example = "tidemark completion bash >~/.local/share/bash-completion/completions/tidemark",
     .options = no_options,
     .run = cmd_completion},
    {.name = "help",
     .operands = "[COMMAND]",
     .operands_max = 2,
     .summary = "show help",
     .text = "Lists the commands, or shows one.",
     .example = "tidemark help sign",
     .options = no_options,
     .run = cmd_help},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const struct cli_command *table_command_at(size_t i)
{
    return i < COMMAND_COUNT ? &commands[i] : NULL;
}

const struct cli_command *table_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

bool table_is_group(const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ')
            return true;
    }
    return false;
}

const struct cli_option *table_option_at(const struct cli_command *command, size_t i)
{
    const struct cli_option *lists[] = {
        command->options, command->service ? service_options : no_options, common_options};
    for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
        const struct cli_option *option = lists[l];
        for (; option->name != NULL; option++) {
            if (i-- == 0)
                return option;
        }
    }
    return NULL;
}

const struct cli_option *table_option(const struct cli_command *command, const char *name)
{
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0)
            return option;
    }
    return NULL;
}
