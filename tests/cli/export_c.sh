# The built-in model as C, in every arithmetic and with weights of several widths: compiled without a warning, and byte
# for byte what the integer engine gives.
warnings='-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror'
sanitize='-fsanitize=undefined,address -fno-sanitize-recover=all'

# runs DIR COMPILER...: all files, the vectors compiled in and those of the files.
runs() {
    dir=$1
    shift
    if ! command -v "$1" >/dev/null; then
        echo "skipped: $dir with $*: there is no $1"
        return
    fi
    # shellcheck disable=SC2086 # several words
    check 0 '' "$@" $warnings -o "$dir/run" "$dir"/c/*.c
    [ ! -s err ] || fail "$dir: $* warns: $(head -c 600 err)"
    check 0 '' "$dir/run"
    expect '^pass: 4 of 4 vectors$'
    check 0 '' "$dir/run" "$dir/c/vectors_in.bin" "$dir/results"
    cmp "$dir/results" "$dir/c/vectors_out.bin" || fail "$dir, $*: the results are not the engine's"
}
# exports DIR OPTIONS...: quantize, export with vectors, verify.
limit=100
exports() {
    dir=$1
    shift
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -q -f -o q.onnx "$@"
    check 0 '' quern export q.onnx --to c --vectors "$DIGITS/test_x_u8.npy" --limit $limit -f -o "$dir"
    check 0 '' quern verify "$dir"
}
no_float() {
    [ ! -e "$1/c/quern_float.c" ] || fail "$1 has quern_float.c"
    ! sed 's:/\*.*\*/::; /^\/\*/,/\*\//d; s:^#define.*::' "$1"/c/model.[ch] "$1"/c/quern_*.[ch] |
        grep -E '\b(float|double)\b *[^ ,.]' || fail "$1 computes in float"
}

exports float
runs float gcc -O0
runs float clang -O3 -ffp-contract=fast
exports fixed --requantize fixed
runs fixed gcc -O3
no_float fixed
exports tflite --profile tflite
runs tflite clang -O0
no_float tflite
exports shift --profile aidge --weights int4
# shellcheck disable=SC2086 # several words
runs shift gcc -O1 $sanitize
no_float shift
exports double --requantize double-shift --set 'down*:weights=int3' --set 'res*:weights=int6' --set 'fc*:weights=int2'
runs double clang -O3
no_float double
limit=20
exports narrow --accumulator 14 --overflow saturate --weights int4 --activations int4
runs narrow gcc -O2
exports wraps --accumulator 13 --weights int5 --requantize fixed --rounding nearest-even
# shellcheck disable=SC2086
runs wraps clang -O1 $sanitize

# Constants: packed at their width, within 2 % of what they have to be.
constant=$(sed -n 's/^#define MODEL_CONSTANT_BYTES //p' shift/c/model.h)
gcc -std=c99 -O2 -c -o model.o shift/c/model.c
found=$(size -A model.o | awk '$1 ~ /rodata/ { n += $2 } END { print n }')
layers=$((0x$(nm -S model.o | awk '$4 == "layers" { print $2 }')))
number "$found - $layers <= $constant * 1.02"
number "$layers <= 64 * $(grep -c '^/\* Layer .*(' shift/c/model.c)"
number "$(size -A model.o | awk '$1 ~ /bss/ { n += $2 } END { print n }') <= \
    $(sed -n 's/^#define MODEL_ACTIVATION_BYTES //p' shift/c/model.h) + 32"

# The same bytes again; a constant that was changed is told by name.
check 0 '' quern export q.onnx --to c --vectors "$DIGITS/test_x_u8.npy" --limit $limit -o again
check 0 '' diff -r wraps/c again/c
sed '/__bias\[/,/}/s/1\([0-9],\)/2\1/' again/c/model.c >changed
cmp -s changed again/c/model.c && fail "nothing was changed"
cp changed again/c/model.c
got=0
quern verify again >out 2>err || got=$?
[ "$got" = 4 ] || fail "exit $got, expected 4: quern verify of a changed constant"
expect '^c/model.c: l_.*__bias\[[0-9]*\]: is -*[0-9]*, should be -*[0-9]*$'
