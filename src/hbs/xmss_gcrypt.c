#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/hash.h"
#include "hbs/xmss_hash.h"

/* First numbers of the hash inputs (RFC 8391 §5.1, SP 800-208 §5). */
enum { PAD_F = 0, PAD_H = 1, PAD_PRF = 3, PAD_PRF_KEYGEN = 4 };

#define ADRS_LEN 32
#define TEXT_MAX (4 * XMSS_N_MAX + ADRS_LEN)

/* SHA-2 goes through gcry_md_hash_buffer(), which is the fastest way to one hash; for an extendable
 * function a handle is kept and reset. */
struct hasher {
    gcry_md_hd_t handle; /* NULL for SHA-2 */
    int algorithm;
    const struct hbs_xmss *x;
    uint8_t text[TEXT_MAX];
    uint8_t digest[64];
};

static void hasher_open(struct hasher *h, const struct hbs_xmss *x)
{
    h->x = x;
    h->algorithm = hbs_hash_gcrypt(x->params->hash);
    h->handle = NULL;
    if (gcry_md_get_algo_dlen(h->algorithm) == 0)
        MUST(gcry_md_open(&h->handle, h->algorithm, 0) == 0);
}

static void hasher_close(struct hasher *h)
{
    /* hash_buffer leaves its last result on the stack; one more hash of nothing writes over it. */
    if (h->handle == NULL)
        gcry_md_hash_buffer(h->algorithm, h->digest, "", 0);
    gcry_md_close(h->handle); /* wipes its state; NULL is fine */
    wipe(h, sizeof(*h));
}

/* out := H(text), n bytes. out may lie inside text. */
static void hasher_run(struct hasher *h, size_t len, uint8_t *out)
{
    uint8_t n = h->x->params->n;
    if (h->handle == NULL) {
        gcry_md_hash_buffer(h->algorithm, h->digest, h->text, len);
    } else {
        gcry_md_reset(h->handle);
        gcry_md_write(h->handle, h->text, len);
        MUST(gcry_md_extract(h->handle, h->algorithm, h->digest, n) == 0);
    }
    memcpy(out, h->digest, n);
}

/* Begin a text with toByte(number, pad); returns where it goes on. */
static uint8_t *text_start(struct hasher *h, uint8_t number)
{
    uint8_t pad = h->x->params->pad;
    memset(h->text, 0, pad);
    h->text[pad - 1] = number;
    return h->text + pad;
}

static uint8_t *text_bytes(uint8_t *p, const uint8_t *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *text_address(uint8_t *p, const uint32_t adrs[ADRS_WORDS])
{
    for (size_t i = 0; i < ADRS_WORDS; i++, p += 4)
        be_put32(p, adrs[i]);
    return p;
}

/* out := PRF(SEED, ADRS), with this keyAndMask. */
static void prf(struct hasher *h, uint32_t adrs[ADRS_WORDS], uint32_t key_and_mask, uint8_t *out)
{
    adrs[ADRS_KEY_AND_MASK] = key_and_mask;
    uint8_t *p = text_start(h, PAD_PRF);
    p = text_bytes(p, h->x->seed, h->x->params->n);
    p = text_address(p, adrs);
    hasher_run(h, (size_t)(p - h->text), out);
}

static void xor_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] ^= from[i];
}

void hbs_gcrypt_wots_starts(const struct hbs_xmss *x, const uint8_t *secret,
                            const struct hbs_wots_chain *chains, size_t count)
{
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, x);
    for (size_t c = 0; c < count; c++) {
        uint32_t adrs[ADRS_WORDS] = {0};
        memcpy(adrs, chains[c].adrs, sizeof(chains[c].adrs));
        uint8_t *p = text_start(&h, PAD_PRF_KEYGEN);
        p = text_bytes(p, secret, x->params->n);
        p = text_bytes(p, x->seed, x->params->n);
        p = text_address(p, adrs);
        hasher_run(&h, (size_t)(p - h.text), chains[c].value);
    }
}

/* value := F(KEY, value ^ BM), all of the address but its last two words given. */
static void step(struct hasher *h, uint32_t adrs[ADRS_WORDS], uint8_t *value)
{
    uint8_t n = h->x->params->n;
    uint8_t key[XMSS_N_MAX];
    uint8_t mask[XMSS_N_MAX];
    prf(h, adrs, 0, key);
    prf(h, adrs, 1, mask);
    uint8_t *p = text_bytes(text_start(h, PAD_F), key, n);
    xor_bytes(mask, value, n);
    p = text_bytes(p, mask, n);
    hasher_run(h, (size_t)(p - h->text), value);
    wipe(mask, sizeof(mask));
}

void hbs_gcrypt_wots_chains(const struct hbs_xmss *x, const struct hbs_wots_chain *chains,
                            size_t count)
{
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, x);
    for (size_t c = 0; c < count; c++) {
        uint32_t adrs[ADRS_WORDS] = {0};
        memcpy(adrs, chains[c].adrs, sizeof(chains[c].adrs));
        for (uint32_t s = chains[c].from; s < chains[c].to; s++) {
            adrs[ADRS_HASH] = s;
            step(&h, adrs, chains[c].value);
        }
    }
}

/* RAND_HASH. Both children are read before out is written. */
static void node_run(struct hasher *h, const struct hbs_xmss_node *node)
{
    uint8_t n = h->x->params->n;
    uint32_t adrs[ADRS_WORDS] = {0};
    memcpy(adrs, node->adrs, sizeof(node->adrs));
    uint8_t key[XMSS_N_MAX];
    uint8_t masked[2 * XMSS_N_MAX];
    prf(h, adrs, 0, key);
    prf(h, adrs, 1, masked);
    prf(h, adrs, 2, masked + n);
    xor_bytes(masked, node->left, n);
    xor_bytes(masked + n, node->right, n);
    uint8_t *p = text_bytes(text_start(h, PAD_H), key, n);
    p = text_bytes(p, masked, 2 * (size_t)n);
    hasher_run(h, (size_t)(p - h->text), node->out);
}

void hbs_gcrypt_xmss_nodes(const struct hbs_xmss *x, const struct hbs_xmss_node *nodes,
                           size_t count)
{
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, x);
    for (size_t i = 0; i < count; i++)
        node_run(&h, nodes + i);
}

void hbs_xmss_prf(const struct xmss_params *params, const uint8_t *key, uint64_t number,
                  uint8_t *out)
{
    const struct hbs_xmss x = {.params = params};
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, &x);
    uint8_t *p = text_bytes(text_start(&h, PAD_PRF), key, params->n);
    memset(p, 0, ADRS_LEN);
    be_put64(p + ADRS_LEN - 8, number);
    hasher_run(&h, (size_t)(p + ADRS_LEN - h.text), out);
}
