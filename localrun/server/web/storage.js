// What this browser remembers: theme, last model, personas and templates.

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
