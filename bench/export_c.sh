#!/bin/sh
# The networks exported to C against the portable reference of the integer engine, one core, in alternation: processor time
# per image, the best of ROUNDS, and how many times as fast the C is. CC and CFLAGS as given, else gcc -O3.
set -eu
. "$(dirname "$0")/networks.sh"
ROUNDS=${ROUNDS:-5}
CC=${CC:-gcc}
CFLAGS=${CFLAGS:--O3}

# seconds COMMAND...: of processor time.
seconds() {
    (
        "$@" >/dev/null 2>&1
        times
    ) | awk 'NR == 2 { split($1, t, /[ms]/); print t[1] * 60 + t[2] }'
}
smaller() {
    awk -v a="$1" -v b="$2" 'BEGIN { print (a == "" || b < a) ? b : a }'
}

printf '%-18s %12s %12s %8s\n' network 'reference ms' 'C ms' ratio
for name in ${*:-lenet_cifar10 kws_dscnn resnet8_cifar10}; do
    network "$name"
    # shellcheck disable=SC2086 # several words
    "$QUERN" quantize "$model" --data "$calib" $pre --recipe minmax -q -f -o "$scratch/q.onnx" >/dev/null
    "$QUERN" export "$scratch/q.onnx" --to c --vectors "$data" --limit 400 -q -f -o "$scratch/out" >/dev/null
    # shellcheck disable=SC2086
    $CC -std=c99 $CFLAGS -o "$scratch/run" "$scratch"/out/c/*.c
    reference="" exported=""
    # 101 images less 1: what is not inference cancels out
    for n in 1 101; do
        "$QUERN" export "$scratch/q.onnx" --vectors "$data" --limit $n -q -f -o "$scratch/in$n" >/dev/null
        cp "$scratch/in$n"/vectors/in_*_floats.npy "$scratch/in$n.npy"
    done
    for _ in $(seq "$ROUNDS"); do
        t1=$(seconds env QUERN_CPU=reference "$QUERN" eval "$scratch/q.onnx" --data "$scratch/in1.npy" -j1)
        t101=$(seconds env QUERN_CPU=reference "$QUERN" eval "$scratch/q.onnx" --data "$scratch/in101.npy" -j1)
        reference=$(smaller "$reference" "$(awk "BEGIN { print ($t101 - $t1) * 10 }")")
        t=$(seconds "$scratch/run" "$scratch/out/c/vectors_in.bin" "$scratch/results")
        exported=$(smaller "$exported" "$(awk "BEGIN { print $t * 2.5 }")")
    done
    cmp "$scratch/results" "$scratch/out/c/vectors_out.bin"
    awk -v name="$name" -v r="$reference" -v c="$exported" \
        'BEGIN { printf "%-18s %12.2f %12.2f %8.2f\n", name, r, c, r / c }'
done
