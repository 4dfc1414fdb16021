// Run every NAME.onnx of a folder in ONNX Runtime on NAME.x.npy, and write its first output as float32, NAME.ort.npy.
// usage: node run_cases.js DIR [all|disabled]
// One thread. A model that ONNX Runtime refuses is told on standard output, as "refused NAME: reason". Needs
// onnxruntime-node.
'use strict';
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const types = {
    '|u1': ['uint8', Uint8Array],
    '|i1': ['int8', Int8Array],
    '<u2': ['uint16', Uint16Array],
    '<i2': ['int16', Int16Array],
    '<i4': ['int32', Int32Array],
    '<f4': ['float32', Float32Array],
};

function readNpy(file) {
    const bytes = fs.readFileSync(file);
    const start = 10 + bytes.readUInt16LE(8); // version 1.0
    const header = bytes.toString('latin1', 10, start);
    const [type, array] = types[/'descr': '([^']*)'/.exec(header)[1]];
    const dims = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((word) => word.trim() !== '').map(Number);
    return new ort.Tensor(type, new array(Uint8Array.from(bytes.subarray(start)).buffer), dims);
}

function writeNpy(file, dims, values) {
    const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.map((dim) => dim + ',').join(' ')}), }`;
    const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10;
    const prefix = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 0xff, length >> 8]);
    const header = Buffer.from(dict.padEnd(length - 1) + '\n', 'latin1');
    fs.writeFileSync(file, Buffer.concat([prefix, header, Buffer.from(Float32Array.from(values).buffer)]));
}

async function main() {
    const [dir, level] = process.argv.slice(2);
    for (const file of fs.readdirSync(dir).filter((name) => name.endsWith('.onnx')).sort()) {
        const name = file.slice(0, -'.onnx'.length);
        try {
            const session = await ort.InferenceSession.create(path.join(dir, file), {
                intraOpNumThreads: 1,
                interOpNumThreads: 1,
                graphOptimizationLevel: level || 'all',
                logSeverityLevel: 4,
            });
            const results = await session.run({[session.inputNames[0]]: readNpy(path.join(dir, name + '.x.npy'))});
            const y = results[session.outputNames[0]];
            writeNpy(path.join(dir, name + '.ort.npy'), y.dims, y.data);
            await session.release();
        } catch (error) {
            console.log(`refused ${name}: ${error.message.split('\n')[0]}`);
        }
    }
}

main().catch((error) => {
    console.error(`run_cases.js: ${error.message}`);
    process.exit(1);
});
