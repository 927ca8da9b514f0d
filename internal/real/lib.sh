# Shared by the scripts of the real suites: sourced, with set -euo pipefail in force.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
passed=0
failed=0

# need COMMAND PACKAGE...: installs the packages when the command is not there.
need() {
    local cmd=$1
    shift
    command -v "$cmd" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "SKIP: no $cmd on this machine, and only root with apt-get can install it: $*"; exit 0; }
    echo "installing $*"
    apt-get -o DPkg::Lock::Timeout=900 -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 -qq install -y --no-install-recommends "$@" >/dev/null
}

# check NAME COMMAND...: runs a step; its output is shown when it fails.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name: $*"
        printf '%s\n' "$out" | tail -n 30 | sed 's/^/      /'
    fi
}

# same WANT COMMAND...: succeeds when the command prints exactly that.
same() {
    local want=$1 got
    shift
    got=$("$@") || return
    [ "$got" = "$want" ] || { echo "want: $want"; echo "got:  $got"; return 1; }
}

# has PATTERN COMMAND...: succeeds when the command's output has a line that matches.
has() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || { printf '%s\n' "$got"; return 1; }
    grep -qE -- "$want" <<<"$got" || { echo "no line matches $want in:"; printf '%s\n' "$got"; return 1; }
}

# fails PATTERN COMMAND...: succeeds when the command fails and says so.
fails() {
    local want=$1 got
    shift
    if got=$("$@" 2>&1); then
        echo "it succeeded: $got"
        return 1
    fi
    grep -qE -- "$want" <<<"$got" || { echo "no line matches $want in:"; printf '%s\n' "$got"; return 1; }
}

# until_true SECONDS COMMAND...: repeats a command until it succeeds.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { "$@"; return 1; }
        sleep 0.2
    done
}

summary() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" = 0 ]
}
