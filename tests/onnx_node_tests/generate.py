#!/usr/bin/python3
"""Write ONNX's own operator tests (model, inputs, expected outputs) as files below the folder given.

Debian's onnx 1.12 was written for an older numpy; the names that numpy has dropped since are put back first.
Cases of opsets below 7 whose operators are the same in opset 7 are marked as opset 7: quern reads no older files; others
are converted by ONNX where it can. The same is done with those of Debian's libonnx-testdata, which has more, where it is
installed."""
import glob
import os
import shutil
import sys

import numpy

for name, type_ in (("float", float), ("int", int), ("bool", bool), ("object", object)):
    if name not in numpy.__dict__:
        setattr(numpy, name, type_)

import onnx  # noqa: E402  (after the names)
import onnx.version_converter  # noqa: E402
from onnx.backend.test.cmd_tools import main  # noqa: E402

FIRST = 7
MORE = "/usr/share/libonnx-testdata/data"


def raise_opset(path):
    model = onnx.load(path)
    opset = model.opset_import[0]
    if len(model.opset_import) == 1 and opset.domain == "" and opset.version < FIRST:
        if all(onnx.defs.get_schema(node.op_type, FIRST).since_version <= opset.version for node in model.graph.node):
            opset.version = FIRST
        else:
            try:
                model = onnx.version_converter.convert_version(model, FIRST)
            except Exception as reason:  # it knows few operators of those opsets; the case is then skipped by its opset
                print(f"{path}: stays at opset {opset.version}: {reason}")
                return
        onnx.save(model, path)


folder = sys.argv[1]
sys.argv[1:] = ["generate-data", "-o", folder]
main()
for kind in ("simple", "pytorch-operator", "pytorch-converted"):
    shutil.rmtree(f"{folder}/{kind}", ignore_errors=True)
    if os.path.isdir(f"{MORE}/{kind}"):
        shutil.copytree(f"{MORE}/{kind}", f"{folder}/{kind}")
for path in glob.glob(folder + "/*/*/model.onnx"):
    raise_opset(path)
