#!/bin/bash
# postgres.sh [flags of go test]: the tests of store/postgres on a real PostgreSQL, without and with the race detector. Installs
# Debian's package if PostgreSQL is missing, starts a private cluster of its own on a loopback port, and ends and removes it.
#
# RACE=0 leaves the second run out.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
if [ -z "$(bin)" ]; then
    need postgres-is-missing postgresql
fi
bin=$(bin)
[ -n "$bin" ] || { echo "SKIP: postgres.sh found no PostgreSQL in /usr/lib/postgresql"; exit 0; }

work=$(mktemp -d "${TMPDIR:-/tmp}/nubecula-postgres.XXXXXX")
as=() # PostgreSQL refuses to run as root
if [ "$(id -u)" = 0 ]; then
    as=(runuser -u postgres --)
    chown postgres "$work"
fi
cleanup() {
    "${as[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' HUP INT TERM
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
(umask 077 && printf '%s\n' "$password" >"$work/password")
[ "$(id -u)" != 0 ] || chown postgres "$work/password"
"${as[@]}" "$bin/initdb" -D "$work/data" -U nubecula -A scram-sha-256 --pwfile="$work/password" >"$work/initdb.log"

up() { # starts the cluster on a free port, or again on the same
    local try
    for try in 1 2 3 4 5 6 7 8; do
        port=${port:-$((20000 + RANDOM % 20000))}
        if "${as[@]}" "$bin/pg_ctl" -D "$work/data" -l "$work/server.log" -w -t 120 \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$work -c max_connections=500" start >/dev/null; then
            return
        fi
        port=
    done
    cat "$work/server.log"
    return 1
}
port=
up
export NUBECULA_POSTGRES_DSN="postgres://nubecula:$password@127.0.0.1:$port/postgres?sslmode=disable"
restart="$bin/pg_ctl -D $work/data -m fast -w -t 120 restart"
[ "$(id -u)" != 0 ] || restart="runuser -u postgres -- $restart"
cd "$root"
CGO_ENABLED=0 go test -count=1 -timeout 30m "$@" ./store/postgres
NUBECULA_POSTGRES_RESTART="$restart >/dev/null" CGO_ENABLED=0 go test -count=1 -timeout 5m -run '^TestServerRestart$' ./store/postgres
if [ "${RACE:-1}" != 0 ]; then
    CGO_ENABLED=1 go test -count=1 -race -timeout 45m "$@" ./store/postgres
fi
