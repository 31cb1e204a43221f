/*
 * config_access: the section "identities" of the configuration, as strict as the rest of it.
 *
 * Documented in tidemark.conf(5) and docs/access.md. Uses: base, policy/access.h, Jansson.
 */
#ifndef DAEMON_CONFIG_ACCESS_H
#define DAEMON_CONFIG_ACCESS_H

#include <jansson.h>

#include "base/rc.h"
#include "policy/access.h"

/**
 * Read the table of identities.
 * @param[out] access  Complete on RC_OK; empty otherwise.
 * @param[in]  value   The section.
 * @param[in]  file    For messages.
 * @retval RC_REFUSED_CONFIG  Unknown member, wrong type, more than the table holds, an identity
 *                            without roles or without anything to recognise it by, the same thing
 *                            to recognise two by. The text names the path and what is right.
 */
enum rc config_access(struct access *access, const json_t *value, const char *file,
                      struct err *err) MUST_CHECK;

#endif
