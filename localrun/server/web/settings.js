// Settings of a chat: system prompt, personas, thinking, form of the answers, parameters. Each
// parameter shows its value and who set it: the recipe of the model, the default, or the user.

import { get, query } from "./api.js";
import { asked, button, choice, fill, h, iconButton, notify, renew } from "./dom.js";
import { store, stored, storeText } from "./storage.js";

const NUM_FIRST = 9;  // parameters that are shown at once
const THINK = [["", "as the model does"], ["false", "off"], ["true", "on"], ["low", "low"], ["medium", "medium"], ["high", "high"]];
const FORMATS = [["", "text"], ["json", "JSON"], ["schema", "JSON Schema"]];
const EXAMPLE = { type: "object", properties: { answer: { type: "string" } }, required: ["answer"] };

export class SettingsPanel {
  constructor(chat) {
    this.chat = chat;
    this.content = h("div", { class: "panel-body" });
    this.element = h("aside", { class: "panel", "aria-label": "Settings of this chat", hidden: true },
      h("header", {}, h("h2", { text: "Settings" }), iconButton("close", "Close the settings", () => this.toggle(false))), this.content);
  }

  get settings() {
    return this.chat.conversation.settings;
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle(isOpen = this.element.hidden) {
    this.element.hidden = !isOpen;
    const opener = this.chat.header.querySelector("[aria-expanded]");
    opener.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return opener.focus();
    const before = document.activeElement;
    return this.load().then(() => {
      if (document.activeElement === before) this.content.querySelector("textarea")?.focus();
    });
  }

  async load() {
    if (this.element.hidden) return;
    const model = this.chat.model();
    try {
      this.described = await get(`/api/localrun/parameters${query({ model })}`);
      if (this.state() !== this.shown) this.draw();
    } catch (error) {
      this.shown = null;
      fill(this.content, h("p", { class: "state error", text: error.message }));
    }
  }

  /** Return what decides how the settings look: what is shown and still the same stays as it is. */
  state() {
    return JSON.stringify([this.described, { ...this.settings, model: undefined }]);
  }

  keep(name, value) {
    if (value === undefined || value === "" || value === null) delete this.settings[name];
    else this.settings[name] = value;
    this.shown = this.state();
    this.chat.conversation.keepSettings();
  }

  draw() {
    const { parameters } = this.described;
    this.shown = this.state();
    fill(this.content, this.system(), this.answers(),
      h("h3", { text: "Parameters" }), parameters.slice(0, NUM_FIRST).map((one) => this.parameter(one)),
      h("details", {}, h("summary", { text: "All parameters" }), parameters.slice(NUM_FIRST).map((one) => this.parameter(one))));
  }

  system() {
    const personas = () => stored("personas", []);
    const area = h("textarea", {
      id: "system", rows: 4, dir: "auto", value: this.settings.system ?? "",
      placeholder: this.described.system || "None", oninput: () => take(area.value),
    });
    const label = h("label", { for: "system" });
    const picker = h("select", { id: "persona", onchange: () => {
      area.value = personas().find((one) => one.name === picker.value)?.text ?? "";
      take(area.value);
    } });
    const forget = iconButton("trash", "Delete the persona", () => {
      storeText("personas", picker.value);
      show();
    });
    const show = () => {
      fill(label, h("span", { text: "System prompt" }), source(this.settings.system ? "mine" : this.described.system ? "recipe" : "default"));
      renew(picker, h("option", { value: "", text: "none" }), personas().map(({ name }) => h("option", { value: name, text: name })));
      picker.value = personas().find((one) => one.text === area.value)?.name ?? "";
      forget.disabled = !picker.value;
    };
    const take = (text) => {
      this.keep("system", text.trim() ? text : "");
      show();
    };
    const save = async () => {
      if (!area.value.trim()) return notify("Write a system prompt first.");
      const name = await asked("Save as a persona", "Name");
      if (name) storeText("personas", name, area.value);
      return show();
    };
    show();
    return h("div", { class: "stack" }, label, area, h("label", { for: "persona", text: "Persona" }),
      h("div", { class: "row" }, picker, button("Save", save, { class: "small" }), forget));
  }

  answers() {
    const { settings } = this;
    const think = choice(THINK, String(settings.think ?? ""),
      { id: "think", onchange: () => this.keep("think", { true: true, false: false }[think.value] ?? think.value) });
    const isSchema = settings.output_format !== null && typeof settings.output_format === "object";
    const note = h("p", { class: "state", role: "status" });
    const schema = h("textarea", {
      rows: 6, class: "code-field", spellcheck: "false", "aria-label": "JSON Schema", hidden: !isSchema,
      value: JSON.stringify(isSchema ? settings.output_format : EXAMPLE, null, 2), oninput: () => take(),
    });
    const take = () => {
      try {
        const parsed = JSON.parse(schema.value);
        if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) throw new Error("a schema is an object");
        this.keep("output_format", parsed);
        note.textContent = "";
      } catch (error) {
        note.textContent = error.message;
      }
    };
    const format = choice(FORMATS, isSchema ? "schema" : settings.output_format ?? "", { id: "format", onchange: () => {
      schema.hidden = format.value !== "schema";
      if (format.value === "schema") take();
      else this.keep("output_format", format.value);
    } });
    const tokens = h("input", { type: "checkbox", id: "logprobs", onchange: () => store("logprobs", tokens.checked) });
    tokens.checked = stored("logprobs", false);
    return h("div", { class: "stack" },
      h("label", { for: "think", text: "Thinking" }), think,
      h("label", { for: "format", text: "Form of the answers" }), format, schema, note,
      h("label", { class: "row", for: "logprobs" }, tokens, "Probabilities of tokens"));
  }

  parameter({ name, kind, about, low, high, value, source: origin }) {
    const isList = kind === "list";
    const shown = (one) => (isList ? JSON.stringify(one) : String(one));
    const isEmpty = value === null || (isList && !value.length);
    const input = h("input", {
      id: `parameter-${name}`, placeholder: isEmpty ? "chosen" : shown(value), inputmode: isList ? "text" : "decimal",
      onchange: () => this.set(name, input, () => parsed(input.value.trim(), kind, low, high), show),
    });
    const label = h("label", { for: input.id, title: about });
    const reset = iconButton("close", `Reset ${name}`, () => { input.value = ""; input.dispatchEvent(new Event("change")); });
    const show = () => {
      const mine = this.settings.sampling?.[name];
      input.value = mine === undefined ? "" : shown(mine);
      reset.disabled = mine === undefined;
      fill(label, h("code", { text: name }), source(mine === undefined ? origin : "mine"));
    };
    show();
    return h("div", { class: "parameter" }, label, input, reset);
  }

  set(name, input, read, show) {
    const sampling = { ...this.settings.sampling };
    delete sampling[name];
    input.setCustomValidity("");
    if (input.value.trim()) {
      try {
        sampling[name] = read();
      } catch (error) {
        input.setCustomValidity(error.message);
        input.reportValidity();
        return;
      }
    }
    this.keep("sampling", Object.keys(sampling).length ? sampling : undefined);
    show();
  }
}

function parsed(text, kind, low, high) {
  if (kind === "list") {
    if (!text.startsWith("[")) return [text];
    const list = JSON.parse(text);
    if (!list.every((one) => typeof one === "string")) throw new Error("a list of texts");
    return list;
  }
  const value = Number(text);
  if (!Number.isFinite(value) || value < low || value > high || (kind === "int" && !Number.isInteger(value))) {
    const range = Math.abs(low) > 1e15 || high > 1e15 ? "" : `, ${low} to ${high}`;
    throw new Error(`${kind === "int" ? "a whole number" : "a number"}${range}`);
  }
  return value;
}

const source = (origin) => h("span", { class: `source ${origin}`, text: origin });

