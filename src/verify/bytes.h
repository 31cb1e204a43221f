/*
 * bytes: what the library does to bytes, without a C library. Internal to verify.
 * Pure functions, any thread.
 */
#ifndef VERIFY_BYTES_H
#define VERIFY_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void tmvi_copy(void *to, const void *from, size_t len)
{
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    for (size_t i = 0; i < len; i++)
        t[i] = f[i];
}

static inline void tmvi_zero(void *p, size_t len)
{
    uint8_t *b = (uint8_t *)p;
    for (size_t i = 0; i < len; i++)
        b[i] = 0;
}

/* Looks at all bytes, whatever they are: a glitch in one round of the loop decides nothing. */
static inline bool tmvi_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    uint8_t differs = 0;
    for (size_t i = 0; i < len; i++)
        differs |= (uint8_t)(x[i] ^ y[i]);
    return differs == 0;
}

/** Write v as len bytes, big-endian; len may be more than 8. */
static inline void tmvi_put(uint8_t *p, uint64_t v, size_t len)
{
    while (len > 0) {
        p[--len] = (uint8_t)v;
        v >>= 8;
    }
}

/** Read len bytes, at most 8, big-endian. */
static inline uint64_t tmvi_get(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint32_t tmvi_get32(const uint8_t *p)
{
    return (uint32_t)tmvi_get(p, 4);
}

#endif
