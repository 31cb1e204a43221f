#include "attest/names.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/lease.h"

#define HALF (P256_POINT_LEN / 2)
#define HEAD_MAX 64
#define HANDLE_ENDORSEMENT UINT32_C(0x4000000B)
#define ALG_SHA256 0x000B

/* Names -----------------------------------------------------------------------------------------*/

/* TPMT_PUBLIC up to the point: type, nameAlg, attributes, policy, symmetric, scheme, curve, kdf. */
static const uint8_t ak_head[] = {
    0x00, 0x23, /* ECC */
    0x00, 0x0B, /* SHA-256 */
    0x00, 0x05, 0x04,
    0x72,       /* fixedTPM fixedParent sensitiveDataOrigin userWithAuth noDA
                   restricted sign */
    0x00, 0x00, /* no policy */
    0x00, 0x10, /* symmetric: null */
    0x00, 0x18, 0x00,
    0x0B,       /* ECDSA with SHA-256 */
    0x00, 0x03, /* NIST P-256 */
    0x00, 0x10, /* kdf: null */
};

static const uint8_t ek_head[] = {
    0x00, 0x23,             /* ECC */
    0x00, 0x0B,             /* SHA-256 */
    0x00, 0x03, 0x00, 0xB2, /* fixedTPM fixedParent sensitiveDataOrigin adminWithPolicy restricted
                               decrypt */
    0x00, 0x20,             /* PolicySecret(TPM_RH_ENDORSEMENT) */
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46,
    0xA5, 0xD7, 0x24, 0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1,
    0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, /* AES-128 CFB */
    0x00, 0x10,                                                             /* scheme: null */
    0x00, 0x03,                                                             /* NIST P-256 */
    0x00, 0x10,                                                             /* kdf: null */
};
_Static_assert(sizeof(ek_head) <= HEAD_MAX && sizeof(ak_head) <= HEAD_MAX, "room for both");

static void name_of(uint8_t name[TPM_NAME_LEN], const uint8_t *head, size_t head_len,
                    const uint8_t point[P256_POINT_LEN])
{
    uint8_t area[HEAD_MAX + P256_POINT_LEN + 4];
    uint8_t *p = area;
    memcpy(p, head, head_len);
    p += head_len;
    for (size_t i = 0; i < 2; i++) {
        be_put16(p, HALF);
        memcpy(p + 2, point + i * HALF, HALF);
        p += 2 + HALF;
    }
    be_put16(name, ALG_SHA256);
    digest_buffer(DIGEST_SHA256, name + 2, area, (size_t)(p - area));
}

void attest_ak_name(uint8_t name[TPM_NAME_LEN], const uint8_t point[P256_POINT_LEN])
{
    name_of(name, ak_head, sizeof(ak_head), point);
}

void attest_ek_name(uint8_t name[TPM_NAME_LEN], const uint8_t point[P256_POINT_LEN])
{
    name_of(name, ek_head, sizeof(ek_head), point);
}

void attest_qualified_name(uint8_t qualified[TPM_NAME_LEN], const uint8_t name[TPM_NAME_LEN])
{
    uint8_t parent[4]; /* the Name of a hierarchy is its handle */
    be_put32(parent, HANDLE_ENDORSEMENT);
    be_put16(qualified, ALG_SHA256);
    sha256_2(qualified + 2, parent, sizeof(parent), name, TPM_NAME_LEN);
}
_Static_assert(TPM_NAME_LEN == 2 + SHA256_LEN, "a Name is the algorithm and the hash");

/* Public keys -----------------------------------------------------------------------------------*/

/* SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { uncompressed point } } */
static const uint8_t der_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
_Static_assert(sizeof(der_head) + P256_POINT_LEN == P256_DER_LEN, "the length of an SPKI");

static const char pem_begin[] = "-----BEGIN PUBLIC KEY-----\n";
static const char pem_end[] = "\n-----END PUBLIC KEY-----\n";
#define PEM_LINE 64
#define PEM_BODY (BASE64_SIZE(P256_DER_LEN) - 1)
_Static_assert(PEM_BODY > PEM_LINE && PEM_BODY <= 2 * PEM_LINE, "two lines");
_Static_assert(sizeof(pem_begin) + PEM_BODY + sizeof(pem_end) <= P256_PEM_SIZE, "room for it");

void p256_der_print(uint8_t der[P256_DER_LEN], const uint8_t point[P256_POINT_LEN])
{
    memcpy(der, der_head, sizeof(der_head));
    memcpy(der + sizeof(der_head), point, P256_POINT_LEN);
}

void p256_pem_print(char pem[P256_PEM_SIZE], const uint8_t point[P256_POINT_LEN])
{
    uint8_t der[P256_DER_LEN];
    char body[BASE64_SIZE(P256_DER_LEN)];
    p256_der_print(der, point);
    base64_encode(body, der, sizeof(der));
    char *p = pem;
    memcpy(p, pem_begin, sizeof(pem_begin) - 1);
    p += sizeof(pem_begin) - 1;
    memcpy(p, body, PEM_LINE);
    p += PEM_LINE;
    *p++ = '\n';
    memcpy(p, body + PEM_LINE, PEM_BODY - PEM_LINE);
    p += PEM_BODY - PEM_LINE;
    memcpy(p, pem_end, sizeof(pem_end));
}

bool p256_pem_parse(uint8_t point[P256_POINT_LEN], const char *pem)
{
    char body[PEM_BODY];
    char again[P256_PEM_SIZE];
    uint8_t der[P256_DER_LEN];
    size_t der_len = 0;
    size_t begin = sizeof(pem_begin) - 1;
    size_t len = strnlen(pem, P256_PEM_SIZE);
    memset(point, 0, P256_POINT_LEN);
    if (len < begin + PEM_BODY + 1)
        return false;
    memcpy(body, pem + begin, PEM_LINE);
    memcpy(body + PEM_LINE, pem + begin + PEM_LINE + 1, PEM_BODY - PEM_LINE);
    if (!base64_decode(der, sizeof(der), &der_len, body, PEM_BODY) || der_len != sizeof(der))
        return false;
    /* One form only: what printing it again does not give is not read. */
    p256_pem_print(again, der + sizeof(der_head));
    size_t whole = strlen(again);
    if ((len != whole && len != whole - 1) || strncmp(pem, again, len) != 0)
        return false;
    memcpy(point, der + sizeof(der_head), P256_POINT_LEN);
    return true;
}

/* Signatures ------------------------------------------------------------------------------------*/

/* One INTEGER: no leading zeros, but one where the number would look negative. */
static uint8_t *put_integer(uint8_t *p, const uint8_t number[HALF])
{
    size_t skip = 0;
    while (skip < HALF - 1 && number[skip] == 0)
        skip++;
    bool zero = (number[skip] & 0x80) != 0;
    *p++ = 0x02;
    *p++ = (uint8_t)(HALF - skip + (zero ? 1 : 0));
    if (zero)
        *p++ = 0;
    memcpy(p, number + skip, HALF - skip);
    return p + (HALF - skip);
}

size_t p256_sig_print(uint8_t der[P256_SIG_DER_MAX], const uint8_t sig[P256_SIG_LEN])
{
    uint8_t *p = put_integer(der + 2, sig);
    p = put_integer(p, sig + HALF);
    der[0] = 0x30;
    der[1] = (uint8_t)(p - der - 2);
    return (size_t)(p - der);
}

static bool take_integer(uint8_t number[HALF], const uint8_t **p, const uint8_t *end)
{
    if (end - *p < 2 || (*p)[0] != 0x02)
        return false;
    size_t len = (*p)[1];
    const uint8_t *bytes = *p + 2;
    if (len == 0 || len > HALF + 1 || len > (size_t)(end - bytes))
        return false;
    *p = bytes + len;
    if (len == HALF + 1 && bytes[0] != 0)
        return false;
    if (len == HALF + 1) {
        bytes++;
        len--;
    }
    memcpy(number + HALF - len, bytes, len);
    return true;
}

bool p256_sig_parse(uint8_t sig[P256_SIG_LEN], const uint8_t *der, size_t len)
{
    uint8_t again[P256_SIG_DER_MAX];
    const uint8_t *p = der + 2;
    memset(sig, 0, P256_SIG_LEN);
    bool good = len >= 8 && len <= P256_SIG_DER_MAX && der[0] == 0x30 && der[1] == len - 2 &&
                take_integer(sig, &p, der + len) && take_integer(sig + HALF, &p, der + len) &&
                p == der + len;
    good = good && p256_sig_print(again, sig) == len && ct_equal(again, der, len);
    if (!good)
        memset(sig, 0, P256_SIG_LEN);
    return good;
}

static void sexp_free(gcry_sexp_t *s)
{
    gcry_sexp_release(*s);
}

enum rc p256_verify(const uint8_t point[P256_POINT_LEN], const void *bytes, size_t len,
                    const uint8_t sig[P256_SIG_LEN], struct err *err)
{
    gcry_sexp_t key CLEANUP(sexp_free) = NULL;
    gcry_sexp_t value CLEANUP(sexp_free) = NULL;
    gcry_sexp_t data CLEANUP(sexp_free) = NULL;
    uint8_t q[1 + P256_POINT_LEN];
    uint8_t hash[SHA256_LEN];
    uint8_t r[1 + HALF] = {0}, s[1 + HALF] = {0}; /* a zero in front: never negative */
    q[0] = 4;
    memcpy(q + 1, point, P256_POINT_LEN);
    memcpy(r + 1, sig, HALF);
    memcpy(s + 1, sig + HALF, HALF);
    digest_buffer(DIGEST_SHA256, hash, bytes, len);
    gcry_error_t e = gcry_sexp_build(&key, NULL, "(public-key(ecc(curve \"NIST P-256\")(q %b)))",
                                     (int)sizeof(q), q);
    if (e == 0)
        e = gcry_sexp_build(&data, NULL, "(data(flags raw)(hash sha256 %b))", (int)sizeof(hash),
                            hash);
    if (e == 0)
        e = gcry_sexp_build(&value, NULL, "(sig-val(ecdsa(r %b)(s %b)))", (int)sizeof(r), r,
                            (int)sizeof(s), s);
    if (e != 0)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "%s", gcry_strerror(e));
    e = gcry_pk_verify(value, data, key);
    if (gcry_err_code(e) == GPG_ERR_ENOMEM)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "%s", gcry_strerror(e));
    if (e != 0)
        return FAIL(err, RC_REFUSED_SIGNATURE, "gcrypt", e,
                    "the signature is not the attestation key's");
    return RC_OK;
}
