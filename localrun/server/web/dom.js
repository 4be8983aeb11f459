// Elements without HTML text, icons, dialogs and notices: what all views of the page share.
// Text only ever becomes text nodes here; `markdown.js` alone sets HTML, and only the server's.

const ICONS = {
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.500l4.500 4.500L19 7.500",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  again: "M20 11a8 8 0 1 0-2.300 6.300M20 5v6h-6",
  left: "M14.500 6l-6 6 6 6",
  right: "M9.500 6l6 6-6 6",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M5 11.500a.5.5 0 1 0 .01 0M12 11.500a.5.5 0 1 0 .01 0M19 11.500a.5.5 0 1 0 .01 0",
  close: "M6 6l12 12M18 6L6 18",
  clip: "M20 11.500l-8.200 8.200a5 5 0 0 1-7-7l8.500-8.500a3.300 3.300 0 0 1 4.700 4.700l-8.500 8.500a1.700 1.700 0 0 1-2.400-2.400l7.600-7.600",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  columns: "M4 5h16v14H4zM12 5v14",
  search: "M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14zM16 16l4.500 4.500",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  chat: "M5 5h14v11H11l-5 4v-4H5z",
  cube: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM12 12l8-4.500M12 12v9M12 12L4 7.500",
  chip: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
  sun: "M12 16a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M19 5l-1.500 1.500M6.500 17.500L5 19",
  keys: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  book: "M5 4h12a2 2 0 0 1 2 2v14H7a2 2 0 0 1-2-2zM5 18a2 2 0 0 1 2-2h12M9 8h6",
  down: "M12 5v14M6 13l6 6 6-6",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  person: "M12 12a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM4 20a8 6 0 0 1 16 0",
  bars: "M5 20V11M12 20V5M19 20v-6",
};

/** Return an element; `on...` are listeners, `class` and `text` as named, others attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(isShown));
  return element;
}

const isShown = (child) => child !== null && child !== undefined && child !== false;

/** Return an element of a drawing. */
export function drawing(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return an icon, which no screen reader reads. */
export function icon(name) {
  return drawing("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, drawing("path", { d: ICONS[name] }));
}

/** Return a button that shows an icon alone; its label is read, and shown as a tip. */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick, ...properties }, icon(name));
}

/** Return a text that is folded below its title. */
export function folded(title, text, kind) {
  return h("details", { class: kind }, h("summary", {}, title), h("pre", { class: "result", text, tabindex: "0", dir: "auto" }));
}

/** Return the item of a list that shows a file. */
export function chip(name, sign, ...more) {
  return h("li", { class: "chip" }, icon(sign), h("span", { text: name, dir: "auto" }), more);
}

/** Return a labelled button. */
export function button(label, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, properties.icon ? icon(properties.icon) : null, label);
}

/** Set the children of an element. Those that stay are not moved: a browser discards a click whose
 * element leaves the document between the press and the release. */
export function fill(element, ...children) {
  const wanted = children.flat().filter(isShown);
  const staying = new Set(wanted);
  for (const child of [...element.childNodes]) if (!staying.has(child)) child.remove();
  wanted.forEach((child, at) => {
    const there = element.childNodes[at] ?? null;
    if (there !== child) element.insertBefore(child, there);
  });
  return element;
}

/** Set the children of an element; those that are equal to the ones before stay, with their
 * listeners, which therefore may depend on nothing but what the element shows. */
export function renew(element, ...children) {
  const old = [...element.childNodes];
  const wanted = children.flat().filter(isShown);
  let start = 0;
  for (; old[start]?.isEqualNode(wanted[start]); start += 1) wanted[start] = old[start];
  const most = Math.min(old.length, wanted.length) - start;
  for (let end = 1; end <= most && old.at(-end).isEqualNode(wanted.at(-end)); end += 1) wanted.splice(-end, 1, old.at(-end));
  return fill(element, wanted);
}

/** Show a notice for some seconds; an error stays longer. */
export function notify(text, kind = "note") {
  const notices = document.getElementById("notices");
  const dismiss = () => notice.remove();
  const notice = h("div", { class: `notice ${kind}` }, h("span", { text, dir: "auto" }), iconButton("close", "Dismiss", dismiss));
  for (const earlier of notices.children) if (earlier.isEqualNode(notice)) earlier.remove();
  notices.append(notice);
  setTimeout(dismiss, kind === "error" ? 12000 : 4000);
}

/** Show what went wrong in an element. */
export function showError(element, error) {
  fill(element, h("p", { class: "state error", text: error.message, dir: "auto" }));
}

/** Show a dialog with a title; return it. It is removed when it closes. */
export function showDialog(title, content, actions = []) {
  const dialog = h("dialog", { class: "dialog", "aria-label": title, closedby: "any", onclose: () => dialog.remove() },
    h("header", {}, h("h2", { text: title }), iconButton("close", "Close", () => dialog.close())),
    h("div", { class: "dialog-body" }, content),
    actions.length ? h("footer", {}, actions) : null);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask in a dialog; resolve to whether the user accepts. */
function isAccepted(title, content, label, kind) {
  return new Promise((resolve) => {
    const form = h("form", { id: "ask", class: "stack", method: "dialog" }, content);
    const accept = h("button", { form: "ask", value: "accepted", class: kind, autofocus: true }, label);
    const dialog = showDialog(title, form, [button("Cancel", () => dialog.close()), accept]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "accepted"));
  });
}

/** Ask before something is lost; resolve to whether the user agrees. */
export const confirmed = (title, text, label) => isAccepted(title, h("p", { text, dir: "auto" }), label, "danger");

/** Ask for one line of text; resolve to it, or to null. */
export async function asked(title, label, value = "") {
  const input = h("input", { id: "asked", value, maxlength: 200, dir: "auto", autofocus: true });
  const isSaved = isAccepted(title, [h("label", { for: "asked", text: label }), input], "Save", "primary");
  input.select();
  return await isSaved ? input.value : null;
}

/** Return the element of a view other than a chat, and its title. */
export function viewOf(page, name, content, action = null) {
  const title = h("h1", { class: "title view-title", text: name });
  const element = h("section", { class: "view", "aria-label": name },
    h("header", { class: "bar" }, iconButton("menu", "Chats", () => page.toggleSidebar(), { class: "quiet only-narrow" }), title, h("span", { class: "space" }), action),
    h("div", { class: "scroller" }, h("div", { class: "page-body" }, content)));
  return { element, title };
}

/** Let a field choose from pairs of a value and its text. */
export function offer(field, options, value) {
  renew(field, options.map(([name, text]) => h("option", { value: name, text })));
  field.value = value;
  return field;
}

/** Return a button that opens a menu; `entries` returns pairs of a label and what it does. */
export function menuButton(name, label, entries) {
  const id = `menu-${Math.random().toString(36).slice(2)}`;
  const itemOf = ([text, act, kind]) => h("button", { type: "button", role: "menuitem", class: kind, onclick: () => { menu.hidePopover(); act(); } }, text);
  const menu = h("div", { class: "menu", id, popover: "auto", role: "menu", "aria-label": label,
    onbeforetoggle: ({ newState }) => { if (newState === "open") fill(menu, entries().map(itemOf)); },
    ontoggle: ({ newState }) => { if (newState === "open") menu.firstElementChild.focus(); },
    onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const items = [...menu.children];
      items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
    } });
  return [iconButton(name, label, null, { popovertarget: id, "aria-haspopup": "menu" }), menu];
}

/** Copy a text; the button shows that it is done. */
export async function copyText(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not on an address without TLS beyond this machine
    const area = h("textarea", { value: text, class: "unseen", "aria-hidden": "true" });
    (from.closest("dialog") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = [...from.childNodes];
  from.replaceChildren(icon("check"));
  setTimeout(() => from.replaceChildren(...before), 1200);
}

export function bytes(count) {
  const power = count ? Math.min(4, Math.floor(Math.log10(count) / 3)) : 0;
  const value = count / 1000 ** power;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const RATES_MS = 300000;  // for so long tokens a second are remembered
export const number = (value) => Math.round(value).toLocaleString("en");
export const shortName = (name) => (name ?? "").replace(/:latest$/, "");
