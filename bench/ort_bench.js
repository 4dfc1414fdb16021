// Times ONNX Runtime on one model, as bench_engine does for quern: batches of float input to logits, one process.
// usage: node ort_bench.js MODEL DIM,DIM,... THREADS BATCH SECONDS     needs onnxruntime-node
// Inputs of int64 (tokens, masks) are 0, 1, 0, 1 ...; all inputs have the same dimensions.
// Prints one line of JSON: least and median milliseconds per item over rounds of about 50 ms, and of processor time.
'use strict';
const ort = require('onnxruntime-node');

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

async function main([model, dims, threads, batch, seconds]) {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: Number(threads), interOpNumThreads: 1, executionMode: 'sequential', logSeverityLevel: 3,
  });
  const shape = [Number(batch), ...dims.split(',').map(Number)];
  const count = shape.reduce((a, b) => a * b, 1);
  const wave = Float32Array.from({ length: count }, (_, i) => 100 + 90 * Math.sin(0.31 * i));
  const tokens = BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 2));
  const feed = {};
  for (const input of session.inputMetadata) {
    feed[input.name] = input.type === 'int64' ? new ort.Tensor('int64', tokens, shape) : new ort.Tensor('float32', wave, shape);
  }
  const clock = () => Number(process.hrtime.bigint()) * 1e-6;
  let runs = 0;
  for (const start = clock(); clock() - start < 50; runs++) {
    await session.run(feed);
  }
  const rounds = [], cpu = [];
  for (const start = clock(); clock() - start < 1000 * Number(seconds);) {
    const from = clock(), used = process.cpuUsage();
    for (let i = 0; i < runs; i++) {
      await session.run(feed);
    }
    rounds.push((clock() - from) / runs / Number(batch));
    const { user, system } = process.cpuUsage(used);
    cpu.push((user + system) * 1e-3 / runs / Number(batch));
  }
  console.log(JSON.stringify({ model, threads: Number(threads), batch: Number(batch), min_ms: Math.min(...rounds), median_ms: median(rounds),
    cpu_min_ms: Math.min(...cpu), cpu_median_ms: median(cpu) }));
}

main(process.argv.slice(2)).catch((error) => { console.error(String(error)); process.exit(1); });
