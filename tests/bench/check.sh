#!/bin/sh
# The benchmark in `make check`: that it runs, that its JSON has the rows and fields that docs/bench.md
# promises, and that a peer is built, timed and refused as it says. No figure is judged here.
set -eu
bench=./tests/bench/bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "check.sh: $*" >&2
    exit 1
}

"$bench" --quick --json >"$work/rows"
python3 - "$work/rows" <<'PY'
import json, sys

rows = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    assert row["row"] not in rows, row
    rows[row["row"]] = row
sets = {name.rsplit(".", 1)[0] for name in rows if not name.startswith("kernel-")}
assert {"lms-sha256-m32-h5-w4", "lms-shake-m24-h5-w2", "xmss-sha2_10_256"} <= sets, sets
for name in sets:
    operations = ["keygen", "sign", "verify", "release"]
    if name.startswith("lms-"):
        operations += ["sign-16", "verify-16", "release-16"]
    for operation in operations:
        row = rows[name + "." + operation]
        for field in ("per_second", "needs", "ratio_to_limit", "ratio_to_libgcrypt"):
            assert row[field] > 0, row
    assert rows[name + ".keygen-2"]["ratio_to_one_core"] > 0
    assert rows[name + ".sign-spikes"]["slowest_to_median"] >= 1
    assert rows[name + ".memory"]["peak_kib"] > 0
assert rows["kernel-sha256.libgcrypt"]["per_second"] > 0
assert rows["kernel-shake256.libgcrypt"]["per_second"] > 0
for name in sets:
    for one in ("", "-16"):
        parts = [rows.get(name + "." + part + one) for part in ("sign", "verify", "release")]
        if None not in parts: # each is rounded
            assert abs(parts[0]["needs"] + parts[1]["needs"] - parts[2]["needs"]) <= 1, parts

# Counted by hand from RFC 8554 and RFC 8391.
assert rows["lms-sha256-m32-h5-w4.keygen"]["needs"] == 32 * (67 * 16 + 34 + 1) + 31 * 2
assert rows["xmss-sha2_10_256.keygen"]["needs"] == 4665338
PY
"$bench" --quick >"$work/table"
grep -q '^lms-sha256-m32-h5-w4.verify-16 .* %' "$work/table" || fail "no row in the table"

# A library that does nothing, under the interface of the first peer.
mkdir "$work/peer"
cat >"$work/peer/hss.h" <<'C'
#include <stdbool.h>
#include <stddef.h>
typedef unsigned long param_set_t;
enum { LMS_SHA256_N32_H5 = 5, LMS_SHA256_N32_H10, LMOTS_SHA256_N32_W1 = 1, LMOTS_SHA256_N32_W2,
       LMOTS_SHA256_N32_W4, LMOTS_SHA256_N32_W8 };
struct hss_working_key { int made; };
struct hss_extra_info;
bool hss_generate_private_key(bool (*random)(void *, size_t), unsigned levels,
    const param_set_t *lm, const param_set_t *ots, bool (*update)(unsigned char *, size_t, void *),
    void *context, unsigned char *pub, size_t pub_len, unsigned char *aux, size_t aux_len,
    struct hss_extra_info *info);
struct hss_working_key *hss_load_private_key(bool (*read)(unsigned char *, size_t, void *),
    void *context, size_t memory, const unsigned char *aux, size_t len, struct hss_extra_info *info);
void hss_free_working_key(struct hss_working_key *key);
bool hss_generate_signature(struct hss_working_key *key,
    bool (*update)(unsigned char *, size_t, void *), void *context, const void *message, size_t len,
    unsigned char *sig, size_t sig_len, struct hss_extra_info *info);
bool hss_validate_signature(const unsigned char *pub, const void *message, size_t len,
    const unsigned char *sig, size_t sig_len, struct hss_extra_info *info);
size_t hss_get_signature_len(unsigned levels, const param_set_t *lm, const param_set_t *ots);
C
cat >"$work/peer/hss.c" <<'C'
#include "hss.h"
static struct hss_working_key only;
static volatile unsigned spent;
static bool spend(void) { for (unsigned i = 0; i < 100000; i++) spent += i; return true; }
bool hss_generate_private_key(bool (*random)(void *, size_t), unsigned levels,
    const param_set_t *lm, const param_set_t *ots, bool (*update)(unsigned char *, size_t, void *),
    void *context, unsigned char *pub, size_t pub_len, unsigned char *aux, size_t aux_len,
    struct hss_extra_info *info) { return spend(); }
struct hss_working_key *hss_load_private_key(bool (*read)(unsigned char *, size_t, void *),
    void *context, size_t memory, const unsigned char *aux, size_t len, struct hss_extra_info *info)
    { return &only; }
void hss_free_working_key(struct hss_working_key *key) { }
bool hss_generate_signature(struct hss_working_key *key,
    bool (*update)(unsigned char *, size_t, void *), void *context, const void *message, size_t len,
    unsigned char *sig, size_t sig_len, struct hss_extra_info *info) { return spend(); }
bool hss_validate_signature(const unsigned char *pub, const void *message, size_t len,
    const unsigned char *sig, size_t sig_len, struct hss_extra_info *info) { return spend(); }
size_t hss_get_signature_len(unsigned levels, const param_set_t *lm, const param_set_t *ots)
    { return 2352; }
C
"$bench" --quick --json --only none --peer "hash-sigs=$work/peer" >"$work/rows" ||
    fail "a peer that builds was refused"
for operation in keygen sign verify; do
    grep -q "peer-hash-sigs.lms-sha256-m32-h5-w4.$operation\".*ours_to_peer" "$work/rows" ||
        fail "no row for the peer's $operation"
done

# What cannot be timed is said, and the exit code says it too.
mkdir "$work/empty"
for spec in "hash-sigs=$work/empty" "hash-sigs=$work/none" "other=$work/peer" "hash-sigs"; do
    if "$bench" --quick --json --only none --peer "$spec" >"$work/rows" 2>"$work/said"; then
        fail "--peer $spec passed"
    fi
    [ -s "$work/said" ] || fail "--peer $spec failed without a word"
done
status=0
"$bench" --fast >/dev/null 2>&1 || status=$?
[ $status = 2 ] || fail "an option that does not exist gave $status"
# The whole service, with a small key: that it runs, and that its rows have their fields.
if command -v swtpm >/dev/null; then
    ./tests/bench/bench_service --quick --json --only w4 >"$work/rows" ||
        fail "no rows of the service"
    python3 - "$work/rows" <<'PY'
import json, sys

rows = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    rows[row["row"]] = row
for field in ("per_second", "ratio_to_reference", "cpu_us", "reference_us", "hash_us", "cores",
              "commit_p99_ms", "ratio_to_five_syncs"):
    assert rows["service.64-clients.w4"][field] > 0, rows
assert rows["service.1-client.w4"]["per_second"] > 0, rows
assert rows["service.slow-tpm.w4"]["tpm_commands"] >= 2, rows
assert rows["service.start.h15"]["peak_kib"] > 0, rows
PY
fi
echo "bench: rows, fields, peers"
