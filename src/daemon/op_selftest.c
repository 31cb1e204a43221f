/*
 * key-selftest: are the keys of this host still what they were, and does this machine compute
 * right?
 *
 * Only reads: no lock, no ledger, no TPM, nothing that a service beside it would notice but one
 * request for a public key. What it cannot see is therefore what those three know: whether counters
 * and ledger agree is the question of a start, and of tidemark status.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/jcs.h"
#include "base/secmem.h"
#include "daemon/ask.h"
#include "daemon/host.h"
#include "hbs/kernel.h"
#include "hbs/known.h"
#include "hbs/spki.h"
#include "signer/scheme.h"
#include "signer/seeds.h"

#define TEXT_LEN 640
#define PUBLIC_FILE_MAX 4096

#define NEXT_MACHINE                                                                               \
    "stop the service and sign nothing on this machine until memory and CPU are found good, or "   \
    "another one has taken over (docs/operations.md)"
#define NEXT_PLAN                                                                                  \
    "put keys/%s/plan.json back from a copy: a backup file or another machine has it; the service" \
    " starts no key with another plan"
#define NEXT_NODES                                                                                 \
    "start the service anew: it rebuilds inner nodes by itself; if it says damaged leaves, put "   \
    "keys/%s/nodes back from any copy, a backup file or another machine"
#define NEXT_SEEDS                                                                                 \
    "stop the service, keep the file, and see docs/operations.md: tidemark reseal, or tidemark "   \
    "recover --from a backup"
#define NEXT_PUBLIC                                                                                \
    "this host has not the key that the verifiers have: stop the service and find out which of "   \
    "the two was replaced"

enum grade { GRADE_OK, GRADE_NOTE, GRADE_FAILED };

static const char *const grade_names[] = {"ok", "note", "failed"};

struct report {
    const struct options *options;
    const struct config *config;
    struct bar bar;
    struct jcs json;
    enum grade worst;
};

/* One key under test. */
struct subject {
    const char *name;
    int dirfd;
    bool parsed; /* plan and, but for id and root, key are set */
    struct plan plan;
    struct hbs_key key;
};

static void subject_close(struct subject *s)
{
    plan_free(&s->plan);
    fd_close(&s->dirfd);
}

/* Findings ------------------------------------------------------------------------------------- */

/* One line, at once: later ones may take a while. next, if it is not NULL, may name the key. */
static void say(struct report *r, enum grade grade, const char *area, const char *key,
                const char *next, const char *format, ...) PRINTF_LIKE(6, 7);
static void say(struct report *r, enum grade grade, const char *area, const char *key,
                const char *next, const char *format, ...)
{
    char text[TEXT_LEN];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (grade > r->worst)
        r->worst = grade;
    progress_end(&r->bar);
    jcs_object_open(&r->json);
    jcs_member_string(&r->json, "area", area);
    jcs_member_string(&r->json, "grade", grade_names[grade]);
    jcs_member_string(&r->json, "key", key);
    if (next != NULL)
        jcs_member_string(&r->json, "next", next);
    jcs_member_string(&r->json, "text", text);
    jcs_object_close(&r->json);
    if (r->options->json || (r->options->quiet && grade == GRADE_OK))
        return;
    (void)printf("%-7s %-7s %s%s%s\n", grade == GRADE_FAILED ? "FAILED" : grade_names[grade], area,
                 key, key[0] != '\0' ? ": " : "", text);
    if (next != NULL)
        (void)printf("                next: %s\n", next);
    (void)fflush(stdout);
}

static void failed(struct report *r, const char *area, const struct subject *s, const char *next,
                   const char *what)
{
    char advice[TEXT_LEN];
    int n = 0;
    const char *name = strstr(next, "%s");
    /* The advice is ours, and names the key at one place or nowhere. */
    if (name != NULL)
        n = snprintf(advice, sizeof(advice), "%.*s%s%s", (int)(name - next), next, s->name,
                     name + 2);
    else
        n = snprintf(advice, sizeof(advice), "%s", next);
    MUST(n > 0 && (size_t)n < sizeof(advice));
    say(r, GRADE_FAILED, area, s->name, advice, "%s", what);
}

static struct bar *begin(struct report *r, const char *what)
{
    r->bar = (struct bar){.what = what, .quiet = r->options->quiet};
    return &r->bar;
}

/* The machine ---------------------------------------------------------------------------------- */

static void check_kernels(struct report *r)
{
    static const enum hbs_hash_kind hashes[] = {HBS_SHA256, HBS_SHAKE256};
    static const char *const names[] = {"SHA-256", "SHAKE256"};
    for (size_t h = 0; h < sizeof(hashes) / sizeof(hashes[0]); h++) {
        const struct hbs_kernel *kernel;
        for (size_t i = 0; (kernel = hbs_kernel_at(hashes[h], i)) != NULL; i++) {
            /* libgcrypt is the yardstick itself; test vectors say whether that is right. */
            if (!kernel->supported() || strcmp(kernel->name, "libgcrypt") == 0)
                continue;
            bool sound = hbs_kernel_sound(kernel);
            say(r, sound ? GRADE_OK : GRADE_FAILED, "hash", "", sound ? NULL : NEXT_MACHINE,
                "%s with %s %s", names[h], kernel->name,
                sound ? "agrees with libgcrypt" : "gives other hashes than libgcrypt");
        }
    }
}

/* @param[in] key  Whose parameters they are; "" for everybody's. */
static bool known_right(struct report *r, const char *key, const struct hbs_known *known)
{
    struct err err = {0};
    if (hbs_known_tree(known, &err))
        return true;
    say(r, GRADE_FAILED, "known", key, NEXT_MACHINE, "%s: %s", known->names[0],
        err.rc != RC_OK ? err_text(&err) : "a tree of a public test vector comes out wrong");
    return false;
}

/* Those that take no time. */
static void check_lms_trees(struct report *r)
{
    const struct hbs_known *known;
    size_t count = 0;
    size_t right = 0;
    for (size_t i = 0; (known = hbs_known_at(i)) != NULL; i++) {
        if (strcmp(known->scheme, "lms") != 0)
            continue;
        count++;
        right += known_right(r, "", known) ? 1 : 0;
    }
    if (right == count)
        say(r, GRADE_OK, "known", "", NULL, "%zu trees of public test vectors come out right",
            count);
}

/* Those of XMSS take up to a second, so they are built where there is a key of their kind. */
static void check_xmss_tree(struct report *r, const struct subject *s)
{
    const struct hbs_known *known;
    if (s->key.public.scheme == HBS_SCHEME_HSS)
        return;
    const struct xmss_params *params = s->key.public.xmss.params;
    for (size_t i = 0; (known = hbs_known_at(i)) != NULL; i++) {
        if (strcmp(known->scheme, "xmss") != 0 || known->hash != params->hash ||
            known->n != params->n || !known_right(r, s->name, known))
            continue;
        say(r, GRADE_OK, "known", s->name, NULL,
            "the tree of a public test vector, %s, comes out right", known->names[0]);
    }
}

static void check_machine(struct report *r)
{
    check_kernels(r);
    check_lms_trees(r);
    if (hbs_known_signature())
        say(r, GRADE_OK, "known", "", NULL,
            "the signature of RFC 8554, test case 1, verifies, and changed ones do not");
    else
        say(r, GRADE_FAILED, "known", "", NEXT_MACHINE,
            "the signature of RFC 8554, test case 1, does not verify, or a changed one does");
}

/* One key -------------------------------------------------------------------------------------- */

/* Does the file hold what is hashed, to the byte? */
static bool canonical(const char *text, size_t len)
{
    char *form = NULL;
    size_t form_len = 0;
    struct err none = {0};
    bool same = plan_canonical(text, len, &form, &form_len, &none) == RC_OK && form_len == len &&
                ct_equal(form, text, len);
    free(form);
    return same;
}

static enum rc read_plan(struct subject *s, bool *same, struct err *err)
{
    static const uint8_t no_id[HBS_KEY_ID_LEN];
    char *text = NULL;
    size_t len = 0;
    enum rc rc = file_read(s->dirfd, KEY_FILE_PLAN, PLAN_TEXT_MAX, &text, &len, err);
    if (rc == RC_OK)
        rc = plan_parse(&s->plan, text, len, NULL, err);
    if (rc == RC_OK)
        rc = scheme_new(&s->key, &s->plan, no_id, err);
    *same = rc == RC_OK && canonical(text, len);
    free(text);
    return rc;
}

static void check_plan(struct report *r, struct subject *s)
{
    struct err err = {0};
    bool same = false;
    if (read_plan(s, &same, &err) != RC_OK) {
        failed(r, "plan", s, NEXT_PLAN, err_text(&err));
        return;
    }
    s->parsed = true;
    if (!same) {
        failed(r, "plan", s, NEXT_PLAN, "plan.json is not in canonical form: it was edited");
        return;
    }
    if (strcmp(s->plan.key, s->name) != 0) {
        failed(r, "plan", s, NEXT_PLAN, "plan.json is the plan of another key");
        return;
    }
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, s->plan.sha256, SHA256_LEN);
    say(r, GRADE_OK, "plan", s->name, NULL, "whole, SHA-256 %s", hex);
}

static bool check_nodes(struct report *r, struct subject *s)
{
    struct err err = {0};
    struct bar *bar = begin(r, "nodes");
    if (hbs_key_nodes_check(&s->key, s->dirfd, KEY_FILE_NODES, show_progress, bar, &err) != RC_OK) {
        failed(r, "nodes", s, NEXT_NODES, err_text(&err));
        return false;
    }
    const struct hbs_tree top = hbs_key_top(&s->key);
    say(r, GRADE_OK, "nodes", s->name, NULL,
        "whole, all nodes above %" PRIu64 " leaves computed up to the root",
        UINT64_C(1) << top.height);
    return true;
}

static void check_seeds(struct report *r, struct subject *s)
{
    struct err err = {0};
    struct seeds_census census;
    struct bar *bar = begin(r, "seeds");
    uint64_t windows = s->plan.window_count;
    if (seeds_count(s->dirfd, SEEDS_FILE, windows, show_progress, bar, &census, &err) != RC_OK) {
        failed(r, "seeds", s, NEXT_SEEDS, err_text(&err));
        return;
    }
    if (census.here == 0)
        say(r, GRADE_NOTE, "seeds", s->name, NULL,
            "%" PRIu64 " windows, and no secret is left: this device signs no more with this key",
            windows);
    else
        say(r, GRADE_OK, "seeds", s->name, NULL,
            "%" PRIu64 " windows, %" PRIu64 " secrets here (windows %" PRIu64 " to %" PRIu64
            "), %" PRIu64 " destroyed or never here",
            windows, census.here, census.first, census.last, windows - census.here);
}

/* What to compare with --------------------------------------------------------------------------
 */

static bool is_public(const struct subject *s, const uint8_t *raw, size_t raw_len)
{
    uint8_t ours[HBS_PUB_LEN_MAX];
    size_t len = hbs_key_public(&s->key, ours);
    return len == raw_len && ct_equal(ours, raw, len);
}

static void check_file(struct report *r, const struct subject *s, const char *path)
{
    char *data = NULL;
    size_t len = 0;
    struct err err = {0};
    struct hbs_public public;
    uint8_t raw[HBS_PUB_LEN_MAX];
    enum rc rc = file_read(AT_FDCWD, path, PUBLIC_FILE_MAX, &data, &len, &err);
    if (rc == RC_OK)
        rc = spki_public_read(&public, scheme_of(&s->plan), (const uint8_t *)data, len, &err);
    free(data);
    if (rc != RC_OK)
        failed(r, "public", s, "name the public key's file, raw, DER or PEM, with --public",
               err_text(&err));
    else if (is_public(s, raw, hbs_public_print(&public, raw)))
        say(r, GRADE_OK, "public", s->name, NULL, "the node file is that of the --public key");
    else
        failed(r, "public", s, NEXT_PUBLIC, "the node file is not that of the --public key");
}

static void compare_plan(struct report *r, const struct subject *s, const struct ask_public *asked)
{
    if (ct_equal(asked->plan_sha256, s->plan.sha256, SHA256_LEN))
        say(r, GRADE_OK, "plan", s->name, NULL, "it is the one that the service signs by");
    else
        failed(r, "plan", s, NEXT_PLAN, "plan.json is not the plan that the service signs by");
}

static void compare_key(struct report *r, const struct subject *s, const struct ask_public *asked)
{
    if (is_public(s, asked->key, asked->key_len))
        say(r, GRADE_OK, "public", s->name, NULL,
            "the node file is that of the public key that the service gives out");
    else
        failed(r, "public", s, NEXT_PUBLIC,
               "the node file is not that of the public key that the service gives out");
}

/* @param[in] nodes  The node file is whole, so that there is a root to compare. */
static void check_against(struct report *r, const struct subject *s, bool nodes)
{
    struct err err = {0};
    struct ask_public asked;
    const char *file = r->options->public;
    enum rc rc = ask_public_key(r->config->http_unix, s->name, &asked, &err);
    if (rc == RC_OK)
        compare_plan(r, s, &asked);
    if (nodes && file != NULL)
        check_file(r, s, file);
    else if (nodes && rc == RC_OK)
        compare_key(r, s, &asked);
    if (rc != RC_OK && file != NULL)
        say(r, GRADE_NOTE, "plan", s->name, NULL, "nothing to compare the plan with: %.300s",
            err_text(&err));
    else if (rc != RC_OK)
        say(r, GRADE_NOTE, "public", s->name, NULL,
            "nothing to compare plan and root with: %.300s; --public FILE names the public key",
            err_text(&err));
}

static void check_key(struct report *r, int keys_dirfd, const char *name)
{
    struct subject s CLEANUP(subject_close) = {.name = name};
    s.dirfd = openat(keys_dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s.dirfd < 0) {
        failed(r, "plan", &s,
               "run it as the service's user, and move what is no key away from keys",
               strerror(errno));
        return;
    }
    check_plan(r, &s);
    if (!s.parsed) {
        say(r, GRADE_NOTE, "nodes", name, NULL,
            "not looked at, and seeds neither: the plan says how many there are");
        return;
    }
    check_xmss_tree(r, &s);
    bool nodes = check_nodes(r, &s);
    check_seeds(r, &s);
    check_against(r, &s, nodes);
}

/* All keys ------------------------------------------------------------------------------------- */

/* A key that is being made has a name that begins with a dot. */
static int is_key(const struct dirent *entry)
{
    return name_valid(entry->d_name);
}

static void list_free(struct dirent **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free((void *)list);
}

static enum rc no_such_key(const struct report *r, struct err *err)
{
    return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "there is no key '%.64s' in %.200s/" KEYS_DIR,
                r->options->key, r->config->state_dir);
}

static enum rc check_keys(struct report *r, int keys_dirfd, struct err *err)
{
    const char *wanted = r->options->key;
    struct dirent **list = NULL;
    int count = scandirat(keys_dirfd, ".", &list, is_key, alphasort);
    if (count < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "%.200s/" KEYS_DIR ": %s",
                    r->config->state_dir, strerror(errno));
    int checked = 0;
    for (int i = 0; i < count; i++) {
        if (wanted != NULL && strcmp(wanted, list[i]->d_name) != 0)
            continue;
        check_key(r, keys_dirfd, list[i]->d_name);
        checked++;
    }
    list_free(list, count);
    if (checked == 0 && wanted != NULL)
        return no_such_key(r, err);
    if (checked == 0)
        say(r, GRADE_NOTE, "plan", "", "tidemark key new PLAN", "there is no key here yet");
    return RC_OK;
}

static enum rc open_keys(const struct report *r, int *dirfd, struct err *err)
{
    char path[CONFIG_PATH_MAX + sizeof(KEYS_DIR) + 1];
    (void)snprintf(path, sizeof(path), "%s/" KEYS_DIR, r->config->state_dir);
    *dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dirfd < 0 && errno == ENOENT && r->options->key != NULL)
        return no_such_key(r, err);
    if (*dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "%s: %s", path, strerror(errno));
    return RC_OK;
}

static int finish(struct report *r)
{
    jcs_array_close(&r->json);
    jcs_member_string(&r->json, "worst", grade_names[r->worst]);
    jcs_object_close(&r->json);
    bool whole = jcs_finish(&r->json);
    if (r->options->json && whole)
        (void)printf("%s\n", r->json.text);
    jcs_wipe(&r->json);
    if (r->options->json && !whole)
        return 9;
    return r->worst == GRADE_FAILED ? 6 : 0;
}

int operation_key_selftest(const struct options *o)
{
    static struct config config;
    struct report r = {.options = o, .config = &config};
    struct err err = {0};
    int dirfd CLEANUP(fd_close) = -1;
    if (o->argument != NULL || (o->public != NULL && o->key == NULL)) {
        (void)fprintf(stderr, "usage: tidemark key selftest [--key K [--public FILE]]\n");
        return 2;
    }
    enum rc rc = base_init_public(&err);
    if (rc == RC_OK)
        rc = hbs_kernel_start(&err);
    if (rc == RC_OK)
        rc = config_read(&config, o->config, NULL, &err);
    if (rc == RC_OK)
        rc = open_keys(&r, &dirfd, &err);
    jcs_object_open(&r.json);
    jcs_key(&r.json, "findings");
    jcs_array_open(&r.json);
    if (rc == RC_OK) {
        check_machine(&r);
        rc = check_keys(&r, dirfd, &err);
    }
    if (rc == RC_OK)
        return finish(&r);
    jcs_wipe(&r.json);
    return operation_fail(&err, rc,
                          rc == RC_REFUSED_NOT_FOUND
                              ? "tidemark key selftest without --key takes all that are there"
                          : rc == RC_HALT_STATE_DIR
                              ? "run it on the signer host as the service's user: sudo -u tidemark "
                                "tidemark key selftest"
                              : NULL);
}
