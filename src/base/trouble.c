#include "base/trouble.h"

static const struct {
    const char *word, *text;
} troubles[TPM_TROUBLE_COUNT] = {
#define X(id, word, text) [id] = {word, text},
    TPM_TROUBLE_LIST(X)
#undef X
};

#define X(id, word, text)                                                                          \
    _Static_assert(sizeof(word) <= TPM_TROUBLE_WORD_MAX, "a word fits where it is sent");
TPM_TROUBLE_LIST(X)
#undef X

const char *tpm_trouble_word(enum tpm_trouble trouble)
{
    MUST((unsigned)trouble < TPM_TROUBLE_COUNT);
    return troubles[trouble].word;
}

const char *tpm_trouble_text(enum tpm_trouble trouble)
{
    MUST((unsigned)trouble < TPM_TROUBLE_COUNT);
    return troubles[trouble].text;
}
