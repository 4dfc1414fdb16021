# What to harden: the budget is kept, what is left is what a run of the same faults gives, and every refusal.
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 12
make_array take "$DIGITS/test_y_u8.npy" y.npy 0 12
make_array take "$DIGITS/calib_x_u8.npy" c.npy 0 32
check 0 '' quern quantize "$DIGITS/digits.onnx" --recipe minmax --data c.npy -o q.onnx -q
check 0 '' quern inject q.onnx --data x.npy --labels y.npy --where weights,activations --bits 5-7 \
    --sample '40 per layer,bit,where' --seed 3 -o c.db -q

check 0 '' quern protect c.db --outcome sdc10 --budget 1% --groups 4
silent
expect '^[0-9]+ faults, [0-9]+ pairs; sdc10$'
expect '^as it is +[0-9.e-]+ % \(95 %: [0-9.e-]+ to [0-9.]+ %\)$'
expect '^budget +2842 of 284288 bits more, [0-9]+ spent'
expect '^where +layer +channel +bit +scheme +bits +extra +adds % +removed %$'
expect '^(weights|activations) .* 7 ecc '
expect 'groups more, of them [0-9]+ protected \(--groups 0\)$'
expect '^left .* by the faults that the choice was not made by$'

# More bits leave no more; each spends what it may.
last=1
for budget in 0 0.2% 1% 5% 100000000b; do
    check 0 '' quern protect c.db --outcome sdc10 --budget $budget --json
    number "$(json extra_bits) <= $(json budget_bits)"
    sed -n '/"left_all"/,/}/s/^ *"rate": \([^,]*\),*$/\1/p' out >left
    number "$(cat left) <= $last + 1e-15"
    last=$(cat left)
done
number "$last == 0"
check 0 '' quern protect c.db --outcome sdc10 --budget 0 --json
number "$(json n_protected) == 0"

# The same faults again come to the same; so do fresh ones, within doubt.
for how in '--by layer,bit --scheme ecc' '--by channel --scheme tmr --budget 40%' '--by bit --scheme parity --word 0 --budget 50000b'; do
    # shellcheck disable=SC2086 # several words
    check 0 '' quern protect c.db --outcome sdc10 $how --apply -j 2
    silent
    awk '$1 == "predicted" { p = $2 } $1 == "measured" { exit !($2 == p) }' out || fail "$how: $(grep -E 'predicted|measured' out)"
    expect '^ +[0-9]+ faults, [0-9]+ pairs: [0-9]+ corrected, [0-9]+ detected, 0 clamped$'
done
expect ' [1-9][0-9]* detected'
check 0 '' quern protect c.db --outcome sdc10 --apply --seed 4 --json
expect '"measured": \{'
check 0 '' quern protect c.db --outcome sdc10 --budget 0 --scheme range-clamp --by layer --interval clopper-pearson --confidence 99% --apply
expect '99 %'
expect ' range-clamp '
expect ' [1-9][0-9]* clamped$'

# Refusals.
check 2 "budget 'lots' is neither a share" quern protect c.db --budget lots
check 2 "budget '-1b' is neither a share" quern protect c.db --budget=-1b
check 2 "by 'row' is none of layer, bit and channel" quern protect c.db --by layer,row
check 2 "scheme 'raid' is none of parity, ecc, tmr, range-clamp and all" quern protect c.db --scheme raid
check 2 "outcome 'sdc2' is none of sdc1, sdc5" quern protect c.db --outcome sdc2
check 2 "of 'all' is neither weights nor targets" quern protect c.db --of all
check 2 "word '2000' is not a number from 0 to 1024" quern protect c.db --word 2000
check 2 "interval 'wald' is neither" quern protect c.db --interval wald
check 2 "confidence '20%' is not a share" quern protect c.db --confidence 20%
check 2 "seed says how to run faults again; give --apply" quern protect c.db --seed 3
check 2 "seed 'x' is not a number" quern protect c.db --apply --seed x
check 2 'CAMPAIGN.db is missing' quern protect
check 3 'absent.db' quern protect absent.db
check 3 'x.npy' quern protect x.npy
check 2 'give that model' quern protect c.db --apply --model "$DIGITS/digits.onnx"
make_array take "$DIGITS/test_x_u8.npy" other.npy 12 12
check 2 'the same data' quern protect c.db --apply --data other.npy
# No hit in a sample does not mean that there are none: the budget goes where most could have been missed.
check 0 '' quern protect c.db --outcome nonfinite --budget 1%
expect '^budget +2842 of 284288 bits more, [1-9][0-9]* spent'
