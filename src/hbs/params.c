#include "hbs/params.h"

#include <string.h>

/* RFC 8554 §4.1 table 1 (types 1–4), RFC 9858 §4 (5–16). p and ls follow from n and w by RFC 8554
 * Appendix B; the unit test computes them again. */
static const struct lmots_params lmots_table[] = {
    {1, "LMOTS_SHA256_N32_W1", HBS_SHA256, 32, 1, 265, 7},
    {2, "LMOTS_SHA256_N32_W2", HBS_SHA256, 32, 2, 133, 6},
    {3, "LMOTS_SHA256_N32_W4", HBS_SHA256, 32, 4, 67, 4},
    {4, "LMOTS_SHA256_N32_W8", HBS_SHA256, 32, 8, 34, 0},
    {5, "LMOTS_SHA256_N24_W1", HBS_SHA256, 24, 1, 200, 8},
    {6, "LMOTS_SHA256_N24_W2", HBS_SHA256, 24, 2, 101, 6},
    {7, "LMOTS_SHA256_N24_W4", HBS_SHA256, 24, 4, 51, 4},
    {8, "LMOTS_SHA256_N24_W8", HBS_SHA256, 24, 8, 26, 0},
    {9, "LMOTS_SHAKE_N32_W1", HBS_SHAKE256, 32, 1, 265, 7},
    {10, "LMOTS_SHAKE_N32_W2", HBS_SHAKE256, 32, 2, 133, 6},
    {11, "LMOTS_SHAKE_N32_W4", HBS_SHAKE256, 32, 4, 67, 4},
    {12, "LMOTS_SHAKE_N32_W8", HBS_SHAKE256, 32, 8, 34, 0},
    {13, "LMOTS_SHAKE_N24_W1", HBS_SHAKE256, 24, 1, 200, 8},
    {14, "LMOTS_SHAKE_N24_W2", HBS_SHAKE256, 24, 2, 101, 6},
    {15, "LMOTS_SHAKE_N24_W4", HBS_SHAKE256, 24, 4, 51, 4},
    {16, "LMOTS_SHAKE_N24_W8", HBS_SHAKE256, 24, 8, 26, 0},
};

/* RFC 8554 §5.1 table 2 (types 5–9), RFC 9858 §4 (10–24). */
static const struct lms_params lms_table[] = {
    {5, "LMS_SHA256_M32_H5", HBS_SHA256, 32, 5},
    {6, "LMS_SHA256_M32_H10", HBS_SHA256, 32, 10},
    {7, "LMS_SHA256_M32_H15", HBS_SHA256, 32, 15},
    {8, "LMS_SHA256_M32_H20", HBS_SHA256, 32, 20},
    {9, "LMS_SHA256_M32_H25", HBS_SHA256, 32, 25},
    {10, "LMS_SHA256_M24_H5", HBS_SHA256, 24, 5},
    {11, "LMS_SHA256_M24_H10", HBS_SHA256, 24, 10},
    {12, "LMS_SHA256_M24_H15", HBS_SHA256, 24, 15},
    {13, "LMS_SHA256_M24_H20", HBS_SHA256, 24, 20},
    {14, "LMS_SHA256_M24_H25", HBS_SHA256, 24, 25},
    {15, "LMS_SHAKE_M32_H5", HBS_SHAKE256, 32, 5},
    {16, "LMS_SHAKE_M32_H10", HBS_SHAKE256, 32, 10},
    {17, "LMS_SHAKE_M32_H15", HBS_SHAKE256, 32, 15},
    {18, "LMS_SHAKE_M32_H20", HBS_SHAKE256, 32, 20},
    {19, "LMS_SHAKE_M32_H25", HBS_SHAKE256, 32, 25},
    {20, "LMS_SHAKE_M24_H5", HBS_SHAKE256, 24, 5},
    {21, "LMS_SHAKE_M24_H10", HBS_SHAKE256, 24, 10},
    {22, "LMS_SHAKE_M24_H15", HBS_SHAKE256, 24, 15},
    {23, "LMS_SHAKE_M24_H20", HBS_SHAKE256, 24, 20},
    {24, "LMS_SHAKE_M24_H25", HBS_SHAKE256, 24, 25},
};

#define LMOTS_COUNT (sizeof(lmots_table) / sizeof(lmots_table[0]))
#define LMS_COUNT (sizeof(lms_table) / sizeof(lms_table[0]))

const struct lmots_params *lmots_params_at(size_t i)
{
    return i < LMOTS_COUNT ? &lmots_table[i] : NULL;
}

const struct lms_params *lms_params_at(size_t i)
{
    return i < LMS_COUNT ? &lms_table[i] : NULL;
}

const struct lmots_params *lmots_params_by_type(uint32_t type)
{
    for (size_t i = 0; i < LMOTS_COUNT; i++)
        if (lmots_table[i].type == type)
            return &lmots_table[i];
    return NULL;
}

const struct lms_params *lms_params_by_type(uint32_t type)
{
    for (size_t i = 0; i < LMS_COUNT; i++)
        if (lms_table[i].type == type)
            return &lms_table[i];
    return NULL;
}

const struct lmots_params *lmots_params_by_name(const char *name)
{
    for (size_t i = 0; i < LMOTS_COUNT; i++)
        if (strcmp(lmots_table[i].name, name) == 0)
            return &lmots_table[i];
    return NULL;
}

const struct lms_params *lms_params_by_name(const char *name)
{
    for (size_t i = 0; i < LMS_COUNT; i++)
        if (strcmp(lms_table[i].name, name) == 0)
            return &lms_table[i];
    return NULL;
}

bool lms_set_valid(const struct lms_set *set)
{
    return set->lms != NULL && set->ots != NULL && set->lms->hash == set->ots->hash &&
           set->lms->m == set->ots->n;
}

size_t lmots_sig_len(const struct lmots_params *ots)
{
    return 4 + (size_t)ots->n + (size_t)ots->p * ots->n;
}

size_t lms_sig_len(const struct lms_set *set)
{
    return 4 + lmots_sig_len(set->ots) + 4 + (size_t)set->lms->h * set->lms->m;
}

size_t lms_pub_len(const struct lms_set *set)
{
    return 4 + 4 + LMS_I_LEN + (size_t)set->lms->m;
}
