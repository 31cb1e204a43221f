/*
 * record: the 96 bytes of A, the anchor record (DESIGN section 6). Pure encoding; any thread.
 *
 * Uses: base (base_init() first, for the checksum).
 *
 * Layout, big endian: u32 format (2), u64 W, i64 window, u64 L, u64 L_base, i64 wall seconds,
 * i64 early_window, head[32], u32 writes, then the first 8 bytes of SHA-256 over all before it.
 * Format 1, of keys that were made before writes were counted, had no such field and 12 bytes of
 * the hash in its place; it is read, and the next write turns it into format 2. The index itself
 * cannot grow: its size is part of the Name that is pinned.
 */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lease.h"
#include "base/rc.h"

#define ANCHOR_RECORD_LEN 96
#define ANCHOR_NO_WINDOW INT64_C(-1)

struct anchor_record {
    uint64_t w;           /* value of counter W when it was written */
    int64_t window;       /* W - W_base: highest window ever opened; below 0: none yet */
    uint64_t l;           /* the epoch that this record anchors: L, or L + 1 before the increment */
    uint64_t l_base;      /* L when the window was opened */
    int64_t wall_s;       /* latest wall time under which it was written */
    int64_t early_window; /* window that may be used before its start, or ANCHOR_NO_WINDOW */
    uint8_t head[SHA256_LEN]; /* hash of the newest entry of this key's ledger chain */
    /* How often A was written, this time included, so that the chip's wear is known without a write
     * more; stays at UINT32_MAX. 0: not counted (format 1). */
    uint32_t writes;
};

/** Write a record of format 2 and its checksum. */
void anchor_record_encode(const struct anchor_record *a, uint8_t out[ANCHOR_RECORD_LEN]);

/** Read a record of either format. @retval false  Torn or never written (format or checksum is
 * wrong); *a is zero.
 */
bool anchor_record_decode(struct anchor_record *a, const uint8_t in[ANCHOR_RECORD_LEN]) MUST_CHECK;

#endif
