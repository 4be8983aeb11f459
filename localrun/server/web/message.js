// Views of messages: text, thought, tool calls, tokens, and what can be done with them.

import { button, copyText, fill, h, icon, iconButton, number, renew, shortName } from "./dom.js";
import { GrowingMarkdown, renderAll } from "./markdown.js";
import { typedText } from "./conversation.js";

const NAMES = { user: "You", assistant: "Assistant", tool: "Tool", system: "System", summary: "Summary of the messages above" };

const observer = new IntersectionObserver((entries) => {
  const near = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
  for (const body of near) body.reveal?.();
  render(near);
}, { rootMargin: "1200px 0px", scrollMargin: "1200px 0px" });

/** Render the texts of bodies that come near the window, once. */
function render(bodies) {
  const pairs = bodies.filter((body) => body.source).map((body) => [body, body.source]);
  for (const body of bodies) {
    observer.unobserve(body);
    body.source = null;
  }
  return renderAll(pairs);
}

/** Render the last messages of a chat before it is shown, so that nothing moves afterwards. */
export function renderEnd(views, count = 6) {
  return render(views.slice(-count).map((view) => view.body).filter((body) => body.source));
}

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
    this.element = h("article", { class: `message ${message.role}`, "aria-label": name },
      h("div", { class: "author", text: name, dir: "auto" }), this.thinking, this.body, this.tokens, this.calls, this.state, this.footer);
    this.show();
  }

  /** Show the whole message. */
  show() {
    const { message } = this;
    this.showThought();
    fill(this.calls, (message.tool_calls ?? []).map(callView));
    if (message.role === "tool") this.showFolded(`Result of ${message.tool_name || "a tool"}`);
    else if (message.role === "summary" || message.role === "system") this.showFolded(NAMES[message.role]);
    else if (message.role === "user") this.showTyped();
    else if (message.content) {
      fill(this.body, h("p", { class: "plain", text: message.content, dir: "auto" }));
      this.body.source = message.content;
      observer.observe(this.body);
    }
  }

  showThought(isOpen = false) {
    const { thinking, thinking_s: seconds } = this.message;
    this.thinking.hidden = !thinking;
    if (!thinking) return;
    const label = isOpen ? "Thinking…" : `Thought${seconds ? ` for ${seconds.toFixed(1)} s` : ""}`;
    this.thinking.querySelector("summary").textContent = label;
    if (this.thought.textContent !== thinking) this.thought.textContent = thinking;
  }

  showFolded(label) {
    fill(this.body, h("details", {}, h("summary", { text: label, dir: "auto" }),
      h("pre", { class: "result", text: this.message.content, tabindex: "0", dir: "auto" })));
  }

  showTyped() {
    const { message } = this;
    const chips = (message.attachments ?? []).map((name) => h("li", { class: "chip" }, icon("file"), h("span", { text: name, dir: "auto" })));
    const images = message.images ? message.images.filter(imageType).map((data) => h("img", { class: "picture", src: `data:${imageType(data)};base64,${data}`, alt: "Attached image" }))
      : Array.from({ length: message.num_images ?? 0 }, () => h("div", { class: "picture" }));
    this.body.reveal = () => { if (message.num_images && !message.images) this.act("images", message); };
    observer.observe(this.body);
    fill(this.body, chips.length ? h("ul", { class: "chips", "aria-label": "Files" }, chips) : null, images,
      h("p", { class: "plain", text: typedText(message), dir: "auto" }));
  }

  /** Begin to show an answer that arrives; `onShown` is called whenever it has grown. */
  begin(onShown) {
    this.element.setAttribute("aria-busy", "true");
    this.growing = new GrowingMarkdown(this.body, onShown);
    this.showState("");
    fill(this.body, h("span", { class: "waiting", "aria-label": "Waiting for the answer" }, h("i"), h("i"), h("i")));
  }

  /** Take a piece of the answer. */
  add(text, thought) {
    if (thought) this.showThought(!this.message.content);
    if (text) {
      if (this.message.content === text) this.showThought();
      this.growing.add(text);
    }
  }

  /** Show the end of an answer. */
  async end() {
    if (this.message.content) await this.growing.finish();
    else this.body.replaceChildren();
    this.element.removeAttribute("aria-busy");  // from here on the browser may skip its layout
    this.growing = null;
    this.showThought();
    fill(this.calls, (this.message.tool_calls ?? []).map(callView));
  }

  showState(text, kind = "") {
    this.state.textContent = text;
    this.state.className = `state ${kind}`;
  }

  /** Show the buttons; `place` is the number of this branch and of all of them. */
  showActions({ place, count, siblings, isBusy, canEdit }) {
    const { message, act } = this;
    Object.assign(this, { place, siblings });
    const drawn = JSON.stringify([place, count, isBusy, canEdit, message.content.length, message.logprobs?.length, this.tokens.hidden, message.is_stopped, message.figures?.eval_count]);
    if (drawn === this.drawn && this.footer.childElementCount) return;
    this.drawn = drawn;
    const step = (by) => () => act("choose", this.siblings[this.place + by]);
    const branches = count > 1 ? h("span", { class: "branches", role: "group", "aria-label": "Branches" },
      iconButton("left", "Previous branch", step(-1), { disabled: place === 0 || isBusy }),
      h("span", { text: `${place + 1} / ${count}` }),
      iconButton("right", "Next branch", step(1), { disabled: place === count - 1 || isBusy })) : null;
    const isAnswer = message.role === "assistant";
    const copy = iconButton("copy", "Copy message", () => copyText(isAnswer ? message.content : typedText(message), copy));
    renew(this.footer, branches, message.content ? copy : null,
      canEdit ? iconButton("edit", "Edit message", () => this.edit(), { disabled: isBusy }) : null,
      isAnswer ? iconButton("again", "Regenerate the answer", () => act("regenerate", message), { disabled: isBusy }) : null,
      message.logprobs?.length ? iconButton("bars", "Show tokens", () => this.toggleTokens(), { "aria-pressed": String(!this.tokens.hidden) }) : null,
      message.is_stopped && isAnswer ? button("Continue", () => act("continue", message), { class: "small", disabled: isBusy }) : null,
      message.figures ? h("span", { class: "figures", text: figures(message.figures) }) : null);
  }

  edit() {
    const { message } = this;
    const area = h("textarea", { class: "edit", value: typedText(message), "aria-label": "Edit message", dir: "auto" });
    const cancel = () => { this.element.classList.remove("editing"); editor.remove(); };
    const save = () => {
      cancel();
      const files = message.attachments?.length ? message.content.slice(0, message.content.length - typedText(message).length) : "";
      this.act("edit", message, files + area.value);
    };
    const label = message.role === "user" ? "Send" : "Save";
    const editor = h("div", { class: "editor" }, area, h("div", { class: "row end" },
      button("Cancel", cancel), button(label, save, { class: "primary" })));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); cancel(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && message.role === "user") { event.preventDefault(); save(); }
    });
    this.element.querySelector(".editor")?.remove();
    this.element.classList.add("editing");
    this.body.after(editor);
    area.style.height = `${Math.min(area.scrollHeight + 4, innerHeight / 2)}px`;
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
  return h("span", { class: `token p${Math.min(4, Math.floor(share * 5))}`, title: tip, text: token });
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function callView(call) {
  const { name, arguments: values } = call.function ?? call;
  const text = typeof values === "string" ? values : JSON.stringify(values, null, 2);
  return h("details", { class: "call" }, h("summary", {}, icon("cube"), h("span", { text: `Calls ${name}`, dir: "auto" })),
    h("pre", { class: "result", text, tabindex: "0" }));
}

/** Return the type of an image that browsers show, by its first bytes in base64; undefined for other files. */
function imageType(data) {
  return { "/9j/": "image/jpeg", iVBO: "image/png", R0lG: "image/gif" }[data.slice(0, 4)] ?? { RUJQ: "image/webp", dmlm: "image/avif" }[data.slice(12, 16)];
}

function figures({ eval_count: count, eval_duration: nanoseconds, prompt_eval_count: prompt, done_reason: reason, localrun }) {
  const parts = [];
  if (nanoseconds) parts.push(`${(count / (nanoseconds / 1e9)).toFixed(1)} tokens/s`);
  parts.push(`${number(count ?? 0)} tokens`, `prompt ${number(prompt ?? 0)}`);
  if (reason === "length") parts.push("the context or the limit of tokens ended it");
  if (localrun?.dropped_messages) parts.push(`${localrun.dropped_messages} old messages left out`);
  return parts.join(" · ");
}

