#!/usr/bin/python3
"""Compute a network from an export's manifest.json, npz/*.bin and input codes alone, in Python's integers, and compare
the output codes with those in vectors/. Nothing of quern takes part.

usage: manifest_alone.py DIR N      the first N vectors; exit 1 where a code differs
"""
import array
import json
import math
import struct
import sys

TYPES = {"int8": "b", "uint8": "B", "int16": "h", "int32": "i"}
DESCRS = {"|i1": "b", "|u1": "B", "<i2": "h", "<f4": "f", "<i4": "i"}


def read_npy(path):
    data = open(path, "rb").read()
    start = 10 + data[8] + 256 * data[9]
    header = eval(data[10:start])
    values = array.array(DESCRS[header["descr"]])
    values.frombytes(data[start:])
    return header["shape"], values.tolist()


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def rint(x):
    low = math.floor(x)
    rest = x - low
    return low + (rest > 0.5 or (rest == 0.5 and low % 2 == 1))


def shifted(n, p, rounding):
    """n / 2^p, rounded."""
    if p <= 0:
        return n << -p
    q, r, half = n >> p, n & ((1 << p) - 1), 1 << (p - 1)
    up = {"floor": False, "nearest-up": r >= half, "nearest-away": r > half or (r == half and n >= 0),
          "nearest-even": r > half or (r == half and q % 2 == 1)}
    return q + up[rounding]


def saturated(x, bits=32):
    return max(-1 << (bits - 1), min((1 << (bits - 1)) - 1, x))


def by_ratio(x, multiplier, shift, rounding):
    if rounding == "twice":
        e = 31 - shift
        high = shifted(saturated(x << max(e, 0)) * multiplier, 31, "nearest-up")
        return shifted(high, -e, "nearest-away") if e < 0 else high
    return saturated(shifted(x * multiplier, shift, rounding))


class Network:
    def __init__(self, directory):
        self.directory = directory
        self.manifest = json.load(open(directory + "/manifest.json"))
        self.tensors = {t["id"]: t for t in self.manifest["tensors"]}
        self.constants = {}

    def base(self, tensor):
        return self.tensors[tensor].get("shows") or tensor

    def shape(self, tensor):
        """Rows, columns, channels of its codes."""
        t = self.tensors[tensor]
        if t["axes"] == "CHW":
            return t["shape"][1], t["shape"][2], t["shape"][0]
        return 1, math.prod(t["shape"][:-1]), t["shape"][-1]

    def constant(self, tensor):
        if tensor not in self.constants:
            t = self.tensors[tensor]
            codes = array.array(TYPES[t["dtype"]])
            codes.frombytes(open(f"{self.directory}/npz/{tensor}.bin", "rb").read())
            self.constants[tensor] = codes.tolist()
        return self.constants[tensor]

    def clamp(self, code, tensor):
        t = self.tensors[tensor]
        return max(t["lowest_used"], min(t["highest_used"], code))

    def weights(self, layer, k):
        """Of output channel k, less the zero point: [row][column][input]."""
        g, t = layer["geometry"], self.tensors[layer["weights"]]
        codes, zeros, shape = self.constant(layer["weights"]), layer["weight_zero_points"], t["shape"]
        zero = zeros[k if len(zeros) > 1 else 0]

        def place(r, s, c):
            if t["axes"] == "OIHW":
                return ((k * shape[1] + c) * shape[2] + r) * shape[3] + s
            i = (c * g["kernel"][0] + r) * g["kernel"][1] + s
            return k * shape[1] + i if t["axes"] == "OI" else i * shape[1] + k

        return [[[codes[place(r, s, c)] - zero for c in range(g["group_inputs"])] for s in range(g["kernel"][1])]
                for r in range(g["kernel"][0])]

    def convolution(self, layer, x, xs, ys, out):
        g, how, acc = layer["geometry"], layer["requantization"], layer["accumulator"]
        zero, bits = layer["input_zero_points"][0], acc["bits"]
        order = acc["order"]
        in_order = not order.startswith("any")
        assert not in_order or order in ("kernel rows, kernel columns, input channels",
                                         "input channels, kernel rows, kernel columns")
        for k in range(ys[2]):
            w, first = self.weights(layer, k), k // g["group_outputs"] * g["group_inputs"]
            bias = self.constant(layer["biases"])[k] if layer["biases"] else 0
            for oy in range(ys[0]):
                for ox in range(ys[1]):
                    products = []
                    for r, row in enumerate(w):
                        y = oy * g["stride"][0] + r * g["dilation"][0] - g["pad_before"][0]
                        for s, taps in enumerate(row):
                            at = ox * g["stride"][1] + s * g["dilation"][1] - g["pad_before"][1]
                            if 0 <= y < xs[0] and 0 <= at < xs[1]:
                                p = (y * xs[1] + at) * xs[2] + first
                                products.append([(x[p + c] - zero) * v for c, v in enumerate(taps)])
                    if in_order:
                        total = saturated(bias, bits)
                        for group in products if order.startswith("kernel") else zip(*products):
                            for product in group:
                                total = saturated(total + product, bits)
                    else:
                        total = bias + sum(map(sum, products))
                        half = 1 << (bits - 1)
                        total = (total + half) % (2 * half) - half
                        if acc["proven"]["bits"] <= bits:
                            assert acc["proven"]["least"] <= total <= acc["proven"]["greatest"]
                    if how["kind"] == "float":
                        q = rint(f32(f32(total) * float.fromhex(how["ratios_hex"][k])))
                    else:
                        q = by_ratio(total, how["multipliers"][k], how["shifts"][k], how["rounding"])
                    out[(oy * ys[1] + ox) * ys[2] + k] = self.clamp(q + layer["output_zero_point"], layer["output"])

    def add(self, layer, operands, out):
        how, zeros = layer["requantization"], layer["input_zero_points"]
        assert not any(layer["broadcast_rows"] + layer["broadcast_columns"])
        for i in range(len(out)):
            terms = [x[i] - zero for x, zero in zip(operands, zeros)]
            if how["kind"] == "float":
                a, b = [f32(v * float.fromhex(r)) for v, r in zip(terms, how["ratios_hex"])]
                q = rint(f32(a + b))
            else:
                total = sum(by_ratio(v << how["left_shift"], r["multiplier"], r["shift"], how["rounding"])
                            for v, r in zip(terms, how["operands"]))
                q = by_ratio(total, how["sum"]["multiplier"], how["sum"]["shift"], how["rounding"])
            out[i] = self.clamp(q + layer["output_zero_point"], layer["output"])

    def average(self, layer, values):
        how, zero, n = layer["requantization"], layer["input_zero_points"][0], layer["divisor"]
        n = len(values) if n == "pixels seen" else n
        if how["kind"] == "fixed":
            total = sum(v - how["centre"] for v in values)
            if how["ratio"]:
                total = by_ratio(total, how["ratio"]["multiplier"], how["ratio"]["shift"], how["rounding"])
            return (total + n // 2) // n + how["offset"] if total > 0 else how["offset"] - (n // 2 - total) // n
        if "ratios_hex" in how:
            total = f32(sum(v - zero for v in values))
            return rint(f32(total * float.fromhex(how["ratios_hex"][0]))) + layer["output_zero_point"]
        scale_x, scale_y = [float.fromhex(s) for s in how["scales_hex"]]
        total = 0.0
        for v in values:
            total = f32(total + f32(scale_x * (v - zero)))
        return rint(f32(f32(f32(total / n) / scale_y) + layer["output_zero_point"]))

    def pool(self, layer, x, xs, ys, out):
        g = layer["geometry"]
        for oy in range(ys[0]):
            for ox in range(ys[1]):
                rows = [oy * g["stride"][0] + r * g["dilation"][0] - g["pad_before"][0] for r in range(g["kernel"][0])]
                columns = [ox * g["stride"][1] + s * g["dilation"][1] - g["pad_before"][1]
                           for s in range(g["kernel"][1])]
                pixels = [(y * xs[1] + at) * xs[2] for y in rows if 0 <= y < xs[0] for at in columns if 0 <= at < xs[1]]
                for k in range(ys[2]):
                    values = [x[p + k] for p in pixels]
                    q = max(values) if layer["kind"] == "max pool" else self.average(layer, values)
                    out[(oy * ys[1] + ox) * ys[2] + k] = self.clamp(q, layer["output"])

    def lookup(self, layer, x, xs, ys, out):
        low, (y0, x0, k0) = self.tensors[layer["inputs"][0]]["lowest_code"], layer["place"]
        for y in range(xs[0]):
            for at in range(xs[1]):
                for k in range(xs[2]):
                    code = x[(y * xs[1] + at) * xs[2] + k]
                    code = layer["table"][code - low] if layer["table"] else code
                    out[((y + y0) * ys[1] + at + x0) * ys[2] + k + k0] = code

    def run(self, codes):
        held = {self.base(self.manifest["inputs"][0]["tensor"]): codes}
        for layer in self.manifest["layers"]:
            output = self.base(layer["output"])
            xs, ys = self.shape(self.base(layer["inputs"][0])), self.shape(layer["output"])
            operands = [held[self.base(i)] for i in layer["inputs"]]
            out = held.setdefault(output, [0] * math.prod(ys))
            kind = layer["kind"]
            if kind == "convolution":
                self.convolution(layer, operands[0], xs, ys, out)
            elif kind == "add":
                self.add(layer, operands, out)
            elif kind in ("max pool", "average"):
                self.pool(layer, operands[0], xs, ys, out)
            elif kind == "lookup":
                self.lookup(layer, operands[0], xs, ys, out)
            elif kind == "gather":
                out[:] = [operands[0][i] for i in layer["index"]]
            else:
                raise SystemExit(f"{layer['name']}: {kind}")
        return held[self.base(self.manifest["outputs"][0]["tensor"])]


def main():
    directory, n = sys.argv[1], int(sys.argv[2])
    network = Network(directory)
    shape, x = read_npy(f"{directory}/vectors/{network.manifest['inputs'][0]['id']}_codes.npy")
    _, y = read_npy(f"{directory}/vectors/{network.manifest['outputs'][0]['id']}_codes.npy")
    per_x, per_y = len(x) // shape[0], len(y) // shape[0]
    assert n <= shape[0]
    kinds = sorted({layer["kind"] for layer in network.manifest["layers"]})
    for i in range(n):
        got, want = network.run(x[i * per_x:(i + 1) * per_x]), y[i * per_y:(i + 1) * per_y]
        if got != want:
            raise SystemExit(f"vector {i}: {got} of the manifest, {want} of the engine")
    print(f"{n} vectors, {n * per_y} codes are the same: {', '.join(kinds)}")


main()
