// What this browser remembers: theme, last model, personas and templates.

import { asked, confirmed, menuButton, notify } from "./dom.js";

/** Return a remembered value. */
export function stored(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`localrun:${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Remember a value. */
export function store(name, value) {
  try {
    localStorage.setItem(`localrun:${name}`, JSON.stringify(value));
  } catch { /* a browser that keeps nothing */ }
}

/** Return a button with a menu of the texts of a kind, such as "persona": `use` takes one of them,
 * and what `current` returns may be saved by a name. */
export function savedTexts(kind, icon, label, current, use) {
  const list = () => stored(`${kind}s`, []);
  const without = (name) => list().filter((one) => one.name !== name);
  const save = async () => {
    const text = current();
    if (!text.trim()) return notify(`Write the text of the ${kind} first.`);
    const name = await asked(`Save as a ${kind}`, "Name", text.trim().slice(0, 40));
    if (name) store(`${kind}s`, [...without(name), { name, text }]);
  };
  return menuButton(icon, label, () => [
    ...list().map(({ name, text }) => [text === current() ? `✓ ${name}` : name, () => use(text)]),
    [`Save as a ${kind}…`, save],
    ...list().map(({ name }) => [`Delete ${name}…`, async () => await confirmed(`Delete this ${kind}?`, name, "Delete") && store(`${kind}s`, without(name)), "danger"]),
  ]);
}
