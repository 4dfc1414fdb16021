#!/bin/sh
# Run one script of CLI checks in a scratch directory. usage: run_cli.sh QUERN SOURCE_DIR SCRIPT
# The script finds: `quern`, make_array and make_model first in PATH, $SOURCE_DIR, $DIGITS (the built-in model and data),
# $SHARED (empty when the shared material is absent), and the functions below.
set -eu
PATH=$(dirname "$1"):$(dirname "$1")/tests:$PATH
SOURCE_DIR=$2
DIGITS=$2/examples/digits
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

# check CODE FRAGMENT COMMAND...: the command exits with CODE and FRAGMENT (a grep -E pattern; empty: anything) is in what
# it says on stderr, which is one line, and stdout is empty, when CODE is not 0. stdout goes to ./out, stderr to ./err.
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
        [ ! -s out ] || fail "'$*' failed, yet printed: $(head -c 300 out)"
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

# number EXPRESSION: an awk expression over numbers is true: number "$(json n) == 1000".
number() {
    [ "$(awk "BEGIN { print (($1) ? 1 : 0) }" </dev/null 2>&1)" = 1 ] || fail "not so: $1"
}

# same FILE OTHER: the files hold the same bytes.
same() {
    cmp "$1" "$2" >/dev/null 2>&1 || fail "$1 and $2 differ: $(cmp "$1" "$2" 2>&1 | head -n 1)"
}

# silent: the last command said nothing on stderr.
silent() {
    [ ! -s err ] || fail "unexpected talk: $(head -c 300 err)"
}

# rows FILE.npy TYPE WIDTH: a C-order .npy as text, WIDTH numbers a line; TYPE as od -t takes it (f4, u1).
rows() {
    header=$(od -An -t u1 -j 8 -N 2 "$1" | awk '{ print 10 + $1 + 256 * $2 }')
    od -An -v -t "$2" -w$(($3 * ${2#?})) -j "$header" "$1"
}

# npy DESCR SHAPE [FORTRAN]: an .npy file whose elements come from stdin.
npy() {
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '$1', 'fortran_order': ${3:-False}, 'shape': ($2), }"
    cat
}
skip_without_shared() {
    if [ -z "$SHARED" ]; then
        echo "skipped: $1 needs the shared models and data"
        exit 77
    fi
}

. "$3"
[ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
