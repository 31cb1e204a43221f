#include <string.h>

#include "base/bytes.h"
#include "hbs/hss.h"
#include "vectors/run.h"

/* Seed and I of one level. False if the seed is not of n bytes. */
static bool level_read(struct hss_level_secret *secret, const struct lms_set *set,
                       const json_t *json)
{
    return hex_decode(secret->seed, set->ots->n, text_of(json, "seed")) &&
           hex_decode(secret->i, LMS_I_LEN, text_of(json, "i"));
}

static bool private_read(struct hss_private *key, const struct vector *v)
{
    const json_t *sets = json_object_get(v->json, "lms_types");
    const json_t *ots = json_object_get(v->json, "lmots_types");
    const json_t *secret = json_object_get(v->json, "private");
    const json_t *levels = json_object_get(secret, "levels");
    size_t count = json_array_size(sets);
    if (count < 1 || count > HSS_LEVELS_MAX || json_array_size(ots) != count)
        return false;
    key->levels = (uint32_t)count;
    key->given_levels = levels != NULL;
    for (size_t i = 0; i < count; i++) {
        const char *lms_name = json_string_value(json_array_get(sets, i));
        const char *ots_name = json_string_value(json_array_get(ots, i));
        key->set[i] =
            (struct lms_set){lms_params_by_name(lms_name), lmots_params_by_name(ots_name)};
        if (!lms_set_valid(&key->set[i]))
            return false;
        if (key->given_levels &&
            !level_read(&key->secret[i], &key->set[i], json_array_get(levels, i)))
            return false;
    }
    return key->given_levels || level_read(&key->secret[0], &key->set[0], secret);
}

static enum outcome check_public(struct vector *v, const struct hss_private *key)
{
    struct bytes expected CLEANUP(bytes_free) = {0};
    if (!public_read(&expected, v))
        return failed(v, "fields missing", NULL);
    struct hss_public pub;
    struct err err = {0};
    if (hss_keygen(key, &pub, &err) != RC_OK)
        return failed(v, "keygen", &err);
    uint8_t raw[HSS_PUB_LEN_MAX];
    if (!bytes_equal(&expected, raw, hss_public_print(&pub, raw)))
        return failed(v, "another public key", NULL);
    return PASSED;
}

enum outcome lms_check_keygen(struct vector *v)
{
    /* Old samples hash a seed of 32 bytes whole where n is 24; we insist on n (RFC 9858). */
    if (flagged(v, "seed-longer-than-n"))
        return SKIPPED;
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    if (!private_read(&key, v))
        return failed(v, "private key not understood", NULL);
    return check_public(v, &key);
}

enum outcome lms_check_sign(struct vector *v)
{
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    struct bytes message CLEANUP(bytes_free) = {0};
    struct bytes pub CLEANUP(bytes_free) = {0};
    if (!private_read(&key, v) || !bytes_read(&message, v->json, "message", NULL, 0) ||
        !public_read(&pub, v))
        return failed(v, "fields missing", NULL);
    struct ots_lease lease = {.epoch = 1};
    lease.index = (uint64_t)json_integer_value(json_object_get(v->json, "index"));
    uint8_t c[HBS_N_MAX];
    const uint8_t *randomizer = randomizer_read(c, v, key.set[key.levels - 1].ots->n);
    static uint8_t sig[HSS_SIG_LEN_MAX];
    struct bytes made = {.data = sig};
    struct err err = {0};
    enum rc rc =
        hss_sign(&lease, &key, message.data, message.len, randomizer, sig, &made.len, &err);
    if (strcmp(text_of(v->json, "result"), "error") == 0)
        return rc == RC_REFUSED_EXHAUSTED ? PASSED : failed(v, "not refused", &err);
    if (rc != RC_OK)
        return failed(v, "sign", &err);
    if (!signature_as_published(v, sig, made.len))
        return failed(v, "another signature", NULL);
    if (verify_bytes(v, &pub, &message, &made, &err) != RC_OK)
        return failed(v, "refused", &err);
    /* Equal bytes that verify came from the same root. HSS has no keygen vectors of its own,
     * though. */
    return !v->bare && !too_costly(v, COST_LOW) ? check_public(v, &key) : PASSED;
}

enum outcome lms_check_sign_with_path(struct vector *v)
{
    struct hss_private key CLEANUP(hss_private_wipe) = {0};
    struct bytes message CLEANUP(bytes_free) = {0};
    struct bytes pub CLEANUP(bytes_free) = {0};
    struct bytes sig CLEANUP(bytes_free) = {0};
    struct hss_public parsed;
    if (has(v, "signature_sha256") || !private_read(&key, v) || key.levels != 1 ||
        !bytes_read(&message, v->json, "message", NULL, 0) || !public_read(&pub, v) ||
        !signature_read(&sig, v) || hss_public_parse(&parsed, pub.data, pub.len, NULL) != RC_OK)
        return SKIPPED;
    const struct lms_tree *tree = &parsed.top;
    struct ots_lease lease = {.epoch = 1};
    lease.index = (uint64_t)json_integer_value(json_object_get(v->json, "index"));
    uint32_t q = (uint32_t)lease.index;
    struct window_secret secret CLEANUP(window_secret_wipe) = {0};
    memcpy(secret.seed, key.secret[0].seed, HBS_N_MAX);
    uint8_t c[HBS_N_MAX];
    if (randomizer_read(c, v, tree->set.ots->n) == NULL)
        lms_randomizer(tree, q, &secret, c);
    uint8_t value[HBS_N_MAX];
    struct lms_message m CLEANUP(lms_message_close) = {0};
    if (lms_message_open(&m, tree, q, c, NULL) != RC_OK)
        return failed(v, "no memory", NULL);
    lms_message_update(&m, message.data, message.len);
    lms_message_final(&m, value);
    size_t len = lms_sig_len(&tree->set);
    if (sig.len != 4 + len)
        return failed(v, "signature of another length", NULL);
    static uint8_t made[LMS_SIG_LEN_MAX];
    const uint8_t *path = sig.data + sig.len - (size_t)tree->set.lms->h * tree->set.lms->m;
    hbs_sign(&lease, tree, &secret, c, value, path, made);
    if (memcmp(made, sig.data + 4, len) != 0)
        return failed(v, "another one-time signature", NULL);
    if (!lms_verify_release(tree, parsed.root, q, c, value, made, len))
        return failed(v, "the path does not lead to the root", NULL);
    return SKIPPED;
}
