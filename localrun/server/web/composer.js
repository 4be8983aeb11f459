// The message that is being written: text, files, templates, and the keys that send it.

import { post } from "./api.js";
import { bytes, chip, fill, h, icon, iconButton, notify, number } from "./dom.js";
import { fileBlock, MAX_MEDIA, mediumBytes } from "./conversation.js";
import { pictureOf } from "./message.js";
import { savedTexts } from "./storage.js";

const MAX_TEXT = 2 << 20;  // bytes of a text file
const MAX_MEDIUM = 20 << 20;  // of an image, a sound or a PDF file
const MAX_FILES = 50;
const LONG_PASTE = 4000;  // characters from which a pasted text is a file

export class Composer {
  /** `chat` has `conversation`, `takes(capability)`, `send(text, files)`, `stop()` and `editLast()`. */
  constructor(chat) {
    this.chat = chat;
    this.files = [];  // { name, block, medium, chip, count }
    this.input = h("textarea", {
      id: "input", rows: 1, placeholder: "Message", "aria-label": "Message", dir: "auto", enterkeyhint: "send",
      oninput: () => this.changed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.paste(event),
    });
    this.chips = h("ul", { class: "chips", "aria-label": "Files of the message", hidden: true });
    this.picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files", onchange: () => { this.take(this.picker.files); this.picker.value = ""; } });
    this.action = h("button", { type: "button", class: "primary send", onclick: () => (this.isBusy ? chat.stop() : this.submit()) });
    this.imageButton = iconButton("image", "Attach an image", () => this.pick("image/*"), { hidden: true });
    const templates = savedTexts("template", "book", "Prompt templates", () => this.input.value, (text) => this.insert(text));
    this.status = h("div", { class: "composer-status", title: "Tokens of the context in use" });
    this.element = h("form", { class: "composer", onsubmit: (event) => event.preventDefault() },
      this.chips, this.input,
      h("div", { class: "row" }, iconButton("clip", "Attach files", () => this.pick("")), this.imageButton, templates, this.picker,
        h("span", { class: "space" }), this.status, this.action));
    this.setBusy(false);
  }

  /** Keep the draft by the id of the chat from now on; show the one that the chat was left with. */
  open(id, draft = sessionStorage.getItem(`draft:${id}`) ?? "") {
    if (this.draftKey) sessionStorage.removeItem(this.draftKey);
    this.draftKey = `draft:${id}`;
    this.input.value = draft;
    this.changed();
  }

  changed() {
    if (this.input.value) sessionStorage.setItem(this.draftKey, this.input.value);
    else sessionStorage.removeItem(this.draftKey);
    this.setBusy();
  }

  setBusy(isBusy = this.isBusy) {
    this.isBusy = isBusy;
    this.action.ariaLabel = this.action.title = isBusy ? "Stop the answer" : "Send";
    this.action.disabled = !isBusy && !this.input.value.trim() && !this.files.length;
    fill(this.action, icon(isBusy ? "stop" : "send"));
  }

  submit() {
    const text = this.input.value;
    if (this.isBusy || !(text.trim() || this.files.length)) return;
    if (!this.chat.conversation.model) { notify("Choose a model first. The view Models has more.", "error"); return; }
    const files = this.files;
    this.input.value = "";
    this.files = [];
    this.changed();
    this.showFiles();
    this.chat.send(text, files);
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
    this.input.focus();
  }

  async text(file) {
    if (file.size > MAX_TEXT) throw new Error(`it is larger than ${bytes(MAX_TEXT)}`);
    const text = decoded(await file.bytes()).replace(/\r\n?/g, "\n");
    const found = this.withChip({ name: file.name, block: fileBlock(file.name, text) });
    post("/v1/tokenize", { model: this.chat.conversation.model, prompt: found.block }).then(
      ({ count }) => { found.count.textContent = `${number(count)} tokens`; }, () => {});
    return found;
  }

  async medium(file) {
    if (file.type.startsWith("image/") && !this.chat.takes("vision")) throw new Error("this model does not read images");
    if (/^(audio|video)\//.test(file.type) && !this.chat.takes("audio")) throw new Error("this model does not hear sounds");
    if (file.size > MAX_MEDIUM) throw new Error(`it is larger than ${bytes(MAX_MEDIUM)}`);
    const before = this.files.reduce((sum, one) => sum + mediumBytes(one.medium ?? ""), 0);
    if (before + file.size > MAX_MEDIA) throw new Error(`with the files before it, it is larger than ${bytes(MAX_MEDIA)}`);
    return this.withChip({ name: file.name, medium: (await file.bytes()).toBase64() });
  }

  showFiles() {
    this.chips.hidden = !this.files.length;
    fill(this.chips, this.files.map((file) => file.chip));
    this.setBusy();
  }

  /** Return a file with the chip that shows it. */
  withChip(file) {
    file.count = h("small");
    const remove = () => { this.files.splice(this.files.indexOf(file), 1); this.showFiles(); };
    const shown = file.medium ? pictureOf(file.medium) : file.count;
    file.chip = chip(file.name, file.medium ? "image" : "file", shown, iconButton("close", `Remove ${file.name}`, remove));
    return file;
  }

  insert(text) {
    this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    this.changed();
    const gap = /\{\{[^}]*\}\}/.exec(this.input.value);
    this.input.focus();
    if (gap) this.input.setSelectionRange(gap.index, gap.index + gap[0].length);
  }
}

function decoded(content) {
  const encoding = { "255,254": "utf-16le", "254,255": "utf-16be" }[content.slice(0, 2)] ?? "utf-8";
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(content);
    if (!text.includes("\0")) return text;
  } catch { /* other bytes than those of a text */ }
  throw new Error("it is neither text nor an image");
}
