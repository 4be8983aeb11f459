// The page: its views by address, what all of them share, the keys, and the link to the server.

import { ApiError, get, link, post, query, remove } from "./api.js";
import { ChatView } from "./chat.js";
import { Conversation } from "./conversation.js";
import { fill, h, iconButton, notify, RATES_MS, showDialog } from "./dom.js";
import { Sidebar } from "./sidebar.js";
import { store, stored } from "./storage.js";

const WAIT_S = 50;
const PRESENCE_MS = 240000;
const TICK_MS = 2000;  // between two looks of a view at the server
const KEYS_OF_MESSAGE = [
  ["Enter", "send the message"], ["Shift+Enter", "new line"],
  ["Esc", "stop the answer; close what is open"], ["↑ in an empty message", "edit the last message"],
];
const KEYS = {
  "ctrl+k": ["search chats", () => { page.toggleSidebar(true); sidebar.input.focus(); }],
  "alt+n": ["new chat", () => page.newChat()],
  "alt+m": ["choose the model", () => page.current.picker?.focus()],
  "alt+s": ["settings of the chat", () => page.current.settings?.toggle()],
  "alt+r": ["regenerate the last answer", () => lastAnswer("Regenerate the answer")],
  "alt+c": ["copy the last answer", () => lastAnswer("Copy message")],
  "alt+1": ["chat", () => page.newChat()],
  "alt+2": ["models", () => { location.hash = "#/models"; }],
  "alt+3": ["machine", () => { location.hash = "#/machine"; }],
  "ctrl+/": ["these shortcuts", () => page.showShortcuts()],
};

const page = {
  models: [],
  loaded: [],
  rates: [],  // tokens a second over the last minutes, as far as a view asked
  current: null,  // the view that is shown
  running: new Map(),  // views of chats whose answers arrive, by id

  get view() {
    return location.hash.split("/")[1] || "chat";
  },
  get chatId() {
    return this.view === "chat" ? location.hash.split("/")[2] : undefined;
  },
  newChat() {
    if (location.hash === "#/") route();
    else location.hash = "#/";
  },
  goTo: (id) => { location.hash = `#/chat/${id}`; },
  named(view) {
    const { id } = view.conversation;
    this.running.set(id, view);
    if (this.current !== view) return;
    history.replaceState(null, "", `#/chat/${id}`);
    view.composer.open(id, view.composer.input.value);
    sidebar.load();
  },
  isRunning: (id) => page.running.get(id)?.running.size > 0,
  /** Show what the chat is called, and which of all have answers that arrive. */
  changed() {
    const title = this.current.title.textContent;
    document.title = title ? `${title} · localrun` : "localrun";
    sidebar.draw();
  },
  importChat: () => importer.click(),
  async removeChat(id) {
    await remove(`/api/localrun/chats/${id}`);
    this.running.delete(id);
    this.newChat();
    sidebar.load();
  },
  toggleSidebar: (isOpen) => document.body.classList.toggle("with-sidebar", isOpen),
  toggleTheme() {
    const { dataset } = document.documentElement;
    const isDark = dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    dataset.theme = isDark ? "light" : "dark";
    store("theme", dataset.theme);
  },
  showShortcuts() {
    const named = Object.entries(KEYS).map(([keys, [text]]) => [keys.replace(/\b[a-z]/g, (letter) => letter.toUpperCase()), text]);
    showDialog("Keyboard shortcuts", h("dl", { class: "shortcuts" },
      [...KEYS_OF_MESSAGE, ...named].flatMap(([keys, text]) => [h("dt", {}, h("kbd", { text: keys })), h("dd", { text })])));
  },
  /** Return the names of the models that chat. */
  namesOfModels() {
    return this.models.filter((one) => one.capabilities?.includes("completion") ?? true).map((one) => one.name);
  },
  async loadModels() {
    [{ models: this.models }, { models: this.loaded }] = await Promise.all([get("/api/tags"), get("/api/localrun/ps")]);
    this.current?.showModels?.();
  },
  async loadRunning() {
    ({ models: this.loaded } = await get("/api/localrun/ps"));
    const rate = this.loaded.reduce((sum, one) => sum + (one.shared_with || !one.running ? 0 : one.tokens_per_s), 0);
    this.rates.push({ time: Date.now(), rate });
    while (this.rates[0].time < Date.now() - RATES_MS) this.rates.shift();
    this.current?.showContext?.();
  },
};
const main = document.getElementById("main");
const importer = h("input", { type: "file", id: "import", accept: ".json,application/json", hidden: true, onchange: importChosen });
document.body.append(importer);

async function importChosen() {
  const [file] = importer.files;
  try {
    page.goTo(await Conversation.keepCopy(JSON.parse(await file.text()), newConversation().model));
  } catch (error) {
    notify(`${file.name}: ${error.message}`, "error");
  }
  importer.value = "";
}

function show(view) {
  page.current = view;
  fill(main, view.element);
  page.changed();
  return view.shown();
}

async function route() {
  const { view, chatId } = page;
  page.toggleSidebar(false);
  sidebar.draw();
  try {
    if (view === "models" || view === "machine") {
      const { View } = await import(`./${view}.js`);
      if (page.view === view) show(new View(page));
    } else if (chatId) await showChat(chatId, Number(location.hash.split("/")[3]));
    else show(new ChatView(page, newConversation()));
  } catch (error) {
    if (error.status === 404) location.hash = "#/";
    throw error;
  }
}

async function showChat(id, message) {
  if (page.current?.conversation?.id !== id) {
    const view = page.isRunning(id) ? page.running.get(id) : new ChatView(page, await Conversation.open(id));
    if (page.chatId !== id) return;
    page.running.set(id, view);
    for (const [other, one] of page.running) if (other !== id && !one.running.size) page.running.delete(other);
    await show(view);
  }
  if (message) page.current.goTo(message);
}

function newConversation() {
  const names = page.namesOfModels();
  const last = stored("model", "");
  return new Conversation(names.includes(last) ? last : names.find((name) => page.loaded.some((one) => one.name === name)) ?? names[0] ?? "");
}

/** Follow what the terminal and other windows write, while this one is seen. The first list comes
 * after the first revision, so that nothing is missed between the two. */
async function followChanges() {
  let revision = "";
  for (;;) {
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    try {
      const wait = revision === "" ? 0 : WAIT_S;
      const found = await get(`/api/localrun/chats/changes${query({ since: revision, wait_s: wait })}`);
      if (found.revision !== revision) await takeChanges();
      revision = found.revision;
    } catch (error) {
      if (error.status === 403 || error.status === 400) return sidebar.load();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function takeChanges() {
  await sidebar.load();
  const { current } = page;
  const summary = sidebar.chats.find((chat) => chat.id === page.chatId);
  if (!(current instanceof ChatView) || !summary) return;
  if (summary.updated_s !== current.conversation.updated || summary.title !== current.conversation.title) await current.refresh();
}

function showLink() {
  const state = document.getElementById("link-state");
  state.textContent = link.isUp ? "" : "server away";
  document.body.classList.toggle("away", !link.isUp);
  if (!link.isUp) return notify("The server does not answer. The page goes on when it is back: localrun open", "error");
  notify("The server is back.");
  return Promise.all([page.loadModels(), sidebar.load()]);
}

function lastAnswer(label) {
  [...main.querySelectorAll(".message.assistant")].at(-1)?.querySelector(`[aria-label="${label}"]`)?.click();
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open], :popover-open")) return;
  if (event.key === "Escape" && page.current?.running?.size) page.current.stop();
  else if (event.key === "Escape") {
    page.current?.settings?.toggle(false);
    page.toggleSidebar(false);
  }
  const code = event.code.replace(/^(Key|Digit)/, "").toLowerCase();
  const name = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}${code === "slash" ? "/" : code}`;
  if (!KEYS[name] || event.shiftKey) return;
  event.preventDefault();
  KEYS[name][1]();
});
addEventListener("unhandledrejection", (event) => {  // whatever asked the server, its error is shown
  if (!(event.reason instanceof ApiError)) return;
  event.preventDefault();
  if (event.reason.status) notify(event.reason.message, "error");  // else `showLink` says it
});
addEventListener("hashchange", route);
addEventListener("pagehide", () => { for (const view of new Set([page.current, ...page.running.values()])) view?.leave?.(); });
document.getElementById("scrim").addEventListener("click", () => page.toggleSidebar(false));
link.addEventListener("change", showLink);
setInterval(() => { if (!document.hidden && link.isUp) page.current?.tick().catch(() => {}); }, TICK_MS);
setInterval(() => { if (!document.hidden && link.isUp) post("/api/localrun/presence", {}, { isQuiet: true }).catch(() => {}); }, PRESENCE_MS);

const theme = stored("theme", null);
if (theme) document.documentElement.dataset.theme = theme;
const sidebar = new Sidebar(page);
document.querySelector("#sidebar .brand").append(iconButton("close", "Close", () => page.toggleSidebar(false), { class: "quiet only-narrow end" }));
page.loadModels().finally(route);
followChanges();
