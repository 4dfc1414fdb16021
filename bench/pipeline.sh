#!/bin/sh
# Two stages on two processors against one stage, in alternation. usage: pipeline.sh QUERN MODEL DATA PLAN [ROUNDS]
# The plan has two stages. Prints items/s of both in each round, their ratio, and what share that is of the bound that the
# stages' own work sets: one stage's seconds over those of the slower of the two (decode, compute, encode). Last, the best
# round of each: on a machine that others use, the one to go by.
set -eu
quern=$1 model=$2 data=$3 plan=$4 rounds=${5:-5}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
microbatch=$(sed -n 's/^microbatch: *//p' "$plan")
value() {
    awk -v key="\"$1\":" '$1 == key { sub(/,$/, "", $2); print $2 }' "$2"
}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
round=1
while [ "$round" -le "$rounds" ]; do
    mpirun -n 1 "$quern" pipeline "$model" --stages 1 --microbatch "${microbatch:-8}" --data "$data" --json >"$out/one"
    mpirun -n 2 "$quern" pipeline "$model" --plan "$plan" --data "$data" --json >"$out/two"
    for run in one two; do
        for key in seconds decode_seconds compute_seconds encode_seconds n; do
            value $key "$out/$run" | sed "s/^/$run $key /"
        done
    done | tee "$out/$round" | awk -v round="$round" '
        $2 == "n" && !n { n = $3 }
        $2 == "seconds" { whole[$1] = $3 }
        $2 ~ /_seconds$/ { stage = seen[$1, $2]++; work[$1, stage] += $3 }
        END {
            slower = work["two", 0] > work["two", 1] ? work["two", 0] : work["two", 1]
            ratio = whole["one"] / whole["two"]
            bound = whole["one"] / slower
            printf "round %d: %.0f items/s, two stages %.0f: %.2f times; their work allows %.2f, of which this is %.0f %%\n",
                round, n / whole["one"], n / whole["two"], ratio, bound, 100 * ratio / bound
        }'
    round=$((round + 1))
done
cat "$out"/[0-9]* | awk '
    $2 == "n" { n = $3 }
    $2 == "seconds" { if (!($1 in best) || $3 < best[$1]) { best[$1] = $3 } }
    END { printf "best: %.0f items/s, two stages %.0f: %.2f times\n", n / best["one"], n / best["two"], best["one"] / best["two"] }'
