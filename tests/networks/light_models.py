#!/usr/bin/python3
"""The nine networks of ONNX's "light models", as Caffe2 and its converters wrote them, made anew.

usage: light_models.py DIR [NAME...] [--side N] [--opset 7|8|9] [--quern PROGRAM]
Writes DIR/NAME.onnx, NAME_x.npy (one item) and NAME_y.npy: what the network gives, computed here with numpy. With
--quern that program runs each, in float and, quantized, in integers; exit code 1 when it fails or differs.
Their style: IR 3, every initializer is a graph input as well; large weights are made by ConstantOfShape nodes of an
initializer with their shape (opset 9; earlier ones have them as numbers); LRN, Dropout with ratio and mask, Reshape to
a constant shape, Unsqueeze of parameters, Softmax of everything behind axis 1, Gemm with transB, Sum of two.
"""
import argparse, os, subprocess, sys, zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGE = 16384  # elements of weights that are made by a node
MUCH = 20e6  # weights, above which quantizing takes longer than a test should


class Net:
    """Nodes are evaluated as they are added: a value is its name and its numbers."""

    def __init__(self, name, side, opset):
        self.name, self.opset, self.n, self.parameters = name, opset, 0, 0
        self.random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
        self.nodes, self.initializers, self.inputs = [], [], []
        self.x = self.random.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
        self.inputs.append(helper.make_tensor_value_info("data_0", TensorProto.FLOAT, self.x.shape))

    def start(self):
        return "data_0", self.x

    def fresh(self, what):
        self.n += 1
        return f"{what}_{self.n}"

    def add(self, op, inputs, result, n_outputs=1, **attributes):
        names = [self.fresh(op.lower()) for _ in range(n_outputs)]
        self.nodes.append(helper.make_node(op, [i[0] for i in inputs], names, **attributes))
        return names[0], result

    def initializer(self, array, what="w"):
        name = self.fresh(what)
        self.initializers.append(numpy_helper.from_array(array, name))
        kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
        return name, array

    def weights(self, shape, fan_in):
        """Means of some inputs, so that values stay as large as they were."""
        size = int(np.prod(shape))
        self.parameters += size
        if size < LARGE or self.opset < 9:
            return self.initializer((self.random.uniform(-0.5, 1.5, shape) / fan_in).astype(np.float32))
        value = np.float32(self.random.uniform(0.8, 1.2) / fan_in)
        shape_of = self.initializer(np.array(shape, np.int64), "shape")
        constant = helper.make_tensor("value", TensorProto.FLOAT, [1], [float(value)])
        return self.add("ConstantOfShape", [shape_of], np.full(shape, value, np.float32), value=constant)

    def classes(self, x):
        """The last layer has weights that differ, or a Softmax would hide what is before it; and moderate results."""
        fan_in = x[1].shape[1]
        w = self.random.normal(0, 1, (1000, fan_in))
        w = self.initializer((w / (w @ x[1].reshape(fan_in, -1)).std()).astype(np.float32))
        b = self.offsets(1000)
        if x[1].ndim == 4:
            w = self.reshape(w, [1000, fan_in, 1, 1])
            y = convolve(x[1], w[1], 1, 0, 1) + b[1].reshape(1, -1, 1, 1)
            return self.add("Conv", [x, w, b], y, kernel_shape=[1, 1])
        return self.add("Gemm", [x, w, b], x[1] @ w[1].T + b[1], transB=1)

    def offsets(self, n, low=-0.2, high=0.2):
        return self.initializer(self.random.uniform(low, high, n).astype(np.float32), "b")

    def conv(self, x, channels, kernel, stride=1, pad=0, group=1, bias=True):
        c = x[1].shape[1] // group
        w = self.weights((channels, c, kernel, kernel), c * kernel * kernel)
        b = [self.offsets(channels)] if bias else []
        y = convolve(x[1], w[1], stride, pad, group) + (b[0][1].reshape(1, -1, 1, 1) if bias else 0)
        return self.add("Conv", [x, w] + b, y.astype(np.float32), kernel_shape=[kernel] * 2, strides=[stride] * 2,
                        pads=[pad] * 4, group=group, dilations=[1, 1])

    def relu(self, x):
        return self.add("Relu", [x], np.maximum(x[1], 0))

    def batchnorm(self, x):
        n = x[1].shape[1]
        scale, bias = self.offsets(n, 0.8, 1.2), self.offsets(n)
        mean, var = self.offsets(n), self.offsets(n, 0.5, 1.5)
        by = lambda t: t[1].reshape(1, -1, 1, 1)
        y = (x[1] - by(mean)) / np.sqrt(by(var) + np.float32(1e-5)) * by(scale) + by(bias)
        attributes = {"epsilon": 1e-5, "momentum": 0.9, **({"spatial": 1} if self.opset < 9 else {})}
        return self.add("BatchNormalization", [x, scale, bias, mean, var], y.astype(np.float32), **attributes)

    def pool(self, op, x, kernel, stride, pads=(0, 0, 0, 0)):
        y = pooled(x[1], kernel, stride, pads, op == "MaxPool")
        return self.add(op, [x], y, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=list(pads))

    def ceiled_pool(self, op, x, kernel, stride):
        """Caffe rounds sizes up: pads at the end."""
        pads = [-(x[1].shape[2] - kernel) % stride, -(x[1].shape[3] - kernel) % stride]
        return self.pool(op, x, kernel, stride, (0, 0, pads[0], pads[1]))

    def global_average(self, x):
        return self.add("GlobalAveragePool", [x], x[1].mean((2, 3), keepdims=True))

    def lrn(self, x, size=5, alpha=1e-2, beta=0.75, bias=1.0):
        squares, n = x[1] ** 2, x[1].shape[1]
        sums = np.stack([squares[:, max(0, c - (size - 1) // 2):c + size // 2 + 1].sum(1) for c in range(n)], 1)
        y = x[1] / (bias + alpha / size * sums) ** beta
        return self.add("LRN", [x], y.astype(np.float32), size=size, alpha=alpha, beta=beta, bias=bias)

    def dropout(self, x):
        return self.add("Dropout", [x], x[1], n_outputs=2, ratio=0.5)

    def concat(self, parts):
        return self.add("Concat", parts, np.concatenate([p[1] for p in parts], 1), axis=1)

    def sum(self, a, b):
        return self.add("Sum", [a, b], a[1] + b[1])

    def reshape(self, x, shape):
        return self.add("Reshape", [x, self.initializer(np.array(shape, np.int64), "shape")], x[1].reshape(shape))

    def transpose(self, x, perm):
        return self.add("Transpose", [x], x[1].transpose(perm), perm=perm)

    def gemm(self, x, n):
        w, b = self.weights((n, x[1].shape[1]), x[1].shape[1]), self.offsets(n)
        return self.add("Gemm", [x, w, b], x[1] @ w[1].T + b[1], transB=1, alpha=1.0, beta=1.0)

    def scale(self, x):
        """Caffe's Scale: parameters that are unsqueezed to the shape of channels."""
        for op, low, high in (("Mul", 0.8, 1.2), ("Add", -0.2, 0.2)):
            p = self.offsets(x[1].shape[1], low, high)
            column = self.add("Unsqueeze", [p], p[1].reshape(-1, 1, 1), axes=[1, 2])
            x = self.add(op, [x, column], x[1] * column[1] if op == "Mul" else x[1] + column[1])
        return x

    def softmax(self, x):
        e = np.exp(x[1] - x[1].max())
        return self.add("Softmax", [x], e / e.sum())

    def save(self, folder, y):
        output = helper.make_tensor_value_info(y[0], TensorProto.FLOAT, y[1].shape)
        graph = helper.make_graph(self.nodes, self.name, self.inputs, [output], self.initializers)
        opset = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, producer_name="onnx-caffe2", opset_imports=opset)
        model.ir_version = 3
        onnx.save(model, f"{folder}/{self.name}.onnx")
        np.save(f"{folder}/{self.name}_x.npy", self.x)
        np.save(f"{folder}/{self.name}_y.npy", y[1])


def windows(x, kernel, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
    return view[:, :, ::stride, ::stride]


def convolve(x, w, stride, pad, group):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    parts, c, n = [], w.shape[1], w.shape[0] // group
    for g in range(group):
        columns = windows(x[:, g * c:(g + 1) * c], w.shape[2], stride)
        parts.append(np.tensordot(columns, w[g * n:(g + 1) * n], ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2))
    return np.concatenate(parts, 1)


def pooled(x, kernel, stride, pads, greatest):
    border = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    if greatest:
        return windows(np.pad(x, border, constant_values=-np.inf), kernel, stride).max((4, 5))
    counts = windows(np.pad(np.ones_like(x), border), kernel, stride).sum((4, 5))
    return (windows(np.pad(x, border), kernel, stride).sum((4, 5)) / counts).astype(np.float32)


def dense_end(net, x, widths):
    x = net.reshape(x, [1, -1])
    for width in widths:
        x = net.dropout(net.relu(net.gemm(x, width)))
    return net.softmax(net.classes(x))


def alexnet(net):
    x = net.pool("MaxPool", net.lrn(net.relu(net.conv(net.start(), 96, 11, 4))), 3, 2)
    x = net.pool("MaxPool", net.lrn(net.relu(net.conv(x, 256, 5, 1, 2, 2))), 3, 2)
    x = net.relu(net.conv(x, 384, 3, 1, 1))
    x = net.relu(net.conv(x, 384, 3, 1, 1, 2))
    x = net.ceiled_pool("MaxPool", net.relu(net.conv(x, 256, 3, 1, 1, 2)), 3, 2)
    return dense_end(net, x, (4096, 4096))


def zfnet512(net):
    x = net.ceiled_pool("MaxPool", net.lrn(net.relu(net.conv(net.start(), 96, 7, 2))), 3, 2)
    x = net.ceiled_pool("MaxPool", net.lrn(net.relu(net.conv(x, 256, 5, 2))), 3, 2)
    for channels in (512, 1024, 512):
        x = net.relu(net.conv(x, channels, 3, 1, 1))
    return dense_end(net, net.ceiled_pool("MaxPool", x, 3, 2), (4096, 4096))


def vgg19(net):
    x = net.start()
    for channels, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(repeats):
            x = net.relu(net.conv(x, channels, 3, 1, 1))
        x = net.pool("MaxPool", x, 2, 2)
    return dense_end(net, x, (4096, 4096))


def squeezenet(net):
    x = net.pool("MaxPool", net.relu(net.conv(net.start(), 64, 3, 2)), 3, 2)
    for i, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        expanded = 4 * squeezed
        s = net.relu(net.conv(x, squeezed, 1))
        x = net.concat([net.relu(net.conv(s, expanded, 1)), net.relu(net.conv(s, expanded, 3, 1, 1))])
        if i in (1, 3):
            x = net.ceiled_pool("MaxPool", x, 3, 2)
    x = net.relu(net.classes(net.dropout(x)))
    return net.softmax(net.global_average(x))


def resnet50(net):
    x = net.relu(net.batchnorm(net.conv(net.start(), 64, 7, 2, 3)))
    x = net.pool("MaxPool", x, 3, 2, (1, 1, 1, 1))
    for stage, repeats in enumerate((3, 4, 6, 3)):
        for i in range(repeats):
            width, stride = 64 << stage, 2 if i == 0 and stage > 0 else 1
            y = net.relu(net.batchnorm(net.conv(x, width, 1, stride, bias=False)))
            y = net.relu(net.batchnorm(net.conv(y, width, 3, 1, 1, bias=False)))
            y = net.batchnorm(net.conv(y, 4 * width, 1, bias=False))
            shortcut = net.batchnorm(net.conv(x, 4 * width, 1, stride, bias=False)) if i == 0 else x
            x = net.relu(net.sum(y, shortcut))
    x = net.pool("AveragePool", x, x[1].shape[2], 1)
    return net.softmax(net.classes(net.reshape(x, [1, 2048])))


def densenet121(net):
    unit = lambda x: net.relu(net.scale(net.batchnorm(x)))
    x = net.pool("MaxPool", unit(net.conv(net.start(), 64, 7, 2, 3, bias=False)), 3, 2, (1, 1, 1, 1))
    for block, repeats in enumerate((6, 12, 24, 16)):
        for _ in range(repeats):
            y = net.conv(unit(x), 128, 1, bias=False)
            x = net.concat([x, net.conv(unit(y), 32, 3, 1, 1, bias=False)])
        if block < 3:
            x = net.pool("AveragePool", net.conv(unit(x), x[1].shape[1] // 2, 1, bias=False), 2, 2)
    return net.classes(net.global_average(unit(x)))


def inception_v1(net):
    x = net.ceiled_pool("MaxPool", net.relu(net.conv(net.start(), 64, 7, 2, 3)), 3, 2)
    x = net.relu(net.conv(net.lrn(x), 64, 1))
    x = net.ceiled_pool("MaxPool", net.lrn(net.relu(net.conv(x, 192, 3, 1, 1))), 3, 2)
    for i, (a, b0, b, c0, c, d) in enumerate((
            (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))):
        if i in (2, 7):
            x = net.ceiled_pool("MaxPool", x, 3, 2)
        unit = lambda t, *how: net.relu(net.conv(t, *how))
        x = net.concat([unit(x, a, 1), unit(unit(x, b0, 1), b, 3, 1, 1), unit(unit(x, c0, 1), c, 5, 1, 2),
                        unit(net.pool("MaxPool", x, 3, 1, (1, 1, 1, 1)), d, 1)])
    x = net.dropout(net.pool("AveragePool", x, x[1].shape[2], 1))
    return net.softmax(net.classes(net.reshape(x, [1, 1024])))


def inception_v2(net):
    unit = lambda t, *how: net.relu(net.scale(net.batchnorm(net.conv(t, *how))))
    x = net.ceiled_pool("MaxPool", unit(net.start(), 64, 7, 2, 3), 3, 2)
    x = net.ceiled_pool("MaxPool", unit(unit(x, 64, 1), 192, 3, 1, 1), 3, 2)
    for a, b0, b, c0, c, d, stride in (
            (64, 64, 64, 64, 96, 32, 1), (64, 64, 96, 64, 96, 64, 1), (0, 128, 160, 64, 96, 0, 2),
            (224, 64, 96, 96, 128, 128, 1),
            (192, 96, 128, 96, 128, 128, 1), (160, 128, 160, 128, 160, 96, 1), (96, 128, 192, 160, 192, 96, 1),
            (0, 128, 192, 192, 256, 0, 2), (352, 192, 320, 160, 224, 128, 1), (352, 192, 320, 192, 224, 128, 1)):
        parts = [unit(x, a, 1)] if a > 0 else []
        parts.append(unit(unit(x, b0, 1), b, 3, stride, 1))
        parts.append(unit(unit(unit(x, c0, 1), c, 3, 1, 1), c, 3, stride, 1))
        pooled_x = net.pool("AveragePool" if d > 0 else "MaxPool", x, 3, stride, (1, 1, 1, 1))
        parts.append(unit(pooled_x, d, 1) if d > 0 else pooled_x)
        x = net.concat(parts)
    x = net.pool("AveragePool", x, x[1].shape[2], 1)
    return net.softmax(net.classes(net.reshape(x, [1, 1024])))


def shufflenet(net):
    def shuffled(x):
        n, c, h, w = x[1].shape
        x = net.transpose(net.reshape(x, [n, 3, c // 3, h, w]), [0, 2, 1, 3, 4])
        return net.reshape(x, [n, c, h, w])
    x = net.relu(net.batchnorm(net.conv(net.start(), 24, 3, 2, 1, bias=False)))
    x = net.pool("MaxPool", x, 3, 2, (1, 1, 1, 1))
    for stage, repeats in enumerate((4, 8, 4)):
        for i in range(repeats):
            out, first = 240 << stage, stage == 0 and i == 0
            width, added = out // 4, out - x[1].shape[1] if i == 0 else out
            y = net.relu(net.batchnorm(net.conv(x, width, 1, 1, 0, 1 if first else 3, bias=False)))
            y = shuffled(y)
            y = net.batchnorm(net.conv(y, width, 3, 2 if i == 0 else 1, 1, width, bias=False))
            y = net.batchnorm(net.conv(y, added, 1, 1, 0, 3, bias=False))
            if i == 0:
                x = net.relu(net.concat([net.pool("AveragePool", x, 3, 2, (1, 1, 1, 1)), y]))
            else:
                x = net.relu(net.sum(x, y))
    x = net.pool("AveragePool", x, x[1].shape[2], 1)
    return net.softmax(net.classes(net.reshape(x, [1, 960])))


NETWORKS = {"light_bvlc_alexnet": alexnet, "light_densenet121": densenet121, "light_inception_v1": inception_v1,
            "light_inception_v2": inception_v2, "light_resnet50": resnet50, "light_shufflenet": shufflenet,
            "light_squeezenet": squeezenet, "light_vgg19": vgg19, "light_zfnet512": zfnet512}


def run(program, folder, name, integer):
    """What is wrong with quern's results, in float and perhaps in integers; or None."""
    file = f"{folder}/{name}"
    commands = (["eval", f"{file}.onnx", "--data", f"{file}_x.npy", "--logits", f"{file}_got.npy"],
                ["quantize", f"{file}.onnx", "--data", f"{file}_x.npy", "--recipe", "minmax", "-o", f"{file}_q.onnx"],
                ["eval", f"{file}_q.onnx", "--data", f"{file}_x.npy", "--engine", "integer",
                 "--logits", f"{file}_integer.npy"])
    engines = (("got", 1e-4), ("integer", 0.5)) if integer else (("got", 1e-4),)
    for command in commands if integer else commands[:1]:
        done = subprocess.run([program, *command, "-q", "-f"], capture_output=True, text=True)
        if done.returncode != 0:
            return f"quern {command[0]} ends with {done.returncode}: {done.stderr.strip()}"
    want = np.load(f"{file}_y.npy").ravel()
    for engine, most in engines:
        error = np.abs(np.load(f"{file}_{engine}.npy").ravel() - want).max() / np.abs(want).max()
        print(f"{name}: {engine} {error:.1e}")
        if not error <= most:
            return f"differs by {error:.1e} of the greatest result, where {most:.0e} is allowed"
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--opset", type=int, default=9)
    parser.add_argument("--quern")
    args = parser.parse_args()
    failed = False
    os.makedirs(args.folder, exist_ok=True)
    for name in args.names or NETWORKS:
        if name not in NETWORKS:
            sys.exit(f"light_models.py: no network {name}; there are {' '.join(NETWORKS)}")
        net = Net(name, args.side, args.opset)
        net.save(args.folder, NETWORKS[name](net))
        wrong = run(args.quern, args.folder, name, net.parameters < MUCH) if args.quern else None
        if wrong is not None:
            print(f"{name}, opset {args.opset}: {wrong}", file=sys.stderr)
            failed = True
    sys.exit(1 if failed else 0)


main()
