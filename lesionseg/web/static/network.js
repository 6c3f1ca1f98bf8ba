// The network in ONNX Runtime: by WebGPU where the page has it and the device does, else by
// WebAssembly.
import { asset, hasAsset, scriptAddress } from "./assets.js";

const MOST_THREADS = 4;
// Nodes that WebGPU does not know, by the names that `lesionseg export` gives them.
const RESIZES = ["shrink", "enlarge", ...Array.from({ length: 30 }, (_, place) => `resize_${place + 1}`)];
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

/** The network; `engine` and `threads` say what runs it. */
class Network {
  constructor(size) {
    this.size = size;
  }

  async open(engine) {
    Object.assign(this, { engine, ...(await create(engine)) });
    this.threads = this.ort.env.wasm.numThreads;
    kept = null;
  }

  async infer(photo) {
    const input = new this.ort.Tensor("uint8", photo, [1, this.size, this.size, 3]);
    const { probabilities } = await this.session.run({ photo: input }, ["probabilities"]);
    return probabilities.data;
  }

  /** Probabilities (size, size) of a photo of (size, size, 3) bytes. */
  async run(photo) {
    try {
      return await this.infer(photo);
    } catch (error) {
      if (this.engine === "wasm") throw error;
      await this.open("wasm"); // a GPU can be lost at any time
      return this.infer(photo);
    }
  }
}

/** Open the network for photos of size x size. */
export async function openNetwork(size) {
  const network = new Network(size);
  if (hasAsset(ENGINES.webgpu[0]) && (await hasGpu())) {
    try {
      await network.open("webgpu");
      await within(network.infer(new Uint8Array(3 * size * size)));
      return network;
    } catch { /* WebGPU that lacks what the network needs, or is slower than the processor */ }
  }
  await network.open("wasm");
  return network;
}
