#!/bin/sh
# Public vectors through libtidemark-verify: all of them once, and some of each scheme cut off at
# every length. By hand: tests/verify/vectors DIR, for any folder in the schema of
# tests/vectors/data/README.md. TIDEMARK_QUICK=1 tries fewer lengths (scripts/check.sh).
set -eu
data=${srcdir:-$(dirname "$0")/../..}/tests/vectors/data
run=./tests/verify/vectors

"$run" "$data"
cut="rfc8554 rfc9858 liboqs-XMSS-SHA2_10_192 liboqs-XMSSMT-SHA2_20"
[ "${TIDEMARK_QUICK:-0}" = 1 ] || cut="$cut symcrypt bc-depth-1 liboqs openhitls"
for some in $cut; do
    echo "cut off: $some"
    "$run" "$data" --truncate --only "$some"
done
