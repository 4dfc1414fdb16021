#!/bin/sh
# Networks written as the "light models" of ONNX load, run, and give what numpy computes.
# usage: light_models.sh QUERN
set -eu
python=/usr/bin/python3
if ! "$python" -c 'import onnx, numpy' 2>/dev/null; then
    echo "skipped: needs $python with the package python3-onnx"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
here=$(dirname "$0")
OPENBLAS_NUM_THREADS=1 "$python" "$here/light_models.py" "$scratch" --side 96 --quern "$1"
for opset in 7 8; do # weights are numbers there
    OPENBLAS_NUM_THREADS=1 "$python" "$here/light_models.py" "$scratch" light_squeezenet light_shufflenet --side 64 \
        --opset $opset --quern "$1"
done
