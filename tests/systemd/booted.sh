#!/bin/bash
# booted.sh FIRST|SECOND: what a machine with systemd does with the installed package, said from within that
# machine, which scripts/boot-check boots twice. Everything is looked at as an operator would: systemctl,
# journalctl, tidemark, curl. The last line is "boot-check: all well", or names what was not.
set -uo pipefail

socket=/run/tidemark/tidemark.sock
# Longer than systemd waits for a watchdog (60 s), and than any start (90 s) on a slow machine.
patience_s=240

say() { echo "boot-check: $*"; }

fail() {
    say "NOT WELL: $*"
    systemctl status --no-pager -l tidemark.service tidemark.socket
    journalctl --no-pager -b -n 60
    exit 1
}

# until WHAT COMMAND...: the command succeeds before long.
until_() {
    local what=$1 end=$((SECONDS + patience_s))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what"
        sleep 0.5
    done
}

property() { systemctl show -P "$1" "${2:-tidemark.service}"; }
main_pid() { property MainPID; }
pid_of() { pgrep -x -P "$(main_pid)" "tidemarkd-$1"; }

# journal FIELD=VALUE...: some line of the service in this boot has them all.
journal() { [ -n "$(journalctl -b -q --no-pager -o cat -u tidemark.service "$@")" ]; }

sign() {
    echo "$1" >"/srv/$1.bin"
    tidemark sign "/srv/$1.bin" --key fw --version "$1" --quiet || fail "version $1 is not signed"
    tidemark verify "/srv/$1.bin" --sig "/srv/$1.bin.sig" --public /srv/fw.pem --quiet ||
        fail "the signature of version $1 is not good"
}

installed() {
    id tidemark | grep -q tss || fail "the user tidemark is not in the group tss"
    [ "$(stat -c '%U %a' /run/tidemark)" = 'tidemark 750' ] || fail "/run/tidemark: $(stat /run/tidemark)"
    local socket
    for socket in tidemark.socket tidemark.service; do
        systemctl start "$socket"
        [ "$(systemctl is-active "$socket")" = inactive ] || fail "$socket runs without a key"
        [ "$(property ConditionResult "$socket")" = no ] || fail "$socket: no condition is in the way"
    done
    say "without a key neither the socket nor the service starts, and nothing fails"
}

make_key() {
    install -d -o tidemark -g tidemark -m 0700 /var/lib/tidemark
    runuser -u tidemark -- tidemark key new /srv/plan.json --quiet || fail "no key"
    runuser -u tidemark -- tidemarkd --check-config || fail "the configuration"
}

started() {
    systemctl enable -q --now tidemark.socket tidemark.service || fail "systemctl enable --now"
    [ "$(systemctl is-active tidemark.service)" = active ] || fail "not active behind systemctl start"
    say "started: Type=$(property Type), $(property ActiveState) ($(property SubState))," \
        "\"$(property StatusText)\", watchdog $(property WatchdogUSec)," \
        "$(property NRestarts) restarts"
    [ "$(property Type)" = notify ] || fail "it is not of Type=notify"
    property StatusText | grep -q '^Operational' || fail "it says no state"
    [ "$(stat -c '%U %G %a' $socket)" = 'tidemark tidemark 660' ] || fail "socket: $(stat $socket)"
    tidemark key public fw --format spki-pem >/srv/fw.pem || fail "no public key"
    sign 1.0
    say "a signature over $socket is good"
}

locked_in() {
    local process pid
    for process in front core; do
        pid=$(pid_of $process) || fail "there is no $process"
        grep -q '^Seccomp:[[:space:]]*2' "/proc/$pid/status" || fail "$process has no filter"
        grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$pid/status" || fail "$process may get privileges"
        grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" || fail "$process has capabilities"
        grep -q '^Max core file size *0 ' "/proc/$pid/limits" || fail "$process may dump"
        [ "$(stat -c %U "/proc/$pid/mem")" = root ] || fail "$process may be traced by its own user"
    done
    say "front and core have a filter, no capability, no core dump;" \
        "$(systemd-analyze security --no-pager tidemark.service | tail -n 1 | tr -cd '[:print:]')"
}

journaled() {
    local line
    curl -sf --unix-socket $socket -H 'Request-Id: boot-4711' -H 'Content-Type: application/octet-stream' \
        --data-binary @/srv/1.0.bin 'http://localhost/v1/keys/fw/signatures?version=1.1' >/srv/answer ||
        fail "POST over the socket"
    until_ "no line with the request's id" journal REQUEST_ID=boot-4711 PROCESS=core
    line=$(journalctl -b -q --no-pager -o json -u tidemark.service REQUEST_ID=boot-4711 \
        STATE=released | head -n 1)
    local field
    for field in MESSAGE_ID KEY_ID OTS_INDEX STATE REQUEST_ID PROCESS _SYSTEMD_UNIT SYSLOG_IDENTIFIER; do
        grep -q "\"$field\":" <<<"$line" || fail "the line of the signature has no $field: $line"
    done
    say "journalctl REQUEST_ID=boot-4711: $(journalctl -b -q --no-pager -o cat -u tidemark.service \
        REQUEST_ID=boot-4711 | wc -l) lines, with MESSAGE_ID, KEY_ID, OTS_INDEX, STATE, PROCESS"
}

reloaded() {
    local pid
    pid=$(main_pid)
    sed -i 's/"per_hour": 3600/"per_hour": 7200/' /etc/tidemark/tidemark.json
    systemctl reload tidemark.service || fail "systemctl reload"
    until_ "the log does not say that it was reloaded" in_log 'the configuration was reloaded'
    cp /etc/tidemark/tidemark.json /srv/good.json
    echo '{"nonsense": 1}' >/etc/tidemark/tidemark.json
    systemctl reload tidemark.service || fail "systemctl reload of a bad file"
    until_ "the log does not say that it was not reloaded" in_log 'the configuration was not reloaded'
    cp /srv/good.json /etc/tidemark/tidemark.json
    [ "$(main_pid)" = "$pid" ] || fail "reloading started it anew"
    sign 1.2
    say "systemctl reload: a good file is taken, a bad one is not, the process is the same"
}
in_log() { journalctl -b -q --no-pager -o cat -u tidemark.service | grep -q "$1"; }

watched() {
    local pid before
    pid=$(main_pid)
    before=$SECONDS
    kill -STOP "$(pid_of core)" || fail "there is no core to stop"
    until_ "systemd does not start a service anew whose core stands still" restarted
    until_ "it is not active again" systemctl -q is-active tidemark.service
    [ "$(main_pid)" != "$pid" ] || fail "the process is the same"
    say "core stopped by SIGSTOP: started anew within $((SECONDS - before)) s;" \
        "$(journalctl -b -q --no-pager -o cat -u tidemark.service | grep -i -m 1 watchdog)"
    sign 1.3
}
restarted() { [ "$(property NRestarts)" -ge 1 ]; }

stopped() {
    local cursor
    cursor=$(journalctl -b -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
    systemctl stop tidemark.service || fail "systemctl stop"
    [ "$(property Result)" = success ] || fail "stopped, with the result $(property Result)"
    [ "$(property ExecMainStatus)" = 0 ] || fail "stopped, with the status $(property ExecMainStatus)"
    ! journalctl -b -q --no-pager --after-cursor="$cursor" | grep 'Killing process\|left-over process' ||
        fail "processes were left over"
    [ "$(systemctl is-active tidemark.socket)" = active ] || fail "the socket went with the service"
    say "systemctl stop: $(property Result), status $(property ExecMainStatus), the socket is still there"
    sign 2.0
    [ "$(systemctl is-active tidemark.service)" = active ] || fail "a connection did not start it"
    say "a connection to the socket started the service, and was answered"
}

# certificate NAME LINE...: as docs/access.md has them made, by the authority "ca".
certificate() {
    local name=$1
    shift
    printf '%s\n' "cn = \"$name\"" signing_key 'expiration_days = 7' "$@" >"/srv/$name.cfg"
    certtool --generate-privkey --key-type ecdsa --sec-param high --outfile "/srv/$name.key" &&
        certtool --generate-certificate --load-privkey "/srv/$name.key" --load-ca-certificate /srv/ca.pem \
            --load-ca-privkey /srv/ca.key --template "/srv/$name.cfg" --outfile "/srv/$name.pem"
}
certificates() {
    printf '%s\n' 'cn = "Tidemark clients"' ca cert_signing_key 'expiration_days = 7' >/srv/ca.cfg
    certtool --generate-privkey --key-type ecdsa --sec-param high --outfile /srv/ca.key &&
        certtool --generate-self-signed --load-privkey /srv/ca.key --template /srv/ca.cfg \
            --outfile /srv/ca.pem &&
        certificate server 'dns_name = "localhost"' tls_www_server &&
        certificate router-ci 'uri = "spiffe://example.org/ci/router"' tls_www_client
}

# seal NAME FILE: the file lies under a key of the host as the credential NAME, and nowhere else.
seal() {
    systemd-creds encrypt --with-key=host --name="$1" "$2" "/etc/credstore.encrypted/$1" ||
        fail "systemd-creds does not seal $1"
    rm "$2"
}

give_credentials() {
    install -d -m 0700 /etc/credstore /etc/credstore.encrypted
    install -m 0600 /srv/server.pem /etc/credstore/tidemark-tls-certificate
    install -m 0600 /srv/ca.pem /etc/credstore/tidemark-tls-trust
    seal tidemark-tls-key /srv/server.key
    install -D -m 0644 /usr/share/doc/tidemark/examples/encrypted-key.conf \
        /etc/systemd/system/tidemark.service.d/encrypted-key.conf || fail "no example of a drop-in"
    systemctl daemon-reload
}

ask_over_tls() { curl -s --tlsv1.3 --cacert /srv/ca.pem "$@"; }
client=(--cert /srv/router-ci.pem --key /srv/router-ci.key)

sign_over_tls() {
    echo "$1" >"/srv/$1.bin"
    tidemark sign "/srv/$1.bin" --key fw --version "$1" --out "/srv/$1.sig" --quiet \
        --url https://localhost:8794 --tls-ca /srv/ca.pem --tls-cert /srv/router-ci.pem \
        --tls-key /srv/router-ci.key || fail "version $1 is not signed over TLS"
    tidemark verify "/srv/$1.bin" --sig "/srv/$1.sig" --public /srv/fw.pem --quiet ||
        fail "the signature of version $1, made over TLS, is not good"
    grep -q '"requester":"router-ci"' "/srv/$1.receipt" || fail "the receipt names another requester"
}

over_tls() {
    local answer
    certificates >/srv/certtool.log 2>&1 || fail "certificates: $(tail -n 3 /srv/certtool.log)"
    give_credentials
    sed -i 's|"identities": {|&\n    "router-ci": { "match": [{ "spiffe": "spiffe://example.org/ci/router" }], "roles": ["signer"] },|' \
        /etc/tidemark/tidemark.json
    # As docs/operations.md says: a service that runs gets no further socket.
    ! systemctl start tidemark-tls.socket 2>/dev/null || fail "a running service was given a socket"
    systemctl stop tidemark.service || fail "systemctl stop"
    systemctl enable -q --now tidemark-tls.socket || fail "systemctl enable --now tidemark-tls.socket"
    [ "$(systemctl is-active tidemark.service)" = inactive ] || fail "the service runs already"
    answer=$(ask_over_tls "${client[@]}" -o /srv/answer -w '%{http_code}' --data-binary @/srv/2.0.bin \
        -H 'Content-Type: application/octet-stream' 'https://localhost:8794/v1/keys/fw/signatures?version=2.1')
    [ "$answer" = 201 ] || fail "a request over TLS was answered \"$answer\""
    [ "$(systemctl is-active tidemark.service)" = active ] || fail "a connection did not start it"
    ! ask_over_tls https://localhost:8794/health/live || fail "answered without a certificate"
    sign_over_tls 2.2
    sign 2.3
    ! grep -rq PRIVATE /etc/credstore /etc/credstore.encrypted || fail "the key lies in the clear"
    say "tidemark-tls.socket: a connection over TLS started the service, $answer for a client's" \
        "certificate, nothing without; the key of TLS is a sealed credential"
}

# The TPM has an owner from here on, which the service never needs.
owned() {
    systemctl stop tidemark.socket tidemark-tls.socket tidemark.service || fail "stopping all"
    sed 's/"key": "fw"/"key": "fw2"/' /srv/plan.json >/srv/plan2.json
    head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >/srv/owner
    tpm2_changeauth -c owner file:/srv/owner || fail "tpm2_changeauth"
    seal tidemark-tpm-owner /srv/owner
    ! runuser -u tidemark -- tidemark key new /srv/plan2.json --quiet 2>/srv/said ||
        fail "a key without the owner's authorisation"
    grep -q 'owner authorisation of the TPM is wrong or missing' /srv/said || fail "it says: $(cat /srv/said)"
    systemd-run --wait --pipe --quiet --uid=tidemark -p LoadCredentialEncrypted=tidemark-tpm-owner \
        tidemark key new /srv/plan2.json --quiet || fail "no key with the sealed credential"
    systemctl start tidemark.socket tidemark-tls.socket tidemark.service || fail "starting all"
    tidemark sign /srv/1.0.bin --key fw2 --version 1.0 --out /srv/fw2.sig --quiet || fail "fw2 does not sign"
    say "a TPM with an owner: no key without the authorisation, one with the credential sealed to this host"
}

quiet() {
    ! journalctl -b -k -q --no-pager | grep 'audit.*type=1326' ||
        fail "the kernel ended something for a system call"
    ! journalctl -b -q --no-pager | grep 'Libgcrypt warning' ||
        fail "a library was used before it was made ready"
    ! systemctl --failed --no-legend --no-pager | grep tidemark || fail "a unit has failed"
}

if [ "$1" = FIRST ]; then
    say "$(uname -sr), $(systemctl --version | head -n 1)"
    installed
    make_key
    started
    locked_in
    journaled
    reloaded
    watched
    quiet
    stopped
    over_tls
    owned
    quiet
else
    until_ "the service does not start with the machine" systemctl -q is-active tidemark.service
    sign 3.0
    sign_over_tls 3.1
    tidemark sign /srv/1.0.bin --key fw --version 1.0 --force --quiet || fail "the signature of 1.0 is lost"
    say "started with the machine, and signs where it left off, over TLS too"
    systemctl stop tidemark.socket tidemark-tls.socket tidemark.service || fail "stopping all"
    [ ! -e $socket ] || ! curl -s --unix-socket $socket http://localhost/health/live || fail "still there"
    quiet
fi
say "all well"
