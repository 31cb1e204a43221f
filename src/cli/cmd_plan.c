/*
 * plan: check and show a plan, or hand over to advise.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/planadvice.h"
#include "cli/planfile.h"
#include "hbs/params.h"
#include "policy/wear.h"

#define YEAR_S 31557600.0 /* 365.25 days */

/* Everything about a plan that follows from it and that people ask for. */
struct facts {
    char sha256[HEX_SIZE(SHA256_LEN)];
    uint64_t indices;   /* of the key */
    uint64_t artifacts; /* indices that may sign one */
    uint64_t seals, padding, behind;
    double years;              /* time plans */
    int64_t end_s;             /* time plans: end of the last window */
    uint64_t leases;           /* time and interval plans: TPM writes over the key's life */
    uint64_t sig_len, pub_len; /* 0 if we do not know the scheme */
};

/* RFC 8554 §6.2: u32 Nspk, then LMS signature and public key of each level but the last. */
static void signature_facts(const struct plan *plan, struct facts *f)
{
    if (plan->scheme != PLAN_LMS && plan->scheme != PLAN_HSS)
        return;
    uint64_t sig = 4;
    for (uint32_t level = 0; level < plan->level_count; level++) {
        if (2 * level + 1 >= plan->parameter_count)
            return;
        struct lms_set set = {.lms = lms_params_by_name(plan->parameters[2 * level]),
                              .ots = lmots_params_by_name(plan->parameters[2 * level + 1])};
        if (set.lms == NULL || set.ots == NULL)
            return;
        sig += lms_sig_len(&set) + (level > 0 ? lms_pub_len(&set) : 0);
        if (level == 0)
            f->pub_len = 4 + lms_pub_len(&set);
    }
    f->sig_len = sig;
}

static void plan_facts(const struct plan *plan, struct facts *f)
{
    *f = (struct facts){0};
    hex_encode(f->sha256, plan->sha256, SHA256_LEN);
    f->indices = UINT64_C(1) << plan->height;
    f->artifacts = plan->window_count * plan->window_usable;
    f->seals = plan->seal ? plan->window_count : 0;
    f->padding = plan->window_count * plan->window_size - f->artifacts - f->seals;
    f->behind = f->indices - plan->window_count * plan->window_size;
    if (plan->kind == PLAN_TIME) {
        int64_t start = 0;
        plan_window_times(plan, plan->window_count - 1, &start, &f->end_s);
        f->years = (double)(f->end_s - plan->start_s) / YEAR_S;
    }
    if (plan->kind != PLAN_VERSION)
        f->leases = plan->window_count * plan_leases_per_window(plan);
    signature_facts(plan, f);
}

static void print_versions(const struct out *out, const struct plan *plan)
{
    char count[OUT_SHORT];
    out_count(count, plan_version_count(plan));
    out_data(out, "%-11s%s, %s order, %s versions\n", "versions", plan_format_name(plan->format),
             plan_order_name(plan->order), count);
    for (uint32_t i = 0; i < plan->component_count && plan->format != PLAN_TABLE; i++)
        out_data(out, "%-11s%s %" PRIu64 " ... %" PRIu64 "\n", i == 0 ? "numbers" : "",
                 plan_level_name(plan, i), plan->bases[i], plan->bases[i] + plan->sizes[i] - 1);
    for (uint32_t i = 0; i < plan->slot_count && plan->slots_named; i++)
        out_data(out, "%s%s%s", i == 0 ? "slots      " : ", ", plan->slots[i],
                 i + 1 == plan->slot_count ? "\n" : "");
    out_data(out, "%-11s%" PRIu64 " windows without approval\n", "max jump", plan->max_jump);
}

static void print_times(const struct out *out, const struct plan *plan, const struct facts *f)
{
    char start[OUT_SHORT], end[OUT_SHORT], window[DURATION_SIZE], years[OUT_SHORT];
    out_time(start, plan->start_s);
    out_time(end, f->end_s);
    duration_print(window, plan->window_s);
    (void)snprintf(years, sizeof(years), "%.1f", f->years);
    out_data(out, "%-11s%s years, %s ... %s, windows of %s\n", "life", years, start, end, window);
}

static void print_waste(const struct out *out, const struct facts *f)
{
    char seals[OUT_SHORT], padding[OUT_SHORT], behind[OUT_SHORT], all[OUT_SHORT];
    out_count(seals, f->seals);
    out_count(padding, f->padding);
    out_count(behind, f->behind);
    out_count(all, f->indices);
    uint64_t waste = f->padding + f->behind;
    out_data(out, "%-11s%.1f %% of %s indices: %s padding, %s behind the last window; %s seals\n",
             "waste", 100.0 * (double)waste / (double)f->indices, all, padding, behind, seals);
}

static void print_plan(const struct out *out, const struct plan *plan, const struct facts *f)
{
    char windows[OUT_SHORT], size[OUT_SHORT], usable[OUT_SHORT], artifacts[OUT_SHORT];
    out_count(windows, plan->window_count);
    out_count(size, plan->window_size);
    out_count(usable, plan->window_usable);
    out_count(artifacts, f->artifacts);
    out_data(out, "%-11s", "plan");
    out_coloured(out, OUT_GOOD, "valid");
    out_data(out, "\n%-11s%s\n%-11s%s\n", "key", plan->key, "sha256", f->sha256);
    out_data(out, "%-11s%s, profile %s\n", "scheme", plan_scheme_name(plan->scheme),
             plan_profile_name(plan->profile));
    for (uint32_t i = 0; i < plan->parameter_count; i++)
        out_data(out, "%-11s%s\n", i == 0 ? "parameters" : "", plan->parameters[i]);
    out_data(out, "%-11s%s\n", "message", plan_message_name(plan->message));
    if (plan->remote.allowed)
        out_data(out,
                 "%-11scallers may hash their artifacts themselves, in %" PRIu32 " s, %" PRIu32
                 " of them at a time\n",
                 "remote", plan->remote.expires_s, plan->remote.open_per_caller);
    out_data(out, "%-11s%s\n", "kind", plan_kind_name(plan->kind));
    if (plan->kind == PLAN_VERSION)
        print_versions(out, plan);
    if (plan->kind == PLAN_TIME)
        print_times(out, plan, f);
    out_data(out, "%-11s%s of %s indices, %s for artifacts\n", "windows", windows, size, usable);
    out_data(out, "%-11s%s signatures\n", "capacity", artifacts);
    print_waste(out, f);
    if (plan->kind != PLAN_VERSION) {
        char leases[OUT_SHORT];
        out_count(leases, f->leases);
        out_data(out, "%-11s%" PRIu64 " indices each, at most %s in the key's life\n", "leases",
                 plan->lease_size, leases);
    }
    if (f->sig_len > 0)
        out_data(out, "%-11s%" PRIu64 " bytes, public key %" PRIu64 " bytes\n", "signature",
                 f->sig_len, f->pub_len);
    else
        out_data(out, "%-11ssize not known to this tidemark\n", "signature");
}

/* Whether the TPM of the signer host stands it is for its configuration to say (tpm.nv_endurance);
 * here the usual figure is the measure. */
static void print_wear(const struct out *out, const struct plan *plan, double years)
{
    struct plan_wear wear;
    struct err err = {0};
    char writes[OUT_SHORT];
    enum rc rc = plan_wear_check(plan, WEAR_ENDURANCE_DEFAULT, &wear, &err);
    out_count(writes, wear.a);
    out_data(out, "%-11sat most %s of one TPM index in the key's life%s", "NV writes", writes,
             plan->kind == PLAN_VERSION ? ", if every version is signed alone" : "");
    if (years > 0) {
        out_count(writes, (uint64_t)((double)wear.a / years));
        out_data(out, ", %s a year", writes);
    }
    out_data(out, "\n");
    if (rc != RC_OK)
        out_talk(out, "tidemark: warning: %s\n", err_text(&err));
}

static json_t *plan_json(const struct plan *plan, const struct facts *f)
{
    json_t *parameters = json_array(), *slots = json_array();
    for (uint32_t i = 0; i < plan->parameter_count; i++)
        (void)json_array_append_new(parameters, json_string(plan->parameters[i]));
    for (uint32_t i = 0; i < plan->slot_count && plan->slots_named; i++)
        (void)json_array_append_new(slots, json_string(plan->slots[i]));
    json_t *o = json_pack(
        "{sb ss ss ss ss ss ss so so sI sI sI sI}", "valid", 1, "key", plan->key, "plan_sha256",
        f->sha256, "scheme", plan_scheme_name(plan->scheme), "profile",
        plan_profile_name(plan->profile), "kind", plan_kind_name(plan->kind), "message",
        plan_message_name(plan->message), "parameters", parameters, "slots", slots, "window_count",
        (json_int_t)plan->window_count, "window_size", (json_int_t)plan->window_size,
        "window_usable", (json_int_t)plan->window_usable, "capacity", (json_int_t)f->artifacts);
    if (o == NULL)
        return NULL;
    (void)json_object_set_new(o, "remote_hashing", json_boolean(plan->remote.allowed));
    (void)json_object_set_new(o, "indices", json_integer((json_int_t)f->indices));
    (void)json_object_set_new(o, "seals", json_integer((json_int_t)f->seals));
    (void)json_object_set_new(o, "padding", json_integer((json_int_t)f->padding));
    (void)json_object_set_new(o, "behind_last_window", json_integer((json_int_t)f->behind));
    (void)json_object_set_new(o, "signature_bytes", json_integer((json_int_t)f->sig_len));
    (void)json_object_set_new(o, "public_key_bytes", json_integer((json_int_t)f->pub_len));
    if (plan->kind == PLAN_TIME)
        (void)json_object_set_new(o, "years", json_real(f->years));
    if (plan->kind == PLAN_VERSION)
        (void)json_object_set_new(o, "versions",
                                  json_integer((json_int_t)plan_version_count(plan)));
    else
        (void)json_object_set_new(o, "leases", json_integer((json_int_t)f->leases));
    return o;
}

/* With --json, a fault inside the document is the result; the exit code says that it is one. */
static enum cli_exit print_plan_fault(const struct plan_fault *where, struct cli_fault *fault)
{
    json_t *o = json_pack("{sbs{ssssss}}", "valid", 0, "fault", "path", where->path, "what",
                          where->what, "example", where->example);
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0 && printf("\n") > 0;
    json_decref(o);
    return ok ? CLI_OK : FAULT(fault, CLI_INTERNAL, "repeat", "the result could not be printed");
}

static enum cli_exit show_plan(const struct cli *cli, const char *path, struct cli_fault *fault)
{
    struct plan plan CLEANUP(plan_free) = {0};
    struct plan_fault where = {0};
    enum cli_exit code = planfile_read(&plan, path, &where, fault);
    if (code != CLI_OK) {
        struct cli_fault printing = {0};
        if (cli->out.json && where.path[0] != '\0' && print_plan_fault(&where, &printing) == CLI_OK)
            fault->printed = true;
        return code;
    }
    struct facts facts;
    plan_facts(&plan, &facts);
    if (!cli->out.json) {
        print_plan(&cli->out, &plan, &facts);
        print_wear(&cli->out, &plan, facts.years);
        return CLI_OK;
    }
    json_t *o = plan_json(&plan, &facts);
    bool ok = o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0 && printf("\n") > 0;
    json_decref(o);
    return ok ? CLI_OK : FAULT(fault, CLI_INTERNAL, "repeat", "the result could not be printed");
}

enum cli_exit cmd_plan(struct cli *cli, struct cli_fault *fault)
{
    const struct args *args = &cli->args;
    static const char *const of_advice[] = {"rate", "window", "years", "verifier", "exhaust",
                                            "tags", "slots",  "key",   "start"};
    if (args->operand_count == 0)
        return planadvice_run(cli, fault);
    for (size_t i = 0; i < sizeof(of_advice) / sizeof(of_advice[0]); i++) {
        if (args_value(args, of_advice[i]) != NULL)
            return FAULT(fault, CLI_USAGE, "leave out PLAN to have one advised",
                         "--%s belongs to advice, and %.200s is a plan", of_advice[i],
                         args->operands[0]);
    }
    return show_plan(cli, args->operands[0], fault);
}
