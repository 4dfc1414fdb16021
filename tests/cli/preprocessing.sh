# Preprocessing is recorded in what is written; repeating it is allowed, contradicting it is misuse.
make_model in-order plain.onnx
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 40
given="--scale 1/255 --mean 0.5 --std 1/4"
# shellcheck disable=SC2086 # several words, here and below
check 0 '' quern calibrate plain.onnx --data x.npy $given -o calib.json
grep -q '"preprocess"' calib.json || fail "calib.json does not record its preprocessing"
check 0 '' quern quantize plain.onnx --recipe minmax --calibration calib.json -o q.onnx
check 0 '' quern quantize plain.onnx --recipe minmax --data x.npy $given -o direct.onnx
same q.onnx direct.onnx
grep -aq 'quern\.preprocess' q.onnx || fail "q.onnx does not record its preprocessing"

# Recorded: not given again, given again in several spellings.
check 0 '' quern eval q.onnx --data x.npy --logits want.npy
for again in "$given" '--scale 1/255' '--scale 0.00392156862745098' '--mean .5' '--std 0.25' '--layout nchw' \
    '--mean 1/2 --std 25e-2 --scale 2/510'; do
    check 0 '' quern eval q.onnx --data x.npy $again --logits got.npy -f
    silent
    same want.npy got.npy
    check 0 '' quern quantize plain.onnx --recipe minmax --calibration calib.json $again -o again.onnx -f
    same q.onnx again.onnx
done
check 0 '' quern eval "$DIGITS/digits.onnx" --data x.npy --scale 1/255 --mean 0.148 --std 0.198 --logits got.npy -f
check 0 '' quern eval "$DIGITS/digits.onnx" --data x.npy --logits want.npy -f
same want.npy got.npy

# Contradicted.
for other in '--scale 1/256' '--mean 0.4' '--std 1' '--layout nhwc' '--scale 1/255 --mean 0'; do
    check 2 "contradict what 'q\\.onnx' records" quern eval q.onnx --data x.npy $other
    check 2 "contradict what 'calib\\.json' records" quern quantize plain.onnx --calibration calib.json $other -o no.onnx
    check 2 "contradict what '.*digits\\.onnx' records" quern calibrate "$DIGITS/digits.onnx" --data x.npy $other -o no.json
done
check 2 'leave out --layout, and store the data in that layout' quern eval q.onnx --data x.npy --layout nhwc
check 2 "'q\\.onnx' and '.*digits\\.onnx' record different preprocessing" \
    quern eval q.onnx --data x.npy --against "$DIGITS/digits.onnx"
check 2 "record different preprocessing" quern quantize "$DIGITS/digits.onnx" --calibration calib.json -o no.onnx
if [ -e no.onnx ] || [ -e no.json ]; then
    fail "a refused command wrote a file"
fi

# The other model of a comparison takes the preprocessing of the one that records it.
check 0 '' quern eval q.onnx --data x.npy --against plain.onnx --json
number "$(json sqnr_db) > 20"
check 0 '' quern eval plain.onnx --data x.npy --against q.onnx --json
number "$(json sqnr_db) > 20"

# Options that make no sense, each said with its value.
for scale in 0 0/5 1/0 x '' nan inf 1/255/2 1e999 '1 2'; do
    check 2 "scale '$scale' is not" quern eval plain.onnx --data x.npy --scale "$scale"
done
for list in '' ',' '1,' ',1' '1,,2' x nan '1;2'; do
    check 2 "mean '$list' is not" quern eval plain.onnx --data x.npy --mean "$list"
    check 2 "std '$list' is not" quern eval plain.onnx --data x.npy --std "$list"
done
check 2 "std '0' is not" quern eval plain.onnx --data x.npy --std 0
check 2 "std '1,0,1' is not" quern eval plain.onnx --data x.npy --std 1,0,1
check 2 "layout 'nwhc' is neither" quern eval plain.onnx --data x.npy --layout nwhc
check 3 '(mean|channels)' quern eval plain.onnx --data x.npy --mean 1,2,3
check 3 '(std|channels)' quern eval plain.onnx --data x.npy --std 1,2,3

# A record that means nothing is refused, not ignored.
make_model bad-record bad.onnx
check 3 'bad\.onnx.*(preprocess|scale)' quern eval bad.onnx --data x.npy
