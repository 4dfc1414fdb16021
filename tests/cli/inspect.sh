# What inspect tells of the built-in model (examples/digits/README.md has the numbers) and of broken ones.
check 0 '' quern inspect "$DIGITS/digits.onnx"
silent
expect '^model +.*digits\.onnx \(opset 13'
expect '^input +input float32 Nx1x28x28$'
expect '^output +logits float32 Nx10$'
expect '^parameters +35\.5 k$'
expect '^MACs +2\.41 M per item$'
expect '^quantized +no$'
expect '^Conv .* 1x24x14x14 .* 677 k'
expect '^Gemm '

check 0 '' quern inspect --json "$DIGITS/digits.onnx"
silent
number "$(json parameters) == 35506 + 2" # the bounds of Clip
number "$(json macs) == 2413792"
number "$(json unsupported) == 0"
[ "$(json command)" = inspect ] || fail "command is '$(json command)'"
[ "$(json quantized)" = false ] || fail "quantized is '$(json quantized)'"
expect "\"sha256\": \"$(sha256sum "$DIGITS/digits.onnx" | cut -d ' ' -f 1)\""
number "$(grep -c '"op": "Conv"' out) == 9"
number "$(grep -c '"op": "BatchNormalization"' out) == 9"
expect '"macs": 42336'

# A quantized file tells its formats.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -q -o q.onnx
check 0 '' quern inspect q.onnx
expect '^quantized +[1-9][0-9]* values$'
expect '^input +input float32 Nx1x28x28$'
expect '^output +logits float32 Nx10$'
expect '^Conv .*uint8, weights int8(:narrow)? per channel'
if grep -q BatchNormalization out; then
    fail "BatchNormalization is still in the quantized file"
fi
check 0 '' quern inspect --json q.onnx
[ "$(json quantized)" = true ] || fail "quantized is '$(json quantized)'"
number "$(json no_integer_form) == 0"
number "$(json quantized_values) > 20"
number "$(grep -c '"headroom_bits": ' out) == 10"
number "$(json items_seen) == 0"

# The bits that sums need: proven, and with data seen as well.
check 0 '' quern inspect q.onnx
expect '^Gemm +logits .* - +[0-9]+  of 32, channel'
check 0 '' quern inspect -q q.onnx --data "$DIGITS/calib_x_u8.npy"
silent
expect '^Gemm +logits +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+  of 32, channel'
expect '^seen +256 items$'
check 0 '' quern inspect -q --json q.onnx --data "$DIGITS/calib_x_u8.npy"
number "$(json items_seen) == 256"
number "$(grep -c '"observed_bits": ' out) == 10"
check 2 '--scale is how to read --data, which is missing' quern inspect q.onnx --scale 1/255
check 2 '--data observes the sums of a quantized model' quern inspect "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy"

# -v tells where the model comes from.
check 0 '' quern inspect -v "$DIGITS/digits.onnx"
expect "^SHA-256 +$(sha256sum "$DIGITS/digits.onnx" | cut -d ' ' -f 1)\$"

# Nodes that cannot run are shown, all of them; inspect itself succeeds.
make_model unsupported unsupported.onnx
check 0 '' quern inspect unsupported.onnx
expect '^nodes +5, 2 not supported'
expect '^Trilu .*not supported'
expect '^Frobnicate .*not supported'
check 0 '' quern inspect --json unsupported.onnx
number "$(json unsupported) == 2"
# The column of operators is as wide as the longest; the columns behind it stay in line.
make_model long-operator long.onnx
check 0 '' quern inspect long.onnx
expect '^operator {18}output '
expect '^MeanVarianceNormalization evened '
expect '^Flatten {19}flattened '
make_model no-integer-form norm.onnx
check 0 '' quern inspect norm.onnx
expect '^LpNormalization .*no integer form'
expect '^LogSoftmax .*no integer form'

# Of a quantized network: what the integer engine runs in float, and why.
make_model islands islands.onnx
check 0 '' quern inspect islands.onnx
expect '^islands +3 nodes run in float'
expect '^Gemm .*uint8, kept in float: an input has no quantizer$'
expect '^LogSoftmax .*no integer form$'
check 0 '' quern inspect --json islands.onnx
number "$(json islands) == 3"
expect '"island": "kept in float: an input has no quantizer"'
expect '"island": null'

# A network that quantizes while it runs has no formats and no sums to tell of; weights stand alone where no value does.
golden=$SOURCE_DIR/tests/golden/quantized
check 0 '' quern inspect "$golden/dynamic_qop.onnx"
expect '^quantized +0 values: it quantizes while it runs$'
if grep -qE '^(formats|sums)' out; then
    fail "formats or sums of a network that has none"
fi
check 0 '' quern inspect "$golden/conv_qdq.onnx"
expect '^Conv .* 4\.03 k  weights int8$'

# Names from outside cannot break the output: text stays one row per node, JSON stays JSON in UTF-8.
make_model newline-name newline.onnx
check 0 '' quern inspect newline.onnx
number "$(grep -c '^Trilu' out) == 1"
make_model byte-name bytes.onnx
check 0 '' quern inspect --json bytes.onnx
expect '"op": "Gemm"'
if command -v iconv >/dev/null; then
    iconv -f UTF-8 -t UTF-8 out >/dev/null || fail "JSON with a name that is not UTF-8 is not UTF-8"
fi
check 0 '' quern inspect bytes.onnx
if grep -q "$(printf '\033')" out; then
    fail "an escape sequence of a node's name reaches the terminal"
fi
