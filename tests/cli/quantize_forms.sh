# The forms of quantized ONNX that quantize writes, and what each cannot hold.
make_array take "$DIGITS/calib_x_u8.npy" calib.npy 0 64
quantize() {
    quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax -q "$@"
}
check 0 '' quantize -o plain.onnx
check 0 '' quantize --format-of-file auto -o auto.onnx
same plain.onnx auto.onnx
check 0 '' quantize --format-of-file qdq -o qdq.onnx
same plain.onnx qdq.onnx # the pairs hold all of it
for form in qoperator qonnx org; do
    check 0 '' quantize --format-of-file $form -o $form.onnx
    silent
    cmp -s plain.onnx $form.onnx && fail "$form.onnx is what qdq is"
done
grep -q QLinearConv qoperator.onnx || fail "qoperator.onnx has no QLinearConv"
grep -q com.microsoft qoperator.onnx || fail "qoperator.onnx does not import com.microsoft"
grep -q qonnx.custom_op.general qonnx.onnx || fail "qonnx.onnx does not import qonnx.custom_op.general"
grep -q FakeQuantize org.onnx || fail "org.onnx has no FakeQuantize"

# Refused by name: values, format, reason, remedy; nothing is written.
refused() {
    code=$1 pattern=$2
    shift 2
    check "$code" "$pattern" "$@" -o refused.onnx
    [ ! -e refused.onnx ] || fail "'$*' left a file"
}
refused 3 "form qdq cannot hold adaptivfloat<8,3> of 'stem.conv.weight', .*ONNX has no type for its codes; --format-of-file org" \
    quantize --weights 'adaptivfloat<8,3>' --format-of-file qdq
refused 3 "form qonnx cannot hold posit<8,1> of 'stem.conv.weight'.*org holds every format" \
    quantize --weights 'posit<8,1>' --format-of-file qonnx
refused 3 "form qdq cannot hold int6 of 'stem.conv.weight'.*--store int8" quantize --weights int6 --format-of-file qdq
refused 3 "form qoperator cannot hold int4 of 'stem.conv.weight'.*--store int8" \
    quantize --weights int4 --format-of-file qoperator
check 0 '' quantize --weights int4 --format-of-file qdq -o int4_qdq.onnx
check 0 '' quern inspect int4_qdq.onnx
expect "opset 21"
refused 3 "form qoperator cannot hold .*fitted anew to each input; --ranges static" \
    quantize --ranges dynamic --format-of-file qoperator
check 0 '' quantize --weights int4 --store int8 --format-of-file qoperator -o int4.onnx
check 0 '' quantize --weights int4 --format-of-file qonnx -o int4_qonnx.onnx
check 0 '' quantize --weights 'posit<8,1>' --format-of-file org -o posit.onnx
check 0 '' quern inspect posit.onnx
expect 'posit<8,1>'
refused 2 "has no quantizers, which form qdq would hold; leave out the form" \
    quantize --weights float --activations float --format-of-file qdq
refused 2 "format-of-file: 'qop' is no form .*did you mean qdq\? There are auto, qdq, qoperator, qonnx, org" \
    quantize --format-of-file qop
refused 2 "store packed does not go with --format-of-file qdq" quantize --store packed --format-of-file qdq
refused 2 "store int8 does not go with --format-of-file org" quantize --store int8 --format-of-file org
refused 2 "keeps floats; leave out --store" quantize --store int8 --format-of-file qonnx
check 2 'exists' quantize --format-of-file qoperator -o qoperator.onnx
