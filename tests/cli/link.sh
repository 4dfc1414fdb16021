# Frames: pack and unpack, what they print, PipeEdge's arrays, and what is refused.
weights=$DIGITS/digits.onnx:fc.weight
images=$DIGITS/test_x_u8.npy

# Bytes are their own codes, so that a frame of them is exact: 40 bytes of header and more, a scale and zero point per set.
check 0 '' quern pack "$images" --format 'ap_ufixed<8,8>' --per tensor -o exact.qnt
silent
expect 'as ap_ufixed<8,8.*> per tensor, [0-9]+ bytes, 8\.[0-9]* bits per value, SQNR exact$'
check 0 '' quern unpack exact.qnt -o exact.npy
silent
expect '^exact\.qnt -> exact\.npy: .* of ap_ufixed<8,8'

# A frame says the same as encode with the same granularity; every format and granularity.
for format in int8 uint4 'ap_fixed<8,3,RND_CONV,SAT>' fp8e4m3 'adaptivfloat<6,4>' 'posit<8,1>' 'po2<4>' ternary binary 'pipeedge<3>'; do
    for per in 'tensor:' 'item:--axis 0' 'channel:--axis 1' 'token:--axis 1 --group 64' 'group:7:--group 7'; do
        case $per in
        group*) set=group:7 as=${per#group:7:} ;;
        *) set=${per%%:*} as=${per#*:} ;;
        esac
        check 0 '' quern pack "$weights" --format "$format" --per "$set" -o w.qnt -f
        check 0 '' quern unpack w.qnt -o w.npy -f
        check 0 '' quern encode "$weights" --format "$format" $as -o c.npy --params c.json -f
        check 0 '' quern decode c.npy --params c.json -o d.npy -f
        same w.npy d.npy
    done
done
for format in 'bfp<8,16>' 'mx<fp4e2m1>'; do
    check 0 '' quern pack "$weights" --format "$format" -o w.qnt -f
    check 0 '' quern unpack w.qnt -o w.npy -f
    check 0 '' quern encode "$weights" --format "$format" -o c.npy --params c.json -f
    check 0 '' quern decode c.npy --params c.json -o d.npy -f
    same w.npy d.npy
done

# Parameters by the rule mse are those of encode --fit mse; a clamp changes the numbers.
check 0 '' quern pack "$weights" --format int4 --clamp mse -o w.qnt -f
check 0 '' quern unpack w.qnt -o w.npy -f
check 0 '' quern encode "$weights" --format int4 --axis 0 --fit mse -o c.npy --params c.json -f
check 0 '' quern decode c.npy --params c.json -o d.npy -f
same w.npy d.npy
check 0 '' quern pack "$weights" --format int2 -o plain.qnt
check 0 '' quern pack "$weights" --format int2 --clamp laplace -o clamped.qnt
! cmp -s plain.qnt clamped.qnt || fail "a clamp at 2 bits changes nothing"

# float32 as they are; json; the file is as long as it says.
printf '\0\0\340\100\0\0\200\77\0\0\0\300\0\0\300\177' | npy '<f4' '2,2' >x.npy # 7 1 -2 NaN
check 0 '' quern pack x.npy --format fp32 -o raw.qnt --json
number "$(json bytes) == $(wc -c <raw.qnt)"
number "$(json bits_per_value) == 2 * $(wc -c <raw.qnt)"
expect '"layout": "frame"'
check 0 '' quern unpack raw.qnt -o raw.npy --json
expect '"format": "fp32"'
[ "$(rows raw.npy x4 4)" = "$(rows x.npy x4 4)" ] || fail "fp32 changed: $(rows raw.npy x4 4)"
check 0 '' quern pack x.npy --format fp16 --per tensor -o half.qnt # its own NaN
check 0 '' quern unpack half.qnt -o half.npy
[ "$(rows half.npy x4 4)" = "$(rows x.npy x4 4)" ] || fail "fp16 changed: $(rows half.npy x4 4)"
check 3 'element 3 is NaN, which int8 has no code for; clean the data, or choose nan=zero' quern pack x.npy --format int8 -o no.qnt
check 0 '' quern pack x.npy --format int8 --nan zero -o zero.qnt

# Without checksums: the same numbers, and what is damaged goes through.
check 0 '' quern pack "$weights" --format int8 -o with.qnt
check 0 '' quern pack "$weights" --format int8 --checksum off -o without.qnt
check 0 '' quern unpack with.qnt -o with.npy --json
number "$(json checksum | grep -c true) == 1"
check 0 '' quern unpack without.qnt -o without.npy
expect 'of int8, without checksums$'
same with.npy without.npy
{ head -c 200 without.qnt; printf '\252\252\252'; tail -c +204 without.qnt; } >bad.qnt
check 0 '' quern unpack bad.qnt -o bad.npy --json
number "$(json checksum | grep -c false) == 1"
! cmp -s bad.npy without.npy || fail "three damaged bytes change nothing"
check 2 "checksum 'none' is not on or off" quern pack "$weights" --format int8 --checksum none -o no.qnt
check 2 "PipeEdge's arrays have none" quern pack "$weights" --format 'pipeedge<8>' --layout pipeedge --checksum off -o no.qnt
rm bad.qnt

# PipeEdge's arrays.
check 0 '' quern pack "$weights" --format 'pipeedge<3>' --layout pipeedge -o sent.npz --json
expect '"layout": "pipeedge"'
check 0 '' quern unpack sent.npz -o p.npy
expect 'of pipeedge<3>$'
check 0 '' quern pack "$weights" --format 'pipeedge<3>' -o w.qnt -f
check 0 '' quern unpack w.qnt -o w.npy -f
same p.npy w.npy
check 0 '' quern pack "$weights" --format fp32 --layout pipeedge -o raw.npz
check 0 '' quern unpack raw.npz -o r.npy
check 0 '' quern pack "$weights" --format fp32 -o raw.qnt -f
check 0 '' quern unpack raw.qnt -o raw.npy -f
same r.npy raw.npy
# Refusals name the file, what is wrong and what to do; nothing is written.
check 2 'format FMT is missing' quern pack x.npy -o no.qnt
check 2 'o FILE is missing' quern pack x.npy --format int8
check 2 'o FILE is missing' quern unpack half.qnt
check 2 "'rows' is no granularity; write item" quern pack x.npy --format int8 --per rows -o no.qnt
check 2 "'group:0' is no granularity" quern pack x.npy --format int8 --per group:0 -o no.qnt
check 2 "'tanh' is no clamp; write none, laplace" quern pack x.npy --format int8 --clamp tanh -o no.qnt
check 2 "'raw' is unknown; it is frame or pipeedge" quern pack x.npy --format int8 --layout raw -o no.qnt
check 2 'bfp<8,16> has a parameter per block; write block or group:16' quern pack "$weights" --format 'bfp<8,16>' --per item -o no.qnt
check 2 'int8 has no blocks' quern pack "$weights" --format int8 --per block -o no.qnt
check 2 'fp32 keeps numbers as they are' quern pack "$weights" --format fp32 --clamp gelu -o no.qnt
check 2 'pipeedge<1> to pipeedge<32>, or fp32, not int8' quern pack "$weights" --format int8 --layout pipeedge -o no.qnt
check 2 'PipeEdge has parameters per item' quern pack "$weights" --format 'pipeedge<8>' --per tensor --layout pipeedge -o no.qnt
check 2 'exists' quern pack "$weights" --format int8 -o plain.qnt
check 2 'exists' quern unpack plain.qnt -o w.npy
head -c 30 plain.qnt >cut.qnt
check 3 'cut\.qnt.*the frame ends too early: 30 bytes are there, 40 are needed' quern unpack cut.qnt -o no.npy
head -c 100 plain.qnt >cut.qnt
check 3 'the frame ends too early: 100 bytes are there' quern unpack cut.qnt -o no.npy
{ cat plain.qnt; printf x; } >long.qnt
check 3 '1 bytes after the last frame, which ends at byte [0-9]*, are none; cut the file there' quern unpack long.qnt -o no.npy
check 3 '1 bytes after the last frame' quern unpack long.qnt -o no.npz
# Frames one after the other.
check 0 '' quern pack x.npy --format int8 --nan zero --checksum off -o second.qnt
cat plain.qnt second.qnt raw.qnt >three.qnt
check 0 '' quern unpack three.qnt -o three.npz
expect '^three.qnt -> three.npz: 3 arrays$'
i=0
for one in plain second raw; do
    check 0 '' quern unpack $one.qnt -o one.npy -f
    check 0 '' quern pack three.npz:arr_$i --format fp32 -o member.qnt -f # fp32 is the number itself
    check 0 '' quern unpack member.qnt -o member.npy -f
    same one.npy member.npy
    i=$((i + 1))
done
check 0 '' quern unpack three.qnt -o three.npz -f --json
expect '"name": "arr_2"'
check 2 'three.qnt.*has 3 frames, and an .npy holds one array; write -o FILE.npz' quern unpack three.qnt -o no.npy
{ cat plain.qnt; head -c 100 plain.qnt; } >cut.qnt
check 3 'frame 1, from byte [0-9]*: the frame ends too early: 100 bytes are there' quern unpack cut.qnt -o no.npz
{ head -c 90 plain.qnt; printf '\252\252\252'; tail -c +94 plain.qnt; } >bad.qnt
check 3 'bad\.qnt.*the body is damaged: its checksum differs' quern unpack bad.qnt -o no.npy
{ head -c 33 plain.qnt; printf '\252'; tail -c +35 plain.qnt; } >bad.qnt
check 3 'the header is damaged: its checksum differs' quern unpack bad.qnt -o no.npy
check 3 'not a frame: the first bytes are not its signature' quern unpack x.npy -o no.npy
: >empty.qnt
check 3 'the frame ends too early: 0 bytes' quern unpack empty.qnt -o no.npy
check 3 'no\.such' quern unpack no.such -o no.npy
[ ! -e no.qnt ] && [ ! -e no.npy ] || fail "output in spite of a refusal"
