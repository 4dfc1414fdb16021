#!/bin/sh
# What the documents point to is there: relative links, and files named in backticks. usage: doc_links.sh SOURCE_DIR
set -eu
cd "$1"
git ls-files >/dev/null 2>&1 && documents=$(git ls-files '*.md') || documents=$(find . -name '*.md' -not -path './build/*')
wrong=0
checked=0
# points_to DOCUMENT TARGET: TARGET is a file or folder, seen from the document or from the root.
points_to() {
    checked=$((checked + 1))
    [ -e "$(dirname "$1")/$2" ] || [ -e "$2" ] || {
        echo "$1 points to '$2', which is not there"
        wrong=1
    }
}
for document in $documents; do
    for target in $(grep -oE '\]\([^) ]+\)' "$document" | sed -E 's/^\]\(//; s/\)$//; s/#.*//' | grep -vE '^(https?:|mailto:|$)'); do
        points_to "$document" "$target"
    done
    # `doc/spec/arithmetic.md`, `src/base/` and the like; patterns and names of things to come have * < { or upper case.
    for target in $(grep -oE '`(bench|cmake|doc|examples|include|src|tests)/[a-z0-9_./-]*`' "$document" | tr -d '`'); do
        points_to "$document" "$target"
    done
done
[ "$checked" -gt 10 ] || {
    echo "only $checked links found: the search is wrong"
    exit 1
}
exit $wrong
