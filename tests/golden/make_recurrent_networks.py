#!/usr/bin/python3
"""Write small networks of one recurrent node, inputs, and what ONNX Runtime makes of them, below the folder given.

Needs python3-onnx, and node with onnxruntime-node (NODE_PATH). All outputs of the node are joined into one, y [1, n]."""
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEPS, BATCH, INPUTS, HIDDEN = 6, 3, 5, 7
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# name, operator, directions, attributes, initial states and peepholes, lengths
CASES = [
    ("lstm_clip", "LSTM", 1, {"clip": 0.5}, "hcp", None),
    ("lstm_functions", "LSTM", 1, {"activations": ["HardSigmoid", "Affine", "ScaledTanh"],
                                   "activation_alpha": [0.3, 1.5, 0.7], "activation_beta": [0.4, 0.1, 1.2]}, "hc", None),
    ("lstm_directions", "LSTM", 2, {"activations": ["Sigmoid", "Softsign", "Elu", "HardSigmoid", "Relu", "Tanh"],
                                    "activation_alpha": [0.6, 0.25], "activation_beta": [0.45]}, "hc", [6, 2, 4]),
    ("lstm_reverse", "LSTM", 1, {"input_forget": 1, "direction": "reverse"}, "hcp", [3, 6, 1]),
    ("gru_clip", "GRU", 2, {"clip": 0.7, "linear_before_reset": 1}, "h", [6, 1, 3]),
    ("rnn_clip", "RNN", 1, {"clip": 0.4, "activations": ["Relu"]}, "h", None),
    ("rnn_directions", "RNN", 2, {"activations": ["Softplus", "LeakyRelu"], "activation_alpha": [0.2]}, "h", [5, 6, 2]),
]
RUN = """
const ort = require('onnxruntime-node'), fs = require('fs');
const [model, from, to, ...dims] = process.argv.slice(1);
(async () => {
    const session = await ort.InferenceSession.create(model);
    const bytes = fs.readFileSync(from);
    const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const { y } = await session.run({ x: new ort.Tensor('float32', x, dims.map(Number)) });
    fs.writeFileSync(to, Buffer.from(y.data.buffer, y.data.byteOffset, y.data.byteLength));
})();
"""


def network(rng, op, directions, attributes, extra, lengths):
    gates = GATES[op]
    constants = {
        "W": rng.randn(directions, gates * HIDDEN, INPUTS) * 0.8,
        "R": rng.randn(directions, gates * HIDDEN, HIDDEN) * 0.5,
        "B": rng.randn(directions, 2 * gates * HIDDEN) * 0.3,
        "h": rng.randn(directions, BATCH, HIDDEN), "c": rng.randn(directions, BATCH, HIDDEN),
        "p": rng.randn(directions, 3 * HIDDEN),
    }
    constants = {name: value.astype(np.float32) for name, value in constants.items() if name in "WRB" + extra}
    if lengths is not None:
        constants["lengths"] = np.array(lengths, np.int32)
    constants.update(flat=np.array([1, -1], np.int64))
    inputs = ["x", "W", "R", "B", "lengths" if lengths is not None else ""]
    inputs += [name if name in extra else "" for name in ("hcp" if op == "LSTM" else "h")]
    outputs = ["Y", "Y_h", "Y_c"][:3 if op == "LSTM" else 2]
    attributes = dict({"direction": "bidirectional" if directions == 2 else "forward"}, **attributes)
    nodes = [helper.make_node(op, inputs, outputs, hidden_size=HIDDEN, **attributes)]
    nodes += [helper.make_node("Reshape", [name, "flat"], [name + "_flat"]) for name in outputs]
    nodes.append(helper.make_node("Concat", [name + "_flat" for name in outputs], ["y"], axis=1))
    graph = helper.make_graph(
        nodes, "recurrent", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, BATCH, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 7
    return model


folder = sys.argv[1]
for seed, (name, *case) in enumerate(CASES):
    rng = np.random.RandomState(seed)
    path = f"{folder}/{name}"
    onnx.save(network(rng, *case), path + ".onnx")
    x = rng.randn(STEPS, BATCH, INPUTS).astype(np.float32)
    x.tofile(path + ".x")
    subprocess.run(["node", "-e", RUN, path + ".onnx", path + ".x", path + ".y", str(STEPS), str(BATCH), str(INPUTS)],
                   check=True)
    np.save(path + "_x.npy", x)
    np.save(path + "_y.npy", np.fromfile(path + ".y", np.float32))
    subprocess.run(["rm", path + ".x", path + ".y"], check=True)
