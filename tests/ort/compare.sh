#!/bin/sh
# Is the quantized ONNX file that quern writes the same network to ONNX Runtime? Quantizes the built-in digits, random
# networks (where python3-onnx is there to make them) and, where the shared material is present, resnet8_cifar10,
# kws_dscnn_tflite, lenet_cifar10 and vit_cifar10, runs them with `quern eval --engine integer` and in ONNX Runtime, as QDQ
# and as integer operators, and compares all logits bit for bit.
#
# usage: compare.sh [QUERN [SEEDS]]   (default build/release/quern and 1..12)
# Exit: 0 all equal, 4 some differ, 77 skipped (node or onnxruntime-node is absent; the reason is printed), 1 other.
# Needs node and onnxruntime-node 1.30 (npm install --ignore-scripts onnxruntime-node), found through NODE_PATH or a
# node_modules folder above this script; and a CPU with VNNI: elsewhere ONNX Runtime's own int8 sums saturate.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(dirname "$(dirname "$here")")
quern=${1:-$source_dir/build/release/quern}
shared=${QN_SHARED:-$source_dir/../shared}
command -v "$quern" >/dev/null || {
    echo "compare.sh: $quern is not there; build it with ./run build" >&2
    exit 1
}
command -v node >/dev/null || {
    echo "skipped: comparing with ONNX Runtime; node is not there"
    exit 77
}
(cd "$here" && node -e 'require("onnxruntime-node")' 2>/dev/null) || {
    echo "skipped: comparing with ONNX Runtime; node finds no onnxruntime-node (set NODE_PATH)"
    exit 77
}
if [ -r /proc/cpuinfo ] && ! grep -qE '^flags.* (avx512_vnni|avx_vnni|amx_int8)( |$)' /proc/cpuinfo; then
    echo "skipped: comparing with ONNX Runtime; this CPU has no VNNI, and without it ONNX Runtime's int8 sums saturate"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
differ=0

# The numbers of a .npy of float32, one a line, as the hexadecimal words they are.
words() {
    header=$(od -An -t u1 -j 8 -N 2 "$1" | awk '{ print 10 + $1 + 256 * $2 }')
    od -An -v -t x4 -w4 -j "$header" "$1"
}

# tell NAME FILE OTHER ITEMS: are the words of both the same?
tell() {
    verdict=$(paste -d ' ' "$2" "$3" | awk -v items="$4" '
        NF == 2 && $1 == $2 { equal++; next }
        { wrong[NR] = 1 }
        END {
            per_item = NR / items
            for (row in wrong) if (!(int((row - 1) / per_item) in seen)) { seen[int((row - 1) / per_item)] = 1; bad++ }
            printf "%d of %d logits and %d of %d items bit-equal", equal, NR, items - bad, items
            exit !(NR > 0 && equal == NR)
        }') || differ=1
    echo "$1: $verdict"
}

# compare NAME MODEL CALIBRATION INPUTS [PREPROCESSING...]
# The preprocessing goes to run.js as it is; quern finds it in the model, or is given it. $formats are options of quantize.
# The file is QDQ; then the same network as integer operators (QOperator) is run, too.
# $islands not empty: float nodes differ in last bits from ONNX Runtime's, so that only the two files are compared.
formats= islands=
compare() {
    name=$1 model=$2 calibration=$3 inputs=$4
    shift 4
    # shellcheck disable=SC2086 # several words
    "$quern" quantize "$model" --data "$calibration" "$@" $formats -q -o "$scratch/$name.onnx" >/dev/null
    node "$here/run.js" "$scratch/$name.onnx" "$inputs" "$scratch/$name.ort.npy" "$@"
    words "$scratch/$name.ort.npy" >"$scratch/b"
    items=$("$quern" eval "$scratch/$name.onnx" --data "$inputs" --json | sed -n 's/^  "n": \([0-9]*\),*$/\1/p')
    if [ -z "$islands" ]; then
        "$quern" eval "$scratch/$name.onnx" --engine integer --data "$inputs" -q --logits "$scratch/$name.quern.npy" >/dev/null
        words "$scratch/$name.quern.npy" >"$scratch/a"
        tell "$name" "$scratch/a" "$scratch/b" "$items"
    fi
    "$quern" export "$scratch/$name.onnx" --to onnx --form qoperator -f -o "$scratch/forms" >/dev/null
    node "$here/run.js" "$scratch/forms/onnx/model_qoperator.onnx" "$inputs" "$scratch/$name.qoperator.npy" "$@"
    words "$scratch/$name.qoperator.npy" >"$scratch/c"
    tell "$name as QOperator" "$scratch/b" "$scratch/c" "$items"
}

digits=$source_dir/examples/digits
compare digits "$digits/digits.onnx" "$digits/calib_x_u8.npy" "$digits/test_x_u8.npy" --scale 1/255 --mean 0.148 --std 0.198
i=0
for weights in 'qkeras-bits<8,0,alpha=auto>' 'qkeras-bits<4,1,alpha=auto>' 'qkeras-bits<3,0,alpha=auto_po2>' 'qkeras-bits<1,0,alpha=0.1>'; do
    i=$((i + 1)) formats="--recipe minmax --store int8 --weights $weights"
    compare "digits_qkeras$i" "$digits/digits.onnx" "$digits/calib_x_u8.npy" "$digits/test_x_u8.npy" --scale 1/255 --mean 0.148 --std 0.198
done
formats=
if [ -d "$shared/data" ]; then
    models=$shared/data/models data=$shared/data/inputs
    compare resnet8_cifar10 "$models/resnet8_cifar10.onnx" "$data/cifar10_lossless_calib500_x_u8.npy" \
        "$data/cifar10_lossless932_x_u8.npy"
    compare kws_dscnn_tflite "$models/kws_dscnn_tflite.onnx" "$data/kws_calib100_x_f32.npy" "$data/kws_eval900_x_f32.npy"
    compare lenet_cifar10 "$models/lenet_cifar10.onnx" "$data/cifar10_lossless_calib500_x_u8.npy" \
        "$data/cifar10_lossless932_x_u8.npy" --scale 1/127.5 --mean 1 --std 1
    islands=yes
    compare vit_cifar10 "$models/vit_cifar10_torchraw.onnx" "$data/cifar10_calib500_x_u8.npy" \
        "$data/cifar10_lossless932_x_u8.npy" --scale 1/255 --mean .4914,.4822,.4465 --std .2470,.2435,.2616
    islands=
else
    echo "skipped: resnet8_cifar10 and kws_dscnn_tflite; the shared models are not there (set QN_SHARED)"
fi
if /usr/bin/python3 -c 'import onnx' 2>/dev/null; then
    # shellcheck disable=SC2046 # several words
    for seed in $(echo "${2:-1..12}" | sed 's/\.\./ /' | xargs seq); do
        /usr/bin/python3 "$here/random_network.py" "$seed" "$scratch/float.onnx" "$scratch/x.npy"
        compare "random$seed" "$scratch/float.onnx" "$scratch/x.npy" "$scratch/x.npy"
    done
else
    echo "skipped: random networks; there is no /usr/bin/python3 with the package python3-onnx"
fi
[ "$differ" = 0 ] || exit 4
