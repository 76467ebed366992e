// WebLLM, MLC's engine for browsers, where it can run: it wants a GPU that the browser lends (WebGPU), and the internet, for
// itself and for weights that were compiled for it. It can't take a GGUF file.
const MODULE = "https://cdn.jsdelivr.net/npm/@mlc-ai/web-llm@0.2.86/+esm";
const MODEL = "SmolLM2-135M-Instruct-q0f32-MLC"; // the same weights in float32: any adapter has that

const $ = (id) => document.getElementById(id);

async function whyNot() {
  if (!navigator.gpu) return "This browser has no WebGPU, so WebLLM can't run here.";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "This browser has WebGPU, but no adapter for it: no GPU that it may use. WebLLM can't run here.";
  if (!navigator.onLine) return "There is an adapter, but no internet, and WebLLM's weights come from there.";
  return "";
}

async function run({ prompt, tokens }) {
  $("webllm").disabled = true;
  $("webllm-said").hidden = false;
  const say = (text) => ($("webllm-said").textContent = text);
  try {
    say("Fetching WebLLM …");
    const { CreateMLCEngine } = await import(MODULE);
    const engine = await CreateMLCEngine(MODEL, { initProgressCallback: (report) => say(report.text) });
    const answer = await engine.completions.create({ prompt, max_tokens: tokens, temperature: 0 });
    const speed = answer.usage.extra.decode_tokens_per_s;
    say(`${answer.choices[0].text}\n\n${speed.toFixed(1)} tokens per second`);
    await engine.unload();
  } catch (error) {
    say(`WebLLM couldn't run: ${error?.message ?? error}`);
  }
  $("webllm").disabled = false;
}

export async function offerWebLLM(asked) {
  $("webllm").addEventListener("click", () => run(asked()));
  const look = async () => {
    const why = await whyNot();
    $("webllm-why").textContent =
      why || `It would fetch ${MODEL} (some 0.5 GB, from a CDN and a hub) into this browser's cache, and write with the same prompt.`;
    $("webllm").hidden = Boolean(why);
  };
  addEventListener("online", look);
  addEventListener("offline", look);
  await look();
}
