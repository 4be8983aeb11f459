// The list of chats, the search in them, and the way to the other views.

import { get, query } from "./api.js";
import { button, fill, h, icon, iconButton, renew } from "./dom.js";

const PAGE = 60;
const MAX_LISTED = 1000;  // chats that the server lists at once
const SEARCH_MS = 200;
const DAY_MS = 86400000;
const VIEWS = [["models", "cube", "Models"], ["machine", "chip", "Machine"]];

export class Sidebar {
  /** `page` has `chatId`, `view`, `newChat()`, `toggleTheme()` and `showShortcuts()`. */
  constructor(page) {
    this.page = page;
    this.chats = [];
    this.next = null;
    this.hits = null;
    this.input = h("input", {
      type: "search", placeholder: "Search chats", "aria-label": "Search chats", dir: "auto", maxlength: 200,
      oninput: () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.search(), SEARCH_MS); },
    });
    this.list = h("div", { class: "chats" });
    this.views = h("div", { class: "views" });
    fill(document.getElementById("sidebar-body"),
      button("New chat", () => page.newChat(), { icon: "plus", class: "new" }),
      h("div", { class: "search" }, icon("search"), this.input), this.list, this.views,
      h("div", { class: "row foot" },
        iconButton("sun", "Light or dark", () => page.toggleTheme()),
        iconButton("keys", "Keyboard shortcuts", () => page.showShortcuts()),
        h("span", { class: "space" }), h("span", { id: "link-state", role: "status" })));
    this.draw();
  }

  async load() {
    try {
      ({ chats: this.chats, next: this.next } = await get(`/api/localrun/chats${query({ limit: Math.min(Math.max(PAGE, this.chats.length), MAX_LISTED) })}`));
      this.problem = "";
    } catch (error) {
      if (error.status !== 0) this.problem = error.message;
    }
    this.draw();
  }

  async loadMore() {
    const { chats, next } = await get(`/api/localrun/chats${query({ limit: PAGE, before: this.next })}`);
    this.chats.push(...chats);
    this.next = next;
    this.draw();
  }

  async search() {
    const text = this.input.value.trim();
    this.hits = text ? (await get(`/api/localrun/chats/search${query({ text })}`)).hits : null;
    this.draw();
  }

  draw() {
    const { view } = this.page;
    renew(this.views, VIEWS.map(([name, sign, label]) => h("a", { href: `#/${name}`, "aria-current": view === name ? "page" : null }, icon(sign), label)));
    if (this.hits) {
      renew(this.list, h("p", { class: "day", text: this.hits.length ? "Found" : "Nothing is found" }),
        this.hits.map((hit) => this.entry(hit.chat, `#/chat/${hit.chat.id}/${hit.message}`, hit.excerpt)));
      return;
    }
    const groups = Map.groupBy(this.chats, (chat) => dayOf(chat.updated_s));
    renew(this.list, this.problem ? h("p", { class: "day", text: this.problem }) : null,
      [...groups].flatMap(([day, chats]) => [h("p", { class: "day", text: day }), ...chats.map((chat) => this.entry(chat, `#/chat/${chat.id}`))]),
      this.next ? button("More", () => this.loadMore(), { class: "small" }) : null);
  }

  entry(chat, href, excerpt = "") {
    const isCurrent = chat.id === this.page.chatId;
    return h("a", { class: "chat-entry", href, "aria-current": isCurrent ? "page" : null, title: chat.title || "Untitled" },
      h("span", { text: chat.title || "Untitled", dir: "auto" }),
      this.page.isRunning(chat.id) ? h("i", { class: "dot", "aria-label": "An answer arrives" }) : null,
      excerpt ? h("small", { text: excerpt, dir: "auto" }) : null);
  }
}

function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  const numDays = Math.max(0, Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / DAY_MS));
  if (numDays < 7) return ["Today", "Yesterday"][numDays] ?? "This week";
  return date.toLocaleDateString("en", { month: "long", year: "numeric" });
}
