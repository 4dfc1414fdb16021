# quantize: each option with good and bad values. What is unknown, contradicts itself or concerns nothing is exit 2 and a
# line that tells the choices; nothing is written then.
make_model in-order m.onnx
make_array take "$DIGITS/calib_x_u8.npy" x.npy 0 40

quern recipe minmax >own.yaml

# good OPTIONS...: makes a network that 'eval' runs, and says nothing. The recipe is a quick one.
good() {
    case " $* " in
    *' --recipe '*) ;;
    *) set -- --recipe minmax "$@" ;;
    esac
    check 0 '' quern quantize m.onnx --data x.npy -f -o good.onnx "$@"
    silent
    check 0 '' quern eval good.onnx --data x.npy --against m.onnx --json
}
# simulated OPTIONS...: the same, but for a note that the engine is another.
simulated() {
    check 0 'runs in simulation: .*use the simulate engine' \
        quern quantize m.onnx --data x.npy --recipe minmax -f -o good.onnx "$@"
    check 0 '' quern eval good.onnx --data x.npy --against m.onnx --json
    [ "$(json engine)" = simulate ] || fail "$* is run by the engine $(json engine)"
}
bad() {
    check 2 "$1" quern quantize m.onnx --data x.npy -o bad.onnx "$2" "$3" ${4+"$4"} ${5+"$5"}
    [ ! -e bad.onnx ] || fail "$* wrote a file"
}

for recipe in best minmax tflite po2 best:rule=mse minmax:rule=percentile:99.9 own.yaml own.yaml:rule=kl; do
    good --recipe $recipe
done
bad "unknown recipe 'bst'; there are best, minmax" --recipe bst
bad "unknown recipe ''; there are best" --recipe ''
bad "best: no option follows the colon; write best:rule=" --recipe best:
bad "'rul=mse' is no option.*rule of choose-ranges" --recipe best:rul=mse
bad "'msx' is no range rule; the nearest is 'mse'" --recipe best:rule=msx
bad 'percentile needs an argument' --recipe best:rule=percentile
for line in 'weights: int44' 'activations: "uint8,"' 'bias: ""' 'per: grup' 'ranges: never'; do
    { grep -v "^${line%% *}" own.yaml && echo "$line"; } >odd.yaml
    bad 'odd\.yaml' --recipe odd.yaml
done
check 3 'missing\.yaml: cannot open' quern quantize m.onnx --data x.npy -o bad.onnx --recipe missing.yaml

for format in int8 int4 uint8 int8:po2 float; do
    good --weights "$format"
done
for format in 'qkeras-bits<8,0,alpha=auto>' 'qkeras-bits<4,1,alpha=auto_po2>' 'qkeras-linear<8,0,alpha=0.5>' int8:qkeras-auto; do
    good --weights "$format"
    [ "$(json engine)" = integer ] || fail "$format is run by the engine $(json engine)"
done
good --recipe po2:rule=minmax --weights 'qkeras-bits<8,0,alpha=auto_po2>' --no-rounding
bad "'qkeras-bits<8,0,alfa=auto>': 'alfa' is no argument; the nearest is 'alpha'; there are: bits, integer" --weights 'qkeras-bits<8,0,alfa=auto>'
bad "argument integer stands there twice" --weights 'qkeras-bits<8,0,integer=1>'
bad "argument alpha has no value" --weights 'qkeras-bits<8,0,alpha=>'
bad "'0' has no name" --weights 'qkeras-bits<8,alpha=auto,0>'
bad "keep their scales: channel 0's .*recipe po2.* or requantize float or fixed" --weights 'qkeras-bits<8,0,alpha=auto>' --requantize shift
good --weights int4 --store int8
check 0 '' quern inspect good.onnx
expect '^formats .*int4'
grep -q org.quern out && fail "--store int8 leaves nodes of org.quern"
good --weights int4 --store packed
bad "store 'int4' is neither packed nor int8" --store int4
simulated --weights ternary
simulated --weights 'qkeras-bits<8,0,keep_negative=0>' # 255 is no int8
bad "--weights: format 'fred': there is no format 'fred'; the nearest is" --weights fred
bad '--weights: .*legal is 1 to 16; the nearest is int16' --weights int99
bad '--weights: .*empty' --weights ''
bad "option '--weights' is given twice" --weights int4 --weights int8
for format in uint8 int8 uint4 float; do
    good --activations "$format"
done
simulated --activations fp8e4m3
bad '--activations: .*legal is 1 to 16; the nearest is int1' --activations int0
for format in int32 int16 float; do
    good --bias "$format"
done
simulated --bias fp16
bad "--bias: format 'wide': there is no format" --bias wide
check 3 "Gemm 'dense': no weight scale keeps the bias below 128 .*; .*wider format" \
    quern quantize m.onnx --data x.npy -o bad.onnx --recipe minmax --bias int8

for per in channel tensor group:1 group:32 group:65536; do
    good --per $per
done
for per in row '' group group: group:0 group:-1 group:x group:32x group:65537; do
    bad "'$per' is none of channel, tensor, group:N" --per "$per"
done

good --set dense:weights=int4
good --set 'Ge*:weights=int4,per=tensor' --set 'dense:activations=uint4,bias=int32'
good --set 'flat:weights=int4,activations=uint8'
good --set input:activations=uint4
bad "no node .* matches 'conv\*'; names are flat, dense" --set 'conv*:weights=int4'
bad "nothing that matches 'flat' has weights" --set flat:weights=int4,per=tensor
bad "nothing that matches 'input' has weights" --set input:bias=int32
for text in dense :weights=int4 dense:; do
    bad "--set '$text' is not of the form GLOB:" --set $text
done
bad "dense: 'wieghts=int4' is no setting; there are weights, activations" --set dense:wieghts=int4
bad "dense: 'weights' is no setting; it has the form key=value" --set dense:weights
bad 'dense: .*ends in a comma' --set dense:weights=int4,
bad "dense, format 'int44'.*legal is 1 to 16" --set dense:weights=int44
bad "dense: granularity 'group:0' is none of" --set dense:per=group:0
bad "dense: 'keep=int' is no setting" --set dense:keep=int

good --keep-float dense
good --keep-float Gemm --keep-float 'flat*'
bad "no node .* matches 'conv\*'; names are flat, dense" --keep-float 'conv*'
bad "no node .* matches ''" --keep-float ''
many=$(for i in $(seq 65); do echo "--keep-float dense"; done)
# shellcheck disable=SC2086 # many arguments
check 2 'more than 64 times --keep-float' quern quantize m.onnx --data x.npy -o bad.onnx $many

good --ranges static
simulated --ranges dynamic
check 3 "integer engine cannot run 'input', which is dynamic.*use the simulate engine" \
    quern eval good.onnx --data x.npy --engine integer
bad "'sometimes' are neither static nor dynamic" --ranges sometimes
bad 'dynamic ranges clip nothing; take static' --ranges dynamic --no-rounding
good --no-rounding
good --no-rounding --weights int4 --recipe best:rule=mse
printf '%s\n' 'passes: [choose-ranges, choose-weights, learned-rounding, correct-bias, quantize-weights]' >learned.yaml
good --no-rounding --weights int2 --recipe learned.yaml # no pass rounds
number "$(json sqnr_db) >= 60"
good --weights int8:affine # codes that are not symmetric around 0
number "$(json sqnr_db) >= 20"
for option in --no-rounding --weights=int4 --per=tensor --profile=ort --set=dense:weights=int4 --keep-float=dense; do
    bad 'aidge: pass aidge chooses formats, ranges and arithmetic itself' --recipe aidge "$option"
done
bad "'--no-rounding' takes no value" --no-rounding=1 -v

for profile in ort tflite tflite-single cmsis-nn aidge n2d2; do
    good --profile $profile
done
bad "unknown profile 'fred'; there are ort, tflite" --profile fred
# a recipe's text keeps what overrides its profile
printf '%s\n' 'profile: tflite' 'accumulator: 20' 'overflow: saturate' 'passes: [choose-ranges]' >over.yaml
check 0 '' quern recipe over.yaml
expect '^profile: tflite$'
expect '^accumulator: 20$'
expect '^overflow: saturate$'
printf '%s\n' 'accumulator: 20x' 'passes: [choose-ranges]' >bits.yaml
bad "accumulator '20x' is not a number of bits" --recipe bits.yaml
printf '%s\n' 'sums: 1' 'passes: [choose-ranges]' >bits.yaml
bad "sums '1' is neither float nor fixed" --recipe bits.yaml
for kind in float fixed shift double-shift; do
    good --requantize $kind
done
bad "unknown requantization 'shft'; there are float, fixed, shift and double-shift" --requantize shft
for rounding in nearest-even nearest-away nearest-up floor twice; do
    good --requantize fixed --rounding $rounding
done
good --profile tflite --requantize shift --rounding floor
good --rounding nearest-even
good --requantize shift --sums fixed
good --sums fixed
bad "--sums 'maybe' is neither float nor fixed" --sums maybe
bad "unknown rounding 'fred'; there are nearest-even, nearest-away, nearest-up and floor; or twice" --rounding fred
bad 'only the fixed multiplier is rounded twice' --requantize shift --rounding twice
bad 'only the fixed multiplier is rounded twice' --rounding twice -v
bad 'requantization in float rounds to nearest-even, not floor' --requantize float --rounding floor
bad 'requantization in float rounds to nearest-even, not floor' --profile ort --rounding floor

for bits in 8 16 32; do
    good --accumulator $bits
done
good --accumulator 16 --overflow saturate
good --overflow wrap
for bits in 7 33 -8 x '' ' 16' 16x 4294967312; do
    bad "--accumulator '$bits' is not a number of bits from 8 to 32" --accumulator "$bits"
done
bad "'never' is neither wrap nor saturate" --overflow never
