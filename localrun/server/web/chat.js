// The view of one chat: its messages, the answers that arrive, and what the buttons do. A view
// lives on while an answer arrives, also if another chat is shown.

import { get, lines, query, untilAnswered } from "./api.js";
import { asked, button, bytes, confirmed, fill, h, iconButton, menuButton, notify, number, offer, shortName } from "./dom.js";
import { Composer } from "./composer.js";
import { Conversation, MAX_MEDIA } from "./conversation.js";
import { MessageView } from "./message.js";
import { SettingsPanel } from "./settings.js";
import { store, stored } from "./storage.js";

const NEAR_END = 80;  // pixels
const NUM_FIRST = 6;  // messages that are rendered before a chat is shown
const NUM_AT_ONCE = 60;  // and before somebody scrolls to them
const TOP = 5;  // alternatives of a token
const STREAM = { "X-Localrun-Progress": "1", "X-Localrun-Interval-Ms": "50" };

export class ChatView {
  views = new Map();
  running = new Map();  // messages that arrive, with what ends them
  sticks = true;
  end = 0;  // of the messages, as far as was scrolled to it
  used = 0;  // tokens of the context

  constructor(page, conversation) {
    this.page = page;
    this.conversation = conversation;
    this.composer = new Composer(this);
    this.settings = new SettingsPanel(this);
    this.list = h("div", { class: "messages", role: "log", "aria-label": "Messages", "aria-live": "off" });
    this.scroller = h("div", { class: "scroller", onscroll: () => this.scrolled() }, this.list);
    this.toEnd = iconButton("down", "Go to the end", () => this.goToEnd(), { class: "to-end", hidden: true });
    this.banner = h("p", { class: "banner", role: "status", hidden: true });
    this.title = h("h1", { class: "title", dir: "auto" });
    this.picker = h("select", { class: "picker", "aria-label": "Model", onchange: () => this.setModel(this.picker.value) });
    this.second = h("select", { class: "picker", "aria-label": "Second model", hidden: true, onchange: () => this.compareWith(this.second.value) });
    this.compare = iconButton("columns", "Compare two models", () => this.toggleCompare());
    this.header = h("header", { class: "bar" },
      iconButton("menu", "Chats", () => page.toggleSidebar(), { class: "quiet only-narrow" }),
      this.picker, this.second, h("span", { class: "space" }), this.title, h("span", { class: "space" }),
      this.compare, this.settings.opener, menuButton("more", "More", () => this.menu()));
    this.element = h("section", { class: "chat", "aria-label": "Chat",
      ondragover: (event) => { event.preventDefault(); this.element.classList.add("dropping"); },
      ondragleave: (event) => { if (!this.element.contains(event.relatedTarget)) this.element.classList.remove("dropping"); },
      ondrop: (event) => { event.preventDefault(); this.element.classList.remove("dropping"); this.composer.take(event.dataTransfer.files); } },
      this.header, this.banner, h("div", { class: "columns" },
        h("div", { class: "talk" }, this.scroller, this.toEnd,
          h("div", { class: "dock" }, this.composer.element,
            h("p", { class: "hint", text: "Enter sends · Shift+Enter: new line · Ctrl+/: shortcuts" }))),
        this.settings.element));
    new ResizeObserver(() => this.follow()).observe(this.list);
    conversation.addEventListener("named", () => page.named(this));
    conversation.addEventListener("unkept", () => this.draw());
    this.draw();
    this.composer.open(conversation.id ?? "new");
  }

  // --- what is shown

  showModels() {
    const { model, settings: { compare = "" } } = this.conversation;
    const names = this.page.namesOfModels();
    const options = (chosen) => [...new Set([...names, chosen])].filter(Boolean).map((name) => [name, shortName(name)]);
    offer(this.picker, options(model), model);
    offer(this.second, options(compare), compare);
    this.second.hidden = !compare;
    this.compare.ariaPressed = String(Boolean(compare));
    this.composer.imageButton.hidden = !this.takes("vision");
    this.showContext();
  }

  draw() {
    const path = this.conversation.path();
    this.title.textContent = this.conversation.title;
    fill(this.list, path.length ? path.map((message) => this.row(message)) : this.welcome());
    const { whyNotKept } = this.conversation;
    this.banner.hidden = whyNotKept === null;
    this.banner.textContent = `This chat is not kept: ${whyNotKept}`;
    this.composer.setBusy(this.running.size > 0);
    this.showModels();
  }

  /** Draw a message, or the two that stand side by side, and return the element. */
  row(message) {
    const pair = this.pairOf(message);
    const isPair = pair.length > 1;
    const elements = pair.map((one) => {
      const view = this.viewOf(one);
      view.element.classList.toggle("side", isPair);
      view.element.classList.toggle("chosen", isPair && one === message);
      if (this.running.has(one)) fill(view.footer);
      else view.showActions(this.conversation.siblings(one), this.running.size > 0, one !== message);
      return view.element;
    });
    const first = this.viewOf(pair[0]);
    return isPair ? fill(first.frame ??= h("div", { class: "pair" }), elements) : elements[0];
  }

  /** Return the answers that stand side by side: the newest of each of the two models. */
  pairOf(message) {
    const { compare } = this.conversation.settings;
    if (!compare || message.role !== "assistant") return [message];
    const siblings = this.conversation.siblings(message);
    const other = siblings.findLast((one) => one.model !== message.model && [compare, this.conversation.model].includes(one.model));
    if (!other) return [message];
    return message.model === compare ? [other, message] : [message, other];
  }

  viewOf(message) {
    if (!this.views.has(message)) this.views.set(message, new MessageView(message, (...act) => this.act(...act)));
    return this.views.get(message);
  }

  welcome() {
    return h("div", { class: "welcome" }, h("img", { src: "/web/icon.svg", alt: "", width: 44, height: 44 }),
      h("h2", { text: "What would you like to know?" }),
      h("p", { text: `Everything stays on this machine. Answers come from ${shortName(this.conversation.model) || "a model that you choose above"}.` }));
  }

  showContext() {
    const row = this.page.loaded.find((one) => shortName(one.name) === shortName(this.conversation.model));
    const total = row?.context ? ` / ${number(row.context)}` : "";
    this.composer.status.textContent = this.used ? `${number(this.used)}${total} tokens` : "";
  }

  /** Show the end of a chat that was opened. */
  async shown() {
    await this.reveal(NUM_FIRST);
    this.goToEnd();
    if (matchMedia("(hover: hover)").matches) this.composer.input.focus();
    this.settings.load();
    await this.reveal(NUM_AT_ONCE);
  }

  /** Render the last messages, so that nothing moves when they are shown. */
  reveal(count) {
    return Promise.all(this.conversation.path().slice(-count).map((message) => this.viewOf(message).reveal()));
  }

  /** Look at the speed of the answers, now and then. */
  async tick() {
    if (this.running.size) await this.page.loadRunning();
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.sticks = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.toEnd.hidden = this.sticks;
  }

  goToEnd() {
    this.sticks = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.end = this.scroller.scrollTop;
    this.toEnd.hidden = true;
  }

  /** Stay at the end, unless the user has just left it: the event of a scroll comes later. */
  follow() {
    if (this.scroller.scrollTop < this.end - 1) this.scrolled();
    if (this.sticks) this.goToEnd();
  }

  /** Show a message that a search found. */
  goTo(id) {
    const { conversation } = this;
    const found = conversation.messages.find((one) => one.id === id);
    if (!found) return;
    if (!conversation.path().includes(found)) this.act("choose", found);
    const { element } = this.viewOf(found);
    element.scrollIntoView({ block: "center" });
    element.classList.add("found");
    setTimeout(() => element.classList.remove("found"), 2500);
  }

  // --- what the user does

  /** Return whether the model takes "vision" or "audio". */
  takes(capability) {
    return this.page.models.find((one) => one.name === this.conversation.model)?.capabilities?.includes(capability) ?? false;
  }

  setModel(name) {
    this.conversation.model = name;
    store("model", name);
    this.conversation.keepSettings();
    this.draw();
    this.settings.load();
  }

  compareWith(name) {
    const { conversation } = this;
    conversation.settings.compare = name;
    conversation.keepSettings();
    this.draw();
  }

  toggleCompare() {
    const { model, settings } = this.conversation;
    this.compareWith(settings.compare ? undefined : this.page.namesOfModels().find((name) => name !== model) ?? model);
  }

  menu() {
    const isKept = Boolean(this.conversation.id);
    const ofKept = (...entries) => (isKept ? entries : []);
    return [["Settings", () => this.settings.toggle(true)],
      ...ofKept(["Rename…", () => this.rename()], ["Export as Markdown", () => this.export("md")], ["Export as JSON", () => this.export("json")],
        ["Duplicate", () => this.duplicate()]),
      ["Import a chat…", () => this.page.importChat()],
      ...ofKept(["Delete…", () => this.remove(), "danger"])];
  }

  async rename() {
    const title = await asked("Rename the chat", "Title", this.conversation.title);
    if (title === null) return;
    await this.conversation.rename(title);
    this.title.textContent = title;
    this.page.changed();
  }

  exportPath(format) {
    return `/api/localrun/chats/${this.conversation.id}/export${query({ format })}`;
  }

  async duplicate() {
    const exported = await get(this.exportPath("json"));
    this.page.goTo(await Conversation.keepCopy(exported, this.conversation.model));
  }

  export(format) {
    h("a", { href: this.exportPath(format), download: "" }).click();
  }

  async remove() {
    if (!await confirmed("Delete this chat?", `“${this.conversation.title}” is deleted for good, also for the terminal.`, "Delete")) return;
    this.stop();
    this.page.removeChat(this.conversation.id);
  }

  editLast() {
    const last = this.conversation.path().findLast((one) => one.role === "user");
    if (last) this.viewOf(last).edit();
  }

  act(name, message, value) {
    const { conversation } = this;
    if (name === "redraw") this.draw();
    else if (name === "images") this.loadImages(message);
    else if (name === "choose") {
      conversation.choose(message);
      this.draw();
    } else if (name === "regenerate") this.answer(message.parent, [this.pairOf(message).length > 1 ? message.model : conversation.model]);
    else if (name === "continue") this.answer(message.parent, [message.model || conversation.model], message);
    else if (name === "edit" && message.role === "user") this.askAgain(value, message);
    else if (name === "edit") {
      conversation.add({ role: "assistant", model: message.model, content: value }, message.parent);
      this.draw();
    }
  }

  async loadImages(message) {
    await untilAnswered(() => this.conversation.loadImages([message]));
    this.viewOf(message).show();
  }

  send(text, files) {
    const blocks = files.filter((file) => file.block).map((file) => `${file.block}\n\n`);
    const images = files.filter((file) => file.medium).map((file) => file.medium);
    this.ask(blocks.join("") + text, files.map((file) => file.name), images, this.conversation.head);
  }

  /** Ask with another text, and the same files. */
  async askAgain(content, message) {
    await this.conversation.loadImages([message]);
    this.ask(content, message.attachments, message.images, message.parent);
  }

  ask(content, attachments, images, parent) {
    const { model, settings } = this.conversation;
    const message = this.conversation.add({ role: "user", content, attachments, images }, parent);
    this.goToEnd();
    return this.answer(message, settings.compare ? [model, settings.compare] : [model]);
  }

  stop() {
    for (const stopper of this.running.values()) stopper.abort();
  }

  // --- answers

  async answer(parent, models, begun = null) {
    const { conversation } = this;
    const messages = models.map((model) => conversation.add({ role: "assistant", model, content: begun?.content ?? "" }, parent, false));
    conversation.head = messages[0];
    for (const message of messages) this.running.set(message, new AbortController());
    this.page.changed();
    this.draw();
    this.goToEnd();
    await Promise.all(messages.map((message) => this.receive(message, parent, begun)));
    if (messages.length > 1 && conversation.messages.includes(messages[0])) conversation.choose(messages[0]);
    this.draw();
    this.page.changed();
    this.page.loadRunning().catch(() => {});
  }

  async receive(message, parent, begun) {
    const view = this.viewOf(message);
    const { signal } = this.running.get(message);
    view.begin();
    if (begun) view.growing.add(begun.content);
    try {
      for await (const part of lines("/api/chat", await this.body(message, parent, begun), { signal, headers: STREAM })) {
        if (part.status) view.showState(loadText(part, message.model));
        else this.take(message, view, part);
      }
    } catch (error) {
      if (error.name !== "AbortError") message.failure = error;
    }
    message.is_stopped = signal.aborted || Boolean(message.failure);
    await view.end();
    this.finish(message, view);  // before `running` forgets it: a reload would drop it
    this.running.delete(message);
  }

  take(message, view, part) {
    const { content = "", thinking = "", tool_calls: calls } = part.message ?? {};
    if (view.state.textContent) view.showState("");
    if (thinking) {
      message.began ??= performance.now();
      message.thinking = (message.thinking ?? "") + thinking;
    }
    if (content && message.thinking && !message.thinking_s) message.thinking_s = (performance.now() - message.began) / 1000;
    message.content += content;
    if (calls) message.tool_calls = [...message.tool_calls ?? [], ...calls];
    if (part.logprobs) (message.logprobs ??= []).push(...part.logprobs);
    if (part.done) {
      message.figures = part;
      this.used = (part.prompt_eval_count ?? 0) + (part.eval_count ?? 0);
      this.showContext();
    }
    view.add(content, thinking);
  }

  /** Keep an answer; of one that failed, what has come, and what to do. */
  finish(message, view) {
    const { conversation } = this;
    const isEmpty = !message.content && !message.thinking && !message.tool_calls?.length;
    if (!isEmpty) conversation.keep(message);
    if (message.failure) {
      const hint = message.failure.status === 0 ? " It is started by: localrun open. Your text is kept here." : "";
      view.showState(message.failure.message + hint, "error");
    } else if (isEmpty && message.is_stopped) {
      conversation.drop(message);
    } else if (isEmpty) view.showState("The answer is empty.");
    if (isEmpty && message.failure) message.isUnsent = true;
  }

  async body(message, parent, begun) {
    const { settings } = this.conversation;
    const messages = await this.conversation.request(parent);
    const { numLeftOut } = this.conversation;
    if (numLeftOut) notify(`The oldest images of this chat are left out (${numLeftOut}): a request takes ${bytes(MAX_MEDIA)}.`);
    if (begun) messages.push({ role: "assistant", content: begun.content });
    const body = { model: message.model, messages, stream: true, options: settings.sampling ?? {} };
    if (settings.output_format) body.format = settings.output_format;
    if (settings.think !== undefined && settings.think !== null) body.think = settings.think;
    if (stored("logprobs", false)) Object.assign(body, { logprobs: true, top_logprobs: TOP });
    return body;
  }

  /** Save what has come of answers when the page is closed. */
  leave() {
    for (const message of this.running.keys()) this.conversation.keepAtOnce(message);
  }

  /** Take what others wrote to this chat: the terminal, or another window. */
  async refresh() {
    if (this.running.size || !this.conversation.id || !await this.conversation.reload()) return;
    const { sticks } = this;
    this.draw();
    this.settings.load();
    await this.reveal(2);
    if (sticks) this.goToEnd();
  }
}

function loadText({ status, progress }, model) {
  if (status !== "loading") return `Waiting for memory for ${shortName(model)}…`;
  return `Loading ${shortName(model)}: ${Math.round(100 * progress)} %`;
}
