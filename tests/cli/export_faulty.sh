# A fault of a campaign in exported C, and in memory images under Icarus Verilog: the bit that fault.json says, flipped in
# the files, gives the outputs that it has. Where a tool is absent, that part is skipped by name.

quern quantize $DIGITS/digits.onnx --data $DIGITS/calib_x_u8.npy --recipe minmax --profile tflite -q -f -o q.onnx >quantize.log
cat >faults.yaml <<'YAML'
faults:
  - {name: depthwise, where: weights, layers: dw.conv, bits: 7, sample: 1}
  - {name: convolution, where: weights, layers: res2.conv, bits: 7, sample: 1}
  - {name: bias, where: biases, layers: head.conv, bits: 14, sample: 1}
  - {name: activation, where: activations, bits: 7, sample: 1}
  - {name: scale, where: scales, layers: pool, bits: 20, sample: 1}
YAML
quern inject q.onnx --data $DIGITS/test_x_u8.npy --images 2 --spec faults.yaml -q -f -o c.db >inject.log
quern export q.onnx --to npz,c,mem,verilog -o net --faulty c.db --ids 0,1,2,3,4 --vectors $DIGITS/test_x_u8.npy --limit 2 -q \
    >export.log
quern verify net -q >verify.log
skipped=

# place ID TARGET KEY: of the fault's places in a target's files, one a line
place() {
    awk -v target="\"$2\": [" -v key="\"$3\":" '
        index($0, target) { inside = 1; next }
        inside && /^  \]/ { exit }
        inside && $1 == key { gsub(/[",]/, "", $2); print $2 }' net/faulty/$1/fault.json
}

# flip FILE ARRAY INDEX BEFORE AFTER: one element of an array of C
flip() {
    awk -v array="$2[" -v wanted="$3" -v before="$4" -v after="$5" '
        function changed(text, part, i, n, out) {
            n = split(text, part, ",")
            for (i = 1; i <= n; i++) {
                if (part[i] ~ /-?[0-9A-Z]/) {
                    if (at++ == wanted) {
                        found = part[i]
                        gsub(/ /, "", found)
                        if (found != before) { print "expected " before ", found " found >"/dev/stderr"; exit 1 }
                        part[i] = " " after
                        done = 1
                    }
                }
                out = out (i > 1 ? "," : "") part[i]
            }
            return out
        }
        inside && /^};/ { inside = 0 }
        inside && !done { $0 = changed($0) }
        index($0, "static const") == 1 && index($0, array) { inside = 1 }
        { print }
        END { exit !done }' "$1" >flipped.c
    mv flipped.c "$1"
}

outputs() { # of all images of a fault
    for image in 0 1; do
        tail -c 10 net/faulty/$1/image_$image/out_logits_codes_faulty.npy
    done
}

for id in 0 1 2; do
    rm -rf c
    cp -r net/c c
    outputs $id >c/faulty.bin
    if cmp -s c/faulty.bin c/vectors_out.bin; then
        fail "fault $id changes no output: the test shows nothing"
    fi
    flip c/model.c "$(place $id c array)" "$(place $id c index)" "$(place $id c before)" "$(place $id c after)"
    (cd c && cc -std=c99 -O1 -o test_main ./*.c && ./test_main vectors_in.bin results.bin && cmp results.bin faulty.bin)
done

# An activation's fault is no number of a file.
grep -q '"places"' net/faulty/3/fault.json && fail "fault 3 has places in files"
grep -q '"moment": "the code, after requantization of l_' net/faulty/3/fault.json || fail "fault 3 has no moment"

# The scale of a pool's result alone makes a table of what was the same codes: no number to flip makes that.
grep -q '"same_layers": false' net/faulty/4/fault.json || fail "fault 4 computes by the same layers"

if ! command -v iverilog >/dev/null; then
    echo "skipped: no iverilog; memory images with faults are not simulated"
    skipped=yes
fi
# vectors NAME FAULTY: words of both images, with the fault where they differ from those without
vectors() {
    head -n 3 "net/mem/vectors/$1.mem"
    for image in 0 1; do
        if [ -f "net/faulty/$id/image_$image/$2.mem" ]; then
            cat "net/faulty/$id/image_$image/$2.mem"
        else
            awk -v wanted="$image" '/^\/\/ vector/ { inside = $3 == wanted; next } inside' "net/mem/vectors/$1.mem"
        fi
    done
}

for struck in 0:l_dw_conv:t_dw_clip_out 1:l_res2_conv:t_res2_bn_out; do
    [ -z "$skipped" ] || break
    id=${struck%%:*} tensor=${struck##*:} layer=${struck#*:}
    layer=${layer%:*}
    rm -rf mem verilog
    cp -r net/mem net/verilog .
    place $id mem file >files
    place $id mem line >lines
    place $id mem after >words
    [ -s files ] || fail "fault $id has no words in memory images"
    paste -d ' ' files lines words | while read -r file line word; do
        sed -i "${line}s/.*/${word#0x}/" "$file"
    done
    vectors $tensor ${tensor}_codes_faulty >mem/vectors/$tensor.mem
    vectors $layer.sums ${layer}_sums_faulty >mem/vectors/$layer.sums.mem
    (cd verilog && make -s build/tb_$layer.vvp >make.log 2>&1 && vvp -N build/tb_$layer.vvp >../sim.log) ||
        fail "the bench of $layer with fault $id: $(tail -n 3 verilog/make.log sim.log)"
    cp net/mem/*.mem mem/ # without the flip it fails: the bench compares
    (cd verilog && vvp -N build/tb_$layer.vvp >../sim.log) && fail "the bench of $layer does not see that fault $id is gone"
done
[ -z "$skipped" ] || exit 77
