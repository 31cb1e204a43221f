#!/bin/bash
# check.sh [--large]: the commit protocol as a model (commit.pml), every state of it.
#
# Each line of the tables below is one run of spin's verifier over all states within the bounds that it
# names; nothing is hashed away and no state is left out. A property run must find no error. A mistake
# takes one safeguard out of the model, and the verifier must find out what that leads to.
# --large takes the larger bounds (minutes); BOUNDS="-DREQUESTS=4 ..." changes them further, for all
# property runs. With TIDEMARK_QUICK=1, since a model is the same however Tidemark was built, only a
# short property of each kind.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
memory_mib=1900
depth_max=200000

# NAME KIND BOUNDS: kinds are 1 time, 2 interval, 3 version; for bounds that are not named see commit.pml
properties() {
    cat <<'END'
time-crashes 1 -DREQUESTS=3 -DCRASHES=2 -DLEASE_SIZE=2
time-disk-put-back 1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DTEARS=1
time-clock-lies 1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DCLOCK_LIES=2
time-tpm-forgets 1 -DREQUESTS=2 -DCRASHES=1 -DLOSSES=1 -DRECOVERIES=1
time-late-writes 1 -DREQUESTS=2 -DCRASHES=1 -DLATE=1 -DROLLBACKS=1 -DWINDOWS=2 -DLEASES=1
time-replacement 1 -DREQUESTS=2 -DCRASHES=1 -DDEVICES=2 -DOPERATIONS=1 -DCLOCK_LIES=1
time-early-crash 1 -DREQUESTS=1 -DCRASHES=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-disk-put-back 1 -DREQUESTS=1 -DCRASHES=0 -DROLLBACKS=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-tpm-forgets 1 -DREQUESTS=1 -DCRASHES=0 -DLOSSES=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-late-writes 1 -DREQUESTS=1 -DCRASHES=0 -DLATE=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-replacement 1 -DREQUESTS=2 -DCRASHES=0 -DDEVICES=2 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-live 1 -DREQUESTS=1 -DCRASHES=1 -DROLLBACKS=1 -DLIVENESS
interval-disk-put-back 2 -DREQUESTS=3 -DCRASHES=2 -DROLLBACKS=1 -DTEARS=1
interval-tpm-forgets 2 -DREQUESTS=3 -DCRASHES=2 -DLOSSES=1 -DRECOVERIES=1
interval-late-writes 2 -DREQUESTS=3 -DCRASHES=1 -DLATE=1 -DROLLBACKS=1 -DREPLAYS=1 -DLEASES=1
interval-replacement 2 -DREQUESTS=4 -DCRASHES=0 -DDEVICES=2 -DOPERATIONS=3 -DLEASES=1 -DROLLBACKS=1
interval-three-devices 2 -DREQUESTS=3 -DCRASHES=1 -DDEVICES=3 -DOPERATIONS=3 -DLEASES=1 -DWINDOWS=5
interval-live 2 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DTEARS=1 -DLIVENESS
version-crashes 3 -DREQUESTS=3 -DCRASHES=2 -DPER_WINDOW=2
version-disk-put-back 3 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=2 -DTEARS=1
version-tpm-forgets 3 -DREQUESTS=2 -DCRASHES=2 -DLOSSES=1 -DRECOVERIES=1
version-tpm-lies 3 -DREQUESTS=2 -DCRASHES=2 -DLOSSES=1 -DKEEPS=1 -DONLY_SHOWN
version-late-writes 3 -DREQUESTS=2 -DCRASHES=1 -DLATE=1 -DROLLBACKS=1
version-old-anchor 3 -DREQUESTS=2 -DCRASHES=0 -DREPLAYS=1 -DROLLBACKS=1
version-replacement 3 -DREQUESTS=2 -DCRASHES=0 -DDEVICES=2 -DOPERATIONS=3 -DROLLBACKS=1
version-live 3 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DLIVENESS
time-remote 1 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DLEASES=1 -DWINDOWS=2
time-remote-clock-lies 1 -DREMOTE=1 -DREQUESTS=1 -DCRASHES=1 -DCLOCK_LIES=2 -DLEASES=1
interval-remote 2 -DREMOTE=2 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1
interval-remote-late 2 -DREMOTE=2 -DREQUESTS=2 -DCRASHES=1 -DLATE=1 -DLEASES=1
version-remote 3 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1
version-remote-late 3 -DREMOTE=2 -DREQUESTS=2 -DCRASHES=1 -DLATE=1
version-remote-live 3 -DREMOTE=1 -DREQUESTS=1 -DCRASHES=1 -DLIVENESS
END
}

properties_large() {
    cat <<'END'
time-crashes 1 -DREQUESTS=4 -DCRASHES=3 -DLEASE_SIZE=2
time-disk-put-back 1 -DREQUESTS=3 -DCRASHES=1 -DROLLBACKS=2 -DTEARS=1
time-clock-lies 1 -DREQUESTS=3 -DCRASHES=1 -DROLLBACKS=1 -DCLOCK_LIES=2
time-tpm-forgets 1 -DREQUESTS=3 -DCRASHES=2 -DLOSSES=1 -DRECOVERIES=1
time-late-writes 1 -DREQUESTS=2 -DCRASHES=1 -DLATE=1 -DROLLBACKS=1 -DREPLAYS=1
time-replacement 1 -DREQUESTS=2 -DCRASHES=1 -DDEVICES=2 -DOPERATIONS=1 -DROLLBACKS=1 -DCLOCK_LIES=1
time-three-devices 1 -DREQUESTS=3 -DCRASHES=1 -DDEVICES=3 -DOPERATIONS=2 -DWINDOWS=4 -DLEASES=1
time-early-crash 1 -DREQUESTS=2 -DCRASHES=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-clock-lies 1 -DREQUESTS=2 -DCRASHES=0 -DCLOCK_LIES=2 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-torn 1 -DREQUESTS=1 -DCRASHES=0 -DTEARS=1 -DRECOVERIES=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-early-replacement 1 -DREQUESTS=2 -DCRASHES=0 -DDEVICES=2 -DEARLY=1 -DOPERATIONS=3 -DLEASES=1
time-early-live 1 -DREQUESTS=1 -DCRASHES=1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1 -DLIVENESS
time-live 1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DTEARS=1 -DLIVENESS
interval-disk-put-back 2 -DREQUESTS=4 -DCRASHES=3 -DROLLBACKS=2 -DTEARS=1 -DLEASE_SIZE=2
interval-tpm-forgets 2 -DREQUESTS=4 -DCRASHES=3 -DLOSSES=2 -DRECOVERIES=1
interval-late-writes 2 -DREQUESTS=4 -DCRASHES=2 -DLATE=2 -DROLLBACKS=1 -DREPLAYS=1
interval-replacement 2 -DREQUESTS=4 -DCRASHES=1 -DDEVICES=2 -DOPERATIONS=5 -DLEASES=1 -DROLLBACKS=1
interval-three-devices 2 -DREQUESTS=4 -DCRASHES=1 -DDEVICES=3 -DOPERATIONS=4 -DLEASES=1 -DWINDOWS=6
interval-live 2 -DREQUESTS=3 -DCRASHES=2 -DROLLBACKS=1 -DTEARS=1 -DLIVENESS
version-crashes 3 -DREQUESTS=4 -DCRASHES=3 -DPER_WINDOW=2
version-disk-put-back 3 -DREQUESTS=3 -DCRASHES=2 -DROLLBACKS=2 -DTEARS=1
version-tpm-forgets 3 -DREQUESTS=3 -DCRASHES=2 -DLOSSES=2 -DRECOVERIES=1
version-tpm-lies 3 -DREQUESTS=3 -DCRASHES=2 -DLOSSES=1 -DKEEPS=1 -DONLY_SHOWN
version-late-writes 3 -DREQUESTS=3 -DCRASHES=1 -DLATE=1 -DROLLBACKS=1 -DREPLAYS=1
version-replacement 3 -DREQUESTS=3 -DCRASHES=1 -DDEVICES=2 -DOPERATIONS=3 -DROLLBACKS=1
version-three-devices 3 -DREQUESTS=3 -DCRASHES=0 -DDEVICES=3 -DOPERATIONS=5 -DWINDOWS=5
version-live 3 -DREQUESTS=3 -DCRASHES=2 -DROLLBACKS=1 -DTEARS=1 -DLIVENESS
time-remote 1 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DLEASES=1
time-remote-early 1 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=0 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1
time-remote-tpm-forgets 1 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DLOSSES=1 -DLEASES=1
interval-remote 2 -DREMOTE=2 -DREQUESTS=3 -DCRASHES=1 -DROLLBACKS=1
version-remote 3 -DREMOTE=2 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1
version-remote-tpm-forgets 3 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DLOSSES=1
version-remote-live 3 -DREMOTE=1 -DREQUESTS=2 -DCRASHES=1 -DROLLBACKS=1 -DLIVENESS
END
}

# The smallest bounds in which the mistake shows.
mistakes() {
    cat <<'END'
M_ANCHOR_FIRST 3
M_ANCHOR_FIRST 1
M_NO_SYNC 1
M_L_BEFORE_A 3 -DREPLAYS=1 -DROLLBACKS=1
M_A_KEEPS_W 2 -DLIVENESS
M_RECEIPT_LATE 3
M_LEASE_RESUMED 2
M_NO_RAISE_L 2
M_WINDOW_NOT_RECORDED 2
M_NOT_COMPLETED 3
M_VOID_ANCHORED 3
M_VOID_RECEIPTS 3 -DLOSSES=1 -DKEEPS=1 -DONLY_SHOWN
M_COMPLETE_VOIDED 3 -DCRASHES=2 -DREQUESTS=3
M_LOSSY_VOID 3 -DLOSSES=1
M_ANCHOR_KEEPS_W 3 -DLOSSES=1 -DCRASHES=2
M_NO_ANCESTOR 3 -DROLLBACKS=1
M_A_BEFORE_TEST 3 -DROLLBACKS=1
M_L_BASE_RESET 2 -DTEARS=1
M_NO_FLUSH 3 -DLATE=1 -DROLLBACKS=1 -DCRASHES=2
M_FLOOR_IGNORED 1 -DCLOCK_LIES=1
M_NO_SECOND_LOOK 1
M_CURRENT_WINDOW 1 -DDEVICES=2 -DOPERATIONS=1
M_CURRENT_WINDOW 2 -DDEVICES=2 -DOPERATIONS=3 -DREQUESTS=3 -DLEASES=1 -DCRASHES=0
M_NO_STATEMENT 2 -DDEVICES=2 -DOPERATIONS=3 -DREQUESTS=4 -DLEASES=1 -DCRASHES=0
M_MARK_MISSING 2 -DDEVICES=3 -DOPERATIONS=1 -DWINDOWS=4 -DLEASES=1 -DCRASHES=0
M_EXPORT_COUNTS 3 -DDEVICES=2 -DOPERATIONS=4 -DREQUESTS=3 -DCRASHES=0
M_NOTE_NOT_ANCHORED 2 -DDEVICES=2 -DOPERATIONS=3 -DREQUESTS=3 -DWINDOWS=2 -DMARGIN=0 -DROLLBACKS=1 -DLEASES=1
M_RECOVERY_FORGETS 2 -DDEVICES=2 -DOPERATIONS=3 -DREQUESTS=4 -DROLLBACKS=1 -DCRASHES=0 -DLEASES=1
M_CHECK_COUNTED_LATE 3 -DDEVICES=2 -DOPERATIONS=5 -DREQUESTS=3
M_EARLY_UNEXPORTED 1 -DCRASHES=0 -DEARLY=1 -DOPERATIONS=1 -DDEVICES=2 -DLEASES=1 -DWINDOWS=4
M_EARLY_MARK_IGNORED 1 -DCRASHES=0 -DEARLY=1 -DOPERATIONS=3 -DDEVICES=2 -DLEASES=1 -DWINDOWS=2
M_EARLY_NOT_OPENED 1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1 -DREQUESTS=1
M_EARLY_NOT_SYNCED 1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1 -DREQUESTS=1
M_EARLY_TWO_STEPS 1 -DEARLY=1 -DOPERATIONS=2 -DLEASES=1 -DREQUESTS=1
M_APPROVAL_KEPT 1 -DCRASHES=0 -DEARLY=1 -DOPERATIONS=2 -DRECOVERIES=1 -DLEASES=1
M_SECOND_HASH 1 -DREMOTE=1
M_SECOND_HASH 3 -DREMOTE=1
M_RESERVATION_KEPT 2 -DREMOTE=1
M_RESERVATION_KEPT 3 -DREMOTE=1
M_RESERVATION_RESUMED 2 -DREMOTE=1
M_RESERVATION_RESUMED 3 -DREMOTE=1
M_RESERVATIONS_LEFT 2 -DREMOTE=1
M_REMOTE_COMPLETED 3 -DREMOTE=1
M_WINDOW_KEEPS_RESERVATION 1 -DREMOTE=1
M_WINDOW_KEEPS_RESERVATION 3 -DREMOTE=1
M_TOLD_TO_ANOTHER 2 -DREMOTE=1
M_TOLD_UNSYNCED 2 -DREMOTE=1
M_TOLD_BEFORE_ANCHOR 3 -DREMOTE=1
END
}

# figure PATTERN FILE: the first number of the line that matches.
figure() {
    grep -m 1 -E -- "$1" "$2" | grep -oE '[0-9]+(\.[0-9]+)?' | head -n 1
}

# verifier DEFINITIONS...: make pan in the present folder.
verifier() {
    local flags="-DSAFETY -DNOCLAIM" order=
    case " $* " in *" -DLIVENESS "*) flags="-DNFAIR=3" ;; esac
    # The counterexample of this one lies at the end of the usual order.
    case " $* " in *" -DM_CHECK_COUNTED_LATE "*) order=-DT_REVERSE ;; esac
    spin "$@" -a "$here/commit.pml" >spin.log 2>&1 || return 1
    # shellcheck disable=SC2086 # lists of flags
    $compiler -w -DCOLLAPSE -DVECTORSZ=1024 -DMEMLIM=$memory_mib \
        $flags $order -o pan pan.c >cc.log 2>&1
}

# one WORK KIND-OF-RUN NAME KIND BOUNDS...: one run; its result goes to WORK/NAME-KIND.result.
one() {
    local work=$1 what=$2 name=$3 kind=$4 run="-m$depth_max" dir
    shift 4
    dir=$work/$what-$name-$kind
    mkdir -p "$dir" && cd "$dir" || return 1
    set -- -DKIND="$kind" "$@"
    [ "$what" = property ] || set -- -D"$name" "$@"
    case " $* " in *" -DLIVENESS "*) run="$run -a -f" ;; esac
    verifier "$@" || {
        echo "error $what $name ($kind) cannot be built: $(tail -n 1 spin.log)" >result
        return 0
    }
    local start=$SECONDS verdict=error text
    # shellcheck disable=SC2086
    ./pan $run >pan.log 2>&1
    text=$(grep -m 1 -oE 'assertion violated.*|acceptance cycle|out of memory|search depth too small' \
        pan.log)
    if [ "$what" = property ]; then
        grep -q 'errors: 0' pan.log && [ -z "$text" ] && verdict=holds
        text="states=$(figure 'states, stored' pan.log) depth=$(grep -m 1 -oE 'depth reached [0-9]+' pan.log |
            grep -oE '[0-9]+') MiB=$(figure 'total actual memory' pan.log) s=$((SECONDS - start)) $text"
    else
        case $text in
        *"size<"*) ;; # the model's own limit is nobody's mistake
        "assertion violated"* | "acceptance cycle") verdict=found ;;
        esac
    fi
    echo "$verdict $name ($kind) $text" >result
    [ $verdict = error ] || rm -f pan pan.*[!g]
}

if [ "${1:-}" = --one ]; then
    shift
    one "$@"
    exit
fi

# Most runs are shorter than a compiler takes to optimise them; the long ones are not.
compiler="cc -O0"
! command -v tcc >/dev/null || compiler=tcc
[ "${1:-}" != --large ] && [ -z "${BOUNDS:-}" ] || compiler="cc -O2"
export compiler

command -v spin >/dev/null || {
    echo "check.sh: spin is not installed" >&2
    exit 77
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
{
    if [ "${1:-}" = --large ]; then
        properties_large
    elif [ "${TIDEMARK_QUICK:-0}" = 1 ]; then
        properties | grep -E '^(time-early-crash|interval-live|version-crashes) '
    else
        properties
    fi | sed "s|^|property |; s|\$| ${BOUNDS:-}|"
    [ "${TIDEMARK_QUICK:-0}" = 1 ] || mistakes | sed 's|^|mistake |'
} >"$work/runs"
# shellcheck disable=SC2016
xargs -P 2 -d '\n' -I '{}' bash -c '"$0" --one "$1" $2' "$here/check.sh" "$work" '{}' <"$work/runs"
cat "$work"/*/result | sort
total=$(grep -c . "$work/runs")
properties=$(cat "$work"/*/result | grep -c '^holds')
found=$(cat "$work"/*/result | grep -c '^found')
states=$(cat "$work"/*/result | grep -oE '^holds.*states=[0-9]+' | grep -oE '[0-9]+$' |
    awk '{n += $1} END {printf "%d", n}')
echo "model: properties=$properties states=$states mistakes=$(grep -c '^mistake' "$work/runs")" \
    "found=$found errors=$((total - properties - found))"
[ "$total" -gt 0 ] && [ $((properties + found)) -eq "$total" ]
