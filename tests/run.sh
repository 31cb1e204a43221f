#!/bin/bash
# tests/run runs again, alone, what waits for others; and nothing that must hold however busy it is.
set -uo pipefail
run=$(cd "$(dirname "$0")" && pwd)/run
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" && mkdir -p tests/integration tests/unit || exit 1
bad=0

# program NAME: green from the second time on, and notes each time; says $SAYS.
program() {
    cat >"$1" <<'END'
#!/bin/sh
echo x >>"$0.times"
echo "${SAYS:-}"
[ "${ALWAYS:-}" != red ] && [ "$(wc -l <"$0.times")" -gt 1 ]
END
    chmod +x "$1"
}

# expect STATUS TIMES NAME
expect() {
    local status times
    program "$3"
    "$run" "./$3" >"$dir/log" 2>&1
    status=$?
    times=$(wc -l <"$3.times")
    if [ "$status" != "$1" ] || [ "$times" != "$2" ]; then
        printf '%s: status %s (not %s), run %s times (not %s)\n' "$3" "$status" "$1" "$times" "$2"
        cat "$dir/log"
        bad=1
    fi
}

export TIDEMARK_RED_ONCE=$dir/red
expect 0 2 tests/integration/test_waits
grep -q "run again alone: ./tests/integration/test_waits" red || { cat red; bad=1; }
ALWAYS=red expect 1 2 tests/integration/test_broken
[ "$(grep -c alone: red)" = 2 ] || { cat red; bad=1; }
SAYS=$(echo '[  ERROR   ] --- 0x2 != 0x1' && seq 40) expect 0 2 tests/integration/test_logs
grep -qF -- '--- 0x2 != 0x1' red || { cat red; bad=1; }
expect 1 1 tests/integration/test_service_kill
expect 1 1 tests/integration/test_service_rollback
expect 1 1 tests/integration/test_tpm_lock
expect 0 2 tests/integration/test_clock
expect 1 1 tests/unit/test_waits
SAYS='==1==ERROR: AddressSanitizer: heap-use-after-free' expect 1 1 tests/integration/test_sanitizer
SAYS='x.c:1:2: runtime error: signed integer overflow' expect 1 1 tests/integration/test_undefined
leak='==1==ERROR: LeakSanitizer: detected memory leaks'
failed='[  FAILED  ] test_it'
SAYS=$leak expect 1 1 tests/integration/test_leak
SAYS=$(printf '%s\n%s' "$failed" "$leak") expect 0 2 tests/integration/test_failed_and_leaks
SAYS=$(printf '%s\n%s\n==1==ERROR: AddressSanitizer: SEGV' "$failed" "$leak") \
    expect 1 1 tests/integration/test_failed_and_crashes

# Alone: not before what holds the lock has ended.
program tests/integration/test_alone
flock -s tests/.alone sh -c 'sleep 1; echo other >>order' &
"$run" sh -c ':' || bad=1 # others share it
(sleep 0.3 && "$run" ./tests/integration/test_alone >log && echo alone >>order) &
wait
[ "$(tr '\n' ' ' <order)" = "other alone " ] || {
    echo "not alone"
    bad=1
}
exit $bad
