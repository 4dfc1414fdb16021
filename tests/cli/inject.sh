# Campaigns: plans, rows that do not depend on how they were made, stopping and going on, shards, and every refusal.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy model=$DIGITS/digits.onnx
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx

# rows STORE: every row of every fault, as text.
rows_of() {
    sqlite3 -readonly "$1" 'SELECT * FROM faults ORDER BY id'
}
has_sqlite=1
command -v sqlite3 >/dev/null || has_sqlite=""
[ -n "$has_sqlite" ] || echo "skipped: rows of stores one by one; sqlite3 is not there"
same_rows() {
    [ -n "$has_sqlite" ] || return 0
    rows_of "$1" >rows.a
    rows_of "$2" >rows.b
    [ -s rows.a ] || fail "$1 has no rows"
    same rows.a rows.b
}

# A specification and the options that say the same draw the same faults; threads and memory change nothing.
cat >faults.yaml <<'END'
seed: 7
faults:
  - where: weights
    layers: ['res*', fc]
    bits: 4-7
    sample: 30 per layer
END
set -- --data "$x" --labels "$y" --images 12
check 0 '' quern plan q.onnx "$@" --spec faults.yaml --measure 0 --json
number "$(json faults_min) == 90 && $(json faults_max) == 90 && $(json pairs_min) == 1080 && $(json images) == 12"
number "$(json population) == (9216 + 9216 + 640) * 4" # weights of both convolutions and of the last layer, 4 bits each
[ "$(json pairs_per_second)" = null ] || fail "a speed that was not measured"
check 0 '' quern plan q.onnx "$@" --spec faults.yaml --measure 0.1
silent
expect '^faults 1: fc +2560 +30 +12$'
expect '^faults  90 of 76288$'
expect '^speed +[0-9.]+ ?[kMG]? pairs/s$'
check 0 '' quern inject q.onnx "$@" --spec faults.yaml -j 1 -o a.db --verify 5%
silent
expect '^campaign +a.db: 90 faults, 1080 pairs, [0-9]+ verified$'
expect '^fault-free +[0-9.]+ % right \([0-9]+ of 12\)$'
expect '^this run +90 faults, 1080 pairs in .*pairs/s$'
expect '^  SDC-1 +[0-9]+ +[0-9.]+ % +[0-9.]+ \.\. +[0-9.]+ %$'
check 0 '' quern inject q.onnx "$@" --where weights --layers 'res*' --layers fc --bits 4-7 --sample '30 per layer' \
    --seed 7 --memory 1K -j 2 -o b.db
same_rows a.db b.db
check 0 '' quern inject q.onnx "$@" --spec faults.yaml -o a.db --json
number "$(json new_faults) == 0 && $(json faults) == 90" # the same command again has nothing to do

# Outcomes: exactly one of masked, tolerated, SDC-1 and non-finite; a fault that changes nothing is always masked.
check 0 '' quern inject q.onnx "$@" --where weights,activations --fault none --sample 40 -o none.db
expect '^  masked +[0-9]+ +100.0000 %'
if [ -n "$has_sqlite" ]; then
    [ "$(sqlite3 a.db 'SELECT count(*) FROM faults WHERE masked + tolerated + sdc1 + nonfinite <> pairs')" = 0 ] ||
        fail "outcomes that do not add up"
    [ "$(sqlite3 a.db 'PRAGMA integrity_check')" = ok ] || fail "a damaged store"
fi

# Shards are parts of the same campaign.
for i in 1 2 3; do
    check 0 '' quern inject q.onnx "$@" --spec faults.yaml --block 100 --shard $i/3 -o s$i.db
done
check 0 '' quern merge s1.db s3.db -o two.db
expect '^two.db: 2 stores merged; shard 2/3'
check 0 '' quern merge two.db s2.db -o all.db --json
[ "$(json missing)" = "" ] || fail "missing: $(json missing)"
same_rows a.db all.db
check 2 'exists; use -f' quern merge s1.db s2.db -o all.db
check 2 'b.db' quern merge a.db b.db -o c.db
check 2 'STORE... is missing' quern merge -o c.db
check 2 'o FILE is missing' quern merge a.db

# Stopped by a signal: what is done is kept, the same command goes on, and the rows are those of a run that nothing stopped.
set -- --data "$x" --where activations --fault random-code --block 500 -j 1
faults_of() {
    quern show "$1" --json 2>/dev/null | sed -n 's/^  "faults": \([0-9]*\),$/\1/p'
}
# stop_after OPTION...: start the long campaign, or go on with it, and send $signal when the store has $n faults.
stop_after() {
    quern inject q.onnx "$@" --sample 1000000 -o long.db >out 2>err &
    pid=$!
    tries=0
    while [ "$(faults_of long.db | grep . || echo 0)" -lt "$n" ] && [ $tries -lt 500 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -"$signal" $pid
    got=0
    wait $pid || got=$?
    [ "$got" = 1 ] || fail "exit $got after SIG$signal: $(head -c 300 err)"
    grep -q '^quern: long.db: stopped with [0-9]* of 1000000 faults done, which are kept; the same command goes on$' err ||
        fail "stopped, it said: $(head -c 300 err)"
}
n=500 signal=INT
stop_after "$@"
check 0 '' quern show long.db
expect 'long.db, not complete .the same .quern inject. goes on.: [0-9]+ faults'
n=$(($(faults_of long.db) + 500)) signal=TERM
stop_after "$@"
number "$(faults_of long.db) >= $n"
if [ -n "$has_sqlite" ]; then
    [ "$(sqlite3 long.db 'PRAGMA integrity_check')" = ok ] || fail "a damaged store"
    check 0 '' quern inject q.onnx "$@" --sample 1000 -o straight.db
    rows_of straight.db >rows.a
    rows_of long.db | head -n 1000 >rows.b # how many are drawn does not change which
    [ "$(wc -l <rows.a)" = 1000 ] || fail "$(wc -l <rows.a) rows"
    same rows.a rows.b
fi

# A store that cannot grow: said; with room the same command goes on.
check 3 'full.db: cannot be written: no space left .*intact and keeps what was done' \
    sh -c 'ulimit -f 600; exec quern inject q.onnx "$@" --sample 20000 -o full.db' sh "$@"
[ -z "$has_sqlite" ] || [ "$(sqlite3 full.db 'PRAGMA integrity_check')" = ok ] || fail "a full disk damaged the store"
check 0 '' quern inject q.onnx "$@" --sample 20000 -o full.db --json
number "$(json faults) == 20000 && $(json complete | grep -c true)"

# The error of quantization stands apart.
check 0 '' quern inject q.onnx --data "$x" --images 20 --labels "$y" --where biases --sample 20 --float-model "$model" -o f.db
expect '^quantization float [0-9.]+ % right, top-1 agrees on [0-9.]+ %, RMSE of the outputs [0-9.]+$'

# Float networks and simulation.
check 0 '' quern inject "$model" --data "$x" --images 4 --where weights --bits exponent --sample 20 -o float.db
expect '\(float engine\), 4 images'
check 0 '' quern inject q.onnx --engine simulate --data "$x" --images 4 --where weights --sample 20 -o simulate.db
expect '\(simulate engine\), 4 images'

# Noise beyond every zero point ends at the nearest, of signed codes and of unsigned ones.
check 0 '' quern inject q.onnx --data "$x" --images 3 --where zero-points --fault 'normal-noise std 1e9' --sample 40 \
    --verify 100% -o zeros.db

# A bias that changes its sign in the highest bit, where the accumulator saturates.
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --accumulator 16 --overflow saturate -o saturating.onnx
check 0 '' quern inject saturating.onnx --data "$x" --images 2 --where biases --layers stem.conv --bits 31 \
    --sample all --verify 100% -o sign.db

# Refused, with what to do.
set -- q.onnx --data "$x" --images 2 -o refused.db
check 3 "'conf\*'.*there are: .*stem.conv" quern inject "$@" --where weights --layers 'conf*'
check 3 "there is no bit 9.*0 to 7" quern inject "$@" --where weights --bits 9
check 3 "field 'exponent'; there are" quern inject "$@" --where weights --bits exponent
check 3 "there is no channel 99999" quern inject "$@" --where weights --channels 99999
check 3 "no exponent-biases.*it has" quern inject "$@" --where exponent-biases
check 2 "rate '1.5' is no probability" quern inject "$@" --where weights --pattern 'rate 1.5'
check 2 "unknown place 'wieghts'; did you mean 'weights'" quern inject "$@" --where wieghts
check 2 "fault: unknown fault model 'flop'; did you mean 'flip'" quern inject "$@" --where weights --fault flop
check 2 "sample: 'few' is no sample; samples are" quern inject "$@" --where weights --sample few
check 2 'which faults. Give --spec FILE, or --where' quern inject "$@"
check 2 'contradict each other' quern inject "$@" --where weights --spec faults.yaml
check 2 "shard '3/2' is not I/N" quern inject "$@" --where weights --shard 3/2
check 2 "memory 'lots' is not a size" quern inject "$@" --where weights --memory lots
check 2 "confidence '2' is not a share" quern inject "$@" --where weights --confidence 2
check 2 "verify '200%' is not a share" quern inject "$@" --where weights --verify 200%
check 2 "seed '-1' is not a number" quern inject "$@" --where weights --seed -1
check 2 "images '0' is not a number" quern inject q.onnx --data "$x" --images 0 --where weights -o refused.db
check 2 '[-]-data X is missing' quern inject q.onnx --where weights -o refused.db
check 2 '[-]o FILE is missing' quern inject q.onnx --data "$x" --where weights
check 3 'absent.yaml: cannot open' quern inject "$@" --spec absent.yaml
printf 'faults:\n  - where: weights\n    layer: fc\n' >bad.yaml
check 3 "bad.yaml: line 3: unknown key 'layer' of a fault set; did you mean 'layers'" quern inject "$@" --spec bad.yaml
printf 'faults:\n  - where: weights\n    layers: fd\n' >bad.yaml
check 3 "bad.yaml.*line 2.*'fd'; the nearest is 'fc'" quern inject "$@" --spec bad.yaml
printf 'model: %064d\nfaults:\n  - where: weights\n' 0 >bad.yaml
check 3 'bad.yaml: is for the model with sha256 0000' quern inject "$@" --spec bad.yaml
[ ! -e refused.db ] || fail "a store of a campaign that was refused"
check 2 'another campaign: the seed is 7 there, 8 here; use another -o, or -f' \
    quern inject q.onnx --data "$x" --labels "$y" --images 12 --spec faults.yaml --seed 8 -o a.db
check 2 'another campaign' quern inject q.onnx --data "$x" --images 12 --spec faults.yaml -o a.db
echo "no store" >text.db
check 3 'text.db: is not a campaign store' quern inject q.onnx --data "$x" --images 2 --where weights -o text.db
# An input is not overwritten, not even with -f, by whatever name.
cp q.onnx own.onnx
ln -s own.onnx linked.onnx
check 2 'own.onnx: is an input of the campaign; choose another -o' \
    quern inject linked.onnx --data "$x" --images 2 --where weights -f -o own.onnx
same q.onnx own.onnx
[ "$(cat text.db)" = "no store" ] || fail "a file that is no store was changed"
# A hostile file takes no more time than another.
{
    printf 'faults:\n  - where: weights\n    layers: '
    head -c 200000 /dev/zero | tr '\0' '['
} >deep.yaml
check 3 'deep.yaml: line 3: lists and mappings nested more than 16 deep' quern plan q.onnx --data "$x" --spec deep.yaml

# A limit of file sizes is a disk that is full: told, and what was done is kept.
set -- --data "$x" --where activations --block 500
limited() {
    (ulimit -f 600 && exec "$@")
}
check 3 'limited.db: cannot be written: .*limit of file sizes' limited quern inject q.onnx "$@" --sample 6000 -o limited.db
check 0 '' quern inject q.onnx "$@" --sample 6000 -o limited.db
check 0 '' quern inject q.onnx "$@" --sample 6000 -o unlimited.db
same_rows limited.db unlimited.db

# Rows that name what the store has not: refused, not followed.
if [ -n "$has_sqlite" ]; then
    sqlite3 a.db 'UPDATE faults SET target = 9999, element = -5, sdc1 = 1'
    check 3 'a.db: the store is damaged: a fault is of element -5 of target 9999, of' quern show a.db --json
    sqlite3 a.db 'UPDATE faults SET stratum = 77'
    check 3 'a.db: the store is damaged: fault 1 is of stratum 77, of' quern replay a.db 1
fi

# Scales of weights and activations struck at once: ratios are checked with all of them changed.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax --profile tflite-single -q -o ratios.onnx
check 0 '' quern inject ratios.onnx --data "$DIGITS/test_x_u8.npy" --images 1 --where scales --pattern 'rate 0.001' \
    --sample 25 --verify 100% -o ratios.db
expect 'non-finite'
