#include "daemon/mistakes.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool told(const struct mistakes *m, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < m->count && i < MISTAKES_MAX; i++)
        if (strncmp(m->paths[i], path, len) == 0 &&
            (m->paths[i][len] == '\0' || m->paths[i][len] == '.'))
            return true;
    return false;
}

/* One line, whatever stood in the file. */
static void tell(const struct mistakes *m, char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    if (m->tell != NULL)
        m->tell(text);
}

void mistake(struct mistakes *m, const char *path, const char *what, const char *right)
{
    char text[MISTAKE_TEXT_SIZE];
    if (told(m, path))
        return;
    (void)snprintf(text, sizeof(text), "%s: %s: %s; right would be %s", m->file, path, what, right);
    if (m->count < MISTAKES_MAX) {
        text_copy(m->paths[m->count], sizeof(m->paths[m->count]), path);
        tell(m, text);
    }
    if (m->count++ == 0)
        (void)FAIL(&m->first, RC_REFUSED_CONFIG, "", 0, "%s", text);
}

void mistake_unreadable(struct mistakes *m, const struct err *why)
{
    char text[MISTAKE_TEXT_SIZE];
    text_copy(text, sizeof(text), err_text(why));
    tell(m, text);
    m->first = *why;
    m->count++;
}

enum rc mistakes_end(const struct mistakes *m, struct err *err)
{
    char text[MISTAKE_TEXT_SIZE];
    if (m->count == 0)
        return RC_OK;
    (void)snprintf(text, sizeof(text), "%s: %zu mistakes in all", m->file, m->count);
    if (m->count > MISTAKES_MAX)
        tell(m, text);
    return err_fail(err, m->first.rc, m->first.origin, m->first.native, m->first.where, "%s",
                    m->first.text);
}
