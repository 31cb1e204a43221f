/*
 * keyform: is what the service sent a public key in the form that was asked for?
 *
 * A key file is trusted for years, so nothing else is written or printed under that name: no page
 * of a proxy, no text for a terminal, no key in another form. Uses: base, hbs. Pure; any thread.
 */
#ifndef CLI_KEYFORM_H
#define CLI_KEYFORM_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/exit.h"

/** Is this form bytes rather than text? false for a name that is none of ours. */
bool keyform_binary(const char *format);

/**
 * Look at an answer. PEM and C header must be of printable ASCII and line feeds alone; the key in
 * any form must be one that we know, and nothing may stand around it. Of a C header the list of the
 * key's bytes is read, not the rest of the text.
 * @param[in] format  raw, xdr, spki-pem, spki-der, cose or c-header.
 * @param[in] data    len bytes. Nothing of it is quoted in the fault.
 * @retval CLI_INTERNAL  It is something else.
 * @retval CLI_USAGE     There is no such form.
 * Source: RFC 8554 §6.1, RFC 8391 §4.1.7, RFC 9802 §3, RFC 8778 §3.
 */
enum cli_exit keyform_check(const char *format, const void *data, size_t len,
                            struct cli_fault *fault) MUST_CHECK;

#endif
