#!/usr/bin/python3
"""Write ONNX's own operator tests (model, inputs, expected outputs) as files below the folder given.

Debian's onnx 1.12 was written for an older numpy; the names that numpy has dropped since are put back first."""
import sys

import numpy

for name, type_ in (("float", float), ("int", int), ("bool", bool), ("object", object)):
    if name not in numpy.__dict__:
        setattr(numpy, name, type_)

from onnx.backend.test.cmd_tools import main  # noqa: E402  (after the names)

sys.argv[1:] = ["generate-data", "-o", sys.argv[1]]
main()
