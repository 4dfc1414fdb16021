# Exported C that calls CMSIS-NN: byte for byte what the integer engine gives. With CMSIS_NN=DIR in the environment the
# library of that folder; without, a stand-in that computes what its documentation says.
standin=$SOURCE_DIR/tests/cmsis_nn_standin
warnings='-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror'
sanitize='-fsanitize=undefined,address -fno-sanitize-recover=all'
compiler=gcc
if command -v ccache >/dev/null; then
    compiler='ccache gcc'
fi

# quantizes MODEL DATA OPTIONS...
quantizes() {
    model=$1 data=$2
    shift 2
    check 0 '' quern quantize "$model" --data "$data" --recipe minmax -q -f -o q.onnx "$@"
}
# exports VECTORS N CALLS OTHERS: exported to out_dir; so many layers call CMSIS-NN, so many do not.
exports() {
    check 0 '' quern export q.onnx --to c --cmsis-nn --vectors "$1" --limit "$2" -f -o out_dir
    n=$2
    calls=$(grep -c '"function": "arm_' out_dir/manifest.json) || :
    others=$(grep -c '"function": null' out_dir/manifest.json) || :
    [ "$calls $others" = "$3 $4" ] ||
        fail "$model: $calls layers call CMSIS-NN, not $3, $others do not, not $4: $(cat out)"
    check 0 '' quern verify out_dir
}
# rounding: what the library has to be built with.
rounding() {
    sed -n 's/^CMSIS_NN_FLAGS =//p' out_dir/c/cmsis_nn.mk
}
# builds FLAGS...: ./run of out_dir, with the stand-in.
builds() {
    # shellcheck disable=SC2046,SC2086 # several words each
    for source in out_dir/c/*.c "$standin"/Source/*.c; do
        check 0 '' $compiler $warnings $(rounding) "$@" -I"$standin/Include" -c -o "$(basename "$source" .c).o" \
            "$source"
        [ ! -s err ] || fail "$model: $source: a warning: $(head -c 600 err)"
    done
    # shellcheck disable=SC2086
    check 0 '' gcc "$@" -o run ./*.o
    rm -f ./*.o
}
matches() {
    check 0 '' ./run out_dir/c/vectors_in.bin results
    expect "^$n vectors$"
    same results out_dir/c/vectors_out.bin
}
runs() {
    builds "$@"
    matches
    if [ -n "${CMSIS_NN:-}" ]; then
        check 0 '' make -C out_dir/c CMSIS_NN="$CMSIS_NN" check
        check 0 '' make -C out_dir/c clean
    fi
}

make_array take "$DIGITS/calib_x_u8.npy" calib.npy 0 64
digits() {
    quantizes "$DIGITS/digits.onnx" calib.npy --activations "$@"
}
vectors=$DIGITS/test_x_u8.npy
digits int8 --profile cmsis-nn
exports "$vectors" 40 12 3
# shellcheck disable=SC2086 # several words
runs -O1 $sanitize
check 0 '' make -C out_dir/c CMSIS_NN="$standin" CC="$compiler" check
expect '^pass: 4 of 4 vectors$'
check 0 '' make -C out_dir/c clean
[ ! -e out_dir/c/build/libcmsis_nn.a ] || fail "make clean left the library"
check 0 '' quern verify out_dir

# Scratch memory: what the code for each processor asks for is there, and a library that asks for more is told.
builds -DARM_MATH_MVEI
matches
builds -DARM_MATH_DSP
matches
bytes=$(sed -n 's/^#define MODEL_CMSIS_NN_BYTES //p' out_dir/c/model.c | sed -n 3p)
builds -DARM_MATH_DSP -DMODEL_CMSIS_NN_BYTES=$((bytes - 1))
if ./run >out 2>&1; then
    fail "$((bytes - 1)) bytes of scratch memory are enough; model.c has $bytes"
fi
expect '^CMSIS-NN: status -1$'

# For the processor that it is for, where int32_t is a long.
if command -v arm-none-eabi-gcc >/dev/null; then
    # shellcheck disable=SC2086 # several words
    check 0 '' arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -O3 $warnings -DARM_MATH_DSP -DMODEL_TEST_BARE \
        -I"$standin/Include" -c out_dir/c/*.c "$standin"/Source/*.c
    silent
    rm -f ./*.o
else
    echo "skipped: Cortex-M4; there is no arm-none-eabi-gcc"
fi

# A wrong parameter shows.
cp out_dir/c/model.c kept
wrong() {
    sed "$1" kept >out_dir/c/model.c
    cmp -s kept out_dir/c/model.c && fail "'$1' changes nothing"
    builds -O1
    if ./run out_dir/c/vectors_in.bin results >/dev/null 2>&1 && cmp -s results out_dir/c/vectors_out.bin; then
        fail "'$1' is not noticed"
    fi
}
wrong 's/input_offset = 90/input_offset = -90/'
wrong '/l_dw_conv__shift\[/,/}/s/-\([0-9]*\)/\1/g'
wrong '/l_fc__filter/s/\.n = \([0-9]*\), \(.*\)\.c = \([0-9]*\)/.n = \3, \2.c = \1/'
wrong '0,/padding = {.w = 1, .h = 1}/s//padding = {.w = 1, .h = 0}/'
wrong 's/\(l_res_add__multiplier\)\[0\], \(-*[0-9]*\)/\1[1], \2/'
cp kept out_dir/c/model.c
printf '\n' >>out_dir/c/cmsis_nn.mk
got=0
quern verify out_dir >out 2>err || got=$?
[ "$got" = 4 ] || fail "exit $got, expected 4: quern verify of changed rules"
expect '^c/cmsis_nn.mk'

# The other rounding, and packed weights.
digits int8 --profile tflite-single --weights int4
exports "$vectors" 40 11 4
runs -O2
[ "$(rounding)" = " -DCMSIS_NN_USE_SINGLE_ROUNDING" ] || fail "the rounding is '$(rounding)'"
if $compiler -I"$standin/Include" -c -o no.o out_dir/c/model.c 2>err; then
    fail "model.c compiles for another rounding"
fi
# A power of two is a ratio as well, and nearest-up the rounding.
digits int8 --requantize shift --rounding nearest-up
check 0 '' quern export q.onnx --to c --cmsis-nn --vectors "$vectors" --limit 20 -f -o out_dir
n=20
expect '^c: arm_convolve_wrapper_s8 computes '
runs -O2

# What it cannot compute is named; nothing at all is refused, with what to choose.
digits uint8 --requantize float
check 3 "by CMSIS-NN; make the network with quern quantize --profile cmsis-nn --activations int8.*unsigned" \
    quern export q.onnx --to c --cmsis-nn -o none
[ ! -e none ] || fail "a refused export left a directory"
digits int8 --profile cmsis-nn --rounding nearest-even
check 0 '' quern export q.onnx --to c --cmsis-nn --vectors "$vectors" --limit 10 -f -o out_dir
expect "^c: quern's own code computes .*: it rounds neither twice nor nearest-up$"
expect '^c: arm_max_pool_s8 computes'
n=10
runs -O2

if [ -z "$SHARED" ]; then
    echo "skipped: resnet8, kws_dscnn and lenet with CMSIS-NN need the shared models and data"
else
    inputs=$SHARED/data/inputs
    make_array take "$inputs/cifar10_lossless_calib500_x_u8.npy" cifar.npy 0 16
    for how in 'cmsis-nn --weights int8' 'tflite-single --weights int4' 'cmsis-nn --weights int4' \
        'tflite-single --weights int8'; do
        # the first layer of resnet8 and of lenet has 27 and 75 weights per output, that of kws_dscnn 40
        odd=$(case $how in *int4) echo 1 ;; *) echo 0 ;; esac)
        # shellcheck disable=SC2086 # several words
        {
            quantizes "$SHARED/data/models/resnet8_cifar10.onnx" cifar.npy --activations int8 --profile $how
            exports cifar.npy 4 $((13 - odd)) $((1 + odd)) # its average has a scale of its own
            runs -O2
            quantizes "$SHARED/data/models/lenet_cifar10.onnx" cifar.npy --activations int8 --scale 1/127.5 --mean 1 \
                --std 1 --profile $how
            exports cifar.npy 10 $((7 - odd)) $odd
            runs -O2
            quantizes "$SHARED/data/models/kws_dscnn.onnx" "$inputs/kws_calib100_x_f32.npy" --activations int8 \
                --profile $how
            exports "$inputs/kws_eval900_x_f32.npy" 10 10 1
            runs -O2
        }
    done
fi
