/*
 * poisoned: secrets marked undefined for valgrind, so that a branch or an address that depends on
 * one is a reported error. Run by check.sh; on its own it only computes.
 *
 *   poisoned         derive leaves and randomisers and sign, for every kind of set
 *   poisoned --leak  branch on a secret: valgrind must report it, or it would report nothing
 *
 * What becomes public (leaves, randomisers, signatures) is declared defined as it leaves; it is
 * verified afterwards, so that what ran was the real thing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else /* check.sh says that valgrind is missing */
#define VALGRIND_MAKE_MEM_UNDEFINED(data, len) 0
#define VALGRIND_MAKE_MEM_DEFINED(data, len) 0
#endif

#include "base/secmem.h"
#include "hbs/kernel.h"
#include "hbs/lms.h"
#include "hbs/xmss.h"

#define LEAVES 32 /* height 5 */

/* A window secret as the generator gives it: nothing may depend on it but the output's bytes. */
static struct window_secret *draw_poisoned(void)
{
    struct window_secret *secret = secmem_alloc(sizeof(*secret));
    MUST(secret != NULL);
    random_bytes(secret, sizeof(*secret));
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, sizeof(*secret));
    return secret;
}

static void publish(const void *data, size_t len)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(data, len);
}

static void hash_message(const struct lms_tree *tree, uint32_t q, const uint8_t *c, uint8_t *value)
{
    struct lms_message m;
    struct err err = {0};
    MUST(lms_message_open(&m, tree, q, c, &err) == RC_OK);
    lms_message_update(&m, "firmware", 8);
    lms_message_final(&m, value);
    lms_message_close(&m);
}

/* The path of leaf q and the root, from all leaves: node 1 is the root. */
static void make_path(const struct lms_tree *tree, const uint8_t *leaves, uint32_t q, uint8_t *path,
                      uint8_t *root)
{
    static uint8_t nodes[2 * LEAVES][HBS_N_MAX];
    size_t m = tree->set.lms->m;
    for (uint32_t i = 0; i < LEAVES; i++)
        memcpy(nodes[LEAVES + i], leaves + i * m, m);
    for (uint32_t r = LEAVES - 1; r > 0; r--)
        lms_node(tree, r, nodes[2 * r], nodes[2 * r + 1], nodes[r]);
    memcpy(root, nodes[1], m);
    for (uint32_t r = LEAVES + q; r > 1; r /= 2, path += m)
        memcpy(path, nodes[r ^ 1], m);
}

static void sign_with(const char *lms, const char *ots)
{
    struct lms_tree tree = {.set = {lms_params_by_name(lms), lmots_params_by_name(ots)}, .i = {7}};
    MUST(tree.set.lms != NULL && tree.set.ots != NULL);
    struct window_secret *secret = draw_poisoned();
    static uint8_t leaves[LEAVES * HBS_N_MAX];
    lms_leaves(&tree, 0, LEAVES, secret, leaves);
    publish(leaves, sizeof(leaves));
    for (uint32_t q = 0; q < LEAVES; q += 31) {
        uint8_t path[LMS_H_MAX * HBS_N_MAX];
        uint8_t root[HBS_N_MAX];
        uint8_t c[HBS_N_MAX];
        uint8_t value[HBS_N_MAX];
        static uint8_t sig[LMS_SIG_LEN_MAX];
        make_path(&tree, leaves, q, path, root);
        lms_randomizer(&tree, q, secret, c);
        publish(c, sizeof(c));
        hash_message(&tree, q, c, value);
        struct ots_lease lease = {.index = q, .epoch = 1};
        hbs_sign(&lease, &tree, secret, c, value, path, sig);
        publish(sig, sizeof(sig));
        MUST(lms_verify_release(&tree, root, q, c, value, sig, lms_sig_len(&tree.set)));
    }
    secmem_free(secret);
    (void)printf("%s %s: no branch and no address depends on the secret\n", lms, ots);
}

/* The same for the lowest tree of a hypertree whose trees have height 5. */
static void xmss_sign_with(const char *name)
{
    static const uint8_t value[HBS_N_MAX] = "a value that is signed";
    const struct xmss_params *params = xmss_params_by_name(name);
    MUST(params != NULL);
    struct xmss_tree tree;
    xmss_tree_init(&tree, params, value, 0, 3);
    struct window_secret *secret = draw_poisoned();
    static uint8_t nodes[2 * LEAVES * HBS_N_MAX];
    size_t n = params->n;
    xmss_leaves(&tree, 0, LEAVES, secret->seed, nodes + LEAVES * n);
    publish(nodes, sizeof(nodes));
    for (uint32_t r = LEAVES / 2; r >= 1; r /= 2)
        xmss_level(&tree, r, r, nodes + 2 * r * n, nodes + r * n);
    for (uint32_t q = 0; q < LEAVES; q += 31) {
        uint8_t path[5 * HBS_N_MAX];
        uint8_t r_out[HBS_N_MAX];
        uint8_t root[XMSS_N_MAX];
        static uint8_t sig[(WOTS_LEN_MAX + 5) * XMSS_N_MAX];
        for (uint32_t r = LEAVES + q, i = 0; r > 1; r /= 2, i++)
            memcpy(path + i * n, nodes + (r ^ 1) * n, n);
        xmss_randomizer(params, secret->sk_prf, q, r_out);
        publish(r_out, sizeof(r_out));
        struct ots_lease lease = {.index = q, .epoch = 1};
        xmss_tree_sign(&lease, &tree, secret->seed, value, path, sig);
        publish(sig, sizeof(sig));
        xmss_tree_candidate(&tree, q, value, sig, root);
        MUST(memcmp(root, nodes + n, n) == 0);
    }
    secmem_free(secret);
    (void)printf("%s: no branch and no address depends on the secret\n", name);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    MUST(base_init(&err) == RC_OK && hbs_kernel_start(&err) == RC_OK);
    if (argc > 1 && strcmp(argv[1], "--leak") == 0) {
        struct window_secret *secret = draw_poisoned();
        (void)printf("%s\n", (secret->seed[0] & 1) != 0 ? "odd" : "even");
        return 0;
    }
    static const char *const trees[] = {"LMS_SHA256_M32_H5", "LMS_SHA256_M24_H5",
                                        "LMS_SHAKE_M32_H5", "LMS_SHAKE_M24_H5"};
    static const char *const ots[][2] = {{"LMOTS_SHA256_N32_W8", "LMOTS_SHA256_N32_W2"},
                                         {"LMOTS_SHA256_N24_W4", "LMOTS_SHA256_N24_W1"},
                                         {"LMOTS_SHAKE_N32_W4", "LMOTS_SHAKE_N32_W1"},
                                         {"LMOTS_SHAKE_N24_W4", "LMOTS_SHAKE_N24_W2"}};
    for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++)
        for (size_t k = 0; k < 2; k++)
            sign_with(trees[i], ots[i][k]);
    xmss_sign_with("XMSSMT-SHA2_20/4_256");
    xmss_sign_with("XMSSMT-SHA2_20/4_192");
    xmss_sign_with("XMSSMT-SHAKE256_20/4_256");
    xmss_sign_with("XMSSMT-SHAKE256_20/4_192");
    return 0;
}
