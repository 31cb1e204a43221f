#include "cli/remote.h"

#include <string.h>

#include "base/digest.h"
#include "hbs/remote.h"

#define PREFIX_MAX 256
_Static_assert(REMOTE_HASH_MAX == HBS_REMOTE_MAX, "one bound");

static enum cli_exit odd(const char *what, struct cli_fault *fault)
{
    return FAULT(fault, CLI_INTERNAL,
                 "compare tidemark --version with the service's; without --remote the file is "
                 "uploaded",
                 "the service's reservation has %s", what);
}

struct hashes {
    struct hbs_remote *remote;
    struct digest *sha256;
};

static void hash_sink(void *ctx, const void *data, size_t len)
{
    const struct hashes *both = ctx;
    hbs_remote_update(both->remote, data, len);
    digest_update(both->sha256, data, len);
}

enum cli_exit remote_hash(const json_t *reservation, const uint8_t sha256[SHA256_LEN],
                          const struct input *input, const struct out *out,
                          char hex[HEX_SIZE(REMOTE_HASH_MAX)], struct cli_fault *fault)
{
    const char *name = json_string_value(json_object_get(reservation, "hash"));
    const char *text = json_string_value(json_object_get(reservation, "prefix"));
    uint8_t prefix[PREFIX_MAX], value[REMOTE_HASH_MAX];
    size_t prefix_len = 0;
    uint8_t found[SHA256_LEN];
    struct err err = {0};
    struct hbs_remote hash CLEANUP(hbs_remote_close) = {0};
    hex[0] = '\0';
    if (text == NULL || !base64_decode(prefix, sizeof(prefix), &prefix_len, text, strlen(text)) ||
        prefix_len == 0)
        return odd("no usable \"prefix\"", fault);
    enum rc rc = hbs_remote_open(&hash, name != NULL ? name : "", &err);
    if (rc == RC_REFUSED_UNSUPPORTED)
        return odd("no \"hash\" that this tidemark knows", fault);
    if (rc != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "free some memory and repeat");
    hbs_remote_update(&hash, prefix, prefix_len);
    struct digest digest CLEANUP(digest_close) = {0};
    if (digest_open(&digest, DIGEST_SHA256, &err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "free some memory and repeat");
    struct hashes both = {.remote = &hash, .sha256 = &digest};
    enum cli_exit code = input_pump(input, out, "hashing", hash_sink, &both, NULL, fault);
    if (code != CLI_OK)
        return code;
    digest_final(&digest, found);
    if (!ct_equal(found, sha256, SHA256_LEN))
        return FAULT(fault, CLI_USAGE,
                     "repeat with the file that was meant, before the reservation expires",
                     "%.300s is not what was reserved for: it changed, or --sha256 is of another "
                     "file; nothing was signed",
                     input->path);
    hbs_remote_final(&hash, value);
    hex_encode(hex, value, hash.n);
    return CLI_OK;
}
