# Cuts: what is listed, what is measured, what the JSON holds, times, and what is refused.
model=$DIGITS/digits.onnx
x=$DIGITS/test_x_u8.npy
y=$DIGITS/test_y_u8.npy

# Without data: places and bytes. A message has an envelope and the frame that pack makes.
check 0 '' quern cuts "$model"
silent
expect '^.*digits\.onnx: float engine, 32 nodes, 31 places to part stages$'
expect '^14 res1\.conv\.out \(Conv\), 59\.4 % of MACs before: pool\.out 32x7x7 fp32, 32x7x7 fp32$'
expect '^31 flatten\.out \(Flatten\), .* \(numbers as at 30\)$'
[ "$(grep -c '^    fp32 ' out)" = 31 ] || fail "not every place has its bytes: $(grep -c '^    fp32 ' out)"
head -c 6272 /dev/zero | npy '<f4' '1,32,7,7' >values.npy
for format in int8 int4 'adaptivfloat<6,4>' 'mx<fp4e2m1>' fp16; do
    check 0 '' quern pack values.npy --format "$format" -o values.qnt -f
    check 0 '' quern cuts "$model" --link "$format" --at pool.out
    expect "^    $format +$(($(wc -c <values.qnt) + 52))\$" # the envelope
done
check 0 '' quern cuts "$model" --single --link fp32
[ "$(grep -c '^    fp32 ' out)" = 21 ] || fail "$(grep -c '^    fp32 ' out) places with a single tensor, not 21"
check 0 '' quern cuts "$model" --at 'pool*,*relu.out' --link fp32,int8 --microbatch 4
expect '31 places to part stages, 8 of them here$'
expect '^bytes are of messages of 4 items$'

# With data: the integer engine sends codes without loss, top-1 is that of eval, and all is the same with any threads.
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx -q
check 0 '' quern cuts q.onnx --data "$x" --labels "$y" --items 64 --link 'codes,int4/item,int4/channel/laplace' -j 1 -o one.json
silent
expect '^uncut, on 64 items: top-1 [0-9.]+ %$'
[ "$(grep -c '^    codes  *[0-9]*       inf   100\.00' out)" -gt 5 ] || fail "codes are not without loss: $(cat out)"
if grep '^    codes' out | grep -vq ' inf   100\.00'; then
    fail "codes lose something: $(grep '^    codes' out)"
fi
cp out one
check 0 '' quern cuts q.onnx --data "$x" --labels "$y" --items 64 --link 'codes,int4,int4/laplace/channel' -j 3 -o three.json
same one out
same one.json three.json
check 0 '' quern cuts q.onnx --data "$x" --labels "$y" --items 64 --link 'codes,int4,int4/channel/laplace' --json
same out one.json

# Places that are none, with the reason.
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --recipe lltfi -o parted.onnx -q
check 0 '' quern cuts parted.onnx --all --engine integer --link codes
expect '^1 stem\.bn\.out \(Conv\): stages cannot part: .*the integer engine computes Conv together with what reads it'
refused=$(grep -c 'stages cannot part: ' out)
check 0 '' quern cuts parted.onnx --engine integer --link codes
expect "^at $refused other positions stages cannot part; --all tells why\$"
check 2 "cannot part behind 'stem.bn.out': .*the integer engine" quern cuts parted.onnx --engine integer --at stem.bn.out
check 0 '' quern cuts parted.onnx --engine integer --times --rounds 1 --json
awk -F: '/"seconds_before"/ { n++; if ($2 + 0 < last) bad = 1; last = $2 + 0 } END { exit bad || n < 20 }' out ||
    fail "times between places fall"

# The loss of the whole set: uncut is what eval says.
check 0 '' quern eval q.onnx --data "$x" --labels "$y" --json
top1=$(json top1) n=$(json n)
check 0 '' quern cuts q.onnx --data "$x" --labels "$y" --link int8,int2 --at 'pool.out,flatten.out' --json
number "$(json top1) == $top1"
number "$(json items) == $n"
expect '"choices": \[$'
expect '"reason": null'
expect '"bytes_per_item": [0-9.]+'
expect '"loss": -?[0-9.e-]+'
expect '"agreement": [0-9.]+'

# Means and medians over places.
check 0 '' quern cuts "$model" --data "$x" --labels "$y" --items 32 --link int8,int2 --summary
expect '^int8 +[0-9]+ +[0-9.]+ +[0-9.]+ +-?[0-9.]+ +-?[0-9.]+  [a-z]'
[ "$(wc -l <out)" = 6 ] || fail "a summary of two choices has $(wc -l <out) lines"

# Times: one number per position, from 0, which never falls.
check 0 '' quern cuts q.onnx --times --rounds 1 -o profile.json
silent
expect 'one thread, runs of [0-9]+ items, on '
check 0 '' quern cuts q.onnx --times --rounds 1 --json
for key in model sha256 engine cpu threads batch rounds seconds_per_item; do
    expect "^  \"$key\": "
done
sed -n 's/.*"seconds_before": \([0-9.e-]*\).*/\1/p' out >times
awk 'NR == 1 && $1 != 0 { bad = 1 } $1 < last { bad = 1 } { last = $1 } END { exit bad || NR < 10 || last <= 0 }' times ||
    fail "times fall, or do not start at 0: $(tr '\n' ' ' <times)"

# Refused, with what can be done.
check 2 "link choice 'int9x': .*int9x.*write codes, fp32 or FORMAT" quern cuts "$model" --link int9x
check 2 "link choice 'int8/row': 'row' is neither a granularity" quern cuts "$model" --link int8/row
check 2 "link choice 'mx<int8>/item': .*write block or group:32" quern cuts "$model" --link 'int8,mx<int8>/item'
check 2 "link choice 'int8/block': .*has no blocks.*write item" quern cuts "$model" --link int8/block
check 2 "link choice 'codes/item': .*write codes alone" quern cuts "$model" --link codes/item
check 2 "names 'int8' twice" quern cuts "$model" --link 'int8,int8/item'
check 2 "nothing is there" quern cuts "$model" --link 'int8,'
check 2 "behind 'nothing\*'; there are 'stem.conv.out'" quern cuts "$model" --at 'pool.out,nothing*'
check 2 'a single tensor crosses at none' quern cuts "$model" --at res1.conv.out --single
check 3 'holds [0-9]+ labels, but .* holds [0-9]+ items' quern cuts "$model" --data "$DIGITS/calib_x_u8.npy" --labels "$y"
check 2 'holds [0-9]+ items; 100000 are asked for' quern cuts "$model" --data "$x" --items 100000
check 2 '--labels goes with --data' quern cuts "$model" --labels "$y"
check 2 '--link does not go with --times' quern cuts "$model" --times --link int8
check 2 '--rounds goes with --times' quern cuts "$model" --rounds 2
check 2 "--microbatch '0' is not a number" quern cuts "$model" --microbatch 0
check 3 'is not quantized; quantize the model first' quern cuts "$model" --engine integer
check 2 'use -f to overwrite' quern cuts "$model" -o one.json
check 0 '' quern cuts "$model" -o one.json -f
check 3 '' quern cuts "$x"
make_model two-inputs two.onnx
check 0 '' quern cuts two.onnx
check 2 'two\.onnx: has 2 inputs, and --data feeds exactly one; without --data' quern cuts two.onnx --data "$x"

# Two processes that are cut there, with a message for every four items, get the accuracy and the bytes that were told.
if ! ldd "$(command -v quern)" | grep -q libmpi || ! command -v mpirun >/dev/null; then
    echo "skipped: cuts against a pipeline of two processes; quern is built without MPI, or there is no mpirun"
else
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated
    export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" LSAN_OPTIONS=detect_leaks=0 TMPDIR=/tmp
    timeout -k 1 60 mpirun --oversubscribe -n 2 quern pipeline q.onnx --stages 2 --link int4/channel/laplace --microbatch 4 \
        --data "$x" --labels "$y" -j 1 >piped 2>err || fail "the pipeline failed: $(head -c 300 err)"
    place=$(awk '$1 == 0 && $2 != "until" { print $2; exit }' piped)
    top1=$(sed -n 's/^top-1  *\([0-9.]*\) %.*/\1/p' piped)
    set -- $(grep '^0->1 ' piped)
    check 0 '' quern cuts q.onnx --at "$place" --microbatch 4 --link int4/channel/laplace --data "$x" --labels "$y"
    expect "^    int4/channel/laplace +$(($3 / $2)) +[0-9.]+ +[0-9.]+ +$top1\$"
fi
