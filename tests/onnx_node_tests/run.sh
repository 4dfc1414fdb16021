#!/bin/sh
# Run ONNX's operator tests through an engine, or write or check doc/operators.md.
# usage: run.sh PROGRAM CACHE_DIR float|integer
#        run.sh PROGRAM CACHE_DIR document OPERATOR_FACTS SOURCE_DIR write|check
# They are generated once, by generate.py with Debian's python3-onnx; without it the test is skipped (exit 77).
set -eu
program=$1 cache=$2 what=$3
shift 3
here=$(dirname "$0")
python=/usr/bin/python3
if [ ! "$cache/complete" -nt "$here/generate.py" ]; then
    if ! "$python" -c 'import onnx' 2>/dev/null; then
        echo "skipped: needs $python with the package python3-onnx"
        exit 77
    fi
    rm -rf "$cache"
    mkdir -p "$cache"
    "$python" "$here/generate.py" "$cache" >"$cache/log" 2>&1 || { cat "$cache/log"; exit 1; }
    touch "$cache/complete"
fi
if [ "$what" = document ]; then
    exec "$python" "$here/operators.py" "$program" "$cache/node" "$@"
fi
failed=0
for kind in node simple pytorch-operator pytorch-converted; do
    if [ -d "$cache/$kind" ]; then
        echo "$kind:"
        "$program" "$cache/$kind" "$what" || failed=1
    else
        echo "skipped: $kind needs the package libonnx-testdata"
    fi
done
exit $failed
