/*
 * assignment: the member "assignment" of a plan, the map from version or time to windows.
 *
 * Internal to policy. Uses: base, document, version. Pure functions, any thread.
 */
#ifndef POLICY_ASSIGNMENT_H
#define POLICY_ASSIGNMENT_H

#include <jansson.h>

#include "base/rc.h"
#include "policy/document.h"
#include "policy/plan.h"

/* The objects of a plan document that have members of their own. */
#define MEMBER_OF_PLAN 0x01U
#define MEMBER_OF_TIME 0x02U
#define MEMBER_OF_INTERVAL 0x04U
#define MEMBER_OF_INTEGER 0x08U
#define MEMBER_OF_NUMBERS 0x10U /* major.minor and major.minor.patch */
#define MEMBER_OF_CALENDAR 0x20U
#define MEMBER_OF_TABLE 0x40U
#define MEMBER_OF_REMOTE 0x80U
#define MEMBER_OF_VERSION                                                                          \
    (MEMBER_OF_INTEGER | MEMBER_OF_NUMBERS | MEMBER_OF_CALENDAR | MEMBER_OF_TABLE)

/** Every member that a plan may have, and where: what the JSON Schema is compared with. */
struct plan_member {
    const char *name; /* NULL behind the last */
    unsigned where;   /* MEMBER_OF_… */
};
extern const struct plan_member plan_members[];

/** Refuse members that the object must not have. @param[in] where  One MEMBER_OF_…. */
enum rc members_check(const struct doc *doc, const json_t *object, const char *at,
                      unsigned where) MUST_CHECK;

/**
 * Read $.assignment into a plan whose height is known.
 * @retval RC_REFUSED_PLAN, RC_RETRY_SYSTEM  As plan_parse(); plan is half filled, plan_free() it.
 */
enum rc assignment_parse(const struct doc *doc, const json_t *json, struct plan *plan) MUST_CHECK;

#endif
