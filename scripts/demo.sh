#!/bin/bash
# demo.sh [--out DIR] [--keep]: the main job from beginning to end on this machine.
#
# Installs what is missing, builds, starts a software TPM and two chronyd processes of its own, makes
# two keys, starts the service, signs a real file by version and by time window (with curl and with
# `tidemark sign`), verifies every signature offline, shows a refusal, and prints the windows.
#
#   --out DIR   leave in DIR what an outsider needs to check it: NAME.plan.json, NAME.pub (raw RFC 8554
#               HSS key), NAME.pem (SubjectPublicKeyInfo), and each signed file beside its raw .sig and
#               the .json answer
#   --keep      leave the service's folder (it is named at the end) instead of removing it
#
# Nothing of it touches this host's clock, TPM or services.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
out=
keep=no
while [ $# -gt 0 ]; do
    case $1 in
    --out)
        [ $# -ge 2 ] || { echo "demo: --out needs a folder" >&2; exit 2; }
        mkdir -p "$2"
        out=$(cd "$2" && pwd)
        shift 2
        ;;
    --keep) keep=yes; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 0 ;;
    *) echo "demo: unknown option $1 (try --help)" >&2; exit 2 ;;
    esac
done

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

"$here/scripts/packages" --install build run

say "Building"
build=$here/build/demo
mkdir -p "$build"
[ -x "$here/configure" ] || "$here/autogen.sh" >"$build/autogen.log" 2>&1 ||
    { cat "$build/autogen.log" >&2; die "autogen.sh failed"; }
if [ ! -f "$build/Makefile" ] || [ "$here/configure" -nt "$build/Makefile" ]; then
    (cd "$build" && "$here/configure" -q >configure.log 2>&1) ||
        { tail -n 20 "$build/configure.log" >&2; die "configure failed"; }
fi
make -C "$build" -j"$(nproc)" tidemark tidemarkd >"$build/make.log" 2>&1 ||
    { tail -n 40 "$build/make.log" >&2; die "make failed"; }
echo "tidemark and tidemarkd are in build/demo"
PATH=$build:$PATH

# A short path: a Unix socket's name has at most 107 bytes.
work=$(mktemp -d /tmp/tidemark-demo.XXXXXX)
chmod 700 "$work"
daemon_pid=
cleanup() {
    status=$?
    trap - EXIT
    if [ -n "$daemon_pid" ]; then
        kill "$daemon_pid" 2>/dev/null || true
        wait "$daemon_pid" 2>/dev/null || true
    fi
    "$here/scripts/chrony-pair.sh" stop "$work/chrony" 2>/dev/null || true
    if [ -s "$work/swtpm.pid" ]; then
        kill "$(cat "$work/swtpm.pid")" 2>/dev/null || true
    fi
    if [ $status -ne 0 ] && [ -f "$work/log" ]; then
        echo "--- the last lines of the service's log:" >&2
        tail -n 15 "$work/log" >&2
    fi
    if [ $keep = yes ]; then
        echo "left in $work"
    else
        rm -rf "$work"
    fi
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "Starting a SOFTWARE TPM (swtpm): for this demo only, it protects nothing"
mkdir "$work/tpm"
swtpm socket --tpm2 --tpmstate dir="$work/tpm" --ctrl type=unixio,path="$work/tpm.sock.ctrl" \
    --server type=unixio,path="$work/tpm.sock" --flags not-need-init,startup-clear \
    --pid file="$work/swtpm.pid" --daemon

say "Starting two chronyd processes on high ports: DEMO TIME, they follow only this host's own clock"
chronyd=$("$here/scripts/get-chronyd" "$here/build/chrony")
"$here/scripts/chrony-pair.sh" start "$work/chrony" "$chronyd"

cat >"$work/tidemark.json" <<JSON
{
  "state_dir": "$work/state",
  "tpm": { "tcti": "swtpm:path=$work/tpm.sock", "virtual": "demo" },
  "clock": { "port": $(cat "$work/chrony/client.cmdport"), "kernel_witness": false },
  "signing": { "edge_wait_ms": 20000 },
  "http": { "unix": "$work/tidemark.sock", "tcp_address": "127.0.0.1", "tcp_port": $((20000 + $$ % 20000)) },
  "identities": { "demo": { "match": [{ "uid": $(id -u) }, { "tcp": "loopback" }],
                            "roles": ["signer", "auditor", "operator"] } }
}
JSON
tcp=$(jq -r .http.tcp_port "$work/tidemark.json")
url=http://127.0.0.1:$tcp

say "Making two keys"
# A version plan: index = minor line, patch and slot. A window is one minor line.
cat >"$work/firmware.plan.json" <<'JSON'
{ "tidemark_plan": 1, "key": "firmware", "profile": "cnsa2",
  "scheme": "lms", "parameters": ["LMS_SHA256_M24_H10", "LMOTS_SHA256_N24_W8"],
  "message": "raw",
  "assignment": { "kind": "version", "format": "major.minor.patch",
                  "sizes": { "minor": 8, "patch": 4 }, "slots": ["kernel", "rootfs"],
                  "window": "minor", "order": "strict" } }
JSON
# A time plan: one window a day from the first of this month.
cat >"$work/nightly.plan.json" <<JSON
{ "tidemark_plan": 1, "key": "nightly", "profile": "cnsa2",
  "scheme": "lms", "parameters": ["LMS_SHA256_M24_H15", "LMOTS_SHA256_N24_W4"],
  "message": "raw",
  "assignment": { "kind": "time", "start": "$(date -u +%Y-%m-01T00:00:00Z)", "window": "P1D",
                  "signatures_per_window": 32, "lease_size": 4 } }
JSON
for key in firmware nightly; do
    tidemark plan "$work/$key.plan.json"
    tidemark key new "$work/$key.plan.json" --config "$work/tidemark.json"
done

say "Starting the service"
tidemarkd --config "$work/tidemark.json" 2>"$work/log" &
daemon_pid=$!
export TIDEMARK_URL=$url
for _ in $(seq 300); do
    code=$(curl -s -o /dev/null -w '%{http_code}' "$url/health/ready" || true)
    [ "$code" = 200 ] && break
    kill -0 "$daemon_pid" 2>/dev/null || die "the service ended"
    sleep 0.1
done
[ "$code" = 200 ] || die "the service does not become ready: $(curl -s "$url/health/state" || true)"
tidemark status

results=${out:-$work/out}
mkdir -p "$results"
cp -L /bin/ls "$results/ls-1.0.0"
cp -L /bin/ls "$results/ls-1.0.1"
cp -L /bin/ls "$results/ls-nightly-1"
cp -L /bin/ls "$results/ls-nightly-2"

say "Signing /bin/ls by version, over HTTP with curl"
file=$results/ls-1.0.0
curl -sS --fail-with-body -o "$file.json" -H 'Content-Type: application/octet-stream' \
    --data-binary @"$file" "$url/v1/keys/firmware/signatures?version=1.0.0&slot=kernel"
jq -r .signature "$file.json" | base64 -d >"$file.sig"
jq 'del(.signature)' "$file.json"

say "Signing it by version with tidemark sign"
file=$results/ls-1.0.1
rm -f "$file.sig" "$file.receipt"
tidemark sign "$file" --key firmware --version 1.0.1 --slot kernel --json >"$file.json"
jq -r '"index \(.index), window \(.window)"' "$file.json"

say "Signing it by time window, over HTTP with curl (near midnight this waits for the next window)"
file=$results/ls-nightly-1
curl -sS --fail-with-body -o "$file.json" -H 'Content-Type: application/octet-stream' \
    -H "Idempotency-Key: \"demo-$$-1\"" --data-binary @"$file" \
    "$url/v1/keys/nightly/signatures?window=current"
jq -r .signature "$file.json" | base64 -d >"$file.sig"
jq 'del(.signature)' "$file.json"

say "Signing it by time window with tidemark sign"
file=$results/ls-nightly-2
rm -f "$file.sig" "$file.receipt"
tidemark sign "$file" --key nightly --window current --json >"$file.json"
jq -r '"index \(.index), window \(.window)"' "$file.json"

say "Verifying every signature offline"
for key in firmware nightly; do
    curl -sS --fail -o "$results/$key.plan.json" "$url/v1/keys/$key/plan"
    curl -sS --fail -o "$results/$key.pub" "$url/v1/keys/$key/public?format=raw"
    curl -sS --fail -o "$results/$key.pem" "$url/v1/keys/$key/public?format=spki-pem"
done
(
    unset TIDEMARK_URL
    cd "$results"
    tidemark verify ls-1.0.0 --sig ls-1.0.0.sig --public firmware.pem --plan firmware.plan.json \
        --version 1.0.0 --slot kernel
    tidemark verify ls-1.0.1 --sig ls-1.0.1.sig --public firmware.pub --plan firmware.plan.json \
        --version 1.0.1 --slot kernel
    tidemark verify ls-nightly-1 --sig ls-nightly-1.sig --public nightly.pem --plan nightly.plan.json
    tidemark verify ls-nightly-2 --sig ls-nightly-2.sig --public nightly.pub --plan nightly.plan.json
)

say "The same version with another file is refused"
cp -L /bin/cat "$work/cat"
if tidemark sign "$work/cat" --key firmware --version 1.0.0 --slot kernel; then
    die "it was signed: one version, two artifacts"
else
    code=$?
    [ $code = 3 ] || die "expected exit code 3, got $code"
fi

say "The same version with the same file costs nothing: the stored signature comes back"
tidemark sign "$results/ls-1.0.1" --key firmware --version 1.0.1 --slot kernel --force

say "Windows"
tidemark windows --key firmware | head -n 12
tidemark windows --key nightly | grep -v skipped | head -n 8
tidemark versions --key firmware

say "Done: every signature verified, nothing signed twice"
if [ -n "$out" ]; then
    ls -l "$out"
fi
