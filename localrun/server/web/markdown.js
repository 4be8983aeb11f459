// Markdown through the server, block by block. A text that grows is cut at its last block: the
// server renders that block and what follows it, and the blocks above stay as they are.

import { post } from "./api.js";
import { copyText, h, icon } from "./dom.js";

const MIN_PAUSE_MS = 100;
const COST_FACTOR = 6;  // pauses are so much longer than a rendering, of which code may be slow
const CHARACTERS_A_MS = 128;  // and longer for a long block, which is drawn anew
const LONGEST = 250000;  // characters that the server takes
const BATCH = 24;

const plain = { createHTML: (text) => text };
const policy = window.trustedTypes?.createPolicy("localrun", plain) ?? plain;
const normal = (text) => text.replace(/\r\n?/g, "\n");

function blockOf(markup) {
  const block = h("div", { class: "block" });
  block.innerHTML = policy.createHTML(markup);
  for (const code of block.querySelectorAll("pre")) addCodeHead(code);
  return block;
}

function addCodeHead(code) {
  const copy = h("button", { type: "button", class: "quiet", "aria-label": "Copy code", title: "Copy code" }, icon("copy"));
  copy.addEventListener("click", () => copyText(code.textContent.replace(/\n$/, ""), copy));
  const head = h("div", { class: "code-head" }, h("span", { text: code.dataset.language || "text" }), copy);
  const frame = h("div", { class: "code" });
  code.replaceWith(frame);
  frame.append(head, code);
}

function showPlain(element, text) {
  element.replaceChildren(h("p", { class: "plain", dir: "auto", text }));
}

/** A text that grows in an element. */
export class GrowingMarkdown {
  constructor(element, onShown = () => {}) {
    this.element = element;
    this.text = "";
    this.blocks = [];  // { line, html, element }
    this.onShown = onShown;
    this.timer = null;
    this.running = null;
    this.pause = MIN_PAUSE_MS;
  }

  /** Take a piece of text; it is shown soon. */
  add(piece) {
    this.text += piece;
    if (this.timer === null && !this.running) this.timer = setTimeout(() => this.render(), this.pause);
  }

  /** Show everything; the whole text is rendered once more, and what is the same stays. */
  async finish() {
    clearTimeout(this.timer);
    await this.running;
    clearTimeout(this.timer);
    await this.render(true);
  }

  render(isWhole = false) {
    this.timer = null;
    this.running = this.renderNow(isWhole).finally(() => { this.running = null; });
    return this.running;
  }

  async renderNow(isWhole) {
    const text = normal(this.text);
    const first = isWhole ? 0 : Math.max(0, this.blocks.length - 1);
    const line = first ? this.blocks[first].line : 0;
    const tail = text.slice(startOf(text, line));
    const length = this.text.length;
    if (tail.length > LONGEST) {
      showPlain(this.element, text);
      this.blocks = [];
      return;
    }
    const began = performance.now();
    try {
      const { results } = await post("/api/localrun/render", { texts: [tail] });
      this.show(results[0].blocks, first, line);
    } catch {
      if (isWhole) showPlain(this.element, text);  // the text is not lost with the server
      return;
    }
    this.pause = Math.max(MIN_PAUSE_MS, COST_FACTOR * (performance.now() - began), tail.length / CHARACTERS_A_MS);
    if (this.text.length > length && !isWhole) this.timer = setTimeout(() => this.render(), this.pause);
  }

  show(found, first, line) {
    if (!this.blocks.length) this.element.replaceChildren();
    found.forEach((block, index) => {
      const at = first + index;
      const old = this.blocks[at];
      if (old?.html === block.html) {
        old.line = line + block.line;
        return;
      }
      const element = blockOf(block.html);
      if (old) old.element.replaceWith(element);
      else this.element.append(element);
      this.blocks[at] = { line: line + block.line, html: block.html, element };
    });
    for (const old of this.blocks.splice(first + found.length)) old.element.remove();
    this.onShown();
  }
}

function startOf(text, line) {
  let at = 0;
  for (let count = 0; count < line; count += 1) at = text.indexOf("\n", at) + 1;
  return at;
}

const known = new Map();  // rendered texts, the oldest first
const MAX_KNOWN = 2000;

/** Render texts into elements, many at a time. */
export async function renderAll(pairs) {
  const open = [];
  for (const [element, text] of pairs) {
    if (known.has(text)) fillBlocks(element, known.get(text));
    else if (text.length > LONGEST) showPlain(element, text);
    else open.push([element, normal(text), text]);
  }
  while (open.length) {
    let size = 0;
    const batch = [];
    while (open.length && batch.length < BATCH && (size += open[0][1].length) <= LONGEST) batch.push(open.shift());
    try {
      const { results } = await post("/api/localrun/render", { texts: batch.map(([, text]) => text) });
      batch.forEach(([element, , text], index) => {
        const markup = results[index].blocks.map((block) => block.html);
        known.set(text, markup);
        if (known.size > MAX_KNOWN) known.delete(known.keys().next().value);
        fillBlocks(element, markup);
      });
    } catch {
      for (const [element, , text] of batch) showPlain(element, text);
    }
  }
}

function fillBlocks(element, markup) {
  element.replaceChildren(...markup.map(blockOf));
}
