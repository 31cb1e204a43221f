#!/bin/sh
# Runs poisoned under valgrind, under every kernel that valgrind can execute: no branch and no address
# may depend on a secret. First the proof that it would be seen.
set -eu

program=./tests/secrets/poisoned
command -v valgrind >/dev/null || {
    echo "valgrind is not installed: not run"
    exit 77
}
# A program under AddressSanitizer does not run under valgrind; the plain build's run counts.
if nm "$program" 2>/dev/null | grep -q '__asan_init'; then
    echo "built with AddressSanitizer: the plain build shows this"
    exit 0
fi

run() {
    TIDEMARK_KERNEL=$1 ./libtool --mode=execute valgrind -q --error-exitcode=9 \
        "$program" ${2+"$2"} 2>&1
}

if out=$(run libgcrypt --leak); then
    echo "a branch on a secret was not reported: $out"
    exit 1
fi
kernels=libgcrypt
! grep -qw avx2 /proc/cpuinfo || kernels="$kernels avx2"
for kernel in $kernels; do
    echo "kernel $kernel"
    run "$kernel"
done
