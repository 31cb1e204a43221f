#include "base/burn.h"

#include <stdio.h>
#include <string.h>

static const char *const words[] = {
#define X(id, word) word,
    BURN_LIST(X)
#undef X
};

const char *burn_word(unsigned reason)
{
    return words[reason < BURN_COUNT ? reason : BURN_OTHER];
}

enum burn_reason burn_reason_of(const char *text)
{
    for (unsigned i = 0; i < BURN_COUNT; i++) {
        size_t len = strlen(words[i]);
        if (strncmp(text, words[i], len) == 0 && text[len] == ':')
            return (enum burn_reason)i;
    }
    return BURN_OTHER;
}

void burn_text(char *text, size_t size, enum burn_reason reason, const char *sentence)
{
    (void)snprintf(text, size, "%s: %s", burn_word(reason), sentence);
}
