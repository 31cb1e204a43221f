/*
 * remote: the hash of a message that is made away from the key, and what it is called there.
 *
 * Whoever is told what comes before a message (hbs_message_prefix()) hashes that and the message
 * with the hash of this name; the value is the front of its output.
 *
 * Uses: base, hash. No secrets. Any thread.
 */
#ifndef HBS_REMOTE_H
#define HBS_REMOTE_H

#include "base/rc.h"
#include "hbs/params.h"

#define HBS_REMOTE_MAX 32 /* bytes of a value */

/** "sha256/192", "shake256/256": the algorithm, and how many bits of its output are the value.
 * Only what SP 800-208 has: SHA-256 and SHAKE256, n 24 or 32 (MUST). Static. */
const char *hbs_remote_name(enum hbs_hash_kind hash, size_t n);

struct hbs_remote {
    void *handle; /* NULL when closed */
    enum hbs_hash_kind hash;
    size_t n; /* bytes of the value */
};

/**
 * @param[in] name  As hbs_remote_name() gives it.
 * @retval RC_REFUSED_UNSUPPORTED  No such hash.
 * @retval RC_RETRY_SYSTEM         No memory.
 */
enum rc hbs_remote_open(struct hbs_remote *r, const char *name, struct err *err) MUST_CHECK;
void hbs_remote_update(struct hbs_remote *r, const void *data, size_t len);
/** value: r->n bytes, HBS_REMOTE_MAX of room. */
void hbs_remote_final(struct hbs_remote *r, uint8_t *value);
/** Fine on a closed one. For CLEANUP(). */
void hbs_remote_close(struct hbs_remote *r);

#endif
