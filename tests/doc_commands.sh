# The commands of the documents do what the documents show. In README.md and doc/*.md, every block
#     ```console
#     $ command
#     output
#     ```
# is run in order, in one scratch directory, and its output compared. What differs from machine to machine is left out of
# the comparison: numbers of images per second, seconds, and the line that names instruction sets.
normalize() {
    sed -E 's/[0-9.]+ images\/s/# images\/s/; s/^(images\/s) .*/\1 #/; s/[0-9.]+ s$/# s/; s/[0-9]+ threads?, [a-z0-9]+/#/; s/ +$//'
}
cp -r "$SOURCE_DIR/examples" .
ran=0
for document in "$SOURCE_DIR"/README.md "$SOURCE_DIR"/doc/*.md; do
    awk -v prefix="block" '
        /^```console$/ { inside = 1; next }
        /^```$/ { inside = 0; next }
        inside && /^\$ / { n++; print substr($0, 3) > (prefix "." n ".cmd"); printf "" > (prefix "." n ".want"); next }
        inside { print > (prefix "." n ".want") }
    ' "$document"
    n=1
    while [ -f "block.$n.cmd" ]; do
        command=$(cat "block.$n.cmd")
        sh -c "$command" >block.got 2>&1 || true
        normalize <block.got >block.a
        normalize <"block.$n.want" >block.b
        if ! diff -u block.b block.a >block.diff; then
            fail "$(basename "$document"): '$command' prints something else:"
            cat block.diff
        fi
        n=$((n + 1))
        ran=$((ran + 1))
    done
    rm -f block.*
done
[ "$ran" -gt 0 ] || fail "no document shows a command"
