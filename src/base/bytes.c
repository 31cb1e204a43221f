#include "base/bytes.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hex_encode(char *out, const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digits[in[i] >> 4];
        out[2 * i + 1] = hex_digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(uint8_t *out, size_t out_len, const char *text)
{
    memset(out, 0, out_len);
    if (strnlen(text, 2 * out_len + 1) != 2 * out_len)
        return false;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            memset(out, 0, out_len);
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

void base64_encode(char *out, const uint8_t *in, size_t len)
{
    while (len > 0) {
        uint32_t v = (uint32_t)in[0] << 16;
        if (len > 1)
            v |= (uint32_t)in[1] << 8;
        if (len > 2)
            v |= in[2];
        out[0] = base64_digits[v >> 18];
        out[1] = base64_digits[(v >> 12) & 63];
        out[2] = len > 1 ? base64_digits[(v >> 6) & 63] : '=';
        out[3] = len > 2 ? base64_digits[v & 63] : '=';
        size_t step = len < 3 ? len : 3;
        in += step;
        len -= step;
        out += 4;
    }
    *out = '\0';
}

static int base64_value(char c)
{
    const char *p = c != '\0' ? strchr(base64_digits, c) : NULL;
    return p != NULL ? (int)(p - base64_digits) : -1;
}

/* One group of four characters; returns the number of bytes in it, or 0 if it is malformed. */
static size_t base64_group(uint8_t bytes[3], const char *group, bool last)
{
    size_t padding = 0;
    if (last && group[3] == '=')
        padding = group[2] == '=' ? 2 : 1;
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i >= 4 - padding ? 0 : base64_value(group[i]);
        if (digit < 0)
            return 0;
        v = (v << 6) | (uint32_t)digit;
    }
    /* Bits behind the last byte must be zero, or two texts would stand for the same bytes. */
    if ((padding == 1 && (v & 0xff) != 0) || (padding == 2 && (v & 0xffff) != 0))
        return 0;
    bytes[0] = (uint8_t)(v >> 16);
    bytes[1] = (uint8_t)(v >> 8);
    bytes[2] = (uint8_t)v;
    return 3 - padding;
}

bool base64_decode(uint8_t *out, size_t out_cap, size_t *out_len, const char *text, size_t text_len)
{
    *out_len = 0;
    if (text_len % 4 != 0)
        return false;
    size_t done = 0;
    for (size_t i = 0; i < text_len; i += 4) {
        uint8_t bytes[3];
        size_t count = base64_group(bytes, text + i, i + 4 == text_len);
        if (count == 0 || done + count > out_cap)
            return false;
        memcpy(out + done, bytes, count);
        done += count;
    }
    *out_len = done;
    return true;
}

bool ct_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= (uint8_t)(x[i] ^ y[i]);
    /* Keep the compiler from turning the loop into an early exit. */
    __asm__ volatile("" : "+r"(difference));
    return difference == 0;
}

void wipe(void *p, size_t len)
{
    explicit_bzero(p, len);
}
