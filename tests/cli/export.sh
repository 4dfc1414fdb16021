# Export and verify: whole or not at all, the same bytes again, and every change told.
make_array take "$DIGITS/calib_x_u8.npy" calib.npy 0 64
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 40
check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax -o q.onnx
check 0 '' quern export q.onnx --to npz --vectors x.npy -o net
silent
expect '^directory +net$'
expect '^vectors +16$'
expect '^targets +manifest npz$'
check 0 '' quern verify net
silent
expect '^vectors +16$'
expect '^differences +none'

# JSON, limits, targets.
check 0 '' quern export q.onnx --vectors x.npy --limit 3 -o three --json
[ "$(json vectors)" = 3 ] || fail "vectors are '$(json vectors)'"
[ "$(json directory)" = three ] || fail "directory is '$(json directory)'"
[ ! -e three/npz ] || fail "npz was written unasked"
check 0 '' quern verify three --json
number "$(json differences) == 0"
number "$(json vectors) == 3"
check 0 '' quern export q.onnx --vectors x.npy --limit 0 -o all
expect '^vectors +40$'
check 0 '' quern export q.onnx -o none
[ ! -e none/vectors ] || fail "vectors were written unasked"
expect '^vectors +0$'
check 0 '' quern verify none
expect '^vectors +0$'

# The same bytes: again, from another place, by another way, with any number of threads and CPU.
mkdir elsewhere
cp q.onnx x.npy elsewhere
check 0 '' sh -c 'cd elsewhere && quern export ./q.onnx --to npz --vectors ../x.npy -j 1 -o deep'
check 0 '' env QUERN_CPU=reference quern export "$PWD/elsewhere/q.onnx" --to npz,manifest --vectors x.npy -j 3 --limit 16 -o again
diff -r net elsewhere/deep >differ 2>&1 || fail "from another place: $(head -c 300 differ)"
diff -r net again >differ 2>&1 || fail "on another CPU: $(head -c 300 differ)"
grep -rl -e "$PWD" -e elsewhere net >found && fail "paths in $(cat found)"
same q.onnx net/model.onnx # quern wrote it: writing it again gives the same

# Preprocessing is the model's; a contradiction is told.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --scale 1/255 --recipe minmax -o scaled.onnx
check 0 '' quern export scaled.onnx --vectors x.npy -o scaled
rows scaled/vectors/in_input_floats.npy f4 4 >numbers
[ "$(awk '{ for (i = 1; i <= NF; i++) if ($i > m) m = $i } END { print (m > 0 && m < 9) }' numbers)" = 1 ] ||
    fail "inputs are not scaled: $(head -n 3 numbers)"
check 2 'scale' quern export scaled.onnx --vectors x.npy --scale 2 -o contradicts
check 0 '' quern verify scaled

# Refusals: one line, nothing written.
refused() {
    code=$1 pattern=$2
    shift 2
    check "$code" "$pattern" "$@" -o refused
    [ ! -e refused ] || fail "'$*' left a directory"
}
refused 2 "digits.onnx: is a float network.*quern quantize" quern export "$DIGITS/digits.onnx"
refused 2 "'vhdl' is no target of an export; there are manifest, npz, c, hls, mem, verilog and onnx" quern export q.onnx --to vhdl
refused 2 "'' is no target" quern export q.onnx --to npz,
refused 2 "limit '-1' is not a number" quern export q.onnx --vectors x.npy --limit -1
refused 2 "limit says how many" quern export q.onnx --limit 3
refused 2 "cmsis-nn is for target c" quern export q.onnx --cmsis-nn
refused 2 "go together; --ids is missing" quern export q.onnx --faulty c.db
refused 2 "go together; --faulty is missing" quern export q.onnx --ids 1,2
refused 2 "ids '1,,2' is no list" quern export q.onnx --faulty c.db --ids 1,,2
refused 3 "no-such-file.onnx" quern export no-such-file.onnx
refused 3 "no-such-file.npy" quern export q.onnx --vectors no-such-file.npy
check 2 'is missing; usage: quern export' quern export q.onnx
npy '|u1' '4, 5' </dev/null >short.npy
refused 3 "short.npy" quern export q.onnx --vectors short.npy
make_array take "$DIGITS/test_x_u8.npy" empty.npy 0 0
refused 2 "empty.npy: has no items" quern export q.onnx --vectors empty.npy
npy '<f4' '2, 5' <<END >five.npy
0123456789012345678901234567890123456789
END
head -c $((128 + 40)) five.npy >cut && mv cut five.npy
refused 3 "has items of 5 elements; input 'input' of q.onnx takes 784" quern export q.onnx --vectors five.npy

# Layers in float are listed, with the reason; targets for integers refuse them elsewhere.
make_model islands islands.onnx
check 0 '' quern export islands.onnx --to npz --vectors x.npy -o islands
grep -q '"kind": "float layer"' islands/manifest.json || fail "no float layer in the manifest"
grep -q '"reason": "[a-z]' islands/manifest.json || fail "no reason of a float layer"
check 0 '' quern verify islands

# Existing things: never unasked, and only what an export made.
check 2 'net: already exists; use -f to overwrite it' quern export q.onnx -o net
check 0 '' quern verify net
check 0 '' quern export q.onnx -o net -f
[ ! -e net/npz ] || fail "-f kept what was there"
check 0 '' quern verify net
echo precious >net/notes
check 2 'net: holds notes, which no export wrote, and is not replaced; move that away' quern export q.onnx -o net -f
[ "$(cat net/notes)" = precious ] || fail "-f took a file that no export wrote"
rm net/notes
mkdir mine
echo precious >mine/file
check 2 'mine: holds no manifest.json: it was not made by a former run' quern export q.onnx -o mine -f
[ "$(cat mine/file)" = precious ] || fail "-f replaced a directory that no export made"
echo precious >file
check 2 'file: is not a directory' quern export q.onnx -o file -f
[ "$(cat file)" = precious ] || fail "-f replaced a file"
mkdir site
echo '{"name": "a web page"}' >site/manifest.json
check 2 'site: holds a manifest.json that no export wrote' quern export q.onnx -o site -f
[ -e site/manifest.json ] || fail "-f replaced a directory with somebody else's manifest"
mkdir bare
check 0 '' quern export q.onnx -o bare -f # an empty one is nobody's
check 3 'no-such-folder/out: cannot create' quern export q.onnx -o no-such-folder/out
check 3 'file/out: cannot create' quern export q.onnx -o file/out
check 2 "'': is not the name of a directory" quern export q.onnx -o ''
check 2 'cannot be replaced as a whole' quern export q.onnx -o . -f

# A full disk and a folder that cannot be written: told, and nothing stays.
check 3 'cannot (write|finish)|File too large|cannot' sh -c 'ulimit -f 8; quern export q.onnx --to npz -o full'
[ ! -e full ] || fail "something of a failed export stayed"
cp -r net before
check 3 '' sh -c 'ulimit -f 8; quern export q.onnx --to npz -o net -f'
diff -r before net >differ 2>&1 || fail "a failed export changed the former one: $(head -c 300 differ)"
mkdir locked
chmod a-w locked
if [ -w locked ]; then
    echo "skipped: unwritable folders; this user writes everywhere"
else
    check 3 'locked/out: cannot create' quern export q.onnx -o locked/out
fi

# What was changed is told on standard output, with exit code 4.
differs() {
    pattern=$1
    shift
    code=0
    quern verify again "$@" >out.txt 2>err || code=$?
    [ "$code" = 4 ] || fail "verify of a changed export: exit $code, $(head -c 300 err)"
    [ ! -s err ] || fail "verify talked: $(head -c 300 err)"
    grep -qE -- "$pattern" out.txt || fail "'$pattern' is not told: $(head -c 600 out.txt)"
}
cp -r again intact
weights=$(cd again && find npz -name 'w_*.bin' | sort | head -n 1)
cp "again/$weights" kept
printf '\125' | dd of="again/$weights" bs=1 seek=7 conv=notrunc 2>/dev/null
differs "^$weights: '[^']+'\\[[0-9, ]+\\]: is 85, should be -?[0-9]+\$"
differs '"differences": 1' --json
cp kept "again/$weights"
sed -i 's/"zero_points": \[0\]/"zero_points": [1]/' again/manifest.json
differs "^manifest.json: tensors\\[[0-9]+\\].zero_points\\[0\\], of tensor '[^']+': is 1, should be 0\$"
cp intact/manifest.json again
echo >>again/manifest.json
differs '^manifest.json \(the same content, written otherwise\)'
cp intact/manifest.json again
sed -i 's/"name": "q.onnx"/"name": "r.onnx"/' again/manifest.json
differs '^manifest.json: digest does not fit'
cp intact/manifest.json again
touch again/new
differs '^new: is not listed in the manifest$'
rm again/new "again/$weights"
differs "^$weights: is missing\$"
cp kept "again/$weights"
check 0 '' quern verify again
ln -s "$PWD/file" again/link
differs '^link: is a symbolic link'
rm again/link
check 0 '' quern verify again

check 3 'nowhere: cannot be opened as a directory' quern verify nowhere
check 3 'q.onnx: cannot be opened as a directory' quern verify q.onnx
check 3 'mine: holds no manifest.json' quern verify mine
check 2 'DIR is missing; usage: quern verify' quern verify
echo '{' >again/manifest.json
check 3 'again: manifest.json: line ' quern verify again

# Files of every target: a bit of one is told with its name.
check 0 '' quern quantize "$DIGITS/digits.onnx" --data calib.npy --recipe minmax --profile tflite -q -o every.onnx
check 0 '' quern export every.onnx --to npz,c,hls,mem,verilog --vectors x.npy --limit 2 -o every
check 0 '' quern verify every
(cd every && find . -type f -size +0 ! -name manifest.json) | sed 's,^\./,,' | sort | awk 'NR % 17 == 0' >files
number "$(wc -l <files) > 15"
while read -r file; do
    cp "every/$file" kept
    at=$(($(wc -c <kept) * 2 / 3))
    byte=$(od -An -t u1 -j $at -N 1 kept | tr -d ' ')
    # shellcheck disable=SC2059 # an octal escape
    printf "\\$(printf %o $((byte ^ 1)))" | dd of="every/$file" bs=1 seek=$at conv=notrunc 2>/dev/null
    code=0
    quern verify every >told 2>err || code=$?
    [ "$code" = 4 ] || fail "a changed $file: exit $code, $(head -c 300 err)"
    grep -q "^$file: " told || fail "a changed $file is not told: $(head -c 300 told)"
    cp kept "every/$file"
done <files
check 0 '' quern verify every
