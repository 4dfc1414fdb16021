#!/usr/bin/python3
"""Do quern and ONNX Runtime compute the same codes of whole networks that other tools quantized?

usage: networks.py [QUERN [SEEDS [LEVEL [DIR [LAYERS]]]]]
Defaults: build/release/quern, 1..40, all, a folder of its own, all kinds of layers (a list with commas).
LEVEL is what ONNX Runtime optimizes, all or disabled.

Random networks of up to nine layers as quantizers write them: QDQ and QOperator, uint8 and int8, asymmetric, symmetric and
with powers of two for scales, weights per tensor and per channel, uint8 weights with zero points, biases as int32 codes, as
floats and none, inputs and outputs that are floats or codes, scales that saturate. Of a network whose codes differ the first
layer that makes them differ is found: the network is cut off behind ever fewer layers. Prints how many networks differ because
of which kind of layer, and at which rate. Exit: 0 all as the table FLOATS wants it, 4 not, 77 skipped (the reason is printed).
Needs what quantized.py needs.
"""
import collections
import os
import subprocess
import sys
import tempfile

import quantized
from quantized import Coded, H, NH, T, TYPES, np, onnx

HERE = quantized.HERE

# What ONNX Runtime computes in floats, or otherwise than its own float operators: the share of codes that may differ, and by
# how many codes, where the first difference is behind it. All else is the same bits. doc/spec/onnx.md 1.4 says why each of
# them differs.
FLOATS = {'ConvTranspose': (0.01, 1), 'activation': (0.01, 1), 'average of int8': (0.5, 1), 'softmax': (1, 255),
          'sigmoid': (0.01, 1), 'swish': (0.01, 1), 'squeezesigmoid': (0.01, 1), 'tanh': (0.01, 1), 'gelu': (0.01, 1),
          'normalization': (0.01, 1), 'float constants': (0.01, 1), 'two pairs': (1, 255), 'clip': (1, 255), 'relu': (1, 255)}


class Whole(quantized.Network):
    def __init__(self, seed, depth=99, layers=None, items=6):
        super().__init__('whole', seed, 0, items)
        self.items = items
        self.rng = np.random.default_rng([seed, 77])
        self.qdq = self.pick(0, 2) > 0
        self.type = 'u8' if self.chance(0.5) else 's8'
        self.style = ['asymmetric', 'symmetric', 'powers', 'odd', 'extreme'][self.pick(0, 4)]
        self.per_channel, self.depth, self.only, self.done = self.chance(0.6), depth, layers, []
        styles = np.random.default_rng([seed, 78])
        self.share, self.pairs, self.decoded = styles.random() < 0.5, self.qdq and styles.random() < 0.25, {}
        self.floats_of = []  # what ONNX Runtime leaves in floats, or evaluates otherwise than it says

    # Parameters.
    def result(self, shape, typical, low_zero=False):
        """A coded value without a name, for numbers of that size; low_zero: none of them negative."""
        _, low, high, _ = TYPES[self.type]
        scale, zero = typical * 3.5 / 128, (low + high + 1) // 2
        if self.style == 'powers':
            scale = 2.0 ** np.rint(np.log2(scale))
        elif self.style != 'symmetric':
            scale *= np.exp(self.rng.uniform(-0.4, 0.4))
            zero += self.pick(-50, 50)
            if low_zero and self.chance(0.8):
                zero = low
            if self.style == 'odd':
                zero |= 1
        if self.style == 'extreme' and self.chance(0.3):
            scale *= np.exp(self.rng.uniform(-4, 4))
        dtype = TYPES[self.type][0]
        coded = Coded(None, np.float32(scale), dtype(min(max(zero, low), high)), self.type, shape)
        coded.typical = typical
        return coded

    def like(self, x, name=None, shape=None):
        coded = Coded(name, x.scale, x.zero, x.kind, shape or x.shape)
        coded.typical = x.typical
        return coded

    def names_of(self, coded):
        return [self.constant(np.float32(coded.scale)), self.constant(TYPES[coded.kind][0](coded.zero))]

    def floats(self, x):
        """What a DequantizeLinear makes of it: one for all readers, or one for each."""
        if not self.share or x.name not in self.decoded:
            self.decoded[x.name] = self.dequantize(x)
        return self.decoded[x.name]

    def code(self, y, result):
        result.name = self.node('QuantizeLinear', [y] + self.names_of(result))
        return result

    def weight(self, shape, axis, size):
        """Codes and scales of weights with values of that size; (names, scales)."""
        unsigned = self.type == 'u8' and self.chance(0.3)
        dtype, low, high, _ = TYPES['u8' if unsigned else 's8']
        low = max(low, -127)
        zero = self.pick(100, 156) if unsigned else 0
        codes = np.clip(np.rint(self.rng.normal(zero, 45, shape)), low, high).astype(dtype)
        n = shape[axis] if axis is not None and self.per_channel else None
        scale = np.float32(size / 45) * np.exp(self.rng.uniform(-0.8, 0.8, n)).astype(np.float32)
        if self.style == 'powers':
            scale = (2.0 ** np.rint(np.log2(scale))).astype(np.float32)
        scale = np.asarray(scale, np.float32)
        zeros = np.full(n, zero, dtype) if n else dtype(zero)
        names = [self.constant(codes), self.constant(scale), self.constant(zeros)]
        if self.pairs:  # a float initializer, quantized in the graph
            by_channel = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))]) if n else scale
            values = ((codes.astype(np.int32) - zero) * by_channel).astype(np.float32)
            names[0] = self.node('QuantizeLinear', [self.constant(values)] + names[1:], **(dict(axis=axis) if n else {}))
        return names, scale

    def bias(self, x, scale, out):
        """(names in QOperator, name of the floats in QDQ)"""
        if self.chance(0.25):
            return [], []
        full = np.broadcast_to((x.scale * scale).astype(np.float32), (out,) if scale.shape else ())
        codes = np.rint(self.rng.normal(0, x.typical * 0.5, out) / full).clip(-2**30, 2**30).astype(np.int32)
        name = self.constant(codes)
        if not self.qdq:
            return [name], []
        if self.chance(0.12) and self.style != 'extreme':
            return [], [self.constant(self.rng.normal(0, x.typical * 0.5, out).astype(np.float32))]
        inputs = [name, self.constant(full)]
        if self.chance(0.3):
            inputs.append(self.constant(np.zeros(full.shape, np.int32)))
        return [], [self.node('DequantizeLinear', inputs, axis=0)]

    def unary(self, kind, x, result, extra=(), qlinear=None, **attributes):
        if not self.qdq and qlinear:
            result.name = self.node(qlinear, self.triple(x) + self.names_of(result), 'com.microsoft', **attributes)
            return result
        return self.code(self.node(kind, [self.floats(x)] + list(extra), **attributes), result)

    def move(self, kind, x, shape, extra=(), **attributes):
        """An operator that moves codes: on codes, or between pairs of the same parameters; at times of others."""
        if not self.qdq:
            return self.like(x, self.node(kind, [x.name] + list(extra), **attributes), shape)
        y = self.node(kind, [self.floats(x)] + list(extra), **attributes)
        result = self.like(x, None, shape)
        if self.chance(0.2):
            result = self.result(shape, x.typical)
            self.floats_of.append('two pairs')
        return self.code(y, result)

    # Layers of maps [C, H, W].
    def convolution(self, x, out, kernel, group=1, act=None, pads=None, strides=None, dilations=None, kind='Conv', **more):
        channels = x.shape[0]
        per, rank = channels // group, len(kernel)
        strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
        w_shape = (out, per, *kernel) if kind == 'Conv' else (channels, out // group, *kernel)
        pairs, self.pairs = self.pairs, self.pairs and kind == 'Conv'
        w, scale = self.weight(w_shape, 0 if kind == 'Conv' or group > 1 else 1, 1 / np.sqrt(per * np.prod(kernel)))
        self.pairs = pairs
        if kind != 'Conv' and group > 1 and scale.shape:
            w[1], w[2] = self.constant(np.float32(scale[0])), self.constant(np.zeros((), np.int8))
            scale = np.float32(scale[0])
            w[0] = self.constant(self.rng.integers(-127, 128, w_shape).astype(np.int8))
        spans = [dilations[i] * (kernel[i] - 1) + 1 for i in range(rank)]
        if kind == 'Conv':
            size = [(x.shape[1 + i] + pads[i] + pads[rank + i] - spans[i]) // strides[i] + 1 for i in range(rank)]
        else:
            size = [(x.shape[1 + i] - 1) * strides[i] + spans[i] - pads[i] - pads[rank + i] for i in range(rank)]
        result = self.result((out, *size), x.typical, act is not None)
        attributes = dict(kernel_shape=kernel, strides=strides, dilations=dilations, group=group, pads=pads, **more)
        codes, floats = self.bias(x, scale if kind == 'Conv' or not scale.shape or scale.shape[0] == out else
                                  np.float32(scale.flat[0]), out)
        if not self.qdq and kind == 'Conv':
            result.name = self.node('QLinearConv', self.triple(x) + w + self.names_of(result) + codes, **attributes)
            return result
        axis = 0 if kind == 'Conv' or group > 1 else 1
        y = self.node(kind, [self.floats(x), self.node('DequantizeLinear', w, axis=axis)] + floats, **attributes)
        if kind == 'ConvTranspose':
            self.floats_of.append(kind)
        elif act and (result.zero != TYPES[self.type][1] or act == 'relu6' and self.greatest(result) > 6):
            self.floats_of.append('activation')
        if act == 'relu':
            y = self.node('Relu', [y])
        elif act == 'relu6':
            y = self.node('Clip', [y, self.constant(np.float32(0)), self.constant(np.float32(6))])
        return self.code(y, result)

    def greatest(self, coded):
        return (TYPES[coded.kind][2] - int(coded.zero)) * coded.scale

    def act(self):
        return [None, 'relu', 'relu6'][self.pick(0, 2)]

    def conv(self, x):
        c, h, w = x.shape
        group = [1, c, 1, 2][self.pick(0, 3)]
        group = group if c % group == 0 else 1
        out = group * self.pick(1, max(1, 12 // group)) if group > 1 else self.pick(2, 20)
        kernel = [self.pick(1, min(3, h)), self.pick(1, min(3, w))]
        dilations = [self.pick(1, 2) if h >= 5 else 1, self.pick(1, 2) if w >= 5 else 1]
        pads = [self.pick(0, kernel[i % 2] - 1) for i in range(4)]
        strides = [self.pick(1, 2), self.pick(1, 2)]
        return self.convolution(x, out, kernel, group, self.act(), pads, strides, dilations)

    def conv1(self, x):
        c, h, w = x.shape
        line = self.move('Reshape', x, (c, h * w), [self.constant(np.array([0, 0, -1], np.int64))])
        kernel = self.pick(1, min(4, h * w))
        group = c if self.chance(0.3) else 1
        out = c if group > 1 else self.pick(2, 12)
        y = self.convolution(line, out, [kernel], group, self.act(), [self.pick(0, kernel - 1), self.pick(0, kernel - 1)])
        return self.move('Unsqueeze', y, (out, 1, y.shape[1]), [self.constant(np.array([2], np.int64))])

    def convtranspose(self, x):
        kernel = [self.pick(1, 3), self.pick(1, 3)]
        return self.convolution(x, self.pick(2, 8), kernel, 1, self.act(), None, [self.pick(1, 2), self.pick(1, 2)],
                                kind='ConvTranspose')

    def pointwise(self, x, out=None, act=None):
        return self.convolution(x, out or x.shape[0], [1, 1], 1, act)

    def residual(self, x):
        a = self.pointwise(x, act=self.act())
        b = x if self.chance(0.5) else self.pointwise(x)
        result = self.result(x.shape, x.typical * 1.4)
        if not self.qdq:
            return self.operator('Add', 'QLinearAdd', [a, b], result)
        y = self.node('Add', [self.floats(a), self.floats(b)])
        if self.chance(0.4):
            y = self.node('Relu', [y])
            self.floats_of += ['activation'] if result.zero != TYPES[self.type][1] else []
        return self.code(y, result)

    def difference(self, x):
        b = self.pointwise(x)
        return self.code(self.node('Sub', [self.floats(x), self.floats(b)]), self.result(x.shape, x.typical * 1.4))

    def coded_constant(self, shape, typical):
        """A constant with codes of the activations' type."""
        coded = self.result(shape, typical)
        _, low, high, _ = TYPES[self.type]
        coded.name = self.constant(self.rng.integers(low, high + 1, shape).astype(TYPES[self.type][0]))
        return coded

    def operand(self, x):
        return self.coded_constant([(x.shape[0], 1, 1), (1,), (1, 1, 1, 1)][self.pick(0, 2)], x.typical)

    def addconstant(self, x):
        return self.operator('Add', 'QLinearAdd', [x, self.operand(x)], self.result(x.shape, x.typical * 1.4))

    def mulconstant(self, x):
        other = self.operand(x)
        return self.operator('Mul', 'QLinearMul', [x, other][::self.pick(0, 1) * 2 - 1],
                             self.result(x.shape, x.typical * other.typical))

    def mul(self, x):
        b = self.pointwise(x)
        return self.operator('Mul', 'QLinearMul', [x, b], self.result(x.shape, x.typical * b.typical))

    def affine(self, x):
        """With float constants, between pairs."""
        self.floats_of.append('float constants')
        shape = [(x.shape[0], 1, 1), (1,), ()][self.pick(0, 2)]
        kind = ['Mul', 'Add', 'Sub', 'Div'][self.pick(0, 3)]
        y = self.node(kind, [self.floats(x), self.constant(self.rng.uniform(0.4, 1.6, shape).astype(np.float32))])
        return self.code(y, self.result(x.shape, x.typical))

    def gate(self, x, act, typical=0.5):
        if act == 'HardSigmoid':
            return self.unary(act, x, self.result(x.shape, 0.28, True), alpha=1 / 6 if self.chance(0.7) else 0.2)
        return self.unary(act, x, self.result(x.shape, 0.28, True), qlinear='QLinear' + act)

    def squeeze(self, x, act):
        y = self.globalaverage(x)
        y = self.pointwise(y, self.pick(1, 4), 'relu')
        y = self.gate(self.pointwise(y, x.shape[0]), act)
        return self.operator('Mul', 'QLinearMul', [x, y], self.result(x.shape, x.typical * 0.6))

    def squeezehard(self, x):
        return self.squeeze(x, 'HardSigmoid')

    def squeezesigmoid(self, x):
        return self.squeeze(x, 'Sigmoid')

    def swish(self, x):
        return self.operator('Mul', 'QLinearMul', [x, self.gate(x, 'Sigmoid')], self.result(x.shape, x.typical * 0.6))

    def hardswish(self, x):
        return self.unary('HardSwish', x, self.result(x.shape, x.typical * 0.6))

    def hardsigmoid(self, x):
        return self.gate(x, 'HardSigmoid')

    def sigmoid(self, x):
        return self.gate(x, 'Sigmoid')

    def tanh(self, x):
        return self.unary('Tanh', x, self.result(x.shape, 0.5))

    def gelu(self, x):
        y = self.floats(x)
        part = self.node('Erf', [self.node('Div', [y, self.constant(np.float32(np.sqrt(2)))])])
        part = self.node('Add', [part, self.constant(np.float32(1))])
        y = self.node('Mul', [self.node('Mul', [y, part]), self.constant(np.float32(0.5))])
        return self.code(y, self.result(x.shape, x.typical * 0.6))

    def leaky(self, x):
        return self.unary('LeakyRelu', x, self.result(x.shape, x.typical), qlinear='QLinearLeakyRelu',
                          alpha=float(self.rng.uniform(0.01, 0.3)))

    def relu(self, x):
        self.floats_of.append('relu')
        return self.unary('Relu', x, self.result(x.shape, x.typical, True))

    def clip(self, x):
        bounds = [self.constant(np.float32(b)) for b in ([0, 6], [-1, 1], [-0.3, 2.7])[self.pick(0, 2)]]
        self.floats_of.append('clip')
        return self.unary('Clip', x, self.result(x.shape, x.typical), bounds)

    def prelu(self, x):
        slope = self.coded_constant((x.shape[0], 1, 1), 0.3)
        return self.code(self.node('PRelu', [self.floats(x), self.floats(slope)]), self.result(x.shape, x.typical))

    def concat(self, x):
        parts = [self.pointwise(x, self.pick(1, 5), self.act()) for _ in range(self.pick(1, 3))] + [x]
        result = self.result((sum(p.shape[0] for p in parts), *x.shape[1:]), x.typical)
        if self.chance(0.2):
            result = self.like(x, None, result.shape)
        return self.operator('Concat', 'QLinearConcat', parts, result, order='result first', axis=1)

    def shuffle(self, x):
        c, h, w = x.shape
        if c % 2:
            x = self.pointwise(x, c + 1)
            c += 1
        half = self.constant(np.array([c // 2, c // 2], np.int64))
        source = x.name if not self.qdq else self.floats(x)
        names = self.node('Split', [source, half], outputs=2, axis=1)
        parts = [self.like(x, n, (c // 2, h, w)) for n in names]
        if self.qdq:
            parts = [self.code(p.name, p) for p in parts]
        parts[1] = self.pointwise(parts[1], None, 'relu')
        result = self.result(x.shape, x.typical)
        y = self.operator('Concat', 'QLinearConcat', parts, result, order='result first', axis=1)
        y = self.move('Reshape', y, (2, c // 2, h, w), [self.constant(np.array([0, 2, c // 2, h, w], np.int64))])
        y = self.move('Transpose', y, (c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
        return self.move('Reshape', y, (c, h, w), [self.constant(np.array([0, c, h, w], np.int64))])

    def slice(self, x):
        c, h, w = x.shape
        ends = [self.pick((c + 1) // 2, c), self.pick((h + 1) // 2, h)]
        extra = [self.constant(np.array(v, np.int64)) for v in ([0, 0], ends, [1, 2], [1, 1])]
        return self.move('Slice', x, (*ends, w), extra)

    def pad(self, x):
        c, h, w = x.shape
        mode = ['constant', 'reflect', 'edge'][self.pick(0, 2)] if h > 2 and w > 2 else 'constant'
        extra = [self.constant(np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64))]
        if not self.qdq:  # zero codes around; floats would be 0
            extra.append(self.constant(np.array(x.zero, TYPES[x.kind][0])))
        return self.move('Pad', x, (c, h + 1, w + 2), extra, mode=mode)

    def resize(self, x):
        c, h, w = x.shape
        if h * w > 100:
            return self.maxpool(x)
        extra = ['', self.constant(np.array([1, 1, 2, 2], np.float32))]
        return self.move('Resize', x, (c, 2 * h, 2 * w), extra, mode='nearest', nearest_mode='floor',
                         coordinate_transformation_mode='asymmetric')

    def transpose(self, x):
        return self.move('Transpose', x, (x.shape[0], x.shape[2], x.shape[1]), perm=[0, 1, 3, 2])

    def window(self, x, ceil=True):
        kernel = [self.pick(1, min(3, n)) for n in x.shape[1:]]
        strides = [self.pick(1, 2), self.pick(1, 2)]
        pads = [self.pick(0, kernel[i % 2] - 1) for i in range(4)]
        ceil = self.pick(0, 1) if ceil and not any(pads) else 0
        size = [(x.shape[1 + i] + pads[i] + pads[2 + i] - kernel[i] + ceil * (strides[i] - 1)) // strides[i] + 1
                for i in range(2)]
        size = [n - ((n - 1) * strides[i] >= x.shape[1 + i] + pads[i]) for i, n in enumerate(size)]  # begins inside
        return dict(kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil), (x.shape[0], *size)

    def maxpool(self, x):
        attributes, shape = self.window(x)
        return self.move('MaxPool', x, shape, **attributes)

    def average(self, x):
        attributes, shape = self.window(x, False)
        result = self.like(x, None, shape) if self.chance(0.5) else self.result(shape, x.typical * 0.7)
        self.floats_of += ['average of int8'] if self.qdq and self.type == 's8' else []
        return self.unary('AveragePool', x, result, qlinear='QLinearAveragePool', count_include_pad=self.pick(0, 1),
                          **attributes)

    def globalaverage(self, x):
        result = self.result((x.shape[0], 1, 1), x.typical * 0.5)
        return self.unary('GlobalAveragePool', x, result, qlinear='QLinearGlobalAveragePool')

    def reducemean(self, x):
        result = self.result((x.shape[0], 1, 1), x.typical * 0.5)
        if not self.qdq:
            return self.globalaverage(x)
        return self.code(self.node('ReduceMean', [self.floats(x)], axes=[2, 3], keepdims=1), result)

    def attention(self, x):
        """A product of two activations, over the columns."""
        b = self.move('Transpose', self.pointwise(x), (x.shape[0], x.shape[2], x.shape[1]), perm=[0, 1, 3, 2])
        result = self.result((x.shape[0], x.shape[1], x.shape[1]), x.typical * b.typical * np.sqrt(x.shape[2]))
        if not self.qdq:
            result.name = self.node('QLinearMatMul', self.triple(x) + self.triple(b) + self.names_of(result))
            return result
        return self.code(self.node('MatMul', [self.floats(x), self.floats(b)]), result)

    def softmax(self, x):
        result = self.result(x.shape, 0.25, True)
        return self.unary('Softmax', x, result, axis=-1)

    def normalization(self, x):
        n = x.shape[2]
        extra = [self.constant(self.rng.normal(1, 0.2, n).astype(np.float32)),
                 self.constant(self.rng.normal(0, 0.2, n).astype(np.float32))]
        return self.unary('LayerNormalization', x, self.result(x.shape, 1), extra, axis=-1)

    def largest(self, x):
        b = self.pointwise(x)
        kind = 'Max' if self.chance(0.5) else 'Min'
        return self.code(self.node(kind, [self.floats(x), self.floats(b)]), self.result(x.shape, x.typical))

    def matmul(self, x):
        """Along the last axis; at times with a bias added behind."""
        out = self.pick(1, 12)
        w, scale = self.weight((x.shape[2], out), 1, 1 / np.sqrt(x.shape[2]))
        result = self.result((*x.shape[:2], out), x.typical)
        if not self.qdq:
            result.name = self.node('QLinearMatMul', self.triple(x) + w + self.names_of(result))
            return result
        y = self.node('MatMul', [self.floats(x), self.node('DequantizeLinear', w, axis=1)])
        if self.chance(0.4):
            y = self.code(y, self.result(result.shape, x.typical))
            bias = self.coded_constant((out,), x.typical)
            y = self.node('Add', [self.floats(y), self.floats(bias)])
        return self.code(y, result)

    def gemm(self, x):
        n, out = int(np.prod(x.shape)), self.pick(1, 30)
        row = self.move('Flatten', x, (n,), axis=1)
        trans = self.pick(0, 1)
        w, scale = self.weight((out, n) if trans else (n, out), 1 - trans, 1 / np.sqrt(n))
        result = self.result((out,), x.typical)
        codes, floats = self.bias(row, scale, out)
        if self.qdq:
            inputs = [self.floats(row), self.node('DequantizeLinear', w, axis=1 - trans)] + floats
            y = self.node('Gemm', inputs, transB=trans)
            if self.chance(0.3):
                y = self.node('Relu', [y])
                self.floats_of += ['activation'] if result.zero != TYPES[self.type][1] else []
            y = self.code(y, result)
        else:
            inputs = self.triple(row) + w + (codes or ['']) + self.names_of(result)
            y = result
            y.name = self.node('QGemm', inputs, 'com.microsoft', transB=trans)
        return self.move('Reshape', y, (out, 1, 1), [self.constant(np.array([0, out, 1, 1], np.int64))])

    EXACT = ('conv conv conv conv conv1 convtranspose residual residual difference addconstant mulconstant mul squeezehard '
             'hardswish hardsigmoid affine leaky relu clip prelu concat shuffle slice pad resize transpose maxpool average '
             'globalaverage reducemean attention largest matmul gemm').split()
    ROUGH = 'sigmoid swish squeezesigmoid tanh gelu softmax normalization'.split()

    def build(self):
        c, h, w = shape = (self.pick(1, 6), self.pick(4, 9), self.pick(4, 9))
        values = self.rng.normal(0, 1, (self.items, *shape)) * np.exp(self.rng.uniform(-0.3, 0.7))
        x = self.result(shape, 1)
        if self.chance(0.7):
            data, elem_type, result = values.astype(np.float32), T.FLOAT, x
            x = self.code('x', x)
        else:
            dtype, low, high, elem_type = TYPES[self.type]
            data = np.clip(np.rint(values / x.scale) + x.zero, low, high).astype(dtype)
            x.name = 'x'
        for _ in range(min(self.pick(2, 9), self.depth)):
            words = self.only or (self.EXACT if self.chance(0.94) else self.ROUGH)
            word = words[self.pick(0, len(words) - 1)]
            if min(x.shape[1:]) < 2 and word in ('pad', 'attention', 'slice') or np.prod(x.shape) > 4000:
                word = 'maxpool'
            if x.typical > 30 or x.typical < 0.03:
                word = 'normalization' if 'normalization' in words else 'conv'
            x = getattr(self, word)(x)
            self.done.append(word)
            self.floats_of += [word] if word in self.ROUGH else []
        if np.random.default_rng([self.n]).random() < 0.6:
            self.node('DequantizeLinear', self.triple(x))
            out_type, step = T.FLOAT, x.scale
        else:
            out_type, step = TYPES[x.kind][3], np.float32(1)
        self.nodes[-1].output[0] = 'y'
        graph = H.make_graph(self.nodes, 'whole', [H.make_tensor_value_info('x', elem_type, ['N', *shape])],
                             [H.make_tensor_value_info('y', out_type, None)], self.constants)
        model = H.make_model(graph, opset_imports=[H.make_opsetid('', 17), H.make_opsetid('com.microsoft', 1)])
        model.ir_version = 8
        return model, data, step


class Trial:
    """Networks in a folder, run by both."""

    def __init__(self, quern, level, folder, layers):
        self.quern, self.level, self.folder, self.layers, self.told = quern, level, folder, layers, set()

    def run(self, networks):
        """{(seed, depth): (layers, share of codes that differ, by how many at most, form)}; None refused by ONNX Runtime."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            made = {}
            for seed, depth in networks:
                network = Whole(seed, depth, self.layers)
                model, x, step = network.build()
                path = os.path.join(folder, '%d_%d' % (seed, depth))
                onnx.save(model, path + '.onnx')
                np.save(path + '.x.npy', x)
                form = '%s %s %s' % ('qdq' if network.qdq else 'qop', network.type, network.style)
                made[seed, depth] = (path, network.done, step, form, network.floats_of)
            print(subprocess.run(['node', os.path.join(HERE, 'run_cases.js'), folder, self.level], capture_output=True,
                                 text=True, check=True).stdout, end='')
            return {key: self.one(*value) for key, value in made.items()}

    def one(self, path, layers, step, form, floats):
        if not os.path.exists(path + '.ort.npy'):
            return None
        ran = subprocess.run([self.quern, 'eval', path + '.onnx', '--engine', 'integer', '--data', path + '.x.npy', '-q', '-f',
                              '--logits', path + '.quern.npy'], capture_output=True, text=True)
        if ran.returncode != 0:
            return layers, floats, 1.0, np.inf, form + ': ' + ran.stderr.strip()
        ours, theirs = np.load(path + '.quern.npy').ravel(), np.load(path + '.ort.npy').ravel()
        if ours.size != theirs.size:
            return layers, floats, 1.0, np.inf, form + ': %d numbers instead of %d' % (ours.size, theirs.size)
        differ = np.abs(ours.astype(np.float64) - theirs) / step
        return layers, floats, np.mean(ours != theirs), differ.max(), form


def main():
    words = sys.argv[1:] + [''] * 5
    quern = words[0] or os.path.join(HERE, '..', '..', 'build', 'release', 'quern')
    first, last = map(int, (words[1] or '1..40').split('..'))
    quantized.need()
    folder = words[3] or tempfile.gettempdir()
    os.makedirs(folder, exist_ok=True)
    trial = Trial(quern, words[2] or 'all', folder, words[4].split(',') if words[4] else None)
    results = trial.run([(seed, 99) for seed in range(first, last + 1)])
    refused = sum(r is None for r in results.values())
    differ = [(seed, r) for (seed, _), r in results.items() if r is not None and r[2] > 0]
    cuts = trial.run([(seed, depth) for seed, r in differ for depth in range(1, len(r[0]) + 1)])
    causes = collections.defaultdict(list)
    for seed, whole in differ:
        for depth in range(1, len(whole[0]) + 1):
            cut = cuts[seed, depth]
            if cut is not None and cut[2] > 0:
                causes['/'.join(sorted(set(cut[1]))) or cut[0][-1] + ' EXACT'].append((seed, depth) + cut)
                break
        else:
            causes['/'.join(sorted(set(whole[1]))) or 'the whole EXACT'].append((seed, 99) + whole)
    counted = collections.Counter(word for r in results.values() if r is not None for word in set(r[1]))
    print('%d networks, %d refused by ONNX Runtime, %d differ' % (len(results), refused, len(differ)))
    bad = False
    for kind, cases in sorted(causes.items()):
        allowed = [FLOATS.get(word, (0, 0)) for word in kind.split('/')]
        share, codes = max(a[0] for a in allowed), max(a[1] for a in allowed)
        codes = 3 * codes if len(allowed) > 1 or codes == 1 and any(len(case[2]) > 1 for case in cases) else codes
        good = all(case[4] <= share and case[5] <= codes + 1e-3 for case in cases)
        bad |= not good
        print('%s: first to differ in %d networks%s%s' %
              (kind, len(cases), ' of %d' % counted[kind] if kind in counted else '', '' if good else '  TOO MANY'))
        for seed, depth, layers, _, share, most, form in cases[:6]:
            print('  %d..%d cut behind layer %d (%s), %s: %.3g of the codes, by %.3g' %
                  (seed, seed, depth, ' '.join(layers), form, share, most))
    return 4 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
