# Exports for Vitis HLS of the shared models, compiled with g++: every output and every layer as the engine has them.
skip_without_shared "compiling larger exports for HLS"
if ! command -v g++ >/dev/null || ! command -v make >/dev/null; then
    echo "skipped: compiling exports for HLS; there is no g++, or no make (packages g++, make)"
    exit 77
fi
models=$SHARED/data/models inputs=$SHARED/data/inputs
# passes NAME VECTORS N VALUES BENCH...
passes() {
    name=$1 data=$2 n=$3 values=$4
    shift 4
    check 0 '' quern export "$name.onnx" --to hls -o "$name" --vectors "$data" --limit "$n"
    for bench in "$@"; do
        check 0 '' make -s -C "$name/hls" "build/$bench" "CXXFLAGS=-O2 -Werror" ${AP_TYPES:+"AP_TYPES=$AP_TYPES"}
        (cd "$name/hls" && "build/$bench") >out 2>err || fail "$bench of $name: exit $?: $(head -c 300 out)"
        [ "$(cat out)" = "PASS: $n vectors, $values values, 0 differ" ] || fail "$bench of $name: $(head -c 300 out)"
    done
}
check 0 '' quern quantize "$models/resnet8_cifar10.onnx" --data "$inputs/cifar10_lossless_calib500_x_u8.npy" \
    --recipe minmax -q -o resnet8.onnx
passes resnet8 "$inputs/cifar10_lossless932_x_u8.npy" 16 384 testbench
check 0 '' quern quantize "$models/lenet_cifar10.onnx" --data "$inputs/cifar10_calib500_x_u8.npy" --scale 1/127.5 \
    --mean 1 --std 1 --recipe po2 -q -o lenet.onnx
passes lenet "$inputs/cifar10_lossless932_x_u8.npy" 50 850 testbench testbench_fixed
check 0 '' quern quantize "$models/kws_dscnn.onnx" --data "$inputs/kws_calib100_x_f32.npy" --requantize shift -q \
    -o kws.onnx
passes kws "$inputs/kws_calib100_x_f32.npy" 20 460 testbench
check 0 '' quern quantize "$models/vit_cifar10.onnx" --data "$inputs/cifar10_lossless_calib500_x_u8.npy" \
    --scale 1/255 --recipe minmax -q -o vit.onnx
check 3 'exported to hls, which has no such layers.*Softmax' quern export vit.onnx --to hls -o vit
