# The commands of the documents do what the documents show. In README.md and doc/*.md, every block
#     ```console
#     $ command
#     > its other lines
#     output
#     ```
# is run in order, in one scratch directory, and its output compared. What differs from machine to machine is left out of
# the comparison: numbers of images or pairs per second, seconds, and the line that names instruction sets. Accuracies after
# rounding by data may differ by 2 %: they come from the float network, whose last bits are the processor's.
normalize() {
    sed -E -e 's/[0-9.]+ images\/s/# images\/s/; s/ in ([0-9]+ (h|min) )*[0-9.]+ (s|min),/ in #,/; s/[0-9.]+ ([kM] )?pairs\/s/# pairs\/s/' \
        -e 's/^(images\/s) .*/\1 #/; s/[0-9.]+ s$/# s/; s/[0-9]+ threads?, [a-z0-9]+/#/; s/ +$//'
}
# alike GOT WANT: the same lines, but for numbers within 2 % where they are accuracies.
alike() {
    diff "$1" "$2" >/dev/null && return 0
    [ "$(wc -l <"$1")" = "$(wc -l <"$2")" ] || return 1
    paste -d '\n' "$2" "$1" | awk '
        NR % 2 == 1 { wanted = $0; next }
        $0 == wanted { next }
        {
            n = split(wanted, w, /[ (,]+/)
            if (wanted !~ /^(SQNR|top-1|argmax agree|int8 logits)/ || split($0, g, /[ (,]+/) != n) { exit 1 }
            for (i = 1; i <= n; i++) {
                number = g[i] ~ /^[0-9.]+$/ && w[i] ~ /^[0-9.]+$/
                if (g[i] != w[i] && (!number || g[i] - w[i] > 0.02 * w[i] || w[i] - g[i] > 0.02 * w[i])) { exit 1 }
            }
        }'
}
# Tools that commands run besides what every machine has.
lacks_tool() {
    case $1 in
    *vvp*) tool=vvp package=iverilog ;;
    *hls*check*) tool=g++ package=g++ ;;
    *) return 1 ;;
    esac
    ! command -v $tool >/dev/null || return 1
    echo "skipped: '$1'; there is no $tool (package $package)"
}
# About faults, numbers follow from ranges that come from the float network, too: counts of rare outcomes move with its last
# bits. Where these are not those of the machine that the document was written on, the words have to be the same, and every
# percentage within a quarter, or a fifth of a point, but for the ends of intervals and what is listed from the worst on.
about_faults() {
    case $1 in *manifest.json* | *model.[ch]* | *vvp*) return 0 ;; esac # scales of activations, and what follows from them
    case $1 in *"quern demo"* | *"quern inject"* | *"quern show"* | *"quern replay"* | *"quern protect"*) return 0 ;; esac
    return 1
}
similar() {
    shape='s/[0-9][^ ]*/#/g; s/ +/ /g'
    sed -E "$shape" "$1" >block.shape
    sed -E "$shape" "$2" | diff -q block.shape - >/dev/null || return 1
    paste -d '\n' "$2" "$1" | awk '
        NR % 2 == 1 { wanted = $0; next }
        {
            n = split(wanted, w, / +/)
            split($0, g, / +/)
            for (i = 2; i <= n; i++) {
                if (w[i] != "%" || w[i - 2] == "..") { continue }
                apart = g[i - 1] > w[i - 1] ? g[i - 1] - w[i - 1] : w[i - 1] - g[i - 1]
                if (apart > 0.2 && apart > 0.25 * w[i - 1]) { exit 1 }
            }
        }'
}
cp -r "$SOURCE_DIR/examples" .
ran=0
for document in "$SOURCE_DIR"/README.md "$SOURCE_DIR"/doc/*.md; do
    awk -v prefix="block" '
        /^```console$/ { inside = 1; next }
        /^```$/ { inside = more = 0; next }
        inside && /^\$ / { n++; print substr($0, 3) > (prefix "." n ".cmd"); printf "" > (prefix "." n ".want"); more = 1; next }
        inside && more && /^> / { print substr($0, 3) > (prefix "." n ".cmd"); next }
        { more = 0 }
        inside { print > (prefix "." n ".want") }
    ' "$document"
    n=1
    while [ -f "block.$n.cmd" ]; do
        command=$(cat "block.$n.cmd")
        if lacks_tool "$command"; then
            n=$((n + 1))
            continue
        fi
        sh -c "$command" >block.got 2>&1 || true
        normalize <block.got >block.a
        normalize <"block.$n.want" >block.b
        if ! alike block.a block.b && ! { about_faults "$command" && similar block.a block.b; }; then
            diff -u block.b block.a >block.diff || true
            fail "$(basename "$document"): '$command' prints something else:"
            cat block.diff
        fi
        n=$((n + 1))
        ran=$((ran + 1))
    done
    rm -f block.*
done
[ "$ran" -gt 0 ] || fail "no document shows a command"
