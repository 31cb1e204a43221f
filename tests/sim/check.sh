#!/bin/bash
# check.sh: what `make check` runs of the simulator: one seed twice, and the two traces compared byte
# for byte; the seeds that found something once; then at least 10^5 operations over fixed seeds and
# over fresh ones, which it prints.
#
# TIDEMARK_QUICK=1 (sanitizers, valgrind): a tenth of that.
set -euo pipefail

sim=tests/sim/sim
fixed=100000
# A fresh seed finds something once in some five million operations (docs/evidence.md). The long runs
# are there for that; here it would turn somebody else's change red.
fresh=6000
if [ -n "${TIDEMARK_QUICK:-}" ]; then
    fixed=10000
    fresh=1000
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The same seed is the same run: two processes, and once more behind other seeds.
for seed in 3 17 51; do
    "$sim" --seed $seed --trace "$work/one" >/dev/null
    "$sim" --seed $seed --trace "$work/two" >/dev/null
    cmp "$work/one" "$work/two"
    grep -qE '[0-9]+  2026-' "$work/one"
done
"$sim" --from 45 --seeds 7 --trace "$work/last" >/dev/null
cmp "$work/one" "$work/last"
echo "same seed, same trace"

# What each of them found is told in docs/evidence.md; a test of its own holds it, too, since another
# draw anywhere gives a seed another life.
while read -r seed name; do
    echo "$name:"
    "$sim" --seed "$seed"
done <<'END'
5001128 a nearer version on the way to a farther one
9000186 the record of an orderly stop
9004795 refused anew while a jump stands
100001248 a pause taken for a jump that the raw clock outgrew
60016540 an image of which only a TPM knew that loses writes
500000439 a disk from before a key and a ledger from behind it
3626 a pause behind the sample that was believed
700000968 a floor at the end of an interval that lying sources had moved
40004971 a pause behind which the TPM was slow to tell its time
END

"$sim" --total $fixed --from 1 --counts | tee "$work/counts" | tail -n 1
# A world in which nothing can be signed breaks no rule: a call that has no wrapper made one of all.
signed=$(awk '/signatures that left a device for the first time/ {print $1}' "$work/counts")
[ "${signed:-0}" -gt $((fixed / 100)) ] || {
    echo "check.sh: $signed signatures in $fixed operations" >&2
    exit 1
}

from=$(date +%s)000
echo "fresh seeds from $from on"
"$sim" --total $fresh --from "$from"
