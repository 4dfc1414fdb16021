# Campaigns on links: rows that do not depend on threads, shards, ranks or interruptions; what is shown; every refusal.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy model=$DIGITS/digits.onnx
check 0 '' quern quantize "$model" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
dump() {
    dump_store "$1" || fail "$1 cannot be read"
}
same_rows() {
    dump "$1" >rows.a
    dump "$2" >rows.b
    [ "$(wc -l <rows.a)" -gt 300 ] || fail "$1 has $(wc -l <rows.a) rows"
    same rows.a rows.b
}

# The file and the options that say the same; threads, shards and ranks change nothing.
cat >links.yaml <<'END'
seed: 7
links:
  - after: cat.out
    choice: codes
    checksum: off
  - {after: pool.out, choice: codes, checksum: off}
faults:
  - where: link
    sample: 150 per where,layer
END
set -- --data "$x" --labels "$y" --images 8
check 0 '' quern plan q.onnx "$@" --spec links.yaml --measure 0.05
silent
expect '^faults 1: pool.out / link-header +4864 +150 +1$' # 76 bytes, 8 images
expect '^faults 1: pool.out / link-parameters +512 +150 +1$'
expect '^faults 1: cat.out / link-payload +[0-9]+ +150 +1$'
check 0 '' quern inject q.onnx "$@" --spec links.yaml -j 1 --verify 20% --pairs -o a.db
silent
expect '^link +behind pool.out: codes, checksums off$'
expect '^link +behind cat.out: codes, checksums off$'
expect '^  detected +[0-9]+ +[0-9.]+ % +[0-9.]+ \.\. +[0-9.]+ %$'
expect '^    reader +[0-9]+   refused without'
check 0 '' quern inject q.onnx "$@" --after pool.out --after cat.out --link codes --checksum off --where link \
    --sample '150 per where,layer' --seed 7 --pairs -j 2 -o b.db
same_rows a.db b.db
for i in 1 2 3; do
    check 0 '' quern inject q.onnx "$@" --spec links.yaml --pairs --block 100 --shard $i/3 -o s$i.db
done
check 0 '' quern merge s1.db s3.db s2.db -o all.db
same_rows a.db all.db
if ldd "$(command -v quern)" | grep -q libmpi && command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_plm=isolated
    export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" LSAN_OPTIONS=detect_leaks=0 TMPDIR=/tmp
    timeout -k 1 60 mpirun --oversubscribe -n 3 quern inject q.onnx "$@" --spec links.yaml --pairs --block 100 -j 1 \
        -o ranks.db >out 2>err || fail "3 ranks: exit $?: $(head -c 300 err)"
    same_rows a.db ranks.db
else
    echo "skipped: links over ranks; there is no MPI here"
fi

# Killed on the way, the same command ends with the same rows.
quern inject q.onnx "$@" --spec links.yaml --pairs --block 20 -j 1 -o killed.db >out 2>err &
pid=$!
sleep 0.1
kill -KILL $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
check 0 '' quern inject q.onnx "$@" --spec links.yaml --pairs --block 20 -j 1 -o killed.db
dump killed.db | grep -v '^ ok$' >rows.killed
dump a.db | grep -v '^ ok$' >rows.straight
[ "$(grep -cxFf rows.straight rows.killed)" -gt 300 ] || fail "a killed campaign has other rows"

# What is shown: rates by field, in text, CSV and JSON; a fault again.
check 0 '' quern show a.db --by where,field --worst 2
expect '^where +field +faults +pairs +masked % +toler. % +SDC-1 % +interval +SDC-5 % +non-fin. % detected %$'
expect '^link-header +version +[0-9]+ +[0-9]+ +0.0000 +0.0000 +0.0000 .* 100.0000$'
expect '^link-parameters +scale '
check 0 '' quern show a.db --by field --csv
expect '^field,faults,pairs,activated,inactive,in_layer,on_the_way,at_output,refused,header_crc,body_crc,unreadable,masked,'
expect '^codes,300,300,300,'
check 0 '' quern show a.db --json
expect '"detected"'
check 0 '' quern replay a.db 0
expect '^  link-header behind pool.out, .pool.out., [a-z-]+\[[0-9]+\], byte [0-9]+ of the frame, bit [0-7] flipped$'
expect '^what travelled for image [0-7]$'
expect '^    byte [0-9]+ \([a-z-]+\): 0x[0-9a-f]{2} -> 0x[0-9a-f]{2}$'
expect '(^    refused at byte [0-9]+: |^    taken: the same)'
check 0 '' quern replay a.db 0 --json
expect '"n_changed": 1,'
check 3 'leave --trace out' quern replay a.db 0 --trace
check 3 'what protects a frame is its checksum' quern protect a.db --budget 5%

check 3 'export faults of a campaign within the network' quern export q.onnx --to npz --vectors "$x" --faulty a.db --ids 0 -o ex
[ ! -e ex ] || fail "a refused export left a directory"

# Without faults the links are those of a pipeline: the same bytes come out.
if command -v sqlite3 >/dev/null; then
    check 0 '' quern pipeline q.onnx --stages 3 --link int4/channel --microbatch 1 --data "$x" \
        --simulate 'bandwidth=12Mbit,latency=5ms,compute=macs:1e8' -o outputs.npy
    first=$(awk '$1 == 0 && $2 ~ /out$/ { print $2 }' out) second=$(awk '$1 == 1 && $2 ~ /out$/ { print $2 }' out)
    [ -n "$first" ] && [ -n "$second" ] || fail "no stages in $(head -c 600 out)"
    check 0 '' quern inject q.onnx --data "$x" --after "$second" --after "$first" --link int4/channel --where link --sample 5 \
        -o golden.db
    got=$(tail -c 40000 outputs.npy | sha256sum | cut -d ' ' -f 1) # 1000 images, 10 classes
    [ "$(sqlite3 golden.db 'SELECT golden_sha256 FROM campaign')" = "$got" ] ||
        fail "a pipeline's outputs are not those of the campaign without faults"
else
    echo "skipped: outputs of a pipeline against those of a campaign without faults; sqlite3 is not there"
fi

# With checksums everything is found.
check 0 '' quern inject q.onnx "$@" --after pool.out --where link --sample 400 -o crc.db
expect '^  detected +400 +100.0000 %'
check 0 '' quern inject q.onnx "$@" --after pool.out --where link --pattern frame --fault 'flip n-bits 32' --sample 400 \
    -o burst.db
expect '^  detected +400 +100.0000 %'
check 0 '' quern inject "$model" --data "$x" --images 4 --after gap.out --where link-payload --checksum off --sample 50 -o f.db
expect '^link +behind gap.out: fp32, checksums off$'

# Refusals: each names the reason and the remedy.
check 2 '^quern: --where: faults on links, but no link: say behind what, with --after NAME$' \
    quern inject q.onnx "$@" --where link -o no.db
check 2 '^quern: --link: belongs to a link; give --after NAME, too$' quern inject q.onnx "$@" --where weights --link int8 -o no.db
check 2 'make two campaigns' quern inject q.onnx "$@" --where weights --after pool.out -o no.db
check 3 "no place to part stages is behind 'nowhere'" quern inject q.onnx "$@" --where link --after nowhere -o no.db
check 2 "link choice 'int99'" quern inject q.onnx "$@" --where link --after pool.out --link int99 -o no.db
check 2 "'maybe' is not on or off" quern inject q.onnx "$@" --where link --after pool.out --checksum maybe -o no.db
check 3 'the frames have no checksums' quern inject q.onnx "$@" --where link --after pool.out --checksum off \
    --frame header-crc -o no.db
check 3 'no link-parameters, as those of fp32' quern inject q.onnx "$@" --where link-parameters --after pool.out \
    --link fp32 -o no.db
check 2 'after and --spec contradict' quern inject q.onnx "$@" --spec links.yaml --after pool.out -o no.db
check 2 'margin is of faults within a network' quern inject q.onnx "$@" --where link --after pool.out --prove margin -o no.db
[ ! -e no.db ] || fail "a refused campaign left a store"
