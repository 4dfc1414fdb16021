# The demo: no file, no argument, in under ten seconds (a sanitizer's build is slower and not held to that).
check 0 '' quern demo
silent
for row in inspect calibrate quantize evaluate top-1 images/s; do
    expect "^$row "
done
expect 'top-1 +97\.40 % +9[0-9]\.[0-9][0-9] %'
expect 'SQNR [0-9]+\.[0-9]+ dB, same argmax on [0-9.]+ % of the images'
expect 'bit flips in weights: 1600 faults, 80.0 k pairs'
expect '^stem\.conv +[0-9.]+ +[0-9.]+ .* [0-9.]+$'
[ -s quern-demo-faults.db ] || fail "the demo kept no campaign"
check 0 '' quern show quern-demo-faults.db
expect 'masked +[0-9]+'
[ -s quern-demo-int8.onnx ] || fail "the demo wrote no quantized model"
cp quern-demo-int8.onnx first.onnx

# The default output is replaced, a named one only with -f.
check 0 '' quern demo --json -q
silent
same first.onnx quern-demo-int8.onnx
cp out demo.json
number "$(json seconds) < 60"
check 2 "first.onnx: already exists; use -f" quern demo -o first.onnx
check 0 '' quern demo -o first.onnx -f
same first.onnx quern-demo-int8.onnx
check 3 'missing/q.onnx' quern demo -o missing/q.onnx
check 3 'is a directory' quern demo -o .

# It tells what the commands tell of the same files.
within() {
    sed -n "/\"$1\": {/,/}/s/^ *\"$2\": \([-0-9.e+]*\),*\$/\1/p" demo.json
}
number "$(within float n) == 1000 && $(within float correct) == 974"
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" -o q.onnx
check 0 '' quern eval q.onnx --data "$DIGITS/test_x_u8.npy" --labels "$DIGITS/test_y_u8.npy" \
    --against "$DIGITS/digits.onnx" --json
number "$(json correct) == $(within int8 correct)"
number "$(json argmax_agree) == $(within int8 argmax_agree)"
number "$(json sqnr_db) - $(within int8 sqnr_db) < 1e-3 && $(within int8 sqnr_db) - $(json sqnr_db) < 1e-3"
check 0 '' quern eval first.onnx --data "$DIGITS/test_x_u8.npy" --logits a.npy
check 0 '' quern eval q.onnx --data "$DIGITS/test_x_u8.npy" --logits b.npy
same a.npy b.npy
