# Exports for Vitis HLS, compiled with g++ and clang++: the test bench finds every output and layer equal to the engine,
# on codes and on fixed-point numbers, and finds a changed weight.
. "$SOURCE_DIR/tests/hls_checks.sh"

# fails BENCH FILE PATTERN: as it lies in build.hls, with FILE changed by sed, it is compiled and does not pass.
fails() {
    sed "$3" "build.hls/$2" >changed
    ! cmp -s changed "build.hls/$2" || fail "nothing in $2 was changed"
    cp changed "build.hls/$2"
    check 0 '' make -s -C build.hls "build/$1" CXXFLAGS=-O1 ${AP_TYPES:+"AP_TYPES=$AP_TYPES"}
    got=0
    (cd build.hls && "build/$1") >out 2>err || got=$?
    [ "$got" = 1 ] || fail "exit $got with a change in $2"
    expect '^FAIL: '
}

# All scales powers of two: 10 outputs and the checksums of 14 tensors per vector, in both views.
exported po2 100 --recipe po2
cp po2.out out
expect '^hls: 11 of 11 convolutions and sums can be ap_fixed'
grep -q '^typedef ap_fixed<8, 4, AP_RND_CONV, AP_SAT> input1_t;$' po2/hls/defines.h || fail "no type of the input"
passes testbench po2 100 2400
fails testbench weights/w15.h '/^#else/,$s/^    -\{0,1\}[0-9]*, /    5, /'
expect 'the result of layer 15 differs'
passes testbench_fixed po2 100 2400
fails testbench_fixed weights/w3.h 's/^    -\{0,1\}0\.[0-9]*,/    0.5,/'
expect 'the result of layer 3 differs'

if command -v clang++ >/dev/null; then
    passes testbench_fixed po2 100 2400 CXX=clang++
fi

# verify compares integers and decimals with the model, and says which differ.
check 0 '' quern verify po2
expect '^integers +[0-9]+ in [0-9]+ arrays'
sed '/^#else/,$s/\([ -]\)[0-9][0-9],/\177,/' po2/hls/weights/w2.h >changed
cp changed po2/hls/weights/w2.h
got=0
quern verify po2 >out 2>err || got=$?
[ "$got" = 4 ] || fail "exit $got: verify of a changed weight"
cat err >>out
expect "hls/weights/w2.h.*'down.conv'"

# The same bytes again; no float networks.
exported float 8 --recipe minmax
check 0 '' quern export float.onnx --to hls -o again --vectors "$x" --limit 8
diff -r float again >/dev/null || fail "two exports differ"
check 2 'digits.onnx: is a float network.*quantize it first' quern export "$DIGITS/digits.onnx" --to hls -o none
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" -q -f -o part.onnx \
    --keep-float res1.conv
check 3 'exported to hls.*res1.conv' quern export part.onnx --to hls -o none
[ ! -e none ] || fail "a refused export left something"
