#include "daemon/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "daemon/config.h"
#include "daemon/host.h"
#include "ledger/ledger.h"
#include "signer/draft.h"
#include "signer/key.h"

struct search {
    struct anchor_index *list;
    size_t count;
    struct ledger *ledger; /* NULL: there is none */
};

/* A key has these: they are nobody's no more. */
static void claim(struct search *s, const struct anchor_pins *pins)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t handle = s->list[i].handle;
        if (handle != pins->w_handle && handle != pins->l_handle && handle != pins->a_handle)
            s->list[kept++] = s->list[i];
    }
    s->count = kept;
}

static enum rc claim_keys(struct search *s, const char *state_dir, struct err *err)
{
    char path[CONFIG_PATH_MAX + sizeof(LEDGER_FILE) + 1];
    struct err why = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", state_dir, LEDGER_FILE);
    enum rc rc = ledger_open(&s->ledger, &(struct ledger_options){.path = path}, &why);
    if (rc == RC_REFUSED_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    for (uint32_t id = 1; rc == RC_OK && id <= ledger_key_count(s->ledger); id++) {
        struct ledger_key key;
        rc = ledger_key_by_id(s->ledger, id, &key, err);
        if (rc == RC_OK)
            claim(s, &key.pins);
    }
    return rc;
}

/* The counters of a key whose ledger was lost are the last that knows what it has signed. */
static enum rc must_be_known(const struct search *s, const char *folder, struct err *err)
{
    struct ledger_key key;
    struct err none = {0};
    if (folder[0] == '.' ||
        (s->ledger != NULL && ledger_key_by_name(s->ledger, folder, &key, &none) == RC_OK))
        return RC_OK;
    return FAIL(err, RC_HALT_STATE_DIR, "", 0,
                "there is a folder of the key '%.64s', which the ledger does not know: the ledger "
                "was lost or replaced",
                folder);
}

static enum rc claim_draft(struct search *s, int keys_dirfd, const char *folder, struct err *err)
{
    struct anchor_pins pins;
    struct err why = {0};
    enum rc rc = draft_pins(keys_dirfd, folder, &pins, &why);
    if (rc == RC_REFUSED_NOT_FOUND)
        return must_be_known(s, folder, err);
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    claim(s, &pins);
    return RC_OK;
}

static enum rc claim_drafts(struct search *s, int dirfd, struct err *err)
{
    int fd = openat(dirfd, KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return RC_OK;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int e = errno;
        fd_close(&fd);
        return FAIL(err, RC_HALT_STATE_DIR, "errno", e, "open %s: %s", KEYS_DIR, strerror(e));
    }
    enum rc rc = RC_OK;
    for (struct dirent *e = readdir(dir); e != NULL && rc == RC_OK; e = readdir(dir))
        if (e->d_name[0] != '.' || strncmp(e->d_name, ".new-", 5) == 0)
            rc = claim_draft(s, fd, e->d_name, err);
    (void)closedir(dir);
    return rc;
}

enum rc orphans_find(struct tpm *tpm, const char *state_dir, int dirfd,
                     struct anchor_index list[ANCHOR_LIST_MAX], size_t *count, struct err *err)
{
    struct search s = {.list = list};
    *count = 0;
    enum rc rc = anchor_list(tpm, list, &s.count, err);
    if (rc == RC_OK && dirfd >= 0)
        rc = claim_keys(&s, state_dir, err);
    if (rc == RC_OK && dirfd >= 0)
        rc = claim_drafts(&s, dirfd, err);
    ledger_close(&s.ledger);
    if (rc == RC_OK)
        *count = s.count;
    return rc;
}
