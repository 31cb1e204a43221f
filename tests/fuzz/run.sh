#!/bin/sh
# run.sh SECONDS NAME...: let each fuzz target in turn look for more, until it has had so many
# seconds of processor time (user and system); one line of figures for each. Called by `make fuzz` in
# a build with --enable-fuzzing.
#
# Processor time, because on a busy machine an hour by the clock may be a minute of work. A run goes
# on from earlier ones: fuzz-found/NAME in the build folder keeps what was found, and
# fuzz-found/NAME.tally the seconds, executions and edges so far, brought up to date every few
# minutes and when the run is ended (INT or TERM). Remove the tally to begin again.
#
# Inputs that crash lie in fuzz-found, named after the target and what went wrong. A crash ends the
# run of its target; the exit code is 1 then. One input may take 20 seconds of processor time: what
# libFuzzer, which looks at the clock, takes for a hang is tried alone before it is called one.
set -eu

here="${srcdir:-$(dirname "$0")/../..}/tests/fuzz"
seconds=$1
shift
[ -x "tests/fuzz/fuzz_$1" ] || {
    echo "fuzz: build with: configure --enable-fuzzing --enable-sanitizers CC=clang" >&2
    exit 2
}
piece_s_max=300
hang_s=20
child=
ended=0
trap 'ended=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :' INT TERM

# Processor time of all children that this shell has waited for, in seconds, as children_s; not in a
# substitution, since a subshell begins with none.
children_cpu() {
    times >"fuzz-found/times.$$"
    children_s=$(awk 'NR == 2 {
        for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); all += 60 * t[1] + t[2] }
        printf "%.2f", all
    }' "fuzz-found/times.$$")
    rm -f "fuzz-found/times.$$"
}

# The input that took too long by the clock: does it also take too long by itself?
hangs() {
    hung=$(sed -n 's/.*Test unit written to \(.*-timeout-[0-9a-f]*\)$/\1/p' "$2" | tail -n 1)
    [ -n "$hung" ] && [ -f "$hung" ] || return 0
    # shellcheck disable=SC3045 # dash and bash have it
    (ulimit -t $hang_s && exec "./tests/fuzz/fuzz_$1" -timeout=100000 "$hung") \
        >"$2.alone" 2>&1 && rm -f "$hung" "$2.alone" && return 1
    return 0
}

# One piece of a run: what it took is added to the tally. 0: no crash.
piece() {
    log=fuzz-found/$1.log
    status=0
    children_cpu
    before_s=$children_s
    "./tests/fuzz/fuzz_$1" -max_total_time="$2" -max_len="$3" -timeout=600 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="fuzz-found/$1-" \
        "fuzz-found/$1" "$here/$1" >"$log" 2>&1 &
    child=$!
    # A signal to us ends the first wait; the second gets the end of the child.
    wait "$child" || status=$?
    [ $ended = 0 ] || wait "$child" || :
    child=
    children_cpu
    tally "$1" "$before_s" "$children_s" "$log"
    case $status in
    0) return 0 ;;
    70) hangs "$1" "$log" || return 0 ;;
    esac
    [ $ended = 1 ]
}

tally() {
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$4")
    edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$4" | tail -n 1)
    echo "$2 $3 ${executions:-0} ${edges:-0}" | cat - "fuzz-found/$1.tally" 2>/dev/null | awk '
        NR == 1 { cpu = $2 - $1; n = $3; e = $4 }
        NR == 2 { cpu += $1; n += $2; if ($3 > e) e = $3 }
        END { printf "%.1f %.0f %d\n", cpu, n, e }' >"fuzz-found/$1.tally.new"
    mv "fuzz-found/$1.tally.new" "fuzz-found/$1.tally"
}

# How long the next piece may be, or nothing when the target has had its time.
left() {
    awk -v all="$seconds" -v most=$piece_s_max '{ cpu = $1 }
        END { n = int(all - cpu + 0.999); if (n > 0) print (n > most ? most : n) }' "$1"
}

failed=0
for name in "$@"; do
    [ $ended = 0 ] || break
    case $name in
    hbs | verify) longest=20000 ;;
    answer | files | tpm | attest | peer) longest=8192 ;;
    ledger) longest=256 ;;
    chrony) longest=160 ;;
    *) longest=4096 ;;
    esac
    mkdir -p "fuzz-found/$name"
    [ -f "fuzz-found/$name.tally" ] || echo 0 0 0 >"fuzz-found/$name.tally"
    result='no crash'
    while [ $ended = 0 ] && more=$(left "fuzz-found/$name.tally") && [ -n "$more" ]; do
        piece "$name" "$more" $longest && continue
        result="CRASH: see fuzz-found/$name.log"
        failed=1
        break
    done
    read -r cpu executions edges <"fuzz-found/$name.tally"
    printf '%s: %s s of processor time, %s executions, %s edges, %s\n' "$name" "$cpu" \
        "$executions" "$edges" "$result"
done
exit $failed
