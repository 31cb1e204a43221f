#!/bin/bash
# uml.sh KERNEL DIR [CASE...]: cases of the clock (docs/clock.md, U), each in a Linux of its own.
#
# KERNEL is the program tests/clock/kernel as built (without sanitizers: the guest has no room for their
# memory); DIR gets a log for each case, CASE.log. Without a
# CASE all of them run; --probe instead only sees whether such a kernel comes up on this machine. Needs linux.uml (package user-mode-linux) and a chronyd (CHRONYD=path,
# otherwise scripts/get-chronyd finds one), and no privilege: the guest sees this machine's files with the
# rights of who starts it, has memory and processes of its own, and its clock is its own. Some
# run at once, since they mostly wait. One or two that are red run once more, alone, and are what they are then: a
# guest that the machine holds up runs late, which no case is about. What is wrong in the code fails again.
# The first log stays as CASE.beside.log. The last line is "clock-uml: cases=… passed=… failed=…".
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
limit_s=400
at_once=$(($(nproc) * 3))
again_max=2 # more than these are no slip of a busy machine

fail() {
    echo "uml.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] || fail "usage: uml.sh KERNEL DIR [CASE...]"
uml=$(command -v linux.uml) || fail "no linux.uml: install the package user-mode-linux"
[ -x "$1" ] || fail "no program $1"
kernel=$(realpath "$1")
mkdir -p "$2"
dir=$(realpath "$2")
shift 2
[ $# -gt 0 ] || mapfile -t cases < <("$kernel" --list)
[ $# -eq 0 ] || cases=("$@")
: "${CHRONYD:=$("$here/scripts/get-chronyd" "$dir/chrony")}"
rm -f "$dir"/*.log "$dir"/*.console

# Short paths: they become names of sockets.
homes=$(mktemp -d "${TMPDIR:-/tmp}/uml.XXXXXX")
cleanup() {
    jobs -rp | xargs -r kill || true
    rm -rf "$homes"
}
trap cleanup EXIT

green() {
    grep -q '^exit status 0$' -- "$dir/$1.log" 2>/dev/null
}

# A case is what its log says; a kernel that does not come up leaves none, or one without result.
boot() {
    local home=$homes/$1
    mkdir "$home"
    HOME=$home TMPDIR=$home timeout -k 10 $limit_s "$uml" mem=96M root=/dev/root \
        rootfstype=hostfs rootflags=/ rw quiet con0=fd:0,fd:1 con=null "umid=k" \
        "init=$here/tests/clock/guest.sh" "KERNEL=$kernel" "CASE=$2" "CHRONYD=$CHRONYD" \
        "LOG=$dir/$2.log" </dev/null >"$dir/$2.console" 2>&1 || true
    rm -rf "$home"
    if ! green "$2"; then
        echo "uml.sh: $2:"
        tail -n 30 "$dir/$2.console" || true
        tail -n 60 "$dir/$2.log" || true
        echo "[  FAILED  ] $2" >>"$dir/$2.log"
    fi
}

if [ "${cases[0]}" = --probe ]; then
    boot 0 --list >/dev/null
    green --list && exit 0
    tail -n 3 -- "$dir/--list.console" >&2
    exit 1
fi

number=0
for name in "${cases[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do
        wait -n
    done
    number=$((number + 1))
    boot $number "$name" &
done
wait
red=()
for name in "${cases[@]}"; do
    green "$name" || red+=("$name")
done
[ ${#red[@]} -le $again_max ] || red=()
for name in "${red[@]}"; do
    echo "uml.sh: $name: red beside other kernels; once more, alone"
    mv "$dir/$name.log" "$dir/$name.beside.log"
    number=$((number + 1))
    boot $number "$name"
done
logs=()
for name in "${cases[@]}"; do
    logs+=("$dir/$name.log")
done
"$here/scripts/clock-cases" clock-uml U "${logs[@]}"
