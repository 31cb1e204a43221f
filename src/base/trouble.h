/*
 * trouble: the closed list of what can be wrong with a TPM, each with a word that never changes.
 *
 * The word stands in /health/state, in tidemark status and doctor, in problem documents and in the
 * log, and is the heading of a section in docs/operations.md that says what is safe and what to do.
 *
 * Uses: base. Plain values; any thread.
 */
#ifndef BASE_TROUBLE_H
#define BASE_TROUBLE_H

#include "base/rc.h"

/* X(identifier, word, one line for people) */
#define TPM_TROUBLE_LIST(X)                                                                        \
    X(TPM_TROUBLE_NONE, "ok", "nothing is wrong with the TPM")                                     \
    X(TPM_TROUBLE_GONE, "tpm-gone", "the TPM does not answer, or answers nonsense")                \
    X(TPM_TROUBLE_STUCK, "tpm-stuck", "a command to the TPM does not end")                         \
    X(TPM_TROUBLE_SLOW, "tpm-slow", "the TPM takes long for its commands")                         \
    X(TPM_TROUBLE_BUSY, "tpm-busy", "the TPM asks for commands to be sent again later")            \
    X(TPM_TROUBLE_LOCKOUT, "tpm-lockout", "the TPM is in lock-out after wrong authorisations")     \
    X(TPM_TROUBLE_FAILED, "tpm-failed", "the TPM is in failure mode")                              \
    X(TPM_TROUBLE_RESET, "tpm-reset", "the TPM was reset, or somebody else took our session")      \
    X(TPM_TROUBLE_REFUSED, "tpm-refused", "the TPM refuses a command that it should take")         \
    X(TPM_TROUBLE_CLEARED, "tpm-cleared", "this TPM was cleared: what the keys need is gone")      \
    X(TPM_TROUBLE_REPLACED, "tpm-replaced", "this is another TPM than the keys were made on")      \
    X(TPM_TROUBLE_INDEX, "tpm-index-gone", "an NV index of a key was removed or replaced")         \
    X(TPM_TROUBLE_FIRMWARE, "tpm-firmware-changed", "the firmware of the TPM is another one")

enum tpm_trouble {
#define X(id, word, text) id,
    TPM_TROUBLE_LIST(X)
#undef X
        TPM_TROUBLE_COUNT
};

#define TPM_TROUBLE_WORD_MAX 24 /* with NUL */

/** The word; "ok" for TPM_TROUBLE_NONE. MUST: below TPM_TROUBLE_COUNT. Static. */
const char *tpm_trouble_word(enum tpm_trouble trouble);

/** One line for people. MUST: below TPM_TROUBLE_COUNT. Static. */
const char *tpm_trouble_text(enum tpm_trouble trouble);

#endif
