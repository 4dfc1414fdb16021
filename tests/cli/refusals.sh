# Bad input: exit 2 or 3 and one line that names file, node and reason; nothing half written, nothing crashes.
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 12
make_array take "$DIGITS/test_y_u8.npy" y.npy 0 12
make_model in-order m.onnx
cp "$DIGITS/digits.onnx" digits.onnx
check 0 '' quern calibrate m.onnx --data x.npy -o calib.json
check 0 '' quern quantize m.onnx --calibration calib.json -o q.onnx

# repeat N TEXT: TEXT, a printf format, N times.
repeat() {
    # shellcheck disable=SC2046,SC2059 # N empty arguments for a format that uses none of them
    printf "$2%.0s" $(seq "$1")
}
pattern() {
    echo "$1" | sed 's/[].*+?(){}|^$\\[]/\\&/g'
}

# Not models: each command refuses each with a line that names the file.
: >empty
echo 'not a model' >text
head -c 5000 /dev/zero >zeros
repeat 40 '\377' >ones
gzip -c m.onnx >gz
make_array npz x.npy zip x deflate
mkdir folder
for file in empty text zeros ones gz zip folder missing x.npy calib.json /dev/null; do
    named="$(pattern "$file").*[a-z]{3}"
    check 3 "$named" quern inspect $file
    check 3 "$named" quern eval $file --data x.npy --logits no.out
    check 3 "$named" quern calibrate $file --data x.npy -o no.out
    check 3 "$named" quern quantize $file --data x.npy -o no.out
    check 3 "$named" quern eval m.onnx --data x.npy --against $file --logits no.out
done
check 3 'folder: is a directory' quern inspect folder
check 3 'missing: cannot open: No such file' quern inspect missing
mkfifo pipe
check 3 'pipe: is not a regular file' timeout 10 quern inspect pipe # nobody writes to it: opening it must not wait
check 3 'empty.*(empty|no bytes|not ONNX|not an ONNX)' quern inspect empty

# Cut off: refused wherever it happens.
size=$(wc -c <digits.onnx)
for bytes in 1 2 7 64 100 1000 10000 $((size / 2)) $((size - 1000)) $((size - 100)) $((size - 1)); do
    head -c "$bytes" digits.onnx >cut.onnx
    check 3 'cut\.onnx' timeout 60 quern eval cut.onnx --data x.npy --logits no.out
done

# Flipped bits: still a model, or refused in one line; never a crash, never a hang.
flip() {
    byte=$(od -An -t u1 -j "$2" -N 1 "$1")
    head -c "$2" "$1"
    # shellcheck disable=SC2059 # an octal escape
    printf "\\$(printf %03o $((byte ^ (1 << $2 % 8))))"
    tail -c +$(($2 + 2)) "$1"
}
# flips FILE POSITIONS COMMAND...: the command, which reads the file 'flipped'.
flips() {
    original=$1 positions=$2
    shift 2
    for position in $positions; do
        flip "$original" "$position" >flipped
        code=0
        timeout 60 "$@" >out 2>err || code=$?
        case $code in
        0) ;;
        3) number "$(wc -l <err) == 1" ;;
        *) fail "exit $code with a bit of $original flipped at $position: $* ($(head -c 300 err))" ;;
        esac
    done
}
flips digits.onnx "$(seq 0 40) $(seq 100 9973 $((size - 1))) $(seq $((size - 200)) 7 $((size - 1)))" \
    quern eval flipped --data x.npy
size=$(wc -c <q.onnx)
flips q.onnx "$(seq 0 3 100) $(seq $((size - 1500)) 37 $((size - 1)))" quern eval flipped --data x.npy
flips x.npy "$(seq 0 127)" quern eval q.onnx --data flipped
size=$(wc -c <calib.json)
flips calib.json "$(seq 0 $((size / 60)) $((size - 1)))" quern quantize m.onnx --calibration flipped -f -o flipped.onnx

# Models that cannot be run: every node is listed.
make_model unsupported unsupported.onnx
for command in eval calibrate; do
    output=$([ $command = eval ] || echo '-o no.out')
    # shellcheck disable=SC2086 # two words or none
    check 3 'unsupported\.onnx' quern $command unsupported.onnx --data x.npy $output
    for node in "Trilu (1 node: 'sharpen')" "Frobnicate (1 node: 'frob')"; do
        grep -q "$node" err || fail "$node is not in: $(cat err)"
    done
done
make_model no-integer-form norm.onnx
check 0 '' quern eval norm.onnx --data x.npy
check 0 '' quern quantize norm.onnx --data x.npy -o norm.q.onnx
make_model newline-name newline.onnx
check 3 "newline\.onnx.*Frobnicate \(1 node: 'frob'\)" quern eval newline.onnx --data x.npy

# Models broken in one way.
refused() {
    make_model "$1" "$1.onnx"
    check 3 "$1\\.onnx.*$2" quern eval "$1.onnx" --data x.npy --logits no.out
    check 3 "$1\\.onnx.*$2" quern calibrate "$1.onnx" --data x.npy -o no.out
    check 3 "$1\\.onnx.*$2" quern quantize "$1.onnx" --data x.npy -o no.out
}
refused nan-weight "'w'.*(NaN|nan)"
refused infinite-weight "'w'.*(infinit|Inf)"
refused short-tensor "'w'"
refused huge-tensor "'w'"
refused negative-dim "'w'"
refused wrong-inner-dim "'dense'"
refused cycle "'(flat|dense)'"
refused missing-value "'nowhere'"
refused written-twice "'flattened'"
refused missing-output "'logits'"
refused future-opset '999'
refused no-opset 'opset'
refused no-graph 'graph'
refused external-missing 'weights\.bin'
refused external-outside 'passwd'
make_model two-inputs two-inputs.onnx
check 2 'two-inputs\.onnx.*2 inputs' quern eval two-inputs.onnx --data x.npy
check 2 'two-inputs\.onnx.*2 inputs' quern calibrate two-inputs.onnx --data x.npy -o no.out
make_model huge-weights huge-weights.onnx
check 3 "huge-weights\.onnx.*(infinit|NaN|not finite).*logits|logits.*(infinit|NaN|not finite)" \
    quern calibrate huge-weights.onnx --data x.npy -o no.out

# Data of another shape: both shapes and both files are named.
head -c 300 /dev/zero | npy '|u1' '3, 1, 10, 10' >small.npy
head -c 4704 /dev/zero | npy '|u1' '2, 3, 28, 28' >rgb.npy
head -c 784 /dev/zero | npy '|u1' '784,' >flat.npy
for data in "small.npy 1, 10, 10" "rgb.npy 3, 28, 28" "flat.npy "; do
    shape=${data#* } data=${data%% *}
    check 3 "\\(1, 28, 28\\).*$data.*\\($shape\\)" quern eval m.onnx --data $data --logits no.out
    check 3 "\\(1, 28, 28\\).*$data.*\\($shape\\)" quern eval q.onnx --data $data --logits no.out
    check 3 "\\(1, 28, 28\\).*$data.*\\($shape\\)" quern calibrate m.onnx --data $data -o no.out
    check 3 "\\(1, 28, 28\\).*$data.*\\($shape\\)" quern quantize m.onnx --data $data -o no.out
done

head -c 1 /dev/zero | npy '|u1' '' >scalar.npy
check 3 'scalar\.npy: holds a single number' quern eval m.onnx --data scalar.npy

# No data at all.
make_array take x.npy none.npy 0 0
check 2 'none\.npy: holds no items' quern calibrate m.onnx --data none.npy -o no.out
check 2 'none\.npy: holds no items' quern quantize m.onnx --data none.npy -o no.out
check 2 'none\.npy: holds no items' quern eval m.onnx --data none.npy --logits no.out

# NaN and infinity in data: the item is named.
{
    repeat $((784 * 3 + 5)) '\000\000\200\077'
    printf '\000\000\300\177'
    repeat $((784 - 6)) '\000\000\200\077'
} | npy '<f4' '4, 1, 28, 28' >nan.npy
{
    printf '\000\000\200\377'
    repeat 783 '\000\000\200\077'
} | npy '<f4' '1, 1, 28, 28' >infinite.npy
check 3 'nan\.npy.*item 3.*NaN' quern eval m.onnx --data nan.npy --logits no.out
check 3 'nan\.npy.*item 3.*NaN' quern eval q.onnx --data nan.npy --logits no.out
check 3 'nan\.npy.*item 3.*NaN' quern calibrate m.onnx --data nan.npy -o no.out
check 3 'nan\.npy.*item 3.*NaN' quern quantize m.onnx --data nan.npy -o no.out
check 3 'infinite\.npy.*item 0.*inf' quern eval m.onnx --data infinite.npy --logits no.out

# Data files that are none.
for file in empty text zeros ones gz folder missing m.onnx; do
    check 3 "$(pattern $file).*[a-z]{3}" quern eval m.onnx --data $file --logits no.out
    check 3 "$(pattern $file).*[a-z]{3}" quern calibrate m.onnx --data $file -o no.out
    check 3 "$(pattern $file).*[a-z]{3}" quern eval m.onnx --data x.npy --labels $file
done
size=$(wc -c <x.npy)
for bytes in 3 9 60 127 128 1000 $((size - 1)); do
    head -c $bytes x.npy >cut.npy
    check 3 'cut\.npy' quern eval m.onnx --data cut.npy
done
for descr in '<c8' '|O' '|S4' '<f16' '|u9' '<U1'; do
    head -c 12544 /dev/zero | npy "$descr" '1, 1, 28, 28' >type.npy
    check 3 'type\.npy' quern eval m.onnx --data type.npy
done
for shape in '-1, 1, 28, 28' '4611686018427387904, 4, 28, 28' '1, 1, 28, x' '1; 1' '1, 1, 1, 1, 1, 1, 1, 1, 28, 28'; do
    head -c 784 /dev/zero | npy '|u1' "$shape" >shape.npy
    check 3 'shape\.npy' quern eval m.onnx --data shape.npy
done
npy '<f8' '1152921504606846975,' </dev/null | gzip >huge.gz # all but the last 7 of 2^63 bytes
check 3 'huge\.gz: .*too large' quern eval m.onnx --data huge.gz
check 2 'zip:y: the archive holds no array of that name; it holds x' quern eval m.onnx --data zip:y
check 3 'none\.zip:x' quern eval m.onnx --data none.zip:x
check 2 'text:x: only of an \.npz' quern eval m.onnx --data text:x
make_array idx x.npy x.idx
gzip -c x.idx | head -c 200 >cut.gz
check 3 'cut\.gz' quern eval m.onnx --data cut.gz
head -c 500 x.idx >cut.idx
check 3 'cut\.idx' quern eval m.onnx --data cut.idx
make_array pb x.npy x.pb
head -c 500 x.pb >cut.pb
check 3 'cut\.pb' quern eval m.onnx --data cut.pb
head -c 3000 zip >cut.zip
check 3 'cut\.zip' quern eval m.onnx --data cut.zip:x

# Labels that do not fit.
make_array take "$DIGITS/test_y_u8.npy" many.npy 0 13
make_array take "$DIGITS/test_y_u8.npy" few.npy 0 11
check 3 'many\.npy.*13.*12|many\.npy.*12.*13' quern eval m.onnx --data x.npy --labels many.npy --logits no.out
check 3 'few\.npy.*11.*12|few\.npy.*12.*11' quern eval m.onnx --data x.npy --labels few.npy --logits no.out
make_array convert y.npy float.npy '<f4' c
check 2 'float\.npy: labels are float32' quern eval m.onnx --data x.npy --labels float.npy --logits no.out
check 3 'x\.npy.*(shape|labels|rank|dimension)' quern eval m.onnx --data x.npy --labels x.npy --logits no.out
repeat 12 '\012' | npy '|u1' '12,' >eleventh.npy # class 10 of 10
check 3 'eleventh\.npy.*10' quern eval m.onnx --data x.npy --labels eleventh.npy --logits no.out
repeat 12 '\377' | npy '|i1' '12,' >negative.npy
check 3 'negative\.npy.*-1' quern eval m.onnx --data x.npy --labels negative.npy --logits no.out

# Calibration files that are none, or another model's.
echo '{"quern": "0.1.0"}' >bare.json
echo '{"quern": "0.1.0", "values": {"input": {"min": 1, "max": 0, "absmax": []}}}' >reversed.json
echo '{"quern": "0.1.0", "values": {"input": {"min": 1e999, "max": 2e999, "absmax": []}}}' >infinite.json
echo '[' >unclosed.json
echo '[]' >list.json
for file in empty text zeros folder missing m.onnx x.npy bare.json reversed.json infinite.json unclosed.json list.json; do
    check 3 "$(pattern $file)" quern quantize m.onnx --calibration $file -o no.out
done
check 0 '' quern calibrate digits.onnx --data x.npy -o digits.json
check 2 "(digits\.json|m\.onnx)" quern quantize m.onnx --calibration digits.json --scale 1/255 --mean 0.148 --std 0.198 -o no.out
sed 's/"flattened"/"fattened"/; s/"logits"/"digits"/' calib.json >renamed.json
check 2 "'(flattened|logits)'" quern quantize m.onnx --calibration renamed.json -o no.out

[ ! -e no.out ] || fail "a refused command wrote an output"
if [ -n "$SHARED" ]; then
    pre="--scale 1/255 --mean .4914,.4822,.4465 --std .2470,.2435,.2616"
    make_array take "$SHARED/data/inputs/cifar10_calib500_x_u8.npy" rgb.npy 0 4
    # shellcheck disable=SC2086 # several words
    check 0 '' quern quantize "$SHARED/data/models/vit_cifar10.onnx" --data rgb.npy $pre --recipe minmax -o vit.q.onnx
    # Asked for what it cannot be before its data are missed.
    check 2 "matches 'nowhere\*'" quern quantize "$SHARED/data/models/vit_cifar10.onnx" --data absent.npy -o no.out --keep-float 'nowhere*'
    [ ! -e no.out ] || fail "a refused quantization wrote a file"
else
    echo "skipped: a transformer given to quantize; needs the shared models"
fi
