/*
 * Unit tests of XMSS and XMSS^MT: the tables of RFC 8391 and SP 800-208, hashes in lanes against
 * libgcrypt, leases, signing and verification, and every malformed key and signature refused
 * without a byte read past its end. That the numbers are the right ones is for the public vectors.
 *
 * Outside input lies on the heap in blocks of exactly its length, so that AddressSanitizer sees an
 * over-read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/spki.h"
#include "hbs/xmss_lanes.h"
#include "hbs/xmss_private.h"

/* Trees of height 5: 32 leaves each, four of them. */
static const char *const small_sets[] = {"XMSSMT-SHA2_20/4_256", "XMSSMT-SHA2_20/4_192",
                                         "XMSSMT-SHAKE256_20/4_256", "XMSSMT-SHAKE256_20/4_192"};
#define SMALL_SETS (sizeof(small_sets) / sizeof(small_sets[0]))

static uint32_t seed = 1;

static uint32_t some(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static void fill(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)some(256);
}

static bool all_zero(const void *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= ((const uint8_t *)p)[i];
    return any == 0;
}

/* Does f end the process by SIGABRT? */
static bool aborts(void (*f)(void *), void *ctx)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        f(ctx);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* Bytes in a heap block of exactly their length. */
static uint8_t *exact(const void *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return len > 0 ? copy : copy + 1;
}

static void exact_free(uint8_t *copy, size_t len)
{
    free(len > 0 ? copy : copy - 1);
}

/* A key, its public key, and one signature over "tide". */
struct small {
    struct xmss_private key;
    struct xmss_public pub;
    uint8_t raw[XMSS_PUB_LEN_MAX];
    size_t raw_len;
    uint8_t sig[XMSS_SIG_LEN_MAX];
    size_t sig_len;
};

static void small_key(struct small *s, const char *name)
{
    *s = (struct small){.key.params = xmss_params_by_name(name)};
    assert_non_null(s->key.params);
    fill(s->key.sk_seed, XMSS_N_MAX);
    fill(s->key.sk_prf, XMSS_N_MAX);
    fill(s->key.pub_seed, XMSS_N_MAX);
    assert_int_equal(xmss_keygen(&s->key, &s->pub, NULL), RC_OK);
    s->raw_len = xmss_public_print(&s->pub, s->raw);
}

static enum rc small_sign(struct small *s, uint64_t index)
{
    struct ots_lease lease = {.index = index, .epoch = 1};
    enum rc rc = xmss_sign(&lease, &s->key, "tide", 4, NULL, s->sig, &s->sig_len, NULL);
    assert_true(all_zero(&lease, sizeof(lease)));
    return rc;
}

static enum rc small_verify(const struct small *s, const uint8_t *sig, size_t len)
{
    uint8_t *copy = exact(sig, len);
    struct err err = {0};
    enum rc rc = xmss_verify(&s->pub, "tide", 4, copy, len, &err);
    assert_int_equal(err.rc, rc);
    exact_free(copy, len);
    return rc;
}

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

/* Tables --------------------------------------------------------------------------------------- */

/* Signature lengths as RFC 8391 §5.3 and §5.4 print them, for the sets in their order. */
static void test_tables(void **state)
{
    (void)state;
    static const struct {
        const char *hash, *bits;
        uint32_t xmss, xmssmt; /* first OIDs */
        uint8_t n;
        bool nist;
    } families[] = {
        {"SHA2", "256", 0x01, 0x01, 32, true},    {"SHA2", "512", 0x04, 0x09, 64, false},
        {"SHAKE", "256", 0x07, 0x11, 32, false},  {"SHAKE", "512", 0x0a, 0x19, 64, false},
        {"SHA2", "192", 0x0d, 0x21, 24, true},    {"SHAKE256", "256", 0x10, 0x29, 32, true},
        {"SHAKE256", "192", 0x13, 0x31, 24, true}};
    static const char *const heights[] = {"10",   "16",   "20",   "20/2", "20/4", "40/2",
                                          "40/4", "40/8", "60/3", "60/6", "60/12"};
    static const size_t len_32[] = {2500, 2692,  2820, 4963,  9251, 5605,
                                    9893, 18469, 8392, 14824, 27688};
    size_t sets = 0;
    for (size_t f = 0; f < 7; f++)
        for (size_t h = 0; h < 11; h++, sets++) {
            char name[40];
            (void)snprintf(name, sizeof(name), "%s-%s_%s_%s", h < 3 ? "XMSS" : "XMSSMT",
                           families[f].hash, heights[h], families[f].bits);
            const struct xmss_params *p = xmss_params_by_name(name);
            assert_non_null(p);
            uint32_t oid =
                h < 3 ? families[f].xmss + (uint32_t)h : families[f].xmssmt + (uint32_t)h - 3;
            assert_int_equal(p->oid, oid);
            assert_ptr_equal(xmss_params_by_oid(h >= 3, oid), p);
            assert_int_equal(p->n, families[f].n);
            assert_int_equal(p->sp800_208, families[f].nist);
            assert_int_equal(p->len, 2 * p->n + 3);
            assert_int_equal(p->idx_len, h < 3 ? 4 : (p->h + 7) / 8);
            assert_int_equal(p->pad, p->n == 24 ? 4 : p->n);
            if (p->n == 32)
                assert_int_equal(xmss_sig_len(p), len_32[h]);
            assert_true(xmss_sig_len(p) <= XMSS_SIG_LEN_MAX);
            assert_true(xmss_layer_height(p) <= XMSS_LAYER_MAX);
            assert_int_equal(p->h % p->d, 0);
        }
    assert_non_null(xmss_params_at(sets - 1));
    assert_null(xmss_params_at(sets));
    assert_int_equal(xmss_sig_len(xmss_params_by_name("XMSS-SHA2_10_512")), 9092);
    assert_null(xmss_params_by_oid(false, 0));
    assert_null(xmss_params_by_oid(false, 0x16));
    assert_null(xmss_params_by_oid(true, 0));
    assert_null(xmss_params_by_oid(true, 0x39));
    assert_null(xmss_params_by_name("XMSS-SHA2_10_128"));
}

static void test_digits(void **state)
{
    (void)state;
    const struct xmss_params *p = xmss_params_by_name("XMSS-SHA2_10_256");
    uint8_t value[32] = {0x5a};
    uint8_t digits[WOTS_LEN_MAX];
    wots_digits(p, value, digits);
    assert_int_equal(digits[0], 5);
    assert_int_equal(digits[1], 10);
    assert_int_equal(digits[2], 0);
    /* The checksum is 64 · 15 - 15 = 945 = 0x3b1. */
    assert_int_equal(digits[64], 3);
    assert_int_equal(digits[65], 11);
    assert_int_equal(digits[66], 1);
}

/* Lanes ---------------------------------------------------------------------------------------- */

#define JOBS_MAX 100

struct jobs {
    uint8_t values[JOBS_MAX][32];
    uint8_t children[2 * JOBS_MAX][32];
    uint8_t nodes[JOBS_MAX][32];
};

static void jobs_point(struct jobs *jobs, struct hbs_wots_chain *chains,
                       struct hbs_xmss_node *nodes)
{
    for (size_t i = 0; i < JOBS_MAX; i++) {
        chains[i].value = jobs->values[i];
        nodes[i].left = jobs->children[2 * i];
        nodes[i].right = jobs->children[2 * i + 1];
        nodes[i].out = jobs->nodes[i];
    }
}

static void kernel_check(const struct hbs_kernel *kernel, const char *name, size_t count)
{
    static struct jobs ours, expected;
    static struct hbs_wots_chain chains[JOBS_MAX];
    static struct hbs_xmss_node nodes[JOBS_MAX];
    struct hbs_xmss x;
    uint8_t secret[32];
    fill(&ours, sizeof(ours));
    fill(secret, sizeof(secret));
    hbs_xmss_init(&x, xmss_params_by_name(name), secret);
    fill(secret, sizeof(secret));
    expected = ours;
    for (size_t i = 0; i < count; i++) {
        fill(chains[i].adrs, sizeof(chains[i].adrs));
        chains[i].from = (uint8_t)some(16);
        chains[i].to = (uint8_t)(chains[i].from + some(16U - chains[i].from));
        fill(nodes[i].adrs, sizeof(nodes[i].adrs));
    }
    jobs_point(&expected, chains, nodes);
    hbs_gcrypt_wots_chains(&x, chains, count);
    hbs_gcrypt_wots_starts(&x, secret, chains, count / 2);
    hbs_gcrypt_xmss_nodes(&x, nodes, count);
    jobs_point(&ours, chains, nodes);
    hbs_kernel_use(kernel);
    hbs_wots_chains(&x, chains, count);
    hbs_wots_starts(&x, secret, chains, count / 2);
    hbs_xmss_nodes(&x, nodes, count);
    if (memcmp(&ours, &expected, sizeof(ours)) != 0)
        fail_msg("%s: %s, %zu jobs", kernel->name, name, count);
}

static void test_lanes(void **state)
{
    (void)state;
    static const enum hbs_hash_kind hashes[] = {HBS_SHA256, HBS_SHAKE256};
    static const char *const sets[2][2] = {{"XMSS-SHA2_10_256", "XMSS-SHA2_10_192"},
                                           {"XMSS-SHAKE256_10_256", "XMSS-SHAKE256_10_192"}};
    for (size_t h = 0; h < 2; h++) {
        const struct hbs_kernel *chosen = hbs_kernel_current(hashes[h]);
        const struct hbs_kernel *kernel = NULL;
        for (size_t i = 0; (kernel = hbs_kernel_at(hashes[h], i)) != NULL; i++)
            for (size_t count = 0; kernel->supported() && count <= JOBS_MAX;
                 count += count < 40 ? 1 : 13)
                kernel_check(kernel, sets[h][count % 2], count);
        hbs_kernel_use(chosen);
    }
}

/* A node over its own children and those of nodes before it: how levels are reduced in place. */
static void test_nodes_in_place(void **state)
{
    (void)state;
    for (size_t set = 0; set < SMALL_SETS; set++) {
        struct small s;
        struct xmss_tree tree;
        uint8_t leaves[32 * 32];
        uint8_t level[16 * 32];
        small_key(&s, small_sets[set]);
        xmss_tree_init(&tree, s.key.params, s.key.pub_seed, 0, 5);
        size_t n = s.key.params->n;
        xmss_leaves(&tree, 0, 32, s.key.sk_seed, leaves);
        for (uint32_t i = 0; i < 16; i++)
            xmss_node(&tree, 16 + i, leaves + 2 * i * n, leaves + (2 * i + 1) * n, level + i * n);
        xmss_level(&tree, 16, 16, leaves, leaves);
        assert_memory_equal(leaves, level, 16 * n);
        uint8_t again[32];
        xmss_leaves(&tree, 7, 1, s.key.sk_seed, again);
        xmss_leaves(&tree, 0, 32, s.key.sk_seed, leaves);
        assert_memory_equal(leaves + 7 * n, again, n);
    }
}

/* A kernel whose words are wrong in one lane now and then. */
static const struct lane_ops *right;

static void wrong_words(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                        const uint32_t block[16][LANES_MAX], size_t active)
{
    right->words(out, start, block, active);
    if (active == right->lanes)
        out[5][active - 1] ^= 1;
}

static void test_self_test(void **state)
{
    (void)state;
    const struct hbs_kernel *kernel = NULL;
    for (size_t i = 0; (kernel = hbs_kernel_at(HBS_SHA256, i)) != NULL; i++) {
        if (!kernel->supported() || kernel->lanes == NULL)
            continue;
        right = kernel->lanes;
        struct lane_ops lanes = *right;
        struct hbs_kernel wrong = *kernel;
        wrong.lanes = &lanes;
        assert_true(hbs_kernel_sound(&wrong));
        lanes.words = wrong_words;
        assert_false(hbs_kernel_sound(&wrong));
    }
}

/* Signing and verification --------------------------------------------------------------------- */

static void test_sign_and_verify(void **state)
{
    (void)state;
    static const uint64_t indices[] = {0, 31, 32, 0x7fff, 0xfffff};
    static struct small s;
    for (size_t set = 0; set < SMALL_SETS; set++) {
        small_key(&s, small_sets[set]);
        for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
            assert_int_equal(small_sign(&s, indices[i]), RC_OK);
            assert_int_equal(s.sig_len, xmss_sig_len(s.key.params));
            assert_int_equal(small_verify(&s, s.sig, s.sig_len), RC_OK);
            assert_int_equal(xmss_verify(&s.pub, "Tide", 4, s.sig, s.sig_len, NULL),
                             RC_REFUSED_SIGNATURE);
            assert_int_equal(xmss_verify(&s.pub, "tid", 3, s.sig, s.sig_len, NULL),
                             RC_REFUSED_SIGNATURE);
        }
        assert_int_equal(small_sign(&s, UINT64_C(1) << 20), RC_REFUSED_EXHAUSTED);
        assert_int_equal(s.sig_len, 0);
        assert_true(all_zero(s.sig, sizeof(s.sig)));
    }
}

/* One message at one index gives the same bytes; the message may come in pieces. */
static void test_same_bytes(void **state)
{
    (void)state;
    static struct small s;
    static uint8_t before[XMSS_SIG_LEN_MAX];
    small_key(&s, small_sets[1]);
    assert_int_equal(small_sign(&s, 77), RC_OK);
    memcpy(before, s.sig, sizeof(before));
    assert_int_equal(small_sign(&s, 77), RC_OK);
    assert_memory_equal(before, s.sig, sizeof(before));
    struct xmss_verifier v CLEANUP(xmss_verify_close) = {0};
    assert_int_equal(xmss_verify_open(&v, &s.pub, s.sig, s.sig_len, NULL), RC_OK);
    xmss_verify_update(&v, "t", 1);
    xmss_verify_update(&v, "", 0);
    xmss_verify_update(&v, "ide", 3);
    assert_int_equal(xmss_verify_finish(&v, NULL), RC_OK);
    assert_int_equal(v.sig.index, 77);
}

struct tree_signing {
    struct ots_lease lease;
    struct xmss_tree tree;
    uint8_t secret[32], value[32], path[5 * 32];
    uint8_t sig[72 * 32];
};

static void tree_sign(void *ctx)
{
    struct tree_signing *t = ctx;
    xmss_tree_sign(&t->lease, &t->tree, t->secret, t->value, t->path, t->sig);
}

static void test_lease_spent(void **state)
{
    (void)state;
    static struct tree_signing t;
    const struct xmss_params *params = xmss_params_by_name(small_sets[0]);
    fill(t.value, sizeof(t.value));
    xmss_tree_init(&t.tree, params, t.value, 0, 0);
    t.lease = (struct ots_lease){.index = 31, .epoch = 9};
    tree_sign(&t);
    assert_true(all_zero(&t.lease, sizeof(t.lease)));
    /* The same lease again, no lease, and one past the tree. */
    assert_true(aborts(tree_sign, &t));
    t.lease = (struct ots_lease){.index = 3};
    assert_true(aborts(tree_sign, &t));
    t.lease = (struct ots_lease){.index = 32, .epoch = 9};
    assert_true(aborts(tree_sign, &t));
}

/* What stays in memory ------------------------------------------------------------------------- */

#define STACK_LEN (4 * 1024 * 1024)
#define SECRET_WORDS (8 + 12 * 8)

static struct tree_signing on_stack;
static ucontext_t here, there;

static void sign_there(void)
{
    tree_sign(&on_stack);
}

/* S_XMSS and the starts of some chains whose ends are in no signature, as words. */
static size_t secret_words(uint32_t words[SECRET_WORDS])
{
    const struct xmss_tree *tree = &on_stack.tree;
    size_t n = tree->x.params->n;
    size_t count = 0;
    uint8_t digits[WOTS_LEN_MAX];
    wots_digits(tree->x.params, on_stack.value, digits);
    for (size_t i = 0; i < n; i += 4)
        words[count++] = be_get32(on_stack.secret + i);
    for (uint32_t chain = 0; chain < 20 && count + n / 4 <= SECRET_WORDS; chain++) {
        uint8_t start[XMSS_N_MAX];
        const struct hbs_wots_chain job = {.adrs = {0, 0, 0, HBS_ADRS_OTS, 31, chain},
                                           .value = start};
        hbs_gcrypt_wots_starts(&tree->x, on_stack.secret, &job, 1);
        for (size_t i = 0; digits[chain] > 0 && i < n; i += 4)
            words[count++] = be_get32(start + i);
    }
    return count;
}

/* Is one of the words anywhere, in either order of bytes? */
static bool found(const uint8_t *stack, const uint32_t *words, size_t count)
{
    for (size_t at = 0; at < STACK_LEN; at += 4) {
        uint32_t word = be_get32(stack + at);
        for (size_t i = 0; word != 0 && i < count; i++)
            if (word == words[i] || word == __builtin_bswap32(words[i]))
                return true;
    }
    return false;
}

static void run_there(uint8_t *stack)
{
    assert_int_equal(getcontext(&there), 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK_LEN;
    there.uc_link = &here;
    makecontext(&there, sign_there, 0);
    assert_int_equal(swapcontext(&here, &there), 0);
}

static void leaves_nothing(uint8_t *stack, const char *name)
{
    uint32_t words[SECRET_WORDS];
    memset(stack, 0, STACK_LEN);
    fill(&on_stack, sizeof(on_stack));
    xmss_tree_init(&on_stack.tree, xmss_params_by_name(name), on_stack.value, 0, 0);
    on_stack.lease = (struct ots_lease){.index = 31, .epoch = 1};
    size_t count = secret_words(words);
    run_there(stack);
    if (found(stack, words, count))
        fail_msg("%s: a secret stayed on the stack", name);
}

/* Under every kernel with lanes; what libgcrypt keeps is its own. */
static void test_nothing_left_on_the_stack(void **state)
{
    (void)state;
    static const enum hbs_hash_kind hashes[] = {HBS_SHA256, HBS_SHAKE256};
    if (SANITIZED || RUNNING_ON_VALGRIND)
        skip();
    uint8_t *stack =
        mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stack, MAP_FAILED);
    for (size_t h = 0; h < 2; h++) {
        const struct hbs_kernel *chosen = hbs_kernel_current(hashes[h]);
        const struct hbs_kernel *kernel = NULL;
        for (size_t i = 0; (kernel = hbs_kernel_at(hashes[h], i)) != NULL; i++) {
            if (!kernel->supported() || (kernel->lanes == NULL && kernel->keccak == NULL))
                continue;
            hbs_kernel_use(kernel);
            leaves_nothing(stack, small_sets[2 * h]);
            leaves_nothing(stack, small_sets[2 * h + 1]);
        }
        hbs_kernel_use(chosen);
    }
    (void)munmap(stack, STACK_LEN);
}

/* Malformed ------------------------------------------------------------------------------------ */

static void test_every_length(void **state)
{
    (void)state;
    static struct small s;
    static uint8_t longer[XMSS_SIG_LEN_MAX];
    for (size_t set = 0; set < SMALL_SETS; set++) {
        small_key(&s, small_sets[set]);
        assert_int_equal(small_sign(&s, 1000), RC_OK);
        for (size_t len = 0; len < s.sig_len; len++)
            assert_int_equal(small_verify(&s, s.sig, len), RC_REFUSED_SIGNATURE);
        memcpy(longer, s.sig, s.sig_len);
        for (size_t len = s.sig_len + 1; len < s.sig_len + 70; len++)
            assert_int_equal(small_verify(&s, longer, len), RC_REFUSED_SIGNATURE);
        for (size_t len = 0; len < s.raw_len + 70; len++) {
            memset(longer, 0, s.raw_len + 70);
            memcpy(longer, s.raw, s.raw_len);
            uint8_t *copy = exact(longer, len);
            struct xmss_public pub;
            enum rc rc = xmss_public_parse(&pub, true, copy, len, NULL);
            assert_int_equal(rc, len == s.raw_len ? RC_OK : RC_REFUSED_INPUT);
            exact_free(copy, len);
        }
    }
}

static void test_every_part_counts(void **state)
{
    (void)state;
    static struct small s;
    for (size_t set = 0; set < SMALL_SETS; set++) {
        small_key(&s, small_sets[set]);
        assert_int_equal(small_sign(&s, 1000), RC_OK);
        /* One byte of each of the parts, which are all of n bytes behind the index. */
        for (size_t at = 0; at < s.sig_len; at += at < 3 ? 1 : s.key.params->n) {
            s.sig[at] ^= 0x10;
            if (small_verify(&s, s.sig, s.sig_len) != RC_REFUSED_SIGNATURE)
                fail_msg("%s: a change at byte %zu was not seen", small_sets[set], at);
            s.sig[at] ^= 0x10;
        }
        for (size_t at = 4; at < s.raw_len; at++) {
            struct xmss_public pub;
            s.raw[at] ^= 1;
            assert_int_equal(xmss_public_parse(&pub, true, s.raw, s.raw_len, NULL), RC_OK);
            assert_int_equal(xmss_verify(&pub, "tide", 4, s.sig, s.sig_len, NULL),
                             RC_REFUSED_SIGNATURE);
            s.raw[at] ^= 1;
        }
        assert_int_equal(small_verify(&s, s.sig, s.sig_len), RC_OK);
    }
}

static void test_unknown_oid(void **state)
{
    (void)state;
    uint8_t raw[XMSS_PUB_LEN_MAX] = {0};
    struct xmss_public pub;
    for (uint32_t oid = 0; oid < 0x200; oid++) {
        be_put32(raw, oid);
        for (int multi = 0; multi < 2; multi++) {
            bool known = oid >= 1 && oid <= (multi != 0 ? 0x38U : 0x15U);
            const struct xmss_params *p = xmss_params_by_oid(multi != 0, oid);
            assert_int_equal(p != NULL, known);
            size_t len = known ? xmss_pub_len(p) : 68;
            assert_int_equal(xmss_public_parse(&pub, multi != 0, raw, len, NULL),
                             known ? RC_OK : RC_REFUSED_UNSUPPORTED);
        }
    }
}

/* Forms of keys -------------------------------------------------------------------------------- */

static void assert_reads(enum hbs_scheme wanted, const void *data, size_t len, enum rc rc,
                         const struct xmss_public *pub)
{
    uint8_t *copy = exact(data, len);
    struct hbs_public key;
    memset(&key, 0xaa, sizeof(key));
    assert_int_equal(spki_public_read(&key, wanted, copy, len, NULL), rc);
    if (rc == RC_OK) {
        assert_ptr_equal(key.xmss.params, pub->params);
        assert_memory_equal(key.xmss.root, pub->root, XMSS_N_MAX);
        assert_memory_equal(key.xmss.seed, pub->seed, XMSS_N_MAX);
    } else {
        assert_true(all_zero(&key, sizeof(key)));
    }
    exact_free(copy, len);
}

static void test_spki(void **state)
{
    (void)state;
    const struct xmss_params *params = NULL;
    for (size_t i = 0; (params = xmss_params_at(i)) != NULL; i++) {
        enum hbs_scheme scheme = params->multi ? HBS_SCHEME_XMSSMT : HBS_SCHEME_XMSS;
        enum hbs_scheme other = params->multi ? HBS_SCHEME_XMSS : HBS_SCHEME_XMSSMT;
        struct xmss_public pub = {.params = params};
        fill(pub.root, params->n);
        fill(pub.seed, params->n);
        uint8_t raw[XMSS_PUB_LEN_MAX];
        size_t raw_len = xmss_public_print(&pub, raw);
        uint8_t der[SPKI_DER_MAX + 1] = {0};
        char pem[SPKI_PEM_MAX];
        size_t der_len = spki_der_print(der, scheme, raw, raw_len);
        spki_pem_print(pem, scheme, raw, raw_len);
        assert_reads(0, der, der_len, RC_OK, &pub);
        assert_reads(scheme, der, der_len, RC_OK, &pub);
        assert_reads(other, der, der_len, RC_REFUSED_INPUT, &pub);
        assert_reads(HBS_SCHEME_HSS, der, der_len, RC_REFUSED_INPUT, &pub);
        assert_reads(0, pem, strlen(pem), RC_OK, &pub);
        assert_reads(other, pem, strlen(pem), RC_REFUSED_INPUT, &pub);
        assert_reads(scheme, raw, raw_len, RC_OK, &pub);
        for (size_t len = 0; len <= sizeof(der); len++)
            if (len != der_len)
                assert_reads(0, der, len, RC_REFUSED_INPUT, &pub);
        /* Raw, without being told: fine if the other scheme has no such set of that length. */
        const struct xmss_params *twin = xmss_params_by_oid(!params->multi, params->oid);
        bool twice = twin != NULL && twin->n == params->n;
        assert_reads(0, raw, raw_len, twice ? RC_REFUSED_INPUT : RC_OK, &pub);
    }
}

/* RFC 9802 §3 and the DER of its parts, written out. */
static void test_der_bytes(void **state)
{
    (void)state;
    static const uint8_t xmss[] = {0x30, 0x53, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01,
                                   0x05, 0x05, 0x07, 0x06, 0x22, 0x03, 0x45, 0x00};
    static const uint8_t long_one[] = {0x30, 0x81, 0x94, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01,
                                       0x05, 0x05, 0x07, 0x06, 0x23, 0x03, 0x81, 0x85, 0x00};
    uint8_t raw[XMSS_PUB_LEN_MAX] = {0};
    uint8_t der[SPKI_DER_MAX];
    assert_int_equal(spki_der_print(der, HBS_SCHEME_XMSS, raw, 68), sizeof(xmss) + 68);
    assert_memory_equal(der, xmss, sizeof(xmss));
    assert_int_equal(spki_der_print(der, HBS_SCHEME_XMSSMT, raw, 132), sizeof(long_one) + 132);
    assert_memory_equal(der, long_one, sizeof(long_one));
}

static void test_scheme_names(void **state)
{
    (void)state;
    for (enum hbs_scheme scheme = HBS_SCHEME_HSS; scheme <= HBS_SCHEME_XMSSMT; scheme++) {
        enum hbs_scheme back = 0;
        assert_true(hbs_scheme_by_name(&back, hbs_scheme_name(scheme)));
        assert_int_equal(back, scheme);
    }
    enum hbs_scheme kept = HBS_SCHEME_XMSS;
    assert_false(hbs_scheme_by_name(&kept, "lms"));
    assert_int_equal(kept, HBS_SCHEME_XMSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_nodes_in_place),
        cmocka_unit_test(test_self_test),
        cmocka_unit_test(test_sign_and_verify),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_lease_spent),
        cmocka_unit_test(test_nothing_left_on_the_stack),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_every_part_counts),
        cmocka_unit_test(test_unknown_oid),
        cmocka_unit_test(test_spki),
        cmocka_unit_test(test_der_bytes),
        cmocka_unit_test(test_scheme_names),
    };
    if (base_init(NULL) != RC_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
