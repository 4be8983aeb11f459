// Markdown through the server, block by block. A text that grows is cut at its last block: the
// server renders that block and what follows it, and the blocks above stay as they are.

import { post } from "./api.js";
import { copyText, h, iconButton } from "./dom.js";

const MIN_PAUSE_MS = 100;
const COST_FACTOR = 6;  // pauses are so much longer than a rendering, of which code may be slow
const CHARACTERS_A_MS = 128;  // and longer for a long block, which is drawn anew
const LONGEST = 250000;  // characters that the server takes
const NUM_AT_ONCE = 24;  // texts of a request
const MAX_KNOWN = 2000;

const plain = { createHTML: (text) => text };
const policy = window.trustedTypes?.createPolicy("localrun", plain) ?? plain;
const normal = (text) => text.replace(/\r\n?/g, "\n");
const known = new Map();  // blocks of rendered texts, the oldest first
let waiting = [];  // texts to render, and what takes their blocks

/** Return the blocks of a text; those that are asked for together are sent together. */
function rendered(text) {
  return new Promise((resolve, reject) => {
    if (text.length > LONGEST) reject(new Error("the text is too long"));
    else if (waiting.push({ text, resolve, reject }) === 1) queueMicrotask(renderWaiting);
  });
}

async function renderWaiting() {
  const open = waiting;
  waiting = [];
  while (open.length) {
    let size = 0;
    const end = open.findIndex((one, at) => at === NUM_AT_ONCE || (size += one.text.length) > LONGEST);
    const batch = open.splice(0, end < 0 ? open.length : end);
    try {
      const { results } = await post("/api/localrun/render", { texts: batch.map((one) => one.text) });
      batch.forEach((one, at) => one.resolve(results[at].blocks));
    } catch (error) {
      for (const one of batch) one.reject(error);
    }
  }
}

function blockOf(markup) {
  const block = h("div", { class: "block" });
  block.innerHTML = policy.createHTML(markup);
  for (const code of block.querySelectorAll("pre")) addCodeHead(code);
  return block;
}

function addCodeHead(code) {
  const copy = iconButton("copy", "Copy code", () => copyText(code.textContent.replace(/\n$/, ""), copy));
  const head = h("div", { class: "code-head" }, h("span", { text: code.dataset.language || "text" }), copy);
  const frame = h("div", { class: "code" });
  code.replaceWith(frame);
  frame.append(head, code);
}

/** Show a text that cannot be rendered: it is too long, or the server is away. */
function showPlain(element, text) {
  element.replaceChildren(h("p", { class: "plain", dir: "auto", text }));
}

/** Render a text into an element. */
export async function renderText(element, text) {
  try {
    if (!known.has(text)) known.set(text, await rendered(normal(text)));
    if (known.size > MAX_KNOWN) known.delete(known.keys().next().value);
    element.replaceChildren(...known.get(text).map(({ html }) => blockOf(html)));
  } catch {
    showPlain(element, text);
  }
}

/** A text that grows in an element. */
export class GrowingMarkdown {
  constructor(element) {
    this.element = element;
    this.text = "";
    this.blocks = [];  // { line, html, element }
    this.timer = null;
    this.running = null;
    this.pause = MIN_PAUSE_MS;
  }

  /** Take a piece of text; it is shown soon. */
  add(piece) {
    this.text += piece;
    if (!this.running) this.timer ??= setTimeout(() => this.render(), this.pause);
  }

  /** Show everything. */
  async finish() {
    await this.running;
    await this.render();
  }

  render() {
    clearTimeout(this.timer);
    this.timer = null;
    this.running = this.#render().finally(() => { this.running = null; });
    return this.running;
  }

  async #render() {
    const text = normal(this.text);
    const first = Math.max(0, this.blocks.length - 1);
    const line = first ? this.blocks[first].line : 0;
    const tail = text.split("\n").slice(line).join("\n");
    const { length } = this.text;
    const began = performance.now();
    try {
      this.show(await rendered(tail), first, line);
    } catch {
      showPlain(this.element, text);
      this.blocks = [];
    }
    this.pause = Math.max(MIN_PAUSE_MS, COST_FACTOR * (performance.now() - began), tail.length / CHARACTERS_A_MS);
    if (this.text.length > length) this.timer = setTimeout(() => this.render(), this.pause);
  }

  show(found, first, line) {
    if (!this.blocks.length) this.element.replaceChildren();
    found.forEach((block, index) => {
      const at = first + index;
      const old = this.blocks[at];
      const isSame = old?.html === block.html;
      const element = isSame ? old.element : blockOf(block.html);
      if (!old) this.element.append(element);
      else if (!isSame) old.element.replaceWith(element);
      this.blocks[at] = { line: line + block.line, html: block.html, element };
    });
    for (const old of this.blocks.splice(first + found.length)) old.element.remove();
  }
}
