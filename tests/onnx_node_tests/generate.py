#!/usr/bin/python3
"""Write ONNX's own operator tests (model, inputs, expected outputs) as files below the folder given.

Debian's onnx 1.12 was written for an older numpy; the names that numpy has dropped since are put back first.
Cases of opsets below 7 whose operators are the same in opset 7 are marked as opset 7: quern reads no older files."""
import glob
import sys

import numpy

for name, type_ in (("float", float), ("int", int), ("bool", bool), ("object", object)):
    if name not in numpy.__dict__:
        setattr(numpy, name, type_)

import onnx  # noqa: E402  (after the names)
from onnx.backend.test.cmd_tools import main  # noqa: E402

FIRST = 7


def raise_opset(path):
    model = onnx.load(path)
    opset = model.opset_import[0]
    if len(model.opset_import) == 1 and opset.domain == "" and opset.version < FIRST:
        if all(onnx.defs.get_schema(node.op_type, FIRST).since_version <= opset.version for node in model.graph.node):
            opset.version = FIRST
            onnx.save(model, path)


folder = sys.argv[1]
sys.argv[1:] = ["generate-data", "-o", folder]
main()
for path in glob.glob(folder + "/node/*/model.onnx"):
    raise_opset(path)
