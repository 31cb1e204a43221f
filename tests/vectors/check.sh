#!/bin/sh
# Public vectors in `make check`: everything of cost low (heights 5 and 10), and two trees of height
# 15. About 50 s on one core, most of it SHAKE256 at W8. By hand, tests/vectors/run takes any folder
# and any cost. With TIDEMARK_QUICK=1 (the second run of scripts/check.sh, under sanitizers)
# only the vectors that sign once or verify. Those run once more under every hash kernel
# that this CPU has, unless TIDEMARK_KERNEL forces one already.
set -eu
data=${srcdir:-$(dirname "$0")/../..}/tests/vectors/data
run=./tests/vectors/run

kernels=${TIDEMARK_KERNEL:-$(./tests/unit/test_hbs_kernels --names)}
for kernel in $kernels; do
    echo "hash kernel $kernel"
    for some in rfc neg- bc-depth-1 botan-hss botan-lms symcrypt sigver XMSS-sigVer \
        botan-XMSS-SHA2_10_192-sign botan-XMSS-SHAKE256_10_192-sign; do
        TIDEMARK_KERNEL=$kernel "$run" "$data" --max-cost low --only "$some"
    done
done
if [ "${TIDEMARK_QUICK:-0}" = 1 ]; then
    exit 0
fi
"$run" "$data" --max-cost low
"$run" "$data" --only bc-depth-7
"$run" "$data" --only pqkat-LMS-keyGen-1.0-SHA256-M24-H15-tg1-tc2
