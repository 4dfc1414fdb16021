# Plans for unequal machines: what is chosen, written and run again; and everything three files can have wrong.
model=$DIGITS/digits.onnx
x=$DIGITS/test_x_u8.npy
y=$DIGITS/test_y_u8.npy

devices() { printf 'version: 1\ndevices:\n' >devices.yaml; printf '  - {%s}\n' "$@" >>devices.yaml; }
links() { printf 'version: 1\n' >links.yaml; printf '%s\n' "$@" >>links.yaml; }
plan() { quern partition "$model" --devices devices.yaml --links links.yaml "$@"; }

# Two fast devices and a tiny one: nothing on the tiny one, and the plan is one that pipeline runs.
devices 'type: fast, count: 2, memory: 1MB, macs_per_second: 50e6' 'type: tiny, memory: 1kB, macs_per_second: 50e6'
links 'default: {bandwidth: 10Mbit, latency: 1ms}'
check 0 '' plan -o plan.yaml
silent
expect '^bottleneck: stage [01], '
expect "^one more 'fast' would give 1\.[0-9]*x$"
if grep -q tiny out plan.yaml; then fail "something runs on the tiny device: $(cat out)"; fi
[ "$(grep -c 'device: fast' plan.yaml)" = 2 ] || fail "not two stages: $(cat plan.yaml)"
check 2 'plan.yaml' plan -o plan.yaml
check 0 '' plan -o plan.yaml -f
check 3 '2 stages, but 1 process' quern pipeline "$model" --plan plan.yaml --data "$x" --labels "$y"

# A slow link: what formats cost is measured, the budget holds, and the whole plan is measured.
links 'default: {bandwidth: 1Mbit, latency: 1ms}'
check 0 '' quern cuts "$model" --data "$x" --labels "$y" --items 200 --link fp32,int8,int4,int2 -o cuts.json
check 0 '' plan --cuts cuts.json --accuracy-drop 0 --json
number "$(json loss) == 0"
period=$(json period)
check 0 '' plan --cuts cuts.json --accuracy-drop 5% --json
number "$(json period) <= $period"
number "$(json loss) <= 0.05"
five=$(json period)
check 0 '' plan --cuts cuts.json --accuracy-drop 0.05 --json
number "$(json period) == $five"
check 0 '' plan --cuts cuts.json --data "$x" --labels "$y"
expect '^the whole plan on 1000 items: top-1 [0-9.]+ %, uncut 97\.40 %: lost '
check 0 '' plan --cuts cuts.json --objective latency --json
number "$(json latency) <= 0.05"
check 0 '' plan --cuts cuts.json --microbatch 4 --json
number "$(json items_per_second) > 0"

# Times of this machine, at half its speed; where data are.
check 0 '' quern cuts "$model" --times --rounds 1 -o profile.json
devices 'type: a, count: 2, profile: profile.json' 'type: b, count: 2, profile: profile.json, speed: 0.5'
check 0 '' plan
devices 'type: a, count: 2' 'type: b, speed: 0.5'
check 3 "nobody says how fast 'a' is" plan
check 0 '' plan --profile profile.json
check 3 "nobody says how fast 'b' is" plan --profile a=profile.json
check 3 "'c=profile.json' is of no type" plan --profile profile.json --profile c=profile.json
devices 'type: a, count: 2, macs_per_second: 1e8'
printf 'data: camera\nresults: a\n' >>devices.yaml
check 0 '' plan
expect '^  first   data to stage 0: [0-9]+ bytes'
links 'links: [{between: [a, a], bandwidth: 1Mbit}]'
check 3 'no device is joined to where data' plan

# Memory: by how much, and where.
devices 'type: a, memory: 100kB, macs_per_second: 1e8'
links 'default: {bandwidth: 10Mbit}'
check 3 "lacks [0-9]* bytes, on 'a', which has 100000" plan
lacks=$(sed 's/.*lacks \([0-9]*\) bytes.*/\1/' err)
devices "type: a, memory: $((100000 + lacks)), macs_per_second: 1e8"
check 0 '' plan
devices "type: a, memory: $((100000 + lacks - 1)), macs_per_second: 1e8"
check 3 'lacks 1 bytes' plan

# One medium is planned with, two are not.
devices 'type: a, count: 2, macs_per_second: 1e8' 'type: b, macs_per_second: 1e8'
links 'default: {bandwidth: 10Mbit, medium: air}'
check 0 '' plan
links 'default: {bandwidth: 10Mbit, medium: air}' 'links: [{between: [a, b], bandwidth: 1Mbit, medium: wire}]'
check 3 'two shared media' plan
check 0 '' plan --objective latency --json
number "$(json latency) > 0"

# Latency occupies nothing, but two messages are on their way at most: with 30 ms two stages are nearly twice as fast as
# one, with 300 ms they are slower. What is said is what the pipeline does.
devices 'type: a, count: 2, macs_per_second: 5e7'
links 'default: {bandwidth: 1Gbit, latency: 30ms}'
check 0 '' plan -f -o plan.yaml
check 0 '' plan
expect '^stage 1 '
expect ' \+ 30 ms latency, loss 0 %$'
expect 'latency [0-9.]+ ms of one micro-batch through an idle pipeline; '
check 0 '' plan --json
rate=$(json items_per_second)
check 0 '' quern pipeline "$model" --plan plan.yaml --data "$x" --simulate compute=plan --json
number "$(json items_per_second) > 0.99 * $rate"
number "$(json items_per_second) <= $rate"
check 0 '' plan --objective latency
expect '^stage 0 '
if grep -q '^stage 1 ' out; then fail "two stages are no sooner than one: $(cat out)"; fi
devices 'type: a, count: 2, macs_per_second: 1.2e8'
check 0 '' plan
expect '^bottleneck: link 0, 15.* ms of every micro-batch: two are on their way at most, each for 30'
links 'default: {bandwidth: 1Gbit, latency: 300ms}'
check 0 '' plan
if grep -q '^stage 1 ' out; then fail "a link of 300 ms: $(cat out)"; fi

# What can be wrong.
links 'default: {bandwidth: 0Mbit}'
check 3 "links.yaml: line 2, bandwidth: a bandwidth of '0Mbit'" plan
links 'default: {bandwidth: 10}'
check 3 'units are bit' plan
links 'default: {latency: 1ms}'
check 3 "has no 'bandwidth'" plan
links 'links: [{between: [a, c], bandwidth: 1Mbit}]'
check 3 "a link of 'c', which is no type" plan
links 'links: [{between: [a], bandwidth: 1Mbit}]'
check 3 'has one type' plan
links 'links: [{between: [a, b], bandwidth: 1Mbit}, {from: b, to: a, bandwidth: 1Mbit}]'
check 3 'stands there twice' plan
links ''
check 3 'joins nothing' plan
links 'default: {bandwidth: 10Mbit}'
devices 'type: a, count: 0, macs_per_second: 1e8'
check 3 'no device at all' plan
devices 'type: a, count: -1, macs_per_second: 1e8'
check 3 "'-1' is not a whole number" plan
devices 'type: a, macs_per_second: .nan'
check 3 'is not a number above 0' plan
devices 'type: a, macs_per_second: 1e8, speed: 2'
check 3 'has both macs_per_second and a speed' plan
devices 'type: a, macs_per_second: 1e8' 'type: a, macs_per_second: 1e8'
check 3 "type 'a' stands there twice" plan
devices 'type: a, mem: 3, macs_per_second: 1e8'
check 3 "unknown key 'mem' of a type of device; did you mean 'memory'" plan
devices 'type: a, count: 2, macs_per_second: 1e8'
check 3 'at most 32 stages' plan --stages 33
check 2 "'0' is not a number from 1" plan --stages 0
check 2 "'5' is no share" plan --accuracy-drop 5
check 2 "'-1%' is no share" plan --accuracy-drop -1%
check 2 'throughput and latency' plan --objective best
check 3 'no drop can be kept' plan --link int8 --accuracy-drop 1%
check 2 'does not go with --cuts' plan --link int8 --cuts cuts.json
check 2 '\-\-links FILE is missing' quern partition "$model" --devices devices.yaml
check 3 'is of no type of devices that needs one' plan --profile profile.json
devices 'type: a, count: 2'
check 3 'holds no times' plan --profile cuts.json
check 3 'holds times' plan --cuts profile.json
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx -q
check 3 'was measured with another model' quern partition q.onnx --devices devices.yaml --links links.yaml --cuts cuts.json
devices 'type: a, count: 2, macs_per_second: 1e8'
printf 'results: base\n' >>devices.yaml
check 0 '' quern partition q.onnx --devices devices.yaml --links links.yaml
expect '^  last    results: 148 bytes' # 10 floats, as pipelines send them: 52 of the envelope, 56 of the header, 40
devices 'type: a, count: 2'
sed 's/"loss": 0.0/"loss": 7.0/' cuts.json >bad.json
check 3 'loss that is not from -1 to 1' plan --cuts bad.json
sed 's/"position": 5,/"position": 6,/' cuts.json >bad.json
check 3 'position 5 .* is missing or another' plan --cuts bad.json
