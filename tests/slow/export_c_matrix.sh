# Every network, requantization, width of weights and compiler: the exported C gives the engine's bytes for every vector.
# By hand, as it takes an hour:
#   sh tests/run_cli.sh build/release/quern "$PWD" "$PWD/tests/slow/export_c_matrix.sh"
# Prints a line per network and how it was quantized; without optimization and with sanitizers runs fewer vectors.
skip_without_shared "networks exported to C"
models=$SHARED/data/models inputs=$SHARED/data/inputs
warnings='-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror'
all=${ALL:-1000} slow=${SLOW:-60}

# run VECTORS COMPILER...: the first so many.
run() {
    n=$1
    shift
    # shellcheck disable=SC2086 # several words
    "$@" $warnings -o run out_dir/c/*.c || fail "$name: $* does not compile it"
    in=$(($(wc -c <out_dir/c/vectors_in.bin) / found)) out=$(($(wc -c <out_dir/c/vectors_out.bin) / found))
    [ "$n" -le "$found" ] || n=$found
    head -c $((in * n)) out_dir/c/vectors_in.bin >in.bin
    head -c $((out * n)) out_dir/c/vectors_out.bin >expected.bin
    ./run in.bin got.bin >said 2>&1 || fail "$name: $*: $(tail -n 3 said)"
    cmp got.bin expected.bin || fail "$name: $* gives other bytes"
    total=$((total + n))
}
# network NAME MODEL CALIBRATION DATA OPTIONS...
network() {
    model=$2 calibration=$3 data=$4
    base=$1
    shift 4
    for kind in float fixed shift double-shift; do
        for weights in "--weights int8" "--weights int4" "--weights int3 --set Gemm:weights=int8"; do
            name="$base --requantize $kind $weights" total=0
            # shellcheck disable=SC2086 # several words
            quern quantize "$model" --data "$calibration" --recipe minmax --requantize $kind $weights "$@" -q -f -o q.onnx \
                >said 2>&1 || fail "$name: $(tail -n 1 said)"
            quern export q.onnx --to c --vectors "$data" --limit "$all" -f -o out_dir >said 2>&1 || fail "$name: $(tail -n 1 said)"
            quern verify out_dir >said 2>&1 || fail "$name: verify: $(head -n 1 said)"
            found=$(sed -n 's/^vectors *//p' said)
            for compiler in gcc clang; do
                run "$slow" $compiler -O0
                run "$all" $compiler -O3
                run "$slow" $compiler -O1 -fsanitize=undefined,address -fno-sanitize-recover=all
            done
            echo "$name: $total vectors, all bytes the same"
        done
    done
}
cifar=$inputs/cifar10_lossless_calib500_x_u8.npy
network digits "$DIGITS/digits.onnx" "$DIGITS/calib_x_u8.npy" "$DIGITS/test_x_u8.npy"
network lenet "$models/lenet_cifar10.onnx" "$cifar" "$inputs/cifar10_lossless932_x_u8.npy" --scale 1/127.5 --mean 1 --std 1
network kws "$models/kws_dscnn.onnx" "$inputs/kws_calib100_x_f32.npy" "$inputs/kws_eval900_x_f32.npy"
network resnet8 "$models/resnet8_cifar10.onnx" "$cifar" "$inputs/cifar10_lossless932_x_u8.npy"
