// What this browser remembers: theme, last model, personas and templates.

/** Return a remembered value. */
export function stored(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`localrun:${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Remember a text by its name among those of a kind, or forget it. */
export function storeText(kind, name, text = null) {
  const others = stored(kind, []).filter((one) => one.name !== name);
  store(kind, text === null ? others : [...others, { name, text }]);
}

/** Remember a value. */
export function store(name, value) {
  try {
    localStorage.setItem(`localrun:${name}`, JSON.stringify(value));
  } catch { /* a browser that keeps nothing */ }
}
