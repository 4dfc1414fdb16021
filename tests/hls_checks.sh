# What the scripts on exports for Vitis HLS have in common: . "$SOURCE_DIR/tests/hls_checks.sh". With AP_TYPES=DIR in
# the environment the headers of AMD in DIR take the place of quern_ap.h.
if ! command -v g++ >/dev/null || ! command -v make >/dev/null; then
    echo "skipped: compiling exports for HLS; there is no g++, or no make (packages g++, make)"
    exit 77
fi
x=$DIGITS/test_x_u8.npy

# exported NAME VECTORS OPTION...: quantize the digits and export them to NAME.
exported() {
    name=$1 n=$2
    shift 2
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" -q -f -o "$name.onnx" "$@"
    check 0 '' quern export "$name.onnx" --to hls -f -o "$name" --vectors "$x" --limit "$n"
    cp out "$name.out"
}
# passes BENCH NAME VECTORS VALUES [MAKE...]: the test bench is compiled without a warning, and passes.
passes() {
    bench=$1 name=$2 says="PASS: $3 vectors, $4 values, 0 differ"
    shift 4
    rm -rf build.hls
    cp -r "$name/hls" build.hls
    check 0 '' make -s -C build.hls "build/$bench" "CXXFLAGS=-O1 -Werror" ${AP_TYPES:+"AP_TYPES=$AP_TYPES"} "$@"
    silent
    (cd build.hls && "build/$bench") >out 2>err || fail "$bench of $name: exit $?: $(head -c 300 out)"
    [ "$(cat out)" = "$says" ] || fail "$bench of $name said: $(head -c 300 out)"
}
