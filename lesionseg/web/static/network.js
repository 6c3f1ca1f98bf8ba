// The network in ONNX Runtime: by WebGPU where the page has it and the device does, else by
// WebAssembly.
import { asset, hasAsset, scriptAddress } from "./assets.js";

const MOST_THREADS = 4;
const RESIZES = ["shrink", "enlarge"]; // nodes that WebGPU does not know; `lesionseg export` names them
const PATIENCE = 20000; // milliseconds for a first run by WebGPU, its shaders included
const ENGINES = {
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
};

/** Whether there is a GPU that is worth it: not one that the processor plays in software. */
async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
  } catch {
    return false;
  }
}

async function create(engine) {
  const [library, core] = ENGINES[engine];
  const ort = await import(await scriptAddress(library));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = { mjs: await scriptAddress(`${core}.mjs`) };
  ort.env.wasm.wasmBinary = await asset(`${core}.wasm`);
  const cores = navigator.hardwareConcurrency || 1;
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, cores) : 1;
  const provider = engine === "webgpu" ? { name: engine, forceCpuNodeNames: RESIZES } : engine;
  const session = await ort.InferenceSession.create(await networkBytes(), {
    executionProviders: [provider],
    logSeverityLevel: 3, // errors; its warnings are for those who write graphs
    extra: { session: { disable_quant_qdq: "1" } }, // kernels become float32 once, not each time
  });
  return { ort, session };
}

/** What a promise gives, unless it takes too long. */
function within(promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("too slow")), PATIENCE);
  });
  return Promise.race([promise, late]);
}

let kept = null;

async function networkBytes() {
  kept ??= await asset("network.onnx");
  return kept;
}

/** Open the network: { engine, threads, run(photo) }, photo being (size, size, 3) bytes. */
export async function openNetwork(size) {
  const run = async ({ ort, session }, photo) => {
    const input = new ort.Tensor("uint8", photo, [1, size, size, 3]);
    const { probabilities } = await session.run({ photo: input }, ["probabilities"]);
    return probabilities.data;
  };
  let engine = hasAsset(ENGINES.webgpu[0]) && (await hasGpu()) ? "webgpu" : "wasm";
  let opened;
  try {
    opened = await create(engine);
    if (engine === "webgpu") await within(run(opened, new Uint8Array(3 * size * size)));
  } catch (error) {
    if (engine === "wasm") throw error;
    engine = "wasm"; // WebGPU that lacks what the network needs, or is slower than the processor
    opened = await create(engine);
  }
  kept = null;
  const threads = opened.ort.env.wasm.numThreads;
  return { engine, threads, run: (photo) => run(opened, photo) };
}
