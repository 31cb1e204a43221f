#!/bin/bash
# check.sh [--quick]: builds everything and runs all tests; the last line is "N passed, N failed".
#
# Installs what is missing. Builds with gcc, and with clang, AddressSanitizer and UBSan (warnings are
# errors in both), and runs every test with each: with gcc in a release tarball. A skipped test counts
# as failed: here everything is installed that a test may want. --quick leaves out clang, sanitizers
# and tarball.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here" || exit 1
quick=no
[ "${1:-}" != --quick ] || quick=yes
passed=0
failed=0
jobs=$(nproc)
# Many tests wait for clocks and processes more than they compute.
at_once=$((jobs * 2))

finish() {
    if [ -s "$TIDEMARK_RED_ONCE" ]; then
        printf '\nnote  these were red beside other tests, and run again alone (tests/run):\n'
        cat "$TIDEMARK_RED_ONCE"
    fi
    if [ -s "$here/build/failed.log" ]; then
        echo
        cat "$here/build/failed.log"
    fi
    echo
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# step NAME COMMAND...: one check; its output is shown only when it fails.
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$here/build/step.log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok    %s (%d s)\n' "$name" $((SECONDS - start))
        return 0
    fi
    failed=$((failed + 1))
    printf 'FAIL  %s (%d s)\n' "$name" $((SECONDS - start))
    tail -n 80 "$here/build/step.log"
    return 1
}

# told LINES NAME COMMAND...: a step whose last lines are worth seeing when it passes, too.
told() {
    local lines=$1
    shift
    step "$@" || return 1
    tail -n "$lines" "$here/build/step.log" | sed 's/^/      /'
}

# why NAME DIR: what the red tests below DIR said last, kept for the end of the run, where it is seen.
why() {
    local trs
    find "$2" -name '*.trs' -exec grep -lE '^:test-result: (FAIL|SKIP|ERROR|XPASS)' {} + |
        while read -r trs; do
            printf 'not passed in %s: %s\n' "$1" "${trs#"$2"/}"
            tail -n 30 "${trs%.trs}.log"
        done >>"$here/build/failed.log"
}

# suite NAME DIR TARGET: count the tests of `make check` or `make distcheck` in a build folder one by one.
suite() {
    local name=$1 dir=$2 log=$2/$3.log where=$2 start=$SECONDS
    make -C "$dir" -j"$at_once" "$3" >"$log" 2>&1
    local status=$? pass skip total
    [ "$3" != distcheck ] || where=$(echo "$dir"/tidemark-*/_build)
    pass=$(awk '/^# PASS:/ {print $3}' "$log" | tail -n 1)
    total=$(awk '/^# TOTAL:/ {print $3}' "$log" | tail -n 1)
    skip=$(awk '/^# SKIP:/ {print $3}' "$log" | tail -n 1)
    if [ -z "${total:-}" ]; then
        failed=$((failed + 1))
        echo "FAIL  $name: make $3 did not get as far as a test"
        tail -n 60 "$log"
        return
    fi
    passed=$((passed + pass))
    failed=$((failed + total - pass))
    printf '%s %s: %d of %d tests (%d s)\n' "$([ "$pass" = "$total" ] && echo 'ok   ' || echo FAIL)" \
        "$name" "$pass" "$total" $((SECONDS - start))
    if [ "$pass" != "$total" ]; then
        grep -E '^(FAIL|SKIP|ERROR|XPASS)' "$log"
        [ "${skip:-0}" = 0 ] || echo "      skipped tests count as failed here"
        why "$name" "$where"
    elif [ $status -ne 0 ]; then
        failed=$((failed + 1))
        echo "FAIL  $name: make $3 (behind its tests)"
        tail -n 60 "$log"
    fi
}

# configured DIR OPTIONS...: configure once, and again when configure is newer.
configured() {
    local dir=$1
    shift
    mkdir -p "$dir"
    if [ ! -f "$dir/Makefile" ] || [ "$here/configure" -nt "$dir/Makefile" ]; then
        (cd "$dir" && "$here/configure" -q --enable-werror "$@") || return 1
    fi
}

mkdir -p build
: >build/failed.log
export TIDEMARK_RED_ONCE=$here/build/red-once.log
: >"$TIDEMARK_RED_ONCE"
step "packages" scripts/packages --install build run test || finish
chronyd=$(scripts/get-chronyd build/chrony) || finish
export CHRONYD=$chronyd
step "autogen" ./autogen.sh || finish
step "layers" scripts/check-layers
step "headers" scripts/check-headers
step "house rules" scripts/check-house-rules
step "format" scripts/check-format
told 1 "mutants apply" scripts/mutants --check-apply

step "configure (gcc)" configured build/gcc CC=gcc || finish
if [ $quick = yes ]; then
    step "build (gcc)" make -C build/gcc -j"$jobs" || finish
    suite "tests (gcc)" build/gcc check
    told 1 "cases of the clock" make -s -C build/gcc clock-cases
    finish
fi

# What gcc makes of a release: the tarball holds all it needs, from a source folder that is read-only,
# and what is installed goes away again. With all tests; the sanitizers' run is a shorter one.
export DISTCHECK_CONFIGURE_FLAGS='CC=gcc --enable-werror'
suite "tests (gcc, release tarball)" build/gcc distcheck
# Some machines let no user-mode kernel start (no ptrace, no executable shared memory). The cases
# are then not counted, and that is said; `make check-uml` itself never passes over it.
if step "build (a kernel's only process)" make -C build/gcc -j"$jobs" tests/clock/kernel; then
    if why=$(tests/clock/uml.sh build/gcc/tests/clock/kernel build/gcc/tests/clock/uml --probe 2>&1); then
        told 1 "the clock in kernels of its own" make -s -C build/gcc check-uml
    else
        printf 'note  no user-mode kernel starts on this machine, make check-uml was not run:\n%s\n' "$why"
    fi
fi
if step "configure (clang, sanitizers)" configured build/san CC=clang --enable-sanitizers \
    CFLAGS="-g -O1" && step "build (clang, sanitizers)" make -C build/san -j"$jobs"; then
    TIDEMARK_QUICK=1 suite "tests (clang, sanitizers)" build/san check
    told 1 "cases of the clock" make -s -C build/san clock-cases
fi
# Mistakes made on purpose: other ones each day; "make mutants" makes all of them.
told 5 "mutants, a few" scripts/mutants --some 3
finish
