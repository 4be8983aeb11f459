// Settings of a chat: system prompt, personas, thinking, form of the answers, parameters. Each
// parameter shows its value and who set it: the recipe of the model, the default, or the user.

import { get, query } from "./api.js";
import { fill, h, iconButton, offer, showError } from "./dom.js";
import { savedTexts, store, stored } from "./storage.js";

const NUM_FIRST = 9;  // parameters that are shown at once
const THINK = [["", "as the model does"], ["false", "off"], ["true", "on"], ["low", "low"], ["medium", "medium"], ["high", "high"]];
const FORMATS = [["", "text"], ["json", "JSON"], ["schema", "JSON Schema"]];
const EXAMPLE = { type: "object", properties: { answer: { type: "string" } }, required: ["answer"] };

export class SettingsPanel {
  constructor(chat) {
    this.chat = chat;
    this.content = h("div", { class: "panel-body" });
    this.opener = iconButton("sliders", "Settings of this chat", () => this.toggle(), { "aria-expanded": "false" });
    this.element = h("aside", { class: "panel", "aria-label": "Settings of this chat", hidden: true },
      h("header", {}, h("h2", { text: "Settings" }), iconButton("close", "Close the settings", () => this.toggle(false))), this.content);
  }

  get settings() {
    return this.chat.conversation.settings;
  }

  toggle(isOpen = this.element.hidden) {
    if (isOpen !== this.element.hidden) return null;
    this.element.hidden = !isOpen;
    this.opener.ariaExpanded = String(isOpen);
    if (!isOpen) return this.opener.focus();
    const before = document.activeElement;
    return this.load().then(() => {
      if (document.activeElement === before) this.content.querySelector("textarea")?.focus();
    });
  }

  async load() {
    if (this.element.hidden) return;
    const { model } = this.chat.conversation;
    try {
      this.described = await get(`/api/localrun/parameters${query({ model })}`);
      if (this.state() !== this.shown) this.draw();
    } catch (error) {
      this.shown = null;
      showError(this.content, error);
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
    const label = h("label", { for: "system" });
    const area = h("textarea", {
      id: "system", rows: 4, dir: "auto", value: this.settings.system ?? "",
      placeholder: this.described.system || "None", oninput: () => take(area.value),
    });
    const take = (text) => {
      this.keep("system", text.trim() ? text : "");
      show();
    };
    const show = () => fill(label, h("span", { text: "System prompt" }), source(this.settings.system ? "mine" : this.described.system ? "recipe" : "default"));
    const personas = savedTexts("persona", "person", "Personas", () => area.value, (text) => take(area.value = text));
    show();
    return h("div", { class: "stack" }, h("div", { class: "row" }, label, h("span", { class: "space" }), personas), area);
  }

  answers() {
    const { settings } = this;
    const think = h("select", { id: "think", onchange: () => this.keep("think", { true: true, false: false }[think.value] ?? think.value) });
    offer(think, THINK, String(settings.think ?? ""));
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
    const format = h("select", { id: "format", onchange: () => {
      schema.hidden = format.value !== "schema";
      if (format.value === "schema") take();
      else this.keep("output_format", format.value);
    } });
    offer(format, FORMATS, isSchema ? "schema" : settings.output_format ?? "");
    const tokens = h("input", { type: "checkbox", id: "logprobs", checked: stored("logprobs", false), onchange: () => store("logprobs", tokens.checked) });
    return h("div", { class: "stack" },
      h("label", { for: "think", text: "Thinking" }), think,
      h("label", { for: "format", text: "Form of the answers" }), format, schema, note,
      h("label", { class: "row", for: "logprobs" }, tokens, "Probabilities of tokens"));
  }

  parameter({ name, kind, about, low, high, value, source: origin }) {
    const isList = kind === "list";
    const shown = (one) => (isList ? JSON.stringify(one) : String(one));
    const limits = isList ? {} : { type: "number", min: low, max: high, step: kind === "int" ? 1 : "any" };
    const isEmpty = value === null || (isList && !value.length);
    const input = h("input", { id: `parameter-${name}`, placeholder: isEmpty ? "chosen" : shown(value), onchange: () => take(), ...limits });
    const label = h("label", { for: input.id, title: about });
    const reset = iconButton("close", `Reset ${name}`, () => { input.value = ""; take(); });
    const take = () => {
      const list = isList ? listOf(input.value) : [];
      input.setCustomValidity(list ? "" : "a JSON list of texts, or one text");
      if (!input.reportValidity()) return;
      const { [name]: _, ...sampling } = this.settings.sampling ?? {};
      if (input.value) sampling[name] = isList ? list : input.valueAsNumber;
      this.keep("sampling", Object.keys(sampling).length ? sampling : undefined);
      show();
    };
    const show = () => {
      const mine = this.settings.sampling?.[name];
      input.value = mine === undefined ? "" : shown(mine);
      reset.disabled = mine === undefined;
      fill(label, h("code", { text: name }), source(mine === undefined ? origin : "mine"));
    };
    show();
    return h("div", { class: "parameter" }, label, input, reset);
  }
}

/** Return the texts of a JSON list, or a text alone; null if it is a list of something else. */
function listOf(text) {
  if (!text.startsWith("[")) return [text];
  try {
    const list = JSON.parse(text);
    return list.every((one) => typeof one === "string") ? list : null;
  } catch {
    return null;
  }
}

const source = (origin) => h("span", { class: `source ${origin}`, text: origin });

