#include "policy/sets.h"

#include <string.h>

#include "base/text.h"

/* Take a fixed text off the front. */
static bool skip(const char **p, const char *text)
{
    size_t len = strlen(text);
    if (strncmp(*p, text, len) != 0)
        return false;
    *p += len;
    return true;
}

/* Take one of a few numbers off the front. The list ends with 0. */
static bool skip_number(const char **p, const uint32_t *allowed, uint32_t *value)
{
    char digits[8] = {0};
    size_t len = strspn(*p, "0123456789");
    uint64_t number = 0;
    if (len >= sizeof(digits))
        return false;
    memcpy(digits, *p, len);
    if (!text_to_u64(&number, digits, 1000))
        return false;
    for (; *allowed != 0; allowed++) {
        if (*allowed == number) {
            *value = *allowed;
            *p += len;
            return true;
        }
    }
    return false;
}

/* "SHA256_" or "SHAKE_" of the LMS names. */
static bool skip_lms_hash(const char **p, struct set *set)
{
    if (skip(p, "SHA256_"))
        set->hash = SET_SHA2;
    else if (skip(p, "SHAKE_"))
        set->hash = SET_SHAKE256;
    else
        return false;
    return true;
}

static const uint32_t lms_lengths[] = {24, 32, 0};

static bool parse_lms(struct set *set, const char *p)
{
    static const uint32_t heights[] = {5, 10, 15, 20, 25, 0};
    set->layers = 1;
    set->approved = true; /* SP 800-208 §4 takes all of RFC 8554 and RFC 9858 */
    return skip(&p, "LMS_") && skip_lms_hash(&p, set) && skip(&p, "M") &&
           skip_number(&p, lms_lengths, &set->n) && skip(&p, "_H") &&
           skip_number(&p, heights, &set->height) && *p == '\0';
}

static bool parse_lmots(struct set *set, const char *p)
{
    static const uint32_t widths[] = {1, 2, 4, 8, 0};
    uint32_t w = 0;
    set->layers = 1;
    set->approved = true;
    return skip(&p, "LMOTS_") && skip_lms_hash(&p, set) && skip(&p, "N") &&
           skip_number(&p, lms_lengths, &set->n) && skip(&p, "_W") && skip_number(&p, widths, &w) &&
           *p == '\0';
}

/* "SHA2_", "SHAKE256_" or "SHAKE_"; which of the two SHAKEs the last one is depends on the length
 * (RFC 8391 §5.1), so that is settled in xmss_length(). */
static bool skip_xmss_hash(const char **p, struct set *set)
{
    if (skip(p, "SHA2_"))
        set->hash = SET_SHA2;
    else if (skip(p, "SHAKE256_"))
        set->hash = SET_SHAKE256;
    else if (skip(p, "SHAKE_"))
        set->hash = SET_SHAKE128;
    else
        return false;
    return true;
}

/* The last part of an XMSS name. SP 800-208 §5: SHA-256 and SHAKE256, n = 24 and 32. RFC 8391 adds
 * SHAKE128 with n = 32, and SHA-512 and SHAKE256 with n = 64; those are for verification only. */
static bool xmss_length(struct set *set, const char *p)
{
    static const uint32_t bits[] = {192, 256, 512, 0};
    uint32_t length = 0;
    if (!skip(&p, "_") || !skip_number(&p, bits, &length) || *p != '\0')
        return false;
    if ((length == 192 && set->hash == SET_SHAKE128) ||
        (length == 512 && set->hash == SET_SHAKE256))
        return false;
    set->n = length / 8;
    if (length == 512 && set->hash == SET_SHAKE128)
        set->hash = SET_SHAKE256;
    set->approved = set->n != 64 && set->hash != SET_SHAKE128;
    return true;
}

static bool parse_xmss(struct set *set, const char *p)
{
    static const uint32_t heights[] = {10, 16, 20, 0};
    set->layers = 1;
    return skip(&p, "XMSS-") && skip_xmss_hash(&p, set) && skip_number(&p, heights, &set->height) &&
           xmss_length(set, p);
}

static bool parse_xmssmt(struct set *set, const char *p)
{
    static const uint32_t heights[] = {20, 40, 60, 0};
    static const uint32_t layers_20[] = {2, 4, 0};
    static const uint32_t layers_40[] = {2, 4, 8, 0};
    static const uint32_t layers_60[] = {3, 6, 12, 0};
    if (!skip(&p, "XMSSMT-") || !skip_xmss_hash(&p, set) ||
        !skip_number(&p, heights, &set->height) || !skip(&p, "/"))
        return false;
    const uint32_t *layers = set->height == 20   ? layers_20
                             : set->height == 40 ? layers_40
                                                 : layers_60;
    return skip_number(&p, layers, &set->layers) && xmss_length(set, p);
}

static bool parse(struct set *set, const char *name, bool (*parser)(struct set *, const char *))
{
    *set = (struct set){0};
    if (parser(set, name))
        return true;
    *set = (struct set){0};
    return false;
}

bool set_lms(struct set *set, const char *name)
{
    return parse(set, name, parse_lms);
}

bool set_lmots(struct set *set, const char *name)
{
    return parse(set, name, parse_lmots);
}

bool set_xmss(struct set *set, const char *name)
{
    return parse(set, name, parse_xmss);
}

bool set_xmssmt(struct set *set, const char *name)
{
    return parse(set, name, parse_xmssmt);
}

bool set_same_hash(const struct set *a, const struct set *b)
{
    return a->hash == b->hash && a->n == b->n;
}
