#!/bin/sh
# networks.py, where there is a Python with python3-onnx; skipped by name elsewhere (exit 77). The same arguments.
python=/usr/bin/python3
"$python" -c 'import onnx' 2>/dev/null || {
    echo "skipped: comparing whole networks with ONNX Runtime; there is no $python with the package python3-onnx"
    exit 77
}
exec "$python" -B "$(dirname "$0")/networks.py" "$@"
