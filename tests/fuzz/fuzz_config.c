/*
 * Fuzz target: the configuration file.
 *
 * Beside not crashing: what is taken keeps what config.h and the manual page promise of it, so that
 * nothing behind it has to look again; what is refused says so in one line.
 * Run: tests/fuzz/fuzz_config -max_len=4096 CORPUS tests/fuzz/config
 */
#include <string.h>

#include "daemon/config.h"
#include "fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t told;

static void tell(const char *text)
{
    MUST(text[0] != '\0' && strchr(text, '\n') == NULL);
    told++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct config c;
    struct err err = {0};
    told = 0;
    enum rc rc = config_read(&c, scratch_file(data, len), tell, &err);
    MUST((rc == RC_OK) == (told == 0));
    if (rc != RC_OK) {
        MUST(rc == RC_REFUSED_CONFIG && err.rc == rc && err.text[0] != '\0');
        return 0;
    }
    MUST(c.state_dir[0] == '/');
    MUST(c.http_unix[0] == '/' || c.http_tcp_address[0] != '\0');
    MUST(c.front.connections_max >= 1 && c.front.requests_max >= 1);
    const struct front_settings *f = &c.front.settings;
    MUST(f->header_deadline_s >= 1 && f->body_deadline_s >= 1);
    MUST(f->core_deadline_s >= 1 && f->body_max >= 1);
    MUST(c.tpm.tcti == c.tcti && c.tpm.watchdog_s <= TPM_WATCHDOG_S_MAX);
    MUST(c.core.limits_count <= SIGNER_KEYS_MAX + 1);
    for (size_t i = 0; i < c.core.limits_count; i++)
        MUST(strlen(c.core.limits[i].name) <= NAME_LEN_MAX);
    for (size_t i = 0; i < c.access.identity_count; i++)
        MUST(name_valid(c.access.identities[i].name) && c.access.identities[i].roles != 0);
    MUST(config_change(&c, &c, NULL) == RC_OK);
    return 0;
}
