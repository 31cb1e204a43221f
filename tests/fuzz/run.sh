#!/bin/sh
# run.sh SECONDS NAME...: look for more with each fuzz target in turn, for so long each; one line of
# figures for each. Called by `make fuzz` in a build with --enable-fuzzing.
#
# What is found goes to fuzz-found/NAME in the build folder and is used again by the next run; inputs
# that crash lie in fuzz-found, named after the target and what went wrong. A crash ends the run of
# its target and is counted; the exit code is 1 then.
set -eu

here="${srcdir:-$(dirname "$0")/../..}/tests/fuzz"
seconds=$1
shift
[ -x "tests/fuzz/fuzz_$1" ] || {
    echo "fuzz: build with: configure --enable-fuzzing --enable-sanitizers CC=clang" >&2
    exit 2
}
failed=0
for name in "$@"; do
    case $name in
    hbs | verify) longest=20000 ;;
    files | tpm | attest | peer) longest=8192 ;;
    ledger) longest=256 ;;
    chrony) longest=160 ;;
    *) longest=4096 ;;
    esac
    mkdir -p "fuzz-found/$name"
    log=fuzz-found/$name.log
    status=0
    "./tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=$longest -timeout=20 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="fuzz-found/$name-" \
        "fuzz-found/$name" "$here/$name" >"$log" 2>&1 || status=1
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%s: %s s, %s executions, %s edges, %s\n' "$name" "$seconds" "${executions:-0}" \
        "${edges:-0}" "$([ $status = 0 ] && echo 'no crash' || echo "CRASH: see $log")"
    [ $status = 0 ] || failed=1
done
exit $failed
