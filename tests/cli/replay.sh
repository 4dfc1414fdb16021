# One fault again: what the store says of it is what comes out, in every engine; and every refusal.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
has_sqlite=1
command -v sqlite3 >/dev/null || has_sqlite=""
[ -n "$has_sqlite" ] || echo "skipped: replays against rows of the store; sqlite3 is not there"

# lines TEXT: how many lines of the output have it; grep counts none as a failure.
lines() {
    grep -c -- "$1" out || :
}
cat >faults.yaml <<'END'
seed: 11
faults:
  - where: weights
    sample: 12
  - where: [activations, accumulators, products]
    sample: 12
END
check 0 '' quern inject q.onnx --data "$x" --labels "$y" --images 8 --spec faults.yaml -o integer.db -q
sed 's/, accumulators, products//' faults.yaml >floats.yaml
check 0 '' quern inject q.onnx --data "$x" --labels "$y" --images 8 --engine simulate --spec floats.yaml -o simulate.db -q
check 0 '' quern inject "$DIGITS/digits.onnx" --data "$x" --labels "$y" --images 8 --spec floats.yaml -o float.db -q

# Counts, codes and outcomes of every fault are those of its row.
for store in integer simulate float; do
    for id in 0 5 11 12 17 23; do
        check 0 '' quern replay $store.db $id --json
        silent
        expect "^    \"id\": $id,\$"
        [ -n "$has_sqlite" ] || continue
        count=$(lines '"image":')
        row=$(sqlite3 -readonly $store.db "SELECT pairs, masked, tolerated, sdc1, critical FROM faults WHERE id = $id")
        now="$count|$(lines '"masked"')|$(lines '"tolerated"')|$(lines '"sdc1"')|$(lines '"critical"')"
        [ "$row" = "$now" ] || fail "fault $id of $store.db has '$row', again it has '$now'"
        row=$(sqlite3 -readonly $store.db "SELECT before, after FROM faults WHERE id = $id")
        now=$(awk -F '[:,]' '/"before"/ { b = $2 + 0 } /"after"/ { printf "%.0f|%.0f\n", b, $2; exit }' out)
        [ "$row" = "$now" ] || fail "codes of fault $id of $store.db are '$row', again they are '$now'"
    done
done

# Faults that are present in several images go on with the first ones of the campaign behind its last.
check 0 '' quern inject q.onnx --data "$x" --images 5 --where weights --lifetime 3 --sample 20 -o several.db -q
for id in 0 7 13 19; do
    check 0 '' quern replay several.db $id --json
    number "$(lines '"image":') == 3 && $(awk -F '[:,]' '/"image"/ && $2 > most { most = $2 + 0 } END { print most + 0 }' out) < 5"
done
[ -z "$has_sqlite" ] || number "$(sqlite3 -readonly several.db 'SELECT min(pairs) = 3 AND max(pairs) = 3 AND max(first_image) > 2 FROM faults') == 1"

# As text, and traced.
check 0 '' quern replay integer.db 3
silent
expect '^fault 3: stratum 0, draw 3, seed 11, integer engine$'
expect '^  weights of .*, bit [0-7] flipped$'
expect '^ +7   +0x[0-9a-f]{2} +0x[0-9a-f]{2} '
expect '^[0-9] of 8 images with other outputs; from scratch they are the same bytes$'
check 0 '' quern replay integer.db 3 --image 2 --trace
silent
expect '^trace of image 2$'
expect '^[01] of 1 images with other outputs'
for id in 12 13 14 15 16 17; do
    check 0 '' quern replay integer.db $id --trace --json
    # the trace ends at the output when, and only when, outputs differ
    ends=$(lines '"end": "at output"')
    last=$(awk -F '"' '/"value":/ { v = $4 } END { print v == "logits" }' out)
    number "($ends > 0) == $last"
done

# Without --image, the first image of the worst outcome is traced.
for id in 3 5 11; do
    check 0 '' quern replay integer.db $id --trace
    silent
    worst=$(awk '/^ +[0-9]+ +0x/ { r = /SDC-5|SDC-1[^0]|SDC-1$|critical/ ? 5 : /SDC-/ ? 4 : /non-finite/ ? 3 : /tolerated/ ? 2 : 1
        if (r > most) { most = r; at = $1 } } END { print at }' out)
    expect "^trace of image $worst, the first of the worst outcome: "
done

# Of many changes the first eight are listed.
check 0 '' quern inject q.onnx --data "$x" --images 2 --where activations --pattern 'count 11' --sample 3 -o many.db -q
check 0 '' quern replay many.db 1
number "$(lines '^  activations of ') == 8"
expect '^  and 3 changes more$'
image=$(awk '/^ +[0-9]+ +0x/ { print $1 }' out)
check 2 "but in image $image\$" quern replay many.db 1 --image $((1 - image))

# Refusals.
check 2 'no fault 24; it has 24' quern replay integer.db 24
check 2 "'x' is not the number of a fault" quern replay integer.db x
check 2 'ID is missing' quern replay integer.db
check 2 'there is no image 8; there are 0 to 7' quern replay integer.db 3 --image 8
check 2 "'-1' is not the number of an image" quern replay integer.db 3 --image=-1
check 3 '' quern replay q.onnx 3
check 3 '' quern replay none.db 3
check 2 'sha256' quern replay integer.db 3 --model "$DIGITS/digits.onnx"
check 2 'sha256' quern replay integer.db 3 --data "$DIGITS/calib_x_u8.npy"
mv q.onnx moved.onnx
check 3 'q.onnx' quern replay integer.db 3
check 0 '' quern replay integer.db 3 --model moved.onnx
