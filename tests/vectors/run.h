/*
 * run: what the files of the vector runner share. run.c reads files and verifies, run_lms.c and
 * run_xmss.c generate keys and sign.
 */
#ifndef TESTS_VECTORS_RUN_H
#define TESTS_VECTORS_RUN_H

#include <jansson.h>

#include "hbs/public.h"

enum outcome { PASSED, FAILED, SKIPPED, OUTCOMES };
enum cost { COST_LOW, COST_MEDIUM, COST_HIGH, COST_EXTREME, COSTS };

/* Bytes on the heap in a block of exactly their length, so that AddressSanitizer sees an over-read.
 */
struct bytes {
    uint8_t *data;
    size_t len;
};
void bytes_free(struct bytes *b);

/** A vector, its fields as text, and why it failed. */
struct vector {
    const json_t *json;
    const char *id;
    const char *op;
    enum hbs_scheme scheme;
    bool bare; /* an LMS tree alone, which we wrap into one level of HSS */
    char why[300];
};

/** Note why, and return FAILED. err may be NULL. */
enum outcome failed(struct vector *v, const char *what, const struct err *err);

/** A field as text, "" if it is not there. */
const char *text_of(const json_t *object, const char *name);
bool has(const struct vector *v, const char *name);
bool flagged(const struct vector *v, const char *flag);
/** Does the vector cost more than this? */
bool too_costly(const struct vector *v, enum cost max);

/** A hex field behind prefix_len bytes of prefix. */
bool bytes_read(struct bytes *b, const json_t *object, const char *name, const uint8_t *prefix,
                size_t prefix_len);
bool bytes_equal(const struct bytes *b, const uint8_t *data, size_t len);

/** Public key and signature; a bare LMS tree's in HSS form. */
bool public_read(struct bytes *b, const struct vector *v);
bool signature_read(struct bytes *b, const struct vector *v);

/** Is this the published signature, of which some sources give only the digest? */
bool signature_as_published(const struct vector *v, const uint8_t *sig, size_t sig_len);

/** The injected randomizer, or NULL where it is derived. */
const uint8_t *randomizer_read(uint8_t *c, const struct vector *v, uint8_t n);

enum rc verify_bytes(const struct vector *v, const struct bytes *pub, const struct bytes *message,
                     const struct bytes *sig, struct err *err);

/** Key generation and signing. _with_path: a sign vector whose trees would take too long:
 * everything but the paths is computed, and they must lead to the root. */
enum outcome lms_check_keygen(struct vector *v);
enum outcome lms_check_sign(struct vector *v);
enum outcome lms_check_sign_with_path(struct vector *v);
enum outcome xmss_check_keygen(struct vector *v);
enum outcome xmss_check_sign(struct vector *v);
enum outcome xmss_check_sign_with_path(struct vector *v);

#endif
