#!/usr/bin/python3
"""An encoder like BERT in quern: does it load, does it agree with torch, does it run in integers?

usage: bert_check.py BUILD_DIR [--opset N] [--layers N] [--width N] [--mask where|sub] [--keep DIR]
Exports an encoder with random, seeded weights (tokens, token types and an attention mask of int64 as inputs), runs it
in quern's float engine at batch 1 and 2 and compares, quantizes it (recipe minmax) and runs the integer engine.
  --mask     how the mask becomes numbers: where (filled with the least float) or sub ((1 - mask) * -10000)
  --keep     leave bert.onnx, bert.npz and bert_q.onnx there
Needs Debian's python3-torch and python3-onnx; exits 77 without them, 1 when anything fails.
"""
import argparse, json, math, subprocess, sys, tempfile

try:
    import numpy as np, onnx, torch
    from torch import nn
except ImportError as missing:
    print(f"skipped: {missing.name} is not there (python3-torch, python3-onnx)")
    sys.exit(77)

LIMIT = 1e-4  # of the greatest difference, as a share of the greatest output of torch
TOKENS, LENGTH = 1000, 32


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.width = heads, width
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, self.width // self.heads).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.width // self.heads) + mask
        context = torch.matmul(nn.functional.softmax(scores, dim=-1), v).permute(0, 2, 1, 3).contiguous()
        x = self.norm1(x + self.out(context.view(x.size(0), x.size(1), self.width)))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, layers, width, mask):
        super().__init__()
        self.words, self.types = nn.Embedding(TOKENS, width), nn.Embedding(2, width)
        self.positions = nn.Embedding(128, width)
        self.register_buffer("position_ids", torch.arange(128).expand(1, -1))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, width // 32) for _ in range(layers))
        self.pooler, self.classes, self.mask = nn.Linear(width, width), nn.Linear(width, 10), mask

    def forward(self, input_ids, token_type_ids, attention_mask):
        length = input_ids.size(1)
        x = self.words(input_ids) + self.types(token_type_ids) + self.positions(self.position_ids[:, :length])
        mask = attention_mask[:, None, None, :].to(torch.float32)
        if self.mask == "sub":
            mask = (1.0 - mask) * -10000.0
        else:
            mask = (1.0 - mask).masked_fill((1.0 - mask).to(torch.bool), torch.finfo(torch.float32).min)
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return self.classes(torch.tanh(self.pooler(x[:, 0])))


def inputs(n, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, TOKENS, (n, LENGTH), generator=generator)
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (n, 1), generator=generator)
    place = torch.arange(LENGTH).expand(n, -1)
    types, mask = (place > lengths // 2).long(), (place < lengths).long()
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def quern(build, *arguments):
    done = subprocess.run([f"{build}/quern", *arguments, "-q"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"quern {arguments[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--opset", type=int, default=14)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--mask", choices=("where", "sub"), default="where")
    parser.add_argument("--keep")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(11)
    net = Bert(args.layers, args.width, args.mask).eval()
    data, calibration = inputs(6, 1), inputs(8, 2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or temporary
        model, q, names = f"{folder}/bert.onnx", f"{folder}/bert_q.onnx", list(data)
        with torch.no_grad():
            y = net(*data.values()).numpy()
            first = tuple(x[:1] for x in data.values())
            torch.onnx.export(net, first, model, opset_version=args.opset, input_names=names, output_names=["logits"],
                              dynamic_axes={name: {0: "batch"} for name in names + ["logits"]})
        np.savez(f"{folder}/bert.npz", **{name: x.numpy() for name, x in data.items()})
        np.savez(f"{folder}/calibration.npz", **{name: x.numpy() for name, x in calibration.items()})
        worst = 0.0
        for batch in (1, 2):
            quern(args.build, "eval", model, "--data", f"{folder}/bert.npz", "--engine", "float", "--batch", str(batch),
                  "--logits", f"{folder}/y.npy", "-f")
            worst = max(worst, float(np.abs(np.load(f"{folder}/y.npy") - y).max() / np.abs(y).max()))
        quern(args.build, "quantize", model, "--data", f"{folder}/calibration.npz", "--recipe", "minmax", "-f", "-o", q)
        result = json.loads(quern(args.build, "eval", q, "--data", f"{folder}/bert.npz", "--engine", "integer",
                                  "--against", model, "--json"))
        found = json.loads(quern(args.build, "inspect", q, "--json"))
    graph = found["nodes"]
    kinds = {}
    for node in graph:
        if node["island"] is not None:
            kinds[node["op"]] = kinds.get(node["op"], 0) + 1
    print(f"{len(graph)} nodes, greatest relative difference {worst:.1e}, integer engine {result['sqnr_db']:.1f} dB, "
          f"{found['islands']} islands ({' '.join(f'{op} {n}' for op, n in sorted(kinds.items()))})")
    sys.exit(0 if worst <= LIMIT else 1)


main()
