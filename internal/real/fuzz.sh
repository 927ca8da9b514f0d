#!/bin/bash
# fuzz.sh N: runs every fuzz target of the repository for a while: a number of inputs, such as 2000x, or a time, such as 10m.
# CI counts inputs: with a time, go test now and then reports its own deadline as a failure ("context deadline exceeded").
set -euo pipefail
cd "$(dirname "$0")/../.."
much=${1:-10s}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
    grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | awk '{print $2}' | while read -r target; do
        echo "$dir $target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "$much" -fuzzminimizetime 100x "$dir" </dev/null >"$out" 2>&1 || { cat "$out"; exit 1; }
    done
done
