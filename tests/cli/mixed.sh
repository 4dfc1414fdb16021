# Bits of weights under a budget: the budget is kept, and what is told is what the file holds.
make_array take "$DIGITS/calib_x_u8.npy" c.npy 0 32
make_array take "$DIGITS/test_x_u8.npy" x.npy 192 32
make_array take "$DIGITS/test_y_u8.npy" y.npy 192 32
mixed() {
    quern quantize "$DIGITS/digits.onnx" --data c.npy "$@" -o q.onnx --force
}
check 0 '' mixed --bits-budget 4.5bits --widths 8,6,5,4,3 --json -j 2
silent
cp out m.json
# Weights in the last column but one, from the layers of the JSON.
awk '/"n_weights"/ { n = $2 + 0 } /"bits"/ { used += n * $2; total += n } /"budget"/ { budget = $2 + 0 } /"used"/ { told = $2 + 0 }
    END { exit !(used == told && used <= budget && budget == int(4.5 * total) && total == 34408) }' m.json ||
    fail "the widths do not add up to what is told"
inner() {
    awk -v key="\"$1\":" '$1 == key { sub(",", "", $2); print $2; exit }' m.json
}
number "$(inner sqnr_db) >= $(inner uniform_sqnr_db) && $(inner uniform_width) == 4"
check 0 '' quern eval q.onnx --data c.npy --against "$DIGITS/digits.onnx" --json
number "$(json sqnr_db) - $(inner sqnr_db) < 1e-9 && $(inner sqnr_db) - $(json sqnr_db) < 1e-9"
check 0 '' quern inspect q.onnx --json
for bits in 3 4 5 6 8; do
    told=$(grep -c "\"bits\": $bits,\$" m.json || true)
    held=$(grep -c "\"weight_format\": \"int$bits per channel\"" out || true)
    [ "$told" = "$held" ] || fail "$told layers of $bits bits are told, $held are there"
done

# One thread or several: the same file.
cp q.onnx two.onnx
check 0 '' mixed --bits-budget 4.5bits --widths 8,6,5,4,3 -j 1
expect '^layer +op +weights +bits +input +alone dB$'
expect '^all layers with 4 bits: +SQNR'
same q.onnx two.onnx

check 0 '' mixed --bits-budget 0.6x --cost bitops --widths 8,4
expect ' bit operations of a budget of '
check 0 '' mixed --bits-budget 0.4x --cost bitops --widths 8,4 --activation-widths 8,4 --json
cp out m.json
number "$(inner used) <= $(inner budget) && $(grep -c '"input_bits": 4' m.json) > 0"
for bits in 4 8; do
    told=$(grep -c "\"input_bits\": $bits,\$" m.json || true)
    [ "$told" -gt 0 ] || fail "no input of $bits bits"
done
check 0 '' quern quantize "$DIGITS/digits.onnx" --data x.npy --labels y.npy --bits-budget 0.02MB --metric top1 \
    --widths 8,4,3 -o top1.onnx
expect 'bits of weights of a budget of 160'
expect '^chosen of what was tried: SQNR .* dB, top-1 [0-9.]+ %$'

for budget in 0x 0 x -1x nanx 4.5 4.5bytes 1e99x; do
    check 2 "budget '$budget' is none of" mixed --bits-budget "$budget"
done
check 2 "budget '4bits' is none of 0.5x and a number of bit operations" mixed --bits-budget 4bits --cost bitops
check 2 "metric 'psnr' is neither sqnr nor top1" mixed --bits-budget 0.5x --metric psnr
check 2 "cost 'time' is neither size nor bitops" mixed --bits-budget 0.5x --cost time
for widths in 8,8 0 17 8,,4 8x ''; do
    check 2 "widths '$widths' is not a list" mixed --bits-budget 0.5x --widths "$widths"
done
check 2 '[-]-metric top1 needs --labels' mixed --bits-budget 0.5x --metric top1
check 2 '[-]-activation-widths need --cost bitops' mixed --bits-budget 0.5x --activation-widths 8,4
check 2 '[-]-widths belongs to --bits-budget' mixed --widths 8,4
check 2 'the narrowest widths take 68816' mixed --bits-budget 0.1x
check 2 "weights are 'fp8e4m3'.*integer formats" mixed --bits-budget 0.5x --weights fp8e4m3
