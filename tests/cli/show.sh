# What show tells of a store: counts and rates recomputed here from the rows, groups, worst sites, CSV, JSON.
x=$DIGITS/test_x_u8.npy y=$DIGITS/test_y_u8.npy
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -o q.onnx
cat >faults.yaml <<'END'
faults:
  - name: last layer
    where: weights
    layers: fc
    bits: 6,7
    sample: 150 per bit
  - name: on the way
    where: [activations, inputs]
    sample: 100
END
check 0 '' quern inject q.onnx --data "$x" --labels "$y" --images 25 --spec faults.yaml -o c.db

check 0 '' quern show c.db
silent
expect '^campaign +c.db: 400 faults, 7600 pairs$' # 300 on 25 images each, 100 on one
expect '^model +.*q.onnx \(integer engine\), 25 images of .*test_x_u8.npy, seed 0$'
expect '95 % intervals for these images \(Wilson\)'
expect '^  masked +[0-9]+ '
expect '^    inactive +[0-9]+ +no code changed'
expect '^  critical +[0-9]+ '
expect '^worst sites, by SDC-1:$'
grep -A 2 '^worst' out | tail -n 1 >worst

# The counts are those of the rows, and every group is in one place.
check 0 '' quern show c.db --csv
[ "$(wc -l <out)" = 2 ] || fail "a table of all has $(wc -l <out) lines"
cp out total.csv
check 0 '' quern show c.db --csv --by layer,bit,channel,where,format,set,stratum
cp out groups.csv
# column NAME FILE: its sum.
column() {
    awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } NR > 1 { s += $c } END { print s }' "$2"
}
head -n 1 groups.csv | grep -q '^layer,bit,channel,where,format,set,stratum,faults,pairs,' || fail "$(head -n 1 groups.csv)"
for name in faults pairs activated inactive in_layer on_the_way at_output refused masked tolerated sdc1 sdc5 critical; do
    [ "$(column $name total.csv)" = "$(column $name groups.csv)" ] || fail "$name of groups and of all differ"
done
number "$(column faults total.csv) == 400 && $(column pairs total.csv) == 7600"
number "$(column masked total.csv) + $(column tolerated total.csv) + $(column sdc1 total.csv) + $(column nonfinite total.csv) == 7600"
number "$(column inactive total.csv) + $(column in_layer total.csv) + $(column on_the_way total.csv) == $(column masked total.csv)"
if command -v sqlite3 >/dev/null; then
    [ "$(sqlite3 c.db 'SELECT sum(sdc1) FROM faults')" = "$(column sdc1 total.csv)" ] || fail "SDC-1 of rows and of show differ"
    # The most harmful site and bit.
    sqlite3 -separator ' ' c.db "SELECT sum(sdc1), sum(pairs) FROM faults JOIN bits USING (mask)
        GROUP BY target, element, bit ORDER BY 1 DESC LIMIT 1" >wanted
    awk '{ print $1, $2 }' worst >shown
    awk '{ print $1 }' wanted >wanted.hits
    awk '{ print $1 }' shown >shown.hits
    same wanted.hits shown.hits
else
    echo "skipped: sums over rows; sqlite3 is not there"
fi

# The rate of one stratum is that of its pairs; intervals hold it, and more confidence makes them no narrower.
check 0 '' quern show c.db --by stratum --csv --confidence 95%
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    /^.?fc/ { r = $at["sdc1"] / $at["pairs"]; d = $at["sdc1_rate"] - r
        if (d > 1e-6 || d < -1e-6) print "rate", $0
        if ($at["sdc1_low"] > r || $at["sdc1_high"] < r) print "interval", $0 }
    { print $at["sdc1_low"], $at["sdc1_high"] > "narrow" }' out >wrong
[ ! -s wrong ] || fail "of a stratum: $(cat wrong)"
check 0 '' quern show c.db --by stratum --csv --confidence 99%
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { print $at["sdc1_low"], $at["sdc1_high"] }' out >wide
paste -d ' ' narrow wide | awk '$3 > $1 || $4 < $2' >wrong
[ ! -s wrong ] || fail "narrower with more confidence: $(cat wrong)"
check 0 '' quern show c.db --interval clopper-pearson
expect 'intervals for these images \(Clopper-Pearson\)'

# All weights of a stratum tried: the rate is exact.
check 0 '' quern inject q.onnx --data "$x" --images 3 --where weights --layers fc --channels 0-1 --bits 7 --sample all -o exact.db
check 0 '' quern show exact.db --csv
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { if ($at["faults"] != 128 || $at["masked_low"] != $at["masked_rate"] || $at["masked_high"] != $at["masked_rate"]) print }' out >wrong
[ ! -s wrong ] || fail "not exact: $(cat wrong)"

check 0 '' quern show c.db --by layer,bit --worst 0
expect '^layer +bit +faults +pairs '
expect '^fc +7 +150 +3750 '
! grep -q '^worst' out || fail "worst sites that were not asked for"
check 0 '' quern show c.db --by where --json
[ "$(json faults)" = 400 ] && [ "$(json complete)" = true ] || fail "JSON: $(head -c 300 out)"
[ "$(grep -c '"where": "weights"' out)" -ge 1 ] || fail "no group of weights"

check 2 "by 'lair': did you mean 'layer'" quern show c.db --by lair
check 2 'csv and --json contradict' quern show c.db --csv --json
check 2 "interval 'wald' is neither" quern show c.db --interval wald
check 2 "worst 'x' is not a number" quern show c.db --worst x
check 2 "confidence '100%' is not a share" quern show c.db --confidence 100%
check 3 'absent.db: cannot be opened' quern show absent.db
echo text >text.db
check 3 'text.db: is not a campaign store' quern show text.db
check 2 'campaign.db is missing' quern show
