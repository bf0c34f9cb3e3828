// Off the page's own thread: the net, and all that becomes of a picture before it.

import * as ort from "./ort.js";
import { decode } from "./decode.js";
import { fit } from "./pixels.js";

let model, session, queue = Promise.resolve();

async function load() {
  const [description, file] = await Promise.all(["model.json", "model.onnx"].map(async name => {
    const answer = await fetch(new URL(name, import.meta.url));
    if (!answer.ok) throw new Error(`${name} cannot be loaded (${answer.status})`);
    return name.endsWith("json") ? answer.json() : answer.arrayBuffer();
  }));
  model = description;
  const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(new Uint8Array(file), { executionProviders: ["wasm"] });
  const { channels, size } = model.preprocessing;
  await run(new Uint8Array(channels * size * size)); // the first time prepares
  return { model, threads };
}

async function run(square) {
  const { channels, size } = model.preprocessing;
  const { logits, novelty } = await session.run({ images: new ort.Tensor("uint8", square, [1, channels, size, size]) });
  const scaled = Array.from(logits.data, logit => logit / model.temperature), most = Math.max(...scaled);
  const shares = scaled.map(logit => Math.exp(logit - most)), sum = shares.reduce((a, b) => a + b);
  return { probs: shares.map(share => share / sum), novel: novelty ? novelty.data[0] > 0 : false };
}

async function answer(blob, keep) {
  const began = performance.now(), picture = await decode(blob, model.preprocessing);
  let square;
  try { square = fit(picture, model.preprocessing); } finally { picture.close(); }
  const fitted = performance.now(), found = await run(square);
  return { ...found, ms: { pixels: fitted - began, net: performance.now() - fitted }, square: keep ? square : null };
}

onmessage = ({ data: { id, file, keep } }) => {
  queue = queue.then(async () => {
    try { postMessage({ id, ...(file ? await answer(file, keep) : await load()) }); }
    catch (error) { postMessage({ id, error: error.message }); }
  });
};
