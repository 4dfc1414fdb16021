#!/bin/sh
# The tables of accuracy in doc/results.md, one for each network. usage: bench/accuracy_table.sh [NETWORK...]
set -eu
# shellcheck source=bench/networks.sh
. "$(dirname "$0")/networks.sh"
[ $# -gt 0 ] || eval "set -- $NETWORKS"

# spent: sets spent, the seconds of processor time in user mode of all commands so far.
spent() {
    times >"$scratch/times" # not in a subshell, which has its own
    spent=$(sed -n '2s/m\([0-9.]*\)s.*/ \1/p' "$scratch/times" | awk '{ print 60 * $1 + $2 }')
}

# row OPTIONS
row() {
    spent
    start=$spent
    measure "$@"
    [ "$correct" != - ] || { echo "| \`$*\` | refused | | | |"; return; }
    spent
    awk -v options="$*" -v top1="$top1" -v float="$float_top1" -v sqnr="$sqnr" -v s="$start" -v e="$spent" 'BEGIN {
        printf "| `%s` | %.2f | %.2f | %+.2f | %.1f |\n", options, sqnr, top1, top1 - float, e - s }'
}
for name; do
    network "$name"
    measure_float
    printf '\n### %s\n\nFloat: top-1 %s %% (%s right).\n\n' "$name" "$top1" "$correct"
    printf '| options | SQNR, dB | top-1, %% | change, points | s |\n|---|---|---|---|---|\n'
    row --recipe minmax
    row --recipe best
    row --recipe po2
    row --weights int4
    row --weights int6 --activations uint6
    row --recipe tflite
    row --recipe "aidge:input=$input_max,signs=1"
    row --recipe lltfi
done
