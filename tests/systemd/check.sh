#!/bin/sh
# The units as they are installed: systemd finds nothing wrong with them, they leave the service little
# (systemd-analyze security, 1.5 of 10 at most), and they allow every system call that the sandbox of
# front and core allows, but for those that only root makes.
set -eu
source=${srcdir:-.}
built=./systemd/tidemark.service
units=$source/systemd
sandbox=$source/src/daemon/sandbox.c

fail() {
    echo "check.sh: $*" >&2
    exit 1
}

command -v systemd-analyze >/dev/null || {
    echo "SKIPPED: there is no systemd-analyze (package systemd)" >&2
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program is not installed where the unit looks for it; systemd wants to see one there.
sed -e 's|^\(ExecStart[A-Za-z]*=\)[^ ]*/tidemarkd|\1/bin/true|' "$built" >"$work/tidemark.service"
cp "$units/tidemark.socket" "$units/tidemark-tls.socket" "$work"
systemd-analyze verify --man=no "$work/tidemark.service" "$work/tidemark.socket" \
    "$work/tidemark-tls.socket" >"$work/said" 2>&1 || {
    cat "$work/said"
    fail "systemd-analyze verify refuses the units"
}
# It also says what it only passes over, and about units of the host.
if grep -E 'tidemark(-tls)?\.(service|socket)' "$work/said"; then
    fail "systemd-analyze verify is not content"
fi

# So with the drop-in of the documentation; and a drop-in is looked at, or that says nothing.
mkdir "$work/tidemark.service.d"
cp "$source/docs/examples/encrypted-key.conf" "$work/tidemark.service.d"
systemd-analyze verify --man=no "$work/tidemark.service" >"$work/said" 2>&1 || {
    cat "$work/said"
    fail "systemd-analyze verify refuses the unit with docs/examples/encrypted-key.conf"
}
if grep -E 'tidemark\.service' "$work/said"; then
    fail "systemd-analyze verify is not content with docs/examples/encrypted-key.conf"
fi
printf '[Service]\nLoadCredentialEncrypted=../etc/shadow\n' >"$work/tidemark.service.d/wrong.conf"
systemd-analyze verify --man=no "$work/tidemark.service" >"$work/said" 2>&1 || :
grep -q 'wrong\.conf' "$work/said" || fail "systemd-analyze verify takes any drop-in"
rm -rf "$work/tidemark.service.d"

systemd-analyze security --no-pager --offline=true --threshold=15 "$work/tidemark.service" \
    >"$work/said" || {
    cat "$work/said"
    fail "the service is exposed by more than 1.5"
}
tail -n 1 "$work/said"
# The measure measures: without one line of it the score is another.
grep -v '^ProtectSystem=' "$work/tidemark.service" >"$work/open.service"
if systemd-analyze security --no-pager --offline=true --threshold=15 "$work/open.service" >/dev/null; then
    fail "a unit that can write everywhere passes, too"
fi

# Every call of the sandbox is one of the unit's, or the unit would end what the sandbox lets live.
members() {
    systemd-analyze syscall-filter --no-pager "$1" | sed -e 1d -e 's/^ *//' -e '/^#/d' -e '/^$/d' |
        while read -r word; do
            case $word in
            @*) members "$word" ;;
            *) echo "$word" ;;
            esac
        done
}
members @system-service >"$work/allowed"
members @default >>"$work/allowed"
sed -n 's/^SystemCallFilter=//p' "$work/tidemark.service" | tr -d '\r' | while read -r line; do
    for word in $line; do
        take=${word#\~}
        case $line in
        '~'*) members "$take" 2>/dev/null >"$work/out" && sort -u "$work/allowed" >"$work/a" &&
            sort -u "$work/out" | comm -23 "$work/a" - >"$work/allowed" ;;
        *@*) ;;
        *) echo "$take" >>"$work/allowed" ;;
        esac
    done
done
sort -u "$work/allowed" >"$work/a"
sed -n '/^static const char \*const both/,/^struct calls/p' "$sandbox" |
    sed '/^#ifdef/,/^#endif/d' | grep -o '"[a-z0-9_]*"' | tr -d '"' | sort -u >"$work/calls"
[ "$(wc -l <"$work/calls")" -gt 80 ] || fail "the list of the sandbox was not found in $sandbox"
systemd-analyze syscall-filter --no-pager @known | sed 's/^ *//' | sort -u >"$work/known"
# fchown: SQLite, as root. mincore: of libraries that look whether memory is there.
missing=$(comm -23 "$work/calls" "$work/a" | comm -12 - "$work/known" | grep -vx -e fchown -e mincore || :)
[ -z "$missing" ] || fail "in the sandbox and not in the unit: $missing"
echo "$(wc -l <"$work/calls") calls of the sandbox are within the unit's"
