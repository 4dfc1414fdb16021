#!/bin/sh
# The table of doc/results.md that justifies the steps of the recipe best: SQNR of the logits and top-1 with 8-bit weights
# and activations, with 4-bit weights, and with 6 bits of both. usage: bench/steps_table.sh all|main NETWORK...
# main: the rows from minmax to best alone.
# shellcheck disable=SC2016 # backticks of Markdown
set -eu
# shellcheck source=bench/networks.sh
. "$(dirname "$0")/networks.sh"
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
rows=$1
shift

# list PASSES: separated by commas, as lines of a recipe.
list() { [ -z "$1" ] || printf '%s\n' "$1" | tr , '\n' | sed 's/^/  - /'; }
# compose BEFORE RANGES WEIGHTS: a recipe with best's first and last passes, and between them these, each list separated
# by commas: before sign-map, the ranges', the weights'.
compose() {
    "$QUERN" recipe best | sed '/check-forms/q'
    list "$1"
    [ "$2" = 'choose-ranges rule=minmax' ] || echo '  - sign-map'
    list "$2"
    list "$3"
    "$QUERN" recipe best | sed -n '/fuse-activation/,$p'
}
# row TITLE BEFORE RANGES WEIGHTS
row() {
    compose "$2" "$3" "$4" >"$scratch/recipe.yaml"
    line="| $1 |"
    for formats in 'int8 uint8' 'int4 uint8' 'int6 uint6'; do
        measure --recipe "$scratch/recipe.yaml" --weights "${formats% *}" --activations "${formats#* }"
        line="$line $sqnr / $top1 |"
    done
    echo "$line"
}
nearest='choose-weights rule=minmax' mse='choose-ranges rule=mse'
learned="$nearest,learned-rounding"
for name; do
    network "$name"
    measure_float
    printf '\n### %s\n\nFloat: top-1 %s %%.\n\n' "$name" "$top1"
    printf '| passes | int8, uint8: dB / %% | int4, uint8 | int6, uint6 |\n|---|---|---|---|\n'
    row 'least to greatest value, rounded to nearest (`minmax`)' '' 'choose-ranges rule=minmax' "$nearest"
    row 'ranges of least square error' '' "$mse" "$nearest"
    row '+ `tune-ranges`' '' "$mse,tune-ranges" "$nearest"
    row '+ `learned-rounding`: `best`' '' "$mse,tune-ranges" "$learned"
    [ "$rows" = all ] || continue
    row '`best` without `tune-ranges`' '' "$mse" "$learned"
    row '`best` with ranges from least to greatest' '' 'choose-ranges rule=minmax,tune-ranges' "$learned"
    for rule in percentile:99.99 percentile:99.9 l1 kl aciq; do
        row "\`$rule\` for the range rule, rounded to nearest" '' "choose-ranges rule=$rule" "$nearest"
        row "\`best\` with \`$rule\` for the range rule" '' "choose-ranges rule=$rule,tune-ranges" "$learned"
    done
    row '`best` with weights of least square error' '' "$mse,tune-ranges" 'choose-weights rule=mse,learned-rounding'
    row '`best` with `gptq` for `learned-rounding`' '' "$mse,tune-ranges" "$nearest,gptq"
    row '`best` with `correct-bias` for `learned-rounding`' '' "$mse,tune-ranges" "$nearest,correct-bias"
    row '`best` with `correct-bias` behind' '' "$mse,tune-ranges" "$learned,correct-bias"
    row '`learned-rounding one-run=yes`' '' "$mse,tune-ranges" "$nearest,learned-rounding one-run=yes"
    row '`learned-rounding search=no`' '' "$mse,tune-ranges" "$nearest,learned-rounding search=no"
    row '`learned-rounding target=no`' '' "$mse,tune-ranges" "$nearest,learned-rounding target=no"
    row '`learned-rounding biases=no`' '' "$mse,tune-ranges" "$nearest,learned-rounding biases=no"
    for before in equalize smooth absorb-bias; do
        row "\`$before\`, rounded to nearest" "$before" "$mse" "$nearest"
        row "\`best\` with \`$before\`" "$before" "$mse,tune-ranges" "$learned"
    done
done
