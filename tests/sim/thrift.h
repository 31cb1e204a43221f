/*
 * thrift: SQLite at less cost for a program that opens a ledger a thousand times a second.
 *
 * Two thirds of a run would be the compilation of statements at each opening of the ledger, most of
 * which are never used before the next crash. Here they are compiled when they are first used: the
 * ledger's calls are wrapped, SQLite itself is the real one. Memory comes from lists of free pieces
 * instead of the general allocator, and without mutexes (not under AddressSanitizer, which is to
 * see every piece).
 *
 * Uses: SQLite. One thread.
 */
#ifndef SIM_THRIFT_H
#define SIM_THRIFT_H

/** Before the first use of SQLite. */
void thrift_begin(void);

#endif
