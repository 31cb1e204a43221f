#include "daemon/host.h"

#include <errno.h>
#include <fcntl.h>
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
#include "base/secmem.h"
#include "daemon/operations.h"
#include "daemon/owner.h"
#include "daemon/supervisor.h"
#include "daemon/world.h"
#include "hbs/kernel.h"
#include "signer/attest.h"

#define PASSPHRASE_MAX 1024
#define THREADS_MAX 16

/* People -------------------------------------------------------------------------------------- */

int operation_fail(const struct err *err, enum rc rc, const char *next_step)
{
    (void)fprintf(stderr, "tidemark: %s\n", err->rc != RC_OK ? err_text(err) : rc_text(rc));
    if (next_step != NULL)
        (void)fprintf(stderr, "          %s\n", next_step);
    return operation_exit_code(rc);
}

bool operation_confirm(const struct options *o, const char *word)
{
    if (o->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        (void)fprintf(stderr, "tidemark: nothing was done: run it again with --yes to go on\n");
        return false;
    }
    (void)fprintf(stderr, "Type '%s' to go on: ", word);
    char line[32] = {0};
    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, word) == 0;
}

static enum rc ask_passphrase(char *passphrase, struct err *err)
{
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
    return RC_OK;
}

static enum rc file_passphrase(const char *file, char *passphrase, struct err *err)
{
    char *data = NULL;
    size_t len = 0;
    enum rc rc = file_read(AT_FDCWD, file, PASSPHRASE_MAX - 1, &data, &len, err);
    if (rc != RC_OK)
        return rc;
    size_t line = strcspn(data, "\n");
    memcpy(passphrase, data, line);
    wipe(data, len);
    free(data);
    return RC_OK;
}

/* A passphrase from a file (its first line) or, unseen, from the terminal. In locked memory. */
static enum rc read_passphrase(const char *file, char **passphrase, struct err *err)
{
    secmem_free(*passphrase);
    *passphrase = secmem_alloc(PASSPHRASE_MAX);
    if (*passphrase == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    enum rc rc =
        file != NULL ? file_passphrase(file, *passphrase, err) : ask_passphrase(*passphrase, err);
    if (rc == RC_OK && strlen(*passphrase) < 8)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "the passphrase must have at least 8 bytes: it guards every future window");
    return rc;
}

int operation_print_key(const struct options *o, const struct ledger_key *key, int64_t first,
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

/* The host ------------------------------------------------------------------------------------ */

void host_close(struct host *h)
{
    if (h->key != NULL) {
        key_close(h->key, &h->world);
        free(h->key);
    }
    secmem_free(h->passphrase);
    secmem_free(h->escrow_passphrase);
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

/* The library keeps what it needs of the authorisations; ours go as soon as it has them. */
static enum rc open_tpm(struct host *h, bool create, struct err *err)
{
    uint8_t *owner = NULL;
    uint8_t *endorsement = NULL;
    struct tpm_config config = h->config.tpm;
    enum rc rc = owner_auth_read(h->config.owner_auth_file, &owner, &config.owner_auth_len, err);
    if (rc == RC_OK)
        rc = endorsement_auth_read(h->config.endorsement_auth_file, &endorsement,
                                   &config.endorsement_auth_len, err);
    config.owner_auth = owner;
    config.endorsement_auth = endorsement;
    if (rc == RC_OK)
        rc = tpm_open(&h->tpm, &config, create, err);
    secmem_free(owner);
    secmem_free(endorsement);
    return rc;
}

enum rc host_open(struct host *h, const struct options *o, bool create, struct err *err)
{
    *h = HOST_CLOSED;
    enum rc rc = base_init(err);
    if (rc == RC_OK)
        rc = hbs_kernel_start(err);
    if (rc == RC_OK)
        rc = config_read(&h->config, o->config, NULL, err);
    if (rc == RC_OK)
        rc = state_dir_open(h->config.state_dir, create, &h->state_dirfd, &h->service_lock, err);
    if (rc == RC_OK)
        rc = lock_take(h->state_dirfd, CORE_LOCK, 1000, &h->core_lock, err);
    if (rc == RC_OK)
        rc = open_ledger(h, create, err);
    if (rc == RC_OK)
        rc = open_tpm(h, create, err);
    if (rc == RC_OK)
        rc = clk_open(&h->clock, &h->config.settings.clock, world_time(), err);
    h->world = (struct world){.time = world_time(),
                              .tpm = &world_tpm,
                              .tpm_ctx = &h->config.tpm,
                              .clock_sample = world_clock_sample,
                              .clock_ctx = h->clock,
                              .tool_clock = &h->tool_clock};
    if (rc == RC_OK)
        rc = tool_clock_recall(&h->tool_clock, &h->config.settings.clock,
                               &h->config.settings.tolerance, &h->world, h->tpm, h->state_dirfd,
                               h->ledger, err);
    return rc;
}

int64_t host_now_s(void)
{
    const struct time_source *t = world_time();
    return t->real_ns(t->ctx) / INT64_C(1000000000);
}

enum rc host_load_key(struct host *h, const char *name, struct err *err)
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
    /* Here are the authorisations that the service does not have: a key that was made before there
     * were attestations gets its attestation key with the first operation on it. */
    if (h->key->rc == RC_OK)
        return attest_start(h->key, &h->world, h->tpm, h->ledger, host_now_s(), err);
    return RC_OK;
}

enum rc host_passphrase(struct host *h, const struct options *o, struct err *err)
{
    return read_passphrase(o->passphrase_file, &h->passphrase, err);
}

enum rc host_escrow_passphrase(struct host *h, const struct options *o, struct err *err)
{
    if (o->escrow_passphrase_file == NULL)
        return RC_OK;
    return read_passphrase(o->escrow_passphrase_file, &h->escrow_passphrase, err);
}

unsigned host_threads(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > THREADS_MAX ? THREADS_MAX : (unsigned)online;
}
