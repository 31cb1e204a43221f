#include "hbs/remote.h"

#include <gcrypt.h>
#include <string.h>

#include "hbs/hash.h"

static const struct {
    const char *name;
    enum hbs_hash_kind hash;
    size_t n;
} names[] = {{"sha256/192", HBS_SHA256, 24},
             {"sha256/256", HBS_SHA256, 32},
             {"shake256/192", HBS_SHAKE256, 24},
             {"shake256/256", HBS_SHAKE256, 32}};
#define NAMES (sizeof(names) / sizeof(names[0]))

const char *hbs_remote_name(enum hbs_hash_kind hash, size_t n)
{
    size_t i = 0;
    while (i < NAMES && (names[i].hash != hash || names[i].n != n))
        i++;
    MUST(i < NAMES);
    return names[i].name;
}

enum rc hbs_remote_open(struct hbs_remote *r, const char *name, struct err *err)
{
    *r = (struct hbs_remote){0};
    for (size_t i = 0; i < NAMES; i++) {
        if (strcmp(names[i].name, name) != 0)
            continue;
        r->hash = names[i].hash;
        r->n = names[i].n;
        return hbs_hash_open(&r->handle, r->hash, err);
    }
    return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0, "the hash '%.20s' is not known", name);
}

void hbs_remote_update(struct hbs_remote *r, const void *data, size_t len)
{
    gcry_md_write((gcry_md_hd_t)r->handle, data, len);
}

void hbs_remote_final(struct hbs_remote *r, uint8_t *value)
{
    gcry_md_hd_t handle = r->handle;
    if (r->hash == HBS_SHA256)
        memcpy(value, gcry_md_read(handle, GCRY_MD_SHA256), r->n);
    else
        MUST(gcry_md_extract(handle, GCRY_MD_SHAKE256, value, r->n) == 0);
}

void hbs_remote_close(struct hbs_remote *r)
{
    gcry_md_close(r->handle);
    *r = (struct hbs_remote){0};
}
