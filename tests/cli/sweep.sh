# Combinations of formats: what they give, their fronts, and that an interrupted sweep goes on.
make_array take "$DIGITS/test_x_u8.npy" x.npy 192 32
make_array take "$DIGITS/test_y_u8.npy" y.npy 192 32
make_array take "$DIGITS/calib_x_u8.npy" c.npy 0 32
sweep() {
    quern sweep "$DIGITS/digits.onnx" --data c.npy --eval-data x.npy --labels y.npy --activations float,uint8 "$@"
}
formats='int8,adaptivfloat<6,3>,mx<fp4e2m1>,int4'
check 0 '' sweep --weights "$formats" --recipes best,tflite -o s.json
silent
expect '^weights +activations +recipe +MB +SQNR dB +agree % +top-1 %$'
expect '^adaptivfloat<6,3> +uint8 +tflite +[0-9.]+ +[0-9.]+[* ] +[0-9.]+ +[0-9.]+[* ]$'
number "$(grep -c '"weights"' s.json) == 16"

# One row, recomputed; the size is that of the codes and parameters.
field() {
    awk -v w="\"$1\"," -v a="\"$2\"," -v key="\"$3\":" '
        $1 == "\"weights\":" { weights = $2 } $1 == "\"activations\":" { activations = $2 }
        $1 == key && weights == w && activations == a { sub(",", "", $2); print $2; exit }' s.json
}
check 0 '' quern quantize "$DIGITS/digits.onnx" --data c.npy --weights int4 --activations uint8 -o q.onnx
check 0 '' quern eval q.onnx --data x.npy --labels y.npy --against "$DIGITS/digits.onnx" --json
[ "$(json sqnr_db)" = "$(field int4 uint8 sqnr_db)" ] || fail "SQNR $(field int4 uint8 sqnr_db) is not $(json sqnr_db)"
[ "$(json correct)" = "$(field int4 uint8 correct)" ] || fail "another top-1 than eval's"
number "$(field int8 uint8 weight_bits) - $(field int4 uint8 weight_bits) == 4 * 34408" # biases stay int32
number "$(field int8 uint8 megabytes) * 8e6 == $(field int8 uint8 weight_bits) + $(field int8 uint8 parameter_bits)"

# The fronts from their definition.
awk '/"failed"/ { bad = 1 } /"megabytes"|"sqnr_db"|"pareto_sqnr"/ { gsub(/[",:]/, ""); v[$1] = $2 }
    /pareto_sqnr/ { print v["megabytes"], v["sqnr_db"], $2 } END { exit bad }' s.json >rows.txt || fail "a row failed"
awk '{ m[NR] = $1; q[NR] = $2; p[NR] = $3 }
    END {
        for (i = 1; i <= NR; i++) {
            front = "true"
            for (k = 1; k <= NR; k++) if (m[k] <= m[i] && q[k] >= q[i] && (m[k] < m[i] || q[k] > q[i])) front = "false"
            if (front != p[i]) { print "row " i " is marked " p[i]; bad = 1 }
            on += front == "true"
        }
        exit bad || on == 0 || on == NR
    }' rows.txt >wrong || fail "the front is wrong: $(cat wrong)"

# What is there is not measured again; what is interrupted goes on; the file is that of one run.
check 0 '' sweep --weights "$formats" -o once.json -q
check 0 '' sweep --weights 'int8' -o twice.json -q
check 0 '2 combinations are there already' sweep --weights "$formats" -o twice.json
same once.json twice.json
quern sweep "$DIGITS/digits.onnx" --data c.npy --eval-data x.npy --labels y.npy --activations float,uint8 \
    --weights "$formats" -o cut.json -q >out 2>err &
pid=$!
while [ ! -e cut.json ] && kill -0 $pid 2>/dev/null; do :; done
kill -INT $pid 2>/dev/null || true
wait $pid || grep -q "stopped on request" err || fail "an interrupted sweep said: $(cat err)"
check 0 '' sweep --weights "$formats" -o cut.json -q
same once.json cut.json

# A combination that cannot be is a row with its reason.
check 0 '' sweep --weights int8 --bias int8 -o failed.json
silent
expect "^int8 +uint8 +best +failed: .*node 0 Conv 'stem.conv': no weight scale keeps the bias"
expect '^int8 +float +best +[0-9.]+ '

check 2 'is not a sweep of this model, data and settings' \
    quern sweep "$DIGITS/digits.onnx" --data c.npy --weights int8 -o once.json
echo '{' >broken.json
check 2 'is not a sweep' sweep --weights int8 -o broken.json
check 0 '' sweep --weights int8 -o broken.json --force
check 2 '[-]o FILE is missing' sweep
check 2 "[-]-weights.*int88" sweep --weights int8,int88 -o n.json
check 2 "[-]-weights 'int8,,int4' is not a list" sweep --weights int8,,int4 -o n.json
check 2 '[-]-recipes.*bset' sweep --recipes bset -o n.json
check 3 'no-such' sweep --weights int8 -o no-such/n.json
