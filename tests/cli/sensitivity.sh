# The table of sensitivity: every layer and join, worst first, each number recomputed with quantize and eval.
calib=$DIGITS/calib_x_u8.npy
make_array take "$DIGITS/test_x_u8.npy" x.npy 192 32
make_array take "$DIGITS/test_y_u8.npy" y.npy 192 32
make_array take "$calib" c.npy 0 32
check 0 '' quern sensitivity "$DIGITS/digits.onnx" --data c.npy --eval-data x.npy --labels y.npy
silent
expect '^32 images; quantized: SQNR [0-9.]+ dB, top-1 [0-9.]+ %; float [0-9.]+ %$'
expect '^node +op +only it +all else +only it all else  likely reason$'
expect '^res.add +Add .*joins unequal ranges'
awk '$1 ~ /\./ || $1 == "fc" || $1 == "cat" { print $1 }' out | sort >names
printf '%s\n' cat down.conv dw.conv fc fine.conv head.conv pw.conv res.add res1.conv res2.conv stem.conv wide.conv |
    sort >wanted
same names wanted
awk '/^node/ { on = 1; next } on { print $3 }' out >column
sort -n column >sorted
same column sorted # worst first

# of NODE: only_sqnr_db and without_sqnr_db of the JSON.
of() {
    awk -v node="\"$1\"," -v key="\"$2\":" '$1 == "\"node\":" { on = $2 == node } on && $1 == key { sub(",", "", $2); print $2 }' s.json
}
near() {
    number "$1 - $2 < 1e-6 && $2 - $1 < 1e-6"
}
# the table leaves out passes that need data; this recipe has none
check 0 '' quern sensitivity "$DIGITS/digits.onnx" --recipe minmax --data c.npy --eval-data x.npy --json -j 2
cp out s.json
whole=$(json sqnr_db)
check 0 '' quern quantize "$DIGITS/digits.onnx" --recipe minmax --data c.npy -o q.onnx
check 0 '' quern eval q.onnx --data x.npy --against "$DIGITS/digits.onnx" --json
near "$(json sqnr_db)" "$whole"
check 0 '' quern quantize "$DIGITS/digits.onnx" --recipe minmax --data c.npy --keep-float fc -o without.onnx
check 0 '' quern eval without.onnx --engine simulate --data x.npy --against "$DIGITS/digits.onnx" --json
near "$(json sqnr_db)" "$(of fc without_sqnr_db)"
check 0 '' quern quantize "$DIGITS/digits.onnx" --recipe minmax --data c.npy --set '*:keep=float' --set 'fc:keep=codes' -o only.onnx
check 0 '' quern eval only.onnx --engine simulate --data x.npy --against "$DIGITS/digits.onnx" --json
near "$(json sqnr_db)" "$(of fc only_sqnr_db)"

# Fewer bits are given as a reason, and a node that stays float anyway has no row.
check 0 '' quern sensitivity "$DIGITS/digits.onnx" --data c.npy --weights int4 --keep-float fc
expect '^dw.conv .*weights of 4 bits'
! grep -q '^fc ' out || fail "a row for a node that stays float"

check 2 'is missing; usage: quern sensitivity' quern sensitivity "$DIGITS/digits.onnx"
check 2 'is missing; usage: quern sensitivity' quern sensitivity "$DIGITS/digits.onnx" --eval-data x.npy
check 3 'labels' quern sensitivity "$DIGITS/digits.onnx" --data c.npy --labels "$DIGITS/test_y_u8.npy"
check 2 '[-]-weights' quern sensitivity "$DIGITS/digits.onnx" --data c.npy --weights int99
