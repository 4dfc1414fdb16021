# Outputs: never overwritten unasked, whole or not at all.
make_model in-order m.onnx
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 40
check 0 '' quern calibrate m.onnx --data x.npy -o calib.json

calibrate() { quern calibrate m.onnx --data x.npy -o "$@"; }
quantize() { quern quantize m.onnx --recipe minmax --calibration calib.json -o "$@"; }
quantize_report() { quern quantize m.onnx --calibration calib.json -f -o with-report.onnx --report "$@"; }
evaluate() { quern eval m.onnx --data x.npy --logits "$@"; }

for write in calibrate quantize evaluate; do
    echo precious >"$write.file"
    cp "$write.file" precious
    check 2 "$write\\.file: already exists; use -f to overwrite it" $write "$write.file"
    same precious "$write.file"
    check 0 '' $write "$write.file" -f
    number "$(wc -c <"$write.file") > 100"
    check 0 '' $write fresh.file
    same fresh.file "$write.file"
    rm fresh.file
done
for write in calibrate quantize quantize_report evaluate; do
    check 3 'no-such-folder/file' $write no-such-folder/file
    mkdir folder
    check 3 'folder: is a directory' $write folder
    check 3 'folder: is a directory' $write folder -f
    rmdir folder
    check 3 '(null|zero).*is not a regular file' $write /dev/zero -f
    check 3 '(folder/|is a directory|Not a directory|cannot create)' $write x.npy/file
done
[ ! -e no-such-folder ] || fail "a folder was made"
# An output that cannot be made is refused before anything is read.
check 3 'no-such-folder/file: cannot create: No such file' quern calibrate no-model --data no-data -o no-such-folder/file
check 3 'x\.npy/file: cannot create: Not a directory' quern quantize no-model --data no-data -o x.npy/file
echo precious >report.json
check 2 'report\.json: already exists' quern quantize m.onnx --calibration calib.json -o new.onnx --report report.json
[ ! -e new.onnx ] || fail "quantize wrote the model though it could not write the report"

# A link is something, even to nothing; no name is no file.
ln -s nowhere link
for write in calibrate quantize evaluate; do
    check 2 'link: already exists' $write link
    [ -L link ] || fail "$write replaced a link unasked"
    ln -s precious to-file
    cp precious before
    check 0 '' $write to-file -f
    [ ! -L to-file ] || fail "$write -f wrote through a link"
    same before precious
    rm to-file
    check 2 "'': is not the name of a file" $write ''
done
rm link

# The longest name a file can have, and names that are no text: records keep what is ASCII.
longest=$(printf 'n%.0s' $(seq 255))
strange=$(printf 'caf\351')
cp m.onnx "$strange.onnx"
cp x.npy "$strange.npy"
for write in calibrate quantize evaluate; do
    check 0 '' $write "$longest"
    rm "$longest"
done
check 0 '' quern calibrate "$strange.onnx" --data "$strange.npy" -o "$strange.json"
grep -q '"caf?\.onnx"' "$strange.json" || fail "the calibration does not name its model"
check 0 '' quern quantize "$strange.onnx" --calibration "$strange.json" -o "$strange.q" --report report --json
grep -q '"caf?\.onnx"' report || fail "the report does not name its model"
rm report

# A folder that may not be written to (root may write everywhere).
if [ "$(id -u)" != 0 ]; then
    mkdir locked
    chmod 555 locked
    for write in calibrate quantize quantize_report evaluate; do
        check 3 'locked/file: cannot create: Permission denied' $write locked/file
    done
    chmod 755 locked
else
    echo "skipped: a folder without write permission; root may write everywhere"
fi

# A disk that is full half-way: a limit on the size of files stands for it.
limited() {
    (
        trap '' XFSZ
        ulimit -f 8
        "$@"
    )
}
make_array convert "$DIGITS/test_x_u8.npy" big.npy '|u1' c
evaluate_big() { quern eval m.onnx --data big.npy --logits "$@"; }
for write in quantize evaluate_big; do
    check 3 'full\.file: cannot (write|finish writing): File too large' limited $write full.file
    [ ! -e full.file ] || fail "$write left a half-written file"
    echo precious >full.file
    check 3 'full\.file: cannot (write|finish writing): File too large' limited $write full.file -f
    same precious full.file
    rm full.file
done

# Interrupted, it stops at once, says so and leaves nothing. The reference kernels need longer than a second for this.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data x.npy -o q.onnx
for signal in INT TERM; do
    check 1 'stopped on request' timeout --foreground --preserve-status -s $signal 1 env QUERN_CPU=reference \
        quern eval q.onnx --data "$DIGITS/test_x_u8.npy" -j 1 --logits interrupted.npy
    [ ! -e interrupted.npy ] || fail "an interrupted command wrote its output"
    ! ls interrupted.npy.tmp* 2>/dev/null || fail "$signal leaves a file"
done

# One file for two outputs is a mistake.
check 2 'same.file' quern quantize m.onnx --calibration calib.json -o same.file --report same.file
check 2 'same.file' quern quantize m.onnx --calibration calib.json -f -o same.file --report same.file
