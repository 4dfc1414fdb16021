#!/usr/bin/python3
"""Small quantized networks with what ONNX Runtime makes of them: integer/NAME.onnx, NAME_x.npy, NAME_y.npy.

usage: make_integer_networks.py [NAME ...]      Needs python3-onnx, node and onnxruntime-node (NODE_PATH), on a CPU with VNNI.
The oracle is ONNX Runtime; tests/unit/test_integer_engine.c compares the engine with it bit for bit, but
for softmax and normalization, which test_integer_rows.c compares within one code.
"""
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as NH

HERE = os.path.dirname(os.path.abspath(__file__)) + '/integer/'


class Net:
    """Activations are triples (name of the dequantized value, scale, zero point)."""

    def __init__(self, seed, shape, signed=False):
        self.rng = np.random.default_rng(seed)
        self.dtype = np.int8 if signed else np.uint8
        self.nodes, self.inits, self.n = [], [], 0
        self.x = self.rng.normal(0, 1, shape).astype(np.float32)
        self.last = self.quantize('x', 0.027, 121)

    def name(self):
        self.n += 1
        return 'v%d' % self.n

    def const(self, value):
        name = self.name()
        self.inits.append(NH.from_array(np.asarray(value), name))
        return name

    def op(self, kind, inputs, **attributes):
        out = self.name()
        self.nodes.append(H.make_node(kind, inputs, [out], name='n_' + out, **attributes))
        return out

    def quantize(self, value, scale, zero):
        zero = zero - 128 if self.dtype == np.int8 else zero
        params = [self.const(np.float32(scale)), self.const(self.dtype(zero))]
        return (self.op('DequantizeLinear', [self.op('QuantizeLinear', [value] + params)] + params), np.float32(scale),
                zero)

    def weights(self, shape, x_scale, axis=0, unsigned=False, per_channel=True):
        """Returns the dequantized weights, the dequantized bias and the spread of the sums in reals."""
        m, fan = shape[axis], int(np.prod(shape)) // shape[axis]
        scale = self.rng.uniform(0.004, 0.011, m if per_channel else 1).astype(np.float32)
        if not per_channel:
            scale = scale[0]
        if unsigned:
            codes, zero = self.rng.integers(40, 216, shape).astype(np.uint8), np.uint8(131)
        else:
            codes, zero = np.clip(np.rint(self.rng.normal(0, 45, shape)), -128, 127).astype(np.int8), np.int8(0)
        zeros = np.full(m, zero) if per_channel else zero
        along = {'axis': axis} if per_channel else {}
        w = self.op('DequantizeLinear', [self.const(codes), self.const(scale), self.const(zeros)], **along)
        b = self.rng.integers(-4000, 4000, m).astype(np.int32)
        bias_scale = (x_scale * scale).astype(np.float32)
        bias_zero = np.zeros(m, np.int32) if per_channel else np.int32(0)
        bias = self.op('DequantizeLinear', [self.const(b), self.const(bias_scale), self.const(bias_zero)],
                       **({'axis': 0} if per_channel else {}))
        return w, bias, float(np.sqrt(fan)) * 45 * 0.0075 * 40 * float(x_scale)

    def conv(self, x, channels, outputs, kernel, relu=True, bias=True, unsigned=False, per_channel=True, **attributes):
        group = attributes.get('group', 1)
        w, b, spread = self.weights((outputs, channels // group) + tuple(kernel), x[1], 0, unsigned, per_channel)
        out = self.op('Conv', [x[0], w] + ([b] if bias else []), kernel_shape=list(kernel), **attributes)
        if relu and self.dtype == np.uint8:
            return self.quantize(self.op('Relu', [out]), spread * 2.5 / 255, 0)
        return self.quantize(out, spread * 5 / 255, 119)

    def gemm(self, x, inputs, outputs, trans_b):
        shape = (outputs, inputs) if trans_b else (inputs, outputs)
        w, b, spread = self.weights(shape, x[1], 0 if trans_b else 1)
        return self.quantize(self.op('Gemm', [x[0], w, b], transB=trans_b), spread * 5 / 255, 131)

    def matmul(self, x, inputs, outputs):
        w, _, spread = self.weights((inputs, outputs), x[1], 1)
        return self.quantize(self.op('MatMul', [x[0], w]), spread * 5 / 255, 131)

    def simple(self, kind, x, scale=None, zero=None, **attributes):
        """An operator of one input; its parameters are the input's unless given."""
        out = self.op(kind, [x[0]], **attributes)
        zero_of_x = x[2] + 128 if self.dtype == np.int8 else x[2]
        return self.quantize(out, x[1] if scale is None else scale, zero_of_x if zero is None else zero)

    def add(self, a, b, relu=True):
        out = self.op('Add', [a[0], b[0]])
        if relu and self.dtype == np.uint8:
            return self.quantize(self.op('Relu', [out]), (a[1] + b[1]) * 0.61, 0)
        return self.quantize(out, (a[1] + b[1]) * 0.83, 97)

    def coded(self, shape, scale, zero):
        """A constant of random codes of the activations' type."""
        info = np.iinfo(self.dtype)
        codes = self.rng.integers(info.min, info.max + 1, shape).astype(self.dtype)
        zero = zero - 128 if self.dtype == np.int8 else zero
        params = [self.const(np.float32(scale)), self.const(self.dtype(zero))]
        return (self.op('DequantizeLinear', [self.const(codes)] + params), np.float32(scale), zero)

    def mul(self, a, b, zero):
        """At a scale at which some product lies close to the middle between two codes."""
        product, code = int(self.rng.integers(4000, 20000)), int(self.rng.integers(30, 70)) + 0.5
        scale = np.float32(float(a[1]) * float(b[1]) * product / code)
        return self.quantize(self.op('Mul', [a[0], b[0]]), scale, zero)

    def sub(self, a, b, zero):
        return self.quantize(self.op('Sub', [a[0], b[0]]), (a[1] + b[1]) * np.float32(0.52), zero)

    def product(self, a, b, scale):
        """Of two activations."""
        return self.quantize(self.op('MatMul', [a[0], b[0]]), scale, 123)

    def save(self, name, output, opset=13):
        x_info = H.make_tensor_value_info('x', T.FLOAT, ['N'] + list(self.x.shape[1:]))
        self.nodes[-1].output[0] = 'y'
        graph = H.make_graph(self.nodes, name, [x_info], [H.make_tensor_value_info('y', T.FLOAT, None)], self.inits)
        model = H.make_model(graph, opset_imports=[H.make_opsetid('', opset)])
        model.ir_version = 7 if opset < 17 else 8
        assert output is not None
        onnx.save(model, HERE + name + '.onnx')
        np.save(HERE + name + '_x.npy', self.x)
        script = HERE + '../../ort/run.js'
        subprocess.check_call(['node', script, HERE + name + '.onnx', HERE + name + '_x.npy', HERE + name + '_y.npy'])


def residual():
    """Strides, asymmetric pads, depthwise, residual sums, whole-map average, a product."""
    n = Net(1, (4, 3, 13, 14))
    a = n.conv(n.last, 3, 20, (3, 3), pads=[1, 0, 1, 2], strides=[2, 1])
    b = n.conv(a, 20, 20, (3, 3), pads=[1, 1, 1, 1], group=20)
    b = n.conv(b, 20, 20, (1, 1), relu=False)
    a = n.add(a, b)
    b = n.conv(a, 20, 33, (3, 3), pads=[1, 0, 1, 1], strides=[2, 2])
    c = n.conv(a, 20, 33, (1, 1), strides=[2, 2], relu=False, bias=False)
    a = n.add(b, c, relu=False)
    a = n.simple('GlobalAveragePool', a, a[1] * 0.4, 110)
    a = n.simple('Flatten', a)
    n.save('residual', n.gemm(a, 33, 10, 1))


def branches():
    """Groups, dilation, pooling of all kinds, a Concat of unequal parameters."""
    n = Net(2, (3, 3, 17, 15))
    a = n.conv(n.last, 3, 24, (5, 3), pads=[2, 1, 2, 1])
    b = n.conv(a, 24, 12, (3, 3), pads=[2, 2, 2, 2], dilations=[2, 2], group=3)
    c = n.conv(a, 24, 48, (3, 3), pads=[1, 1, 1, 1], group=24)
    d = n.simple('MaxPool', a, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    out = n.op('Concat', [b[0], c[0], d[0]], axis=1)
    a = n.quantize(out, float(c[1]) * 1.1, 3)
    b = n.simple('AveragePool', a, a[1] * 0.7, 9, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1],
                 count_include_pad=1)
    c = n.simple('AveragePool', a, a[1] * 0.6, 0, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    a = n.add(b, c, relu=False)
    a = n.simple('MaxPool', a, a[1] * 0.9, 80, kernel_shape=[2, 2], strides=[2, 2])
    n.save('branches', n.conv(a, 84, 7, (1, 1), relu=False, unsigned=True, per_channel=False))


def flat():
    """A map flattened into products, transposed and not."""
    n = Net(3, (5, 2, 6, 7))
    a = n.conv(n.last, 2, 9, (3, 3), strides=[1, 2])
    a = n.simple('Flatten', a)
    a = n.gemm(a, 9 * 4 * 3, 21, 0)
    a = n.gemm(a, 21, 40, 1)
    n.save('flat', n.matmul(a, 40, 6))


def signed():
    """int8 activations."""
    n = Net(4, (3, 4, 9, 9), signed=True)
    a = n.conv(n.last, 4, 17, (3, 3), pads=[1, 1, 1, 1])
    b = n.conv(a, 17, 17, (3, 3), pads=[1, 1, 1, 1], group=17)
    a = n.add(a, b)
    a = n.simple('MaxPool', a, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    a = n.conv(a, 17, 8, (2, 2), unsigned=False)
    n.save('signed', n.simple('GlobalAveragePool', a, a[1] * 0.5, 100))


def one_dimension():
    """Convolution over a line."""
    n = Net(5, (3, 5, 40))
    a = n.conv(n.last, 5, 19, (4,), pads=[1, 2], strides=[2])
    a = n.conv(a, 19, 19, (3,), pads=[1, 1], group=19)
    n.save('one_dimension', n.conv(a, 19, 6, (3,), dilations=[2], relu=False))


def pairs(name, signed):
    """Products and differences: of maps, by channels, by pixels, by constants."""
    n = Net(6 + signed, (12, 8, 6, 7), signed=signed)
    x = n.last
    a = n.conv(x, 8, 8, (3, 3), pads=[1, 1, 1, 1], relu=False)
    b = n.mul(a, x, 119)
    c = n.simple('GlobalAveragePool', a, a[1] * 0.37, 110)
    b = n.mul(c, b, 131)
    b = n.sub(b, a, 100)
    b = n.mul(b, n.conv(a, 8, 1, (1, 1), relu=False), 122)
    b = n.mul(b, n.coded((8, 1, 1), 0.013, 117), 133)
    b = n.sub(n.coded((6, 7), 0.011, 90), b, 128)
    b = n.mul(b, n.coded((1, 8, 6, 7), 0.02, 140), 128)
    n.save(name, b)


def moves(name, signed):
    """Whatever only moves codes: pads, parts, copies, depth and space, nearest neighbours, constant indices."""
    n = Net(8 + signed, (5, 8, 6, 7), signed=signed)
    i64 = lambda *v: n.const(np.array(v, np.int64))

    def move(kind, x, *inputs, **attributes):
        return n.quantize(n.op(kind, [x[0]] + list(inputs), **attributes), x[1], x[2] + 128 * signed)

    a = n.conv(n.last, 8, 8, (3, 3), pads=[1, 1, 1, 1], relu=False)
    a = move('Pad', a, i64(0, 0, 1, 2, 0, 1, 0, 1), mode='constant')            # 9 x 7 x 10
    a = move('Pad', a, i64(0, 0, 2, 0, 0, 0, 1, 0), mode='edge')                # 9 x 10 x 10
    a = move('Pad', a, i64(0, 0, 0, 1, 0, 0, 0, 1), mode='reflect')             # 9 x 10 x 12
    a = move('Slice', a, i64(1, -1), i64(9, -1000), i64(1, 3), i64(1, -1))      # 8 x 10 x 12
    a = move('SpaceToDepth', a, blocksize=2)                                    # 32 x 5 x 6
    a = n.conv(a, 32, 12, (1, 1), relu=False)
    a = move('DepthToSpace', a, blocksize=2, mode='CRD')                        # 3 x 10 x 12
    halves = [n.name(), n.name()]
    n.nodes.append(H.make_node('Split', [a[0], i64(4, 6)], halves, axis=2))
    zero = a[2] + 128 * signed
    b = n.quantize(halves[0], a[1], zero)
    c = n.quantize(halves[1], a[1], zero)
    a = n.quantize(n.op('Concat', [c[0], b[0]], axis=2), a[1], zero)
    scales = n.const(np.array([1, 1, 1.5, 2], np.float32))
    a = move('Resize', a, '', scales, mode='nearest', coordinate_transformation_mode='asymmetric', nearest_mode='floor')
    a = move('Tile', a, i64(1, 2, 1, 1))                                        # 6 x 15 x 24
    scales = n.const(np.array([1, 1, 1 / 3, 0.375], np.float32))
    a = move('Resize', a, '', scales, mode='nearest')                           # 6 x 5 x 9
    a = move('Gather', a, i64(5, -5, 0, 2), axis=1)                             # 4 x 5 x 9
    n.save(name, n.conv(a, 4, 6, (3, 3), relu=False))


def unsigned_moves():
    moves('unsigned_moves', False)


def signed_moves():
    moves('signed_moves', True)


def unsigned_products():
    pairs('unsigned_products', False)


def signed_products():
    pairs('signed_products', True)


def products():
    """Products of two activations, in heads and not; int8 and uint8 are alike but for the zero points."""
    n = Net(6, (3, 2, 9, 20))
    q, k, v = n.matmul(n.last, 20, 12), n.matmul(n.last, 20, 12), n.matmul(n.last, 20, 17)
    k = n.simple('Transpose', k, perm=[0, 1, 3, 2])
    a = n.product(q, k, float(q[1]) * float(k[1]) * 900)
    n.save('products', n.product(a, v, float(a[1]) * float(v[1]) * 700))


def softmax():
    """Rows of noise, masked rows, an output scale of 1/256; within one code, not bit for bit."""
    n = Net(7, (6, 4, 50))
    n.nodes.clear()
    n.x *= np.array([0.3, 1, 2, 4, 8, 8], np.float32).reshape(6, 1, 1)
    n.x[3:5, :, 30:] = -1e9  # a mask
    n.x[5, 2] = -1e9
    n.x[5, 3, 1:] = -1e9
    n.last = n.quantize('x', 0.083, 131)
    n.save('softmax', n.simple('Softmax', n.last, 1 / 256, 0, axis=-1))


def normalization():
    """LayerNormalization with outliers; within one code."""
    n = Net(8, (6, 5, 48))
    n.nodes.clear()
    n.x[1] *= 9
    n.x[2, :, 7] = 40
    n.x[3] *= 0.05
    n.last = n.quantize('x', 0.083, 131)
    gain, bias = n.rng.normal(1, 0.4, 48).astype(np.float32), n.rng.normal(0, 0.5, 48).astype(np.float32)
    out = n.op('LayerNormalization', [n.last[0], n.const(gain), n.const(bias)], axis=-1, epsilon=1e-5)
    n.save('normalization', n.quantize(out, 0.031, 118), 17)


os.makedirs(HERE, exist_ok=True)
wanted = sys.argv[1:]
for make in (residual, branches, flat, signed, one_dimension, unsigned_products, signed_products, products, softmax, normalization,
             unsigned_moves, signed_moves):
    if wanted and make.__name__ not in wanted:
        continue
    make()
    print(make.__name__, file=sys.stderr)
