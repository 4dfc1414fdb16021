#!/bin/sh
# quern against ONNX Runtime, in alternation in one run: what they do one after the other in the same minute is compared,
# and nothing else. usage: bench/vs_ort.sh BUILD_DIR FLOAT_MODEL Q_MODEL DIM,DIM,... [ROUNDS]
# Needs node with onnxruntime-node (npm install --ignore-scripts onnxruntime-node; NODE_PATH may say where). Prints, for
# one thread and batch 1 and 8, the least time per image of each over all rounds, and the ratios.
set -eu
[ $# -ge 4 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
build=$1 float_model=$2 q_model=$3 dims=$4 rounds=${5:-5}
here=$(dirname "$0")
field() { sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"; }
# least SO_FAR NEW: a run that failed ends the comparison.
least() {
    [ -n "$2" ] || { echo "vs_ort.sh: a run gave no time; see above" >&2; return 1; }
    printf '%s\n%s\n' "$1" "$2" | sort -g | head -1
}
[ -x "$build/bench/bench_engine" ] || { echo "vs_ort.sh: no $build/bench/bench_engine; build it with ./run build" >&2; exit 1; }
(cd "$here" && node -e 'require("onnxruntime-node")' 2>/dev/null) || {
    echo "vs_ort.sh: node finds no onnxruntime-node; npm install --ignore-scripts onnxruntime-node, and set NODE_PATH" >&2
    exit 1
}

for batch in 1 8; do
    qf=1e9 qi=1e9 of=1e9 oi=1e9
    round=0
    while [ "$round" -lt "$rounds" ]; do
        qf=$(least "$qf" "$("$build/bench/bench_engine" "$float_model" --engine float --batch "$batch" --seconds 1 | field min_ms)")
        of=$(least "$of" "$(node "$here/ort_bench.js" "$float_model" "$dims" 1 "$batch" 1 | field min_ms)")
        qi=$(least "$qi" "$("$build/bench/bench_engine" "$q_model" --engine integer --batch "$batch" --seconds 1 | field min_ms)")
        oi=$(least "$oi" "$(node "$here/ort_bench.js" "$q_model" "$dims" 1 "$batch" 1 | field min_ms)")
        round=$((round + 1))
    done
    echo "$batch $qf $of $qi $oi" | awk '{
        printf "batch %d   float: quern %.4f ms, ONNX Runtime %.4f ms, ratio %.2f   int8: quern %.4f ms, ONNX Runtime %.4f ms, %.2f times as fast\n",
            $1, $2, $3, $2 / $3, $4, $5, $5 / $4 }'
done
