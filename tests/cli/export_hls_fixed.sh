# Exports for Vitis HLS in fixed point: every rounding, accumulators that wrap and saturate, are what ap_fixed does.
. "$SOURCE_DIR/tests/hls_checks.sh"

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
