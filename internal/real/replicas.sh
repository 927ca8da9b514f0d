#!/bin/bash
# replicas.sh: the kill test's replicas - three processes on one PostgreSQL, which the test itself starts - and
# boots a second with one, two and three of them. `KILLS=100 replicas.sh` does more of it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
go run ./internal/killtest -mode replicas -kills "${KILLS:-6}"
go run ./internal/killtest -boots "${BOOTS:-64}"
