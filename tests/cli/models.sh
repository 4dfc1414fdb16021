# The numbers that real networks must reach. The float ones are ONNX Runtime's on the same files.
skip_without_shared "accuracy of the example networks"
models=$SHARED/data/models inputs=$SHARED/data/inputs

# float_correct MODEL SET TYPE COUNT [PRE...]
float_correct() {
    model=$models/$1.onnx set=$2 type=$3 count=$4
    shift 4
    check 0 '' quern eval "$model" --data "$inputs/${set}_x_$type.npy" --labels "$inputs/${set}_y_u8.npy" --json \
        --logits logits.npy -f "$@"
    silent
    number "$(json correct) == $count"
}
# near REFERENCE CLASSES: the logits differ from the reference's by at most 1e-4 of its largest one.
near() {
    rows logits.npy f4 "$2" >a
    rows "$SHARED/data/reference/$1.npy" f4 "$2" >b
    number "$(wc -l <a) == $(wc -l <b)"
    paste -d ' ' a b | awk -v n="$2" '
        { for (i = 1; i <= n; i++) { d = $i - $(i + n); d = d < 0 ? -d : d; m = $(i + n) < 0 ? -$(i + n) : $(i + n)
            if (d > worst) worst = d; if (m > largest) largest = m } }
        END { print (NR && largest && worst <= 1e-4 * largest ? "near" : "worst " worst " of " largest) }' >verdict
    [ "$(cat verdict)" = near ] || fail "$1: $(cat verdict)"
}
cifar="--scale 1/255 --mean .4914,.4822,.4465 --std .2470,.2435,.2616"
float_correct resnet8_cifar10 cifar10_lossless932 u8 818
near resnet8_cifar10__lossless932 10
float_correct kws_dscnn kws_eval900 f32 826
near kws_dscnn__kws_eval900 12
float_correct kws_dscnn_tflite kws_eval900 f32 813
near kws_dscnn_tflite__kws_eval900 12
float_correct lenet_cifar10 cifar10_lossless932 u8 589 --scale 1/255 --mean .5 --std .5
near lenet_cifar10__lossless932 10
# shellcheck disable=SC2086 # several words
float_correct vit_cifar10 cifar10_eval2000 u8 1443 $cifar
near vit_cifar10__jpeg_eval2000 10
make_array take "$inputs/cifar10_eval2000_x_u8.npy" some.npy 0 200
# shellcheck disable=SC2086 # several words
check 0 '' quern eval $models/vit_cifar10_torchraw.onnx --data some.npy --against $models/vit_cifar10.onnx $cifar --json
number "$(json argmax_agree) == 1"
number "\"$(json sqnr_db)\" == \"null\" || $(json sqnr_db) + 0 > 80"

# int8_reaches MODEL CALIBRATION SET TYPE CORRECT SQNR
int8_reaches() {
    check 0 '' quern quantize "$models/$1.onnx" --data "$inputs/$2_x_$4.npy" --recipe minmax -o "$1.onnx"
    silent
    check 0 '' quern eval "$1.onnx" --data "$inputs/$3_x_$4.npy" --labels "$inputs/$3_y_u8.npy" --json \
        --against "$models/$1.onnx"
    number "$(json correct) >= $5 && $(json sqnr_db) >= $6"
    echo "$1: $(json correct) of $(json n) correct, $(json sqnr_db) dB"
}
int8_reaches resnet8_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 815 31.5
int8_reaches kws_dscnn_tflite kws_calib100 kws_eval900 f32 812 28.5

# The recipe best with fewer bits, too: CORRECT is the float network's answer less what may be lost, SQNR of no concern is 0.
# best_reaches MODEL CALIBRATION SET TYPE CORRECT SQNR [OPTION...]
best_reaches() {
    model=$1 calibration=$2 set=$3 type=$4 correct=$5 sqnr=$6
    shift 6
    check 0 '' quern quantize "$models/$model.onnx" --data "$inputs/${calibration}_x_$type.npy" -o best.onnx -f "$@"
    check 0 '' quern eval best.onnx --data "$inputs/${set}_x_$type.npy" --labels "$inputs/${set}_y_u8.npy" --json \
        --against "$models/$model.onnx"
    number "$(json correct) >= $correct && $(json sqnr_db) >= $sqnr"
    echo "$model $*: $(json correct) of $(json n) correct, $(json sqnr_db) dB"
}
best_reaches resnet8_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 0 34.5
best_reaches resnet8_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 795 0 --weights int4
best_reaches kws_dscnn_tflite kws_calib100 kws_eval900 f32 0 31.5
best_reaches kws_dscnn_tflite kws_calib100 kws_eval900 f32 808 0 --recipe po2
best_reaches kws_dscnn_tflite kws_calib100 kws_eval900 f32 786 0 --weights int4
best_reaches kws_dscnn_tflite kws_calib100 kws_eval900 f32 795 0 --weights int6 --activations uint6
lenet="--scale 1/127.5 --mean 1 --std 1"
# shellcheck disable=SC2086 # several words
{
    best_reaches lenet_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 588 0 $lenet
    best_reaches lenet_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 582 0 $lenet --recipe po2
    best_reaches lenet_cifar10 cifar10_lossless_calib500 cifar10_lossless932 u8 571 0 $lenet --weights int4
}

# The same integers on every level, with other batches and threads.
for model in resnet8_cifar10 kws_dscnn_tflite; do
    case $model in
    resnet8_cifar10) make_array take "$inputs/cifar10_lossless932_x_u8.npy" few.npy 0 16 ;;
    *) tail -c +129 "$inputs/kws_eval900_x_f32.npy" | head -c $((4 * 490 * 40)) | npy '<f4' '40, 1, 49, 10' >few.npy ;;
    esac
    check 0 '' env QUERN_CPU=reference quern eval $model.onnx --data few.npy --logits want.npy -f
    for level in avx2 avx512 vnni amx; do
        check 0 '' env QUERN_CPU=$level quern eval $model.onnx --data few.npy -q -j 2 --batch 3 --logits got.npy -f
        same want.npy got.npy
    done
done
