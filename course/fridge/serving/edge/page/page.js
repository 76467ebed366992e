// Loads a GGUF file into wllama, lets it go on with a prompt, and shows what that cost. What a model says is put in as
// text, never as HTML.
import { Wllama } from "./wllama.js";
import { offerWebLLM } from "./webllm.js";

const CONTEXT = 2048; // tokens of prompt and reply

const $ = (id) => document.getElementById(id);
let about = { file: null };
let wllama = null; // with a loaded model, or null
let running = null; // AbortController of what is being written

function trouble(error) {
  $("trouble").textContent = error ? String(error?.message ?? error) : "";
  $("trouble").hidden = !error;
}

const number = (value, digits = 1) => value.toLocaleString("en", { maximumFractionDigits: digits });

// Threads share memory, which a browser allows only in a page that it keeps apart from others' pages.
function offerThreads() {
  const most = crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  for (let count = 1; count <= most; count *= 2) $("threads").add(new Option(count, count));
  $("about-threads").textContent = crossOriginIsolated
    ? "More threads help only while other programs leave their cores alone: a thread that waits for another one waits busily."
    : "One thread: this page was opened without the headers that threads need.";
}

function showFile() {
  const own = $("pick").files[0] ?? about.file;
  $("file").textContent = own ? `${own.name}, ${number(own.size ?? own.bytes)} bytes` : "No file yet: choose one.";
  $("load").disabled = !own;
}

async function bytesOf() {
  if ($("pick").files[0]) return $("pick").files[0];
  const answer = await fetch("model.gguf");
  if (!answer.ok) throw new Error("The file isn't there any more: start `fridge edge` again.");
  const parts = [];
  let got = 0;
  for await (const part of pieces(answer.body.getReader())) {
    parts.push(part);
    got += part.length;
    $("progress").value = got / about.file.bytes;
  }
  return new Blob(parts);
}

async function* pieces(reader) {
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

async function load() {
  trouble();
  $("load").disabled = $("write").disabled = true;
  $("progress").value = 0;
  $("progress").hidden = false;
  const began = performance.now();
  try {
    const old = wllama;
    wllama = null;
    await old?.exit();
    const blob = await bytesOf();
    const said = [];
    const logger = { debug() {}, log() {}, warn() {}, error: (...words) => said.push(words.join(" ")) };
    const fresh = new Wllama({ default: "/wllama.wasm" }, { logger });
    fresh.setCompat(null); // or else an older browser would fetch another build from elsewhere
    const threads = Number($("threads").value);
    try {
      await fresh.loadModel([blob], { n_ctx: CONTEXT, n_threads: threads, n_gpu_layers: 0 });
      if (!fresh.getLoadedContextInfo().n_vocab) throw new Error(`llama.cpp can't run this file. ${said[0] ?? ""}`);
    } catch (error) {
      await fresh.exit().catch(() => {}); // its memory
      throw error;
    }
    wllama = fresh;
    $("bytes").textContent = number(blob.size);
    $("loading").textContent = number((performance.now() - began) / 1000);
    $("text").textContent = "Loaded. Press Write.";
  } catch (error) {
    trouble(error);
  }
  $("progress").hidden = true;
  $("load").disabled = false;
  $("write").disabled = !wllama;
}

async function write() {
  trouble();
  const prompt = $("prompt").value, given = document.createElement("b");
  const said = document.createTextNode("");
  given.textContent = prompt;
  $("text").replaceChildren(given, said);
  running = new AbortController();
  delete $("figures").dataset.timings;
  $("write").disabled = $("load").disabled = true;
  $("stop").disabled = false;
  try {
    const stream = await wllama.createCompletion({
      prompt, max_tokens: Number($("tokens").value), temperature: 0, stream: true, abortSignal: running.signal, timings_per_token: true,
    });
    for await (const chunk of stream) {
      said.data += chunk.choices?.[0]?.text ?? "";
      show(chunk.timings);
    }
  } catch (error) {
    if (error.name !== "AbortError" && error.name !== "WllamaAbortError") trouble(error);
  }
  running = null;
  $("write").disabled = $("load").disabled = false;
  $("stop").disabled = true;
}

function show(timings) {
  if (!timings) return;
  if (timings.predicted_n > 1) $("speed").textContent = number(timings.predicted_per_second);
  if (timings.prompt_ms > 0) $("prefill").textContent = number(timings.prompt_per_second);
  $("figures").dataset.timings = JSON.stringify(timings);
}

$("pick").addEventListener("change", showFile);
$("load").addEventListener("click", load);
$("stop").addEventListener("click", () => running?.abort());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (wllama && !running) write();
});

try {
  about = await (await fetch("about.json")).json();
  $("version").textContent = `wllama ${about.wllama}`;
} catch {
  trouble("The command `fridge edge` has ended: start it again, and load this page anew.");
}
offerThreads();
showFile();
offerWebLLM(() => ({ prompt: $("prompt").value, tokens: Number($("tokens").value) }));
