# Pipelines over MPI ranks: the bytes of the network in one piece at any number of stages; what cannot run is refused
# before anything does; a rank that dies or stands still ends the job, and what was finished is kept.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
check 0 '' quern eval q.onnx --data "$x" --labels "$y" --logits logits.npy
top1=$(sed -n 's/^top-1 *//p' out)

# One stage needs no mpirun; several are refused without, and nothing is left.
check 0 '' quern pipeline q.onnx --stages 1 --data "$x" --labels "$y" -o one.npy --monitor one.csv
grep -qF "$top1" out || fail "not $top1: $(head -c 600 out)"
expect '^plan +1 even stage: 1 stage, micro-batches of 8, integer engine$'
same logits.npy one.npy
[ "$(wc -l <one.csv)" = 126 ] || fail "one.csv has $(wc -l <one.csv) lines, not 1 and 125"
check 3 'plan: 3 stages, but 1 process: start it with mpirun -n 3' quern pipeline q.onnx --stages 3 --data "$x" -o no.npy
check 2 'give either --plan FILE or --stages N' quern pipeline q.onnx --data "$x"
check 2 'give either --plan FILE or --stages N' quern pipeline q.onnx --stages 1 --plan plan.yaml --data "$x"
check 2 '\-\-link goes with --stages' quern pipeline q.onnx --plan plan.yaml --link fp32 --data "$x"
check 2 '\-\-data X is missing' quern pipeline q.onnx --stages 1
check 2 "'none' is not a number from 1 to" quern pipeline q.onnx --stages none --data "$x"
check 2 "\-\-microbatch '0' is not a number" quern pipeline q.onnx --stages 1 --microbatch 0 --data "$x"
check 2 "\-\-timeout 'soon' is not a number" quern pipeline q.onnx --stages 1 --timeout soon --data "$x"
check 2 '\-\-link: .*int99' quern pipeline q.onnx --stages 2 --link int99 --data "$x"
check 2 'names several choices' quern pipeline q.onnx --stages 2 --link int8,int4 --data "$x"
check 2 'one.npy: .*use -f' quern pipeline q.onnx --stages 1 --data "$x" -o one.npy
check 2 'one.csv: .*use -f' quern pipeline q.onnx --stages 1 --data "$x" --monitor one.csv
check 2 'output and --monitor both name .no.npy.; give each' quern pipeline q.onnx --stages 1 --data "$x" \
    -o no.npy --monitor no.npy
check 3 'missing.yaml' quern pipeline q.onnx --plan missing.yaml --data "$x"
[ ! -e no.npy ] || fail 'a refused run left outputs'

if ! ldd "$(command -v quern)" | grep -q libmpi; then
    [ "$failures" = 0 ] || return 0
    echo "skipped: pipelines over ranks; quern is built without MPI"
    exit 77
fi
if ! command -v mpirun >/dev/null; then
    [ "$failures" = 0 ] || return 0
    echo "skipped: pipelines over ranks; there is no mpirun (package openmpi-bin)"
    exit 77
fi
# OpenMPI asks before it runs as root, and keeps some memory to the end. It looks for no network.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" LSAN_OPTIONS=detect_leaks=0 TMPDIR=/tmp
over() {
    n=$1
    shift
    got=0
    timeout -k 1 120 mpirun --oversubscribe -n "$n" quern pipeline "$@" >out 2>err || got=$?
    [ "$got" = 0 ] || fail "$n ranks: exit $got: $* ($(head -c 600 err))"
}
# every_line FILE STAGES MICROBATCHES: each micro-batch of each stage has one whole line.
every_line() {
    awk -F, -v stages="$2" -v n="$3" '
        NR == 1 { bad = $0 != "stage,sequence,items,t_start,decode,compute,encode,send_wait,receive_wait,bytes,choice"; next }
        NF != 11 || $1 >= stages || $2 >= n || seen[$1, $2]++ || $3 < 1 || $6 <= 0 { bad = 1 }
        END { exit bad || NR != 1 + stages * n }' "$1" || fail "$1 is not $2 times $3 lines, each once: $(head -n 3 "$1")"
}

# Stages and micro-batches; ranks without a stage are idle. Rank 0 alone talks.
for n in 1 2 4; do
    over $n q.onnx --stages $((n < 4 ? n : 3)) --microbatch 7 --data "$x" --labels "$y" -o ranks$n.npy --monitor ranks$n.csv
    same logits.npy ranks$n.npy
    grep -qF "$top1" out || fail "not $top1: $(head -c 600 out)"
    [ "$(grep -c '^plan ' out)" = 1 ] || fail "$n ranks printed $(grep -c '^plan ' out) reports"
    every_line ranks$n.csv $((n < 4 ? n : 3)) 143
done
[ "$(grep -c 'note: 1 of 4 ranks is idle: the plan has 3 stages' err)" = 1 ] || fail "idle ranks: $(head -c 300 err)"
over 3 q.onnx --stages 3 --link fp32 --data "$x" -o fp32.npy --json
same logits.npy fp32.npy
[ "$(json n)" = 1000 ] && [ "$(json engine)" = integer ] || fail "JSON: $(head -c 300 out)"
over 2 q.onnx --stages 2 --link int2/item --data "$x" -o int2.npy
if cmp -s logits.npy int2.npy; then fail 'a link of two bits changes nothing'; fi

# A plan from a file.
until=$(sed -n 's/^ *0  \([^ ]*\) .*/\1/p' out)
printf 'version: 1\nmicrobatch: 16\nstages:\n  - {until: "%s"}\n  - {device: far}\nlinks:\n  - {format: codes, checksum: false}\n' \
    "$until" >plan.yaml
over 2 q.onnx --plan plan.yaml --data "$x" -o plan.npy
same logits.npy plan.npy
expect '^plan +plan.yaml: 2 stages, micro-batches of 16, integer engine$'

# A policy leaves a link alone that has one format.
cat >some.yaml <<'PLAN'
version: 1
microbatch: 5
stages: [{until: down.relu.out}, {until: pool.out}, {}]
links:
  - choices: [{format: int8, loss: 0}, {format: int4, loss: 0.9%}]
  - choices: [{format: codes, loss: 0}]
PLAN
over 3 q.onnx --plan some.yaml --data "$x" --policy quern --rate 1e6 --accuracy-drop 1% --window 5 \
    --policy-log some.csv -o some.npy
grep -q '^0,.*"int4"' some.csv || fail "link 0 never changed: $(head -n 5 some.csv)"
if grep '^1,' some.csv | grep -v '"codes"'; then fail 'link 1 changed'; fi

# Larger networks, where the shared material is.
if [ -n "$SHARED" ]; then
    inputs=$SHARED/data/inputs
    check 0 '' quern quantize "$SHARED/data/models/resnet8_cifar10.onnx" --recipe minmax -o resnet8.onnx \
        --data "$inputs/cifar10_lossless_calib500_x_u8.npy"
    check 0 '' quern quantize "$SHARED/data/models/vit_cifar10.onnx" --recipe minmax -o vit.onnx --scale 1/255 \
        --mean .4914,.4822,.4465 --std .2470,.2435,.2616 --data "$inputs/cifar10_calib500_x_u8.npy"
    make_array take "$inputs/cifar10_eval2000_x_u8.npy" some.npy 0 50
    for network in resnet8 vit; do
        check 0 '' quern eval $network.onnx --data some.npy --logits $network.npy
        for n in 1 2 4; do
            over $n $network.onnx --stages $n --data some.npy -o $network$n.npy
            same $network.npy $network$n.npy
        done
    done
else
    echo "skipped: resnet8 and vit; the shared material is absent"
fi

# Refused once for all, before anything runs.
refused() {
    code=$1 fragment=$2
    shift 2
    got=0
    timeout -k 1 60 mpirun --oversubscribe "$@" >out 2>err || got=$?
    [ "$got" = "$code" ] || fail "exit $got, expected $code: $*"
    [ "$(grep -cE "^quern: .*$fragment" err)" = 1 ] || fail "'$fragment' is not said once: $(head -c 600 err)"
    [ "$(grep -c '^quern: ' err)" = 1 ] || fail "said more than once: $(head -c 600 err)"
    [ ! -e no.npy ] && [ ! -e no.csv ] || fail "a refused run left files: $*"
}
set -- --data "$x" -o no.npy --monitor no.csv
refused 3 'plan: 3 stages, but 2 ranks: start it with mpirun -n 3' -n 2 quern pipeline q.onnx --stages 3 "$@"
refused 3 'rank 0 has the model of SHA-256 [0-9a-f]{64}, rank 1 [0-9a-f]{64}' -n 1 quern pipeline q.onnx --stages 2 "$@" : \
    -n 1 quern pipeline "$DIGITS/digits.onnx" --stages 2 "$@"
refused 3 'rank 0 has the plan of SHA-256 [0-9a-f]{64}, rank 1 [0-9a-f]{64}' -n 1 quern pipeline q.onnx --stages 2 "$@" : \
    -n 1 quern pipeline q.onnx --stages 2 --microbatch 3 "$@"
refused 3 'rank 1: missing.onnx: ' -n 1 quern pipeline q.onnx --stages 2 "$@" : \
    -n 1 quern pipeline missing.onnx --stages 2 "$@"
sed 's/until: "[^"]*"/until: "nowhere"/' plan.yaml >nowhere.yaml
refused 3 "nowhere" -n 2 quern pipeline q.onnx --plan nowhere.yaml "$@"
sed 's/{device: far}/{device: far, memory: 100B}/' plan.yaml >small.yaml
refused 3 'memory|bytes' -n 2 quern pipeline q.onnx --plan small.yaml "$@"
sed 's/format: codes/format: codes, bandwidth: 0bit/' plan.yaml >nothing.yaml
refused 3 'bandwidth' -n 2 quern pipeline q.onnx --plan nothing.yaml "$@"

# A stage that fails while it runs: rank 0 says of what, in the stage's name. fp32 carries infinities, int8 does not.
make_model huge-sums sums.onnx
printf 'version: 1\nmicrobatch: 8\nstages:\n  - {until: flattened}\n  - {until: sums}\n  - {}\nlinks:\n  - {format: fp32}\n' >fp32.yaml
cat fp32.yaml >int8.yaml
echo '  - {format: int8}' >>int8.yaml
echo '  - {format: fp32}' >>fp32.yaml
over 3 sums.onnx --plan fp32.yaml --data "$x"
refused 1 'stage 1 \(rank 1\): sums: .*infin.*; 0 of 1000 items were finished$' -n 3 quern pipeline sums.onnx \
    --plan int8.yaml --data "$x" -o no.npy

# More items than there is time for: the test's 1000 again and again.
tail -c +129 "$x" >raw
for i in 1 2 3 4 5; do
    cat raw raw >twice
    mv twice raw
done
printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (32000, 1, 28, 28), }" >many.npy
cat raw >>many.npy
rm raw
check 0 '' quern pipeline q.onnx --stages 1 --data many.npy -o many_logits.npy

# begin ...: start a run on three ranks; when it is on its way, $pids are theirs.
begin() {
    rm -f out.npy out.csv
    mpirun --oversubscribe -n 3 quern pipeline q.onnx --stages 3 --microbatch 1 --data many.npy -o out.npy --monitor out.csv \
        "$@" >out 2>err &
    job=$!
    tries=0
    while kill -0 $job 2>/dev/null && [ $tries -lt 1500 ] && { [ ! -e out.csv ] || [ "$(wc -l <out.csv)" -lt 100 ]; }; do
        sleep 0.02
        tries=$((tries + 1))
    done
    pids=$(cat /proc/$job/task/$job/children 2>/dev/null || true)
    [ -n "$pids" ] || fail "it had ended before anything could happen to it: $(head -c 300 err)"
}
# signal_rank SIGNAL RANK
signal_rank() {
    for pid in $pids; do
        if [ "$(cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | sed -n 's/^OMPI_COMM_WORLD_RANK=//p')" = "$2" ]; then
            kill "-$1" "$pid" || true
        fi
    done
}
# The job ends in time, with no process left, and what is there are whole lines and the first outputs.
ended() {
    tries=0
    while kill -0 $job 2>/dev/null && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if kill -0 $job 2>/dev/null; then
        fail "after $1 the job hangs"
        kill -KILL $job $pids || true
    fi
    got=0
    wait $job || got=$?
    [ "$got" != 0 ] || fail "exit 0 after $1"
    for pid in $pids; do # dead ones that nobody waited for have no command line
        [ -z "$(cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' ' ')" ] || fail "after $1, a rank is left"
    done
    awk -F, 'NR > 1 && NF != 11 { exit 1 }' out.csv || fail "out.csv has a broken line after $1"
}
kept() {
    items=$(sed -n 's/^quern: .*; \([0-9]*\) of 32000 items were finished, their outputs are in out.npy$/\1/p' err)
    [ -n "$items" ] || fail "after $1 it said: $(head -c 900 err)"
    [ -n "$items" ] && [ "$items" -gt 0 ] && [ "$items" -lt 32000 ] || fail "$items of 32000 items after $1"
    [ "$(wc -c <out.npy)" = $((128 + 40 * ${items:-0})) ] || fail "out.npy has $(wc -c <out.npy) bytes for $items items"
    grep -aq "'shape': ($items, 10)" out.npy || fail "out.npy does not say that it has $items items"
    tail -c +129 out.npy >first
    tail -c +129 many_logits.npy | cmp -n "$((40 * ${items:-0}))" - first || fail "the first outputs differ after $1"
}
for rank in 1 2; do
    begin
    signal_rank KILL $rank
    ended "SIGKILL of rank $rank"
    kept "SIGKILL of rank $rank"
    begin --timeout 2
    signal_rank STOP $rank
    ended "SIGSTOP of rank $rank"
    [ "$got" = 1 ] || fail "exit $got after a stall"
    kept "SIGSTOP of rank $rank"
    grep -qE "^quern: (link 1->2|results of stage 2 to rank 0): stalled: nothing from stage $rank \(rank $rank\) .* micro-batch [0-9]+ " err ||
        fail "the stalled link is not named: $(head -c 600 err)"
done
begin --timeout 2
signal_rank STOP 0
ended 'SIGSTOP of rank 0'
grep -q '^quern: rank [12]: rank 0: nothing from it' err || fail "it said: $(head -c 600 err)"
# Small messages, too, wait for a stage that stands still: two at each end of a link, and one in work.
begin --link int2
signal_rank STOP 2
sleep 0.5
signal_rank KILL 0
ended 'SIGKILL of rank 0'
awk -F, 'NR > 1 { n[$1]++ } END { exit n[0] - n[1] > 64 || n[1] - n[2] > 64 }' out.csv ||
    fail "stages run ahead of each other: $(cut -d, -f1 out.csv | sort | uniq -c | tr '\n' ' ')"
begin
signal_rank TERM 0
ended 'SIGTERM of rank 0'
[ "$got" = 1 ] || fail "exit $got after SIGTERM of rank 0"
kept 'SIGTERM of rank 0'
