# Campaigns that prove pairs by a bound: the option, what show says of them, and that they are campaigns of their own.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
set -- q.onnx --data "$x" --labels "$y" --images 12 --where weights,activations --sample 200
check 0 '' quern inject "$@" -o plain.db
check 0 '' quern inject "$@" --prove margin --verify 20% -o margin.db
expect '^  proven +[0-9]+ '
expect 'proven: masked or tolerated, by a bound on the change of the outputs; the RMSE of these [0-9]+ pairs was not measured'

# Without the option nothing is said of it; SDC counts are the same, and masked, tolerated and proven add up.
check 0 '' quern show plain.db
grep -q proven out && fail "a campaign that proves nothing speaks of it"
check 0 '' quern show plain.db --csv
grep -q proven out && fail "a campaign that proves nothing has a column of it"
cp out plain.csv
check 0 '' quern show margin.db --csv
cp out margin.csv
column() {
    awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } NR > 1 { s += $c } END { print s }' "$2"
}
for name in faults pairs activated sdc1 sdc5 sdc10 sdc20 critical nonfinite refused; do
    [ "$(column $name plain.csv)" = "$(column $name margin.csv)" ] || fail "$name differs"
done
number "$(column masked plain.csv) + $(column tolerated plain.csv) == \
    $(column masked margin.csv) + $(column tolerated margin.csv) + $(column proven margin.csv)"
check 0 '' quern show margin.db --by layer
expect 'non-fin. %  proven %$'
check 0 '' quern show margin.db --json
expect '"proven": \{'
check 0 '' quern show plain.db --json
grep -q '"proven"' out && fail "a campaign that proves nothing has a member of it"

# It goes on as it was begun, and as nothing else; replay runs what was proven.
check 0 '' quern inject "$@" --prove margin --verify 20% -o margin.db
check 2 "the specification has 'prove: margin' there" quern inject "$@" -o margin.db
check 0 '' quern replay margin.db 0
check 2 "^quern: --prove 'luck' is not a way to prove outcomes; there are margin, margin-everywhere and none$" quern inject "$@" --prove luck -o no.db
check 2 'prove: margin is of the integer engine' quern inject "$DIGITS/digits.onnx" --data "$x" --images 4 --where weights \
    --sample 10 --engine float --prove margin -o no.db
[ ! -e no.db ] || fail "a store is left of a campaign that was refused"
