# Models with nodes of domain org.quern: what inspect tells, and their constants as arrays.
models=$SOURCE_DIR/tests/fuzz/corpus/onnx

check 0 '' quern inspect "$models/org_int6.onnx"
silent
expect '^quantized +4 values$'
expect '^formats +in nodes of org.quern: 3 uint6, 1 int6$'
expect '^MatMul .* uint6, weights int6 per channel \(org.quern\)'
check 0 '' quern inspect --json "$models/org_adaptivfloat.onnx"
[ "$(json quantized)" = true ] || fail "quantized is '$(json quantized)'"
expect '"format": "adaptivfloat<8,3>"'
expect '"dynamic": true'
expect '"nodes": "org.quern"'
check 0 '' quern inspect "$models/qdq_int4.onnx"
expect '^formats +3 uint8, 1 int4$'

# The numbers of a constant are codes already: encoding them in its format is exact.
check 0 '' quern decode "$models/org_int6.onnx:w" -o w.npy
silent
check 0 '' quern encode "$models/org_int6.onnx:w" --format int6:narrow --axis 1 -o codes.npy --params p.json
check 0 '' quern decode codes.npy --params p.json -o again.npy
same w.npy again.npy
check 0 '' quern compare "$models/org_int6.onnx:w" --formats int6:narrow --axis 1
expect 'int6:narrow .*exact'
check 2 'not for a constant of a model' quern decode "$models/org_int6.onnx:w" --params p.json -o z.npy
check 3 "node 0 Dequantize 'w_Dequantize': its codes have 9 bytes" quern inspect "$models/org_other_width.onnx"
