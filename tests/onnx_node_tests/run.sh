#!/bin/sh
# Run ONNX's operator tests through an engine. usage: run.sh PROGRAM CACHE_DIR float|integer
# They are generated once, by Debian's python3-onnx; without it the test is skipped (exit 77).
set -eu
program=$1 cache=$2 engine=$3
python=/usr/bin/python3
if [ ! -e "$cache/complete" ]; then
    if ! "$python" -c 'import onnx' 2>/dev/null; then
        echo "skipped: needs $python with the package python3-onnx"
        exit 77
    fi
    rm -rf "$cache"
    mkdir -p "$cache"
    "$python" "$(dirname "$0")/generate.py" "$cache" >"$cache/log" 2>&1 || { cat "$cache/log"; exit 1; }
    touch "$cache/complete"
fi
exec "$program" "$cache/node" "$engine"
