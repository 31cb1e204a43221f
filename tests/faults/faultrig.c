#include "faults/faultrig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/lock.h"

#define LIBRARY BUILDDIR "/tests/faults/.libs/inject.so"
#define SOON_MS 4000 /* behind that an operator restarts a service that does not sign */
#define PATIENCE_MS 60000
#define LOCK_WAIT_MS 60000
#define PAUSE_MS 10

/* Book of answers --------------------------------------------------------------------------------
 */

void book_add(struct book *b, const char *format, ...)
{
    char word[WORD_SIZE];
    size_t i = 0;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(word, sizeof(word), format, args);
    va_end(args);
    while (i < b->size && strcmp(b->word[i], word) != 0)
        i++;
    assert_true(i < WORDS_MAX);
    if (i == b->size)
        strcpy(b->word[b->size++], word);
    b->count[i]++;
}

void book_print(const struct book *b, FILE *to)
{
    for (size_t i = 0; i < b->size; i++)
        (void)fprintf(to, "%s%s %u", i > 0 ? ", " : "", b->word[i], b->count[i]);
    if (b->size == 0)
        (void)fputs("-", to);
}

static bool in_list(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += len)
        if ((p == list || p[-1] == ' ') && (p[len] == '\0' || p[len] == ' '))
            return true;
    return false;
}

unsigned book_strangers(const struct book *b, const char *allowed, const char *row)
{
    unsigned strangers = 0;
    for (size_t i = 0; i < b->size; i++) {
        if (in_list(allowed, b->word[i]))
            continue;
        (void)fprintf(stderr, "FAULT: %s: '%s' is not an answer that is documented (%s)\n", row,
                      b->word[i], allowed);
        strangers++;
    }
    return strangers;
}

/* Faults -----------------------------------------------------------------------------------------
 */

static struct inject_page *page;
static char page_path[LAB_PATH + 16];

void faults_open(void)
{
    struct inject_page empty = {.magic = INJECT_MAGIC};
    (void)snprintf(page_path, sizeof(page_path), "%s/inject", lab_dir());
    int fd CLEANUP(fd_close) = open(page_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_true(pwrite_full(fd, &empty, sizeof(empty), 0));
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(page != MAP_FAILED);
    assert_int_equal(access(LIBRARY, R_OK), 0);
}

void faults_arm(const struct fault *f, const struct service *s)
{
    assert_int_equal(atomic_load(&page->armed), 0);
    page->role = f->role;
    page->call = f->call;
    page->action = f->action;
    page->error = f->error;
    page->nth = f->nth;
    page->times = f->times;
    int len = snprintf(page->tpm, sizeof(page->tpm), "%s/s", s->tpm.dir);
    assert_true(len > 0 && (size_t)len < sizeof(page->tpm));
    atomic_store(&page->fired, 0);
    for (size_t role = 0; role < ROLE_COUNT; role++)
        for (size_t call = 0; call < CALL_COUNT; call++)
            atomic_store(&page->seen[role][call], 0);
    atomic_store(&page->armed, 1);
}

void faults_disarm(void)
{
    atomic_store(&page->armed, 0);
}

unsigned faults_fired(void)
{
    return atomic_load(&page->fired);
}

unsigned faults_seen(enum inject_role role, enum inject_call call)
{
    return atomic_load(&page->seen[role][call]);
}

/* What is started between these two has the library. Without a fault it is not there at all, so
 * that it cannot be what makes things work.
 *
 * A process whose TPM cannot be reached may end with a leak: the library that talks to the software
 * TPM keeps its configuration then (33 bytes, tss2 3.2.1). Under sanitizers that counts for no
 * failure of ours, and only there. */
static void load_library(void)
{
    if (atomic_load(&page->armed) == 0)
        return;
    if (page->call == CALL_TPM_SEND || page->call == CALL_TPM_RECEIVE)
        assert_int_equal(setenv("LSAN_OPTIONS", "exitcode=0", 1), 0);
    assert_int_equal(setenv("LD_PRELOAD", LIBRARY, 1), 0);
    assert_int_equal(setenv(INJECT_ENV, page_path, 1), 0);
}

static void unload_library(void)
{
    (void)unsetenv("LD_PRELOAD");
    (void)unsetenv(INJECT_ENV);
    (void)unsetenv("LSAN_OPTIONS");
}

/* Making -----------------------------------------------------------------------------------------
 */

#define LMS(height)                                                                                \
    "'scheme':'lms','parameters':['LMS_SHA256_M24_" height "','LMOTS_SHA256_N24_W2']"
#define PLAN(key, height, assignment)                                                              \
    "{'tidemark_plan':1,'key':'" key                                                               \
    "','profile':'sp800-208'," LMS(height) ",'assignment':" assignment "}"
#define VERSIONS(minors)                                                                           \
    "{'kind':'version','format':'major.minor.patch','sizes':{'minor':" minors ",'patch':2},"       \
    "'slots':['a','b'],'window':'minor','max_jump':8}"
#define INTERVALS "{'kind':'interval','signatures_per_window':8,'lease_size':4}"

const char *const victim_keys[KEYS] = {"fw", "builds", "nightly"};
/* Small windows, so that windows are opened all the time; but that of the time plan holds dozens of
 * turns. */
static const char *const plans[KEYS] = {
    PLAN("fw", "H10", VERSIONS("16")),
    PLAN("builds", "H10", INTERVALS),
    PLAN("nightly", "H10",
         "{'kind':'time','start':'2020-01-01T00:00:00Z','window':'P7300D',"
         "'signatures_per_window':512,'lease_size':2}"),
};
static const char small_plan[] = PLAN("fw", "H5", VERSIONS("4"));
const char victim_extra_plan[] = PLAN("builds", "H5", INTERVALS);

static void make_keys(struct victim *v, enum victim_size size)
{
    struct book b = {.size = 0};
    for (size_t i = 0; i < KEYS; i++)
        if ((v->keys & 1U << i) != 0)
            service_key(&v->service, size == VICTIM_SMALL ? small_plan : plans[i]);
    victim_start(v, &b);
    victim_sign(v, &b);
    victim_learn(v);
    victim_stop(v, &b);
}

/* A software TPM answers a moment before it has a state that can be copied. */
static void make_nothing(const struct victim *v)
{
    int64_t until = lab_now_ms() + PATIENCE_MS;
    while (lab_shell("test -e '%s/tpm2-00.permall'", v->service.tpm.dir) != 0) {
        assert_true(lab_now_ms() < until);
        lab_sleep_ms(PAUSE_MS);
    }
    assert_int_equal(mkdir(v->service.state, 0700), 0);
}

/* A core whose answer is lost is waited for only a little; bodies above 8 bytes are spooled. */
static const struct service_options large_options = {
    .clock = "'warmup':1",
    .http = "'core_deadline_s':2,'body_memory_max':8",
    .signing = "'export_margin':1000",
    .restart = "'delay_ms_max':20",
};
static const struct service_options small_options = {
    .clock = "'warmup':1",
    .http = "'core_deadline_s':2,'body_memory_max':8",
    .signing = "'export_margin':1",
    .restart = "'delay_ms_max':20",
};

static const struct service_options *options_of(enum victim_size size)
{
    return size == VICTIM_LARGE ? &large_options : &small_options;
}

void victim_make(struct victim *v, const char *name, const struct clocks *clocks,
                 enum victim_size size)
{
    static const unsigned keys[] = {[VICTIM_LARGE] = KEY_FW | KEY_BUILDS | KEY_NIGHTLY,
                                    [VICTIM_SMALL] = KEY_FW,
                                    [VICTIM_EMPTY] = 0};
    *v = (struct victim){.all = EVIDENCE_EMPTY,
                         .kept = EVIDENCE_EMPTY,
                         .size = size,
                         .keys = keys[size],
                         .minors = size == VICTIM_LARGE ? 16 : 4};
    service_make(&v->service, name, clocks, options_of(size));
    if (size == VICTIM_EMPTY)
        make_nothing(v);
    else
        make_keys(v, size);
    victim_save(v, "template");
}

void victim_move(struct victim *v, const char *dir)
{
    assert_true(strlen(dir) < sizeof(v->service.state));
    strcpy(v->service.state, dir);
    service_configure(&v->service, options_of(v->size));
}

void victim_learn(struct victim *v)
{
    for (size_t i = 0; i < KEYS; i++)
        if ((v->keys & 1U << i) != 0)
            v->public_len[i] = service_public(&v->service, victim_keys[i], v->public_key[i]);
}

void victim_end(struct victim *v)
{
    service_end(&v->service);
    evidence_free(&v->all);
    evidence_free(&v->kept);
}

void victim_plan(const struct victim *v, const char *name, const char *plan)
{
    assert_int_equal(
        lab_shell("printf '%%s' \"%s\" | tr \"'\" '\"' >'%s/%s'", plan, v->service.dir, name), 0);
}

static void put_path(char out[LAB_PATH + 32], const struct victim *v, const char *name)
{
    (void)snprintf(out, LAB_PATH + 32, "%s/%s.tpm", v->service.dir, name);
}

/* The save of that name, or the first free one. */
static struct save *find_save(struct victim *v, const char *name)
{
    size_t i = 0;
    while (i < SAVES_MAX && v->saves[i].name[0] != '\0' && strcmp(v->saves[i].name, name) != 0)
        i++;
    assert_true(i < SAVES_MAX);
    return &v->saves[i];
}

void victim_save(struct victim *v, const char *name)
{
    char dir[LAB_PATH + 32];
    struct save *save = find_save(v, name);
    put_path(dir, v, name);
    assert_int_equal(v->service.pid, 0);
    assert_int_equal(lab_shell("rm -rf '%s'", dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
    swtpm_kill(&v->service.tpm);
    assert_true(swtpm_copy_state(dir, v->service.tpm.dir));
    assert_true(swtpm_start(&v->service.tpm));
    service_save(&v->service, name);
    *save =
        (struct save){.all = v->all.count, .kept = v->kept.count, .turn = v->turn, .keys = v->keys};
    (void)snprintf(save->name, sizeof(save->name), "%s", name);
}

/* Signatures that belong to a world that is no more. */
static void forget(struct evidence *e, size_t count)
{
    while (e->count > count)
        free(e->list[--e->count].signature);
}

void victim_restore_state(struct victim *v, const char *name)
{
    service_restore(&v->service, name);
    forget(&v->kept, find_save(v, name)->kept);
}

void victim_restore(struct victim *v, const char *name)
{
    char dir[LAB_PATH + 32];
    const struct save *save = find_save(v, name);
    put_path(dir, v, name);
    swtpm_kill(&v->service.tpm);
    assert_true(swtpm_copy_state(v->service.tpm.dir, dir));
    assert_true(swtpm_start(&v->service.tpm));
    victim_restore_state(v, name);
    forget(&v->all, save->all);
    v->turn = save->turn;
    v->keys = save->keys;
}

/* Living -----------------------------------------------------------------------------------------
 */

/* Nobody holds the state directory any more, nor the TPM. */
static void wait_free(const struct service *s)
{
    static const char *const names[] = {SERVICE_LOCK, CORE_LOCK};
    struct err err = {0};
    int dir CLEANUP(fd_close) = open(s->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    for (size_t i = 0; i < 2; i++) {
        int fd CLEANUP(fd_close) = -1;
        if (lock_take(dir, names[i], LOCK_WAIT_MS, &fd, &err) != RC_OK)
            fail_msg("%s: %s", names[i], err_text(&err));
    }
}

/* Has the supervisor ended? @return true, with its end in the book. */
static bool has_ended(struct service *s, struct book *b)
{
    int status = 0;
    if (s->pid == 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
        return s->pid == 0;
    s->pid = 0;
    if (WIFSIGNALED(status))
        book_add(b, "signal-%d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        book_add(b, "exit-%d", WEXITSTATUS(status));
    wait_free(s);
    return true;
}

static bool answers(const struct service *s)
{
    struct answer a;
    long status = service_get(s, &a, "/health/state");
    client_done(&a);
    return status != 0;
}

void victim_start(struct victim *v, struct book *b)
{
    struct service *s = &v->service;
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(PAUSE_MS)) {
        if (has_ended(s, b)) {
            load_library();
            service_run(s);
            unload_library();
        }
        if (answers(s))
            return;
    }
    service_show_log(s);
    fail_msg("the service does not answer");
}

/* Killed as a whole and started again, as an operator would in the end. */
static void restart(struct victim *v, struct book *b)
{
    v->restarts++;
    if (v->service.pid != 0)
        service_crash(&v->service);
    wait_free(&v->service);
    victim_start(v, b);
}

/* One question. @return true with the signature kept; otherwise the answer is in the book. */
static bool ask_once(struct victim *v, struct book *b, size_t key, const char *request,
                     const char *artifact)
{
    struct answer a;
    const struct service *s = &v->service;
    const char *name = victim_keys[key];
    long status = key == 0 ? sign_version(s, &a, name, request, "a", artifact)
                           : sign_window(s, &a, name, request, artifact);
    bool good = status == 200 || status == 201;
    if (good) {
        assert_true(evidence_take(&v->all, name, request, artifact, &a));
        assert_true(evidence_take(&v->kept, name, request, artifact, &a));
    } else if (status == 0) {
        book_add(b, "no-answer");
    } else {
        const char *type = answer_text(&a, "type");
        book_add(b, "%s", strncmp(type, "/problems/", 10) == 0 ? type + 10 : "not-a-problem");
    }
    client_done(&a);
    return good;
}

void victim_ask(struct victim *v, struct book *b, size_t key, const char *request,
                const char *artifact)
{
    int64_t begun = lab_now_ms();
    bool restarted = false;
    while (!ask_once(v, b, key, request, artifact)) {
        int64_t waited = lab_now_ms() - begun;
        if (waited > PATIENCE_MS) {
            service_show_log(&v->service);
            fail_msg("%s %s is not signed", victim_keys[key], request);
        }
        if (has_ended(&v->service, b))
            victim_start(v, b);
        if (waited > SOON_MS && !restarted) {
            restart(v, b);
            restarted = true;
        }
        lab_sleep_ms(PAUSE_MS);
    }
}

void victim_request(char out[EVIDENCE_TEXT / 2], const struct victim *v, size_t key, unsigned n)
{
    (void)snprintf(out, EVIDENCE_TEXT / 2, key == 0 ? "%u.%u.%u" : "build-%u-%u-%u",
                   n / (2 * v->minors), n / 2 % v->minors, n % 2);
}

void victim_sign_some(struct victim *v, struct book *b, unsigned keys)
{
    char request[EVIDENCE_TEXT / 2];
    char artifact[EVIDENCE_TEXT];
    unsigned n = v->turn++;
    for (size_t key = 0; key < KEYS; key++) {
        if ((keys & 1U << key) == 0)
            continue;
        victim_request(request, v, key, n);
        /* Every other artifact is small enough to stay out of the spool. */
        (void)snprintf(artifact, sizeof(artifact), n % 2 == 0 ? "%u" : "artifact of turn %u", n);
        victim_ask(v, b, key, request, artifact);
    }
    if ((keys & KEY_FW) != 0) {
        victim_request(request, v, 0, n);
        victim_ask(v, b, 0, request, artifact);
    }
}

void victim_sign(struct victim *v, struct book *b)
{
    victim_sign_some(v, b, v->keys);
}

void victim_stop(struct victim *v, struct book *b)
{
    struct service *s = &v->service;
    if (s->pid != 0)
        (void)kill(s->pid, SIGTERM);
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(2))
        if (has_ended(s, b)) {
            wait_free(s);
            return;
        }
    service_show_log(s);
    fail_msg("the service does not end");
}

int victim_tool(struct victim *v, struct book *b, const char *words, ...)
{
    char line[1024];
    char out[TOOL_OUT];
    va_list args;
    va_start(args, words);
    int len = vsnprintf(line, sizeof(line), words, args);
    va_end(args);
    assert_true(len > 0 && (size_t)len < sizeof(line));
    load_library();
    int code = service_tool(&v->service, out, "%s", line);
    unload_library();
    bool speaks = code == 128 + SIGKILL || strstr(out, "tidemark") != NULL;
    if (code != 0)
        book_add(b, "exit-%d%s", code, speaks ? "" : "-without-a-word");
    if (code != 0)
        (void)snprintf(v->said, sizeof(v->said), "%s", out);
    return code;
}

/* Judging ----------------------------------------------------------------------------------------
 */

/* A copy, because whoever opens and closes a ledger tidies up its WAL: that is for the service. */
static struct ledger *open_copy(const struct victim *v)
{
    struct service copy = v->service;
    int len = snprintf(copy.dir, sizeof(copy.dir), "%s/look", v->service.dir);
    assert_true(len > 0 && (size_t)len < sizeof(copy.dir));
    assert_int_equal(lab_shell("rm -rf '%s' && mkdir -p '%s/state' && cp -a '%s'/ledger.db* "
                               "'%s/state/'",
                               copy.dir, copy.dir, v->service.state, copy.dir),
                     0);
    return service_ledger(&copy);
}

unsigned victim_check(struct victim *v)
{
    unsigned faults = 0;
    struct err err = {0};
    struct ledger *ledger CLEANUP(ledger_close) = open_copy(v);
    if (ledger_check_invariants(ledger, &err) != RC_OK) {
        (void)fprintf(stderr, "FAULT: ledger: %s\n", err_text(&err));
        faults++;
    }
    for (size_t i = 0; i < KEYS; i++) {
        if ((v->keys & 1U << i) == 0)
            continue;
        struct audit audit = {0};
        faults += audit_ledger(&audit, ledger, victim_keys[i]);
        faults += audit_evidence(&audit, &v->kept, victim_keys[i]);
        audit_free(&audit);
    }
    return faults;
}

unsigned victim_check_reuse(const struct victim *v)
{
    unsigned faults = 0;
    for (size_t i = 0; i < KEYS; i++)
        if (v->public_len[i] > 0)
            faults += evidence_check(&v->all, victim_keys[i], v->public_key[i], v->public_len[i]);
    return faults;
}

unsigned victim_check_log(const struct victim *v, off_t from)
{
    if (lab_shell("tail -c +%lld '%s' | grep -E 'MUST\\(|Sanitizer|runtime error:|by signal' | "
                  "grep -v 'by signal 9\"' >&2",
                  (long long)from + 1, v->service.log) != 0)
        return 0;
    (void)fprintf(stderr, "FAULT: these lines are in the log\n");
    return 1;
}
