/*
 * config_access: the section "identities" of the configuration, as strict as the rest of it.
 *
 * Documented in tidemark.conf(5) and docs/access.md. Uses: base, policy/access.h, Jansson.
 */
#ifndef DAEMON_CONFIG_ACCESS_H
#define DAEMON_CONFIG_ACCESS_H

#include <jansson.h>

#include "daemon/mistakes.h"
#include "policy/access.h"

/**
 * Read the table of identities.
 *
 * Mistakes are an unknown member, a wrong type, more than the table holds, an identity without
 * roles or without anything to recognise it by, the same thing to recognise two by.
 * @param[out]    access  Complete; empty if anything was wrong.
 * @param[in]     value   The section.
 * @param[in,out] bad     Told what is wrong.
 */
void config_access(struct access *access, const json_t *value, struct mistakes *bad);

#endif
