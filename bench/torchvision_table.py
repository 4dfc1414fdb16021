#!/usr/bin/python3
"""torchvision's networks in quern: do they load, do they agree with torch, do they run in integers?

usage: torchvision_table.py BUILD_DIR [NAME...] [--opset N] [--simulate] [--keep DIR] [-o FILE]
Exports one network after the other with random, seeded weights, runs it in quern's float engine at batch 1 and 2,
quantizes it (recipe minmax) and runs the integer engine, and prints a table in Markdown.
  NAME...     networks of the table (default: all)
  --opset N   operator set of the export (default: 14)
  --keep DIR  leave the ONNX files there
  --simulate  compare the integer engine with the simulation as well
  -j N        so many networks at a time (default: 1)
  -o FILE     write the page there, anew with each network (default: standard output, when all is done)
Needs Debian's python3-torch, python3-torchvision and python3-onnx; exits 77 without them, 1 when a network fails.
"""
import argparse, functools, json, multiprocessing, os, subprocess, sys, tempfile, warnings

try:
    import numpy as np, onnx, torch, torchvision
    from torchvision.models import segmentation
except ImportError as missing:
    print(f"skipped: {missing.name} is not there (python3-torch, python3-torchvision, python3-onnx)")
    sys.exit(77)

LIMIT = 1e-4  # of the greatest difference, as a share of the greatest output of torch
MODELS = torchvision.models
SEGMENTATION = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large")


# name: (how it is made, pixels of a side), the fastest first. Sides are as small as the network allows, for the time
# this takes.
def rows():
    table = {}
    for name, side in (
        ("squeezenet1_1", 64), ("squeezenet1_0", 64), ("mobilenet_v3_small", 64), ("mobilenet_v2", 64),
        ("mnasnet1_0", 64), ("regnet_y_400mf", 64), ("regnet_x_400mf", 64), ("mobilenet_v3_large", 64),
        ("efficientnet_b0", 64), ("googlenet", 64), ("resnet18", 64), ("shufflenet_v2_x1_0", 64),
        ("lraspp_mobilenet_v3_large", 64), ("deeplabv3_mobilenet_v3_large", 64), ("densenet121", 64),
        ("resnet50", 64), ("resnext50_32x4d", 64), ("efficientnet_v2_s", 64), ("inception_v3", 96),
        ("convnext_tiny", 64), ("fcn_resnet50", 64), ("deeplabv3_resnet50", 64), ("wide_resnet50_2", 64),
        ("alexnet", 224), ("vit_b_16", 64), ("swin_t", 64), ("swin_v2_t", 64), ("vgg11", 224), ("vgg16_bn", 224),
        ("maxvit_t", 224)):
        if name in SEGMENTATION:
            table[name] = (getattr(segmentation, name), {"weights": None, "weights_backbone": None}, side)
            continue
        options = {"weights": None}
        if name in ("googlenet", "inception_v3"):
            options.update(aux_logits=False, init_weights=False)
        if name == "vit_b_16":
            options["image_size"] = side
        if name == "maxvit_t":
            options["input_size"] = (side, side)
        table[name] = (getattr(MODELS, name, None), options, side)
    return {name: row for name, row in table.items() if row[0] is not None}


class Segmentation(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["out"]


# Blocks that add their input to what they make of it, as torchvision calls them.
BLOCKS = ("BasicBlock", "Bottleneck", "InvertedResidual", "_InvertedResidual", "MBConv", "FusedMBConv",
          "ResBottleneckBlock")


def ends_of_branches(net):
    """The last normalization of each residual branch; not that of the way around it."""
    for block in net.modules():
        if type(block).__name__ in BLOCKS:
            norms = [module for name, module in block.named_modules()
                     if isinstance(module, torch.nn.BatchNorm2d) and not name.startswith(("downsample", "proj"))]
            yield norms[-1]


def scale_weights(net, x):
    """Statistics as after training: outputs neither vanish nor explode with depth, and blocks change a little only."""
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(0, 0.1)
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0, 1 / module.in_features ** 0.5)
        for name, parameter in net.named_parameters():
            if name.endswith("layer_scale"):  # ConvNeXt starts with 1e-6, which hides its blocks
                parameter.fill_(0.3)
            if name.endswith(("class_token", "pos_embedding")):  # or the class token is nothing beside the image
                parameter.normal_(0, 0.4)
        for norm in ends_of_branches(net):
            norm.weight.mul_(0.2)  # as where training starts with 0 there
        net.train()
        for module in net.modules():
            if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
                module.eval()
        net(x)
        net.eval()


def images(n, side, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, side, side, generator=generator)
    return torch.nn.functional.avg_pool2d(x, 9, 1, 4) * 6  # neighbours are alike, as in pictures


def export(name, path, opset):
    make, options, side = rows()[name]
    torch.manual_seed(11)
    net = make(**options)
    scale_weights(net, images(8, side, 1))
    if name in SEGMENTATION:
        net = Segmentation(net).eval()
    x = images(2, side, 2)
    with torch.no_grad():
        y = net(x)
    with warnings.catch_warnings():  # with gradients: attention has a shorter way without, which is not exported
        warnings.simplefilter("ignore")
        torch.onnx.export(net, x[:1], path, opset_version=opset, input_names=["input"], output_names=["logits"],
                          dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})
    return x.numpy(), y.numpy(), images(4, side, 3).numpy()


class Failed(Exception):
    pass


def quern(build, *arguments):
    done = subprocess.run([f"{build}/quern", *arguments, "-q"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"quern {arguments[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def relative_error(build, model, folder, y):
    worst = 0.0
    for batch in (1, 2):
        quern(build, "eval", model, "--data", f"{folder}/x.npy", "--engine", "float", "--batch", str(batch),
              "--logits", f"{folder}/y.npy", "-f")
        got = np.load(f"{folder}/y.npy").reshape(y.shape)
        worst = max(worst, float(np.abs(got - y).max() / np.abs(y).max()))
    return worst


def agreement(build, q, folder):
    """SQNR of the integer engine's outputs against the simulation's, in dB."""
    quern(build, "eval", q, "--data", f"{folder}/x.npy", "--engine", "simulate", "--logits", f"{folder}/y.npy", "-f")
    simulated, integer = (np.load(f"{folder}/{name}.npy").astype(np.float64) for name in ("y", "integer"))
    noise = ((simulated - integer) ** 2).sum()
    return 10 * np.log10((simulated ** 2).sum() / noise) if noise > 0 else float("inf")


def integer_part(build, model, folder, simulate):
    q = f"{folder}/q.onnx"
    quern(build, "quantize", model, "--data", f"{folder}/calibration.npy", "--recipe", "minmax", "-f", "-o", q)
    result = json.loads(quern(build, "eval", q, "--data", f"{folder}/x.npy", "--engine", "integer", "--against", model,
                              "--logits", f"{folder}/integer.npy", "-f", "--json"))
    found = json.loads(quern(build, "inspect", q, "--json"))
    kinds = {}
    for node in found["nodes"]:
        if node["island"] is not None:
            kinds[node["op"]] = kinds.get(node["op"], 0) + 1
    agrees = agreement(build, q, folder) if simulate else None
    return result["sqnr_db"], agrees, found["islands"], " ".join(f"{op} {n}" for op, n in sorted(kinds.items()))


def measure(build, name, opset, keep, simulate):
    with tempfile.TemporaryDirectory() as folder:
        return measure_in(folder, f"{keep or folder}/{name}.onnx", build, name, opset, simulate)


def measure_in(folder, model, build, name, opset, simulate):
    """One row of the table; or a reason why it has holes."""
    try:
        x, y, calibration = export(name, model, opset)
    except torch.onnx.errors.OnnxExporterError as refused:
        return {"name": name, "side": rows()[name][2], "refused": str(refused).splitlines()[0]}
    np.save(f"{folder}/x.npy", x)
    np.save(f"{folder}/calibration.npy", calibration)
    graph = onnx.load(model, load_external_data=False).graph
    ops = {node.op_type for node in graph.node}
    parameters = sum(int(np.prod(t.dims)) for t in graph.initializer)
    row = {"name": name, "side": rows()[name][2], "parameters": parameters, "nodes": len(graph.node), "ops": len(ops)}
    del graph
    try:
        row["error"] = relative_error(build, model, folder, y)
        row["sqnr"], row["simulated"], row["islands"], row["kinds"] = integer_part(build, model, folder, simulate)
    except Failed as failed:
        row["failed"] = str(failed)
    return row


def line(row):
    if "refused" in row:
        return f"| {row['name']} | {row['side']} x {row['side']} | | | | torch does not export it | | | | | |"
    error = f"{row['error']:.1e}" if "error" in row else "-"
    cells = [row["name"], f"{row['side']} x {row['side']}", f"{row['parameters'] / 1e6:.2f} M", str(row["nodes"]),
             str(row["ops"]), "yes" if "error" in row else "no", error,
             f"{row['sqnr']:.1f}" if "sqnr" in row else "-",
             f"{row['simulated']:.1f}" if row.get("simulated") is not None else "-",
             str(row.get("islands", "-")),
             row.get("kinds", "the integer engine refuses it" if "error" in row else "")]
    return "| " + " | ".join(cells) + " |"


HEAD = """# Networks

What torchvision {version} has, exported by torch.onnx (operator set {opset}) with random, seeded weights that are
scaled so that values neither vanish nor explode, in quern. Made by

```
{command}
```

- *agrees*: greatest difference between torch and the float engine, at batch 1 and 2, as a share of the greatest
  output; at most {limit:g}.
- *SQNR*: of the integer engine against the float engine, after `quantize --recipe minmax` on 4 random images, in dB.
  Deep networks of random weights amplify every rounding, which trained ones do not: this is no measure of how good a
  quantized network gets. The last normalization of residual branches has a fifth of the weight of others, as training
  starts with small ones.
- *simulated* (with `--simulate`): the same of the integer engine against the simulation of the same quantized network
  in float; `inf` where all outputs are equal. What differs is codes at the border of two, of which the layers behind
  make more. Where it is far above the SQNR, it is quantization of these weights that costs, not the integer engine;
  where both are low, the row tells nothing of the integer engine.
- *islands*: nodes that the integer engine runs in float.

| network | input | parameters | nodes | operators | loads | agrees | SQNR | simulated | islands | of them |
|---|---|---:|---:|---:|---|---:|---:|---:|---:|---|
"""


def pending(names):
    return f"\nNot measured yet: {', '.join(names)}.\n" if names else ""


def write(page, path):
    with open(path + ".new", "w") as file:
        file.write(page)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--opset", type=int, default=14)
    parser.add_argument("--keep")
    parser.add_argument("-j", dest="jobs", type=int, default=1)
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("-o", dest="output")
    args = parser.parse_args()
    torch.set_num_threads(1)
    unknown = [name for name in args.names if name not in rows()]
    if unknown:
        sys.exit(f"torchvision_table.py: no network {unknown[0]}; there are: {' '.join(rows())}")
    command = "bench/torchvision_table.py build/release" + "".join(f" {name}" for name in args.names) + (
        f" --opset {args.opset}" if args.opset != 14 else "") + (" --simulate" if args.simulate else "") + (
        " -o doc/networks.md")
    version = torchvision.__version__.split("+")[0].replace("a0", "")
    page = HEAD.format(version=version, opset=args.opset, command=command, limit=LIMIT)
    bad, names = [], args.names or list(rows())
    measured = functools.partial(measure, args.build, opset=args.opset, keep=args.keep, simulate=args.simulate)
    with multiprocessing.Pool(args.jobs) as pool:
        for row in pool.imap(measured, names):
            name = row["name"]
            page += line(row) + "\n"
            print(line(row), file=sys.stderr, flush=True)
            if args.output:
                write(page + pending(names[names.index(name) + 1:]), args.output)
            if "refused" in row:
                print(f"{name}: {row['refused']}", file=sys.stderr, flush=True)
            elif "failed" in row or not row["error"] <= LIMIT:
                bad.append(name)
                print(f"{name}: {row.get('failed', 'differs from torch')}", file=sys.stderr, flush=True)
    if not args.output:
        print(page, end="")
    sys.exit(1 if bad else 0)


main()
