# quantize: from data or from a calibration file, with its report. Runs under every QUERN_CPU.
calib=$DIGITS/calib_x_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$calib" -o q.onnx --report q.json
silent
expect 'digits\.onnx -> q\.onnx: [0-9]+ values quantized$'
for word in uint8 'int8 per channel' 'int32 per channel'; do
    grep -q "\"$word\"" q.json || fail "the report tells of no $word"
done

# A calibration file gives the same model as the data it was made from, with the data, and alone where no pass runs the
# network; otherwise the passes that do are named.
check 0 '' quern calibrate "$DIGITS/digits.onnx" --data "$calib" -o calib.json
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$calib" --calibration calib.json -o from_both.onnx
same q.onnx from_both.onnx
check 0 'left out, for they need data, not only a calibration: tune-ranges, learned-rounding' \
    quern quantize "$DIGITS/digits.onnx" --calibration calib.json -o from_file.onnx
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$calib" --recipe minmax -o minmax.onnx
check 0 '' quern quantize "$DIGITS/digits.onnx" --calibration calib.json --recipe minmax -o again.onnx --json
silent
same minmax.onnx again.onnx
[ "$(json output)" = again.onnx ] || fail "output is '$(json output)'"
expect '"report": \{'
check 0 '' quern quantize "$DIGITS/digits.onnx" --calibration calib.json -o again.onnx -f -v
expect '^value +role +format +min +max'
expect 'weight +int8 per channel'

# The file stands alone: opset 13 or later, pairs of QuantizeLinear and DequantizeLinear, the preprocessing recorded.
grep -aq QuantizeLinear q.onnx || fail "q.onnx has no QuantizeLinear"
grep -aq 'quern\.preprocess' q.onnx || fail "q.onnx does not record its preprocessing"
check 0 '' quern inspect q.onnx --json
number "$(sed -n 's/.*"opset": \([0-9]*\).*/\1/p' out) >= 13"

# A quantized model is not quantized again.
check 2 'q\.onnx.*quantized' quern quantize q.onnx --data "$calib" -o qq.onnx
[ ! -e qq.onnx ] || fail "a refused quantization wrote a file"
