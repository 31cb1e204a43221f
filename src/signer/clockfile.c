#include "signer/clockfile.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/lease.h" /* SHA256_LEN */

/* Layout, big endian: magic, nine numbers, flags, SHA-256 over all before it. */
#define MAGIC "TMCLOCK1"
#define MAGIC_LEN 8
#define NUMBERS 9
#define AT_FLAGS (MAGIC_LEN + 8 * NUMBERS)
#define AT_CHECKSUM (AT_FLAGS + 1)
#define FILE_LEN (AT_CHECKSUM + SHA256_LEN)

#define FLAG_TPM_READ 1U
#define FLAG_TPM_SAFE 2U
#define FLAG_DISRUPTED 4U
#define FLAGS_ALL (FLAG_TPM_READ | FLAG_TPM_SAFE | FLAG_DISRUPTED)

static void encode(const struct clk_memory *m, uint8_t out[FILE_LEN])
{
    const uint64_t numbers[NUMBERS] = {(uint64_t)m->floor_ns,
                                       (uint64_t)m->seen_ns,
                                       m->seen.clock_ms,
                                       m->seen.resets,
                                       m->seen.restarts,
                                       m->quarantine.id,
                                       (uint64_t)m->quarantine.from_ns,
                                       (uint64_t)m->quarantine.to_ns,
                                       (uint64_t)m->closed_before_ns};
    memcpy(out, MAGIC, MAGIC_LEN);
    for (size_t i = 0; i < NUMBERS; i++)
        be_put64(out + MAGIC_LEN + 8 * i, numbers[i]);
    out[AT_FLAGS] =
        (uint8_t)((m->seen.read ? FLAG_TPM_READ : 0) | (m->seen.safe ? FLAG_TPM_SAFE : 0) |
                  (m->disrupted ? FLAG_DISRUPTED : 0));
    sha256_2(out + AT_CHECKSUM, out, AT_CHECKSUM, "", 0);
}

static bool decode(struct clk_memory *m, const uint8_t in[FILE_LEN])
{
    uint8_t checksum[SHA256_LEN];
    uint64_t n[NUMBERS];
    sha256_2(checksum, in, AT_CHECKSUM, "", 0);
    if (!ct_equal(in, MAGIC, MAGIC_LEN) ||
        !ct_equal(checksum, in + AT_CHECKSUM, sizeof(checksum)) || in[AT_FLAGS] > FLAGS_ALL)
        return false;
    for (size_t i = 0; i < NUMBERS; i++)
        n[i] = be_get64(in + MAGIC_LEN + 8 * i);
    if (n[3] > UINT32_MAX || n[4] > UINT32_MAX)
        return false;
    *m = (struct clk_memory){
        .floor_ns = (int64_t)n[0],
        .seen_ns = (int64_t)n[1],
        .seen = {.read = (in[AT_FLAGS] & FLAG_TPM_READ) != 0,
                 .safe = (in[AT_FLAGS] & FLAG_TPM_SAFE) != 0,
                 .clock_ms = n[2],
                 .resets = (uint32_t)n[3],
                 .restarts = (uint32_t)n[4]},
        .quarantine = {.id = n[5], .from_ns = (int64_t)n[6], .to_ns = (int64_t)n[7]},
        .disrupted = (in[AT_FLAGS] & FLAG_DISRUPTED) != 0,
        .closed_before_ns = (int64_t)n[8]};
    return true;
}

enum rc clockfile_read(int dirfd, struct clk_memory *memory, struct err *err)
{
    char *data = NULL;
    size_t len = 0;
    *memory = (struct clk_memory){0};
    enum rc rc = file_read(dirfd, CLOCKFILE_NAME, FILE_LEN, &data, &len, err);
    if (rc != RC_OK)
        return rc;
    if (len != FILE_LEN || !decode(memory, (const uint8_t *)data))
        rc = FAIL(err, RC_REFUSED_INPUT, "", 0, "the file '%s' is torn", CLOCKFILE_NAME);
    free(data);
    return rc;
}

enum rc clockfile_write(int dirfd, const struct clk_memory *memory, struct err *err)
{
    uint8_t data[FILE_LEN];
    encode(memory, data);
    return file_replace(dirfd, CLOCKFILE_NAME, 0600, data, sizeof(data), err);
}
