// The machine: memory by device, requests, tokens a second over the last minutes, log, health.

import { get } from "./api.js";
import { button, bytes, drawing, fill, h, number, RATES_MS, renew, shortName, showError, viewOf } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 120;

export class View {
  constructor(page) {
    this.page = page;
    this.memory = h("div", { class: "stack" });
    this.requests = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Loaded models" });
    this.chart = h("div", { class: "chart" });
    this.now = h("p", { class: "dim" });
    this.log = h("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Log of the server" });
    this.health = h("div", { class: "stack", role: "status" });
    const check = button("Check this machine", () => this.doctor(check), {});
    Object.assign(this, viewOf(page, "Machine", [
      card("Memory", this.memory), card("Tokens per second", this.now, this.chart), card("Requests", this.requests),
      card("Health", check, this.health), card("Log", this.log)]));
  }

  shown() {
    this.tick().catch((error) => showError(this.memory, error));
  }

  async tick() {
    const [{ devices }, { lines }] = await Promise.all([get("/api/localrun/machine"), get("/api/localrun/log"), this.page.loadRunning()]);
    renew(this.memory, devices.map(deviceView));
    this.drawRequests(this.page.loaded);
    this.drawChart();
    this.drawLog(lines);
  }

  drawRequests(models) {
    if (!models.length) return fill(this.requests, h("p", { class: "dim", text: "No model is loaded." }));
    const heads = ["Model", "State", "Running", "Waiting", "Tokens/s", "Context in use", "Until"];
    const rows = models.map((model) => [
      shortName(model.name), model.state, model.running, model.waiting, model.tokens_per_s.toFixed(1),
      `${number(model.context_used)} / ${number(model.context_total)}`,
      model.pinned ? "pinned" : model.until ? new Date(model.until).toLocaleTimeString() : "",
    ]);
    return renew(this.requests, h("table", {}, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { text, scope: "col" })))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((text) => h("td", { text: String(text), dir: "auto" })))))));
  }

  drawChart() {
    const { rates } = this.page;
    const most = Math.max(1, ...rates.map(({ rate }) => rate));
    const x = (time) => WIDTH - (Date.now() - time) * (WIDTH / RATES_MS);
    const y = (rate) => HEIGHT - 2 - (HEIGHT - 10) * (rate / most);
    const points = rates.map(({ time, rate }) => `${x(time).toFixed(1)},${y(rate).toFixed(1)}`);
    const label = `Tokens per second in the last minutes, ${most.toFixed(0)} at most`;
    fill(this.chart, drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      drawing("polygon", { points: `${x(rates[0].time).toFixed(1)},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }),
      drawing("polyline", { points: points.join(" ") })));
    this.now.textContent = `${rates.at(-1).rate.toFixed(1)} now, ${(most > 1 ? most : 0).toFixed(1)} at most in the last five minutes`;
  }

  drawLog(lines) {
    const text = lines.join("\n");
    if (this.log.textContent === text) return;
    const isAtEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 30;
    this.log.textContent = text;
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  async doctor(check) {
    check.disabled = true;
    fill(this.health, h("p", { class: "dim", text: "Checking…" }));
    await get("/api/localrun/doctor").then(({ findings }) => this.drawHealth(findings), (error) => showError(this.health, error));
    check.disabled = false;
  }

  drawHealth(findings) {
    fill(this.health, h("ul", { class: "findings" }, findings.map((one) => h("li", { class: one.health },
      h("strong", { text: one.what }), h("span", { text: one.detail, dir: "auto" }), one.health !== "ok" && one.fix ? h("code", { text: one.fix }) : null))));
  }
}

function card(title, ...content) {
  return h("section", { class: "card", "aria-label": title }, h("h2", { text: title }), content);
}

function deviceView({ device, description, total_bytes: total, free_bytes: free, models }) {
  const used = total - free;
  const parts = Object.entries(models).map(([name, size]) => `${shortName(name)} ${bytes(size)}`);
  return h("div", { class: "stack" }, h("div", { class: "row wrap" }, h("strong", { text: device === description ? device : `${device} · ${description}` }),
    h("span", { class: "space" }), h("span", { class: "dim", text: `${bytes(free)} of ${bytes(total)} free` })),
    h("meter", { min: 0, max: total, value: used, "aria-label": `Memory of ${device} in use` }),
    parts.length ? h("p", { class: "dim", text: parts.join(" · ") }) : null);
}
