# Data and weights that no range serves: a remark that names the value or the node, or a refusal; the quantized network
# loads in any case, and what it computes is finite.
make_array take "$DIGITS/calib_x_u8.npy" u8.npy 0 32
make_array take "$DIGITS/calib_x_u8.npy" one.npy 0 1
make_array take "$DIGITS/calib_x_u8.npy" none.npy 0 0
make_array convert u8.npy x.npy '<f4' c
header=$(od -An -t u1 -j 8 -N 2 x.npy | awk '{ print 10 + $1 + 256 * $2 }')
size=$(wc -c <x.npy)

# with BYTES: x.npy, one element of which is replaced by four bytes, as octal escapes.
with() {
    head -c $((header + 400)) x.npy
    # shellcheck disable=SC2059 # octal escapes
    printf "$1"
    tail -c +$((header + 405)) x.npy
}
# all BYTES: an array like x.npy whose elements are all the same.
all() {
    head -c "$header" x.npy
    # shellcheck disable=SC2046,SC2059
    printf "$1%.0s" $(seq $(((size - header) / 4)))
}
with '\000\000\200\107' >far.npy      # 65536
with '\312\362\111\161' >outlier.npy  # 1e30
with '\377\377\177\177' >greatest.npy # of all floats
with '\000\000\200\177' >infinite.npy
with '\000\000\300\177' >nan.npy
all '\000\000\000\000' >zeros.npy
all '\000\000\340\100' >sevens.npy
all '\001\000\000\000' >denormal.npy
make_model in-order in-order.onnx
for kind in big-weight tiny-weights dead-channel dead-layer negative-layer constant-layer nan-weight infinite-weight; do
    make_model $kind $kind.onnx
done
recipes=$(quern recipe --json | sed -n 's/^ *"name": "\([^"]*\)",\{0,1\}$/\1/p')
[ "$(echo "$recipes" | wc -w)" -ge 4 ] || fail "recipes are '$recipes'"

# finite MODEL: the quantized model computes finite numbers, of what it was made for and of ordinary data.
finite() {
    for input in x.npy "$1"; do
        check 0 '' quern eval q.onnx --data "$input" --logits logits.npy -f
        rows logits.npy f4 10 >numbers
        [ -s numbers ] || fail "no logits of $input"
        ! grep -qiE 'nan|inf' numbers || fail "logits of $input are not finite: $(grep -iE 'nan|inf' numbers | head -n 1)"
    done
}
# remarks PATTERN MODEL DATA [REFUSAL]: every recipe quantizes with a remark, or refuses where a REFUSAL is given. Those of
# `quick` only, where nothing depends on what the others do besides.
quick="minmax aidge:signs=1"
remarks() {
    pattern=$1 model=$2 data=$3 refusal=${4:-}
    for recipe in ${some:-$recipes}; do
        code=0
        quern quantize "$model.onnx" --data "$data.npy" --recipe "$recipe" -f -o q.onnx >out 2>err || code=$?
        # aidge has remarks and refusals of its own, and lltfi codes other values
        case $recipe in aidge* | lltfi) own=1 ;; *) own=0 ;; esac
        if [ $own = 1 ] && [ $code = 3 ]; then
            [ "$(wc -l <err)" -ge 1 ] || fail "$recipe of $model on $data is refused without a word"
        elif [ $code = 0 ]; then
            [ -z "$pattern" ] || [ $own = 1 ] || grep -qE -- "$pattern" err || fail "$recipe of $model on $data: no '$pattern' in: $(head -c 400 err)"
            finite "$data.npy"
        elif [ $code != 3 ] || [ -z "$refusal" ] || ! grep -qE -- "$refusal" err; then
            fail "$recipe of $model on $data: exit $code, $(head -c 400 err)"
        fi
    done
}
no_scale="Gemm 'dense': no weight scale"
remarks "note: the ranges are those of 1 item, .*32 or more" in-order one
remarks "note: 1 value's greatest element .*: '[a-z]*' \([0-9]+ times\); remove them, or try --recipe best:rule=percentile:99\.99" \
    in-order outlier "$no_scale"
some=$quick
remarks "note: 1 value's greatest element .*" in-order greatest "$no_scale"
some=
remarks "note: 1 value is always 0: '[a-z]*'; " in-order zeros "$no_scale"
some=$quick
remarks "note: 1 value is always the same: '[a-z]*' \(7\); " in-order sevens
remarks "note: 1 value is always the same: '[a-z]*' \(1.401e-45\); " in-order denormal "$no_scale"
remarks "note: 1 node's greatest weights .*: 'dense' \(channel 0: .* times\); " big-weight x "$no_scale"
remarks '' tiny-weights x "$no_scale"
remarks "note: 1 value has channels that are always 0: 'positive' \(1 of 2\); " dead-channel x
some=
remarks "note: .* always 0: .*'positive'; " dead-layer x "$no_scale"
some=$quick
remarks "note: .* always 0: .*'positive'; " negative-layer x "$no_scale"
remarks "note: 1 value is always the same: 'positive' \(1.5\); " constant-layer x

# The remedy is one: nothing is said any more, and the network keeps more of the signal.
check 0 "greatest element .*'input'" quern quantize in-order.onnx --data far.npy --recipe minmax -f -o q.onnx
check 0 '' quern eval q.onnx --data x.npy --against in-order.onnx --json
before=$(json sqnr_db)
check 0 '' quern quantize in-order.onnx --data far.npy --recipe minmax:rule=percentile:99.99 -f -o q.onnx
silent
check 0 '' quern eval q.onnx --data x.npy --against in-order.onnx --json
number "$(json sqnr_db) > $before + 6"
# Nothing is said of what is in order.
check 0 '' quern quantize in-order.onnx --data x.npy -f -o q.onnx
silent
# Remarks are in the report too, and -q silences them.
check 0 '' quern quantize in-order.onnx --data zeros.npy -f -o q.onnx -q --json
silent
expect "1 value is always 0: 'input'"

rm q.onnx
check 3 'nan\.npy.*item 0, element 100 is NaN' quern quantize in-order.onnx --data nan.npy -o q.onnx
check 3 'infinite\.npy.*item 0, element 100 is' quern quantize in-order.onnx --data infinite.npy -o q.onnx
check 2 'none\.npy.*no items' quern quantize in-order.onnx --data none.npy -o q.onnx
check 3 "'w'.*element 5 is NaN" quern quantize nan-weight.onnx --data x.npy -o q.onnx
check 3 "element 5 of 'w' is infinite" quern quantize infinite-weight.onnx --data x.npy -o q.onnx
[ ! -e q.onnx ] || fail "a refused quantization wrote a file"
