# Exports for Vitis HLS in every arithmetic, compiled with g++: requantization in float, by fixed multipliers, shifts and
# double shifts, narrow accumulators, few bits. The test bench finds every layer equal to the engine.
. "$SOURCE_DIR/tests/hls_checks.sh"

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
