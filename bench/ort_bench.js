// Times ONNX Runtime on one model, as bench_engine does for quern: batches of float input to logits, one process.
// usage: node ort_bench.js MODEL DIM,DIM,... THREADS BATCH SECONDS     needs onnxruntime-node
// Prints one line of JSON: least and median milliseconds per item over rounds of about 50 ms.
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
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) {
    data[i] = 100 + 90 * Math.sin(0.31 * i);
  }
  const feed = { [session.inputNames[0]]: new ort.Tensor('float32', data, shape) };
  const clock = () => Number(process.hrtime.bigint()) * 1e-6;
  let runs = 0;
  for (const start = clock(); clock() - start < 50; runs++) {
    await session.run(feed);
  }
  const rounds = [];
  for (const start = clock(); clock() - start < 1000 * Number(seconds);) {
    const from = clock();
    for (let i = 0; i < runs; i++) {
      await session.run(feed);
    }
    rounds.push((clock() - from) / runs / Number(batch));
  }
  console.log(JSON.stringify({ model, threads: Number(threads), batch: Number(batch), min_ms: Math.min(...rounds), median_ms: median(rounds) }));
}

main(process.argv.slice(2)).catch((error) => { console.error(String(error)); process.exit(1); });
