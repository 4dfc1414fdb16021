# What eval prints and writes, recomputed here from the logits. Runs under every QUERN_CPU.
test_x=$DIGITS/test_x_u8.npy test_y=$DIGITS/test_y_u8.npy
check 0 '' quern eval "$DIGITS/digits.onnx" --data "$test_x" --labels "$test_y" --json
number "$(json n) == 1000 && $(json correct) == 974 && $(json top1) == 0.974" # as ONNX Runtime's

# Fewer images from here on: the reference kernels are slow. Some of them are read wrong.
make_array take "$test_x" x.npy 192 48
make_array take "$test_y" y.npy 192 48
test_x=x.npy test_y=y.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx

check 0 '' quern eval "$DIGITS/digits.onnx" --data "$test_x" --labels "$test_y" --logits f.npy --json
silent
[ "$(json engine)" = float ] || fail "a float model runs in '$(json engine)'"
number "$(json n) == 48 && $(json top1) == $(json correct) / 48"
float_correct=$(json correct)
number "$(json images_per_second) > 0"
[ -z "$(json sqnr_db)$(json argmax_agree)" ] || fail "a comparison without --against"

check 0 '' quern eval q.onnx --data "$test_x" --labels "$test_y" --against "$DIGITS/digits.onnx" --logits q.npy --json
silent
[ "$(json engine)" = integer ] || fail "a quantized model runs in '$(json engine)'"
number "$(json n) == 48 && $(json top1) == $(json correct) / 48"
number "$(json correct) >= 42 && $(json correct) < 48 && $(json sqnr_db) >= 33 && $(json argmax_agree) >= 0.95"

# Logits: float32 (N, 10), little endian, C order.
for logits in f.npy q.npy; do
    head -c 128 $logits | grep -aq "'descr': '<f4', 'fortran_order': False, 'shape': (48, 10)" ||
        fail "header of $logits: $(head -c 128 $logits | head -n 1)"
    number "$(wc -c <$logits) == 128 + 4 * 48 * 10"
done

# top-1, SQNR and agreement, from their definitions.
rows f.npy f4 10 >f.txt
rows q.npy f4 10 >q.txt
rows "$test_y" u1 1 >y.txt
paste -d ' ' f.txt q.txt y.txt | awk '
    function argmax(first,    i, best) {
        best = first
        for (i = first + 1; i < first + 10; i++) if ($i + 0 > $best + 0) best = i
        return best - first
    }
    {
        f = argmax(1); q = argmax(11)
        agree += f == q
        correct += q == $21
        in_float += f == $21
        for (i = 1; i <= 10; i++) { signal += $i * $i; noise += ($i - $(i + 10)) ^ 2 }
    }
    END { printf "agree=%d correct=%d in_float=%d sqnr=%.6f\n", agree, correct, in_float,
          10 * log(signal / noise) / log(10) }' >recomputed
eval "$(cat recomputed)"
# shellcheck disable=SC2154 # set by the line above
number "$in_float == $float_correct && $(json correct) == $correct && $(json argmax_agree) == $agree / 48"
number "$(json sqnr_db) - $sqnr < 1e-3 && $sqnr - $(json sqnr_db) < 1e-3"

# Text for people.
check 0 '' quern eval q.onnx --data "$test_x" --labels "$test_y" --against "$DIGITS/digits.onnx"
expect '^images +48 \(integer engine\)$'
expect "^top-1 +[0-9.]+ % \\($correct of 48\\)\$"
expect '^SQNR +[0-9.]+ dB$'
expect "^argmax agree +[0-9.]+ % \\($agree of 48\\)\$"
expect '^speed +[0-9]+ images/s$'
check 0 '' env QUERN_CPU=reference quern eval q.onnx --data "$test_x" -v -j 1
expect '^run on +reference, 1 thread$'

# Against itself: no noise at all. JSON has no infinity.
check 0 '' quern eval "$DIGITS/digits.onnx" --data "$test_x" --against "$DIGITS/digits.onnx" -j 1
expect 'SQNR +infinite'
check 0 '' quern eval q.onnx --data "$test_x" --against q.onnx --json
[ "$(json sqnr_db)" = null ] || fail "infinite SQNR is '$(json sqnr_db)' in JSON, not null"
number "$(json argmax_agree) == 1"

# A quantized model in float, its values rounded to codes: near the integers, though not the same arithmetic.
check 0 '' quern eval q.onnx --engine simulate --data "$test_x" --against q.onnx --json
[ "$(json engine)" = simulate ] || fail "--engine simulate ran '$(json engine)'"
number "$(json argmax_agree) >= 0.95"
number "\"$(json sqnr_db)\" == \"null\" || $(json sqnr_db) + 0 >= 25"

# With only the weights rounded it is nearer to the float model than with the activations, too.
check 0 '' quern eval q.onnx --engine simulate --data "$test_x" --against "$DIGITS/digits.onnx" --json
simulated=$(json sqnr_db)
check 0 '' quern eval q.onnx --engine float --data "$test_x" --against "$DIGITS/digits.onnx" --json
[ "$(json engine)" = float ] || fail "--engine float ran '$(json engine)'"
number "$(json sqnr_db) > $simulated"

# A float model has no integers to run.
check 3 "digits\\.onnx: is not quantized; quantize the model first" \
    quern eval "$DIGITS/digits.onnx" --engine integer --data "$test_x"
