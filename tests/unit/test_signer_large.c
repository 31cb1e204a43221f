/*
 * Large artifacts of raw plans: the signer thread does not read them. They are put off with the
 * index that they would sign at, read by another thread, and come back; the index stays whosever it
 * is, nothing is used before they are back, and whatever happens meanwhile the signature is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "hbs/public.h"
#include "hbs/verify.h"
#include "lib/signer_rig.h"
#include "signer/follow.h"
#include "signer/loop.h"
#include "signer/scheme.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define IDLE_MS 2000
#define LARGE_LEN (ARTIFACT_LARGE + 17)
#define ITEMS 8
#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor','sizes':{'minor':4},'window':'major',"      \
             "'order':'per-line'}")
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':16,'lease_size':8}")
#define DIGEST_PLAN                                                                                \
    RIG_PLAN("k", "sha256", "{'kind':'interval','signatures_per_window':16,'lease_size':8}")

static struct rig rig;
static struct loop loop;
static struct item items[ITEMS];
static char texts[ITEMS][LARGE_LEN];
static char long_text[2 * FOLLOW_STEP + 17]; /* of item 0, where it arrives bit by bit */

/* What became of each item, by its number. */
static struct outcome {
    unsigned answered, put_off;
    enum rc rc;
    bool replayed;
    uint64_t index;
    uint8_t signature[RIG_SIG_MAX];
    size_t len;
} outcomes[ITEMS];

static void take_answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    (void)ctx;
    struct outcome *o = &outcomes[item->request.number];
    o->answered++;
    o->rc = (enum rc)item->reply.rc;
    o->replayed = item->reply.replayed;
    o->index = item->reply.signature.index;
    o->len = len;
    assert_true(len <= sizeof(o->signature));
    if (len > 0)
        memcpy(o->signature, payload, len);
    fd_close(&item->fd);
}

static void take_read_again(void *ctx, struct item *item)
{
    (void)ctx;
    outcomes[item->request.number].put_off++;
}

static const struct loop_sink sink = {.answer = take_answer, .read_again = take_read_again};
static const struct loop_sink sink_alone = {.answer = take_answer};

static void start(const struct loop_sink *to)
{
    loop_start(&loop, &rig.config, IDLE_MS, &rig.fake.world, to);
}

static void begin(const char *plan, const struct key_limits *limits)
{
    oracle_reset();
    memset(outcomes, 0, sizeof(outcomes));
    rig_make(&rig, START + 86400, 1);
    rig_add_key(&rig, plan, 0);
    if (limits != NULL)
        rig.limits[0].limits = *limits;
    start(&sink);
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ITEMS; i++) {
        artifact_pass_close(&items[i].pass);
        artifact_unmap(&items[i].request, items[i].mapped);
        items[i].mapped = NULL;
        fd_close(&items[i].fd);
        items[i].fd = -1;
    }
    loop_end(&loop, false);
    rig_end(&rig);
    return 0;
}

/* Request `number` for its own text of this length, by this version, or by window. */
static void make_len(unsigned number, const char *version, size_t len)
{
    struct err err = {0};
    struct item *item = &items[number];
    *item = (struct item){.fd = -1, .job.artifact.fd = -1};
    struct request *r = &item->request;
    *r = (struct request){.magic = REQUEST_MAGIC,
                          .op = REQUEST_SIGN,
                          .generation = 1,
                          .number = number,
                          .by = version != NULL ? REQUEST_BY_VERSION : REQUEST_BY_WINDOW,
                          .body = REQUEST_BODY_BYTES,
                          .body_len = len};
    strcpy(r->key, "k");
    strcpy(r->requester, "tester");
    if (version != NULL)
        strcpy(r->version, version);
    else
        (void)snprintf(r->idempotency_key, sizeof(r->idempotency_key), "n%u", number);
    item->fd = memfd_create("artifact", MFD_CLOEXEC);
    assert_true(item->fd >= 0 && pwrite_full(item->fd, texts[number], len, 0));
    assert_int_equal(artifact_open(&item->job.artifact, r, item->fd, rig.plan[0].message, &err),
                     RC_OK);
}

static void make_large(unsigned number, const char *version)
{
    memset(texts[number], (int)('a' + number), LARGE_LEN);
    make_len(number, version, LARGE_LEN);
}

static void make_small(unsigned number, const char *version)
{
    memset(texts[number], (int)('a' + number), 1);
    make_len(number, version, 1);
}

static void hand(unsigned a, int b)
{
    struct err err = {0};
    struct item *list[2] = {&items[a], b >= 0 ? &items[b] : NULL};
    assert_int_equal(loop_turn(&loop, list, b >= 0 ? 2 : 1, &err), RC_OK);
    oracle_check();
}

/* What the other thread does. */
static enum rc read_it(unsigned number)
{
    struct item *item = &items[number];
    item->rc = artifact_pass_run(&item->pass, &item->job.artifact, &item->err);
    return item->rc;
}

static void check_put_off(unsigned number, unsigned times)
{
    assert_int_equal(outcomes[number].put_off, times);
    assert_int_equal(outcomes[number].answered, 0);
}

static void check_signed(unsigned number, bool replayed)
{
    struct hbs_public public;
    struct hbs_verifier verifier CLEANUP(hbs_verify_close) = {0};
    const struct outcome *o = &outcomes[number];
    const struct ledger_key *key = &rig.record[0];
    assert_int_equal(o->answered, 1);
    assert_int_equal(o->rc, RC_OK);
    assert_int_equal(o->replayed, replayed);
    assert_int_equal(hbs_public_parse(&public, scheme_of(&rig.plan[0]), key->public_key,
                                      key->public_key_len, NULL),
                     RC_OK);
    assert_int_equal(hbs_verify_open(&verifier, &public, o->signature, o->len, NULL), RC_OK);
    bool is_long = items[number].request.body_len == sizeof(long_text);
    hbs_verify_update(&verifier, is_long ? long_text : texts[number],
                      items[number].request.body_len);
    assert_int_equal(hbs_verify_finish(&verifier, NULL), RC_OK);
    assert_int_equal(hbs_verify_index(&verifier), o->index);
}

/* As it comes from the front: nobody has looked at it. */
static void make_unread(unsigned number, const char *version)
{
    make_large(number, version);
    items[number].job = (struct job){.artifact.fd = -1};
    items[number].unread = true;
}

/* The first look, by the other thread. @return whether it was for an index, too. */
static bool read_first(unsigned number)
{
    struct item *item = &items[number];
    bool foreseen = artifact_pass_is_open(&item->pass);
    item->rc = artifact_open_for(&item->job.artifact, &item->request, item->fd, rig.plan[0].message,
                                 &item->pass, &item->err);
    item->unread = false;
    assert_int_equal(item->rc, RC_OK);
    assert_int_equal(item->job.artifact.at.known, foreseen);
    return foreseen;
}

/* What the front hands over in memory: the bytes are looked at where they lie. */
static void make_mapped(unsigned number, const char *version, int seals)
{
    struct err err = {0};
    struct item *item = &items[number];
    memset(texts[number], (int)('a' + number), ARTIFACT_LARGE);
    make_len(number, version, ARTIFACT_LARGE);
    fd_close(&item->fd);
    item->fd = memfd_create("artifact", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(pwrite_full(item->fd, texts[number], ARTIFACT_LARGE, 0));
    assert_int_equal(fcntl(item->fd, F_ADD_SEALS, seals), 0);
    item->mapped = artifact_map(&item->request, item->fd);
    if (item->mapped == NULL)
        return;
    fd_close(&item->fd);
    assert_int_equal(artifact_open_bytes(&item->job.artifact, &item->request, item->mapped,
                                         rig.plan[0].message, &err),
                     RC_OK);
}

/* Bytes that cannot change are read once: their handle is closed before anything is signed. */
static void test_mapped(void **state)
{
    (void)state;
    const int all = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    static const char *const plans[] = {VERSION_PLAN, INTERVAL_PLAN, DIGEST_PLAN};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        begin(plans[i], NULL);
        make_mapped(0, i == 0 ? "1.1" : NULL, all);
        assert_non_null(items[0].mapped);
        assert_int_equal(items[0].fd, -1);
        if (i == 2) /* while no signer is open the core may take it for what a raw plan signs */
            assert_int_equal(artifact_open_bytes(&items[0].job.artifact, &items[0].request,
                                                 items[0].mapped, PLAN_RAW, NULL),
                             RC_OK);
        hand(0, -1);
        assert_int_equal(outcomes[0].put_off, 0);
        if (i != 2)
            check_signed(0, false);
        assert_int_equal(outcomes[0].rc, RC_OK);
        assert_int_equal(oracle_computed(), 1);
        (void)end(NULL);
    }
}

/* What somebody could still change, and what is not as announced, is not taken for still. */
static void test_not_mapped(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    make_mapped(0, "1.1", F_SEAL_GROW | F_SEAL_SHRINK);
    assert_null(items[0].mapped);
    make_mapped(1, "1.2", F_SEAL_WRITE | F_SEAL_SHRINK);
    assert_null(items[1].mapped);
    make_mapped(2, "1.3", F_SEAL_WRITE | F_SEAL_GROW);
    assert_null(items[2].mapped);
    items[2].request.body_len--;
    assert_int_equal(fcntl(items[2].fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_null(artifact_map(&items[2].request, items[2].fd));
    items[2].request.body_len = ARTIFACT_LARGE;
    const uint8_t *bytes = artifact_map(&items[2].request, items[2].fd);
    assert_non_null(bytes);
    artifact_unmap(&items[2].request, bytes);
    artifact_unmap(&items[2].request, NULL);
    assert_null(artifact_map(&items[2].request, -1));
}

/* A window that is open, and an index that is known: one look is enough. */
static void test_one_look(void **state)
{
    (void)state;
    static const char *const plans[] = {VERSION_PLAN, INTERVAL_PLAN};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        bool by_version = i == 0;
        begin(plans[i], NULL);
        make_unread(0, by_version ? "1.1" : NULL);
        hand(0, -1);
        check_put_off(0, 1);
        assert_false(read_first(0)); /* nothing is open yet */
        hand(0, -1);
        check_put_off(0, 2);
        assert_int_equal(read_it(0), RC_OK);
        hand(0, -1);
        check_signed(0, false);
        make_unread(1, by_version ? "1.2" : NULL);
        hand(1, -1);
        check_put_off(1, 1);
        assert_true(read_first(1));
        hand(1, -1);
        assert_int_equal(outcomes[1].put_off, 1);
        check_signed(1, false);
        assert_int_equal(oracle_computed(), 2);
        (void)end(state);
    }
}

/* What was foreseen is a guess: others may take the index, and the version may be bound. */
static void test_foreseen_wrongly(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, NULL);
    make_small(0, NULL);
    hand(0, -1);
    make_unread(1, NULL);
    hand(1, -1);
    assert_true(read_first(1));
    make_small(2, NULL);
    hand(2, -1);
    hand(1, -1);
    check_put_off(1, 2);
    assert_int_equal(read_it(1), RC_OK);
    hand(1, -1);
    check_signed(1, false);
    (void)end(state);
    begin(VERSION_PLAN, NULL);
    make_small(0, "1.1");
    hand(0, -1);
    make_unread(1, "1.1");
    hand(1, -1);
    assert_true(read_first(1));
    hand(1, -1);
    assert_int_equal(outcomes[1].rc, RC_REFUSED_BOUND);
    assert_int_equal(oracle_computed(), 1);
}

/* Version plans: the index is the same whenever it comes back. */
static void test_version(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    make_large(0, "1.2");
    hand(0, -1);
    check_put_off(0, 1);
    assert_int_equal(oracle_computed(), 0);
    make_small(1, "1.1");
    hand(1, -1);
    check_signed(1, false);
    assert_int_equal(read_it(0), RC_OK);
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 1);
    check_signed(0, false);
    assert_int_equal(outcomes[0].index, 6);
    /* What is stored needs no second look. */
    outcomes[0] = (struct outcome){0};
    make_large(0, "1.2");
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 0);
    check_signed(0, true);
    assert_int_equal(oracle_computed(), 2);
}

/* A version that is bound to something else is refused without a second look. */
static void test_bound(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    make_small(1, "1.2");
    hand(1, -1);
    make_large(0, "1.2");
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 0);
    assert_int_equal(outcomes[0].rc, RC_REFUSED_BOUND);
}

/* The same request twice at a time: signed once, answered twice. */
static void test_twins(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    make_large(0, "1.2");
    memcpy(texts[1], texts[0], LARGE_LEN);
    make_len(1, "1.2", LARGE_LEN);
    hand(0, 1);
    check_put_off(0, 1);
    check_put_off(1, 1);
    assert_int_equal(read_it(0), RC_OK);
    assert_int_equal(read_it(1), RC_OK);
    hand(1, 0);
    check_signed(1, false);
    check_signed(0, true);
    assert_memory_equal(outcomes[0].signature, outcomes[1].signature, outcomes[0].len);
    assert_int_equal(oracle_computed(), 1);
}

/* Window plans: others take the index meanwhile, and the value of another index is of no use. */
static void test_index_taken(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, NULL);
    make_large(0, NULL);
    make_small(1, NULL);
    hand(0, 1);
    check_put_off(0, 1);
    check_signed(1, false);
    assert_int_equal(read_it(0), RC_OK);
    make_small(2, NULL);
    hand(2, -1);
    check_signed(2, false);
    hand(0, -1);
    check_put_off(0, 2);
    assert_int_equal(read_it(0), RC_OK);
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 2);
    check_signed(0, false);
    assert_int_equal(outcomes[0].index, 2);
}

/* Who comes back with a value goes before those who came after. */
static void test_goes_first(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, NULL);
    make_large(0, NULL);
    hand(0, -1);
    assert_int_equal(read_it(0), RC_OK);
    make_small(1, NULL);
    hand(1, 0);
    assert_int_equal(outcomes[0].put_off, 1);
    check_signed(0, false);
    check_signed(1, false);
    assert_true(outcomes[0].index < outcomes[1].index);
}

/* Nobody is put off for ever. */
static void test_no_more_patience(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, NULL);
    make_large(0, NULL);
    for (unsigned i = 1; i <= LOOP_PASSES_MAX; i++) {
        hand(0, -1);
        check_put_off(0, i);
        assert_int_equal(read_it(0), RC_OK);
        make_small(i, NULL);
        hand(i, -1);
        check_signed(i, false);
    }
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, LOOP_PASSES_MAX);
    check_signed(0, false);
}

/* It pays once, when it comes, and what it has paid for nobody else gets. */
static void test_one_token(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, &(struct key_limits){.burst = 1, .per_hour = 1});
    make_large(0, NULL);
    hand(0, -1);
    check_put_off(0, 1);
    make_small(1, NULL);
    hand(1, -1);
    assert_int_equal(outcomes[1].rc, RC_RETRY_RATE);
    assert_int_equal(read_it(0), RC_OK);
    hand(0, -1);
    check_signed(0, false);
    make_small(2, NULL);
    hand(2, -1);
    assert_int_equal(outcomes[2].rc, RC_RETRY_RATE);
}

/* Other bytes than those that name the artifact: refused, and nothing was used. */
static void test_changed(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    make_large(0, "1.2");
    hand(0, -1);
    assert_true(pwrite_full(items[0].fd, "A", 1, LARGE_LEN / 2));
    assert_int_equal(read_it(0), RC_REFUSED_DIGEST);
    hand(0, -1);
    assert_int_equal(outcomes[0].answered, 1);
    assert_int_equal(outcomes[0].rc, RC_REFUSED_DIGEST);
    assert_int_equal(oracle_computed(), 0);
    make_large(1, "1.2");
    hand(1, -1);
    assert_int_equal(read_it(1), RC_OK);
    hand(1, -1);
    check_signed(1, false);
}

/* The power goes while it is read: as if it had never been asked for. */
static void test_crash(void **state)
{
    (void)state;
    static const char *const plans[] = {VERSION_PLAN, INTERVAL_PLAN};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        const char *version = i == 0 ? "1.2" : NULL;
        begin(plans[i], NULL);
        make_large(0, version);
        hand(0, -1);
        check_put_off(0, 1);
        loop_end(&loop, false);
        rig_crash(&rig);
        start(&sink);
        artifact_pass_close(&items[0].pass); /* went with the process */
        fd_close(&items[0].fd);
        make_large(0, version);
        hand(0, -1);
        check_put_off(0, 2);
        assert_int_equal(read_it(0), RC_OK);
        hand(0, -1);
        check_signed(0, false);
        assert_int_equal(oracle_computed(), 1);
        (void)end(state);
    }
}

/* Plans of digests have nothing to look at a second time, and small artifacts are no work. */
static void test_not_put_off(void **state)
{
    (void)state;
    begin(DIGEST_PLAN, NULL);
    make_large(0, NULL);
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 0);
    assert_int_equal(outcomes[0].rc, RC_OK);
    (void)end(state);
    begin(INTERVAL_PLAN, NULL);
    make_len(0, NULL, ARTIFACT_LARGE);
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 0);
    check_signed(0, false);
}

/* Where nobody would read it, it is read here and now. */
static void test_alone(void **state)
{
    (void)state;
    begin(VERSION_PLAN, NULL);
    loop_end(&loop, false);
    start(&sink_alone);
    make_large(0, "1.2");
    hand(0, -1);
    check_signed(0, false);
}

/* Artifacts that are followed while they arrive ---------------------------------------------------
 */

/* What the front says of item 0's artifact when nothing of it is there. */
static void announce(void)
{
    for (size_t i = 0; i < sizeof(long_text); i++)
        long_text[i] = (char)(i * 7 + i / 4096);
    make_large(0, "1.2");
    struct item *item = &items[0];
    fd_close(&item->fd);
    item->fd = memfd_create("artifact", MFD_CLOEXEC);
    assert_true(item->fd >= 0);
    item->job = (struct job){.artifact.fd = -1};
    item->unread = true;
    item->request.op = REQUEST_UPLOAD;
    item->request.body_len = sizeof(long_text);
}

static void arrive(uint64_t from, uint64_t to)
{
    assert_true(pwrite_full(items[0].fd, long_text + from, to - from, (off_t)from));
}

/* The core's other thread is given item 0's announcement. */
static void follow_it(struct follow *follow)
{
    int fd = fcntl(items[0].fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0);
    follow_begin(follow, &items[0].request, &fd, rig.plan[0].message, &items[0].pass);
    assert_int_equal(fd, -1);
    assert_false(artifact_pass_is_open(&items[0].pass));
}

/* All of item 0 is there before anything of it was read. */
static void begin_arrived(struct follow **follow)
{
    begin(VERSION_PLAN, NULL);
    assert_int_equal(follow_open(follow, NULL), RC_OK);
    announce();
    arrive(0, sizeof(long_text));
    follow_it(*follow);
}

/* Then the request itself, and what is left to be read. */
static enum rc take_rest(struct follow *follow)
{
    struct item *item = &items[0];
    struct artifact_look look CLEANUP(artifact_look_close) = {0};
    item->request.op = REQUEST_SIGN;
    assert_true(follow_take(follow, &item->request, item->fd, rig.plan[0].message, &look));
    item->unread = false;
    item->rc = artifact_open_rest(&item->job.artifact, &item->request, item->fd, &look, &item->err);
    return item->rc;
}

static bool is_followed(struct follow *follow, const struct request *request, int fd,
                        enum plan_message mode)
{
    struct artifact_look look;
    bool taken = follow_take(follow, request, fd, mode, &look);
    artifact_look_close(&look);
    return taken;
}

/* Each byte is read once, as it comes: what the file is afterwards changes nothing. */
static void test_followed(void **state)
{
    (void)state;
    struct follow *follow CLEANUP(follow_close) = NULL;
    begin(VERSION_PLAN, NULL);
    make_small(1, "1.1");
    hand(1, -1);
    assert_int_equal(follow_open(&follow, NULL), RC_OK);
    assert_int_equal(follow_turn(follow), 0);
    announce();
    hand(0, -1);
    check_put_off(0, 1);
    assert_true(artifact_pass_is_open(&items[0].pass));
    follow_it(follow);
    assert_int_equal(follow_turn(follow), 0);
    arrive(0, FOLLOW_STEP - 1);
    assert_int_equal(follow_turn(follow), 0);
    arrive(FOLLOW_STEP - 1, FOLLOW_STEP + 3);
    assert_int_equal(follow_turn(follow), FOLLOW_STEP);
    assert_int_equal(follow_turn(follow), 0);
    assert_true(pwrite_full(items[0].fd, "other bytes", 11, 0));
    arrive(FOLLOW_STEP + 3, sizeof(long_text));
    assert_int_equal(take_rest(follow), RC_OK);
    assert_true(items[0].job.artifact.at.known);
    hand(0, -1);
    assert_int_equal(outcomes[0].put_off, 1);
    check_signed(0, false);
}

/* To the end, before the request is there; and a claim of the front that is not true. */
static void test_followed_to_the_end(void **state)
{
    (void)state;
    struct follow *follow CLEANUP(follow_close) = NULL;
    begin_arrived(&follow);
    assert_int_equal(follow_turn(follow), FOLLOW_STEP);
    assert_int_equal(follow_turn(follow), FOLLOW_STEP);
    assert_int_equal(follow_turn(follow), 17);
    assert_int_equal(follow_turn(follow), 0);
    items[0].request.digest_claimed = true;
    assert_int_equal(take_rest(follow), RC_REFUSED_DIGEST);
    assert_int_equal(oracle_computed(), 0);
}

/* Another file, length, key or way of taking messages is another artifact. */
static void test_followed_others(void **state)
{
    (void)state;
    struct follow *follow CLEANUP(follow_close) = NULL;
    begin_arrived(&follow);
    int other CLEANUP(fd_close) = memfd_create("other", MFD_CLOEXEC);
    assert_true(pwrite_full(other, long_text, sizeof(long_text), 0));
    struct request r = items[0].request;
    assert_false(is_followed(follow, &r, other, PLAN_RAW));
    assert_false(is_followed(follow, &r, -1, PLAN_RAW));
    r.body_len--;
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    r = items[0].request;
    strcpy(r.key, "other");
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    r = items[0].request;
    assert_true(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    follow_it(follow);
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_SHA256));
}

/* Who stops sending, or sends what was not announced, is forgotten, and so is who comes when
 * enough others are followed. */
static void test_followed_no_more(void **state)
{
    (void)state;
    struct follow *follow CLEANUP(follow_close) = NULL;
    begin(VERSION_PLAN, NULL);
    assert_int_equal(follow_open(&follow, NULL), RC_OK);
    announce();
    const struct request r = items[0].request;
    follow_it(follow);
    arrive(0, 1);
    for (unsigned i = 0; i < FOLLOW_IDLE_TURNS; i++)
        assert_int_equal(follow_turn(follow), 0);
    arrive(1, 2);
    for (unsigned i = 0; i < FOLLOW_IDLE_TURNS; i++)
        assert_int_equal(follow_turn(follow), 0);
    assert_true(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    follow_it(follow);
    for (unsigned i = 0; i <= FOLLOW_IDLE_TURNS; i++)
        assert_int_equal(follow_turn(follow), 0);
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    arrive(0, sizeof(long_text));
    follow_it(follow);
    assert_int_equal(follow_turn(follow), FOLLOW_STEP);
    assert_int_equal(ftruncate(items[0].fd, FOLLOW_STEP - 1), 0);
    assert_int_equal(follow_turn(follow), 0);
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    assert_int_equal(ftruncate(items[0].fd, sizeof(long_text) + 1), 0);
    follow_it(follow);
    assert_int_equal(follow_turn(follow), 0);
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    for (unsigned i = 0; i <= FOLLOW_MAX; i++)
        follow_it(follow);
    for (unsigned i = 0; i < FOLLOW_MAX; i++)
        assert_true(is_followed(follow, &r, items[0].fd, PLAN_RAW));
    assert_false(is_followed(follow, &r, items[0].fd, PLAN_RAW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped),
        cmocka_unit_test_teardown(test_not_mapped, end),
        cmocka_unit_test(test_one_look),
        cmocka_unit_test_teardown(test_foreseen_wrongly, end),
        cmocka_unit_test_teardown(test_version, end),
        cmocka_unit_test_teardown(test_bound, end),
        cmocka_unit_test_teardown(test_twins, end),
        cmocka_unit_test_teardown(test_index_taken, end),
        cmocka_unit_test_teardown(test_goes_first, end),
        cmocka_unit_test_teardown(test_no_more_patience, end),
        cmocka_unit_test_teardown(test_one_token, end),
        cmocka_unit_test_teardown(test_changed, end),
        cmocka_unit_test(test_crash),
        cmocka_unit_test_teardown(test_not_put_off, end),
        cmocka_unit_test_teardown(test_alone, end),
        cmocka_unit_test_teardown(test_followed, end),
        cmocka_unit_test_teardown(test_followed_to_the_end, end),
        cmocka_unit_test_teardown(test_followed_others, end),
        cmocka_unit_test_teardown(test_followed_no_more, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
