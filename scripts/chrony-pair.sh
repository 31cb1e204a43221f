#!/bin/sh
# chrony-pair.sh: two real chronyd processes for the demo and the tests.
#
#   chrony-pair.sh start DIR CHRONYD [BASEPORT]
#   chrony-pair.sh stop DIR
#   chrony-pair.sh faketime FILE COMMAND [ARGUMENT ...]
#
# One is a time server (`local stratum 3`, the clock of this host), the other a client that follows it
# four times a second and is asked over UDP 127.0.0.1. Neither touches the clock of this host (-x) nor
# needs privilege (-U); both use high ports and nothing outside DIR. Found in DIR afterwards:
#
#   client.cmdport           the client's command port: what [clock] port in the signer's
#                            configuration must be. Set kernel_witness off there: with -x nobody tells
#                            the kernel that its clock is synchronised
#   server.pid client.pid    for tests that kill or stop one of them
#   server.conf client.conf server.log client.log
#
# start returns when the client has selected its source, and fails after 15 seconds. start in a DIR
# that has a running pair stops that first. stop succeeds also when nothing runs. Ports are the first
# two free ones from BASEPORT on; without it a place is chosen by process id.
#
# With FAKETIME_FILE=FILE in the environment both run under libfaketime and take their clock from FILE
# ("+0", "+604800", "-3600", ...). `faketime FILE COMMAND` runs a signer or a client under the same
# clock. Replace FILE by rename, so that nobody reads half of it.
#
# Measured with chronyd 4.3 and libfaketime 0.9.10: when FILE changes while all run, server and client
# move together. Shifts of 20 s to a week, in both directions, are noticed ("Forward time jump
# detected"): the client forgets its source, reports leap status 3, and is synchronised with an error
# below 1 ms again half a second later, at most 0.8 s. Shifts of 2 and 3 s it did not notice: the last
# update only looks that much older or from the future, until the next. The signer sees the step
# itself, since its raw clock did not move, and warms up anew: three more updates, which is 3 s where
# the clock is read once a second. Not faked: adjtimex (another reason for kernel_witness off),
# timerfd, and sleeping until a point of CLOCK_MONOTONIC (clock_nanosleep with TIMER_ABSTIME fails
# with EINVAL there).
set -eu

fail() {
    echo "chrony-pair: $*" >&2
    exit 1
}

absolute() {
    case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

# The process that DIR/NAME.pid speaks of, if it is still the chronyd that we started: a process id
# may have gone to somebody else since.
running() {
    pid=$(cat "$1.pid" 2>/dev/null) || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/$1.conf"
}

stop_one() {
    if running "$1"; then
        # CONT, because a test may have left it stopped.
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
        tries=0
        while running "$1"; do
            tries=$((tries + 1))
            [ $tries -lt 40 ] || kill -KILL "$pid" 2>/dev/null || true
            [ $tries -lt 80 ] || fail "process $pid does not end"
            sleep 0.05
        done
    fi
    rm -f "$1.pid"
}

stop_both() {
    stop_one client
    stop_one server
    rm -f client.cmdport
}

# How many UDP sockets have this local port, in the tables of this network namespace.
sockets_on() {
    cat /proc/net/udp /proc/net/udp6 2>/dev/null |
        awk -v port="$(printf '%04X' "$1")" '$2 ~ (":" port "$") { n++ } END { print n + 0 }'
}

# The first free port from $1 on.
free_port() {
    port=$1
    while [ "$(sockets_on "$port")" -ne 0 ]; do
        port=$((port + 1))
        [ "$port" -lt 65536 ] || fail "no free port from $1 on"
    done
    echo "$port"
}

configure() {
    cat >server.conf <<END
local stratum 3
port $1
bindaddress 127.0.0.1
allow 127.0.0.1
cmdport 0
bindcmdaddress /
pidfile server.chronyd.pid
END
    cat >client.conf <<END
server 127.0.0.1 port $1 iburst minpoll -2 maxpoll -2
port 0
cmdport $2
bindcmdaddress 127.0.0.1
bindcmdaddress /
pidfile client.chronyd.pid
END
}

# A session of its own, so that the terminal's Ctrl-C ends the demo and not the clocks under it.
launch() {
    : >"$1.log"
    setsid "$chronyd" -4 -x -U -u "$(id -un)" -d -f "$dir/$1.conf" >>"$1.log" 2>&1 </dev/null &
    echo $! >"$1.pid"
}

find_faketime() {
    for faketime in "${FAKETIME_LIB:-}" /usr/lib/*/faketime/libfaketime.so.1 \
        /usr/lib/faketime/libfaketime.so.1 /usr/lib64/faketime/libfaketime.so.1; do
        [ ! -f "$faketime" ] || return 0
    done
    fail "libfaketime.so.1 is not installed"
}

# For what is started from this shell afterwards.
fake_clock() {
    find_faketime
    export LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$FAKETIME_FILE" FAKETIME_NO_CACHE=1
    # The address sanitizer's allocator asks for the time while it holds its lock, and libfaketime's
    # first answer allocates: each waits for the other. It has no need of the time if it gives nothing back.
    export ASAN_OPTIONS="allocator_release_to_os_interval_ms=-1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    # Without this one all clocks become the faked one, the raw clock included.
    export FAKETIME_DONT_FAKE_MONOTONIC=1
}

# 0: synchronised; 1: one of them has ended or it took too long.
wait_for_source() {
    tries=0
    until grep -q 'Selected source' client.log; do
        tries=$((tries + 1))
        patience=$((patience - 1))
        [ $patience -gt 0 ] || return 1
        # Not at once: right after the fork they still carry this script's name.
        [ $tries -lt 20 ] || { running server && running client; } || return 1
        sleep 0.05
    done
}

start() {
    case $base in '' | *[!0-9]*) fail "not a port: $base" ;; esac
    stop_both
    patience=300 # twentieths of a second, for all attempts together
    for attempt in 1 2 3 4 5; do
        server_port=$(free_port "$base")
        client_port=$(free_port $((server_port + 1)))
        configure "$server_port" "$client_port"
        (
            [ -z "${FAKETIME_FILE:-}" ] || fake_clock
            launch server
            launch client
        ) || return 1
        # chronyd shares its ports with whoever else wants them, without a word: two pairs that were
        # started at the same moment can only be told by counting.
        if wait_for_source && [ "$(sockets_on "$server_port")" -eq 1 ] &&
            [ "$(sockets_on "$client_port")" -eq 1 ]; then
            echo "$client_port" >client.cmdport.new
            mv client.cmdport.new client.cmdport
            return 0
        fi
        stop_both
        base=$((client_port + 1 + $$ % 50 + attempt))
    done
    cat server.log client.log >&2
    fail "no synchronised pair after $attempt attempts"
}

[ $# -ge 2 ] || fail "usage: chrony-pair.sh start DIR CHRONYD [BASEPORT] | stop DIR |" \
    "faketime FILE COMMAND [ARGUMENT ...]"
command=$1
if [ "$command" = faketime ]; then
    FAKETIME_FILE=$(absolute "$2")
    fake_clock
    shift 2
    exec "$@"
fi
[ "$command" != start ] || mkdir -p "$2"
if [ ! -d "$2" ]; then
    [ "$command" = stop ] || fail "no directory $2"
    exit 0
fi
chronyd=$(absolute "${3:-}")
[ -z "${FAKETIME_FILE:-}" ] || FAKETIME_FILE=$(absolute "$FAKETIME_FILE")
dir=$(cd "$2" && pwd -P)
cd "$dir"
umask 077

case $command in
start)
    { [ -f "$chronyd" ] && [ -x "$chronyd" ]; } ||
        fail "no chronyd at '$chronyd'; see scripts/get-chronyd"
    base=${4:-$((20000 + $$ % 1200 * 8))}
    start
    ;;
stop) stop_both ;;
*) fail "unknown command $command" ;;
esac
