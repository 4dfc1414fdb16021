#!/bin/sh
# The tables of fault campaigns in doc/results.md. usage: bench/fault_tables.sh [bits|places|protect...]
#   bits     kws_dscnn int8, all weight bits, 50 inputs: layer x bit
#   places   resnet8_cifar10 int8, a sample of every place that has codes: layer x place
#   protect  what ECC buys for weights and biases of resnet8_cifar10, chosen by one sample and tried by another
# OUT is a folder for the stores (default: a scratch one, removed), from which an interrupted campaign goes on.
set -eu
# shellcheck source=bench/networks.sh
. "$(dirname "$0")/networks.sh"
[ $# -gt 0 ] || set -- bits places protect
OUT=${OUT:-$scratch}
IMAGES=${IMAGES:-50}

# campaign STORE OPTIONS: runs one on $OUT/q.onnx with the data set last, and shows the whole of it.
campaign() {
    store=$OUT/$1
    shift
    "$QUERN" inject "$OUT/$quantized" --data "$data" --labels "$labels" --images "$IMAGES" -j "$JOBS" -q "$@" -o "$store"
}
# quantize NAME RECIPE: sets quantized. Quantizing is repeatable, so that a store fits what is made anew.
quantize() {
    network "$1"
    quantized=$1-$2.onnx
    # shellcheck disable=SC2086 # preprocessing is several words
    "$QUERN" quantize "$model" --data "$calib" $pre --recipe "$2" -q -f -j "$JOBS" -o "$OUT/$quantized"
}
# columns KEY: 'show --csv' on standard input as lines "layer key field..." of the fields that are named.
columns() {
    awk -F, -v names="$*" 'NR == 1 { n = split(names, want, " "); for (i = 1; i <= NF; i++) at[$i] = i; next }
        { for (i = 1; i <= n; i++) printf "%s%s", $at[want[i]], i < n ? " " : "\n" }'
}
bits() {
    quantize kws_dscnn minmax
    campaign bits.db --where weights --sample all
    printf '\n| layer | faults |'
    for bit in 7 6 5 4 3 2 1 0; do printf ' bit %d |' $bit; done
    printf ' all |\n|---|---|---|---|---|---|---|---|---|---|---|\n'
    "$QUERN" show "$OUT/bits.db" --by layer,bit --csv | columns layer bit faults pairs sdc1 masked | awk '
        function cell(s, m, p) { return sprintf(" %.4f / %.1f |", 100 * s / p, 100 * m / p) }
        function row(name, key,   line, b) {
            line = "| " name " | " faults[key] " |"
            for (b = 7; b >= 0; b--) line = line cell(s[key, b], m[key, b], p[key, b])
            print line cell(s[key], m[key], p[key])
        }
        function add(key, b) {
            s[key, b] += $5; m[key, b] += $6; p[key, b] += $4; s[key] += $5; m[key] += $6; p[key] += $4; faults[key] += $3
        }
        !($1 in faults) { order[++n] = $1 }
        { add($1, $2); add("all layers", $2) }
        END { for (i = 1; i <= n; i++) row(order[i], order[i]); row("all layers", "all layers") }'
}
places() {
    quantize resnet8_cifar10 best
    cat >"$OUT/places.yaml" <<'END'
faults:
  - {name: memory, where: [weights, biases], sample: "300 per where,layer"}
  - {name: data path, where: [inputs, activations, accumulators, partial-sums, products], sample: "1500 per where,layer"}
  - {name: parameters, where: [scales, zero-points], sample: "60 per where,layer"}
END
    campaign places.db --spec "$OUT/places.yaml"
    "$QUERN" show "$OUT/places.db" --by layer,where --csv | columns layer where faults sdc1_rate sdc1_low sdc1_high | awk '
        !($1 in seen) { order[++n] = $1; seen[$1] = 1 }
        { cell[$1, $2] = sprintf("%.2f (%.2f to %.2f)", 100 * $4, 100 * $5, 100 * $6) }
        END {
            k = split("weights biases activations accumulators partial-sums products scales zero-points", place, " ")
            line = "\n| layer |"; rule = "|---|"
            for (i = 1; i <= k; i++) { line = line " " place[i] " |"; rule = rule "---|" }
            print line; print rule
            for (j = 1; j <= n; j++) {
                line = "| " order[j] " |"
                for (i = 1; i <= k; i++) {
                    at = order[j] SUBSEP place[i]
                    line = line " " (at in cell ? cell[at] : (order[j] SUBSEP "inputs") in cell && place[i] == "activations" ? \
                        cell[order[j], "inputs"] : "") " |"
                }
                print line
            }
        }'
}
protect() {
    quantize resnet8_cifar10 best
    cat >"$OUT/protect.yaml" <<'END'
faults:
  - {name: weights, where: weights, sample: "60 per layer,bit"}
  - {name: biases, where: biases, sample: "16 per layer,bit"}
END
    campaign protect.db --spec "$OUT/protect.yaml"
    for budget in 0.1% 0.5% 1% 5%; do
        printf '\n--budget %s\n' "$budget"
        "$QUERN" protect "$OUT/protect.db" --budget "$budget" --groups 6 -j "$JOBS"
    done
    printf '\n--budget 0.5%%, other faults\n'
    "$QUERN" protect "$OUT/protect.db" --budget 0.5% --groups 0 --apply --seed 1 -j "$JOBS" | tail -n 4
}
for table; do
    case $table in
    bits | places | protect) "$table" ;;
    *) echo "$0: table '$table' can be one of: bits places protect" >&2; exit 2 ;;
    esac
done
