#!/bin/bash
# fuzz.sh TIME: runs every fuzz target of the repository for a while, such as 5s or 10m.
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${1:-10s}
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
    grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | awk '{print $2}' | while read -r target; do
        echo "$dir $target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" </dev/null >/tmp/fuzz.$$ 2>&1 || { cat /tmp/fuzz.$$; exit 1; }
    done
done
rm -f /tmp/fuzz.$$
