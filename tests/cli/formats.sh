# The commands on number formats: tables, round trips through files, and what is refused.
weights=$DIGITS/digits.onnx:fc.weight

# The table has every family.
check 0 '' quern formats
silent
for family in 'int<bits>' 'ap_fixed<W,I,Q,O>' 'float<e,m,variant,bias>' 'adaptivfloat<n,e>' 'bfp<m,block>' 'mx<element,block>' \
    'posit<n,es>' 'po2<b>' ternary binary; do
    grep -qF "$family" out || fail "no $family in the table"
done
expect '^  fp8e4m3 +- +8 +-448 +448 +0\.00195312$'
expect '^  posit<8,1> +- +8 +-4096 +4096 +0\.000244141$'
expect 'OCP Microscaling Formats 1\.0'
check 0 '' quern formats --json
expect '"name": "fp8e5m2"'

# Integers are the reals they are: as fixed point of 8 bits before the point, bytes are their own codes.
check 0 '' quern encode "$DIGITS/test_x_u8.npy" --format 'ap_ufixed<8,8>' -o bytes.npy
tail -c 4096 bytes.npy >bytes.end
tail -c 4096 "$DIGITS/test_x_u8.npy" | cmp -s - bytes.end || fail "bytes are not their own codes"

# One format: fields and code book (OCP Microscaling 1.0, table of FP4).
check 0 '' quern formats fp4e2m1
silent
expect '^fields +sign 1 exponent 2 mantissa 1$'
expect '^ +1 0001 +0\.5$'
expect '^ +7 0111 +6$'
expect '^ +15 1111 +-6$'
check 0 '' quern formats 'ap_fixed<8,20>'
expect '^range +-524288 to 520192, smallest step from 0 4096'

# A format fitted to an array: scale is the greatest magnitude over 7; codes are counted.
printf '\0\0\340\100\0\0\200\77\0\0\0\300\0\0\40\100' | npy '<f4' '4,' >x.npy # 7 1 -2 2.5
check 0 '' quern formats int4 --fit x.npy
silent
expect '^set 0 +scale 1, zero point 0$'
expect '^SQNR +23\.82 dB$' # 60.25 against 0.25
expect '^max error +0\.5 at element 3$'
expect '^ +2 0010 +2 +1$'
check 0 '' quern formats int4 --fit x.npy --rule range=3.5 --json
expect '"scale": 0\.5'
number "$(json max_error) == 3.5"
check 0 '' quern formats 'adaptivfloat<8,3>' --fit "$weights" --axis 0
expect '^\.\.\. +10 sets in all$'

# Codes of known numbers, as bytes: 7 1 -2 2 (2.5 is a tie).
check 0 '' quern encode x.npy --format int4 -o codes.npy --params p.json
silent
[ "$(rows codes.npy u1 4 | tr -s ' ')" = ' 7 1 14 2' ] || fail "codes are $(rows codes.npy u1 4)"
expect '^x\.npy -> codes\.npy: 4 as int4, scale 1, zero point 0$'
check 0 '' quern encode x.npy --format int4 --packed -o packed.npy --params q.json
[ "$(rows packed.npy x1 2 | tr -s ' ')" = ' 17 2e' ] || fail "packed codes are $(rows packed.npy x1 2)"
same p.json q.json
check 0 '' quern decode packed.npy --packed --params p.json -o packed_y.npy
check 0 '' quern decode codes.npy --params p.json -o y.npy
same y.npy packed_y.npy
[ "$(rows y.npy f4 4 | tr -s ' ')" = ' 7 1 -2 2' ] || fail "decoded are $(rows y.npy f4 4)"

# Wider codes have wider files; doubles are read; a scalar of each kind of parameter survives the text.
check 0 '' quern encode x.npy --format fp16 -o half.npy --params half.json
[ "$(rows half.npy x2 4 | tr -s ' ')" = ' 4700 3c00 c000 4100' ] || fail "fp16 codes are $(rows half.npy x2 4)"
check 0 '' quern encode x.npy --format 'ap_fixed<24,8>' -o wide.npy --params wide.json
[ "$(rows wide.npy u4 4 | tr -s ' ')" = ' 458752 65536 16646144 163840' ] || fail "fixed codes are $(rows wide.npy u4 4)"
# 1 + 2^-24: between two fp32, a tie for those, above the half of 2^-23 steps for nothing else
printf '\0\0\0\20\0\0\360\77' | npy '<f8' '1,' >f64.npy
check 0 '' quern encode f64.npy --format 'ap_fixed<32,4,TRN>' -o f64_codes.npy --params f64.json
[ "$(rows f64_codes.npy u4 1 | tr -s ' ')" = ' 268435472' ] || fail "the code of 1 + 2^-24 is $(rows f64_codes.npy u4 1)"

# decode(encode(decode(codes))) gives the codes again, for every kind of format and granularity.
for format in int8 uint8 int5 int4:qkeras-auto int8:po2 'ap_fixed<8,3,RND_CONV,SAT>' fp8e4m3 fp8e5m2 fp6e3m2 bf16 \
    'adaptivfloat<8,3>' 'adaptivfloat<5,2>' 'posit<8,1>' 'posit<16,2>' 'mx<fp4e2m1>' 'mx<int8>' 'bfp<8,16>' 'po2<4>' ternary \
    binary; do
    for granularity in '' '--axis 0' '--group 32' '--axis 1 --group 7'; do
        case $format$granularity in
        mx*group* | bfp*group* | mx*axis*0 | bfp*axis*0) continue ;; # blocks have their size
        esac
        check 0 '' quern encode "$weights" --format "$format" $granularity -o c.npy --params c.json -f
        check 0 '' quern decode c.npy --params c.json -o d.npy -f
        check 0 '' quern encode d.npy --format "$format" $granularity --fit params=c.json -o e.npy -f
        same c.npy e.npy
        check 0 '' quern encode "$weights" --format "$format" $granularity --packed -o p.npy --params e.json -f
        same c.json e.json
        check 0 '' quern decode p.npy --packed --params c.json -o f.npy -f
        same d.npy f.npy
    done
done

# Comparison: sorted, and the errors are those of the formats.
check 0 '' quern compare "$weights" --formats 'int8,int4,fp8e4m3,adaptivfloat<8,3>,mx<fp8e4m3>,posit<8,1>'
silent
number "$(wc -l <out) == 7"
[ "$(sed -n 2p out | cut -d ' ' -f 1)" = int8 ] || fail "int8 is not the best of 8 bits on weights of one scale"
[ "$(sed -n 7p out | cut -d ' ' -f 1)" = int4 ] || fail "int4 is not the worst"
awk 'NR > 2 && $2 > last { exit 1 } { last = $2 }' out || fail "not sorted: $(cat out)"
check 0 '' quern compare x.npy --formats 'int4,ap_fixed<24,8>' --json
expect '"sqnr_db": null' # equal: no noise
expect '"max_error": 0\.5'

# Every array of inputs, where there are any.
for input in $([ -z "$SHARED" ] || find "$SHARED/data/inputs" -name '*_f32.npy' | sort | head -n 3); do
    check 0 '' quern encode "$input" --format 'adaptivfloat<8,3>' -o in.npy --params in.json -f
    check 0 '' quern decode in.npy --params in.json -o out.npy -f
    check 0 '' quern compare "$input" --formats 'int8,posit<8,1>'
done

# Refusals name the part, the range and what to do; no output appears.
refused() {
    check "$@"
    [ ! -e no.npy ] && [ ! -e no.json ] || fail "output in spite of a refusal: $*"
    rm -f no.npy no.json
}
refused 2 "exponent bits e is 9, legal is 1 to 7; the nearest is adaptivfloat<8,7>" quern encode x.npy --format 'adaptivfloat<8,9>' -o no.npy
refused 2 "bits is 0, legal is 1 to 16" quern encode x.npy --format 'int<0>' -o no.npy
refused 2 "'ROUND' is no quantization mode.*nearest is 'RND'" quern encode x.npy --format 'fixed<8,4,ROUND>' -o no.npy
refused 2 "no format 'adaptvfloat'; the nearest is 'adaptivfloat'" quern encode x.npy --format 'adaptvfloat<8,3>' -o no.npy
refused 2 "'mze' is no range rule; the nearest is 'mse'" quern encode x.npy --format int8 --fit mze -o no.npy
refused 2 'axis 5 is outside a tensor of rank 1' quern encode x.npy --format int8 --axis 5 -o no.npy --params no.json
refused 2 "'-1' is not a whole number of at least 0" quern encode x.npy --format int8 --axis -1 -o no.npy
refused 2 "'0' is not a whole number of at least 1" quern encode x.npy --format int8 --group 0 -o no.npy
refused 2 'format FMT is missing' quern encode x.npy -o no.npy
refused 2 '-o FILE is missing' quern encode x.npy --format int8
refused 2 'name one of its constants' quern encode "$DIGITS/digits.onnx" --format int8 -o no.npy
refused 2 "no value 'fc.wait'; there are 'stem.conv.weight'" quern encode "$DIGITS/digits.onnx:fc.wait" --format int8 -o no.npy
printf '\1\0\0\0\0\0\0\0' | npy '<i8' '1,' >long.npy
refused 3 'elements are int64; formats take float32, float64 and integers of up to 32 bits' quern encode long.npy --format int8 -o no.npy
refused 3 'not a data file' quern encode "$SOURCE_DIR/README.md" --format int8 -o no.npy
refused 3 'absent.npy' quern encode absent.npy --format int8 -o no.npy
printf '\0\0\200\77\0\0\300\177' | npy '<f4' '2,' >nan.npy
refused 3 'nan\.npy: element 1 is NaN' quern encode nan.npy --format int8 -o no.npy --params no.json
refused 3 'nan\.npy: element 1 is NaN' quern compare nan.npy --formats int8
check 0 '' quern encode nan.npy --format int8 --nan zero -o nan_codes.npy
printf '\0\0\200\77\0\0\200\377' | npy '<f4' '2,' >inf.npy
refused 3 'inf\.npy: element 1 is infinite' quern encode inf.npy --format int8 -o no.npy
check 0 '' quern encode inf.npy --format int8 --inf clamp -o inf_codes.npy
[ "$(rows inf_codes.npy u1 2 | tr -s ' ')" = ' 127 128' ] || fail "codes with an infinity are $(rows inf_codes.npy u1 2)"
refused 2 "--nan 'skip' is unknown; it is refuse or zero" quern encode nan.npy --format int8 --nan skip -o no.npy
refused 2 'exists' quern encode x.npy --format int8 -o codes.npy
refused 2 'both name' quern encode x.npy --format int8 -o no.npy --params no.npy
refused 2 'exists' quern encode x.npy --format int8 -o no.npy --params p.json
refused 3 'packed codes need --packed' quern decode packed.npy --params p.json -o no.npy
refused 3 '4 codes of 4 bits are 2 bytes of uint8 when packed' quern decode codes.npy --packed --params p.json -o no.npy
refused 3 'x\.npy' quern decode codes.npy --params x.npy -o no.npy
refused 2 'params FILE is missing' quern decode codes.npy -o no.npy
refused 2 'empty part' quern compare x.npy --formats int8,
refused 2 'needs a FORMAT' quern formats --fit x.npy
refused 2 'needs an array' quern formats int8 --axis 0
