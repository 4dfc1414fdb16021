# Real networks as C: every vector byte for byte what the integer engine gives; activations within what lives at once,
# and constants within what they have to be.
skip_without_shared "networks exported to C"
warnings='-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror'
models=$SHARED/data/models inputs=$SHARED/data/inputs
cifar="$inputs/cifar10_lossless_calib500_x_u8.npy $inputs/cifar10_eval2000_x_u8.npy"
speech="$inputs/kws_calib100_x_f32.npy $inputs/kws_eval900_x_f32.npy"

# defined NAME: a number of model.h
defined() {
    sed -n "s/^#define $1 //p" out_dir/c/model.h
}
# exports MODEL CALIBRATION DATA VECTORS OPTIONS...
exports() {
    model=$1 calibration=$2 data=$3 n=$4
    shift 4
    check 0 '' quern quantize "$models/$model.onnx" --data "$calibration" --recipe minmax -q -f -o q.onnx "$@"
    check 0 '' quern export q.onnx --to c --vectors "$data" --limit "$n" -f -o out_dir
    least=$(sed -n 's/.*layers need \([0-9]*\) of them at once.*/\1/p' out_dir/c/model.h)
    number "$(defined MODEL_ACTIVATION_BYTES) <= $least * 1.1"
}
# runs COMPILER...
runs() {
    if ! command -v "$1" >/dev/null; then
        echo "skipped: $model with $*: there is no $1"
        return
    fi
    # shellcheck disable=SC2086 # several words
    check 0 '' "$@" $warnings -o run out_dir/c/*.c
    silent
    check 0 '' ./run out_dir/c/vectors_in.bin results
    expect "^$n vectors$"
    same results out_dir/c/vectors_out.bin
}
# The constants of model.c are packed: within 2 % of weights at their width, biases, multipliers, shifts, tables.
rodata() {
    check 0 '' gcc -std=c99 -O2 -c -o model.o out_dir/c/model.c
    found=$(size -A model.o | awk '$1 ~ /rodata/ { n += $2 } END { print n }')
    number "$found <= $(defined MODEL_CONSTANT_BYTES) * 1.02"
}

# shellcheck disable=SC2086 # files and options, several words each
{
    exports lenet_cifar10 $cifar 400 --scale 1/127.5 --mean 1 --std 1
    runs clang -O3
    exports lenet_cifar10 $cifar 100 --scale 1/127.5 --mean 1 --std 1 --profile aidge --weights int4
    runs gcc -O3
    rodata
    exports kws_dscnn $speech 400 --requantize fixed
    runs gcc -O3
    rodata
    exports kws_dscnn $speech 30 --requantize double-shift --weights int4 --set 'conv0*:weights=int8' \
        --set 'dw1*:weights=int3'
    runs clang -O0
    exports resnet8_cifar10 $cifar 200
    runs gcc -O3
    rodata
    exports resnet8_cifar10 $cifar 100 --profile tflite --weights int4
    runs clang -O3
    rodata
    exports resnet8_cifar10 $cifar 2 --requantize shift --weights int2
    runs gcc -O1 -fsanitize=undefined,address -fno-sanitize-recover=all
}
