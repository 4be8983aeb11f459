// Views of messages: text, thought, tool calls, tokens, and what can be done with them.

import { button, chip, copyText, fill, folded, h, icon, iconButton, number, renew, shortName } from "./dom.js";
import { GrowingMarkdown, renderText } from "./markdown.js";
import { typedText } from "./conversation.js";

const NAMES = { user: "You", assistant: "Assistant", tool: "Tool", system: "System", summary: "Summary of the messages above" };

const THOUGHT_MS = 100;  // between two drawings of a thought that grows

/** The view of one message; `act(name, message, value)` does what a button says. */
export class MessageView {
  constructor(message, act) {
    this.message = message;
    this.act = act;
    this.body = h("div", { class: "body markdown" });
    this.thought = h("div", { class: "thought-text", dir: "auto" });
    this.thinking = h("details", { class: "thought", hidden: true }, h("summary", { text: "Thought" }), this.thought);
    this.calls = h("div", { class: "calls" });
    this.tokens = h("div", { class: "tokens", hidden: true, tabindex: "0", "aria-label": "Tokens with their probabilities" });
    this.footer = h("footer", { class: "actions" });
    this.state = h("p", { class: "state", role: "status" });
    const name = message.role === "assistant" && message.model ? shortName(message.model) : NAMES[message.role];
    this.element = h("article", { class: `message ${message.role}`, "aria-label": name, oncontentvisibilityautostatechange: (event) => { if (!event.skipped) this.reveal(); } },
      h("div", { class: "author", text: name, dir: "auto" }), this.thinking, this.body, this.tokens, this.calls, this.state, this.footer);
    this.show();
  }

  /** Show the whole message. */
  show() {
    const { message } = this;
    this.showSteps();
    if (message.role === "tool") fill(this.body, folded(`Result of ${message.tool_name || "a tool"}`, message.content));
    else if (message.role === "summary" || message.role === "system") fill(this.body, folded(NAMES[message.role], message.content));
    else if (message.role === "user") this.showTyped();
    else if (message.content) {
      this.unrendered = message.content;
      fill(this.body, h("p", { class: "plain", text: message.content, dir: "auto" }));
    }
  }

  /** Render the text, and load the images, once; the browser says when a message comes near the window. */
  async reveal() {
    const { message, unrendered } = this;
    this.unrendered = null;
    if (message.num_images && !message.images) this.act("images", message);
    if (unrendered) await renderText(this.body, unrendered);
  }

  /** Show the thought and the calls of tools. */
  showSteps(isOpen = false) {
    const { thinking, thinking_s: seconds, tool_calls: calls = [] } = this.message;
    this.thoughtTimer = null;
    fill(this.calls, calls.map(callView));
    this.thinking.hidden = !thinking;
    if (!thinking) return;
    const label = isOpen ? "Thinking…" : `Thought${seconds ? ` for ${seconds.toFixed(1)} s` : ""}`;
    this.thinking.querySelector("summary").textContent = label;
    if (this.thought.textContent !== thinking) this.thought.textContent = thinking;
  }

  showTyped() {
    const { message } = this;
    const chips = (message.attachments ?? []).map((name) => chip(name, "file"));
    const images = message.images?.map(pictureOf) ?? Array.from({ length: message.num_images ?? 0 }, () => h("div", { class: "picture" }));
    fill(this.body, chips.length ? h("ul", { class: "chips", "aria-label": "Files" }, chips) : null, images,
      h("p", { class: "plain", text: typedText(message), dir: "auto" }));
  }

  /** Begin to show an answer that arrives. */
  begin() {
    this.element.setAttribute("aria-busy", "true");
    this.growing = new GrowingMarkdown(this.body);
    this.unrendered = null;
    this.showState("");
    fill(this.body, h("span", { class: "waiting", role: "img", "aria-label": "Waiting for the answer" }));
  }

  /** Take a piece of the answer. */
  add(text, thought) {
    if (thought) this.thoughtTimer ??= setTimeout(() => this.showSteps(!this.message.content), THOUGHT_MS);
    if (text) {
      if (this.message.content === text) this.showSteps();
      this.growing.add(text);
    }
  }

  /** Show the end of an answer. */
  async end() {
    if (this.message.content) await this.growing.finish();
    else this.body.replaceChildren();
    this.element.removeAttribute("aria-busy");  // from here on the browser may skip its layout
    this.growing = null;
    this.showSteps();
  }

  showState(text, kind = "") {
    this.state.textContent = text;
    this.state.className = `state ${kind}`;
  }

  /** Show the buttons; the siblings are all branches here, this one among them. The other one of two
   * that stand side by side may be chosen. */
  showActions(siblings, isBusy, isOther) {
    const { message, act } = this;
    const [place, count] = [siblings.indexOf(message), siblings.length];
    this.siblings = siblings;
    const goTo = (by) => () => act("choose", this.siblings[place + by]);
    const branches = count > 1 ? h("span", { class: "branches", role: "group", "aria-label": "Branches" },
      iconButton("left", "Previous branch", goTo(-1), { disabled: place === 0 || isBusy }),
      h("span", { text: `${place + 1} / ${count}` }),
      iconButton("right", "Next branch", goTo(1), { disabled: place === count - 1 || isBusy })) : null;
    const isAnswer = message.role === "assistant";
    const copy = iconButton("copy", "Copy message", () => copyText(isAnswer ? message.content : typedText(message), copy));
    renew(this.footer, branches, message.content ? copy : null,
      isAnswer || message.role === "user" ? iconButton("edit", "Edit message", () => this.edit(), { disabled: isBusy }) : null,
      isAnswer ? iconButton("again", "Regenerate the answer", () => act("regenerate", message), { disabled: isBusy }) : null,
      message.logprobs?.length ? iconButton("bars", "Show tokens", () => this.toggleTokens(), { "aria-pressed": String(!this.tokens.hidden) }) : null,
      isOther ? button("Go on with this answer", () => act("choose", message), { class: "small", disabled: isBusy }) : null,
      message.is_stopped && isAnswer ? button("Continue", () => act("continue", message), { class: "small", disabled: isBusy }) : null,
      message.figures ? h("span", { class: "figures", text: figures(message.figures) }) : null);
  }

  edit() {
    const { message } = this;
    const typed = typedText(message);
    const files = message.content.slice(0, message.content.length - typed.length);
    const area = h("textarea", { class: "edit", value: typed, "aria-label": "Edit message", dir: "auto" });
    const cancel = () => { this.element.classList.remove("editing"); editor.remove(); };
    const save = () => { cancel(); this.act("edit", message, files + area.value); };
    const editor = h("div", { class: "editor stack" }, area, h("div", { class: "row end" },
      button("Cancel", cancel), button(message.role === "user" ? "Send" : "Save", save, { class: "primary" })));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); cancel(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && message.role === "user") { event.preventDefault(); save(); }
    });
    this.element.querySelector(".editor")?.remove();
    this.element.classList.add("editing");
    this.body.after(editor);
    area.focus();
  }

  toggleTokens() {
    const isShown = this.tokens.hidden;
    this.tokens.hidden = !isShown;
    this.body.hidden = isShown;
    if (isShown && !this.tokens.childElementCount) fill(this.tokens, this.message.logprobs.map(tokenView));
    this.act("redraw", this.message);
  }
}

function tokenView({ token, logprob, top_logprobs: top = [] }) {
  const share = logprob === null ? 0 : Math.exp(logprob);
  const others = top.map((one) => `${JSON.stringify(one.token)} ${percent(Math.exp(one.logprob))}`);
  const tip = [`${JSON.stringify(token)} ${percent(share)}`, ...others.length ? ["", ...others] : []].join("\n");
  const shown = h("span", { class: "token", title: tip, text: token });
  shown.style.setProperty("--share", `${100 * share}%`);
  return shown;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function callView(call) {
  const { name, arguments: values } = call.function ?? call;
  return folded([icon("cube"), `Calls ${name}`], typeof values === "string" ? values : JSON.stringify(values, null, 2), "call");
}

/** Return the picture of an image in base64; null for a file that browsers do not show, by its first bytes. */
export function pictureOf(data) {
  const type = { "/9j/": "jpeg", iVBO: "png", R0lG: "gif" }[data.slice(0, 4)] ?? { RUJQ: "webp", dmlm: "avif" }[data.slice(12, 16)];
  return type ? h("img", { class: "picture", src: `data:image/${type};base64,${data}`, alt: "Attached image" }) : null;
}

function figures({ eval_count: count, eval_duration: nanoseconds, prompt_eval_count: prompt, done_reason: reason, localrun }) {
  const parts = [];
  if (nanoseconds) parts.push(`${(count / (nanoseconds / 1e9)).toFixed(1)} tokens/s`);
  parts.push(`${number(count ?? 0)} tokens`, `prompt ${number(prompt ?? 0)}`);
  if (reason === "length") parts.push("the context or the limit of tokens ended it");
  if (localrun?.dropped_messages) parts.push(`${localrun.dropped_messages} old messages left out`);
  return parts.join(" · ");
}

