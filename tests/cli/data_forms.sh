# Every form of data file gives the same logits and the same counts.
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 60
make_array take "$DIGITS/test_y_u8.npy" y.npy 0 60
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
check 0 '' quern eval q.onnx --data x.npy --labels y.npy --logits want.npy --json
correct=$(json correct)
number "$correct > 50"

# try DATA [OPTION...]: the logits are those of x.npy.
try() {
    data=$1
    shift
    check 0 '' quern eval q.onnx --data "$data" --logits got.npy -f "$@"
    same want.npy got.npy
}
for order in c fortran; do
    for descr in '|u1' '<f4' '>f4' '<f8' '>f8'; do
        make_array convert x.npy form.npy "$descr" $order
        try form.npy
    done
done
make_array idx x.npy x.idx
try x.idx
gzip -k x.idx
try x.idx.gz
mv x.idx.gz plain-name
try plain-name # told apart by content
{
    printf '\000\000\010\003\000\000\000\074\000\000\000\034\000\000\000\034' # uint8 (60, 28, 28), as MNIST's own files
    tail -c $((60 * 28 * 28)) x.npy
} >train-images-idx3-ubyte
try train-images-idx3-ubyte
make_array pb x.npy x.pb
try x.pb
for method in store deflate; do
    make_array npz x.npy x-$method.npz inputs $method
    try x-$method.npz:inputs
done

# int8 holds half of a pixel's range.
make_array convert x.npy half-u1.npy '|u1' c 2
make_array convert x.npy half-i1.npy '|i1' c 2
check 0 '' quern eval q.onnx --data half-u1.npy --logits half.npy
check 0 '' quern eval q.onnx --data half-i1.npy --logits got.npy -f
same half.npy got.npy

# A network of two inputs takes an archive with an array for each: the sum of two halves is the whole.
make_model in-order plain.onnx
make_model two-inputs two.onnx
make_array npz half-u1.npy two.npz second deflate
make_array npz half-u1.npy two.npz input store
check 0 '' quern eval plain.onnx --data half-u1.npy --scale 2 --logits want.npy -f
check 0 '' quern eval two.onnx --data two.npz --logits got.npy -f
same want.npy got.npy
check 0 '' quern quantize two.onnx --data two.npz --recipe minmax -o two-q.onnx
check 0 '' quern quantize two.onnx --data two.npz -o two-best.onnx # its passes feed both inputs, too
check 0 '' quern eval two-best.onnx --data two.npz --against two.onnx --json
number "$(json sqnr_db) > 20"
check 0 '' quern eval two-q.onnx --data two.npz --against two.onnx --json
number "$(json sqnr_db) > 25"
check 0 '' quern calibrate two.onnx --data two.npz -o two.json
quern diff two.onnx two-q.onnx --data two.npz -q >diff.txt || [ $? -eq 4 ] || fail "diff of two inputs"
grep -q '^second ' diff.txt || fail "no row of the second input"
check 2 'two\.onnx: has 2 inputs; .*two\.npz: several arrays are taken as they are stored; scale' quern eval two.onnx --data two.npz --scale 2
make_array npz half-u1.npy one.npz input store
check 2 "two\.onnx: has 2 inputs; --data is to be an \.npz .*one\.npz:second: the archive holds no array of that name; it holds input" quern eval two.onnx --data one.npz
check 2 'has 2 inputs.*only of an \.npz archive can an array be chosen' quern eval two.onnx --data x.npy
make_array take half-u1.npy fewer.npy 0 59
make_array npz fewer.npy one.npz second store
check 3 "one\.npz: array 'second' has 59 items, but one\.npz:input has 60" quern eval two.onnx --data one.npz

# Labels: any integers.
for descr in '|u1' '|i1' '<i2' '>i4' '<i8' '>u4'; do
    make_array convert y.npy form.npy "$descr" c
    check 0 '' quern eval q.onnx --data x.npy --labels form.npy --json
    number "$(json correct) == $correct"
done
make_array idx y.npy y.idx
gzip -k y.idx
make_array npz y.npy y.npz labels deflate
for labels in y.idx y.idx.gz y.npz:labels; do
    check 0 '' quern eval q.onnx --data x.npy --labels $labels --json
    number "$(json correct) == $correct"
done

# Channels last: one channel is the same bytes with another shape; three are not.
make_array convert x.npy nhwc.npy '|u1' nhwc
make_model in-order plain.onnx
check 0 '' quern eval plain.onnx --data x.npy --scale 1/255 --logits want.npy -f
check 0 '' quern eval plain.onnx --data nhwc.npy --layout nhwc --scale 1/255 --logits got.npy -f
same want.npy got.npy
if [ -n "$SHARED" ]; then
    resnet=$SHARED/data/models/resnet8_cifar10.onnx
    make_array take "$SHARED/data/inputs/cifar10_lossless932_x_u8.npy" rgb.npy 0 20
    make_array convert rgb.npy rgb-nhwc.npy '<f4' nhwc
    check 0 '' quern eval "$resnet" --data rgb.npy -j 1 --logits want.npy -f
    check 0 '' quern eval "$resnet" --data rgb-nhwc.npy --layout nhwc -j 1 --logits got.npy -f
    same want.npy got.npy
else
    echo "skipped: three channels last; needs the shared models and data"
fi
