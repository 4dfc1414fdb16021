#!/bin/sh
# doc/passes.md describes every pass and recipe that the program lists, with every option, and no others.
# usage: passes_documented.sh SOURCE_DIR QUERN
set -eu
page=$1/doc/passes.md
quern=$2
wrong=0
fail() {
    echo "doc/passes.md $*"
    wrong=1
}
passes=$("$quern" recipe --passes | sed -n 's/^\([a-z][a-z0-9-]*\) .*/\1/p')
recipes=$("$quern" recipe | sed 's/ .*//')
# Headings "### `name`, `name`": what they name.
headed=$(sed -n 's/^### //p' "$page" | grep -o '`[^`]*`' | tr -d '`')
has() {
    printf '%s\n' "$1" | grep -qx -e "$2"
}
for name in $passes; do
    has "$headed" "$name" || fail "has no section on the pass $name"
    grep -q "^| \`$name\` |" "$page" || fail "has no row of the pass $name"
done
for name in $recipes; do
    grep -q "^| \`$name\` |" "$page" || fail "has no row of the recipe $name"
done
for name in $headed; do
    has "$passes" "$name" || fail "has a section on '$name', which is no pass"
done
# Options are indented "name=default (choices)"; each is named in the section of its pass.
"$quern" recipe --passes | awk '/^ / { sub(/=.*/, "", $1); print pass, $1; next } { pass = $1 }' >passes_documented.$$
while read -r pass option; do
    awk -v name="\`$pass\`" '/^#/ { inside = /^### / && index($0, name) } inside' "$page" | grep -q "\`$option[=\`]" ||
        fail "does not describe option $option of the pass $pass"
done <passes_documented.$$
rm -f passes_documented.$$
n=$(printf '%s\n' "$passes" | wc -l)
[ "$n" -gt 10 ] || fail "was compared with $n passes only: the search is wrong"
exit $wrong
