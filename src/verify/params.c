#include "verify/params.h"

#if TMV_WITH_LMS

/* RFC 8554 and RFC 9858 number four families of sets one after another: SHA-256 with 32 and 24
 * bytes, SHAKE256 with 32 and 24. False: left out. */
static bool lms_family(struct tmvi_set *set, uint32_t family)
{
    set->hash = family < 2 ? TMV_SHA256 : TMV_SHAKE256;
    set->n = family % 2 == 0 ? 32 : 24;
    return set->hash == TMV_SHA256 ? TMV_WITH_SHA256 : TMV_WITH_SHAKE256;
}

/* RFC 8554 Appendix B: p and ls from n and w. The greatest sum of a checksum has bits digits. */
static void lmots_chains(struct tmvi_set *set)
{
    unsigned digits = 8U * set->n / set->w;
    unsigned sum = digits * ((1U << set->w) - 1);
    unsigned bits = 0;
    while (sum >> bits != 0)
        bits++;
    unsigned more = (bits + set->w - 1) / set->w;
    set->p = (uint16_t)(digits + more);
    set->shift = (uint8_t)(16 - more * set->w);
}

bool tmvi_set_lms(struct tmvi_set *set, uint32_t lms_type, uint32_t ots_type)
{
    /* LM-OTS types 1 … 16 are four widths of each family, LMS types 5 … 24 five heights. */
    *set = (struct tmvi_set){.layers = 1};
    if (ots_type < 1 || ots_type > 16 || lms_type < 5 || lms_type > 24)
        return false;
    uint32_t family = (ots_type - 1) / 4;
    if ((lms_type - 5) / 5 != family || !lms_family(set, family))
        return false;
    set->w = (uint8_t)(1U << (ots_type - 1) % 4);
    set->height = (uint8_t)(5 * (1 + (lms_type - 5) % 5));
    lmots_chains(set);
    return true;
}

size_t tmvi_lms_sig_len(const struct tmvi_set *set)
{
    return 4 + 4 + (size_t)set->n * (1U + set->p) + 4 + (size_t)set->height * set->n;
}

#endif

#if TMV_WITH_XMSS || TMV_WITH_XMSSMT

/* Families in the order in which the registries number them: first those of RFC 8391, then those of
 * SP 800-208. "toByte(X, pad)": RFC 8391 §5.1 has pad = n, SP 800-208 §5 has 4 for n = 24. */
static const struct {
    uint8_t hash, n, pad;
    bool here;
} families[] = {
    {TMV_SHA256, 32, 32, TMV_WITH_SHA256},    {TMV_SHA512, 64, 64, TMV_WITH_RFC8391},
    {TMV_SHAKE128, 32, 32, TMV_WITH_RFC8391}, {TMV_SHAKE256, 64, 64, TMV_WITH_RFC8391},
    {TMV_SHA256, 24, 4, TMV_WITH_SHA256},     {TMV_SHAKE256, 32, 32, TMV_WITH_SHAKE256},
    {TMV_SHAKE256, 24, 4, TMV_WITH_SHAKE256},
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

/* Height and layers of the eight XMSS^MT sets of a family. */
static const uint8_t hypertrees[8][2] = {{20, 2}, {20, 4}, {40, 2}, {40, 4},
                                         {40, 8}, {60, 3}, {60, 6}, {60, 12}};

bool tmvi_set_xmss(struct tmvi_set *set, uint32_t oid, bool mt)
{
    static const uint8_t heights[3] = {10, 16, 20};
    uint32_t per_family = mt ? 8 : 3;
    *set = (struct tmvi_set){.layers = 1, .w = 4};
    if (oid < 1 || (oid - 1) / per_family >= FAMILIES || !families[(oid - 1) / per_family].here)
        return false;
    set->hash = (enum tmv_hash_kind)families[(oid - 1) / per_family].hash;
    set->n = families[(oid - 1) / per_family].n;
    set->pad = families[(oid - 1) / per_family].pad;
    /* RFC 8391 §3.1.1: two digits a byte, and three for the checksum, whatever n is. */
    set->p = (uint16_t)(2 * set->n + 3);
    set->height = mt ? hypertrees[(oid - 1) % 8][0] : heights[(oid - 1) % 3];
    set->layers = mt ? hypertrees[(oid - 1) % 8][1] : 1;
    return true;
}

#endif
