/*
 * budget: so many bytes for all requests together, whatever clients do.
 *
 * Each connection is bounded by itself (header buffer, body, answer); the budget bounds the sum of
 * what could be large: bodies and answers in memory, and bodies in the spool folder, which may lie
 * on the disk of the ledger.
 *
 * Uses: base. Any thread (atomic).
 */
#ifndef HTTP_BUDGET_H
#define HTTP_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

struct budget {
    atomic_uint_fast64_t used;
    uint64_t max; /* 0: no limit, but counted all the same */
};

/** Take bytes. @return false if there are not as many left; nothing changed. */
bool budget_take(struct budget *budget, uint64_t bytes) MUST_CHECK;

/** Give bytes back that budget_take() gave (MUST). */
void budget_give(struct budget *budget, uint64_t bytes);

/**
 * May bodies of so many bytes in all still be written to the file system of a folder, and leave
 * room for others?
 * @param[in] dirfd      Folder. Borrowed.
 * @param[in] bytes      That were promised and are not written yet.
 * @param[in] keep_free  Bytes to be left free; 0: not looked at.
 */
bool budget_fits_disk(int dirfd, uint64_t bytes, uint64_t keep_free) MUST_CHECK;

#endif
