# quern export --to mem,verilog: layers under Icarus Verilog, every output and accumulator equal; memory images read again.
if ! command -v iverilog >/dev/null || ! command -v make >/dev/null; then
    echo "skipped: Verilog of exports; there is no iverilog or no make (packages iverilog, make)"
    exit 77
fi
x=$DIGITS/test_x_u8.npy calib=$DIGITS/calib_x_u8.npy
# quantized NAME OPTION...
quantized() {
    name=$1
    shift
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$calib" --recipe minmax -q -f -o "$name.onnx" "$@"
}
# exported NAME VECTORS [OPTION...]
exported() {
    name=$1 vectors=$2
    shift 2
    check 0 '' quern export "$name.onnx" --to verilog -o "$name" --vectors "$x" --limit "$vectors" -q "$@"
    check 0 '' quern verify "$name"
    expect '^differences +none'
}
# passes NAME LAYER...: their benches pass.
passes() {
    name=$1
    shift
    for layer in "$@"; do
        got=0
        (cd "$name/verilog" && make -s "build/tb_$layer.vvp" && vvp -N "build/tb_$layer.vvp") >out 2>err || got=$?
        [ "$got" = 0 ] || fail "$name, $layer: exit $got: $(head -c 300 out) $(head -c 300 err)"
        silent
        expect "^PASS: tb_$layer, "
    done
}

# What needs floats is refused as a whole, by name, with what to do; memory images are written all the same.
quantized float
check 3 "float.onnx: cannot be exported to verilog.* requantize float, sums float; .*--profile tflite.*'stem.conv'.*\
requantized in float; Add \(1 node: 'res.add'\): summed in float; GlobalAveragePool \(1 node: 'gap'\): averaged in float" \
    quern export float.onnx --to verilog -o float
[ ! -e float ] || fail "a refused export left a directory"
check 0 '' quern export float.onnx --to mem -o float
expect '^mem: .*ratio_f32.* hold the bits of f32 ratios'
grep -q '^// 32-bit patterns of f32, one a word, 10 words$' float/mem/l_fc.ratio_f32.mem || fail "ratios without words"
check 0 '' quern export float.onnx --to mem -o float9 --vectors "$x" --limit 9
expect '^mem: values of the first 8 of 9 vectors are in mem/vectors$'
check 0 '' quern verify float9
expect '^differences +none'
quantized ratios --requantize fixed
check 3 "requantize fixed, sums float; .*: Add \(1 node: 'res.add'\): summed in float; GlobalAveragePool" \
    quern export ratios.onnx --to verilog -o ratios

# TensorFlow's arithmetic: convolution, depthwise one, matrix, sum, pools, Concat.
quantized tflite --profile tflite
exported tflite 2
check 0 '' quern export tflite.onnx --to verilog -o again --vectors "$x" --limit 2 -q
diff -r again tflite >/dev/null || fail "an export made again has other bytes"
passes tflite l_dw_conv l_fc l_res_add l_cat l_cat_2 l_gap
# The first layers again, in other arithmetics and formats.
quantized single --profile tflite-single --activations int8
exported single 1
passes single l_fc l_pool l_gap
quantized shift --profile tflite --requantize shift --rounding floor --weights int4
exported shift 1
grep -q '^// 4-bit two.s complement, one a word' shift/mem/l_fc.weights.mem || fail "int4 weights have no 4 bits"
passes shift l_stem_conv l_fc
quantized double --profile tflite --requantize double-shift --rounding nearest-away --activations int4
exported double 1
passes double l_stem_conv l_res_add l_fc
# 14 bits do not hold all sums: they wrap, or saturate in the order of arithmetic.md 4.5.
for overflow in wrap saturate; do
    quantized $overflow --profile tflite --rounding nearest-even --accumulator 14 --overflow $overflow
    exported $overflow 1
    grep -q "ACC_BITS(14)" $overflow/verilog/layers/l_fc.v || fail "$overflow: l_fc has no accumulator of 14 bits"
    passes $overflow l_stem_conv l_fc
done
cmp -s wrap/mem/vectors/l_fc.sums.mem saturate/mem/vectors/l_fc.sums.mem && fail "no sum left its accumulator"

# A changed word is told by the bench, and by verify in each format, as the tensor's element.
change() {
    sed "/^\(0 : \)\{0,1\}[0-9a-f]*[;,]\{0,1\}\$/{s/^\(\(0 : \)\{0,1\}\)[0-9a-f]/\1$2/;:a;n;ba}" "$1" >changed
    cmp -s changed "$1" && fail "$1 was not changed"
    mv changed "$1"
}
for suffix in mem coe mif; do
    change tflite/mem/l_fc.bias.$suffix 7
done
change tflite/mem/l_fc.weights_x4.mem 0
change tflite/mem/vectors/t_gap_out.mem f
mv tflite/verilog/build . # what make makes is in no manifest
differs() {
    got=0
    quern verify tflite >out 2>err || got=$?
    [ "$got" = 4 ] || fail "verify: exit $got: $(head -c 300 err)"
}
differs
for suffix in mem coe mif; do
    expect "^mem/l_fc.bias.$suffix: 'fc'\[0\]: is [0-9]+, should be -?[0-9]+$"
done
expect "^mem/l_fc.weights_x4.mem: 'fc.weight'\[3, 0, 0, 0\]: is "
expect "^mem/vectors/t_gap_out.mem: 'gap.out'\[0, 0, 0, 0\]: is "
(cd tflite/verilog && vvp -N ../../build/tb_l_fc.vvp) >out 2>err && fail "a bench passes with another bias"
expect '^FAIL: layer l_fc, accumulator, vector 0, element 0 \(y 0, x 0, channel 0\): expected -?[0-9]+, found '
expect '^FAIL: tb_l_fc$'
# What is no word is told by line.
sed -i '5s/^...../xxxxx/' tflite/mem/l_dw_conv.bias.mem
differs
expect "^mem/l_dw_conv.bias.mem: 'dw.conv': line 5: a word in hex is expected, 'xxxxx[0-9a-f]+' is found$"
