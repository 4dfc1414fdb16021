# The campaign over MPI ranks: the rows of one process, interrupted or not; one message for all; a rank that dies.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
set -- q.onnx --data "$x" --labels "$y" --images 6 --where weights,activations --seed 3 --block 300

# Built without MPI, it says so instead of running the whole campaign in every task.
if ! ldd "$(command -v quern)" | grep -q libmpi; then
    check 3 'started as one of 2 ranks, but built without MPI: install libopenmpi-dev .* --shard i/2' \
        env OMPI_COMM_WORLD_SIZE=2 quern inject "$@" --sample 10 -o none.db
    check 0 '' env OMPI_COMM_WORLD_SIZE=1 quern inject "$@" --sample 10 -o none.db
    [ "$failures" = 0 ] || return 0
    echo "skipped: campaigns over ranks; quern is built without MPI"
    exit 77
fi
if ! command -v mpirun >/dev/null; then
    echo "skipped: campaigns over ranks; there is no mpirun (package openmpi-bin)"
    exit 77
fi
# OpenMPI asks before it runs as root, and keeps some memory to the end. It looks for no network.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" LSAN_OPTIONS=detect_leaks=0 TMPDIR=/tmp
# over N ...: on N ranks, with one thread each. What mpirun itself adds goes to ./err with the rest.
over() {
    n=$1
    shift
    timeout -k 1 60 mpirun --oversubscribe -n "$n" quern inject "$@" >out 2>err
}
dump() {
    dump_store "$1" || fail "$1 cannot be read"
}
same_rows() {
    dump "$1" >rows.a
    dump "$2" >rows.b
    [ "$(head -n 1 rows.a)" = ' ok' ] || fail "$1: $(head -n 1 rows.a)"
    [ "$(wc -l <rows.a)" -gt "$3" ] || fail "$1 has $(wc -l <rows.a) rows"
    same rows.a rows.b
}
# The same rows, and pairs, and changes; rank 0 alone tells of them.
set -- "$@" --pairs
check 0 '' quern inject "$@" --sample '200 per layer' -j 1 -o one.db
check 0 '' quern inject "$@" --sample '200 per layer' -j 2 -o threads.db
same_rows one.db threads.db 1000
for n in 2 4; do
    over $n "$@" --sample '200 per layer' -j 1 -o ranks$n.db || fail "$n ranks: exit $?: $(head -c 300 err)"
    [ "$(grep -c '^campaign ' out)" = 1 ] || fail "$n ranks printed $(grep -c '^campaign ' out) summaries"
    silent
    same_rows one.db ranks$n.db 1000
done
# Sampling in rounds depends on rows so far.
check 0 '' quern inject "$@" --sample 'until 4% per layer max 300' -o until1.db
over 2 "$@" --sample 'until 4% per layer max 300' -o until2.db || fail "rounds: exit $?: $(head -c 300 err)"
same_rows until1.db until2.db 100
# The same command again has nothing to do, and one process goes on with what ranks began.
over 2 "$@" --sample '200 per layer' -o one.db || fail "again: exit $?: $(head -c 300 err)"
expect '^this run +nothing was left to do$'

# Refused once for all, with the exit code of a process alone.
refused() {
    code=$1 fragment=$2
    shift 2
    got=0
    over 2 "$@" || got=$?
    [ "$got" = "$code" ] || fail "exit $got, expected $code: $*"
    [ "$(grep -cE "^quern: .*$fragment" err)" = 1 ] || fail "'$fragment' is not said once: $(head -c 600 err)"
    [ "$(grep -c '^quern: ' err)" = 1 ] || fail "said more than once: $(head -c 600 err)"
}
refused 2 "sample: 'few' is no sample" "$@" --sample few -o bad.db
refused 3 "matches 'nope" "$@" --layers 'nope*' -o bad.db
refused 2 'one.db: .*sample|one.db: .*specification' "$@" --sample 11 -o one.db
[ ! -e bad.db ] || fail "a refused campaign left a store"
# What is wrong for one rank alone is said in its name.
got=0
timeout -k 1 60 mpirun --oversubscribe -n 1 quern inject "$@" --sample 10 -o bad.db : \
    -n 1 quern inject missing.onnx --data "$x" --where weights --sample 10 -o bad.db >out 2>err || got=$?
[ "$got" = 3 ] || fail "exit $got of a job one rank of which has no model"
grep -q '^quern: rank 1: missing.onnx: ' err || fail "the rank is not named: $(head -c 300 err)"
[ ! -e bad.db ] || fail "a job that never began left a store"

# Stopped, and killed on the way: the job ends, the store holds whole blocks, the same command ends with the same rows.
set -- q.onnx --data "$x" --images 60 --where weights --bits 6,7 --block 1500
check 0 '' quern inject "$@" --sample 1500 -j 2 -o straight.db
dump straight.db >straight.rows
# begin STORE ...: start a campaign, or go on with it, on two ranks; $pids are theirs.
begin() {
    store=$1
    shift
    mpirun --oversubscribe -n 2 quern inject "$@" -j 1 -o "$store" >out 2>err &
    job=$!
    tries=0
    children=/proc/$job/task/$job/children
    while kill -0 $job 2>/dev/null && [ $tries -lt 500 ] &&
        { [ -z "$(cat $children 2>/dev/null)" ] || ! quern show "$store" >/dev/null 2>&1; }; do
        sleep 0.02
        tries=$((tries + 1))
    done
    sleep 0.3
    pids=$(cat $children 2>/dev/null || true) # none: it has ended
}
rank_of() {
    tr '\0' '\n' <"/proc/$1/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p'
}
ended() {
    got=0
    wait $job || got=$?
    cp err said
    for pid in $pids; do # dead ones that nobody waited for have no command line
        [ -z "$(cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' ' ')" ] || fail "after $1, a rank is left"
    done
    dump "$store" >rows.a
    [ "$(head -n 1 rows.a)" = ' ok' ] || fail "a damaged store after $1"
}
begin short.db "$@" --sample 1500
kill -TERM $job || true
ended SIGTERM
check 0 '' quern show short.db
if grep -q 'short.db, not complete' out; then # otherwise it was done before the signal came
    # mpirun, which the signal went to, tells 0 where ranks take long to end; what they say counts
    [ "$got" = 1 ] || [ "$got" = 0 ] || fail "exit $got after SIGTERM"
    grep -q '^quern: short.db: stopped with [0-9]* of 1500 faults done, which are kept; the same command goes on$' said ||
        fail "stopped, it said: $(head -c 300 said)"
fi
over 2 "$@" --sample 1500 -j 1 -o short.db || fail "going on: exit $?: $(head -c 300 err)"
same_rows straight.db short.db 1500

# More faults than there is time for; how many are drawn does not change which.
kept=0
for rank in 1 0; do
    begin long.db "$@" --sample 60000
    for pid in $pids; do
        [ "$(rank_of "$pid")" != $rank ] || kill -KILL "$pid" || true
    done
    ended "SIGKILL of rank $rank"
    [ "$got" != 0 ] || fail "exit 0 after SIGKILL of rank $rank"
    check 0 '' quern show long.db
    expect 'long.db, not complete'
    awk 'NR > 1 && $1 < 1500' rows.a >some
    [ "$(wc -l <some)" -ge "$kept" ] || fail "$(wc -l <some) faults are left of $kept"
    kept=$(wc -l <some)
    [ "$(grep -cxFf some straight.rows)" = "$kept" ] || fail "rows of a killed campaign are others"
done
[ "$kept" -gt 0 ] || fail 'nothing was kept'
