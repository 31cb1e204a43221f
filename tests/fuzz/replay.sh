#!/bin/sh
# Every fuzz target over its corpus, and over small changes of what is in it.
set -eu
here="${srcdir:-$(dirname "$0")/../..}/tests/fuzz"
for source in "$here"/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case $name in
    ledger) count=4 ;;   # a database for each input
    answer) count=40 ;;  # signatures are checked, and files written
    peer) count=30 ;;    # keys and certificates are checked
    attest) count=160 ;; # signatures are checked
    *) count=400 ;;
    esac
    printf '%s: ' "$name"
    ./tests/fuzz/replay_"$name" -n "$count" "$here/$name"
done
