// Run an ONNX model in ONNX Runtime over a .npy of inputs and write its logits as float32 .npy.
// usage: node run.js MODEL X.npy LOGITS.npy [--scale S] [--mean A,B,C] [--std A,B,C] [--batch N]
// x = (value * S - mean[c]) / std[c], channel c being axis 1, computed in double and rounded once to float; S may be a
// fraction. One thread, all graph optimizations. Needs onnxruntime-node.
'use strict';
const fs = require('fs');
const ort = require('onnxruntime-node');

const elementTypes = {
    '|u1': Uint8Array,
    '|i1': Int8Array,
    '<f4': Float32Array,
    '<f8': Float64Array,
};

function readNpy(path) {
    const bytes = fs.readFileSync(path);
    const start = 10 + bytes.readUInt16LE(8); // version 1.0
    const header = bytes.toString('latin1', 10, start);
    const descr = /'descr': '([^']*)'/.exec(header)[1];
    const dims = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((word) => word.trim() !== '').map(Number);
    if (!(descr in elementTypes) || !/'fortran_order': False/.test(header)) {
        throw new Error(`${path}: element type ${descr} or its order is not read here`);
    }
    // A copy, because the elements of a typed array must be aligned.
    return {dims, values: new elementTypes[descr](Uint8Array.from(bytes.subarray(start)).buffer)};
}

function writeNpy(path, dims, values) {
    const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.map((dim) => dim + ',').join(' ')}), }`;
    const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10;
    const prefix = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 0xff, length >> 8]);
    const header = Buffer.from(dict.padEnd(length - 1) + '\n', 'latin1');
    fs.writeFileSync(path, Buffer.concat([prefix, header, Buffer.from(values.buffer)]));
}

function parseNumber(text) {
    const parts = text.split('/').map(Number);
    return parts.length === 2 ? parts[0] / parts[1] : parts[0];
}

function parseArguments(words) {
    const options = {scale: '1', mean: '0', std: '1', batch: '1'};
    const files = [];
    for (let i = 0; i < words.length; i++) {
        const name = words[i].replace(/^--/, '');
        if (name === words[i]) {
            files.push(words[i]);
        } else if (name in options && i + 1 < words.length) {
            options[name] = words[++i];
        } else {
            throw new Error(`unknown option ${words[i]}`);
        }
    }
    if (files.length !== 3) {
        throw new Error('usage: node run.js MODEL X.npy LOGITS.npy [options]');
    }
    return {
        files,
        batch: Number(options.batch),
        scale: parseNumber(options.scale),
        mean: options.mean.split(',').map(parseNumber),
        std: options.std.split(',').map(parseNumber),
    };
}

// Items first..first+n-1 as the network takes them.
function preprocess(x, first, n, pre) {
    const perItem = x.dims.slice(1).reduce((a, b) => a * b, 1);
    const perChannel = perItem / x.dims[1];
    const result = new Float32Array(n * perItem);
    for (let i = 0; i < result.length; i++) {
        const channel = Math.floor((i % perItem) / perChannel);
        const mean = pre.mean[channel % pre.mean.length];
        const std = pre.std[channel % pre.std.length];
        result[i] = (x.values[first * perItem + i] * pre.scale - mean) / std; // doubles until stored
    }
    return result;
}

async function main() {
    const pre = parseArguments(process.argv.slice(2));
    const [model, data, output] = pre.files;
    const session = await ort.InferenceSession.create(model, {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
    });
    const x = readNpy(data);
    const n = x.dims[0];
    const pieces = [];
    let itemDims = [];
    for (let first = 0; first < n; first += pre.batch) {
        const count = Math.min(pre.batch, n - first);
        const input = new ort.Tensor('float32', preprocess(x, first, count, pre), [count, ...x.dims.slice(1)]);
        const results = await session.run({[session.inputNames[0]]: input});
        const logits = results[session.outputNames[0]];
        itemDims = logits.dims.slice(1);
        pieces.push(Float32Array.from(logits.data));
    }
    const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    pieces.reduce((offset, piece) => {
        all.set(piece, offset);
        return offset + piece.length;
    }, 0);
    writeNpy(output, [n, ...itemDims], all);
}

main().catch((error) => {
    console.error(`run.js: ${error.message}`);
    process.exit(1);
});
