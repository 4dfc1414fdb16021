# shellcheck shell=sh disable=SC2034 # what is set here is read by who sources it
# Sourced by the scripts that make the tables of doc/results.md: the networks, their data, and one measurement.
# QN_SHARED is the folder of models and data, which are not part of the project; QUERN the program; JOBS its threads.
SHARED=${QN_SHARED:-$(dirname "$0")/../../shared}
QUERN=${QUERN:-$(dirname "$0")/../build/release/quern}
JOBS=${JOBS:-1}
NETWORKS='resnet8_cifar10 kws_dscnn kws_dscnn_tflite lenet_cifar10 vit_cifar10'
[ -d "$SHARED/data/models" ] || { echo "$0: no models in $SHARED; set QN_SHARED" >&2; exit 1; }
[ -x "$QUERN" ] || { echo "$0: no program $QUERN; build it with ./run build, or set QUERN" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# network NAME: sets model, calib, data, labels (files), pre (preprocessing options, several words) and input_max, the
# greatest input: the option of the recipe aidge.
network() {
    pre="" input_max=255
    calib=cifar10_lossless_calib500_x_u8 data=cifar10_lossless932_x_u8 labels=cifar10_lossless932_y_u8
    case $1 in
    resnet8_cifar10) ;;
    kws_dscnn | kws_dscnn_tflite)
        calib=kws_calib100_x_f32 data=kws_eval900_x_f32 labels=kws_eval900_y_u8 input_max=123.372 ;;
    lenet_cifar10) pre='--scale 1/127.5 --mean 1 --std 1' input_max=1 ;;
    vit_cifar10)
        calib=cifar10_calib500_x_u8 data=cifar10_eval2000_x_u8 labels=cifar10_eval2000_y_u8
        pre='--scale 1/255 --mean .4914,.4822,.4465 --std .2470,.2435,.2616' ;;
    *) echo "$0: network '$1' can be one of: $NETWORKS" >&2; exit 2 ;;
    esac
    model=$SHARED/data/models/$1.onnx
    for file in calib data labels; do
        eval "$file=\$SHARED/data/inputs/\$$file.npy"
    done
}
# field NAME: a number of a JSON object on standard input.
field() { sed -n "s/^  \"$1\": \([-0-9.e+]*\),\{0,1\}\$/\1/p"; }

# measure OPTIONS: quantizes the network set last and evaluates it. Sets correct, top1 and sqnr (of the logits, dB).
# Where the recipe refuses the network, they are a dash.
measure() {
    correct=- top1=- sqnr=-
    # shellcheck disable=SC2086 # preprocessing is several words
    if "$QUERN" quantize "$model" --data "$calib" $pre -q -f -j "$JOBS" -o "$scratch/q.onnx" "$@" \
        >/dev/null 2>"$scratch/why"; then
        "$QUERN" eval "$scratch/q.onnx" --data "$data" --labels "$labels" --against "$model" -j "$JOBS" --json \
            >"$scratch/json"
        read_json
    elif ! grep -q 'no form in the recipe' "$scratch/why"; then
        cat "$scratch/why" >&2
        exit 1
    fi
}
read_json() {
    correct=$(field correct <"$scratch/json")
    top1=$(field top1 <"$scratch/json" | awk '{ printf "%.2f", 100 * $1 }')
    sqnr=$(field sqnr_db <"$scratch/json" | awk '{ printf "%.2f", $1 }')
}
# measure_float: the float network itself.
measure_float() {
    # shellcheck disable=SC2086
    "$QUERN" eval "$model" --data "$data" --labels "$labels" $pre -j "$JOBS" --json >"$scratch/json"
    read_json
    float_top1=$top1
}
