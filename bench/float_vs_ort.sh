#!/bin/sh
# The float engine against ONNX Runtime, one thread, batch 1, in alternation. usage: bench/float_vs_ort.sh BUILD_DIR
# [ROUNDS] MODEL:DIM,DIM,... [MODEL:DIM,DIM,...]...
# Needs node with onnxruntime-node, as vs_ort.sh. Prints for each model milliseconds of processor time per item (the
# median over rounds of each one's least) and their ratio.
set -eu
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
build=$1 rounds=9
shift
case $1 in
*:*) ;;
*) rounds=$1 && shift ;;
esac
here=$(dirname "$0")
field() { sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"; }
median() { sort -g | sed -n "$(((rounds + 1) / 2))p"; }
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT
for pair in "$@"; do
    model=${pair%:*} dims=${pair##*:}
    : >"$times/quern"
    : >"$times/ort"
    for _ in $(seq "$rounds"); do
        "$build/bench/bench_engine" "$model" --engine float --batch 1 --seconds 1 | field cpu_min_ms >>"$times/quern"
        node "$here/ort_bench.js" "$model" "$dims" 1 1 1 | field cpu_min_ms >>"$times/ort"
    done
    [ "$(grep -c . "$times/quern")" = "$rounds" ] && [ "$(grep -c . "$times/ort")" = "$rounds" ] ||
        { echo "$0: $model did not run in both with items of $dims (dimensions without the batch)" >&2; exit 1; }
    echo "$(basename "$model" .onnx) $(median <"$times/quern") $(median <"$times/ort")" |
        awk '{ printf "%-24s quern %9.3f ms, ONNX Runtime %9.3f ms, ratio %.2f\n", $1, $2, $3, $2 / $3 }'
done
