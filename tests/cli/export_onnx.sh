# Target onnx: the model in each form that holds it; target hls has the network as QONNX, too.
make_array take "$DIGITS/calib_x_u8.npy" calib.npy 0 64
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 4
check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax -o q.onnx
check 0 '' quern export q.onnx --to onnx --vectors x.npy -o forms
silent
expect '^targets +manifest onnx$'
same q.onnx forms/onnx/model_qdq.onnx
for form in qoperator qonnx; do
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax --format-of-file $form -o $form.onnx
    same $form.onnx forms/onnx/model_$form.onnx
done
check 0 '' quern verify forms
expect '^differences +none'
printf 'x' | dd of=forms/onnx/model_qonnx.onnx bs=1 seek=1000 conv=notrunc 2>/dev/null
quern verify forms >out 2>err && fail "a changed file was not told"
expect '^onnx/model_qonnx.onnx: '

# One form by name.
check 0 '' quern export q.onnx --to onnx --form org -o one
[ "$(ls one/onnx)" = model_org.onnx ] || fail "with --form org there are $(ls one/onnx)"
check 0 '' quern verify one
check 2 'form is for target onnx' quern export q.onnx --to c --form qdq -o no
check 2 "form: 'qlinear' is no form" quern export q.onnx --to onnx --form qlinear -o no

# Weights of 6 bits: what holds them, and why the others do not.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax --weights int6 -o q6.onnx
check 0 '' quern export q6.onnx --to onnx -o six
expect "^onnx: not as qdq: form qdq cannot hold int6 of 'stem.conv.weight'"
[ "$(ls six/onnx)" = model_qonnx.onnx ] || fail "int6 weights are in $(ls six/onnx)"
grep -q '"reason": "form qoperator cannot hold int6' six/manifest.json || fail "the manifest does not say why"
check 0 '' quern verify six
check 3 "cannot be exported to onnx: form qdq cannot hold int6" quern export q6.onnx --to onnx --form qdq -o no
[ ! -e no ] || fail "a refused export left a directory"

check 0 '' quern export q.onnx --to hls -o hls
same qonnx.onnx hls/hls/model_qonnx.onnx
check 0 '' quern verify hls
