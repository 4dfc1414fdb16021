#!/usr/bin/python3
"""Small networks that other tools would have quantized, with what ONNX Runtime makes of them: quantized/NAME.onnx,
NAME_x.npy, NAME_y.npy.

usage: make_quantized_networks.py      Needs python3-onnx, node and onnxruntime-node (NODE_PATH), on a CPU with VNNI.
The oracle is ONNX Runtime; tests/unit/test_quantized_networks.c compares the integer engine with it bit for bit.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as NH

HERE = os.path.dirname(os.path.abspath(__file__))
ORT = os.path.join(HERE, '..', 'ort')
sys.path.insert(0, ORT)
import quantized  # noqa: E402

CASES = [(kind, seed, qdq) for kind, seed, qdq in (
    ('add', 3, 0), ('add', 4, 1), ('average', 4, 0), ('average', 3, 1), ('concat', 2, 0), ('concat', 5, 1),
    ('conv', 0, 0), ('conv', 1, 1), ('convinteger', 1, 0), ('dynamic', 2, 0), ('gemm', 1, 0), ('gemm', 4, 1), ('globalaverage', 0, 0),
    ('leaky', 1, 0), ('matmul', 2, 0), ('matmul', 3, 1), ('maxpool', 0, 0), ('moves', 5, 0), ('moves', 7, 0),
    ('mul', 1, 0), ('product', 1, 0), ('quantized', 3, 0), ('sigmoid', 1, 0), ('softmax', 2, 0))]


def tied_sum(folder):
    """A sum whose codes depend on how it is evaluated: those pairs of codes of 65536 for which
    it does, and some others."""
    f = np.float32
    sa, sb, sy, za, zb, zy = f(0.0123), f(0.0371), f(0.05), 17, 201, 99
    a, b = [m.ravel().astype(f) for m in np.meshgrid(np.arange(256), np.arange(256), indexing='ij')]
    for step in range(4000):
        sy = f(0.05 * (1 + step * 2.0 ** -20))
        ra, rb = f(sa / sy), f(sb / sy)
        plain = np.rint((a - f(za)) * ra + (b - f(zb)) * rb) + zy
        fixed = f(zy) - f(np.longdouble(za) * np.longdouble(ra) + np.longdouble(f(f(zb) * rb)))
        inner = (b.astype(np.longdouble) * rb + fixed).astype(f)
        differ = plain != np.rint((a.astype(np.longdouble) * ra + inner).astype(f))
        if np.count_nonzero(differ) > 8:
            break
    at = np.concatenate([np.nonzero(differ)[0], np.arange(0, 65536, 4099)])
    x = np.stack([a[at], b[at]], 1).astype(np.uint8)
    constants = [NH.from_array(np.asarray(v), n) for n, v in (
        ('zero', np.array([0])), ('one', np.array([1])), ('two', np.array([2])), ('sa', sa), ('sb', sb), ('sy', sy),
        ('za', np.uint8(za)), ('zb', np.uint8(zb)), ('zy', np.uint8(zy)))]
    nodes = [H.make_node('Slice', ['x', 'zero', 'one', 'one'], ['a']),
             H.make_node('Slice', ['x', 'one', 'two', 'one'], ['b']),
             H.make_node('QLinearAdd', ['a', 'sa', 'za', 'b', 'sb', 'zb', 'sy', 'zy'], ['y'], domain='com.microsoft')]
    graph = H.make_graph(nodes, 'tied_sum', [H.make_tensor_value_info('x', T.UINT8, ['N', 2])],
                         [H.make_tensor_value_info('y', T.UINT8, None)], constants)
    model = H.make_model(graph, opset_imports=[H.make_opsetid('', 17), H.make_opsetid('com.microsoft', 1)])
    model.ir_version = 8
    onnx.save(model, os.path.join(folder, 'tied_sum.onnx'))
    np.save(os.path.join(folder, 'tied_sum.x.npy'), x)
    print('tied_sum: %d pairs of codes' % len(at))


def float_biases(folder):
    """A Conv and a Gemm with float biases, as tools for TensorRT leave them, at scales at which it shows that ONNX Runtime
    codes them."""
    rng = np.random.default_rng(5)
    codes = [rng.integers(-5, 6, shape).astype(np.int8) for shape in ((4, 2, 2, 2), (36, 5))]
    constants = [NH.from_array(np.asarray(v), n) for n, v in (
        ('sx', np.float32(0.05)), ('zero', np.int8(-3)), ('low', np.int8(-128)), ('w', codes[0]), ('v', codes[1]),
        ('sw', rng.uniform(0.5, 1.5, 4).astype(np.float32)), ('zw', np.zeros(4, np.int8)), ('sm', np.float32(0.11)),
        ('sv', np.float32(0.9)), ('sy', np.float32(0.8)), ('b', rng.normal(0, 1, 4).astype(np.float32)),
        ('c', rng.normal(0, 4, 5).astype(np.float32)))]
    nodes = [H.make_node(kind, inputs.split(), [y], **attributes) for kind, inputs, y, attributes in (
        ('QuantizeLinear', 'x sx zero', 'xq', {}), ('DequantizeLinear', 'xq sx zero', 'xf', {}),
        ('DequantizeLinear', 'w sw zw', 'wf', dict(axis=0)), ('Conv', 'xf wf b', 'conv', {}), ('Relu', 'conv', 'relu', {}),
        ('QuantizeLinear', 'relu sm low', 'mq', {}), ('DequantizeLinear', 'mq sm low', 'mf', {}),
        ('Flatten', 'mf', 'flat', {}), ('QuantizeLinear', 'flat sm low', 'fq', {}),
        ('DequantizeLinear', 'fq sm low', 'ff', {}), ('DequantizeLinear', 'v sv', 'vf', {}),
        ('Gemm', 'ff vf c', 'gemm', {}), ('QuantizeLinear', 'gemm sy zero', 'y', {}))]
    graph = H.make_graph(nodes, 'float_biases', [H.make_tensor_value_info('x', T.FLOAT, ['N', 2, 4, 4])],
                         [H.make_tensor_value_info('y', T.INT8, None)], constants)
    model = H.make_model(graph, opset_imports=[H.make_opsetid('', 17)])
    model.ir_version = 8
    onnx.save(model, os.path.join(folder, 'float_biases.onnx'))
    np.save(os.path.join(folder, 'float_biases.x.npy'), (rng.integers(-2, 3, (24, 2, 4, 4)) * 0.05).astype(np.float32))


folder = tempfile.mkdtemp()
for kind, seed, qdq in CASES:
    name = os.path.join(folder, '%s_%s' % (kind, 'qdq' if qdq else 'qop') + ('' if seed != 7 else '_again'))
    model, x, _ = quantized.Network(kind, seed, qdq, 3).build()
    onnx.save(model, name + '.onnx')
    np.save(name + '.x.npy', x)
tied_sum(folder)
float_biases(folder)
subprocess.run(['node', os.path.join(ORT, 'run_cases.js'), folder], check=True)
to = os.path.join(HERE, 'quantized')
shutil.rmtree(to, ignore_errors=True)
os.makedirs(to)
for name in sorted(os.listdir(folder)):
    shutil.copy(os.path.join(folder, name), os.path.join(
        to, name.replace('.x.npy', '_x.npy').replace('.ort.npy', '_y.npy')))
shutil.rmtree(folder)
