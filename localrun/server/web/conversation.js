// One chat: the tree of its messages, and how it is kept by the server. A message refers to its
// parent, so that regenerating or editing adds a branch and nothing is overwritten. What could not
// be written, because the server was away, is written when it is back.

import { get, post, remove, untilAnswered } from "./api.js";

const CHATS = "/api/localrun/chats";
const SUMMARY = "Summary of the conversation so far:\n";
const SETTINGS_MS = 300;
const SENT = ["thinking", "tool_calls", "tool_name", "images"];
export const MAX_MEDIA = 22 << 20;  // bytes of all media of a request, whose body has a limit

export class Conversation extends EventTarget {
  id = null;
  title = "";
  settings = {};
  messages = [];
  head = null;
  whyNotKept = null;
  writes = Promise.resolve();
  numUnsaved = 0;
  numChanges = 0;  // made here, and ends of writes: what was read before them may lack them
  timer = null;  // of settings that are not written yet
  updated = 0;

  constructor(model = "") {
    super();
    this.model = model;
  }

  /** Keep an exported chat as a new one; return its id. Of one that fails, nothing stays. */
  static async keepCopy({ title, model, settings = {}, messages, head }, otherModel) {
    if (!Array.isArray(messages)) throw new Error("it is no exported chat");
    const { id } = await post(CHATS, { model: model ?? otherModel, settings, title });
    try {
      const ids = new Map();  // of the export, to those here
      let last = 0;
      for (const { id: old, parent, created_s: _, num_images: __, ...message } of messages) {
        ({ id: last } = await post(`${CHATS}/${id}/messages`, { ...message, parent: old ? ids.get(parent) ?? 0 : last }));
        ids.set(old, last);
      }
      if (ids.has(head)) await post(`${CHATS}/${id}/head`, { message: ids.get(head) });
    } catch (error) {
      await remove(`${CHATS}/${id}`).catch(() => {});  // the first error says what went wrong
      throw error;
    }
    return id;
  }

  static async open(id) {
    const conversation = new Conversation();
    conversation.id = id;
    await conversation.reload();
    return conversation;
  }

  /** Take what the server has, unless it is older than what was changed here meanwhile; messages that
   * are here already stay the same objects. Return whether it was taken. */
  async reload() {
    const { numChanges } = this;
    const kept = await get(`${CHATS}/${this.id}?all=1`);
    if (this.numUnsaved || this.timer || this.numChanges !== numChanges) return false;
    const unsent = this.messages.filter((one) => one.isUnsent);  // answers that failed before their first word
    const byId = new Map(this.messages.filter((one) => one.id).map((one) => [one.id, one]));
    this.messages = kept.messages.map((fields) => {
      const message = Object.assign(byId.get(fields.id) ?? {}, fields, { parent: byId.get(fields.parent) ?? null });
      byId.set(fields.id, message);
      return message;
    });
    this.messages.push(...unsent.filter((one) => this.messages.includes(one.parent)));
    this.head = byId.get(kept.head) ?? null;
    this.head = this.messages.find((one) => one.isUnsent && one.parent === this.head) ?? this.head;
    this.title = kept.title;
    this.model = kept.settings.model ?? kept.model;
    this.settings = kept.settings;
    this.updated = kept.updated_s;
    return true;
  }

  /** Return the messages from the beginning to a message. */
  path(end = this.head) {
    const path = [];
    for (let message = end; message; message = message.parent) path.unshift(message);
    return path;
  }

  /** Return the messages that stand in the same place, the oldest first. */
  siblings(message) {
    return this.messages.filter((one) => one.parent === message.parent && one.role === message.role);
  }

  /** Add a message behind another, and go there; it is kept unless it is still being written. */
  add(fields, parent, isComplete = true) {
    const message = { content: "", ...fields, parent };
    this.numChanges += 1;
    this.messages.push(message);
    this.head = message;
    if (isComplete) this.keep(message);
    return message;
  }

  /** Remove a message that was never kept. */
  drop(message) {
    this.messages.splice(this.messages.indexOf(message), 1);
    if (this.head === message) this.head = message.parent;
  }

  /** Go to the newest end of the branch of a message. */
  choose(message) {
    for (let next = message; next; next = this.messages.findLast((one) => one.parent === next)) this.head = next;
    const end = this.head;
    this.write(() => post(`${CHATS}/${this.id}/head`, { message: end.id ?? 0 }));
  }

  keep(message) {
    if (message.role === "user" && !this.title) this.title = message.content.trim().split("\n")[0].slice(0, 80);
    this.write(async () => {
      if (!this.id) {
        const settings = { ...this.settings, model: this.model };
        this.id = (await post(CHATS, { model: this.model, settings, title: this.title })).id;
        this.dispatchEvent(new Event("named"));
      }
      message.id = (await this.#append(message)).id;
    });
  }

  /** Keep what has come of an answer, while the page is closed. */
  keepAtOnce(message) {
    if (this.id && message.content && message.parent?.id) this.#append(message, { keepalive: true, isQuiet: true }).catch(() => {});
  }

  #append({ role, content, thinking, tool_calls: calls, attachments, images, model, parent }, options = {}) {
    const body = { role, content, thinking, tool_calls: calls, attachments, images, model, parent: parent?.id ?? 0 };
    return post(`${CHATS}/${this.id}/messages`, body, options);
  }

  /** Load the images of kept messages. */
  async loadImages(messages) {
    for (const message of messages) {
      if (message.num_images && !message.images) ({ images: message.images } = await get(`${CHATS}/${this.id}/messages/${message.id}/images`));
    }
  }

  /** Keep the settings, once the user pauses. */
  keepSettings() {
    this.numChanges += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.id) this.write(() => post(`${CHATS}/${this.id}/settings`, { settings: { ...this.settings, model: this.model } }));
    }, SETTINGS_MS);
  }

  async rename(title) {
    this.title = title;
    if (this.id) await post(`${CHATS}/${this.id}/title`, { title });
  }

  /** Write after all earlier writes; wait for a server that does not answer. */
  write(act) {
    this.numUnsaved += 1;
    this.numChanges += 1;
    this.writes = this.writes.then(() => this.#written(act)).finally(() => { this.numUnsaved -= 1; this.numChanges += 1; });
    return this.writes;
  }

  async #written(act) {
    if (this.whyNotKept !== null) return;
    try {
      await untilAnswered(act);
    } catch (error) {
      this.whyNotKept = error.message;
      this.dispatchEvent(new Event("unkept"));
    }
  }

  /** Return the messages of a request that ends with a message; a summary replaces those above. If
   * their media are too large together, the oldest are left out, and counted in `numLeftOut`. */
  async request(end) {
    const path = this.path(end).filter((one) => one.role !== "system");
    const start = path.findLastIndex((one) => one.role === "summary");
    await this.loadImages(path.slice(Math.max(0, start)));
    const sent = this.settings.system ? [{ role: "system", content: this.settings.system }] : [];
    for (const message of start < 0 ? path : path.slice(start)) {
      const isSummary = message.role === "summary";
      const last = sent.at(-1);
      const content = isSummary ? SUMMARY + message.content : message.content;
      const body = { role: isSummary ? "user" : message.role, content };
      for (const name of SENT) if (message[name]?.length) body[name] = message[name];
      if (last?.role === "user" && body.role === "user") {
        last.content += `\n\n${content}`;
        if (body.images) last.images = [...last.images ?? [], ...body.images];
      } else sent.push(body);
    }
    let room = MAX_MEDIA;
    this.numLeftOut = 0;
    for (const body of sent.toReversed().filter((one) => one.images)) {
      const { length } = body.images;
      body.images = body.images.toReversed().filter((data) => (room -= mediumBytes(data)) >= 0).toReversed();
      this.numLeftOut += length - body.images.length;
      if (!body.images.length) delete body.images;
    }
    return sent;
  }
}

/** Return the bytes of a medium in base64. */
export const mediumBytes = (data) => Math.floor(data.length * 3 / 4);

/** Return a text file as the model gets it, as the chat in the terminal writes it. */
export function fileBlock(name, text) {
  const longest = Math.max(0, ...(text.match(/```+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(Math.max(3, longest + 1));
  return `File ${name}:\n${fence}\n${text}${text.endsWith("\n") || !text ? "" : "\n"}${fence}`;
}

/** Return what the user typed: the content without the files before it, as `fileBlock` writes them. */
export function typedText({ content, attachments = [] }) {
  let rest = content;
  for (const name of attachments) {
    const head = `File ${name}:\n`;
    const fence = rest.startsWith(head) && /^`+/.exec(rest.slice(head.length))?.[0];
    const end = fence ? rest.indexOf(`\n${fence}\n\n`, head.length) : -1;
    if (end >= 0) rest = rest.slice(end + fence.length + 3);  // else an image, say
  }
  return rest;
}
