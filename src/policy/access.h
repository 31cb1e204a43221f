/*
 * access: who may do what: identities, the roles that they have, and the rules of each.
 *
 * The table comes from "identities" in the configuration (daemon/config_access.c) and never changes
 * afterwards. Front and core each have it: the front finds out who is asking (http/identity.h) and
 * sends that identity's name with each request; the core looks the name up in its own table and
 * holds what uses an index to the rules there. A front that was taken over can so claim to be
 * another identity, but can claim no rule that nobody has.
 *
 * An empty table means that no identities are configured. Then nobody is told apart here, and the
 * front alone decides (identity.h).
 *
 * Uses: base, policy/plan.h. Pure functions, any thread.
 */
#ifndef POLICY_ACCESS_H
#define POLICY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "policy/plan.h"

#define ACCESS_IDENTITIES_MAX 128
#define ACCESS_SELECTORS_MAX 256 /* of all identities together; so are the rules */
#define ACCESS_RULES_MAX 256
#define ACCESS_TEXT_MAX 255
#define ACCESS_SLOTS_MAX 511
#define ACCESS_SHARE_ALL 100

/** Roles are bits, so that a route can name all that may use it. */
enum access_role {
    ROLE_SIGNER = 1U << 0,
    ROLE_AUDITOR = 1U << 1,
    ROLE_OPERATOR = 1U << 2,
    ROLE_APPROVER = 1U << 3,
    ROLE_METRICS = 1U << 4,
    ROLE_PUBLIC = 1U << 5 /* of routes only: anybody, known or not */
};
#define ROLES_ALL                                                                                  \
    ((unsigned)(ROLE_SIGNER | ROLE_AUDITOR | ROLE_OPERATOR | ROLE_APPROVER | ROLE_METRICS))

/** How a peer is recognised. */
enum access_kind {
    ACCESS_FINGERPRINT, /* SHA-256 of the DER certificate, 64 hexadecimal digits in text */
    ACCESS_SPIFFE,      /* the only URI of the certificate: spiffe scheme */
    ACCESS_URI,         /* one of the certificate's URIs */
    ACCESS_DNS,         /* one of its DNS names; in lower case, compared without case */
    ACCESS_EMAIL,       /* one of its e-mail addresses */
    ACCESS_UID,         /* of the process at the other end of the unix socket */
    ACCESS_GID,         /* one of that process's groups */
    ACCESS_LOOPBACK     /* whoever reaches the TCP socket without TLS: for development */
};

struct access_selector {
    uint32_t identity; /* place in the table */
    enum access_kind kind;
    uint32_t number;                /* ACCESS_UID, ACCESS_GID */
    char text[ACCESS_TEXT_MAX + 1]; /* certificates */
};

/** What an identity may do with one key. */
struct access_rule {
    uint32_t identity;
    char key[NAME_LEN_MAX + 1];             /* "": every key that has no rule of its own */
    char version_from[VERSION_LEN_MAX + 1]; /* inclusive, "": from the first */
    char version_to[VERSION_LEN_MAX + 1];   /* inclusive, "": up to the last */
    char slots[ACCESS_SLOTS_MAX + 1];       /* names with one blank between, "": all */
    uint32_t window_share; /* percent of a window's usable indices, 1 … ACCESS_SHARE_ALL */
};

struct access_identity {
    char name[NAME_LEN_MAX + 1]; /* stored as requester with what it signs; name_valid() */
    unsigned roles;              /* of enum access_role, without ROLE_PUBLIC */
    bool every_key;              /* it has no rules, and may use each key as any signer may */
};

/** The table. A plain value of about 300 KiB, so it is lent, not copied. */
struct access {
    struct access_identity identities[ACCESS_IDENTITIES_MAX];
    size_t identity_count;
    struct access_selector selectors[ACCESS_SELECTORS_MAX];
    size_t selector_count;
    struct access_rule rules[ACCESS_RULES_MAX];
    size_t rule_count;
};

/** "signer" for one bit; MUST be one of the enum. Static. */
const char *access_role_name(enum access_role role);

/** The role of a name, as identities may have it. @return false: no such role (or "public"). */
bool access_role_find(enum access_role *role, const char *name) MUST_CHECK;

/** The names of all roles in a set, with ", " between, for messages; cut at size. */
void access_roles_print(char *text, size_t size, unsigned roles);

/** Do two tables say the same, in the same order? */
bool access_equal(const struct access *a, const struct access *b) MUST_CHECK;

/** An identity by its name, or NULL. Borrowed from the table. */
const struct access_identity *access_find(const struct access *access, const char *name) MUST_CHECK;

/** The rule of an identity for a key: the one that names it, else the one for every other key.
 * @return NULL if it has none: then it may use every key (every_key), or not this one. */
const struct access_rule *access_rule_of(const struct access *access,
                                         const struct access_identity *identity,
                                         const char *key) MUST_CHECK;

/** May an identity ask anything about a key? */
bool access_key_allowed(const struct access *access, const struct access_identity *identity,
                        const char *key) MUST_CHECK;

/** May an identity sign for a slot, "" for the only one, as far as can be said without the plan? */
bool access_slot_allowed(const struct access *access, const struct access_identity *identity,
                         const char *key, const char *slot) MUST_CHECK;

/**
 * The core's question: has the one who asks this role?
 *
 * @param[in] name  As the front gave it. Not looked at where no identities are configured.
 * @retval RC_REFUSED_ACCESS  There is no such identity, or it has not the role. Nothing changed.
 */
enum rc access_check_role(const struct access *access, const char *name, enum access_role role,
                          struct err *err) MUST_CHECK;

/**
 * The core's question before something is done to a key that the front cannot tell: has the one who
 * asks this role, and may it use that key? The text does not name the key.
 *
 * @param[in] name  As access_check_role().
 * @param[in] key   Name of the key.
 * @retval RC_REFUSED_ACCESS  No, as access_check_role(), or its rules leave the key out. Nothing
 *                            changed.
 */
enum rc access_check_key(const struct access *access, const char *name, enum access_role role,
                         const char *key, struct err *err) MUST_CHECK;

/**
 * The core's question before an index is used: may this identity have this artifact signed?
 *
 * A range of versions is compared number by number: "4" as the lower end means 4.0.0, as the upper
 * end the last version of 4. In plans that list their versions the ends are entries, and their
 * order is that of the list.
 *
 * @param[in] access   Nothing is refused where it is empty.
 * @param[in] name     As the front gave it.
 * @param[in] plan     Of the key that is asked for.
 * @param[in] version  In the plan's spelling; "" where the plan is of another kind.
 * @param[in] slot     In the plan's spelling; "" where the plan names none.
 * @retval RC_REFUSED_ACCESS  Not a signer, or outside its rule: key, slot or version. The text says
 *                            which. Also a rule with versions or slots for a key that has none.
 *                            Nothing changed.
 */
enum rc access_check_sign(const struct access *access, const char *name, const struct plan *plan,
                          const char *version, const char *slot, struct err *err) MUST_CHECK;

/** Percent of a window's usable indices that an identity may have; ACCESS_SHARE_ALL without limit,
 * and where no identities are configured. */
uint32_t access_window_share(const struct access *access, const char *name, const char *key);

#endif
