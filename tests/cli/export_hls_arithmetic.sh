# Exports for Vitis HLS in every arithmetic, compiled with g++: requantization in float, by fixed multipliers, shifts
# and double shifts, narrow accumulators, few bits. The test bench finds every layer equal to the engine.
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
exported logits 8 --recipe minmax --set fc:activations=float
grep -q '^               float out_logits\[10\]);$' logits/hls/model.h || fail "the result is not float"
passes testbench logits 8 192 ${fused:+"$fused"}
if command -v clang++ >/dev/null; then
    passes testbench float 8 192 CXX=clang++
fi

# Products that are rounded by themselves stay so: no sum of quern::rounded is a fused operation.
cat >fused.cpp <<'END'
#include <cstdio>

#include "quern_hls.h"

int main()
{
    unsigned seed = 1;
    int guarded = 0, plain = 0;
    for (int i = 0; i < 100000; i++) {
        volatile float x[3]; // read anew by each expression, so that no product has two uses
        for (int j = 0; j < 3; j++) {
            seed = seed * 1664525u + 1013904223u;
            x[j] = float(int(seed >> 8)) * 1e-3f;
        }
        volatile float product = x[0] * x[1];
        volatile float sum = product + x[2];
        guarded += quern::rounded(x[0] * x[1]) + x[2] != sum;
        plain += x[0] * x[1] + x[2] != sum;
    }
    std::printf("%d of guarded sums differ, %d of plain ones\n", guarded, plain);
    return guarded != 0;
}
END
check 0 '' g++ -std=c++11 "-I$SOURCE_DIR/src/export/hls" ${fused:+-O2 -mfma -ffp-contract=fast} fused.cpp -o fused
check 0 '' ./fused
[ -z "$fused" ] || expect ', [1-9][0-9]* of plain ones'
