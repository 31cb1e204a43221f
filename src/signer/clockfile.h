/*
 * clockfile: what the clock remembers from one process to the next, in a small file.
 *
 * The file is advice, not authority: whoever can write it can also write the ledger. It is believed
 * only in what makes the clock more careful. What it cannot hide (docs/clock.md): the TPM's anchor
 * keeps the floor, the ledger keeps jumps that nobody has acknowledged.
 *
 * Uses: base, clock/machine.h. Threads: signer thread; blocks for a sync.
 */
#ifndef SIGNER_CLOCKFILE_H
#define SIGNER_CLOCKFILE_H

#include "clock/machine.h"

#define CLOCKFILE_NAME "clock"

/**
 * @param[in]  dirfd   State directory.
 * @param[out] memory  All zero unless RC_OK.
 * @retval RC_REFUSED_NOT_FOUND  There is none: the first start, or somebody removed it.
 * @retval RC_REFUSED_INPUT      Torn, or not one of ours.
 * @retval RC_REFUSED_TOO_LARGE  Not one of ours.
 * @retval RC_HALT_SYSTEM        It cannot be read.
 */
enum rc clockfile_read(int dirfd, struct clk_memory *memory, struct err *err) MUST_CHECK;

/** Put it in place of the old one, synced. @retval RC_HALT_SYSTEM  The old one or the new one is
 * there. */
enum rc clockfile_write(int dirfd, const struct clk_memory *memory, struct err *err) MUST_CHECK;

#endif
