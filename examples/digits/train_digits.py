#!/usr/bin/python3
"""Train the small digits network and write it as ONNX.

The network is built to contain what quantizers stumble over: batch norms left
unfolded, a depthwise convolution with a clipped activation, a stride-2
convolution padded on one side only, a residual sum, a concatenation of
branches with different ranges, max and average pooling, and a Gemm.
"""
import argparse
import json
import os
import time

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

import make_digits

# x = (pixel * SCALE - MEAN) / STD; mean and std of the training pixels, rounded.
SCALE, MEAN, STD = 0.00392156862745098, 0.148, 0.198

# Convolutions: name, inputs, outputs, kernel, stride, pads (top, left, bottom,
# right) as ONNX orders them, groups, activation after the batch norm.
CONVS = [
    ("stem",  1, 16, 3, 1, (1, 1, 1, 1), 1, "Relu"),
    ("down", 16, 24, 3, 2, (0, 0, 1, 1), 1, "Relu"),
    ("dw",   24, 24, 3, 1, (1, 1, 1, 1), 24, "Clip"),
    ("pw",   24, 32, 1, 1, (0, 0, 0, 0), 1, "Relu"),
    ("res1", 32, 32, 3, 1, (1, 1, 1, 1), 1, "Relu"),
    ("res2", 32, 32, 3, 1, (1, 1, 1, 1), 1, None),
    ("wide", 32, 24, 1, 1, (0, 0, 0, 0), 1, "Relu"),
    ("fine", 32, 24, 3, 1, (1, 1, 1, 1), 1, None),
    ("head", 48, 64, 1, 1, (0, 0, 0, 0), 1, "Relu"),
]
# The dataflow: node name, kind, inputs.  A "block" is conv + bn (+ act) from
# CONVS.  Both the torch network and the ONNX graph are made from this list.
GRAPH = [
    ("stem", "block", ["input"]),
    ("down", "block", ["stem"]),
    ("dw",   "block", ["down"]),
    ("pw",   "block", ["dw"]),
    ("pool", "MaxPool", ["pw"]),
    ("res1", "block", ["pool"]),
    ("res2", "block", ["res1"]),
    ("res.add", "Add", ["res2", "pool"]),
    ("res.relu", "Relu", ["res.add"]),
    ("wide", "block", ["res.relu"]),
    ("fine", "block", ["res.relu"]),
    ("cat", "Concat", ["wide", "fine"]),
    ("head", "block", ["cat"]),
    ("gap", "GlobalAveragePool", ["head"]),
    ("flatten", "Flatten", ["gap"]),
    ("fc", "Gemm", ["flatten"]),
]
SPEC = {c[0]: c[1:] for c in CONVS}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.ModuleDict()
        self.bn = nn.ModuleDict()
        for name, ci, co, k, s, _, g, _ in CONVS:
            self.conv[name] = nn.Conv2d(ci, co, k, s, 0, groups=g, bias=False)
            self.bn[name] = nn.BatchNorm2d(co)
            nn.init.kaiming_normal_(self.conv[name].weight, mode="fan_out", nonlinearity="relu")
        # Unequal gains, so the concatenated branches keep different ranges.
        nn.init.constant_(self.bn["wide"].weight, 3.0)
        nn.init.constant_(self.bn["fine"].weight, 0.4)
        self.fc = nn.Linear(64, 10)

    def block(self, name, x):
        t, l, b, r = SPEC[name][4]
        x = self.bn[name](self.conv[name](F.pad(x, (l, r, t, b))))
        act = SPEC[name][6]
        return F.relu(x) if act == "Relu" else x.clamp(0, 6) if act == "Clip" else x

    def forward(self, x, taps=None):
        v = {"input": x}
        for name, kind, ins in GRAPH:
            a = [v[i] for i in ins]
            v[name] = (self.block(name, a[0]) if kind == "block" else
                       F.max_pool2d(a[0], 2) if kind == "MaxPool" else
                       a[0] + a[1] if kind == "Add" else
                       F.relu(a[0]) if kind == "Relu" else
                       torch.cat(a, 1) if kind == "Concat" else
                       a[0].mean((2, 3), keepdim=True) if kind == "GlobalAveragePool" else
                       a[0].flatten(1) if kind == "Flatten" else
                       self.fc(a[0]))
        if taps is not None:
            taps.update(v)
        return v["fc"]


def prepared(x_u8):
    return torch.from_numpy((x_u8.astype(np.float32) * np.float32(SCALE) - np.float32(MEAN)) / np.float32(STD))


@torch.no_grad()
def logits_of(net, x):
    net.eval()
    return torch.cat([net(b) for b in x.split(250)])


def train(net, x, y, xv, yv, epochs, batch=128, lr=6e-3):
    decay = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]      # no decay on batch norms
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": .02},
                             {"params": rest, "weight_decay": 0.}], lr=lr)
    steps = len(x) // batch
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, epochs=epochs, steps_per_epoch=steps, pct_start=.25)
    for e in range(epochs):
        net.train()
        t0, total = time.time(), 0.
        order = torch.randperm(len(x))
        for i in range(steps):
            j = order[i * batch:(i + 1) * batch]
            dy, dx = torch.randint(-2, 3, (2,)).tolist()      # one shift per batch; edges wrap
            loss = F.cross_entropy(net(x[j].roll((dy, dx), (2, 3))), y[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        acc = (logits_of(net, xv).argmax(1) == yv).float().mean().item()
        print(f"epoch {e + 1:2d}  loss {total / steps:.4f}  val {100 * acc:.2f} %  {time.time() - t0:.0f} s", flush=True)


def to_onnx(net, path):
    """Write the graph node by node: full control of names, pads and batch norms."""
    nodes, init = [], []

    def const(name, array):
        init.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(op, name, ins, **attr):
        nodes.append(helper.make_node(op, ins, [name + ".out"], name=name, **attr))
        return name + ".out"

    net.eval()
    out = {"input": "input"}
    for name, kind, ins in GRAPH:
        a = [out[i] for i in ins]
        if kind == "block":
            _, _, k, s, pads, g, act = SPEC[name]
            bn = net.bn[name]
            x = node("Conv", name + ".conv", [a[0], const(name + ".conv.weight", net.conv[name].weight.detach().numpy())],
                     kernel_shape=[k, k], strides=[s, s], pads=list(pads), dilations=[1, 1], group=g)
            x = node("BatchNormalization", name + ".bn",
                     [x] + [const(f"{name}.bn.{n}", t.detach().numpy()) for n, t in
                            (("scale", bn.weight), ("bias", bn.bias), ("mean", bn.running_mean), ("var", bn.running_var))],
                     epsilon=bn.eps)
            if act == "Relu":
                x = node("Relu", name + ".relu", [x])
            elif act == "Clip":
                x = node("Clip", name + ".clip", [x, const(name + ".clip.min", np.float32(0)),
                                                  const(name + ".clip.max", np.float32(6))])
            out[name] = x
        elif kind == "MaxPool":
            out[name] = node(kind, name, a, kernel_shape=[2, 2], strides=[2, 2])
        elif kind in ("Concat", "Flatten"):
            out[name] = node(kind, name, a, axis=1)
        elif kind == "Gemm":
            w, b = (t.detach().numpy() for t in (net.fc.weight, net.fc.bias))
            out[name] = node(kind, name, [a[0], const("fc.weight", w), const("fc.bias", b)], transB=1)
        else:
            out[name] = node(kind, name, a)
    nodes[-1].output[0] = "logits"

    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])], init)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)],
                              producer_name="quern examples/digits/train_digits.py")
    model.ir_version = 7
    helper.set_model_props(model, {"quern.preprocess": '{"scale": %.17f, "mean": %s, "std": %s, "layout": "nchw"}'
                                   % (SCALE, json.dumps([MEAN]), json.dumps([STD]))})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return model


def describe(model):
    """Node table with output shapes, parameters and multiply-accumulates."""
    g = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shape = {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim]
             for v in list(g.value_info) + list(g.output) + list(g.input)}
    w = {i.name: list(i.dims) for i in g.initializer}
    params = macs = 0
    for n in g.node:
        p = sum(int(np.prod(w[i])) for i in n.input if i in w and n.op_type != "Clip")
        m = 0
        if n.op_type in ("Conv", "Gemm"):
            m = int(np.prod(w[n.input[1]])) * int(np.prod(shape[n.output[0]][2:]))
        params, macs = params + p, macs + m
        print(f"{n.name:12s} {n.op_type:20s} {'x'.join(map(str, shape[n.output[0]][1:])):10s} {p:6d} {m:8d}")
    print(f"{params} parameters (batch-norm statistics included), {macs} MACs per image")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", default=os.path.join(here, "digits.onnx"))
    ap.add_argument("--test-dir", default=here, help="folder with test_x_u8.npy and test_y_u8.npy")
    ap.add_argument("--images", type=int, default=40000, help="training images to draw")
    ap.add_argument("--epochs", type=int, default=20)
    ap.add_argument("--seed", type=int, default=make_digits.SEED)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--logits", metavar="FILE.npy", help="also write torch's logits on the test set")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)

    t0 = time.time()
    x, y = make_digits.make_split("train", a.images, a.seed)
    xv, yv = make_digits.make_split("val", 2000, a.seed)
    print(f"drew {len(x) + len(xv)} images in {time.time() - t0:.0f} s; "
          f"training pixels: mean {(x * SCALE).mean():.4f} std {(x * SCALE).std():.4f}")
    net = Net()
    train(net, prepared(x), torch.from_numpy(y).long(), prepared(xv), torch.from_numpy(yv).long(), a.epochs)

    xt = np.load(os.path.join(a.test_dir, "test_x_u8.npy"))
    yt = np.load(os.path.join(a.test_dir, "test_y_u8.npy"))
    out = logits_of(net, prepared(xt)).numpy()
    hit = int((out.argmax(1) == yt).sum())
    print(f"test top-1 {hit}/{len(yt)} = {100 * hit / len(yt):.2f} %")
    if a.logits:
        make_digits.save(a.logits, out)
    taps = {}
    with torch.no_grad():
        net(prepared(xt), taps)
    for n in ("stem", "down", "dw", "pw", "res2", "res.add", "wide", "fine", "head", "fc"):
        print(f"range {n:8s} {taps[n].min().item():8.2f} .. {taps[n].max().item():7.2f}")

    describe(to_onnx(net, a.out))
    print(f"{a.out}  {os.path.getsize(a.out)} bytes  total {time.time() - t0:.0f} s")


if __name__ == "__main__":
    main()
