/*
 * doctor: is this host fit to be a signer? Looks at storage, permissions, memory, sandbox, TPM,
 * clock and chrony's configuration; changes nothing but a file of its own that it removes, and
 * opens the ledger as a start does. While the service runs, which has TPM and ledger to itself,
 * those two are left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jcs.h"
#include "base/lock.h"
#include "base/secmem.h"
#include "clock/review.h"
#include "daemon/host.h"
#include "daemon/orphans.h"
#include "daemon/owner.h"
#include "daemon/sandbox.h"
#include "daemon/world.h"
#include "tpm/attest.h"

#define ROWS_MAX 64
#define ROW_TEXT 256
#define SYNCS 40
#define SYNC_LEN 4096
#define SYNC_US_SUSPICIOUS 15 /* no medium keeps 4 KiB in less: it did not wait for one */
#define PROBE_FILE ".doctor"
#define CHRONY_CONF "/etc/chrony/chrony.conf"
#define CHRONY_FILE_MAX (256 * 1024)
#define LOCKED_MIN (64 * 1024)
/* One question to chronyd can be lost, or answered late on a busy host: not yet a finding. */
#define CLOCK_TRIES 10

enum grade { GRADE_OK, GRADE_WARNING, GRADE_BAD };

struct row {
    const char *area;
    enum grade grade;
    char text[ROW_TEXT];
};

struct findings {
    struct row rows[ROWS_MAX];
    size_t count;
    enum grade worst;
};

static void found(struct findings *f, const char *area, enum grade grade, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void found(struct findings *f, const char *area, enum grade grade, const char *format, ...)
{
    if (grade > f->worst)
        f->worst = grade;
    if (f->count == ROWS_MAX)
        return;
    struct row *row = &f->rows[f->count++];
    row->area = area;
    row->grade = grade;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row->text, sizeof(row->text), format, args);
    va_end(args);
}

/* Storage -------------------------------------------------------------------------------------- */

static const struct {
    long type;
    const char *name;
    enum grade grade;
} file_systems[] = {
    {TMPFS_MAGIC, "tmpfs, which is gone with the power", GRADE_BAD},
    {RAMFS_MAGIC, "ramfs, which is gone with the power", GRADE_BAD},
    {NFS_SUPER_MAGIC, "NFS, whose locks and syncs cannot be relied on", GRADE_BAD},
    {SMB2_SUPER_MAGIC, "SMB, whose locks and syncs cannot be relied on", GRADE_BAD},
    {OVERLAYFS_SUPER_MAGIC, "an overlay: use a volume or a bind mount", GRADE_WARNING},
    {FUSE_SUPER_MAGIC, "FUSE: whether it syncs is up to a program", GRADE_WARNING},
};

static void look_at_file_system(struct findings *f, int dirfd)
{
    struct statfs fs;
    if (fstatfs(dirfd, &fs) != 0) {
        found(f, "storage", GRADE_BAD, "the state directory's file system cannot be asked: %s",
              strerror(errno));
        return;
    }
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
        if (fs.f_type != file_systems[i].type)
            continue;
        found(f, "storage", file_systems[i].grade, "the state directory is on %s",
              file_systems[i].name);
        return;
    }
    double free_mib = (double)fs.f_bavail * (double)fs.f_bsize / (1024 * 1024);
    found(f, "storage", free_mib < 64 ? GRADE_WARNING : GRADE_OK, "%.0f MiB free", free_mib);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* @return how many syncs were measured; their nanoseconds in rising order. */
static size_t measure_syncs(int dirfd, int64_t ns[SYNCS])
{
    static const uint8_t block[SYNC_LEN];
    const struct time_source *t = world_time();
    int fd CLEANUP(fd_close) =
        openat(dirfd, PROBE_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t n = 0;
    for (; fd >= 0 && n < SYNCS; n++) {
        int64_t begin = t->raw_ns(t->ctx);
        if (!pwrite_full(fd, block, sizeof(block), (off_t)(n * sizeof(block))) ||
            fdatasync(fd) != 0)
            break;
        ns[n] = t->raw_ns(t->ctx) - begin;
    }
    (void)unlinkat(dirfd, PROBE_FILE, 0);
    qsort(ns, n, sizeof(ns[0]), by_value);
    return n;
}

static void look_at_syncs(struct findings *f, int dirfd)
{
    int64_t ns[SYNCS];
    size_t n = measure_syncs(dirfd, ns);
    if (n < SYNCS) {
        found(f, "storage", GRADE_BAD, "the state directory cannot be written and synced: %s",
              strerror(errno));
        return;
    }
    double median_us = (double)ns[n / 2] / 1000;
    bool suspicious = median_us < SYNC_US_SUSPICIOUS;
    found(f, "storage", suspicious ? GRADE_WARNING : GRADE_OK,
          "a sync of %d bytes takes %.0f us (slowest of %d: %.0f us)%s", SYNC_LEN, median_us, SYNCS,
          (double)ns[n - 1] / 1000,
          suspicious ? ": too little for a medium that keeps it without power" : "");
}

static void look_at_permissions(struct findings *f, int dirfd, const char *config)
{
    struct stat s;
    if (fstat(dirfd, &s) == 0 && ((s.st_mode & 077) != 0 || s.st_uid != geteuid()))
        found(f, "permissions", GRADE_BAD,
              "the state directory must be ours alone: chown %u, chmod 700", geteuid());
    else
        found(f, "permissions", GRADE_OK, "the state directory is ours alone");
    if (config != NULL && stat(config, &s) == 0 && (s.st_mode & 022) != 0)
        found(f, "permissions", GRADE_BAD, "others can change %.100s: chmod go-w", config);
}

static void look_at_storage(struct findings *f, const struct config *c, const char *config_path)
{
    int dirfd CLEANUP(fd_close) = open(c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0 && errno == ENOENT) {
        found(f, "storage", GRADE_WARNING,
              "%.120s is not there yet: 'tidemark key new' makes it, then look again",
              c->state_dir);
        return;
    }
    if (dirfd < 0) {
        found(f, "storage", GRADE_BAD, "%.120s: %s", c->state_dir, strerror(errno));
        return;
    }
    look_at_file_system(f, dirfd);
    look_at_syncs(f, dirfd);
    look_at_permissions(f, dirfd, config_path);
}

/* Memory and processes ------------------------------------------------------------------------- */

static void look_at_memory(struct findings *f)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < LOCKED_MIN)
        found(f, "memory", GRADE_BAD,
              "only %" PRIu64 " bytes may be locked for secrets: raise LimitMEMLOCK to 8M",
              (uint64_t)limit.rlim_cur);
    else
        found(f, "memory", GRADE_OK, "secrets can be locked in memory");
    char *swaps = NULL;
    size_t len = 0;
    struct err none = {0};
    if (file_read(AT_FDCWD, "/proc/swaps", 64 * 1024, &swaps, &len, &none) == RC_OK) {
        const char *second = memchr(swaps, '\n', len);
        bool any = second != NULL && (size_t)(second + 1 - swaps) < len;
        found(f, "memory", any ? GRADE_WARNING : GRADE_OK,
              any ? "this host swaps: secrets are locked, what libraries copy of them may not be"
                  : "this host does not swap");
    }
    free(swaps);
}

/* Sandbox -------------------------------------------------------------------------------------- */

/* Tried in a process of its own, as the service's core will be locked in. */
static void look_at_sandbox(struct findings *f, const struct config *c, int state_dirfd)
{
    const struct sandbox sandbox = {
        .role = SANDBOX_CORE, .dirfd = state_dirfd, .tcti = c->tcti, .also_read = c->also_read};
    int abi = 0;
    if (!c->sandbox)
        found(f, "sandbox", GRADE_BAD,
              "off (sandbox.mode): who breaks into the service has all that its user has");
    else if (!sandbox_try(&sandbox, &abi))
        found(
            f, "sandbox", GRADE_BAD,
            "the kernel refuses it, or it does not hold: a kernel with seccomp filters is needed");
    else if (abi == 0)
        found(f, "sandbox", GRADE_WARNING,
              "system calls are locked, files are not: this kernel has no Landlock (boot with "
              "lsm=landlock,...)");
    else
        found(f, "sandbox", GRADE_OK, "system calls and files are locked (Landlock ABI %d)", abi);
    if (c->sandbox && c->also_read[0] != '\0')
        found(f, "sandbox", GRADE_WARNING, "%.120s may be read too (sandbox.also_read)",
              c->also_read);
}

/* TPM ------------------------------------------------------------------------------------------ */

/* None of it is a way back for a counter; what it stops is removing our objects, or clearing the
 * TPM, in a moment and without a trace of who did it. */
static void look_at_protection(struct findings *f, struct tpm *tpm)
{
    struct tpm_protection p;
    struct err err = {0};
    if (tpm_protection_read(tpm, &p, &err) != RC_OK) {
        found(f, "tpm", GRADE_BAD, "%s", err_text(&err));
        return;
    }
    found(
        f, "tpm", p.owner_auth_set ? GRADE_OK : GRADE_WARNING,
        p.owner_auth_set
            ? "the owner authorisation is set (tpm.owner_auth_file, or credential " OWNER_CREDENTIAL
              ")"
            : "the owner authorisation is empty: any root can remove counters. Set one and keep "
              "it off this host: tpm2_changeauth -c owner file:FILE");
    found(f, "tpm", p.lockout_auth_set ? GRADE_OK : GRADE_WARNING,
          p.lockout_auth_set
              ? "the lock-out authorisation is set"
              : "the lock-out authorisation is empty: any root can clear the TPM, and "
                "all keys with it. Set one: tpm2_changeauth -c lockout file:FILE");
    found(f, "tpm", p.clear_disabled ? GRADE_OK : GRADE_WARNING,
          p.clear_disabled
              ? "TPM2_Clear is disabled"
              : "TPM2_Clear is allowed: tpm2_clearcontrol -C lockout s (with -P and the "
                "lock-out authorisation)");
    if (p.in_lockout)
        found(f, "tpm", GRADE_WARNING,
              "tpm-lockout: in lock-out by somebody's wrong authorisations: nothing of ours is "
              "subject to it; "
              "tpm2_dictionarylockout -c ends it");
}

/* The words are those of tidemark status; docs/operations.md has a section for each. */
static void say_trouble(struct findings *f, const struct err *err, int state_dirfd)
{
    enum tpm_trouble trouble = tpm_trouble_of(err);
    if (err->rc == RC_HALT_REGRESSION && faccessat(state_dirfd, LEDGER_FILE, F_OK, 0) != 0)
        found(f, "tpm", GRADE_WARNING, "no storage key of ours yet: 'tidemark key new' makes it");
    else if (err->rc == RC_HALT_REGRESSION)
        found(f, "tpm", GRADE_BAD,
              "%s or %s: no storage key of ours, but a ledger of keys; the service tells which",
              tpm_trouble_word(TPM_TROUBLE_CLEARED), tpm_trouble_word(TPM_TROUBLE_REPLACED));
    else if (trouble != TPM_TROUBLE_NONE)
        found(f, "tpm", GRADE_BAD, "%s: %.200s", tpm_trouble_word(trouble), err_text(err));
    else
        found(f, "tpm", GRADE_BAD, "%s", err_text(err));
}

static void look_at_health(struct findings *f, const struct config *c, struct tpm *tpm)
{
    struct tpm_facts facts;
    struct tpm_latency latency;
    char firmware[TPM_FIRMWARE_TEXT];
    struct err err = {0};
    if (tpm_facts(tpm, &facts, &err) != RC_OK) {
        say_trouble(f, &err, -1);
        return;
    }
    tpm_firmware_print(firmware, facts.firmware);
    found(f, "tpm", GRADE_OK, "firmware %s", firmware);
    tpm_latency(tpm, &latency);
    bool slow = latency.p90_us / 1000 >= c->settings.tpm_slow_ms;
    found(f, "tpm", slow ? GRADE_WARNING : GRADE_OK,
          "%s%shalf of %" PRIu32 " commands took %.1f ms or less, nine in ten %.1f ms",
          slow ? tpm_trouble_word(TPM_TROUBLE_SLOW) : "", slow ? ": " : "", latency.count,
          latency.median_us / 1e3, latency.p90_us / 1e3);
}

/* Removing is for people, who know whether another service has keys in this TPM. */
static void look_at_objects(struct findings *f, const struct config *c, struct tpm *tpm,
                            int state_dirfd)
{
    struct anchor_index list[ANCHOR_LIST_MAX];
    struct err err = {0};
    size_t count = 0;
    uint32_t srk = c->tpm.srk_handle != 0 ? c->tpm.srk_handle : TPM_SRK_DEFAULT;
    found(f, "tpm", GRADE_OK,
          "persistent objects of ours: storage key 0x%08" PRIx32 ", attestation key 0x%08" PRIx32
          "; when no key is left they can go: tpm2_evictcontrol -C o -c HANDLE",
          srk, tpm_ak_handle(srk));
    if (orphans_find(tpm, c->state_dir, state_dirfd, list, &count, &err) != RC_OK)
        found(f, "tpm", GRADE_WARNING, "which NV indexes belong to a key cannot be told: %.150s",
              err_text(&err));
    for (size_t i = 0; i < count; i++)
        found(f, "tpm", GRADE_WARNING,
              "NV index 0x%08" PRIx32 " looks like %s of ours, and no key here has it; unless "
              "another service on this TPM does: tpm2_nvundefine -C o 0x%08" PRIx32,
              list[i].handle, list[i].counter ? "a counter" : "an anchor record", list[i].handle);
}

static void look_at_tpm(struct findings *f, const struct config *c, int state_dirfd)
{
    int lock CLEANUP(fd_close) = -1;
    struct err err = {0};
    if (state_dirfd >= 0 && lock_take(state_dirfd, CORE_LOCK, 0, &lock, &err) != RC_OK) {
        found(f, "tpm", GRADE_OK, "in use by the service: ask 'tidemark status'");
        return;
    }
    struct tpm *tpm CLEANUP(tpm_close) = NULL;
    err = (struct err){0};
    enum rc rc = tpm_open(&tpm, &c->tpm, false, &err);
    if (rc != RC_OK) {
        say_trouble(f, &err, state_dirfd);
        return;
    }
    const struct tpm_identity *id = tpm_identify(tpm);
    found(f, "tpm", id->is_virtual ? GRADE_WARNING : GRADE_OK, "%s %s%s", id->manufacturer,
          id->vendor,
          id->is_virtual ? ": a program, which a snapshot of its machine rolls back too" : "");
    if (!id->keeps_writes)
        found(f, "tpm", GRADE_WARNING,
              "not known to keep acknowledged writes: bindings of versions "
              "stay after a crash that others could lift");
    look_at_protection(f, tpm);
    look_at_health(f, c, tpm);
    found(f, "tpm", id->counters_available < 2 ? GRADE_WARNING : GRADE_OK,
          "room for %" PRIu32 " more keys, of two counters each", id->counters_available / 2);
    look_at_objects(f, c, tpm, state_dirfd);
}

/* Clock ---------------------------------------------------------------------------------------- */

static void look_at_clock(struct findings *f, const struct config *c)
{
    struct clk *clock CLEANUP(clk_close) = NULL;
    struct clk_policy policy = c->settings.clock;
    struct clk_reading r = {0};
    struct err err = {0};
    policy.warmup = 1; /* one good sample shows what there is to show */
    if (clk_open(&clock, &policy, world_time(), &err) != RC_OK) {
        found(f, "clock", GRADE_BAD, "%s", err_text(&err));
        return;
    }
    for (int tries = 0; tries < CLOCK_TRIES && !r.safe; tries++) {
        if (tries > 0)
            (void)poll(NULL, 0, CLK_RETRY_MS);
        clk_read(clock, &r);
    }
    if (r.safe)
        found(f, "clock", GRADE_OK, "right to %.1f ms, stratum %" PRIu32, (double)r.error_ns / 1e6,
              r.stratum);
    else
        found(f, "clock", GRADE_BAD, "%s: see docs/clock.md", clk_reason_text(r.reasons));
    if (!policy.kernel_witness)
        found(f, "clock", GRADE_WARNING, "the kernel is not asked (clock.kernel_witness)");
    if (policy.allow_local_refid)
        found(f, "clock", GRADE_BAD,
              "a clock of this host counts as a time server "
              "(clock.allow_local_refid)");
}

static void say_chrony(void *ctx, enum clk_review_grade grade, const char *text)
{
    found(ctx, "chrony",
          grade == CLK_REVIEW_GOOD   ? GRADE_OK
          : grade == CLK_REVIEW_WEAK ? GRADE_WARNING
                                     : GRADE_BAD,
          "%s", text);
}

/* A file, and at the place of each include what it names: one level deep, as distributions do. */
static bool read_chrony(struct clk_review *review, const char *path, bool follow)
{
    char *text = NULL;
    size_t len = 0;
    struct err none = {0};
    if (file_read(AT_FDCWD, path, CHRONY_FILE_MAX, &text, &len, &none) != RC_OK)
        return false;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end != NULL ? (size_t)(end - text) - at : len - at;
        char pattern[512];
        glob_t names = {0};
        clk_review_file(review, text + at, line);
        if (follow && clk_review_includes(text + at, line, pattern, sizeof(pattern)) &&
            glob(pattern, 0, NULL, &names) == 0)
            for (size_t i = 0; i < names.gl_pathc; i++)
                (void)read_chrony(review, names.gl_pathv[i], false);
        globfree(&names);
        at += line + 1;
    }
    free(text);
    return true;
}

static void look_at_chrony(struct findings *f, const char *path)
{
    struct clk_review *review = clk_review_begin();
    if (review == NULL) {
        found(f, "chrony", GRADE_BAD, "no memory");
        return;
    }
    if (read_chrony(review, path, true)) {
        clk_review_end(review, say_chrony, f);
        return;
    }
    clk_review_end(review, say_chrony, &(struct findings){0});
    found(f, "chrony", GRADE_WARNING,
          "%.120s cannot be read (%s): name chronyd's file with --chrony-conf", path,
          strerror(errno));
}

/* The answer ----------------------------------------------------------------------------------- */

static const char *const grade_names[] = {"ok", "warning", "bad"};

static void print_rows(const struct findings *f, bool quiet)
{
    for (size_t i = 0; i < f->count; i++)
        if (!quiet || f->rows[i].grade != GRADE_OK)
            (void)printf("%-8s %-12s %s\n", grade_names[f->rows[i].grade], f->rows[i].area,
                         f->rows[i].text);
}

static int print_json(const struct findings *f)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    jcs_object_open(&j);
    jcs_key(&j, "findings");
    jcs_array_open(&j);
    for (size_t i = 0; i < f->count; i++) {
        jcs_object_open(&j);
        jcs_member_string(&j, "area", f->rows[i].area);
        jcs_member_string(&j, "grade", grade_names[f->rows[i].grade]);
        jcs_member_string(&j, "text", f->rows[i].text);
        jcs_object_close(&j);
    }
    jcs_array_close(&j);
    jcs_member_string(&j, "worst", grade_names[f->worst]);
    jcs_object_close(&j);
    if (!jcs_finish(&j))
        return 9;
    (void)printf("%s\n", j.text);
    return 0;
}

int operation_doctor(const struct options *o)
{
    static struct findings f;
    struct config config;
    struct err err = {0};
    enum rc rc = base_init(&err);
    if (rc == RC_OK)
        rc = config_read(&config, o->config, NULL, &err);
    if (rc != RC_OK)
        return operation_fail(&err, rc, NULL);
    int dirfd CLEANUP(fd_close) = open(config.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    look_at_storage(&f, &config, o->config);
    look_at_memory(&f);
    look_at_sandbox(&f, &config, dirfd);
    look_at_tpm(&f, &config, dirfd);
    look_at_clock(&f, &config);
    look_at_chrony(&f, o->chrony_conf != NULL ? o->chrony_conf : CHRONY_CONF);
    if (o->json && print_json(&f) != 0)
        return 9;
    if (!o->json)
        print_rows(&f, o->quiet);
    return f.worst == GRADE_BAD ? 6 : 0;
}
