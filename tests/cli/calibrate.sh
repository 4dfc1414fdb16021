# calibrate: ranges as a file, for people and as JSON. Runs under every QUERN_CPU.
calib=$DIGITS/calib_x_u8.npy
check 0 '' quern calibrate "$DIGITS/digits.onnx" --data "$calib" -o calib.json
silent
expect '^[0-9]+ values over 256 items -> calib\.json$'
for key in quern schema model data preprocess values histogram mean variance; do
    grep -q "\"$key\"" calib.json || fail "calib.json has no \"$key\""
done
for file in "$DIGITS/digits.onnx" "$calib"; do
    grep -q "$(sha256sum "$file" | cut -d ' ' -f 1)" calib.json || fail "calib.json lacks the SHA-256 of $file"
done

# The input's range, from the pixels: (p / 255 - 0.148) / 0.198.
check 0 '' quern calibrate "$DIGITS/digits.onnx" --data "$calib" -o other.json --json
silent
same calib.json other.json
number "$(json n) == 256"
rows "$calib" u1 784 | awk '
    { for (i = 1; i <= NF; i++) { p = $i + 0; if (NR == 1 && i == 1) low = high = p; low = p < low ? p : low; high = p > high ? p : high } }
    END { printf "low=%.9f high=%.9f\n", (low / 255 - 0.148) / 0.198, (high / 255 - 0.148) / 0.198 }' >want
eval "$(cat want)"
tr -d ' \n' <out | sed 's/.*"input":{\([^}]*\)}.*/\1/; s/"//g; s/,/ /g; s/:/=/g' >got
eval "$(cat got)"
# shellcheck disable=SC2154 # both set by eval
number "$min - $low < 1e-6 && $low - $min < 1e-6 && $max - $high < 1e-6 && $high - $max < 1e-6"
number "$channels == 1"

check 0 '' quern calibrate "$DIGITS/digits.onnx" --data "$calib" -o calib.json -f -v
expect '^value +min +max +channels +outliers$'
expect '^logits '
