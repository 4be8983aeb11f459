// The models of this machine: what they can do, whether they fit, and all that is done with them.

import { get, lines, post, query, remove } from "./api.js";
import { asked, button, bytes, confirmed, fill, folded, h, notify, number, renew, shortName, showDialog, showError, viewOf } from "./dom.js";
import { store } from "./storage.js";

const LINT_MS = 400;
const NEW_RECIPE = "FROM guide\nSYSTEM You are brief.\nPARAMETER temperature 0.3\n";
const pulls = new Set();  // names
const jobs = h("div", { class: "cards", role: "status" });  // of the pulls, also while another view is shown

export class View {
  constructor(page) {
    this.page = page;
    this.list = h("div", { class: "cards" });
    this.cards = new Map();  // by what they show
    this.states = new Map();  // by name of the model
    this.found = h("div", { class: "cards" });
    this.input = h("input", { type: "search", "aria-label": "Name or search text", placeholder: "Pull by name, such as qwen3:0.6b, or search", maxlength: 200 });
    const withName = (act) => (event) => { event.preventDefault(); act.call(this, this.input.value.trim()); };
    const form = h("form", { class: "row pull", onsubmit: withName(this.pull) },
      this.input, button("Pull", withName(this.pull), { class: "primary", icon: "down" }), button("Search", withName(this.search), { icon: "search" }));
    Object.assign(this, viewOf(page, "Models", [form, jobs, this.found, this.list], button("New recipe", () => this.edit(), { icon: "plus" })));
  }

  async shown() {
    await this.page.loadModels().finally(() => this.draw());
  }

  async tick() {
    await this.page.loadRunning();
    this.drawStates();
  }

  draw() {
    const before = this.cards;
    this.cards = new Map(this.page.models.map((model) => [JSON.stringify(model), model]));
    for (const [key, model] of this.cards) this.cards.set(key, before.get(key) ?? this.card(model));
    fill(this.list, this.cards.size ? [...this.cards.values()] : h("p", { class: "state", text: "No model is here yet. Pull one above." }));
    this.drawStates();
  }

  card(model) {
    const { details } = model;
    const state = h("div", { class: "row model-state" });
    const plan = h("p", { class: "state", role: "status" });
    this.states.set(model.name, state);
    const place = model.remote_host ? [`${model.remote_model} at ${model.remote_host}`] : [details.parameter_size, details.quantization_level, bytes(model.size)];
    const facts = [...place, details.context_length ? `${number(details.context_length)} tokens` : "", details.family];
    return h("article", { class: "card", "aria-label": model.name },
      h("header", { class: "row" }, h("h2", { text: shortName(model.name), dir: "auto" }), h("span", { class: "space" }),
        (model.capabilities ?? []).map((name) => h("span", { class: "source", text: name }))),
      h("p", { class: "dim", text: facts.filter(Boolean).join(" · ") }), state, plan,
      h("footer", { class: "row wrap" },
        button("Chat", () => { store("model", model.name); this.page.newChat(); }, { class: "small", icon: "chat" }),
        button("Does it fit?", () => this.plan(model.name, plan), { class: "small" }),
        button("Details", () => this.details(model.name), { class: "small" }),
        button("Recipe", () => this.edit(model.name), { class: "small" }),
        button("Copy…", () => this.copy(model.name), { class: "small" }),
        button("Delete…", () => this.remove(model.name), { class: "small danger" })));
  }

  drawStates() {
    for (const [name, element] of this.states) {
      const row = this.page.loaded.find((one) => one.name === name);
      renew(element, h("span", { class: `lamp ${row?.state ?? ""}` }), h("span", { text: stateText(row) }), h("span", { class: "space" }),
        row && row.state !== "failed" ? button("Unload", () => this.unload(name), { class: "small" }) : button("Load", () => this.load(name, false), { class: "small" }),
        row?.pinned ? null : button("Pin", () => this.load(name, true), { class: "small", icon: "pin" }));
    }
  }

  async load(name, pin) {
    try {
      for await (const part of lines("/api/localrun/load", { model: name, pin })) {
        if (part.progress !== undefined) fill(this.states.get(name), h("progress", { value: part.progress, max: 1, "aria-label": `Load of ${name}` }));
      }
    } finally {
      await this.tick();
    }
  }

  async unload(name) {
    await post("/api/generate", { model: name, keep_alive: 0, stream: false }).finally(() => this.tick());
  }

  async plan(name, element) {
    element.textContent = "Planning…";
    element.textContent = await get(`/api/localrun/plan${query({ model: name })}`).then(({ summary }) => summary, (error) => error.message);
  }

  async details(name) {
    const shown = await post("/api/show", { model: name });
    const info = Object.entries(shown.model_info).filter(([, value]) => value !== null && typeof value !== "object");
    const part = (title, text) => (text ? folded(title, text) : null);
    showDialog(shortName(name), h("div", { class: "stack" }, part("Recipe", shown.modelfile), part("Chat template", shown.template), part("Licence", shown.license),
      part("Metadata", info.map(([key, value]) => `${key}: ${value}`).join("\n"))));
  }

  async copy(name) {
    const destination = await asked("Copy the model", "New name");
    if (!destination) return;
    await post("/api/copy", { source: name, destination }).finally(() => this.shown());
  }

  async remove(name) {
    if (!await confirmed("Delete this model?", `${shortName(name)} is removed from this machine.`, "Delete")) return;
    await remove("/api/delete", { model: name }).finally(() => this.shown());
  }

  // --- pull and search

  async pull(name) {
    if (!name || pulls.has(name)) return;
    const [stopper, bar, label] = [new AbortController(), h("progress", { max: 1, "aria-label": `Pull of ${name}` }), h("span", { class: "dim" })];
    const element = h("article", { class: "card row" }, h("strong", { text: name }), bar, label, h("span", { class: "space" }),
      button("Cancel", () => stopper.abort(), { class: "small" }));
    pulls.add(name);
    jobs.append(element);
    let [done, total, draft] = [0, 0, ""];
    try {
      for await (const part of lines("/api/pull", { model: name }, { signal: stopper.signal })) {
        ({ completed: done = done, total = total } = part);
        if (total) bar.value = done / total;
        if (part.draft) draft = part.status;
        label.textContent = total ? `${bytes(done)} of ${bytes(total)}` : part.status;
      }
      notify(draft ? `${name} is here. ${draft}.` : `${name} is here.`);
    } catch (error) {
      if (error.name !== "AbortError") notify(`${name}: ${error.message}`, "error");
    }
    pulls.delete(name);
    element.remove();
    (this.page.current instanceof View ? this.page.current : this).shown();
  }

  async search(text) {
    if (!text) return;
    fill(this.found, h("p", { class: "state", text: "Searching…" }));
    try {
      const { hits, problems } = await get(`/api/localrun/search${query({ text })}`);
      fill(this.found, problems.map((problem) => h("p", { class: "state", text: problem })),
        hits.length ? hits.map((hit) => h("article", { class: "card row wrap" },
          h("strong", { text: hit.name, dir: "auto" }), h("span", { class: "dim", text: [hit.quantization, hit.size_bytes ? bytes(hit.size_bytes) : "", `${number(hit.downloads)} downloads`].filter(Boolean).join(" · ") }),
          h("span", { class: "space" }), hit.fits === null ? null : h("span", { class: `source ${hit.fits ? "recipe" : ""}`, text: hit.fits ? "fits" : "too large" }),
          button("Pull", () => this.pull(hit.name), { class: "small" }))) : h("p", { class: "state", text: "Nothing is found." }));
    } catch (error) {
      showError(this.found, error);
    }
  }

  // --- recipes

  async edit(base = "") {
    const start = base ? (await get(`/api/localrun/parameters${query({ model: base })}`)).recipe : NEW_RECIPE;
    const name = h("input", { id: "recipe-name", placeholder: "Name of the model", value: shortName(base), maxlength: 200, required: true });
    const area = h("textarea", { class: "code-field recipe", rows: 12, spellcheck: "false", "aria-label": "Recipe", value: start, wrap: "off",
      oninput: () => { clearTimeout(timer); timer = setTimeout(lint, LINT_MS); }, onscroll: () => { gutter.scrollTop = area.scrollTop; } });
    const gutter = h("div", { class: "gutter", "aria-hidden": "true" });
    const marks = h("ul", { class: "marks", role: "status", "aria-label": "Problems" });
    const state = h("p", { class: "state" });
    let timer = null;
    const lint = async () => {
      const { problems } = await post("/api/localrun/lint", { modelfile: area.value });
      fill(gutter, area.value.split("\n").map((_, at) => {
        const found = problems.find((one) => one.line === at + 1);
        return h("div", { class: found?.severity, text: found ? `${at + 1} ●` : `${at + 1}` });
      }));
      fill(marks, problems.map((one) => h("li", { class: one.severity }, button(`${one.line}:${one.column}`, () => goTo(area, one), { class: "small" }),
        h("span", { text: one.message + (one.hint ? ` (${one.hint})` : ""), dir: "auto" }))));
    };
    const create = async () => {
      if (!name.reportValidity()) return;
      try {
        for await (const part of lines("/api/create", { model: name.value.trim(), modelfile: area.value })) state.textContent = part.status;
      } catch (error) {
        showError(state, error);
        return;
      }
      dialog.close();
      notify(`${name.value} is created.`);
      await this.shown();
    };
    const dialog = showDialog(base ? `Recipe from ${shortName(base)}` : "New recipe",
      h("div", { class: "stack" }, h("label", { for: "recipe-name", text: "Name" }), name, h("div", { class: "recipe-frame" }, gutter, area), marks, state),
      [button("Cancel", () => dialog.close()), button("Create", create, { class: "primary" })]);
    dialog.classList.add("wide");
    await lint();
  }
}

function goTo(area, { line, column }) {
  const before = area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(before + column - 1, before + column - 1);
}

function stateText(row) {
  if (!row) return "Not loaded";
  if (row.state === "failed") return `Failed: ${row.reason}`;
  if (row.state === "loading") return `Loading, ${Math.round(100 * row.progress)} %`;
  if (row.state === "remote") return `Answered elsewhere, ${row.running} running`;
  const parts = [row.pinned ? "Pinned" : "Loaded", bytes(row.size_bytes), `${number(row.context)} tokens`];
  if (row.running) parts.push(`${row.running} running`);
  if (row.waiting) parts.push(`${row.waiting} waiting`);
  return parts.join(" · ");
}

