#!/bin/sh
# The tables of number formats in doc/results.md: SQNR of the logits and top-1 with the weights alone in a format, and with
# weights and activations in it, ranges from least to greatest value, rounded to nearest.
# usage: bench/format_table.sh NETWORK...
set -eu
# shellcheck source=bench/networks.sh
. "$(dirname "$0")/networks.sh"
[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }

# cells FORMAT ACTIVATIONS: of a sweep's file, "dB / %" of the row, with thanks to its one field a line.
cells() {
    awk -v weights="\"$1\"," -v activations="\"$2\"," '
        $1 == "\"weights\":" { mine = $2 == weights }
        $1 == "\"activations\":" { mine = mine && $2 == activations }
        $1 == "\"top1\":" && mine { top1 = 100 * $2 }
        $1 == "\"sqnr_db\":" && mine { printf "%.2f / %.2f", $2, top1 }' "$scratch/sweep.json"
}
# row PER FORMAT: activations of an integer format are affine and unsigned.
row() {
    case $2 in int*) activations=u$2 ;; *) activations=$2 ;; esac
    # shellcheck disable=SC2086 # preprocessing is several words
    "$QUERN" sweep "$model" --data "$calib" --eval-data "$data" --labels "$labels" $pre -q -f -j "$JOBS" --recipes minmax \
        --per "$1" --weights "$2" --activations "float,$activations" -o "$scratch/sweep.json" >/dev/null
    echo "| \`$2\` | $1 | $(cells "$2" float) | $(cells "$2" "$activations") |"
}
for name; do
    network "$name"
    measure_float
    printf '\n### %s\n\nFloat: top-1 %s %%.\n\n' "$name" "$top1"
    printf '| format | per | weights: dB / %% | weights and activations |\n|---|---|---|---|\n'
    for bits in 8 6 5 4; do
        row channel "int$bits"
        row tensor "int$bits"
        case $bits in
        8) formats='adaptivfloat<8,4> adaptivfloat<8,3> fp8e4m3 fp8e5m2 mx<fp8e4m3> mx<fp8e5m2> mx<int8>' ;;
        6) formats='adaptivfloat<6,3> adaptivfloat<6,2> fp6e3m2 fp6e2m3 mx<fp6e3m2> mx<fp6e2m3>' ;;
        5) formats='adaptivfloat<5,3> adaptivfloat<5,2>' ;;
        4) formats='adaptivfloat<4,3> adaptivfloat<4,2> fp4e2m1 mx<fp4e2m1>' ;;
        esac
        for format in $formats "bfp<$bits,16>" "posit<$bits,1>"; do
            row tensor "$format"
        done
    done
done
