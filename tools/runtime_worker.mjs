// One model in onnxruntime-web's WebAssembly, in node and in a page; `tools/runtimes.py` asks.
//
//     node tools/runtime_worker.mjs FOLDER MODEL.onnx INPUT.json OUTPUT.json ROUNDS
//
// FOLDER has onnxruntime-web among its node_modules. INPUT.json has a tensor's type, shape and values, OUTPUT.json gets the
// outputs' values and the seconds of each round. In a page they are fetched, and the answer is posted to /answer.

async function measured(ort, model, input, rounds) {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const values = input.type === "uint8" ? Uint8Array.from(input.values) : Float32Array.from(input.values);
  const feeds = { [session.inputNames[0]]: new ort.Tensor(input.type, values, input.shape) };
  const made = await session.run(feeds);
  const seconds = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await session.run(feeds);
    seconds.push((performance.now() - start) / 1000);
  }
  const outputs = session.outputNames.map((name) => [name, Array.from(made[name].data, Number)]);
  return { version: ort.env.versions.web, seconds, outputs: Object.fromEntries(outputs) };
}

if (globalThis.process) {
  const { createRequire } = await import("node:module");
  const { readFileSync, writeFileSync } = await import("node:fs");
  const [folder, model, input, output, rounds] = process.argv.slice(2);
  const ort = createRequire(`${folder}/`)("onnxruntime-web");
  const read = JSON.parse(readFileSync(input, "utf8"));
  writeFileSync(output, JSON.stringify(await measured(ort, new Uint8Array(readFileSync(model)), read, Number(rounds))));
} else {
  const asked = new URL(location.href).searchParams;
  let answer;
  try {
    const ort = await import("/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
    const model = new Uint8Array(await (await fetch("/model.onnx")).arrayBuffer());
    answer = await measured(ort, model, await (await fetch("/input.json")).json(), Number(asked.get("rounds")));
  } catch (error) {
    answer = { error: String(error) };
  }
  await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
}
