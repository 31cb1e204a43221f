/*
 * verify: is this a signature of this file by this key, and was its index allotted to what the file
 * claims to be? Offline: nothing but the files on the command line is needed.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/planfile.h"

/* What the command line says that has to be so. */
struct claim {
    const char *version;
    const char *slot;
    bool window_given;
    uint64_t window;
    bool time_given;
    int64_t time_s;
};

struct verdict {
    uint64_t index;
    bool has_plan;
    uint64_t window;
    char label[64];
    char version[VERSION_LEN_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
};

static void free_chars(char **p)
{
    free(*p);
}

static enum cli_exit read_claim(const struct args *args, struct claim *claim,
                                struct cli_fault *fault)
{
    *claim = (struct claim){.version = args_value(args, "version"),
                            .slot = args_value(args, "slot"),
                            .window_given = args_value(args, "window") != NULL,
                            .time_given = args_value(args, "time") != NULL};
    int ways = (claim->version != NULL) + claim->window_given + claim->time_given;
    if (ways > 1)
        return FAULT(fault, CLI_USAGE, "give one of them",
                     "--version, --window and --time are three ways to say the same");
    if (claim->slot != NULL && claim->version == NULL)
        return FAULT(fault, CLI_USAGE, "give --version too", "--slot needs --version");
    if (ways > 0 && args_value(args, "plan") == NULL)
        return FAULT(fault, CLI_USAGE, "give --plan FILE",
                     "only a plan says which index belongs to a version, window or time");
    if (claim->time_given && !rfc3339_parse(&claim->time_s, args_value(args, "time")))
        return FAULT(fault, CLI_USAGE, "write it like 2026-12-08T09:36:00Z",
                     "--time %.60s is no time", args_value(args, "time"));
    return args_number(args, "window", UINT64_C(1) << 60, 0, &claim->window, fault);
}

/* Key and plan have to speak of the same trees, or the index means nothing. */
static bool sets_equal(const struct hbs_public *key, const struct plan *plan)
{
    const struct hss_public *hss = &key->hss;
    switch (plan->scheme) {
    case PLAN_LMS:
    case PLAN_HSS:
        return key->scheme == HBS_SCHEME_HSS && hss->levels == plan->level_count &&
               plan->parameter_count >= 2 &&
               strcmp(plan->parameters[0], hss->top.set.lms->name) == 0 &&
               strcmp(plan->parameters[1], hss->top.set.ots->name) == 0;
    case PLAN_XMSS:
    case PLAN_XMSSMT:
        return key->scheme != HBS_SCHEME_HSS && plan->parameter_count >= 1 &&
               strcmp(plan->parameters[0], key->xmss.params->name) == 0;
    }
    return false;
}

static enum cli_exit same_sets(const struct hbs_public *key, const struct plan *plan,
                               struct cli_fault *fault)
{
    if (sets_equal(key, plan))
        return CLI_OK;
    char name[CHECK_NAME_SIZE];
    check_name(name, key);
    const char *ots = plan->parameter_count >= 2 ? plan->parameters[1] : "";
    return FAULT(fault, CLI_NO, "check that key and plan belong together",
                 "the plan is for %s%s%s in %u level(s), the public key is %s", plan->parameters[0],
                 ots[0] != '\0' ? " with " : "", ots, (unsigned)plan->level_count, name);
}

/* Which window and version does the plan keep this index for? Anything but an artifact is a NO. */
static enum cli_exit place_index(const struct plan *plan, struct verdict *v,
                                 struct cli_fault *fault)
{
    static const char next[] = "do not use the file: the plan never signs a file with that index";
    struct err err = {0};
    enum plan_use use = plan_use_of_index(plan, v->index);
    if (use == PLAN_USE_PADDING || use == PLAN_USE_NONE)
        return FAULT(
            fault, CLI_NO, next, "the plan allots index %" PRIu64 " to nothing%s", v->index,
            use == PLAN_USE_PADDING ? ": it is padding" : ": it lies behind the last window");
    if (plan_window_of_index(plan, v->index, &v->window, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, next);
    if (use == PLAN_USE_SEAL)
        return FAULT(fault, CLI_NO, "to verify the seal itself, leave out --plan",
                     "index %" PRIu64 " is kept for the seal of window %" PRIu64
                     " and signs no artifact",
                     v->index, v->window);
    plan_window_label(plan, v->window, v->label);
    if (plan->kind == PLAN_VERSION &&
        plan_version_of_index(plan, v->index, v->version, v->slot, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, next);
    v->has_plan = true;
    return CLI_OK;
}

/* "4.2.1 kernel", or "4.2.1" where there are no slots. */
static void print_version(char *text, size_t size, const char *version, const char *slot)
{
    (void)snprintf(text, size, "%.63s%s%.63s", version, slot[0] != '\0' ? " " : "", slot);
}

static enum cli_exit check_version(const struct plan *plan, const struct claim *claim,
                                   const struct verdict *v, struct cli_fault *fault)
{
    if (plan->kind != PLAN_VERSION)
        return FAULT(fault, CLI_USAGE, "give --window N, or --time TIME for a time plan",
                     "the plan is a %s plan: it has no versions", plan_kind_name(plan->kind));
    struct err err = {0};
    struct plan_place place = {0};
    if (plan_place_version(plan, claim->version, claim->slot, &place, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "check --version and --slot; tidemark plan PLAN");
    if (place.index == v->index)
        return CLI_OK;
    char signed_as[140], claimed[140];
    print_version(signed_as, sizeof(signed_as), v->version, v->slot);
    print_version(claimed, sizeof(claimed), claim->version, claim->slot != NULL ? claim->slot : "");
    return FAULT(fault, CLI_NO, "do not use the file as that version",
                 "the signature is for %s (index %" PRIu64 "), not for %s (index %" PRIu64 ")",
                 signed_as, v->index, claimed, place.index);
}

static enum cli_exit check_claim(const struct plan *plan, const struct claim *claim,
                                 const struct verdict *v, struct cli_fault *fault)
{
    if (claim->version != NULL)
        return check_version(plan, claim, v, fault);
    uint64_t window = claim->window;
    struct err err = {0};
    if (claim->time_given) {
        if (plan->kind != PLAN_TIME)
            return FAULT(fault, CLI_USAGE, "give --version or --window",
                         "the plan is a %s plan: it knows no times", plan_kind_name(plan->kind));
        if (plan_window_at(plan, claim->time_s, &window, &err) != RC_OK)
            return cli_fault_rc(fault, &err, NULL, "check --time; tidemark plan PLAN");
    } else if (!claim->window_given) {
        return CLI_OK;
    }
    if (window >= plan->window_count)
        return FAULT(fault, CLI_REFUSED, "check --window; tidemark plan PLAN",
                     "the plan has windows 0 to %" PRIu64 ", not %" PRIu64, plan->window_count - 1,
                     window);
    if (window == v->window)
        return CLI_OK;
    return FAULT(fault, CLI_NO, "do not use the file as one of that window",
                 "the signature is of window %" PRIu64 " (%s), not of window %" PRIu64, v->window,
                 v->label, window);
}

static void print_good(const struct cli *cli, const struct hbs_public *key, const struct verdict *v,
                       const struct plan *plan, bool claimed)
{
    const struct out *out = &cli->out;
    char name[CHECK_NAME_SIZE], file[200];
    check_name(name, key);
    out_clean(file, sizeof(file), cli->args.operands[0]);
    if (out->quiet)
        return;
    out_coloured(out, OUT_GOOD, "good");
    out_note(out, "     %s  %s  index %" PRIu64 "\n", file, name, v->index);
    if (!v->has_plan)
        return;
    char version[140];
    print_version(version, sizeof(version), v->version, v->slot);
    out_note(out, "plan     %s%s%s %s window %" PRIu64 " (%s)%s\n", plan->key,
             version[0] != '\0' ? "  " : " ", version, out_arrow(out), v->window, v->label,
             claimed ? ", as claimed" : "");
}

static bool print_json(const struct hbs_public *key, const struct verdict *v,
                       const struct plan *plan)
{
    char name[CHECK_NAME_SIZE];
    check_name(name, key);
    json_t *o = json_pack("{sbsssI}", "ok", 1, "parameters", name, "index", (json_int_t)v->index);
    if (v->has_plan) {
        (void)json_object_set_new(o, "key", json_string(plan->key));
        (void)json_object_set_new(o, "window", json_integer((json_int_t)v->window));
        (void)json_object_set_new(o, "window_label", json_string(v->label));
        if (plan->kind == PLAN_VERSION) {
            (void)json_object_set_new(o, "version", json_string(v->version));
            (void)json_object_set_new(o, "slot", json_string(v->slot));
        }
    }
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0 && printf("\n") > 0;
    json_decref(o);
    return ok;
}

/* What was signed: --message, or what the plan says, or the bytes themselves. */
static enum cli_exit choose_message(const struct args *args, const struct plan *plan, bool has_plan,
                                    enum plan_message *message, struct cli_fault *fault)
{
    *message = has_plan ? plan->message : PLAN_RAW;
    const char *text = args_value(args, "message");
    if (text == NULL)
        return CLI_OK;
    static const enum plan_message all[] = {PLAN_RAW, PLAN_SHA256, PLAN_SHA384, PLAN_SHA512};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(plan_message_name(all[i]), text) != 0)
            continue;
        if (has_plan && all[i] != plan->message)
            return FAULT(fault, CLI_USAGE, "leave out --message", "the plan signs %s, not %s",
                         plan_message_name(plan->message), text);
        *message = all[i];
        return CLI_OK;
    }
    return FAULT(fault, CLI_USAGE, "write raw, sha256, sha384 or sha512",
                 "--message %.40s is none of the four", text);
}

/* Everything about one run: files read, options understood. */
struct job {
    struct claim claim;
    struct hbs_public key;
    struct plan plan;
    bool has_plan;
    enum plan_message message;
    char *sig;
    size_t sig_len;
};

static void job_free(struct job *job)
{
    plan_free(&job->plan);
    free_chars(&job->sig);
}

static enum cli_exit read_job(const struct args *args, struct job *job, struct cli_fault *fault)
{
    const char *name = args_value(args, "scheme");
    enum hbs_scheme scheme = 0;
    if (name != NULL && !hbs_scheme_by_name(&scheme, name))
        return FAULT(fault, CLI_USAGE,
                     "write hss, xmss or xmssmt; lms keys of tidemark are HSS with one level",
                     "--scheme %.40s is not known", name);
    const char *public_path = NULL, *sig_path = NULL, *plan_path = args_value(args, "plan");
    enum cli_exit code = args_need(args, "sig", &sig_path, fault);
    if (code == CLI_OK)
        code = args_need(args, "public", &public_path, fault);
    if (code == CLI_OK)
        code = read_claim(args, &job->claim, fault);
    if (code == CLI_OK)
        code = check_public_read(&job->key, scheme, public_path, fault);
    if (code == CLI_OK && plan_path != NULL) {
        code = planfile_read(&job->plan, plan_path, NULL, fault);
        job->has_plan = code == CLI_OK;
    }
    if (code == CLI_OK)
        code = choose_message(args, &job->plan, job->has_plan, &job->message, fault);
    /* One byte too many is enough for the parser to say NO to a file that is too long. */
    if (code == CLI_OK)
        code = input_read_first(sig_path, HBS_SIG_LEN_MAX + 1, &job->sig, &job->sig_len, fault);
    return code;
}

static enum cli_exit judge(const struct cli *cli, const struct job *job, struct verdict *v,
                           struct cli_fault *fault)
{
    struct input input CLEANUP(input_close) = INPUT_CLOSED;
    enum cli_exit code = input_open(&input, cli->args.operands[0], fault);
    if (code != CLI_OK)
        return code;
    if (job->has_plan) {
        code = same_sets(&job->key, &job->plan, fault);
        if (code != CLI_OK)
            return code;
    }
    code = check_file(&job->key, (const uint8_t *)job->sig, job->sig_len, job->message, &input,
                      &cli->out, &v->index, fault);
    if (code != CLI_OK || !job->has_plan)
        return code;
    code = place_index(&job->plan, v, fault);
    if (code != CLI_OK)
        return code;
    return check_claim(&job->plan, &job->claim, v, fault);
}

enum cli_exit cmd_verify(struct cli *cli, struct cli_fault *fault)
{
    struct job job CLEANUP(job_free) = {0};
    enum cli_exit code = read_job(&cli->args, &job, fault);
    struct verdict v = {0};
    if (code == CLI_OK)
        code = judge(cli, &job, &v, fault);
    if (code == CLI_NO && !cli->out.quiet) {
        char file[200];
        out_clean(file, sizeof(file), cli->args.operands[0]);
        out_coloured(&cli->out, OUT_BAD, "BAD");
        out_data(&cli->out, "      %s\n", file);
    }
    if (code != CLI_OK)
        return code;
    bool claimed = job.claim.version != NULL || job.claim.window_given || job.claim.time_given;
    if (cli->out.json)
        return print_json(&job.key, &v, &job.plan)
                   ? CLI_OK
                   : FAULT(fault, CLI_INTERNAL, "repeat", "the result could not be printed");
    print_good(cli, &job.key, &v, &job.plan, claimed);
    return CLI_OK;
}
