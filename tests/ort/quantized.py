#!/usr/bin/python3
"""Do quern and ONNX Runtime compute the same codes of networks that other tools quantized?

usage: quantized.py [QUERN [KINDS [CASES [LEVEL [DIR]]]]]
Defaults: build/release/quern, all kinds, 20 of each, all, a folder of its own.
KINDS is a list with commas, as the table names them; LEVEL what ONNX Runtime optimizes, all or disabled.

Random networks of one operator each, as QOperator and as QDQ graphs, of uint8 and int8, with ranges that saturate. Prints
for each kind how many codes differ, and by how much at most. Exit: 0 all as the table of kinds wants it, 4 not, 77
skipped (the reason is printed). Needs python3-onnx, node and onnxruntime-node 1.30 (found through NODE_PATH), and a
CPU with VNNI: elsewhere ONNX Runtime's own int8 sums saturate.
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def skip(reason):
    print('skipped: comparing quantized networks with ONNX Runtime; ' + reason)
    sys.exit(77)


try:
    import numpy as np
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as H
    from onnx import numpy_helper as NH
except ImportError:
    skip('there is no package python3-onnx')

ITEMS = 24
TYPES = {'u8': (np.uint8, 0, 255, T.UINT8), 's8': (np.int8, -128, 127, T.INT8)}


class Coded:
    """Codes of a network: their value's name, parameters, type and shape of one item."""

    def __init__(self, name, scale, zero, kind, shape):
        self.name, self.scale, self.zero, self.kind, self.shape = name, scale, zero, kind, shape


class Network:
    def __init__(self, kind, seed, qdq, items=ITEMS):
        self.items = 1 if kind in ('dynamic', 'dynamicnet', 'narrow') else items
        self.rng = np.random.default_rng([seed, sum(map(ord, kind)), qdq])
        self.kind, self.qdq = kind, qdq
        self.nodes, self.constants, self.n = [], [], 0
        self.type = 'u8' if self.chance(0.5) else 's8'
        self.opset = 17

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def name(self, stem='v'):
        self.n += 1
        return '%s%d' % (stem, self.n)

    def constant(self, array):
        name = self.name('c')
        self.constants.append(NH.from_array(np.asarray(array), name))
        return name

    def node(self, kind, inputs, domain='', outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(H.make_node(kind, list(inputs), names, name='n_' + names[0], domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def scale(self, low=-6.0, high=1.0):
        return np.float32(np.exp(self.rng.uniform(low, high)))

    def parameters(self, scale=None, kind=None):
        """(scale, zero point) as names, and as numbers."""
        kind = kind or self.type
        dtype, low, high, _ = TYPES[kind]
        scale = self.scale() if scale is None else np.float32(scale)
        zero = dtype([self.pick(low, high), 0, low, high][self.pick(0, 3) if self.chance(0.5) else 0])
        return scale, zero

    def names_of(self, coded):
        shape = () if self.qdq or self.kind in ('add', 'mul', 'average') or self.chance(0.7) else (1,)
        return [self.constant(np.full(shape, coded.scale, np.float32)),
                self.constant(np.full(shape, coded.zero, TYPES[coded.kind][0]))]

    def triple(self, coded):
        return [coded.name] + self.names_of(coded)

    def quantize(self, x, shape, scale=None, kind=None):
        scale, zero = self.parameters(scale, kind)
        coded = Coded(None, scale, zero, kind or self.type, shape)
        coded.name = self.node('QuantizeLinear', [x] + self.names_of(coded))
        return coded

    def dequantize(self, coded):
        return self.node('DequantizeLinear', self.triple(coded))

    def result(self, shape, scale):
        scale, zero = self.parameters(scale)
        return Coded(None, scale, zero, self.type, shape)

    def range_of(self, coded):
        return coded.scale * 255

    def weights(self, shape, axis=None):
        """Codes, scales, zero points, their names."""
        dtype, low, high, _ = TYPES['s8' if self.type == 's8' or self.chance(0.6) else 'u8']
        codes = self.rng.integers(low, high + 1, shape).astype(dtype)
        n = shape[axis] if axis is not None and self.chance(0.6) else None
        scale = np.exp(self.rng.uniform(-7, -2, n)).astype(np.float32) if n else np.float32(self.scale(-7, -2))
        zero = np.zeros(n, dtype) if n else dtype(0 if low < 0 else self.pick(low, high))
        return codes, scale, zero

    def operator(self, becomes, qlinear, operands, result, domain='com.microsoft', order=None, **attributes):
        """One operator on codes, or the float one between DQ and Q."""
        if self.qdq:
            y = self.node(becomes, [self.dequantize(o) for o in operands], **attributes)
            result.name = self.node('QuantizeLinear', [y] + self.names_of(result))
        else:
            inputs = sum((self.triple(o) for o in operands), [])
            inputs = self.names_of(result) + inputs if order == 'result first' else inputs + self.names_of(result)
            result.name = self.node(qlinear, inputs, domain=domain, **attributes)
        return result

    def saturating(self, typical):
        """An output scale for numbers of a typical size: mostly fitting, at times far too small or too great."""
        return np.float32(typical / 100 * np.exp(self.rng.uniform(-1.5, 1.5)))

    # The kinds. Each takes the coded input and returns coded output.
    def conv(self, x):
        channels, height, width = x.shape
        group = channels if self.chance(0.3) else 1
        out = channels if group > 1 else self.pick(1, 20)
        kernel = [self.pick(1, 3), self.pick(1, 3)]
        codes, scale, zero = self.weights((out, channels // group, *kernel), 0)
        pads, strides = [self.pick(0, 1) for _ in range(4)], [self.pick(1, 2), self.pick(1, 2)]
        fan = channels // group * kernel[0] * kernel[1]
        result = self.result(None, self.saturating(x.scale * np.mean(scale) * 70 * 70 * np.sqrt(fan)))
        bias = self.rng.integers(-30000, 30000, out).astype(np.int32) if self.chance(0.7) else None
        w = [self.constant(codes), self.constant(scale), self.constant(zero)]
        attributes = dict(kernel_shape=kernel, pads=pads, strides=strides, group=group)
        if not self.qdq:
            inputs = self.triple(x) + w + self.names_of(result) + ([self.constant(bias)] if bias is not None else [])
            result.name = self.node('QLinearConv', inputs, **attributes)
            return result
        inputs = [self.dequantize(x), self.node('DequantizeLinear', w, axis=0)]
        if bias is not None:
            scales = (x.scale * scale).astype(np.float32)
            scales = np.broadcast_to(scales, (out,)) if scales.shape else scales
            inputs.append(self.node('DequantizeLinear', [self.constant(bias), self.constant(scales)], axis=0))
        y = self.node('Conv', inputs, **attributes)
        if self.chance(0.3):
            y = self.node('Relu', [y])
        result.name = self.node('QuantizeLinear', [y] + self.names_of(result))
        return result

    def rows(self, x):
        """The input as rows of numbers, on codes."""
        n = int(np.prod(x.shape))
        return Coded(self.node('Flatten', [x.name]), x.scale, x.zero, x.kind, (n,))

    def matmul(self, x):
        x = self.rows(x)
        n, out = x.shape[0], self.pick(1, 40)
        codes, scale, zero = self.weights((n, out), 1)
        result = self.result(None, self.saturating(x.scale * np.mean(scale) * 70 * 70 * np.sqrt(n)))
        w = [self.constant(codes), self.constant(scale), self.constant(zero)]
        if self.qdq:
            y = self.node('MatMul', [self.dequantize(x), self.node('DequantizeLinear', w, axis=1)])
            result.name = self.node('QuantizeLinear', [y] + self.names_of(result))
        else:
            result.name = self.node('QLinearMatMul', self.triple(x) + w + self.names_of(result))
        return result

    def gemm(self, x):
        x = self.rows(x)
        n, out = x.shape[0], self.pick(1, 40)
        trans = self.pick(0, 1)
        codes, scale, zero = self.weights((out, n) if trans else (n, out), 1 - trans)
        result = self.result(None, self.saturating(x.scale * np.mean(scale) * 70 * 70 * np.sqrt(n)))
        w = [self.constant(codes), self.constant(scale), self.constant(zero)]
        bias = self.constant(self.rng.integers(-30000, 30000, out).astype(np.int32)) if self.chance(0.7) else ''
        if self.qdq:
            inputs = [self.dequantize(x), self.node('DequantizeLinear', w, axis=1 - trans)]
            if bias:
                scales = (x.scale * scale).astype(np.float32)
                scales = np.broadcast_to(scales, (out,)) if scales.shape else scales
                inputs.append(self.node('DequantizeLinear', [bias, self.constant(scales)], axis=0))
            y = self.node('Gemm', inputs, transB=trans)
            result.name = self.node('QuantizeLinear', [y] + self.names_of(result))
        else:
            alpha = dict(alpha=0.37) if not bias and self.chance(0.3) else {}
            result.name = self.node('QGemm', self.triple(x) + w + [bias] + self.names_of(result), 'com.microsoft',
                                    transB=trans, **alpha)
        return result

    def second(self, x):
        """Another operand of the same shape: the same numbers in another order and coding."""
        moved = self.node('Slice', [self.x, self.constant(np.array([-1], np.int64)),
                                    self.constant(np.array([-99], np.int64)), self.constant(np.array([2], np.int64)),
                                    self.constant(np.array([-1], np.int64))])
        return self.quantize(moved, x.shape, x.scale * np.exp(self.rng.uniform(-2, 2)))

    def add(self, x):
        other = self.second(x) if self.chance(0.8) else x
        return self.operator('Add', 'QLinearAdd', [x, other],
                             self.result(x.shape, self.saturating(60 * (x.scale + other.scale))))

    def mul(self, x):
        other = self.second(x) if self.chance(0.8) else x
        return self.operator('Mul', 'QLinearMul', [x, other],
                             self.result(x.shape, self.saturating(60 * 60 * x.scale * other.scale)))

    def concat(self, x):
        operands = [x, self.second(x), self.second(x)][:self.pick(2, 3)]
        scale = x.scale if self.chance(0.3) else self.saturating(60 * x.scale)
        return self.operator('Concat', 'QLinearConcat', operands, self.result(None, scale), order='result first',
                             axis=self.pick(1, 3))

    def same(self, x):
        scale = x.scale if self.chance(0.4) else self.saturating(40 * x.scale)
        result = self.result(None, scale)
        if scale == x.scale and self.chance(0.7):
            result.zero = x.zero
        return result

    def globalaverage(self, x):
        return self.operator('GlobalAveragePool', 'QLinearGlobalAveragePool', [x], self.same(x))

    def average(self, x):
        kernel = [self.pick(1, 3), self.pick(1, 3)]
        attributes = dict(kernel_shape=kernel, strides=[self.pick(1, 2), self.pick(1, 2)],
                          pads=[self.pick(0, kernel[i % 2] - 1) for i in range(4)],
                          count_include_pad=self.pick(0, 1))
        return self.operator('AveragePool', 'QLinearAveragePool', [x], self.same(x), **attributes)

    def leaky(self, x):
        return self.operator('LeakyRelu', 'QLinearLeakyRelu', [x], self.same(x), alpha=float(self.rng.uniform(0, 0.5)))

    def sigmoid(self, x):
        return self.operator('Sigmoid', 'QLinearSigmoid', [x], self.result(None, self.rng.uniform(0.5, 2) / 256))

    def softmax(self, x):
        attributes = dict(axis=-1) if self.qdq else dict(axis=-1, opset=self.opset)
        result = self.result(None, 1 / 256)  # ONNX Runtime's own quantizer always takes these parameters
        result.zero = TYPES[self.type][0](TYPES[self.type][1])
        return self.operator('Softmax', 'QLinearSoftmax', [x], result, **attributes)

    def maxpool(self, x):
        y = x.name if not self.qdq else self.dequantize(x)
        y = self.node('MaxPool', [y], kernel_shape=[2, 3], strides=[1, 2], pads=[1, 0, 0, 1])
        if self.qdq:
            y = self.node('QuantizeLinear', [y] + self.names_of(x))
        return Coded(y, x.scale, x.zero, x.kind, None)

    def moves(self, x):
        name = x.name
        for _ in range(self.pick(1, 4)):
            kind = self.pick(0, 6)
            if kind == 0:
                name = self.node('Transpose', [name], perm=[0, 3, 1, 2])
            elif kind == 1:
                pads = self.constant(np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64))
                fill = [self.constant(np.array(self.pick(0, 100), TYPES[x.kind][0]))] if self.chance(0.5) else []
                name = self.node('Pad', [name, pads] + fill)
            elif kind == 2:
                name = self.node('Reshape', [name, self.constant(np.array([0, -1, 2, 1], np.int64))]) if \
                    np.prod(x.shape) % 2 == 0 and self.chance(0) else self.node('Identity', [name])
            elif kind == 3:
                bounds = sorted(self.pick(0, 120) for _ in range(2))
                name = self.node('Clip', [name] + [self.constant(np.array(b, TYPES[x.kind][0])) for b in bounds])
            elif kind == 4:
                name = self.node('Concat', [name, name], axis=2)
            elif kind == 5:
                scales = self.constant(np.array([1, 1, 2, 2], np.float32))
                name = self.node('Resize', [name, '', scales], mode='nearest', nearest_mode='floor',
                                 coordinate_transformation_mode='asymmetric')
            else:
                name = self.node('MaxPool', [name], kernel_shape=[1, 1])
        return Coded(name, x.scale, x.zero, x.kind, None)

    def quantized(self, x):
        return x

    def floats(self, name, scale=1):
        return Coded(name, np.float32(scale), 0, None, None)

    def dynamic(self, x):
        """What dynamic quantization writes: one item, as its parameters are those of a whole batch."""
        rows = self.node('Reshape', [self.x, self.constant(np.array([1, -1, x.shape[2]], np.int64))])
        n, out = x.shape[2], self.pick(1, 70)
        codes, scale, zero, = self.weights((n, out), 1)
        a, a_scale, a_zero = self.node('DynamicQuantizeLinear', [rows], outputs=3)
        y = self.node('MatMulInteger', [a, self.constant(codes), a_zero, self.constant(zero)])
        scales = self.node('Mul', [a_scale, self.constant(scale)])
        return self.floats(self.node('Mul', [self.node('Cast', [y], to=T.FLOAT), scales]))

    def dynamicnet(self, x):
        """Layers as dynamic quantization writes them, one behind the other: Conv, then products."""
        channels, out = x.shape[0], self.pick(1, 9)
        y, sums = self.x, (self.items, out, *x.shape[1:])
        for layer in range(self.pick(2, 4)):
            codes, scale, zero = self.weights((out, channels, 3, 3) if layer == 0 else (self.width, out), 1 if layer else None)
            fan = np.prod(codes.shape[1:]) if layer == 0 else self.width
            scale = (scale / scale.max() * 2 / (70 * np.sqrt(fan))).astype(np.float32)
            a, a_scale, a_zero = self.node('DynamicQuantizeLinear', [y], outputs=3)
            kind, attributes = ('ConvInteger', dict(pads=[1, 1, 1, 1])) if layer == 0 else ('MatMulInteger', {})
            y = self.node(kind, [a, self.constant(codes), a_zero, self.constant(zero)], **attributes)
            scales = self.node('Mul', [a_scale, self.constant(scale)])
            y = self.node('Mul', [self.node('Cast', [y], to=T.FLOAT), scales])
            bias = self.rng.normal(0, 0.3, (1, out, 1, 1) if layer == 0 else out).astype(np.float32)
            y = self.node('Relu', [self.node('Add', [y, self.constant(bias)])])
            if layer == 0:
                self.width = int(np.prod(sums[1:]))
                y = self.node('Reshape', [y, self.constant(np.array([1, -1], np.int64))])
            else:
                self.width = out
            out = self.pick(1, 30)
        return self.floats(y)

    def convinteger(self, x):
        channels = x.shape[0]
        codes, scale, zero = self.weights((self.pick(1, 9), channels, self.pick(1, 3), self.pick(1, 3)))
        y = self.node('ConvInteger', [x.name, self.constant(codes), self.names_of(x)[1], self.constant(zero)],
                      pads=[self.pick(0, 1) for _ in range(4)], strides=[self.pick(1, 2), self.pick(1, 2)])
        return self.floats(self.node('Cast', [y], to=T.FLOAT))

    def product(self, x):
        """Two matrices that are computed, with zero points per tensor."""
        a = self.node('Transpose', [x.name], perm=[0, 1, 3, 2])
        b = self.second(x)
        y = self.node('MatMulInteger', [a, b.name, self.names_of(x)[1], self.names_of(b)[1]])
        return self.floats(self.node('Cast', [y], to=T.FLOAT))

    def narrow(self, x):
        """Codes of other types, per tensor, along an axis, in blocks, and decoded with the same or other parameters."""
        self.opset = 21
        dtype, low, high, numpy_type = [(T.INT16, -32768, 32767, np.int16), (T.UINT16, 0, 65535, np.uint16),
                                        (22, -8, 7, None), (21, 0, 15, None), (17, 0, 0, None), (18, 0, 0, None),
                                        (19, 0, 0, None), (20, 0, 0, None)][self.pick(0, 7)]
        way = self.pick(0, 2)
        shape, axis, attributes = (), 1, {}
        if way == 1:
            axis = self.pick(1, 3)
            shape, attributes = (x.shape[axis - 1],), dict(axis=axis)
        elif way == 2 and 17 > dtype or dtype > 20 and way == 2:
            axis, block = self.pick(1, 3), self.pick(1, 3)
            shape = [self.items] + list(x.shape)
            shape[axis] = -(-shape[axis] // block)
            attributes = dict(axis=axis, block_size=block)
        spread = 10 / (high if high else 300)
        scales = self.constant(np.exp(self.rng.uniform(-1.5, 1, shape)).astype(np.float32) * np.float32(spread))
        n = int(np.prod(shape)) if shape else 1
        zeros = self.rng.integers(low // 2, high // 2 + 1, n)
        if numpy_type is not None:
            raw = zeros.astype(numpy_type).tobytes()
        elif high:
            nibbles = [int(z) & 15 for z in zeros] + [0]
            raw = bytes(nibbles[i] | nibbles[i + 1] << 4 for i in range(0, n, 2))
        else:
            raw = bytes(n)
        zero = self.name('c')
        tensor = T()
        tensor.name, tensor.data_type, tensor.raw_data = zero, dtype, raw
        tensor.dims.extend(shape)
        self.constants.append(tensor)
        saturate = dict(saturate=1) if 17 <= dtype <= 20 else {}  # NaN is refused in an output
        codes = self.node('QuantizeLinear', [self.x, scales, zero], **attributes, **saturate)
        return self.floats(self.node('DequantizeLinear', [codes, scales, zero], **attributes))

    def build(self):
        shape = (self.pick(1, 8), self.pick(3, 7), self.pick(3, 7))
        spread = float(np.exp(self.rng.uniform(-1, 3)))
        x = (self.rng.normal(0, spread, (self.items, *shape)) + self.rng.uniform(-spread, spread)).astype(np.float32)
        self.x, elem_type = 'x', T.FLOAT
        if self.kind in ('moves', 'conv') and self.chance(0.3):
            dtype, low, high, elem_type = TYPES[self.type]
            x = self.rng.integers(low, high + 1, x.shape).astype(dtype)
            scale, zero = self.parameters(spread / 60)
            coded = Coded('x', scale, zero, self.type, shape)
        else:
            coded = self.quantize('x', shape, spread / 60 * np.exp(self.rng.uniform(-1, 1)))
        y = getattr(self, self.kind)(coded)
        if y.kind is None:  # floats already
            self.nodes[-1].output[0], out_type = 'y', T.FLOAT
        elif self.kind == 'moves' and (elem_type != T.FLOAT or self.chance(0.5)) or self.chance(0.1):
            y.name, out_type = self.dequantize(y), T.FLOAT
        else:
            out_type = TYPES[y.kind][3]
        self.nodes[-1].output[0] = 'y'
        graph = H.make_graph(self.nodes, self.kind, [H.make_tensor_value_info('x', elem_type, ['N', *shape])],
                             [H.make_tensor_value_info('y', out_type, None)], self.constants)
        model = H.make_model(graph, opset_imports=[H.make_opsetid('', self.opset), H.make_opsetid('com.microsoft', 1)])
        model.ir_version = 10 if self.opset > 19 else 8
        return model, x, np.float32(y.scale) if out_type == T.FLOAT else np.float32(1)


# How many codes at most may differ, as a share, and by how many codes. Sigmoid and Softmax are functions of f32 in both,
# of different last bits; QLinearSoftmax sums a table of rounded exponentials. Average pools of int8 in QDQ graphs are no
# operators on codes in ONNX Runtime, but pools in float between DequantizeLinear and QuantizeLinear: ties differ where the
# zero point is odd.
SIGNED_AVERAGES = (0.15, 1)
KINDS = {'quantized': (0, 0), 'conv': (0, 0), 'matmul': (0, 0), 'gemm': (0, 0), 'add': (0, 0), 'mul': (0, 0),
         'concat': (0, 0), 'globalaverage': (0, 0), 'average': (0, 0), 'maxpool': (0, 0), 'moves': (0, 0),
         'leaky': (0, 0), 'dynamic': (0, 0), 'dynamicnet': (0, 0), 'convinteger': (0, 0), 'product': (0, 0), 'narrow': (0, 0),
         'sigmoid': (0.01, 1), 'softmax': (0.01, 1)}


def need():
    """Skip where there is no ONNX Runtime whose sums are exact."""
    if shutil.which('node') is None:
        skip('node is not there')
    if subprocess.run(['node', '-e', 'require("onnxruntime-node")'], cwd=HERE, stderr=subprocess.DEVNULL).returncode:
        skip('node finds no onnxruntime-node (set NODE_PATH)')
    if 'vnni' not in open('/proc/cpuinfo').read():
        skip("this CPU has no VNNI, and without it ONNX Runtime's int8 sums saturate")


def main():
    words = sys.argv[1:] + [''] * 5
    quern = words[0] or os.path.join(HERE, '..', '..', 'build', 'release', 'quern')
    kinds = words[1].split(',') if words[1] else list(KINDS)
    n_cases, level = int(words[2] or 20), words[3] or 'all'
    need()
    folder = words[4] or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    scales = {}
    for kind in kinds:
        for seed in range(n_cases):
            for qdq in (0, 1):
                name = '%s_%s_%d' % (kind, 'qdq' if qdq else 'qop', seed)
                model, x, scales[name] = Network(kind, seed, qdq).build()
                onnx.save(model, os.path.join(folder, name + '.onnx'))
                np.save(os.path.join(folder, name + '.x.npy'), x)
    print(subprocess.run(['node', os.path.join(HERE, 'run_cases.js'), folder, level], capture_output=True, text=True,
                         check=True).stdout, end='')
    bad = False
    for kind in kinds:
        for form in ('qop', 'qdq'):
            n, wrong, most, examples, refused = 0, 0, 0, [], 0
            for seed in range(n_cases):
                name = '%s_%s_%d' % (kind, form, seed)
                path = os.path.join(folder, name)
                if not os.path.exists(path + '.ort.npy'):
                    refused += 1
                    continue
                engine = 'simulate' if kind == 'narrow' else 'integer'  # which has no values of such codes
                ran = subprocess.run([quern, 'eval', path + '.onnx', '--engine', engine, '--data', path + '.x.npy', '-q',
                                      '-f', '--logits', path + '.quern.npy'], capture_output=True, text=True)
                if ran.returncode != 0:
                    print('%s: %s' % (name, ran.stderr.strip()))
                    bad = True
                    continue
                ours, theirs = np.load(path + '.quern.npy'), np.load(path + '.ort.npy')
                if ours.size != theirs.size:
                    print('%s: shape %s, ONNX Runtime %s' % (name, ours.shape, theirs.shape))
                    bad = True
                    continue
                same = (ours.ravel() == theirs.ravel()) | (np.isnan(ours.ravel()) & np.isnan(theirs.ravel()))
                differ = np.where(same, 0, np.abs(ours.ravel().astype(np.float64) - theirs.ravel()) / scales[name])
                n += differ.size
                count = np.count_nonzero(~same)
                wrong += count
                most = max(most, differ.max())
                examples += [name] if count else []
            share, codes = SIGNED_AVERAGES if form == 'qdq' and 'average' in kind else KINDS[kind]
            good = wrong <= share * n and most <= codes + 1e-3
            bad |= not good
            print('%-14s %s  %d of %d codes differ, by %.3g at most%s%s%s' %
                  (kind, form, wrong, n, most, '' if good else '  TOO MANY',
                   '; refused by ONNX Runtime: %d' % refused if refused else '',
                   '  (%s)' % ' '.join(examples[:4]) if examples else ''))
    if not words[4]:
        shutil.rmtree(folder)
    return 4 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
