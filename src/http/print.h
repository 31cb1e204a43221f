/*
 * print: the JSON objects of answers, from the plain structs that the core sends
 * (docs/openapi.json).
 *
 * Uses: base, signer/request.h, plans. Pure functions, any thread. Each writes one JSON value;
 * texts that come from the core end inside their fields (view_terminate()).
 */
#ifndef HTTP_PRINT_H
#define HTTP_PRINT_H

#include "base/jcs.h"
#include "http/plans.h"
#include "signer/request.h"

/** End every text inside its field and make truth values true or false, whatever the core believes.
 */
void reply_terminate(struct reply *reply);
/** @retval false  It has more keys than room for them, or a number that nobody can print. */
bool clock_terminate(struct view_clock *view) MUST_CHECK;
void meters_terminate(struct view_meters *view);
void key_terminate(struct view_key *view);
void window_terminate(struct view_window *view);
void version_terminate(struct view_version *view);
void index_terminate(struct view_index *view);
void forecast_terminate(struct view_forecast *view);
void warning_terminate(struct view_warning *view);

/** A text member; bytes outside printable ASCII become '?', since JSON must be UTF-8 and nobody
 * knows what a TPM vendor or a client wrote. Cut at 511 characters. */
void print_clean(struct jcs *j, const char *key, const char *text);

/** CLOCK: the view's texts end (taken by clock.c). */
void print_clock(struct jcs *j, const struct view_clock *view);

/** KEY. tpm: description and virtual, from the reply that the view came with. */
void print_key(struct jcs *j, const struct view_key *view, const struct plan_facts *facts,
               const struct reply *reply);

void print_window(struct jcs *j, const struct view_window *view);

/** key: whose it is, for the path of the signature. */
void print_version(struct jcs *j, const struct view_version *view, const char *key);
void print_index(struct jcs *j, const struct view_index *view, const char *key);

/** The answer to a signing request (API section 2), with the signature in base64. */
void print_signature(struct jcs *j, const struct reply *reply, const struct plan_facts *facts,
                     const char *base64);

/** The answer to a preview: where it would sign, or what is stored, and the limits. */
/** A reservation. @param[in] base64  What is hashed before the artifact. */
void print_reservation(struct jcs *j, const struct reply *reply, const char *base64);
void print_preview(struct jcs *j, const struct reply *reply, const struct plan_facts *facts);

/** GET …/forecast, and one element of GET /v1/warnings. */
void print_forecast(struct jcs *j, const struct view_forecast *view);
void print_warning(struct jcs *j, const struct view_warning *view);

/** GET /health/state. */
void print_state(struct jcs *j, const struct reply *reply);

/** The member "warnings", which every answer about signatures and keys has.
 * @param[in] wear_percent  Of the TPM's NV indices; 0 where the answer is not about them. */
void print_warnings(struct jcs *j, bool tpm_virtual, uint32_t wear_percent);

/** 16 bytes of an id as 32 hex characters and NUL. */
#define ID_TEXT_SIZE 33

/** "/v1/keys/KEY/signatures/ID". */
#define SIGNATURE_PATH_SIZE (sizeof("/v1/keys//signatures/") + NAME_LEN_MAX + ID_TEXT_SIZE)
void signature_path(char out[SIGNATURE_PATH_SIZE], const char *key, const uint8_t id[16]);

#endif
