/* tidemarkd: the signing service, and the operations of its operator (see operations.h). */
#include <config.h>

#include <getopt.h>
#include <malloc.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secmem.h"
#include "daemon/check.h"
#include "daemon/config.h"
#include "daemon/operations.h"
#include "daemon/supervisor.h"
#include "hbs/kernel.h"

static const char usage[] =
    "usage: tidemarkd [--config FILE]              run the service\n"
    "       tidemarkd --check-config [--config FILE]\n"
    "       tidemarkd key-new|key-selftest|backup-export|backup-check|recover|doctor …   (use "
    "'tidemark')\n"
    "See tidemarkd(8) and tidemark.conf(5).\n";

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, 'k'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int stop(const struct err *err, enum rc rc)
{
    (void)fprintf(stderr, "tidemarkd: %s\n", err_text(err));
    return operation_exit_code(rc);
}

/* What --check-config finds in the file. */
static void tell(const char *text)
{
    (void)fprintf(stderr, "tidemarkd: %s\n", text);
}

static int serve(const struct config *config, const char *path)
{
    struct err err = {0};
    log_open("tidemarkd");
    enum rc rc = base_init(&err);
    if (rc == RC_OK)
        rc = hbs_kernel_start(&err);
    if (rc == RC_OK)
        log_event(LOG_LEVEL_INFO, &LOG_NOTHING, "hash kernels: %s", hbs_kernel_summary());
    if (rc == RC_OK)
        rc = supervisor_run(config, path, &err);
    return rc == RC_OK ? 0 : stop(&err, rc);
}

/* Versions, and which hash kernels this machine and TIDEMARK_KERNEL lead to. */
static int version(void)
{
    struct err err = {0};
    (void)printf("tidemarkd %s, libmicrohttpd %s\n", PACKAGE_VERSION, MHD_get_version());
    enum rc rc = base_init_public(&err);
    if (rc == RC_OK)
        rc = hbs_kernel_start(&err);
    if (rc != RC_OK)
        return stop(&err, rc);
    (void)printf("hash kernels: %s\n", hbs_kernel_summary());
    return 0;
}

int main(int argc, char **argv)
{
    /* The TPM's transport and the log write to sockets that may have gone. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* Foreign libraries do not wipe what they free: have the allocator overwrite it. */
    (void)mallopt(M_PERTURB, 0x5a);
    if (argc > 1 && operation_known(argv[1]))
        return operation_run(argc - 1, argv + 1);
    const char *path = NULL;
    bool check_only = false;
    for (int letter = 0; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (letter) {
        case 'c':
            path = optarg;
            break;
        case 'k':
            check_only = true;
            break;
        case 'h':
            (void)fputs(usage, stdout);
            return 0;
        case 'V':
            return version();
        default:
            (void)fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "tidemarkd: unknown operation '%s'\n%s", argv[optind], usage);
        return 2;
    }
    static struct config config;
    struct err err = {0};
    enum rc rc = config_read(&config, path, check_only ? tell : NULL, &err);
    if (rc != RC_OK)
        return check_only ? operation_exit_code(rc) : stop(&err, rc);
    if (check_only) {
        int code = check_start(&config);
        if (code == 0)
            (void)printf("configuration is good: %s\n", path != NULL ? path : CONFIG_DEFAULT_PATH);
        return code;
    }
    return serve(&config, path);
}
