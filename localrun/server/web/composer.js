// The message that is being written: text, files, templates, and the keys that send it.

import { post } from "./api.js";
import { asked, bytes, fill, h, icon, iconButton, menuButton, notify, number } from "./dom.js";
import { fileBlock, MAX_MEDIA, mediumBytes } from "./conversation.js";
import { stored, storeText } from "./storage.js";

const MAX_TEXT = 2 << 20;  // bytes of a text file
const MAX_MEDIUM = 20 << 20;  // of an image, a sound or a PDF file
const MAX_FILES = 50;
const LONG_PASTE = 4000;  // characters from which a pasted text is a file

export class Composer {
  /** `chat` has `model()`, `takes(capability)`, `send(text, files)`, `stop()` and `editLast()`. */
  constructor(chat) {
    this.chat = chat;
    this.files = [];  // { name, block, medium, chip, count }
    this.input = h("textarea", {
      id: "input", rows: 1, placeholder: "Message", "aria-label": "Message", dir: "auto", enterkeyhint: "send",
      oninput: () => this.changed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.paste(event),
    });
    this.chips = h("ul", { class: "chips", "aria-label": "Files of the message", hidden: true });
    this.picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files", onchange: () => { this.take(this.picker.files); this.picker.value = ""; } });
    this.action = h("button", { type: "button", class: "send", onclick: () => (this.isBusy ? chat.stop() : this.submit()) });
    this.imageButton = iconButton("image", "Attach an image", () => this.pick("image/*"), { hidden: true });
    const [templates, menu] = menuButton("book", "Prompt templates", () => this.templates());
    this.status = h("div", { class: "composer-status" });
    this.element = h("form", { class: "composer", onsubmit: (event) => event.preventDefault() },
      this.chips, this.input,
      h("div", { class: "row" }, iconButton("clip", "Attach files", () => this.pick("")), this.imageButton, templates, menu, this.picker,
        h("span", { class: "space" }), this.status, this.action));
    this.setBusy(false);
  }

  focus() {
    this.input.focus();
  }

  /** Show the draft that a chat was left with. */
  open(key) {
    this.key_ = `draft:${key}`;
    this.input.value = sessionStorage.getItem(this.key_) ?? "";
    this.resize();
    this.setBusy(this.isBusy);
  }

  /** Keep the draft by the id that the chat has now. */
  named(key) {
    this.key_ = `draft:${key}`;
    this.changed();
  }

  changed() {
    if (this.input.value) sessionStorage.setItem(this.key_, this.input.value);
    else sessionStorage.removeItem(this.key_);
    this.resize();
    this.setBusy(this.isBusy);
  }

  resize() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, innerHeight * 0.4)}px`;
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    const label = isBusy ? "Stop the answer" : "Send";
    this.action.setAttribute("aria-label", label);
    this.action.title = label;
    this.action.disabled = !isBusy && !this.input.value.trim() && !this.files.length;
    this.action.classList.toggle("busy", isBusy);
    fill(this.action, icon(isBusy ? "stop" : "send"));
  }

  submit() {
    const text = this.input.value;
    if (this.isBusy || !(text.trim() || this.files.length)) return;
    const files = this.files;
    this.input.value = "";
    this.files = [];
    this.changed();
    this.showFiles();
    this.chat.send(text, files);
  }

  /** Return a message that could not be sent to the field. */
  restore(text) {
    if (!this.input.value) this.input.value = text;
    this.changed();
  }

  key(event) {
    if (event.isComposing) return;  // of an input method: Enter chooses a word
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.input.value && !this.isBusy) {
      event.preventDefault();
      this.chat.editLast();
    }
  }

  paste(event) {
    const { files } = event.clipboardData;
    const text = event.clipboardData.getData("text/plain");
    const isLong = !files.length && text.length > LONG_PASTE;
    if (!files.length && !isLong) return;
    event.preventDefault();
    this.take(isLong ? [new File([text], "pasted.txt", { type: "text/plain" })] : files);
  }

  pick(accept) {
    this.picker.accept = accept;
    this.picker.click();
  }

  showSees() {
    this.imageButton.hidden = !this.chat.takes("vision");
  }

  /** Attach files: media that the model takes, else text. */
  async take(list) {
    for (const file of [...list].slice(0, MAX_FILES - this.files.length)) {
      try {
        const isMedium = /^(image(?!\/svg)|audio)\/|^video\/(mp4|webm)$|^application\/pdf$/.test(file.type);
        this.files.push(isMedium ? await this.medium(file) : await this.text(file));
      } catch (error) {
        notify(`${file.name}: ${error.message}`, "error");
      }
      this.showFiles();
    }
    this.focus();
  }

  async text(file) {
    if (file.size > MAX_TEXT) throw new Error(`it is larger than ${bytes(MAX_TEXT)}`);
    const text = decoded(new Uint8Array(await file.arrayBuffer())).replace(/\r\n?/g, "\n");
    const found = this.withChip({ name: file.name, block: fileBlock(file.name, text) });
    post("/v1/tokenize", { model: this.chat.model(), prompt: found.block }).then(
      ({ count }) => { found.count.textContent = `${number(count)} tokens`; }, () => {});
    return found;
  }

  async medium(file) {
    if (file.type.startsWith("image/") && !this.chat.takes("vision")) throw new Error("this model does not read images");
    if (/^(audio|video)\//.test(file.type) && !this.chat.takes("audio")) throw new Error("this model does not hear sounds");
    if (file.size > MAX_MEDIUM) throw new Error(`it is larger than ${bytes(MAX_MEDIUM)}`);
    const url = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(new Error("it cannot be read"));
      reader.readAsDataURL(file);
    });
    const media = [...this.files.map((one) => one.medium ?? ""), url.slice(url.indexOf(",") + 1)];
    if (media.reduce((sum, one) => sum + mediumBytes(one), 0) > MAX_MEDIA) throw new Error(`with the files before it, it is larger than ${bytes(MAX_MEDIA)}`);
    return this.withChip({ name: file.name, medium: media.at(-1) });
  }

  showFiles() {
    this.chips.hidden = !this.files.length;
    fill(this.chips, this.files.map((file) => file.chip));
    this.setBusy(this.isBusy);
  }

  /** Return a file with the chip that shows it. */
  withChip(file) {
    file.count = h("small");
    const remove = () => { this.files.splice(this.files.indexOf(file), 1); this.showFiles(); };
    file.chip = h("li", { class: "chip" }, icon(file.medium ? "image" : "file"), h("span", { text: file.name, dir: "auto" }),
      file.medium ? null : file.count, iconButton("close", `Remove ${file.name}`, remove));
    return file;
  }

  templates() {
    const known = stored("templates", []);
    return [
      ...known.map(({ name, text }) => [name, () => this.insert(text)]),
      ["Save the message as a template…", () => this.saveTemplate()],
      ...known.length ? [["Delete a template…", () => this.deleteTemplate(), "danger"]] : [],
    ];
  }

  insert(text) {
    this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    this.changed();
    const gap = /\{\{[^}]*\}\}/.exec(this.input.value);
    this.focus();
    if (gap) this.input.setSelectionRange(gap.index, gap.index + gap[0].length);
  }

  async saveTemplate() {
    const text = this.input.value;
    if (!text.trim()) return notify("Write the text of the template first; {{gaps}} are selected when it is used.");
    const name = await asked("Save a template", "Name", text.trim().slice(0, 40));
    if (name) storeText("templates", name, text);
  }

  async deleteTemplate() {
    const name = await asked("Delete a template", "Name");
    if (name) storeText("templates", name);
  }
}

function decoded(content) {
  const encoding = content[0] === 0xff && content[1] === 0xfe ? "utf-16le" : content[0] === 0xfe && content[1] === 0xff ? "utf-16be" : "utf-8";
  let text;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(content);
  } catch {
    throw new Error("it is neither text nor an image");
  }
  if (text.includes("\0")) throw new Error("it is no text");
  return text;
}
