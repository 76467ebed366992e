// Talks to the server that it came from: /v1/chat/completions as any client of OpenAI's does, and /state for what the engine
// holds. Whatever a model or a server says is put in as text, never as HTML.
"use strict";

const CELLS = 1024; // of the block map at most; with more blocks than that, a cell stands for several
const OWNERS = 6; // colours
const BUSY_MS = 250, IDLE_MS = 1500; // between two looks at the engine

const $ = (id) => document.getElementById(id);
let conversation = []; // {role, content}, as the server is asked
let running = null; // AbortController of the reply that is on its way
let next = 0; // the timer of the next look at the engine

// The conversation.

function turn(role, text) {
  $("empty")?.remove();
  const box = document.createElement("div"), who = document.createElement("span"), said = document.createElement("span");
  box.className = `turn ${role}`;
  who.className = "who";
  who.textContent = role === "user" ? "You" : "Your engine";
  said.textContent = text;
  box.append(who, said);
  $("log").append(box);
  $("log").scrollTop = $("log").scrollHeight;
  return said;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

function headers(more = {}) {
  return $("key").value ? { ...more, Authorization: `Bearer ${$("key").value}` } : more;
}

async function errorOf(answer) {
  if (answer.status === 401) $("key-label").hidden = false;
  const body = await answer.json().catch(() => ({}));
  return body?.error?.message ?? `the server answered ${answer.status}`;
}

// Payloads of server-sent events; this server ends each with an empty line.
async function* events(body) {
  const reader = body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
  }
}

async function ask(text) {
  const mine = conversation; // which isn't the one that is shown once somebody has pressed New
  mine.push({ role: "user", content: text });
  turn("user", text);
  const said = turn("assistant", "");
  const meter = new Meter();
  running = new AbortController();
  working(true);
  let reply = "";
  try {
    const answer = await fetch("v1/chat/completions", {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      signal: running.signal,
      body: JSON.stringify({
        model: $("model").dataset.name,
        messages: mine,
        stream: true,
        stream_options: { include_usage: true },
        temperature: Number($("temperature").value),
        max_tokens: Number($("most").value),
      }),
    });
    if (!answer.ok) throw new Error(await errorOf(answer));
    for await (const payload of events(answer.body)) {
      if (payload === "[DONE]") break;
      const chunk = JSON.parse(payload);
      if (chunk.error) throw new Error(chunk.error.message);
      const piece = chunk.choices[0]?.delta.content;
      if (piece) {
        meter.piece();
        reply += piece;
        said.append(piece); // a text node
        $("log").scrollTop = $("log").scrollHeight;
      }
      if (chunk.usage) meter.counted(chunk.usage);
    }
  } catch (error) {
    if (error.name !== "AbortError") trouble(String(error.message));
  } finally {
    running = null;
    working(false);
  }
  if (reply) {
    mine.push({ role: "assistant", content: reply });
  } else {
    mine.pop(); // what wasn't answered isn't part of what is sent next
    said.parentElement.remove();
  }
}

function working(is) {
  $("send").disabled = is;
  $("stop").disabled = !is;
  lookIn(BUSY_MS);
}

// What a user feels: the wait for the first token, then the pace.
class Meter {
  constructor() {
    this.asked = performance.now();
    this.first = 0;
    this.last = 0;
    this.pieces = 0;
    for (const id of ["first", "speed", "tokens"]) $(id).textContent = "…";
  }

  piece() {
    this.last = performance.now();
    this.first ||= this.last;
    this.pieces += 1;
    this.show(this.pieces);
  }

  counted(usage) {
    this.show(usage.completion_tokens);
    $("tokens").textContent = `${usage.prompt_tokens} + ${usage.completion_tokens}`;
  }

  show(tokens) {
    if (!this.first) return;
    $("first").textContent = `${((this.first - this.asked) / 1000).toFixed(2)} s`;
    $("tokens").textContent = String(tokens);
    const seconds = (this.last - this.first) / 1000;
    if (tokens > 1 && seconds > 0) $("speed").textContent = ((tokens - 1) / seconds).toFixed(1);
  }
}

// The engine.

function drawBlocks(state) {
  const each = Math.ceil(state.blocks / CELLS);
  const kinds = new Array(Math.ceil(state.blocks / each)).fill("free");
  for (const block of state.kept) kinds[Math.floor(block / each)] = "kept";
  const owners = new Map();
  for (const one of state.running)
    for (const block of one.blocks) owners.set(block, owners.has(block) ? "shared" : `owner-${one.number % OWNERS}`);
  for (const [block, kind] of owners) kinds[Math.floor(block / each)] = kind;
  const map = $("blocks");
  while (map.childElementCount > kinds.length) map.lastElementChild.remove();
  while (map.childElementCount < kinds.length) map.append(document.createElement("i"));
  kinds.forEach((kind, place) => {
    const name = `cell ${kind}`;
    if (map.children[place].className !== name) map.children[place].className = name;
  });
  const used = state.blocks - state.free;
  $("blocks-said").textContent = `${used} of ${state.blocks} blocks in use, of ${state.block_size} tokens each; ` +
    `${state.kept.length} kept for their content${each > 1 ? `; a square stands for ${each} blocks` : ""}.`;
}

function drawRunning(state) {
  const rows = state.running.map((one) => {
    const row = document.createElement("tr");
    for (const text of [one.number, one.prompt, one.tokens - one.prompt, spans(one.blocks)]) {
      const cell = document.createElement("td");
      cell.textContent = String(text);
      row.append(cell);
    }
    const mark = document.createElement("i");
    mark.className = `cell owner-${one.number % OWNERS}`;
    row.firstElementChild.prepend(mark, " ");
    return row;
  });
  $("running").replaceChildren(...rows);
  $("queue").textContent = `${state.running.length} in the batch, ${state.waiting} in the queue, ` +
    `${state.preemptions} had to start over so far.`;
}

// 3, 4, 5, 9 -> "3–5, 9"
function spans(blocks) {
  const found = [];
  for (const block of blocks) {
    const last = found.at(-1);
    if (last && last[1] + 1 === block) last[1] = block;
    else found.push([block, block]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

async function look() {
  let wait = IDLE_MS;
  try {
    if (document.visibilityState === "visible") {
      const answer = await fetch("state", { headers: headers() });
      if (!answer.ok) throw new Error(await errorOf(answer));
      const state = await answer.json();
      $("model").textContent = state.model;
      $("model").dataset.name = state.model;
      $("about").textContent = state.draining ? "stopping" : `a server for learning, ${state.context} tokens of context`;
      drawBlocks(state);
      drawRunning(state);
      if (state.running.length) wait = BUSY_MS;
    }
  } catch (error) {
    $("about").textContent = `no answer: ${error.message}`;
  }
  lookIn(running ? BUSY_MS : wait);
}

function lookIn(milliseconds) {
  clearTimeout(next);
  next = setTimeout(look, milliseconds);
}

// The form.

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("said").value.trim();
  if (!text || running) return;
  trouble("");
  $("said").value = "";
  ask(text);
});
$("said").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
$("stop").addEventListener("click", () => running?.abort());
$("again").addEventListener("click", () => {
  running?.abort();
  conversation = [];
  $("log").replaceChildren();
  trouble("");
  $("said").focus();
});
look();
