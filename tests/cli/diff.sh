# Two networks, or two arithmetics of one, value by value.
make_array take "$DIGITS/test_x_u8.npy" x.npy 192 16
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
# differ COMMAND...: exit code 4 with a report on stdout and nothing on stderr.
differ() {
    got=0
    "$@" >out 2>err || got=$?
    [ "$got" = 4 ] || fail "exit $got, expected 4: $*"
    silent
}

check 0 '' quern diff q.onnx q.onnx --data x.npy
silent
expect '^equal: 16 values of 16 items$'
check 0 '' quern diff "$DIGITS/digits.onnx" "$DIGITS/digits.onnx" --data x.npy --json
[ "$(sed -n 's/^  "equal": //p' out)" = true, ] || fail "a network is not equal to itself"

differ quern diff "$DIGITS/digits.onnx" q.onnx --data x.npy
expect '^a: .*digits.onnx \(float engine\)$'
expect '^b: q.onnx \(integer engine\)$'
expect '^cat.out +Concat +[0-9.]+ +[0-9.e+]+ %  [0-9.]+: '
expect "^they part at input 'input'\$"
told=$(awk '$1 == "logits" { print $3 }' out)
check 0 '' quern eval q.onnx --data x.npy --against "$DIGITS/digits.onnx" --json
number "$(json sqnr_db) - $told < 0.0051 && $told - $(json sqnr_db) < 0.0051"

# The greatest difference of the logits, and where, from the logits themselves.
check 0 '' quern eval "$DIGITS/digits.onnx" --data x.npy --logits f.npy --batch 1 --json
check 0 '' quern eval q.onnx --data x.npy --logits i.npy --json
rows f.npy f4 1 >f.txt
rows i.npy f4 1 >i.txt
place=$(paste -d ' ' f.txt i.txt | awk '{ d = $1 > $2 ? $1 - $2 : $2 - $1; if (d > most) { most = d; at = NR - 1 } }
    END { printf "%d[%d]", int(at / 10), at % 10 }')
differ quern diff "$DIGITS/digits.onnx" q.onnx --data x.npy -j 2
grep '^logits ' out | grep -qF "at $place" || fail "not at $place: $(grep '^logits' out)"

# One model under two arithmetics: what eval gives for a model that says so itself.
differ quern diff q.onnx --profile ort --profile tflite --data x.npy --json
cp out d.json
check 0 '' quern diff q.onnx --profile tflite --profile tflite --data x.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax --profile tflite -o n.onnx
differ quern diff q.onnx n.onnx --data x.npy --json
awk '/"value"|n_different/' out >one.txt
awk '/"value"|n_different/' d.json >other.txt
same one.txt other.txt
expect '^  "first": "stem.relu.out",?$'

check 2 '[-]-data X is missing' quern diff q.onnx q.onnx
check 2 'two models, or one and --profile twice' quern diff q.onnx --data x.npy
check 2 'two models, or one and --profile twice' quern diff q.onnx --profile ort --data x.npy
check 2 'two models, or one and --profile twice' quern diff q.onnx q.onnx --profile ort --profile ort --data x.npy
check 2 "[-]-profile.*'ortt'" quern diff q.onnx --profile ort --profile ortt --data x.npy
make_model two-inputs m.onnx
check 3 'q.onnx: number of inputs is 1, but that of m.onnx is 2; they cannot be compared' \
    quern diff q.onnx m.onnx --data x.npy
check 2 'is not quantized' quern diff "$DIGITS/digits.onnx" --profile ort --profile tflite --data x.npy
