/*
 * orphans: NV indexes in the TPM that look like W, L or A of a key, and that no key here has.
 *
 * A state directory that was lost leaves them, and so does a key in the making whose folder was
 * removed by hand. They take room that other keys need. Whether they are nobody's only people know:
 * another state directory may have keys in the same TPM. So they are named and never removed.
 *
 * Uses: tpm, ledger, signer/draft.h. One thread; the caller holds the core lock.
 */
#ifndef DAEMON_ORPHANS_H
#define DAEMON_ORPHANS_H

#include "tpm/anchor.h"

/**
 * Find them: neither a key of the ledger nor one in the making has their handles. Opens the ledger
 * as a start does, and changes nothing else.
 * @param[in]  state_dir, dirfd  State directory; -1: there is none, so no key has any.
 * @param[out] list              In ascending order of handles; count of them.
 * @retval RC_HALT_STATE_DIR     The folder of the keys cannot be read, or has a finished key that
 * the ledger does not know.
 * @retval RC_…                  From anchor_list(), ledger_open() or draft_pins(): it cannot be
 * told. count is 0.
 */
enum rc orphans_find(struct tpm *tpm, const char *state_dir, int dirfd,
                     struct anchor_index list[ANCHOR_LIST_MAX], size_t *count,
                     struct err *err) MUST_CHECK;

#endif
