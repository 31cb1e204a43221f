/*
 * Unit tests of src/hbs but for the node file (test_hbs_nodes.c) and the public vectors
 * (tests/vectors/run.c): tables, hashing, one tree, HSS, verification, SubjectPublicKeyInfo.
 *
 * Linked with --wrap, so that a test can make hss_verify(), calloc() or gcry_md_copy() fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gcrypt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_COUNT_ERRORS 0
#define VALGRIND_MAKE_MEM_UNDEFINED(p, len) ((void)0)
#define VALGRIND_MAKE_MEM_DEFINED(p, len) ((void)0)
#endif

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/hss.h"
#include "hbs/lmots.h"
#include "hbs/spki.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Faults ----------------------------------------------------------------------------------------
 */

static bool refuse_hss_verify;
static int fail_calloc_at;
static int fail_md_copy_at;

enum rc __real_hss_verify(const struct hss_public *key, const void *message, size_t message_len,
                          const uint8_t *sig, size_t sig_len, struct err *err);
enum rc __wrap_hss_verify(const struct hss_public *key, const void *message, size_t message_len,
                          const uint8_t *sig, size_t sig_len, struct err *err);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
gcry_error_t __real_gcry_md_copy(gcry_md_hd_t *h, gcry_md_hd_t from);
gcry_error_t __wrap_gcry_md_copy(gcry_md_hd_t *h, gcry_md_hd_t from);

enum rc __wrap_hss_verify(const struct hss_public *key, const void *message, size_t message_len,
                          const uint8_t *sig, size_t sig_len, struct err *err)
{
    if (refuse_hss_verify)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "as the test wants it");
    return __real_hss_verify(key, message, message_len, sig, sig_len, err);
}

void *__wrap_calloc(size_t count, size_t size)
{
    if (fail_calloc_at > 0 && --fail_calloc_at == 0)
        return NULL;
    return __real_calloc(count, size);
}

gcry_error_t __wrap_gcry_md_copy(gcry_md_hd_t *h, gcry_md_hd_t from)
{
    if (fail_md_copy_at > 0 && --fail_md_copy_at == 0)
        return gcry_error(GPG_ERR_ENOMEM);
    return __real_gcry_md_copy(h, from);
}

/* Helpers ---------------------------------------------------------------------------------------
 */

static struct lms_set set_of(const char *lms, const char *ots)
{
    struct lms_set set = {lms_params_by_name(lms), lmots_params_by_name(ots)};
    assert_true(lms_set_valid(&set));
    return set;
}

/* Bytes that look random and are the same in every run. */
static void fill(uint8_t *out, size_t len, const char *label)
{
    for (size_t done = 0; done < len; done += 32) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%s %zu", label, done);
        uint8_t digest[32];
        gcry_md_hash_buffer(GCRY_MD_SHA256, digest, text, (size_t)n);
        memcpy(out + done, digest, len - done < 32 ? len - done : 32);
    }
}

/* True if the process dies of a MUST() in f. */
static bool dies(void (*f)(void *ctx), void *ctx, int expected_signal)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(expected_signal, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        f(ctx);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == expected_signal;
}

static bool all_zero(const void *p, size_t len)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++)
        if (b[i] != 0)
            return false;
    return true;
}

/* A whole small tree in memory. */
struct small {
    struct lms_tree tree;
    struct window_secret secret;
    uint8_t nodes[64][HBS_N_MAX]; /* by number, height 5 only */
};

static void small_make(struct small *s, const char *lms, const char *ots)
{
    *s = (struct small){.tree.set = set_of(lms, ots)};
    fill(s->tree.i, LMS_I_LEN, "I");
    fill(s->secret.seed, HBS_N_MAX, "SEED");
    uint8_t m = s->tree.set.lms->m;
    uint8_t leaves[32 * HBS_N_MAX];
    lms_leaves(&s->tree, 0, 32, &s->secret, leaves);
    for (uint32_t q = 0; q < 32; q++)
        memcpy(s->nodes[32 + q], leaves + (size_t)q * m, m);
    for (uint32_t r = 31; r >= 1; r--)
        lms_node(&s->tree, r, s->nodes[2 * r], s->nodes[2 * r + 1], s->nodes[r]);
}

static void small_path(const struct small *s, uint32_t q, uint8_t *path)
{
    uint8_t m = s->tree.set.lms->m;
    for (uint32_t r = 32 + q; r > 1; r /= 2, path += m)
        memcpy(path, s->nodes[r ^ 1], m);
}

static void message_value(const struct lms_tree *tree, uint32_t q, const uint8_t *c,
                          const char *text, uint8_t *value)
{
    struct lms_message m CLEANUP(lms_message_close) = {0};
    assert_int_equal(lms_message_open(&m, tree, q, c, NULL), RC_OK);
    lms_message_update(&m, text, strlen(text));
    lms_message_final(&m, value);
}

static size_t small_sign(const struct small *s, uint32_t q, const char *text, uint8_t *sig)
{
    uint8_t c[HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    uint8_t path[5 * HBS_N_MAX];
    lms_randomizer(&s->tree, q, &s->secret, c);
    message_value(&s->tree, q, c, text, value);
    small_path(s, q, path);
    struct ots_lease lease = {.index = q, .epoch = 1};
    hbs_sign(&lease, &s->tree, &s->secret, c, value, path, sig);
    assert_true(all_zero(&lease, sizeof(lease)));
    return lms_sig_len(&s->tree.set);
}

static bool small_verify(const struct small *s, uint32_t q, const char *text, const uint8_t *sig,
                         size_t len)
{
    uint8_t value[HBS_N_MAX];
    message_value(&s->tree, q, sig + 8, text, value);
    return lms_verify_value(&s->tree, s->nodes[1], q, value, sig, len);
}

static void private_make(struct hss_private *key, uint32_t levels, const char *lms, const char *ots)
{
    *key = (struct hss_private){.levels = levels};
    for (uint32_t i = 0; i < levels; i++)
        key->set[i] = set_of(lms, ots);
    fill(key->secret[0].seed, HBS_N_MAX, "SEED");
    fill(key->secret[0].i, LMS_I_LEN, "I");
}

/* A signature in a heap block of exactly its length, so that AddressSanitizer sees an over-read. */
struct exact {
    uint8_t *data;
    size_t len;
};

static void exact_free(struct exact *e)
{
    free(e->data);
}

static struct exact exact_copy(const uint8_t *data, size_t len)
{
    struct exact e = {malloc(len > 0 ? len : 1), len};
    assert_non_null(e.data);
    if (len > 0)
        memcpy(e.data, data, len);
    return e;
}

static enum rc verify_exact(const struct hss_public *key, const char *text, const uint8_t *data,
                            size_t len)
{
    struct exact e CLEANUP(exact_free) = exact_copy(data, len);
    struct err err = {0};
    enum rc rc = hss_verify(key, text, strlen(text), e.data, e.len, &err);
    assert_int_equal(err.rc, rc);
    return rc;
}

static enum rc parse_exact(const uint8_t *data, size_t len)
{
    struct exact e CLEANUP(exact_free) = exact_copy(data, len);
    struct err err = {0};
    struct hss_public key;
    memset(&key, 0xaa, sizeof(key));
    enum rc rc = hss_public_parse(&key, e.data, e.len, &err);
    assert_int_equal(err.rc, rc);
    if (rc != RC_OK)
        assert_true(all_zero(&key, sizeof(key)));
    return rc;
}

static void assert_same_key(const struct hss_public *a, const struct hss_public *b)
{
    assert_int_equal(a->levels, b->levels);
    assert_ptr_equal(a->top.set.lms, b->top.set.lms);
    assert_ptr_equal(a->top.set.ots, b->top.set.ots);
    assert_memory_equal(a->top.i, b->top.i, LMS_I_LEN);
    assert_memory_equal(a->root, b->root, HBS_N_MAX);
}

static enum rc read_exact(const void *data, size_t len)
{
    struct exact e CLEANUP(exact_free) = exact_copy(data, len);
    struct err err = {0};
    struct hbs_public key;
    memset(&key, 0xaa, sizeof(key));
    enum rc rc = spki_public_read(&key, 0, e.data, e.len, &err);
    assert_int_equal(err.rc, rc);
    if (rc != RC_OK)
        assert_true(all_zero(&key, sizeof(key)));
    return rc;
}

/* params ----------------------------------------------------------------------------------------
 */

static unsigned floor_log2(unsigned x)
{
    unsigned bits = 0;
    while (x >>= 1)
        bits++;
    return bits;
}

static const char *const hash_names[] = {"SHA256", "SHAKE"};

static void test_lmots_table(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct lmots_params *o; (o = lmots_params_at(count)) != NULL; count++) {
        assert_int_equal(o->type, count + 1);
        /* RFC 8554 Appendix B */
        unsigned u = (8U * o->n + o->w - 1) / o->w;
        unsigned v = (floor_log2(((1U << o->w) - 1) * u) + 1 + o->w - 1) / o->w;
        assert_int_equal(o->p, u + v);
        assert_int_equal(o->ls, 16 - v * o->w);
        assert_int_equal(lmots_sig_len(o), 4 + o->n * (o->p + 1));
        assert_true(o->p <= LMOTS_P_MAX);
        char name[64];
        (void)snprintf(name, sizeof(name), "LMOTS_%s_N%d_W%d", hash_names[o->hash], o->n, o->w);
        assert_string_equal(o->name, name);
        assert_ptr_equal(lmots_params_by_type(o->type), o);
        assert_ptr_equal(lmots_params_by_name(name), o);
    }
    assert_int_equal(count, 16);
    assert_null(lmots_params_by_type(0));
    assert_null(lmots_params_by_type(17));
    assert_null(lmots_params_by_name("LMOTS_SHA256_N32_W3"));
}

static void test_lms_table(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct lms_params *l; (l = lms_params_at(count)) != NULL; count++) {
        assert_int_equal(l->type, count + 5);
        assert_int_equal(l->h, 5 + 5 * (count % 5));
        char name[64];
        (void)snprintf(name, sizeof(name), "LMS_%s_M%d_H%d", hash_names[l->hash], l->m, l->h);
        assert_string_equal(l->name, name);
        assert_ptr_equal(lms_params_by_type(l->type), l);
        assert_ptr_equal(lms_params_by_name(name), l);
        for (size_t i = 0; lmots_params_at(i) != NULL; i++) {
            struct lms_set set = {l, lmots_params_at(i)};
            bool same = l->hash == set.ots->hash && l->m == set.ots->n;
            assert_int_equal(lms_set_valid(&set), same);
            assert_true(lms_sig_len(&set) <= LMS_SIG_LEN_MAX);
            assert_true(lms_pub_len(&set) <= LMS_PUB_LEN_MAX);
        }
    }
    assert_int_equal(count, 20);
    assert_null(lms_params_by_type(4));
    assert_null(lms_params_by_type(25));
    assert_null(lms_params_by_name(""));
    struct lms_set none = {0};
    assert_false(lms_set_valid(&none));
    /* RFC 8554 §5.1 and the sizes that verifiers hard-code */
    struct lms_set set = set_of("LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W8");
    assert_int_equal(lms_sig_len(&set), 1452);
    assert_int_equal(lms_pub_len(&set), 56);
}

/* hash and lmots --------------------------------------------------------------------------------
 */

static void test_jobs(void **state)
{
    (void)state;
    uint8_t out[3][32] = {{0}};
    static const uint8_t abc[] = "abc";
    struct hbs_job jobs[] = {{abc, 3, out[0]}, {abc, 0, out[1]}};
    uint8_t expected[32];
    hbs_jobs_run(HBS_SHA256, 32, jobs, 2);
    assert_true(hex_decode(expected, 32,
                           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_memory_equal(out[0], expected, 32);
    assert_true(hex_decode(expected, 32,
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_memory_equal(out[1], expected, 32);

    memset(out, 0xaa, sizeof(out));
    hbs_jobs_run(HBS_SHAKE256, 24, jobs + 1, 1);
    assert_true(hex_decode(expected, 32,
                           "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"));
    assert_memory_equal(out[1], expected, 24);
    assert_int_equal(out[1][24], 0xaa); /* not one byte past n */

    /* In and out may overlap. */
    uint8_t both[32] = "abc";
    struct hbs_job job = {both, 3, both};
    hbs_jobs_run(HBS_SHA256, 24, &job, 1);
    assert_memory_equal(both, "\xba\x78\x16\xbf", 4);
    assert_true(all_zero(both + 24, 8));
}

static void chains_bad_order(void *ctx)
{
    struct hbs_chain chain = {.from = 2, .to = 1};
    hbs_chains_run(HBS_SHA256, 32, ctx, &chain, 1);
}

static void test_chains(void **state)
{
    (void)state;
    uint8_t id[LMS_I_LEN];
    fill(id, sizeof(id), "I");
    for (int hash = HBS_SHA256; hash <= HBS_SHAKE256; hash++) {
        uint8_t x[32];
        uint8_t y[32];
        fill(x, 32, "x");
        fill(y, 32, "y");
        uint8_t x_end[32];
        uint8_t y_end[32] = {0};
        const struct hbs_chain chains[2] = {
            {.q = 0x01020304, .i = 0x0506, .from = 7, .to = 9, .in = x, .out = x_end},
            {.q = 1, .i = 2, .from = 3, .to = 3, .in = y, .out = y_end}};
        uint8_t text[16 + 4 + 2 + 1 + 32];
        memcpy(text, id, 16);
        memcpy(text + 16, "\x01\x02\x03\x04\x05\x06", 6);
        memcpy(text + 23, x, 32);
        struct hbs_job step = {text, sizeof(text), text + 23};
        text[22] = 7;
        hbs_jobs_run((enum hbs_hash_kind)hash, 32, &step, 1);
        text[22] = 8;
        hbs_jobs_run((enum hbs_hash_kind)hash, 32, &step, 1);
        hbs_chains_run((enum hbs_hash_kind)hash, 32, id, chains, 2);
        assert_memory_equal(x_end, text + 23, 32);
        assert_memory_equal(y_end, y, 32);
    }
    assert_true(dies(chains_bad_order, id, SIGABRT));
}

/* Digits bit by bit, another way than the code takes. */
static unsigned digit_by_bits(const uint8_t *text, unsigned i, unsigned w)
{
    unsigned digit = 0;
    for (unsigned b = i * w; b < (i + 1) * w; b++)
        digit = digit * 2 + ((unsigned)text[b / 8] >> (7 - b % 8) & 1U);
    return digit;
}

static void test_digits(void **state)
{
    (void)state;
    static const char *const labels[] = {"zero", "ones", "some", "more"};
    for (size_t k = 0; k < 4; k++) {
        uint8_t text[HBS_N_MAX + 2];
        fill(text, sizeof(text), labels[k]);
        if (k < 2)
            memset(text, k == 0 ? 0 : 0xff, sizeof(text));
        for (size_t t = 0; lmots_params_at(t) != NULL; t++) {
            const struct lmots_params *o = lmots_params_at(t);
            uint16_t digits[LMOTS_P_MAX];
            lmots_digits(o, text, digits);
            unsigned u = 8U * o->n / o->w;
            unsigned sum = 0;
            for (unsigned i = 0; i < u; i++) {
                assert_int_equal(digits[i], digit_by_bits(text, i, o->w));
                sum += (1U << o->w) - 1 - digits[i];
            }
            unsigned checksum = 0;
            for (unsigned i = u; i < o->p; i++)
                checksum = (checksum << o->w) + digits[i];
            assert_int_equal(checksum, sum);
        }
    }
}

static void test_randomizer_and_message_refused(void **state)
{
    (void)state;
    struct small s;
    small_make(&s, "LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W4");
    struct lms_message m;
    struct err err = {0};
    uint8_t c[HBS_N_MAX] = {0};
    fail_md_copy_at = 1;
    assert_int_equal(lms_message_open(&m, &s.tree, 0, c, &err), RC_RETRY_SYSTEM);
    assert_int_equal(err.rc, RC_RETRY_SYSTEM);
    assert_null(m.handle);
    lms_message_close(&m);

    /* C depends on leaf, I and seed, and on nothing else. */
    uint8_t other[HBS_N_MAX] = {0};
    lms_randomizer(&s.tree, 3, &s.secret, c);
    lms_randomizer(&s.tree, 4, &s.secret, other);
    assert_memory_not_equal(c, other, 24);
    fill(s.secret.sk_prf, HBS_N_MAX, "unused in LMS");
    lms_randomizer(&s.tree, 3, &s.secret, other);
    assert_memory_equal(c, other, 24);
    s.secret.seed[23] ^= 1;
    lms_randomizer(&s.tree, 3, &s.secret, other);
    assert_memory_not_equal(c, other, 24);

    window_secret_wipe(&s.secret);
    assert_true(all_zero(&s.secret, sizeof(s.secret)));
}

/* One tree --------------------------------------------------------------------------------------
 */

static void leaves_past_the_end(void *ctx)
{
    struct small *s = ctx;
    uint8_t leaves[2 * HBS_N_MAX];
    lms_leaves(&s->tree, 31, 2, &s->secret, leaves);
}

static void subtree_not_aligned(void *ctx)
{
    struct small *s = ctx;
    uint8_t nodes[4 * HBS_N_MAX] = {0};
    lms_subtree_root(&s->tree, 2, 4, nodes, nodes);
}

static void test_leaves(void **state)
{
    (void)state;
    static const char *const ots[] = {"LMOTS_SHA256_N24_W1", "LMOTS_SHA256_N24_W2",
                                      "LMOTS_SHA256_N24_W4", "LMOTS_SHA256_N24_W8"};
    for (size_t k = 0; k < 4; k++) {
        struct small s;
        small_make(&s, "LMS_SHA256_M24_H5", ots[k]);
        uint8_t leaves[32 * HBS_N_MAX];
        for (uint32_t q = 0; q < 32; q++) {
            lms_leaves(&s.tree, q, 1, &s.secret, leaves);
            assert_memory_equal(leaves, s.nodes[32 + q], 24);
        }
        lms_leaves(&s.tree, 32, 0, &s.secret, leaves);
        lms_leaves(&s.tree, 8, 24, &s.secret, leaves);
        uint8_t root[HBS_N_MAX];
        lms_subtree_root(&s.tree, 8, 8, leaves, root);
        assert_memory_equal(root, s.nodes[32 / 8 + 1], 24);
        lms_subtree_root(&s.tree, 31, 1, s.nodes[63], root);
        assert_memory_equal(root, s.nodes[63], 24);
        assert_true(dies(leaves_past_the_end, &s, SIGABRT));
        assert_true(dies(subtree_not_aligned, &s, SIGABRT));
    }
}

static void test_level(void **state)
{
    (void)state;
    struct lms_tree tree = {.set = set_of("LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W1")};
    static uint8_t children[2 * 200 * 32]; /* more than one batch of nodes */
    static uint8_t parents[200 * 32];
    fill(children, sizeof(children), "children");
    lms_level(&tree, 256, 200, children, parents);
    for (uint32_t k = 0; k < 200; k++) {
        uint8_t node[HBS_N_MAX];
        lms_node(&tree, 256 + k, children + 64 * k, children + 64 * k + 32, node);
        assert_memory_equal(node, parents + 32 * k, 32);
    }
    lms_level(&tree, 256, 200, children, children);
    assert_memory_equal(children, parents, sizeof(parents));
}

static void test_sign_every_leaf(void **state)
{
    (void)state;
    static const char *const sets[][2] = {{"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4"},
                                          {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W2"},
                                          {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W1"},
                                          {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W2"}};
    for (size_t k = 0; k < 4; k++) {
        struct small s;
        small_make(&s, sets[k][0], sets[k][1]);
        static uint8_t sig[LMS_SIG_LEN_MAX];
        static uint8_t again[LMS_SIG_LEN_MAX];
        for (uint32_t q = 0; q < 32; q++) {
            size_t len = small_sign(&s, q, "tide", sig);
            assert_true(small_verify(&s, q, "tide", sig, len));
            assert_false(small_verify(&s, q, "tidE", sig, len));
            assert_false(small_verify(&s, q ^ 1, "tide", sig, len));
            assert_int_equal(small_sign(&s, q, "tide", again), len);
            assert_memory_equal(sig, again, len);
        }
    }
}

static void test_verify_value_refusals(void **state)
{
    (void)state;
    struct small s;
    small_make(&s, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8");
    static uint8_t sig[LMS_SIG_LEN_MAX];
    size_t len = small_sign(&s, 31, "tide", sig);
    uint8_t value[HBS_N_MAX];
    uint8_t c[HBS_N_MAX];
    memcpy(c, sig + 8, 24);
    message_value(&s.tree, 31, c, "tide", value);
    for (size_t cut = 0; cut < len; cut++) {
        struct exact e CLEANUP(exact_free) = exact_copy(sig, cut);
        assert_false(lms_verify_value(&s.tree, s.nodes[1], 31, value, e.data, cut));
    }
    assert_false(lms_verify_value(&s.tree, s.nodes[1], 31, value, sig, len + 1));
    assert_false(lms_verify_value(&s.tree, s.nodes[1], 30, value, sig, len));
    assert_false(lms_verify_value(&s.tree, s.nodes[1], 32, value, sig, len));
    assert_false(lms_verify_value(&s.tree, s.nodes[2], 31, value, sig, len));
    assert_true(lms_verify_release(&s.tree, s.nodes[1], 31, c, value, sig, len));

    /* C is not part of what verify_value can see, but of what release checks. */
    sig[8] ^= 1;
    assert_true(lms_verify_value(&s.tree, s.nodes[1], 31, value, sig, len));
    assert_false(lms_verify_release(&s.tree, s.nodes[1], 31, c, value, sig, len));
    sig[8] ^= 1;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        if (bit / 8 >= 8 && bit / 8 < 8 + 24)
            continue;
        sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(lms_verify_release(&s.tree, s.nodes[1], 31, c, value, sig, len));
        sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(lms_verify_release(&s.tree, s.nodes[1], 31, c, value, sig, len));

    struct lms_tree mixed = s.tree;
    mixed.set.ots = lmots_params_by_name("LMOTS_SHA256_N32_W8");
    assert_false(lms_verify_value(&mixed, s.nodes[1], 31, value, sig, len));
}

/* The lease -------------------------------------------------------------------------------------
 */

struct lease_case {
    struct ots_lease *lease;
    const struct small *tree;
    const struct window_secret *secret;
};

static void sign_with(void *ctx)
{
    struct lease_case *l = ctx;
    static uint8_t sig[LMS_SIG_LEN_MAX];
    uint8_t zero[5 * HBS_N_MAX] = {0};
    hbs_sign(l->lease, &l->tree->tree, l->secret, zero, zero, zero, sig);
}

static void test_lease_spent_before_anything(void **state)
{
    (void)state;
    struct small s;
    small_make(&s, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4");
    /* The child dies when it touches the secret; the lease in shared memory must be gone by then.
     */
    struct ots_lease *lease =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *trap = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(lease, MAP_FAILED);
    assert_ptr_not_equal(trap, MAP_FAILED);
    *lease = (struct ots_lease){.index = 3, .epoch = 9};
    memset(lease->key_id, 7, KEY_ID_LEN);
    struct lease_case l = {lease, &s, trap};
    assert_true(dies(sign_with, &l, SIGSEGV));
    assert_true(all_zero(lease, sizeof(*lease)));

    /* No lease, and a lease past the tree, are bugs of ours; they are spent all the same. */
    l.secret = &s.secret;
    assert_true(dies(sign_with, &l, SIGABRT));
    *lease = (struct ots_lease){.index = 32, .epoch = 1};
    assert_true(dies(sign_with, &l, SIGABRT));
    assert_true(all_zero(lease, sizeof(*lease)));
    *lease = (struct ots_lease){.index = UINT64_C(1) << 32, .epoch = 1};
    assert_true(dies(sign_with, &l, SIGABRT));
    *lease = (struct ots_lease){.index = 31, .epoch = 1};
    assert_false(dies(sign_with, &l, SIGABRT));
    (void)munmap(trap, 4096);
    (void)munmap(lease, 4096);
}

/* Secrets ---------------------------------------------------------------------------------------
 */

static struct small *on_stack_tree;
static uint8_t on_stack_sig[LMS_SIG_LEN_MAX];

static void randomizer_on_stack(void)
{
    uint8_t c[HBS_N_MAX];
    lms_randomizer(&on_stack_tree->tree, 5, &on_stack_tree->secret, c);
}

/* The start of chain 1, as lmots.c derives it, into static memory. Nothing is called behind it that
 * could write over what it left. */
static uint8_t start[HBS_N_MAX];

static void start_on_stack(void)
{
    const struct lmots_params *ots = on_stack_tree->tree.set.ots;
    const struct hbs_chain chain = {.q = 5,
                                    .i = 1,
                                    .from = HBS_STEP_SEED,
                                    .to = HBS_STEP_SEED + 1,
                                    .in = on_stack_tree->secret.seed,
                                    .out = start};
    hbs_chains_run(ots->hash, ots->n, on_stack_tree->tree.i, &chain, 1);
}

static void sign_on_stack(void)
{
    static const uint8_t zero[5 * HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    memset(value, 0x77, sizeof(value)); /* no digit is 0 */
    struct ots_lease lease = {.index = 5, .epoch = 1};
    hbs_sign(&lease, &on_stack_tree->tree, &on_stack_tree->secret, zero, value, zero, on_stack_sig);
}

static void leaves_on_stack(void)
{
    uint8_t leaves[2 * HBS_N_MAX];
    lms_leaves(&on_stack_tree->tree, 5, 2, &on_stack_tree->secret, leaves);
}

#define STACK_LEN (512 * 1024)

static void on_stack(uint8_t *stack, void (*f)(void))
{
    ucontext_t here;
    ucontext_t there;
    memset(stack, 0, STACK_LEN);
    assert_int_equal(getcontext(&there), 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK_LEN;
    there.uc_link = &here;
    makecontext(&there, f, 0);
    assert_int_equal(swapcontext(&here, &there), 0);
}

/* Work on a stack of our own, and look through it afterwards for what must not stay there: the
 * seed, and the starts of the chains of leaf 5. */
static void test_nothing_left_on_the_stack(void **state)
{
    (void)state;
    if (SANITIZED || RUNNING_ON_VALGRIND)
        skip();
    static const char *const sets[][2] = {{"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W4"},
                                          {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8"},
                                          {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W4"}};
    void (*const work[])(void) = {sign_on_stack, randomizer_on_stack, start_on_stack,
                                  leaves_on_stack};
    uint8_t *stack =
        mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stack, MAP_FAILED);
    for (size_t k = 0; k < 3; k++) {
        struct small s;
        small_make(&s, sets[k][0], sets[k][1]);
        const struct lmots_params *ots = s.tree.set.ots;
        on_stack_tree = &s;
        for (size_t f = 0; f < sizeof(work) / sizeof(work[0]); f++) {
            on_stack(stack, work[f]);
            if (memmem(stack, STACK_LEN, s.secret.seed, ots->n) != NULL)
                fail_msg("set %zu, work %zu: the seed is left", k, f);
            for (uint16_t i = 0; i < ots->p; i++) {
                uint8_t x[HBS_N_MAX];
                const struct hbs_chain chain = {.q = 5,
                                                .i = i,
                                                .from = HBS_STEP_SEED,
                                                .to = HBS_STEP_SEED + 1,
                                                .in = s.secret.seed,
                                                .out = x};
                hbs_chains_run(ots->hash, ots->n, s.tree.i, &chain, 1);
                /* A chain whose digit is 0 shows its start in the signature; that one is public. */
                if (memcmp(x, on_stack_sig + 8 + ots->n * (i + 1U), ots->n) != 0 &&
                    memmem(stack, STACK_LEN, x, ots->n) != NULL)
                    fail_msg("set %zu, work %zu: the start of chain %u is left", k, f, i);
            }
        }
    }
    (void)munmap(stack, STACK_LEN);
}

/* Under valgrind the secret counts as undefined, so a branch or an address made of it is an error.
 */
static void test_no_branch_on_secrets(void **state)
{
    (void)state;
    static const char *const sets[][2] = {{"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W8"},
                                          {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W4"}};
    for (size_t k = 0; k < 2; k++) {
        struct small s;
        small_make(&s, sets[k][0], sets[k][1]);
        static uint8_t sig[LMS_SIG_LEN_MAX];
        uint8_t c[HBS_N_MAX];
        uint8_t value[HBS_N_MAX];
        uint8_t path[5 * HBS_N_MAX];
        uint8_t leaf[HBS_N_MAX];
        small_path(&s, 7, path);
        unsigned long before = VALGRIND_COUNT_ERRORS;
        VALGRIND_MAKE_MEM_UNDEFINED(&s.secret, sizeof(s.secret));
        lms_randomizer(&s.tree, 7, &s.secret, c);
        VALGRIND_MAKE_MEM_DEFINED(c, sizeof(c)); /* published with the signature */
        message_value(&s.tree, 7, c, "tide", value);
        struct ots_lease lease = {.index = 7, .epoch = 1};
        hbs_sign(&lease, &s.tree, &s.secret, c, value, path, sig);
        lms_leaves(&s.tree, 7, 1, &s.secret, leaf);
        assert_int_equal(VALGRIND_COUNT_ERRORS, before);
        VALGRIND_MAKE_MEM_DEFINED(sig, sizeof(sig));
        VALGRIND_MAKE_MEM_DEFINED(leaf, sizeof(leaf));
        VALGRIND_MAKE_MEM_DEFINED(&s.secret, sizeof(s.secret));
        assert_true(small_verify(&s, 7, "tide", sig, lms_sig_len(&s.tree.set)));
        assert_memory_equal(leaf, s.nodes[32 + 7], s.tree.set.lms->m);
    }
}

/* HSS -------------------------------------------------------------------------------------------
 */

static uint8_t hss_sig[HSS_SIG_LEN_MAX];

static enum rc hss_sign_at(const struct hss_private *key, uint64_t index, const char *text,
                           size_t *len, struct err *err)
{
    struct ots_lease lease = {.index = index, .epoch = 1};
    enum rc rc = hss_sign(&lease, key, text, strlen(text), NULL, hss_sig, len, err);
    assert_true(all_zero(&lease, sizeof(lease)));
    if (rc != RC_OK) {
        assert_int_equal(*len, 0);
        assert_true(all_zero(hss_sig, sizeof(hss_sig)));
    }
    return rc;
}

static void test_hss_levels(void **state)
{
    (void)state;
    for (uint32_t levels = 1; levels <= HSS_LEVELS_MAX; levels++) {
        struct hss_private key CLEANUP(hss_private_wipe) = {0};
        private_make(&key, levels, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4");
        struct hss_public pub;
        assert_int_equal(hss_keygen(&key, &pub, NULL), RC_OK);
        assert_int_equal(pub.levels, levels);
        uint64_t last = (UINT64_C(1) << 5 * levels) - 1;
        const uint64_t indices[] = {0, 1, last / 3, last};
        for (size_t k = 0; k < 4; k++) {
            size_t len = 0;
            struct err err = {0};
            assert_int_equal(hss_sign_at(&key, indices[k], "tide", &len, &err), RC_OK);
            struct hss_signature parsed;
            assert_int_equal(hss_signature_parse(&parsed, &pub, hss_sig, len, NULL), RC_OK);
            assert_int_equal(parsed.index, indices[k]);
            assert_int_equal(parsed.levels, levels);
            assert_int_equal(verify_exact(&pub, "tide", hss_sig, len), RC_OK);
            assert_int_equal(verify_exact(&pub, "ebb", hss_sig, len), RC_REFUSED_SIGNATURE);
            assert_int_equal(verify_exact(&pub, "tide", hss_sig, len - 1), RC_REFUSED_SIGNATURE);
        }
        size_t len = 0;
        struct err err = {0};
        assert_int_equal(hss_sign_at(&key, last + 1, "tide", &len, &err), RC_REFUSED_EXHAUSTED);
        assert_int_equal(err.rc, RC_REFUSED_EXHAUSTED);
    }
}

/* More than 64 bits of index: 7 levels of 10. Every level may have a set of its own. */
static void test_hss_wide_and_mixed(void **state)
{
    (void)state;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    private_make(&key, 7, "LMS_SHA256_M24_H10", "LMOTS_SHA256_N24_W1");
    struct hss_public pub;
    size_t len = 0;
    assert_int_equal(hss_keygen(&key, &pub, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&key, UINT64_MAX - 5, "tide", &len, NULL), RC_OK);
    struct hss_signature parsed;
    assert_int_equal(hss_signature_parse(&parsed, &pub, hss_sig, len, NULL), RC_OK);
    assert_true(parsed.index == UINT64_MAX);
    assert_int_equal(parsed.q[0], 15); /* 64 = 6 · 10 + 4 bits */
    assert_int_equal(parsed.q[1], 1023);
    assert_int_equal(parsed.q[6], 1018);

    private_make(&key, 3, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4");
    key.given_levels = true;
    key.set[1] = set_of("LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W2");
    key.set[2] = set_of("LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W8");
    for (uint32_t i = 1; i < 3; i++)
        fill(key.secret[i].seed, HBS_N_MAX, i == 1 ? "second" : "third");
    assert_int_equal(hss_keygen(&key, &pub, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&key, 77, "tide", &len, NULL), RC_OK);
    assert_int_equal(verify_exact(&pub, "tide", hss_sig, len), RC_OK);
}

static void test_hss_randomizer(void **state)
{
    (void)state;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    private_make(&key, 1, "LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W2");
    struct hss_public pub;
    assert_int_equal(hss_keygen(&key, &pub, NULL), RC_OK);
    uint8_t c[HBS_N_MAX];
    fill(c, sizeof(c), "C");
    struct ots_lease lease = {.index = 2, .epoch = 1};
    size_t len = 0;
    assert_int_equal(hss_sign(&lease, &key, "tide", 4, c, hss_sig, &len, NULL), RC_OK);
    assert_memory_equal(hss_sig + 4 + 4 + 4, c, 24);
    assert_int_equal(verify_exact(&pub, "tide", hss_sig, len), RC_OK);
}

static void test_hss_faults(void **state)
{
    (void)state;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    private_make(&key, 2, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2");
    size_t len = 0;
    struct err err = {0};
    refuse_hss_verify = true;
    enum rc rc = hss_sign_at(&key, 40, "tide", &len, &err);
    refuse_hss_verify = false;
    assert_int_equal(rc, RC_BURNED_VERIFY);
    assert_int_equal(err.rc, RC_BURNED_VERIFY);

    struct hss_public pub;
    fail_calloc_at = 1;
    assert_int_equal(hss_keygen(&key, &pub, NULL), RC_RETRY_SYSTEM);
    assert_true(all_zero(&pub, sizeof(pub)));
    for (int at = 1; at <= 2; at++) { /* one tree a level */
        fail_calloc_at = at;
        assert_int_equal(hss_sign_at(&key, 40, "tide", &len, NULL), RC_RETRY_SYSTEM);
    }
    for (int at = 1; at <= 4; at++) { /* two messages signed, two verified */
        fail_md_copy_at = at;
        err = (struct err){0};
        assert_int_equal(hss_sign_at(&key, 40, "tide", &len, &err), RC_RETRY_SYSTEM);
        assert_int_equal(err.rc, RC_RETRY_SYSTEM);
    }
    assert_int_equal(hss_keygen(&key, &pub, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&key, 40, "tide", &len, NULL), RC_OK);
    for (int at = 1; at <= 2; at++) {
        fail_md_copy_at = at;
        assert_int_equal(verify_exact(&pub, "tide", hss_sig, len), RC_RETRY_SYSTEM);
    }
    assert_int_equal(verify_exact(&pub, "tide", hss_sig, len), RC_OK);
    hss_private_wipe(&key);
    assert_true(all_zero(&key, sizeof(key)));
}

static void sign_without_lease(void *ctx)
{
    struct ots_lease lease = {.index = 1};
    size_t len = 0;
    if (hss_sign(&lease, ctx, "", 0, NULL, hss_sig, &len, NULL) != RC_OK)
        _exit(1);
}

static void test_hss_misuse(void **state)
{
    (void)state;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    private_make(&key, 1, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2");
    assert_true(dies(sign_without_lease, &key, SIGABRT));
}

/* Verification of strangers' bytes --------------------------------------------------------------
 */

static void test_public_parse(void **state)
{
    (void)state;
    struct hss_private secret CLEANUP(hss_private_wipe) = {0};
    private_make(&secret, 2, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2");
    struct hss_public key;
    assert_int_equal(hss_keygen(&secret, &key, NULL), RC_OK);
    uint8_t raw[HSS_PUB_LEN_MAX + 1] = {0};
    size_t len = hss_public_print(&key, raw);
    assert_int_equal(len, 4 + 4 + 4 + 16 + 24);
    struct hss_public back;
    assert_int_equal(hss_public_parse(&back, raw, len, NULL), RC_OK);
    assert_same_key(&back, &key);

    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(parse_exact(raw, cut), RC_REFUSED_INPUT);
    assert_int_equal(parse_exact(raw, len + 1), RC_REFUSED_INPUT);
    const uint32_t levels[] = {0, 9, 0x01000001, UINT32_MAX};
    for (size_t i = 0; i < 4; i++) {
        be_put32(raw, levels[i]);
        assert_int_equal(parse_exact(raw, len), RC_REFUSED_INPUT);
    }
    be_put32(raw, 8);
    assert_int_equal(parse_exact(raw, len), RC_OK);
    be_put32(raw, 1);
    be_put32(raw + 4, 99);
    struct err err = {0};
    assert_int_equal(hss_public_parse(&back, raw, len, &err), RC_REFUSED_UNSUPPORTED);
    assert_non_null(strstr(err.text, "0x00000063"));
    be_put32(raw + 4, key.top.set.lms->type);
    be_put32(raw + 8, 0);
    assert_int_equal(parse_exact(raw, len), RC_REFUSED_UNSUPPORTED);
    be_put32(raw + 8, 1); /* N32 under M24 */
    assert_int_equal(parse_exact(raw, len), RC_REFUSED_UNSUPPORTED);
    be_put32(raw + 8, 13); /* SHAKE_N24 under SHA256_M24 */
    assert_int_equal(parse_exact(raw, len), RC_REFUSED_UNSUPPORTED);
}

static void test_verify_truncated_and_flipped(void **state)
{
    (void)state;
    struct hss_private secret CLEANUP(hss_private_wipe) = {0};
    private_make(&secret, 2, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4");
    struct hss_public key;
    size_t len = 0;
    assert_int_equal(hss_keygen(&secret, &key, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&secret, 1023, "tide", &len, NULL), RC_OK);
    static uint8_t sig[HSS_SIG_LEN_MAX];
    memcpy(sig, hss_sig, len);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(verify_exact(&key, "tide", sig, cut), RC_REFUSED_SIGNATURE);
    for (size_t more = 1; more < 70; more++)
        assert_int_equal(verify_exact(&key, "tide", sig, len + more), RC_REFUSED_SIGNATURE);
    /* Every bit of the fields that steer the parser, and one bit of every other byte. */
    size_t second = 4 + lms_sig_len(&secret.set[0]);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bool steers = bit / 8 < 12 || (bit / 8 >= second - 4 && bit / 8 < second + 70);
        if (!steers && bit % 8 != (bit / 8) % 8)
            continue;
        sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(verify_exact(&key, "tide", sig, len), RC_REFUSED_SIGNATURE);
        sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(verify_exact(&key, "tide", sig, len), RC_OK);

    /* Every bit of the public key. */
    uint8_t raw[HSS_PUB_LEN_MAX];
    size_t raw_len = hss_public_print(&key, raw);
    for (size_t bit = 0; bit < 8 * raw_len; bit++) {
        raw[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct hss_public other;
        if (hss_public_parse(&other, raw, raw_len, NULL) == RC_OK)
            assert_int_equal(verify_exact(&other, "tide", sig, len), RC_REFUSED_SIGNATURE);
        raw[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void test_verify_streamed(void **state)
{
    (void)state;
    struct hss_private secret CLEANUP(hss_private_wipe) = {0};
    private_make(&secret, 2, "LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W1");
    struct hss_public key;
    size_t len = 0;
    assert_int_equal(hss_keygen(&secret, &key, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&secret, 5, "neap tide", &len, NULL), RC_OK);
    struct hss_verifier v CLEANUP(hss_verify_close) = {0};
    assert_int_equal(hss_verify_open(&v, &key, hss_sig, len, NULL), RC_OK);
    hss_verify_update(&v, "neap", 4);
    hss_verify_update(&v, "", 0);
    hss_verify_update(&v, " tide", 5);
    assert_int_equal(hss_verify_finish(&v, NULL), RC_OK);
    hss_verify_close(&v);
    assert_true(all_zero(&v, sizeof(v)));
    hss_verify_close(&v);

    /* An upper level that does not verify is refused before the message is read. */
    hss_sig[100] ^= 1;
    struct err err = {0};
    assert_int_equal(hss_verify_open(&v, &key, hss_sig, len, &err), RC_REFUSED_SIGNATURE);
    assert_string_equal(err.text, "level 0 does not verify");
    assert_true(all_zero(&v, sizeof(v)));
}

static void test_signature_parse_refusals(void **state)
{
    (void)state;
    struct hss_private secret CLEANUP(hss_private_wipe) = {0};
    private_make(&secret, 2, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2");
    struct hss_public key;
    size_t len = 0;
    assert_int_equal(hss_keygen(&secret, &key, NULL), RC_OK);
    assert_int_equal(hss_sign_at(&secret, 5, "tide", &len, NULL), RC_OK);
    size_t child = 4 + lms_sig_len(&secret.set[0]);
    const struct {
        size_t at;
        uint32_t value;
        const char *text;
    } cases[] = {
        {0, 0, "0 signed keys, but the public key has 2 levels"},
        {0, 2, "2 signed keys, but the public key has 2 levels"},
        {4, 32, "leaf 32 is past the tree"},
        {8, 1, "parameter sets of level 0 are not those of its key"},
        {child - 5 * 24 - 4, 5, "parameter sets of level 0 are not those of its key"},
        {child, 77, "level 1: unknown LMS type 0x0000004d"},
        {child + 4, 77, "level 1: unknown LM-OTS type 0x0000004d"},
        {child + 4, 2,
         "level 1: LMS_SHA256_M24_H5 with LMOTS_SHA256_N32_W2: different hash functions"},
        {child, 14, "signature ends within level 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t before = be_get32(hss_sig + cases[i].at);
        be_put32(hss_sig + cases[i].at, cases[i].value);
        struct hss_signature sig;
        memset(&sig, 0xaa, sizeof(sig));
        struct err err = {0};
        assert_int_equal(hss_signature_parse(&sig, &key, hss_sig, len, &err), RC_REFUSED_SIGNATURE);
        if (strstr(err.text, cases[i].text) != err.text)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, err.text, cases[i].text);
        assert_true(all_zero(&sig, sizeof(sig)));
        be_put32(hss_sig + cases[i].at, before);
    }
}

/* SubjectPublicKeyInfo --------------------------------------------------------------------------
 */

struct printed {
    struct hss_public key;
    uint8_t raw[HSS_PUB_LEN_MAX];
    size_t raw_len;
    uint8_t der[SPKI_DER_MAX];
    size_t der_len;
    char pem[SPKI_PEM_MAX];
};

static void print_key(struct printed *p, const char *lms, const char *ots)
{
    *p = (struct printed){.key = {.levels = 1}};
    p->key.top.set = set_of(lms, ots);
    fill(p->key.top.i, LMS_I_LEN, "I");
    fill(p->key.root, p->key.top.set.lms->m, "root");
    p->raw_len = hss_public_print(&p->key, p->raw);
    p->der_len = spki_der_print(p->der, HBS_SCHEME_HSS, p->raw, p->raw_len);
    spki_pem_print(p->pem, HBS_SCHEME_HSS, p->raw, p->raw_len);
}

static void test_spki_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; lms_params_at(i) != NULL; i++) {
        const struct lms_params *lms = lms_params_at(i);
        char ots[40];
        (void)snprintf(ots, sizeof(ots), "LMOTS_%s_N%d_W4", hash_names[lms->hash], lms->m);
        struct printed p;
        print_key(&p, lms->name, ots);
        assert_int_equal(p.der_len, p.raw_len + 20);
        struct hbs_public back;
        assert_int_equal(spki_public_read(&back, 0, p.raw, p.raw_len, NULL), RC_OK);
        assert_same_key(&back.hss, &p.key);
        assert_int_equal(spki_public_read(&back, 0, p.der, p.der_len, NULL), RC_OK);
        assert_same_key(&back.hss, &p.key);
        assert_int_equal(read_exact(p.pem, strlen(p.pem)), RC_OK);
        assert_int_equal(spki_public_read(&back, 0, (const uint8_t *)p.pem, strlen(p.pem), NULL),
                         RC_OK);
        assert_int_equal(back.scheme, HBS_SCHEME_HSS);
        assert_same_key(&back.hss, &p.key);
    }
}

static void test_der_refusals(void **state)
{
    (void)state;
    struct printed p;
    print_key(&p, "LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W8");
    /* RFC 9802 §3 and the DER of its parts, written out. */
    static const uint8_t prefix[] = {0x30, 0x4e, 0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
                                     0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x11, 0x03, 0x3d, 0x00};
    assert_memory_equal(p.der, prefix, sizeof(prefix));
    for (size_t cut = 0; cut < p.der_len; cut++)
        assert_int_equal(read_exact(p.der, cut), RC_REFUSED_INPUT);
    uint8_t longer[SPKI_DER_MAX + 1] = {0};
    memcpy(longer, p.der, p.der_len);
    for (size_t len = p.der_len + 1; len <= sizeof(longer); len++)
        assert_int_equal(read_exact(longer, len), RC_REFUSED_INPUT);
    for (size_t bit = 0; bit < 8 * (sizeof(prefix) + 4); bit++) {
        p.der[bit / 8] ^= (uint8_t)(1U << bit % 8);
        enum rc rc = read_exact(p.der, p.der_len);
        /* The last bytes are the number of levels: a key of 3, 5 levels is a key as well. */
        uint32_t levels = be_get32(p.der + sizeof(prefix));
        bool fine = bit / 8 >= sizeof(prefix) && levels >= 1 && levels <= 8;
        assert_int_equal(rc, fine ? RC_OK : RC_REFUSED_INPUT);
        p.der[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    be_put32(p.der + sizeof(prefix) + 4, 300);
    assert_int_equal(read_exact(p.der, p.der_len), RC_REFUSED_UNSUPPORTED);
    assert_int_equal(read_exact("", 0), RC_REFUSED_INPUT);
}

/* The same PEM with one text replaced by another. */
static size_t pem_changed(char *out, const char *pem, const char *from, const char *to)
{
    const char *at = strstr(pem, from);
    assert_non_null(at);
    return (size_t)sprintf(out, "%.*s%s%s", (int)(at - pem), pem, to, at + strlen(from));
}

static void test_pem_forms(void **state)
{
    (void)state;
    struct printed p;
    print_key(&p, "LMS_SHA256_M24_H20", "LMOTS_SHA256_N24_W8");
    size_t len = strlen(p.pem);
    char text[1024];
    /* Fine: no line feed at the end, or CR LF everywhere. */
    assert_int_equal(read_exact(p.pem, len - 1), RC_OK);
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        if (p.pem[i] == '\n')
            text[done++] = '\r';
        text[done++] = p.pem[i];
    }
    assert_int_equal(read_exact(text, done), RC_OK);

    for (size_t cut = 0; cut < len - 1; cut++)
        assert_int_equal(read_exact(p.pem, cut), RC_REFUSED_INPUT);
    static const char *const changes[][2] = {
        {"BEGIN PUBLIC", "BEGIN PRIVATE"},
        {"END PUBLIC", "END  PUBLIC"},
        {"-----BEGIN", " -----BEGIN"},
        {"KEY-----\nME", "KEY-----\nComment: x\n\nME"},
        {"KEY-----\nME", "KEY-----\n\nME"},
        {"KEY-----\nME", "KEY-----\nM\nE"},
        {"KEY-----\nME", "KEY-----ME"},
        {"KEY-----\nME", "KEY-----\n ME"},
        {"\n-----END", "=\n-----END"},
        {"\n-----END", "====\n-----END"},
        {"END PUBLIC KEY-----\n", "END PUBLIC KEY-----\n\n"},
        {"END PUBLIC KEY-----\n", "END PUBLIC KEY-----\nmore"},
        {"ME", "M-E"},
        {"ME", "M\rE"},
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        size_t changed = pem_changed(text, p.pem, changes[i][0], changes[i][1]);
        if (read_exact(text, changed) != RC_REFUSED_INPUT)
            fail_msg("PEM case %zu was not refused", i);
    }
    memcpy(text, p.pem, len);
    memset(text + len, '\n', sizeof(text) - len);
    assert_int_equal(read_exact(text, sizeof(text)), RC_REFUSED_INPUT);
    text[len] = '\0';
    assert_int_equal(read_exact(text, len + 1), RC_REFUSED_INPUT);
    text[40] = '\0';
    assert_int_equal(read_exact(text, len), RC_REFUSED_INPUT);
}

static void print_too_long(void *ctx)
{
    uint8_t out[SPKI_DER_MAX];
    (void)spki_der_print(out, HBS_SCHEME_HSS, ctx, HBS_PUB_LEN_MAX + 1);
}

static void test_spki_misuse(void **state)
{
    (void)state;
    uint8_t raw[HBS_PUB_LEN_MAX + 1] = {0};
    assert_true(dies(print_too_long, raw, SIGABRT));
}

/* An argument picks tests by a pattern, e.g. under valgrind: test_hbs 'test_no_branch*'. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lmots_table),
        cmocka_unit_test(test_lms_table),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_randomizer_and_message_refused),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_sign_every_leaf),
        cmocka_unit_test(test_verify_value_refusals),
        cmocka_unit_test(test_lease_spent_before_anything),
        cmocka_unit_test(test_nothing_left_on_the_stack),
        cmocka_unit_test(test_no_branch_on_secrets),
        cmocka_unit_test(test_hss_levels),
        cmocka_unit_test(test_hss_wide_and_mixed),
        cmocka_unit_test(test_hss_randomizer),
        cmocka_unit_test(test_hss_faults),
        cmocka_unit_test(test_hss_misuse),
        cmocka_unit_test(test_public_parse),
        cmocka_unit_test(test_verify_truncated_and_flipped),
        cmocka_unit_test(test_verify_streamed),
        cmocka_unit_test(test_signature_parse_refusals),
        cmocka_unit_test(test_spki_round_trip),
        cmocka_unit_test(test_der_refusals),
        cmocka_unit_test(test_pem_forms),
        cmocka_unit_test(test_spki_misuse),
    };
    if (base_init(NULL) != RC_OK)
        return 1;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("hbs", tests, NULL, NULL);
}
