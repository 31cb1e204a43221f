/*
 * bytes: big-endian numbers, hex, base64, constant-time comparison and wiping.
 *
 * Uses: libc. Pure functions, any thread. Wire and disk formats go through be_get and be_put, never
 * through a struct cast. Hex is written in lower case and read in either.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

static inline void be_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void be_put32(uint8_t *p, uint32_t v)
{
    be_put16(p, (uint16_t)(v >> 16));
    be_put16(p + 2, (uint16_t)v);
}

static inline void be_put64(uint8_t *p, uint64_t v)
{
    be_put32(p, (uint32_t)(v >> 32));
    be_put32(p + 4, (uint32_t)v);
}

static inline uint16_t be_get16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t be_get32(const uint8_t *p)
{
    return ((uint32_t)be_get16(p) << 16) | be_get16(p + 2);
}

static inline uint64_t be_get64(const uint8_t *p)
{
    return ((uint64_t)be_get32(p) << 32) | be_get32(p + 4);
}

/** Bytes that hex_encode() needs for len input bytes, the final NUL included. */
#define HEX_SIZE(len) (2 * (len) + 1)

/** Write len bytes as lower-case hex and a NUL. out: HEX_SIZE(len) bytes. */
void hex_encode(char *out, const uint8_t *in, size_t len);

/**
 * Read exactly out_len bytes from the first 2 * out_len characters of text, which must end there.
 * @retval true   out is complete.
 * @retval false  Wrong length or a character that is no hex digit; out is all zero.
 */
bool hex_decode(uint8_t *out, size_t out_len, const char *text) MUST_CHECK;

/** Bytes that base64_encode() needs for len input bytes, the final NUL included. */
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)

/** RFC 4648 §4 with padding, and a NUL. out: BASE64_SIZE(len) bytes. */
void base64_encode(char *out, const uint8_t *in, size_t len);

/**
 * RFC 4648 §4, strict: padding required, no blanks, no stray bits.
 * @param[in]  text     text_len characters; need not end with NUL.
 * @param[out] out      out_cap bytes; out_len receives how many were written.
 * @retval false  Not base64, or more than out_cap bytes; *out_len is 0.
 */
bool base64_decode(uint8_t *out, size_t out_cap, size_t *out_len, const char *text,
                   size_t text_len) MUST_CHECK;

/** Compare in time that depends on len alone. */
bool ct_equal(const void *a, const void *b, size_t len) MUST_CHECK;

/** Overwrite with zeros in a way that the compiler does not remove. */
void wipe(void *p, size_t len);

#endif
