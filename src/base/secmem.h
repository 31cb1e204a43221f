/*
 * secmem: start of the crypto library, locked memory for secrets, random bytes.
 *
 * Uses: libgcrypt. base_init() runs once, before any thread and before any other function of base
 * that hashes. Secrets live in memory from secmem_alloc(): locked, never in a core dump, wiped when
 * freed.
 */
#ifndef BASE_SECMEM_H
#define BASE_SECMEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/**
 * Initialise libgcrypt with a pool of locked memory and switch core dumps of this process off.
 * Calling it again does nothing.
 * @retval RC_HALT_SYSTEM  libgcrypt is older than the one we were built for, or its pool of locked
 *                         memory cannot be had (RLIMIT_MEMLOCK).
 */
enum rc base_init(struct err *err) MUST_CHECK;

/**
 * Lock the pool in a process that was forked behind base_init(): a child inherits no lock of memory
 * (mlock(2)), and its pages could be swapped out. Before the first secret.
 * @retval RC_HALT_SYSTEM  They cannot be locked (RLIMIT_MEMLOCK).
 */
enum rc base_forked(struct err *err) MUST_CHECK;

/**
 * The same for a program into which no secret ever comes: no locked memory, which many containers
 * do not give, and no change to core dumps. secmem_alloc() is not for such a program.
 * @retval RC_HALT_SYSTEM  libgcrypt is older than the one we were built for.
 */
enum rc base_init_public(struct err *err) MUST_CHECK;

/**
 * Zeroed locked memory.
 * @return NULL if the pool is used up. Free with secmem_free().
 */
void *secmem_alloc(size_t len) MUST_CHECK;

/** Wipe and free; NULL is fine. */
void secmem_free(void *p);

/**
 * Zeroed locked memory for more than the pool holds, in pages of its own: never in a core dump. Any
 * thread. A child that is forked later does not inherit the lock.
 * @param[out] p    secmem_unmap() it. NULL on failure.
 * @param[in]  len  Bytes.
 * @retval RC_RETRY_SYSTEM  It cannot be had, or not be locked (RLIMIT_MEMLOCK).
 */
enum rc secmem_map(void **p, size_t len, struct err *err) MUST_CHECK;

/** Wipe and give back what secmem_map() gave, all of it; NULL is fine. */
void secmem_unmap(void *p, size_t len);

/** Random bytes for keys and nonces, from libgcrypt's generator. Blocks only before seeding. */
void random_bytes(void *out, size_t len);

/** Random bytes that nobody guesses or meets twice, but that guard nothing: numbers of requests.
 * Cheaper by far. */
void random_id(void *out, size_t len);

#endif
