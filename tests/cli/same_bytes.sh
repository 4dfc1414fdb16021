# Integer logits are the same bytes on every QUERN_CPU level, batch size and number of threads.
make_array take "$DIGITS/test_x_u8.npy" x.npy 500 37
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" -o q.onnx
check 0 '' env QUERN_CPU=reference quern eval q.onnx --data x.npy -j 1 --batch 1 --logits want.npy

check 0 '' env QUERN_CPU=amx quern eval q.onnx --data x.npy --json
best=$(json cpu)
above=0
for level in reference avx2 avx512 vnni amx; do
    for setting in '-j 1 --batch 1' '-j 2 --batch 3' '-j 1 --batch 8' '-j 3 --batch 37'; do
        # shellcheck disable=SC2086 # several words
        check 0 '' env QUERN_CPU=$level quern eval q.onnx --data x.npy $setting --logits got.npy -f --json
        same want.npy got.npy
    done
    # A level above the machine's falls to the best there is, and says so unless told to be quiet.
    if [ "$above" = 1 ]; then
        [ "$(json cpu)" = "$best" ] || fail "QUERN_CPU=$level ran '$(json cpu)', not '$best'"
        number "$(wc -l <err) == 1"
        grep -q "note: QUERN_CPU .*using $best" err || fail "no note about QUERN_CPU=$level: $(cat err)"
        check 0 '' env QUERN_CPU=$level quern eval q.onnx --data x.npy -q
        silent
    else
        silent
        [ "$(json cpu)" = "$level" ] || fail "QUERN_CPU=$level ran '$(json cpu)'"
    fi
    [ "$level" != "$best" ] || above=1
done
[ "$best" != amx ] || echo "skipped: levels above the machine's; this one has them all"
check 0 '' env QUERN_CPU= quern eval q.onnx --data x.npy --json
[ "$(json cpu)" = "$best" ] || fail "an empty QUERN_CPU ran '$(json cpu)', not '$best'"
check 2 "unknown value 'AVX2'" env QUERN_CPU=AVX2 quern eval q.onnx --data x.npy

# So are calibrations and quantized files made with other numbers of threads.
for jobs in 1 2 3; do
    check 0 '' quern calibrate "$DIGITS/digits.onnx" --data x.npy -j $jobs -o c$jobs.json
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data x.npy -j $jobs -o q$jobs.onnx
    same c1.json c$jobs.json
    same q1.onnx q$jobs.onnx
done
