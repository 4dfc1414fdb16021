# What to harden: the budget is kept, what is left is what a run of the same faults gives, and every refusal.
make_array take "$DIGITS/test_x_u8.npy" x.npy 0 12
make_array take "$DIGITS/test_y_u8.npy" y.npy 0 12
make_array take "$DIGITS/calib_x_u8.npy" c.npy 0 32
check 0 '' quern quantize "$DIGITS/digits.onnx" --recipe minmax --data c.npy -o q.onnx -q
check 0 '' quern inject q.onnx --data x.npy --labels y.npy --where weights,activations --bits 5-7 \
    --sample '40 per layer,bit,where' --seed 3 -o c.db -q

check 0 '' quern protect c.db --outcome sdc10 --budget 1% --groups 4
silent
expect '^[0-9]+ faults, [0-9]+ pairs; outcome SDC-10%$'
expect '^as it is +[0-9.e-]+ % \(95 %: [0-9.e-]+ \.\. [0-9.]+ %\)$'
expect '^budget +2842 of 284288 bits more, [0-9]+ spent'
expect '^where +layer +channel +bit +scheme +bits +extra +hits +SDC % +removed %$'
expect '^(weights|activations) .* 7 ecc '
expect 'groups more, of them [0-9]+ protected \(--groups 0\)$'
expect '^left .*, resting on [0-9]+ of [0-9]+ faults: those that the choice was not made by'
expect '^left, all .* by all faults, also those that the choice was made by$'
! grep -q '^no help' out || fail "a scheme helps against every fault, but: $(grep '^no help' out)"
if command -v sqlite3 >/dev/null; then # hits of a row are those of the faults that choose
    check 0 '' quern protect c.db --outcome sdc10 --by bit --scheme tmr --groups 0
    sqlite3 -readonly -separator ' ' c.db "SELECT t.place, s.bit, sum(f.sdc10) FROM faults f
        JOIN strata s ON s.id = f.stratum JOIN targets t ON t.id = f.target
        WHERE f.draw % 2 = 0 OR (SELECT count(*) FROM faults g WHERE g.stratum = s.id) >= s.population
        GROUP BY 1, 2" | LC_ALL=C sort >want
    awk '$1 == "weights" || $1 == "activations" { print $1, $4, $8 }' out | LC_ALL=C sort >got
    [ -s want ] && cmp -s want got || fail "hits are $(tr '\n' ';' <got), in the store $(tr '\n' ';' <want)"
else
    echo "skipped: hits against rows of the store; sqlite3 is not there"
fi

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

# Where nothing can be hardened, the reasons are told.
cat >beyond.yaml <<'END'
seed: 5
faults:
  - where: [products, partial-sums]
    sample: 30
  - where: weights
    pattern: count 3
    sample: 20
  - where: weights
    model: flip
    n-bits: 3
    sample: 10
END
check 0 '' quern inject q.onnx --data x.npy --images 2 --spec beyond.yaml -o beyond.db -q
check 0 '' quern protect beyond.db
expect '^budget .*: 0 of [0-9]+ groups$'
expect '^no help +30 of 60 faults strike products or partial sums, which are in no memory$'
expect '^ +20 of 60 faults change several codes at once, which no scheme is made for$'
expect '^ +10 of 60 faults change several bits of a code, so they are in no group of one bit \(--by layer\)$'
check 0 '' quern protect beyond.db --by layer
expect '^ +10 of 60 faults are none that the schemes given correct, detect or clamp \(--scheme all\)$'
check 0 '' quern protect beyond.db --by layer --scheme tmr --json
number "$(json n_unmet) == 0 && $(json n_wide) == 0 && $(json n_several) == 20 && $(json n_fleeting) == 30"
