#!/usr/bin/python3
"""A random small float network and inputs for it: MODEL.onnx and INPUTS.npy. For comparing quantized networks of shapes
that nobody thought of with ONNX Runtime (compare.sh).

usage: random_network.py SEED MODEL.onnx INPUTS.npy      Needs python3-onnx.
Values are (name, channels, height, width).
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as NH

ITEMS, MAX_ELEMENTS = 12, 40000


class Network:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.shape = (self.pick(1, 6), self.pick(6, 18), self.pick(6, 18))
        spread, shift = self.rng.uniform(0.3, 3), self.rng.uniform(-1, 1)
        self.x = (self.normal((ITEMS,) + self.shape) * spread + shift).astype(np.float32)
        self.last = ('x',) + self.shape

    def pick(self, low, high):
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share):
        return self.rng.random() < share

    def normal(self, shape, fan=1):
        return (self.rng.normal(0, 1, shape) / np.sqrt(fan)).astype(np.float32)

    def constant(self, array):
        name = 'c%d' % len(self.constants)
        self.constants.append(NH.from_array(np.asarray(array), name))
        return name

    def node(self, kind, *inputs, **attributes):
        name = 'v%d' % len(self.nodes)
        self.nodes.append(H.make_node(kind, list(inputs), [name], name='n_' + name, **attributes))
        return name

    def either_way(self, kind, a, b):
        return self.node(kind, *((a, b) if self.chance(0.5) else (b, a)))

    def activation(self, value):
        name, kind = value[0], self.rng.random()
        if kind < 0.4:
            name = self.node('Relu', name)
        elif kind < 0.55:
            low, high = (self.rng.uniform(-1, 0.2), self.rng.uniform(0.5, 2)) if kind < 0.5 else (0, 6)
            name = self.node('Clip', name, self.constant(np.float32(low)), self.constant(np.float32(high)))
        return (name,) + value[1:]

    def conv(self, value):
        name, channels, height, width = value
        kernel = [self.pick(1, min(5, height)), self.pick(1, min(5, width))]
        strides, dilations = [self.pick(1, 3), self.pick(1, 3)], [self.pick(1, 2), self.pick(1, 2)]
        pads = [self.pick(0, 2) for _ in range(4)]
        divisors = [g for g in range(1, channels + 1) if channels % g == 0]
        group = [1, channels, int(self.rng.choice(divisors)), 1][self.pick(0, 3)]
        outputs = channels if group == channels and group > 1 else group * self.pick(1, 70 if group == 1 else 8)
        size = [(n + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
                for i, n in enumerate((height, width))]
        if min(size) < 1:
            return value
        fan = channels // group * kernel[0] * kernel[1]
        weights = self.normal((outputs, channels // group, *kernel), fan)
        weights *= self.rng.uniform(0.05, 2, (outputs, 1, 1, 1)).astype(np.float32)
        bias = [self.constant(self.normal(outputs, 4))] if self.chance(0.8) else []
        name = self.node('Conv', name, self.constant(weights), *bias, kernel_shape=kernel, strides=strides,
                         dilations=dilations, pads=pads, group=group)
        if self.chance(0.3):
            ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.3, 2))
            name = self.node('BatchNormalization', name, *(
                self.constant(self.rng.uniform(low, high, outputs).astype(np.float32)) for low, high in ranges))
        return self.activation((name, outputs, size[0], size[1]))

    def pool(self, value):
        name, channels, height, width = value
        kernel, strides = [self.pick(1, min(4, height)), self.pick(1, min(4, width))], [self.pick(1, 3), self.pick(1, 3)]
        pads = [self.pick(0, kernel[i % 2] - 1) for i in range(4)]
        ceil_mode, size = self.pick(0, 1), []
        for i, n in enumerate((height, width)):
            room = n + pads[i] + pads[i + 2] - kernel[i]
            size.append(room // strides[i] + 1)
            if ceil_mode and room % strides[i] and size[i] * strides[i] < n + pads[i]:
                size[i] += 1
        own = {} if self.chance(0.5) else {'count_include_pad': self.pick(0, 1)}
        name = self.node('AveragePool' if own else 'MaxPool', name, kernel_shape=kernel, strides=strides, pads=pads,
                         ceil_mode=ceil_mode, **own)
        return self.activation((name, channels, size[0], size[1]))

    def add_constant(self, value):
        name, channels, height, width = value
        shape = [(channels, 1, 1), (1, height, width), (channels, height, width), (1, 1, width)][self.pick(0, 3)]
        return self.activation((self.either_way('Add', name, self.constant(self.normal(shape))),) + value[1:])

    def add_branch(self, value):
        name, channels = value[:2]
        weights = self.constant(self.normal((channels, channels, 1, 1), channels))
        branch = [self.node('Conv', name, weights, kernel_shape=[1, 1]), self.node('GlobalAveragePool', name),
                  self.node('GlobalMaxPool', name), name][self.pick(0, 3)]
        return self.activation((self.either_way('Add', name, branch),) + value[1:])

    def concat(self, value):
        name, channels, height, width = value
        other = [self.node('Relu', name), self.node('MaxPool', name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), name]
        axis = self.pick(1, 3)
        shape = [channels, height, width]
        shape[axis - 1] *= 2
        name = self.node('Concat', *((name, other[self.pick(0, 2)])[:: 1 if self.chance(0.5) else -1]), axis=axis)
        return self.activation((name, *shape))

    def move(self, value):
        name, channels, height, width = value
        kind = self.pick(0, 3)
        if kind == 0:
            return self.node('Transpose', name, perm=[0, 1, 3, 2]), channels, width, height
        if kind == 1:
            return self.node('Transpose', name, perm=[0, 2, 3, 1]), height, width, channels
        name = self.node('Flatten', name) if kind == 2 else name
        shape = self.constant(np.array([0, channels, width, height], np.int64))
        return self.node('Reshape', name, shape), channels, width, height

    def head(self, value):
        name, channels, height, width = value
        if self.chance(0.5):
            name, height, width = self.node('GlobalAveragePool', name), 1, 1
        inputs, outputs = channels * height * width, self.pick(2, 24)
        if inputs > 6000:
            return
        name = self.node('Flatten', name)
        if self.chance(0.5):
            weights, bias = self.constant(self.normal((outputs, inputs), inputs)), self.constant(self.normal(outputs))
            self.node('Gemm', name, weights, bias, transB=1, alpha=float(self.rng.choice([1, 0.5])))
        else:
            self.node('MatMul', name, self.constant(self.normal((inputs, outputs), inputs)))

    def build(self):
        makers = (self.conv, self.conv, self.conv, self.pool, self.add_constant, self.add_branch, self.concat, self.move)
        for _ in range(self.pick(3, 8)):
            if np.prod(self.last[1:]) < MAX_ELEMENTS:
                self.last = makers[self.pick(0, len(makers) - 1)](self.last)
        self.head(self.last)
        if not self.nodes:
            self.node('Relu', 'x')
        self.nodes[-1].output[0] = 'y'
        graph = H.make_graph(self.nodes, 'random', [H.make_tensor_value_info('x', T.FLOAT, ['N', *self.shape])],
                             [H.make_tensor_value_info('y', T.FLOAT, None)], self.constants)
        model = H.make_model(graph, opset_imports=[H.make_opsetid('', 13)])
        model.ir_version = 7
        return model


network = Network(int(sys.argv[1]))
onnx.save(network.build(), sys.argv[2])
np.save(sys.argv[3], network.x)
