# A pipeline in one process: the results of the network, the bytes and results of the same plan over MPI, times that can
# be worked out, policies, and what is refused.
quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -q -o q.onnx
data="--data $DIGITS/test_x_u8.npy --labels $DIGITS/test_y_u8.npy"
fast='bandwidth=1Gbit,compute=macs:1e9'

# plan FIRST SECOND [MORE]: three stages, their links, what else a plan says.
plan() {
    printf 'version: 1\nmicrobatch: 7\n%s\nstages:\n  - until: down.relu.out\n  - until: res.relu.out\n  - {}\n' "${3:-}"
    printf 'links:\n  - %s\n  - %s\n' "$1" "$2"
}

# Codes are exact: the whole network's bytes, in any number of stages.
check 0 '' quern eval q.onnx $data --logits whole.npy --json
top1=$(json top1)
plan 'format: codes' 'format: codes' >codes.yaml
check 0 '' quern pipeline q.onnx --plan codes.yaml $data --simulate "$fast" -o codes.npy --json
silent
same codes.npy whole.npy
number "$(json top1) == $top1"
number "$(json n) == 1000"
printf 'version: 1\nstages:\n  - {}\n' >one.yaml
check 0 '' quern pipeline q.onnx --plan one.yaml $data --simulate "$fast" -o one.npy
same one.npy whole.npy
expect '^plan .* 1 stage, micro-batches of 1$'

# A batch of one that the model fixes is no dimension of the outputs. Others are refused, and so is unfit data.
make_model fixed-one fixed.onnx
check 0 '' quern eval fixed.onnx --data "$DIGITS/test_x_u8.npy" --logits fixed_whole.npy
printf 'version: 1\nstages:\n  - {until: flattened}\n  - {}\n' >flat.yaml
check 0 '' quern pipeline fixed.onnx --plan flat.yaml --data "$DIGITS/test_x_u8.npy" --simulate "$fast" -o fixed.npy
same fixed.npy fixed_whole.npy
make_model fixed-three three.onnx
check 2 'three.onnx: has a fixed batch of 3; make the first dimension' quern pipeline three.onnx --plan flat.yaml \
    --data "$DIGITS/test_x_u8.npy" --simulate "$fast" -o no.npy
check 3 'three.onnx: has a fixed batch of 3; make the first dimension' quern inject three.onnx --where link \
    --after flattened --sample 9 --data "$DIGITS/test_x_u8.npy" -o no.db
check 3 "q.onnx: input 'input' takes items of shape \\(1, 28, 28\\), but those of whole.npy have shape \\(10\\)" \
    quern pipeline q.onnx --stages 1 --data whole.npy --simulate "$fast"

# Times: everything is as slow as the first link. 143 messages of 7 items, and one frame and envelope each.
plan 'format: fp32' 'format: codes' >slow.yaml
check 0 '' quern pipeline q.onnx --plan slow.yaml $data --simulate 'bandwidth=1Mbit,latency=20ms,compute=macs:1e12' --json
expect '"bottleneck": "link 0, busy (99|100)'
seconds=$(json seconds)
bytes=$(sed -n 's/^ *"bytes": \([0-9]*\),*$/\1/p' out | head -n 1)
number "$bytes > 1000 * 24 * 14 * 14 * 4 && $bytes < 1000 * 24 * 14 * 14 * 4 + 143 * 256"
number "$seconds > $bytes * 8 / 1e6 && $seconds < $bytes * 8 / 1e6 + 0.2"
check 0 '' quern pipeline q.onnx --plan slow.yaml $data --simulate 'bandwidth=1Mbit,latency=20ms,compute=macs:1e12' --json
number "$(json seconds) == $seconds" # the same time every time
# Two links of one medium take their time one after the other.
plan '{format: codes, medium: air}' '{format: codes, medium: air}' >air.yaml
check 0 '' quern pipeline q.onnx --plan air.yaml $data --simulate 'bandwidth=1Mbit,compute=macs:1e12'
expect '^bottleneck +links 0, 1, busy (9[89]|100)'
# A stage that is slow, links and stages of their own; measured times are some time.
check 0 '' quern pipeline q.onnx --plan codes.yaml $data --simulate "$fast,stage1.compute=macs:1e7,link1.latency=1s" --json
expect '"bottleneck": "stage 1, busy '
expect '"latency_seconds": 1.0'
check 0 '' quern pipeline q.onnx --plan codes.yaml $data --simulate 'bandwidth=1Gbit,compute=measured'
expect '^items +1000 in [0-9.]+ s of virtual time: [1-9]'
expect ' measured$'
# The monitor has a line for each micro-batch and stage, with the bytes of the report.
check 0 '' quern pipeline q.onnx --plan codes.yaml $data --simulate "$fast" --monitor each.csv --json
[ "$(wc -l <each.csv)" = $((1 + 3 * 143)) ] || fail "the monitor has $(wc -l <each.csv) lines"
number "$(awk -F, '$1 == 0 { n += $10 } END { print n }' each.csv) == $(sed -n 's/^ *"bytes": \([0-9]*\),*$/\1/p' out | head -n 1)"
# What a plan says of links and stages counts where nothing else does.
plan '{format: codes, bandwidth: 1Mbit}' '{format: codes, bandwidth: 2Mbit, latency: 3ms}' >own.yaml
check 0 '' quern pipeline q.onnx --plan own.yaml $data --simulate 'compute=macs:1e9' --json
expect '"latency_seconds": 0.003'
sed 's/until: \(.*\)/{until: \1, seconds_per_item: 0.001}/; s/- {}/- {seconds_per_item: 2e-3}/' own.yaml >timed.yaml
check 0 '' quern pipeline q.onnx --plan timed.yaml $data --simulate 'bandwidth=1Gbit'
expect '^    2 .* 2 .* plan$'

# Policies: while the bandwidth is a quarter, fixed falls, quern holds; the monitor has a line a window and link.
choices='choices: [{format: codes, loss: 0}, {format: int6, loss: 0.2%}, {format: int4, loss: 1%}]'
plan "{$choices}" "{$choices}" >choices.yaml
printf '0,12000000\n2,3000000\n6,12000000\n90,12000000\n' >fall.csv
slow='trace=fall.csv,latency=5ms,compute=macs:1e8,stage2.compute=macs:2e8'
# held FILE: the least items per second that link 0 had from 3 s on, while it was slow.
held() {
    awk -F, '$1 == 0 && $5 > 3 && $6 < 6 && (least == "" || $7 < least) { least = $7 } END { print least }' "$1"
}
check 0 '' quern pipeline q.onnx --plan choices.yaml $data --simulate "$slow" --policy fixed --rate 90 --window 3 --policy-log fixed.csv
grep -q 'link 0: [0-9]* of 48 windows below the rate of 90 items/s, the slowest' err || fail "nothing said of the rate: $(cat err)"
[ "$(wc -l <fixed.csv)" = 97 ] || fail "the monitor has $(wc -l <fixed.csv) lines"
number "$(held fixed.csv) < 80"
check 0 '' quern pipeline q.onnx --plan choices.yaml $data --simulate "$slow" --policy quern --rate 90 --window 3 --policy-log quern.csv -o quern.npy
expect '^link 0 +windows'
expect '0\.[0-9]+ %   int6$'
number "$(held quern.csv) >= 90"
for policy in heuristic heuristic2 controller; do
    check 0 '' quern pipeline q.onnx --plan choices.yaml $data --simulate "$slow" --policy $policy --rate 90 --window 3 --json
done
expect '"travels_as": "int6"'
# An accuracy that may not be spent is kept, and the rate is not.
check 0 '' quern pipeline q.onnx --plan choices.yaml $data --simulate "$slow" --policy quern --rate 90 --window 3 --accuracy-drop 0 --policy-log kept.csv
number "$(held kept.csv) < 80"
grep -q 'the rate gives way to the accuracy budget' kept.csv || fail "nothing said of the budget"
plan '{choices: [{format: int8, loss: 0}, {format: int4, loss: 1%}]}' 'choices: [{format: codes, loss: 0}]' >lossless.yaml
check 0 '' quern pipeline q.onnx --plan lossless.yaml $data --simulate "$fast" --policy quern --rate 9 --accuracy-drop 0
# The plan's own policy, and the command line over it.
plan "{$choices}" "{$choices}" 'policy: {name: quern, rate: 90, window: 3}' >policy.yaml
check 0 '' quern pipeline q.onnx --plan policy.yaml $data --simulate "$slow" -o again.npy
same again.npy quern.npy
check 0 '' quern pipeline q.onnx --plan policy.yaml $data --simulate "$slow" --policy fixed -o again.npy -f
same again.npy whole.npy
# A trace that ends too early is said to.
printf '0,9000000\n1.5,12000000\n' >short.csv
check 0 'short.csv: its last line is at 1.5 s, and the run went on to [0-9.]+ s, at that line.s 12.0 Mbit/s' \
    quern pipeline q.onnx --plan codes.yaml $data --simulate 'trace=short.csv,compute=macs:1e8'

# The same over MPI: results to the byte, bytes of each link.
if ! command -v mpirun >/dev/null; then
    echo "skipped: pipelines over MPI; there is no mpirun (package openmpi-bin)"
elif ! ldd "$(command -v quern)" | grep -q libmpi; then
    echo "skipped: pipelines over MPI; quern is built without MPI"
else
    # As in ranks.sh.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated
    export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" LSAN_OPTIONS=detect_leaks=0 TMPDIR=/tmp
    over() { # N ARGUMENT...
        n=$1
        shift
        timeout -k 1 60 mpirun --oversubscribe -n "$n" quern pipeline q.onnx $data "$@"
    }
    printf 'version: 1\nmicrobatch: 7\nstages:\n  - until: pool.out\n  - {}\nlinks:\n  - format: int5\n' >two.yaml
    printf 'version: 1\nmicrobatch: 7\nstages:\n  - until: stem.relu.out\n  - until: pool.out\n  - until: res1.relu.out\n' >four.yaml
    printf '  - {}\nlinks:\n  - format: codes\n  - format: int6\n  - format: adaptivfloat<6,3>\n' >>four.yaml
    for n in 2 4; do
        file=$([ $n = 2 ] && echo two.yaml || echo four.yaml)
        check 0 '' quern pipeline q.onnx --plan $file $data --simulate "$fast" -o here.npy -f --json
        sed -n 's/^ *"bytes": \([0-9]*\),*$/\1/p' out >here.bytes
        check 0 '' over $n --plan $file -o there.npy -f --json
        sed -n 's/^ *"bytes": \([0-9]*\),*$/\1/p' out | sed '$d' >there.bytes # without the results
        same here.npy there.npy
        same here.bytes there.bytes
        [ "$(wc -l <here.bytes)" = $((n - 1)) ] || fail "bytes of $(wc -l <here.bytes) links, not $((n - 1))"
    done
    got=0
    over 2 --plan two.yaml --simulate "$fast" >out 2>err || got=$?
    [ $got = 2 ] && grep -q 'quern: --simulate runs all stages in one process; start it without mpirun' err ||
        fail "exit $got: $(head -c 300 err)"

    # Real processes on slower links: a window's bandwidth is the throttle's, and the policy makes up for it.
    plan "{$choices}" "{$choices}" >choices.yaml
    check 0 '' over 3 --plan choices.yaml --throttle 'link0.bandwidth=24Mbit,link1.bandwidth=100Mbit,latency=1ms' \
        --policy quern --rate 700 --window 5 --policy-log ranks.csv
    expect '^link 0 +windows'
    expect '^link 1 +windows'
    awk -F, '$1 == 0 && $11 != "" && ($11 < 23.9e6 || $11 > 24.1e6) { exit 1 }' ranks.csv || fail "link 0 is not of 24 Mbit/s: $(cat ranks.csv)"
    awk -F, '$1 == 0 && $2 > 0 && $12 == "\"codes\"" { exit 1 }' ranks.csv || fail "the policy did nothing: $(cat ranks.csv)"
    number "$(awk -F, '$1 == 1' ranks.csv | wc -l) == 29"
    check 0 '' over 3 --plan choices.yaml --policy quern --rate 1 -o there.npy -f
    same there.npy whole.npy
    got=0
    over 3 --plan air.yaml --throttle bandwidth=1Mbit >out 2>err || got=$?
    [ $got = 2 ] && grep -q "links 0 and 1 share the medium 'air', and ranks cannot take turns on it" err || fail "exit $got: $(head -c 300 err)"
fi

# Refused before anything runs.
s() {
    code=$1 fragment=$2
    shift 2
    check "$code" "$fragment" quern pipeline q.onnx --plan codes.yaml $data "$@"
}
s 2 "'speed' is no key; there are bandwidth, latency, trace, compute" --simulate speed=5
s 2 'bandwidth.*0' --simulate bandwidth=0Mbit
s 2 'nothing says how fast link 0 is; say bandwidth=10Mbit or link0.bandwidth=10Mbit' --simulate latency=5ms
s 2 'the plan has 2 links, which count from 0' --simulate link2.bandwidth=1Mbit
s 2 'compute=fast is none of measured, macs:RATE and plan' --simulate bandwidth=1Mbit,compute=fast
s 3 'missing.csv' --simulate trace=missing.csv
printf '0,1000000\n0.05,0\n' >dead.csv
s 3 "of link [01], begun at [0-9.]+ s, never arrives: the link's bandwidth ends at 0" --simulate trace=dead.csv,compute=macs:1e9
s 2 "'best' is no policy; there are fixed, heuristic" --simulate $fast --policy best
s 2 "policy quern holds a rate, and nothing says which; give --rate" --simulate $fast --policy quern
s 2 "policy quern has nothing to choose from" --simulate $fast --policy quern --rate 5
s 2 "--rate '0' is no number of items per second above 0" --simulate $fast --policy quern --rate 0
s 2 "--window '0' is no number of micro-batches" --simulate $fast --policy quern --rate 1 --window 0
s 2 'contradict each other' --simulate $fast --throttle bandwidth=1Mbit
check 2 "throttle: 'compute' is for --simulate" quern pipeline q.onnx --plan one.yaml $data --throttle compute=macs:1e9
make_model huge-sums sums.onnx
printf 'version: 1\nmicrobatch: 8\nstages:\n  - {until: flattened}\n  - {until: sums}\n  - {}\nlinks:\n  - {format: fp32}\n  - {format: int8}\n' >huge.yaml
check 3 'stage 1, micro-batch 0: sums: .*infinite' quern pipeline sums.onnx --plan huge.yaml --data "$DIGITS/test_x_u8.npy" --simulate $fast -o no.npy
[ ! -e no.npy ] || fail "a run that failed left no.npy"
touch there.csv
s 2 'there.csv.*-f' --simulate $fast --policy-log there.csv
