#!/bin/sh
# Run one script of CLI checks in a scratch directory. usage: run_cli.sh QUERN SOURCE_DIR SCRIPT
# The script finds: `quern` first in PATH, $SOURCE_DIR, $SHARED (empty when the shared material is absent), and the
# functions below.
set -eu
PATH=$(dirname "$1"):$PATH
SOURCE_DIR=$2
SHARED=${QN_SHARED:-$2/../shared}
[ -d "$SHARED/data" ] || SHARED=""
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# check CODE FRAGMENT COMMAND...: the command exits with CODE, and what it says on stderr is at most one line that holds
# FRAGMENT (a grep -E pattern; empty: anything). stdout goes to ./out, stderr to ./err.
check() {
    code=$1 fragment=$2
    shift 2
    got=0
    "$@" >out 2>err || got=$?
    [ "$got" = "$code" ] || fail "exit $got, expected $code: $* ($(head -c 300 err))"
    if [ -n "$fragment" ]; then
        grep -qE -- "$fragment" err || fail "'$fragment' is not in what '$*' said: $(head -c 300 err)"
    fi
    if [ "$code" != 0 ]; then
        [ "$(wc -l <err)" = 1 ] || fail "'$*' said $(wc -l <err) lines, not one: $(head -c 600 err)"
    fi
    leftover=$(find . -name '*.tmp.*')
    [ -z "$leftover" ] || fail "'$*' left $leftover behind"
}

# expect PATTERN: the last command's stdout has a line that matches.
expect() {
    grep -qE -- "$1" out || fail "'$1' is not in the output: $(head -c 600 out)"
}

# json KEY: the value of a top-level number or string of the last command's stdout.
json() {
    sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" out
}

skip_without_shared() {
    if [ -z "$SHARED" ]; then
        echo "skipped: $1 needs the shared models and data"
        exit 0
    fi
}

. "$3"
[ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
