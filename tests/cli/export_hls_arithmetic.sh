# Exports for Vitis HLS in every arithmetic, compiled with g++: requantization in float, by fixed multipliers, shifts and
# double shifts, every rounding, narrow accumulators, few bits. The test bench finds every layer equal to the engine.
if ! command -v g++ >/dev/null; then
    echo "skipped: compiling exports for HLS; there is no g++ (package g++)"
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
    check 0 '' make -s -C build.hls "$bench" "CXXFLAGS=-O1 -Werror" ${AP_TYPES:+"AP_TYPES=$AP_TYPES"} "$@"
    silent
    (cd build.hls && "./$bench") >out 2>err || fail "$bench of $name: exit $?: $(head -c 300 out)"
    [ "$(cat out)" = "$says" ] || fail "$bench of $name said: $(head -c 300 out)"
}

# The other roundings and accumulators, in fixed point too.
for rounding in floor nearest-up nearest-away; do
    exported round 8 --recipe po2 --rounding "$rounding"
    passes testbench_fixed round 8 192
done
exported saturate 8 --recipe po2 --per tensor --accumulator 14 --overflow saturate
grep -q 'AP_TRN, AP_SAT> accum' saturate/hls/defines.h || fail "no accumulator saturates"
passes testbench saturate 8 192
passes testbench_fixed saturate 8 192
exported wrap 8 --recipe po2 --per tensor --accumulator 14
passes testbench_fixed wrap 8 192

# Other arithmetics. A compiler that fuses multiplications and additions changes nothing.
fused=""
! grep -q ' fma ' /proc/cpuinfo 2>/dev/null || fused="CXXFLAGS=-O2 -mfma -ffp-contract=fast"
exported float 8 --recipe minmax
passes testbench float 8 192 ${fused:+"$fused"}
exported tflite 8 --recipe tflite
passes testbench tflite 8 192
exported fixed 8 --recipe minmax --requantize fixed --rounding nearest-up
passes testbench fixed 8 192
exported double 8 --recipe minmax --requantize double-shift --weights int4
grep -q '^typedef ap_int<4> weight1_t;$' double/hls/defines.h || fail "weights of 4 bits have another type"
passes testbench double 8 192
exported narrow 8 --recipe minmax --requantize shift --accumulator 14 --overflow saturate --activations uint4
passes testbench narrow 8 192
if command -v clang++ >/dev/null; then
    passes testbench float 8 192 CXX=clang++
fi
