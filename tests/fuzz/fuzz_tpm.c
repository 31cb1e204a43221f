/*
 * Fuzz target: a TPM that answers what it likes.
 *
 * The library that talks to TPMs is given a connection of ours (Tss2_TctiLdr_Initialize is wrapped
 * by the linker), which answers each command with the next piece of the input: a byte that says
 * how, two of length, and the bytes. How: 0 as they are, 1 behind the header of a success, 2 the
 * same with sessions, 3 the first four are the code of a refusal. When there are no more, the way
 * to the TPM is broken. The first byte of all chooses: 'o' opening for the service, 'c' opening
 * with permission to make a storage key, 'l' only looking. Beside not crashing: every failure is
 * one of the header's codes and says something, what is read of a TPM is text that ends, and
 * nothing takes such a TPM for one with a key of ours. Run: tests/fuzz/fuzz_tpm -max_len=8192
 * CORPUS tests/fuzz/tpm
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tctildr.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "tpm/health.h"

#define ANSWER_MAX 4096
#define HEADER_LEN 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *name, TSS2_TCTI_CONTEXT **context);
void __wrap_Tss2_TctiLdr_Finalize(TSS2_TCTI_CONTEXT **context);
int __wrap_nanosleep(const struct timespec *want, struct timespec *left);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *want,
                           struct timespec *left);

static const uint8_t *script;
static size_t script_len;

/* Nobody waits for a TPM that says that it is busy. */
int __wrap_nanosleep(const struct timespec *want, struct timespec *left)
{
    (void)want;
    (void)left;
    return 0;
}

int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *want,
                           struct timespec *left)
{
    (void)clock;
    (void)flags;
    (void)want;
    (void)left;
    return 0;
}

/* The connection ------------------------------------------------------------------------------ */

static uint8_t answer[ANSWER_MAX];
static size_t answer_len;

static void put_header(uint16_t tag, uint32_t code, const uint8_t *data, size_t len)
{
    answer_len = HEADER_LEN + len;
    be_put16(answer, tag);
    be_put32(answer + 2, (uint32_t)answer_len);
    be_put32(answer + 6, code);
    memcpy(answer + HEADER_LEN, data, len);
}

/* false: there are no more. */
static bool next_answer(void)
{
    if (script_len < 3)
        return false;
    uint8_t how = script[0] % 4;
    size_t len = be_get16(script + 1);
    script += 3;
    script_len -= 3;
    if (len > script_len)
        len = script_len;
    if (len > ANSWER_MAX - HEADER_LEN)
        len = ANSWER_MAX - HEADER_LEN;
    if (how == 0) {
        memcpy(answer, script, len);
        answer_len = len;
    } else if (how == 3) {
        put_header(0x8001, len >= 4 ? be_get32(script) : 0x101, script, 0);
    } else {
        put_header(how == 1 ? 0x8001 : 0x8002, 0, script, len);
    }
    script += len;
    script_len -= len;
    return true;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    (void)context;
    (void)command;
    MUST(size >= HEADER_LEN);
    return next_answer() ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_IO_ERROR;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response, int32_t timeout)
{
    (void)context;
    (void)timeout;
    if (response == NULL) {
        *size = answer_len;
        return TSS2_RC_SUCCESS;
    }
    if (*size < answer_len)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    memcpy(response, answer, answer_len);
    *size = answer_len;
    return TSS2_RC_SUCCESS;
}

static TSS2_TCTI_CONTEXT_COMMON_V1 connection = {
    .magic = 1, .version = 1, .transmit = transmit, .receive = receive};

TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *name, TSS2_TCTI_CONTEXT **context)
{
    (void)name;
    *context = (TSS2_TCTI_CONTEXT *)&connection;
    return TSS2_RC_SUCCESS;
}

void __wrap_Tss2_TctiLdr_Finalize(TSS2_TCTI_CONTEXT **context)
{
    *context = NULL;
}

/* Judgement ----------------------------------------------------------------------------------- */

static void failed(enum rc rc, const struct err *err)
{
    enum rc_class class = rc_class(rc);
    MUST(err->rc == rc && err->text[0] != '\0');
    MUST(class == RC_CLASS_RETRY || class == RC_CLASS_HALT || rc == RC_REFUSED_CONFIG ||
         rc == RC_REFUSED_ATTEST);
    MUST(tpm_trouble_word(tpm_trouble_of(err)) != NULL);
}

static void try_look(const struct tpm_config *config)
{
    struct tpm_facts facts;
    struct err err = {0};
    char firmware[TPM_FIRMWARE_TEXT];
    enum rc rc = tpm_look(config, &facts, &err);
    if (rc != RC_OK)
        failed(rc, &err);
    tpm_firmware_print(firmware, facts.firmware);
    MUST(strlen(firmware) < sizeof(firmware));
}

static void try_open(const struct tpm_config *config, bool create)
{
    struct tpm *tpm CLEANUP(tpm_close) = NULL;
    struct err err = {0};
    enum rc rc = tpm_open(&tpm, config, create, &err);
    MUST((rc == RC_OK) == (tpm != NULL));
    if (rc != RC_OK) {
        failed(rc, &err);
        return;
    }
    const struct tpm_identity *id = tpm_identify(tpm);
    MUST(strlen(id->manufacturer) < sizeof(id->manufacturer));
    MUST(strlen(id->vendor) < sizeof(id->vendor));
    MUST(id->srk_name_len <= sizeof(id->srk_name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct tpm_config config = {.tcti = "device:/dev/nothing"};
    static bool started;
    if (!started)
        MUST(base_init(NULL) == RC_OK);
    started = true;
    if (len < 1)
        return 0;
    script = data + 1;
    script_len = len - 1;
    if (data[0] == 'l')
        try_look(&config);
    else if (data[0] == 'o' || data[0] == 'c')
        try_open(&config, data[0] == 'c');
    return 0;
}
