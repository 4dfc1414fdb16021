# The manifest and the integers are enough: a program that knows nothing else computes the engine's codes.
# By hand, as it needs python3, with make_array in PATH:
#   sh tests/run_cli.sh build/release/quern "$PWD" "$PWD/tests/slow/export_alone.sh"
python=/usr/bin/python3
[ -x $python ] || {
    echo "skipped: needs $python"
    exit 77
}
make_array take "$DIGITS/calib_x_u8.npy" calib.npy 0 64
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 40
# alone OPTIONS...: a network quantized so.
alone() {
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax "$@" -q -f -o q.onnx
    check 0 '' quern export q.onnx --to npz --vectors x.npy --limit 2 -f -o net
    $python "$SOURCE_DIR/tests/slow/manifest_alone.py" net 1 >told 2>&1 || fail "of $*: $(tail -n 1 told)"
    grep -q '10 codes are the same' told || fail "of $*: $(cat told)"
}
alone
for kind in add average convolution lookup 'max pool'; do
    grep -q "$kind" told || fail "the network has no $kind: $(cat told)"
done
alone --profile tflite --activations int8
alone --profile tflite-single --weights int4
alone --requantize shift --rounding floor --activations int8
alone --requantize double-shift --rounding nearest-away --accumulator 14
alone --accumulator 14 --overflow saturate

# It would tell: one code is another.
weights=$(find net/npz -name 'w_*.bin' | sort | head -n 1)
printf '\100' | dd of="$weights" bs=1 seek=4 conv=notrunc 2>/dev/null
$python "$SOURCE_DIR/tests/slow/manifest_alone.py" net 2 >told 2>&1 && fail "a changed weight is not told"
true
