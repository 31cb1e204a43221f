#!/bin/bash
# size.sh [TABLE]: builds libtidemark-verify as a boot loader would (-Os, freestanding), each scheme
# alone and all together, and prints code size and stack. Fails on a compiler's warning, and if the
# library asks for anything but the four memory functions, has data of its own, recurses, or takes
# more than docs/verify.md says.
#
# Bounds are those of gcc on x86-64, where CI runs; elsewhere the figures are printed and not judged.
set -euo pipefail
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-std=c11 -Wall -Wextra -Werror -Os -ffreestanding -ffunction-sections -fdata-sections -fno-pie -I$src/src"
for flag in -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables; do
    # shellcheck disable=SC2086 # a list of words
    if $cc -Werror $flag -c -x c -o "$work/flag.o" /dev/null 2>/dev/null; then flags="$flags $flag"; fi
done
graph=no
if $cc -Werror -fcallgraph-info=su -c -x c -o "$work/flag.o" /dev/null 2>/dev/null; then graph=yes; fi
judged=no
[ "$(uname -m) $graph" != "x86_64 yes" ] || judged=yes
failed=0
complain() {
    echo "size.sh: $1" >&2
    failed=1
}

# only WITH...: macros that leave out everything but what is named.
only() {
    local all="LMS HSS XMSS XMSSMT SHA256 SHAKE256 RFC8391 SPKI PLAN DIGEST" name
    for name in $all; do
        [[ " $* " == *" $name "* ]] && echo "-DTMV_WITH_$name=1" || echo "-DTMV_WITH_$name=0"
    done
}

# selection NAME TEXT-MAX STACK-MAX WITH...
selection() {
    local name=$1 text_max=$2 stack_max=$3 macros objects unknown sizes line deepest="-"
    shift 3
    mkdir -p "$work/$name"
    macros=$(only "$@" | tr '\n' ' ')
    for file in "$src"/src/verify/*.c; do
        local out
        out="$work/$name/$(basename "$file" .c).o"
        # shellcheck disable=SC2086 # lists of words
        (cd "$work/$name" && $cc $flags $macros \
            $([ $graph = no ] || echo -fcallgraph-info=su) -c -o "$out" "$file")
    done
    objects=$(ls "$work/$name"/*.o)
    # shellcheck disable=SC2086
    unknown=$(ld -r -o "$work/$name/all.out" $objects && nm -u "$work/$name/all.out" |
        awk '{ print $NF }' | grep -vxE 'mem(cpy|move|set|cmp)' || true)
    [ -z "$unknown" ] || complain "$name asks for: $unknown"
    # Texts of result codes are left out of the count: a boot loader does not link them.
    # shellcheck disable=SC2086
    sizes=$(size $(echo "$objects" | grep -v '/result\.o') |
        awk 'NR > 1 { t += $1; d += $2; b += $3 } END { print t, d, b }')
    read -r text data bss <<<"$sizes"
    [ "$data$bss" = 00 ] || complain "$name has data of its own: data $data, bss $bss"
    # shellcheck disable=SC2086
    $cc -std=gnu11 -O1 -D_GNU_SOURCE $macros -I"$src/src" -no-pie -Wl,-z,now -o "$work/$name/stack" \
        "$src/tests/verify/stack.c" $objects
    line=$("$work/$name/stack" "$src"/tests/fuzz/verify/{sig,plan}-*) || complain "$name: stack"
    if [ $graph = yes ]; then
        python3 "$src/tests/verify/stack.py" "$work/$name"/*.ci >"$work/$name/depths" ||
            complain "$name: stack.py"
        deepest=$(awk 'NR == 1 { print $2 }' "$work/$name/depths")
    fi
    printf '%-20s text=%-6s data=%s bss=%s deepest=%s %s\n' "$name" "$text" "$data" "$bss" \
        "$deepest" "$line"
    [ $judged = yes ] || return 0
    [ "$text" -le "$text_max" ] || complain "$name: $text bytes of code, docs/verify.md says $text_max"
    [ "$deepest" -le "$stack_max" ] ||
        complain "$name: $deepest bytes of stack, docs/verify.md says $stack_max"
    for part in $line; do
        case $part in
        key=* | stream=* | whole=* | plan=*)
            # What was measured can not be more than what was computed, but for the frames around it.
            [ "${part#*=}" -le $((deepest + 192)) ] || complain "$name: measured $part" ;;
        esac
    done
}

# Rows of the table in docs/verify.md: "| `NAME` | text | stack | what |", WITH words in the comment.
table=${1:-$src/docs/verify.md}
rows=0
while IFS='|' read -r _ name text stack with _; do
    name=$(echo "$name" | tr -d ' `')
    # shellcheck disable=SC2086
    selection "$name" "$(echo "$text" | tr -dc 0-9)" "$(echo "$stack" | tr -dc 0-9)" \
        $(echo "$with" | tr -d '`,')
    rows=$((rows + 1))
done < <(sed -n '/^<!-- size: begin/,/^<!-- size: end/p' "$table" | grep '^| `')
[ $rows -gt 0 ] || complain "no table of sizes in $table"
exit $failed
