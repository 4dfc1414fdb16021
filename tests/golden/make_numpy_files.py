#!/usr/bin/python3
"""Write numpy_files.inc: array files as numpy, zlib and hashlib make them, for tests/unit/test_tensor_files.c.

Every array holds 0, 1, 2, ... in C order (booleans: modulo 2), so that the test knows the values.
Run with Debian 12's python3-numpy (1.24): ./make_numpy_files.py > numpy_files.inc
"""
import gzip
import hashlib
import io

import numpy as np
from numpy.lib import format as npy

DTYPES = {"b1": "BOOL", "i1": "S8", "u1": "U8", "i2": "S16", "u2": "U16", "i4": "S32", "u4": "U32", "i8": "S64",
          "u8": "U64", "f2": "F16", "f4": "F32", "f8": "F64"}


def array(descr, shape, fortran=False):
    n = int(np.prod(shape))
    values = np.arange(n) % 2 if descr[-2:] == "b1" else np.arange(n)
    made = values.astype(descr).reshape(shape)
    return np.asfortranarray(made) if fortran else made


def npy_bytes(a, version=None):
    out = io.BytesIO()
    npy.write_array(out, a, version=version)
    return out.getvalue()


def npz_bytes(compressed, **arrays):
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


def idx_bytes(a):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    head = bytes([0, 0, codes[a.dtype.str[1:]], a.ndim]) + b"".join(d.to_bytes(4, "big") for d in a.shape)
    return head + a.astype(a.dtype.newbyteorder(">")).tobytes()


def text(data):
    lines, line = [], ""
    for byte in data:
        piece = chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else "\\%03o" % byte
        line += piece
        if len(line) > 100:
            lines.append(line)
            line = ""
    return "\n      ".join('"%s"' % part for part in lines + [line])


def row(name, data, dtype, shape, same_when_written=False):
    dims = ", ".join(map(str, shape)) if len(shape) > 0 else "0"
    print('    {"%s",\n      %s,\n      %d, QN_DTYPE_%s, %d, {%s}, %s,\n      "%s"},' % (
        name, text(data), len(data), dtype, len(shape), dims, "true" if same_when_written else "false",
        hashlib.sha256(data).hexdigest()))


print("/* Made by make_numpy_files.py with numpy %s. */" % np.__version__)
for code, dtype in DTYPES.items():
    order = "|" if code[1] == "1" else "<"
    row("%s.npy" % code, npy_bytes(array(order + code, (2, 3))), dtype, (2, 3), True)
    if code[1] != "1":
        row("%s_big.npy" % code, npy_bytes(array(">" + code, (2, 3))), dtype, (2, 3))
row("fortran.npy", npy_bytes(array("<f4", (2, 3, 4), True)), "F32", (2, 3, 4))
row("fortran_big.npy", npy_bytes(array(">i2", (3, 1, 2, 2), True)), "S16", (3, 1, 2, 2))
row("scalar.npy", npy_bytes(array("<f4", ())), "F32", (), True)
row("vector.npy", npy_bytes(array("<i8", (5,))), "S64", (5,), True)
row("empty.npy", npy_bytes(array("<f8", (0, 3))), "F64", (0, 3), True)
row("rank8.npy", npy_bytes(array("|u1", (1, 2, 1, 2, 1, 2, 1, 2))), "U8", (1, 2, 1, 2, 1, 2, 1, 2), True)
row("many.npy", npy_bytes(array("|u1", (123, 1))), "U8", (123, 1), True)
row("version2.npy", npy_bytes(array("<f4", (2, 3)), (2, 0)), "F32", (2, 3))
row("version3.npy", npy_bytes(array("<f4", (2, 3)), (3, 0)), "F32", (2, 3))
row("stored.npz", npz_bytes(False, x=array("<f4", (2, 3))), "F32", (2, 3))
row("deflated.npz", npz_bytes(True, x=array(">i4", (4, 3), True)), "S32", (4, 3))
for code, dtype in [("u1", "U8"), ("i1", "S8"), ("i2", "S16"), ("i4", "S32"), ("f4", "F32"), ("f8", "F64")]:
    row("%s.idx" % code, idx_bytes(array(code, (3, 2))), dtype, (3, 2))
row("idx.gz", gzip.compress(idx_bytes(array("|u1", (3, 4, 4))), mtime=0), "U8", (3, 4, 4))
row("npy.gz", gzip.compress(npy_bytes(array("<f4", (2, 3), True)), mtime=0), "F32", (2, 3))
