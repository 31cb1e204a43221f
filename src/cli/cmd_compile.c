/*
 * plan compile: a plan and its public key as the bytes that a device checks indices with.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/compile.h"
#include "cli/planfile.h"
#include "cli/save.h"

/* Everything about one run. */
struct job {
    struct plan plan;
    struct tmv_key key;
    uint8_t *compiled;
    size_t compiled_len;
    bool header; /* --format c-header */
    char *text;  /* the header */
    size_t text_len;
};

static void job_free(struct job *job)
{
    plan_free(&job->plan);
    free(job->compiled);
    free(job->text);
}

static void free_chars(char **p)
{
    free(*p);
}

/* The plan names its sets, top first; the key knows those of its top level. */
static bool same_sets(const struct job *job, char of_key[COMPILE_SET_SIZE],
                      char of_plan[COMPILE_SET_SIZE])
{
    const struct plan *plan = &job->plan;
    bool two = plan->scheme == PLAN_LMS || plan->scheme == PLAN_HSS;
    compile_set_name(&job->key, of_key);
    (void)snprintf(of_plan, COMPILE_SET_SIZE, "%.47s%s%.47s", plan->parameters[0], two ? " " : "",
                   two ? plan->parameters[1] : "");
    return strcmp(of_key, of_plan) == 0 && job->key.levels == plan->level_count;
}

static enum cli_exit read_key(struct job *job, const char *path, struct cli_fault *fault)
{
    char *data CLEANUP(free_chars) = NULL;
    size_t len = 0;
    const char *why = NULL;
    enum cli_exit code = input_read(path, "public key", CHECK_PUBLIC_FILE_MAX, &data, &len, fault);
    if (code != CLI_OK)
        return code;
    if (!compile_key_read(&job->key, &job->plan, data, len, &why))
        return FAULT(fault, CLI_USAGE,
                     "give the public key of the plan, raw, DER or PEM: tidemark key public KEY",
                     "%.300s: %s", path, why);
    char of_key[COMPILE_SET_SIZE], of_plan[COMPILE_SET_SIZE];
    if (same_sets(job, of_key, of_plan))
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "check that key and plan belong together",
                 "the plan is for %s in %u levels, the public key is %s in %u", of_plan,
                 (unsigned)job->plan.level_count, of_key, (unsigned)job->key.levels);
}

/* Compile, and read back with the code that devices have: what they would refuse never leaves. */
static enum cli_exit compile(struct job *job, struct cli_fault *fault)
{
    job->compiled = malloc(COMPILE_MAX);
    if (job->compiled == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    job->compiled_len = compile_plan(&job->plan, &job->key, job->compiled);
    struct tmv_plan again;
    MUST(tmv_plan_open(&again, job->compiled, job->compiled_len) == TMV_OK);
    MUST(tmv_plan_check_key(&again, &job->key) == TMV_OK);
    if (!job->header)
        return CLI_OK;
    job->text = malloc(COMPILE_HEADER_MAX);
    if (job->text == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    job->text_len =
        compile_header(&job->plan, &job->key, job->compiled, job->compiled_len, job->text);
    return CLI_OK;
}

/* With --json: {"key", "plan_sha256", "public_key_sha256", "bytes", "data" in base64}. */
static enum cli_exit print_json(const struct job *job, struct cli_fault *fault)
{
    char plan_sha256[HEX_SIZE(SHA256_LEN)], key_sha256[HEX_SIZE(SHA256_LEN)];
    uint8_t digest[SHA256_LEN];
    char *data CLEANUP(free_chars) = malloc(BASE64_SIZE(job->compiled_len));
    if (data == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    digest_buffer(DIGEST_SHA256, digest, job->key.raw, job->key.raw_len);
    hex_encode(plan_sha256, job->plan.sha256, SHA256_LEN);
    hex_encode(key_sha256, digest, SHA256_LEN);
    base64_encode(data, job->compiled, job->compiled_len);
    json_t *o = json_pack("{sssssssIss}", "key", job->plan.key, "plan_sha256", plan_sha256,
                          "public_key_sha256", key_sha256, "bytes", (json_int_t)job->compiled_len,
                          "data", data);
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0 && printf("\n") > 0;
    json_decref(o);
    return ok ? CLI_OK : FAULT(fault, CLI_INTERNAL, "repeat", "the result could not be printed");
}

static enum cli_exit give(const struct cli *cli, const struct job *job, struct cli_fault *fault)
{
    const char *path = args_value(&cli->args, "out");
    const void *data = job->header ? (const void *)job->text : job->compiled;
    size_t len = job->header ? job->text_len : job->compiled_len;
    if (path != NULL) {
        char shown[300];
        enum cli_exit code =
            save_write(path, data, len, args_switch(&cli->args, "force"), NULL, fault);
        if (code != CLI_OK)
            return code;
        out_clean(shown, sizeof(shown), path);
        out_note(&cli->out, "wrote %s (%zu bytes)\n", shown, len);
    }
    if (cli->out.json)
        return print_json(job, fault);
    if (path != NULL)
        return CLI_OK;
    if (!job->header && isatty(STDOUT_FILENO) == 1)
        return FAULT(fault, CLI_USAGE, "give --out FILE, or --format c-header",
                     "a binary plan is not printed on a terminal");
    if (fwrite(data, 1, len, stdout) != len)
        return FAULT(fault, CLI_INTERNAL, "check where standard output goes, and repeat",
                     "cannot write to standard output");
    return CLI_OK;
}

enum cli_exit cmd_plan_compile(struct cli *cli, struct cli_fault *fault)
{
    struct job job CLEANUP(job_free) = {0};
    const char *public_path = NULL, *format = args_value(&cli->args, "format");
    if (format != NULL && strcmp(format, "bin") != 0 && strcmp(format, "c-header") != 0)
        return FAULT(fault, CLI_USAGE, "write bin or c-header", "--format %.40s is none of the two",
                     format);
    job.header = format != NULL && strcmp(format, "c-header") == 0;
    enum cli_exit code = args_need(&cli->args, "pub", &public_path, fault);
    if (code == CLI_OK)
        code = planfile_read(&job.plan, cli->args.operands[0], NULL, fault);
    if (code == CLI_OK)
        code = read_key(&job, public_path, fault);
    if (code == CLI_OK)
        code = compile(&job, fault);
    return code == CLI_OK ? give(cli, &job, fault) : code;
}
