"use strict";

// How the outcomes are told: which colour, which word, which order in the chart from the bottom up.
const HUES = { allowed: "allowed", redirected: "steered", challenged: "steered", blocked: "blocked",
  bad_request: "blocked", failed: "failed", bad_response: "failed" };
const WORDS = { allowed: "allowed", redirected: "redirected", challenged: "challenged", blocked: "blocked",
  bad_request: "bad request", failed: "no verdict", bad_response: "upstream failed" };
const STACK = ["allowed", "steered", "blocked", "failed"];
const LEGEND = { allowed: "allowed", steered: "redirected or challenged", blocked: "blocked", failed: "no verdict" };
const DOES = { guard: "decides on requests", editor: "rewrites responses" };

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children. Text is text: nothing that an agent says becomes markup.
function element(name, attributes = {}, ...children) {
  const made = ["svg", "rect", "path", "line"].includes(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null).map((child) => typeof child === "number" ? String(child) : child));
  return made;
}

function time(micros) {
  if (micros === null || micros === undefined) return "–";
  if (micros < 1000) return `${micros} µs`;
  return micros < 1e6 ? `${(micros / 1000).toFixed(micros < 1e4 ? 1 : 0)} ms` : `${(micros / 1e6).toFixed(1)} s`;
}

function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  return seconds < 1 ? "now" : seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
}

function count(number) {
  return number < 1e5 ? String(number) : number < 1e7 ? `${(number / 1000).toFixed(0)} k` : `${(number / 1e6).toFixed(1)} M`;
}

function plural(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

// ---- totals ----

function perSecond(seconds) {
  // The last second is not over.
  const whole = seconds.slice(-6, -1);
  const sum = whole.reduce((all, second) => all + Object.values(second.verdicts).reduce((a, b) => a + b, 0), 0);
  return (sum / whole.length).toFixed(1);
}

function showTotals({ totals, seconds, refusals }) {
  const of = (...names) => count(names.reduce((sum, name) => sum + (totals[name] ?? 0), 0));
  const refused = Object.values(refusals).reduce((a, b) => a + b, 0);
  const tiles = [
    ["rate", "requests per second", perSecond(seconds), ""],
    ["allowed", "allowed", of("allowed"), "allowed"],
    ["steered", "redirected, challenged", of("redirected", "challenged"), "steered"],
    ["blocked", "blocked", of("blocked", "bad_request"), "blocked"],
    ["failed", "refused without a verdict", of("failed", "bad_response"), "failed"],
    ["edited", "responses rewritten", of("edited"), "steered"],
    ["unasked", "passed without the editor", of("unasked"), "blocked"],
    ["refused", "agents turned away", count(refused), "failed"],
  ];
  byId("totals").replaceChildren(...tiles.map(([id, name, value, hue]) =>
    element("div", { id: `total-${id}`, "data-hue": hue }, element("dt", {}, name), element("dd", {}, value))));
}

// ---- charts ----

// Lines across a chart with what they stand for, as pairs of a share of the height and a text.
function draw(id, width, ticks, ...marks) {
  const [svg, height] = [byId(id), 180];
  const lines = ticks.map(([share]) => element("line", { class: "grid", x1: 0, x2: width, y1: height * (1 - share), y2: height * (1 - share) }));
  svg.replaceChildren(...lines, ...marks);
  const labels = ticks.map(([share, text]) => {
    const label = element("span", { class: "tick", "aria-hidden": "true" }, text);
    label.style.top = `${100 * (1 - share)}%`;
    return label;
  });
  svg.parentElement.replaceChildren(svg, ...labels);
}

// The next even number that is easy to read.
function nice(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [2, 4, 6, 10].map((step) => step * power).find((step) => step >= number);
}

function showVerdicts(seconds) {
  const [width, height] = [720, 180];
  const stacks = seconds.map((second) => {
    const sums = Object.fromEntries(STACK.map((hue) => [hue, 0]));
    for (const [verdict, number] of Object.entries(second.verdicts)) sums[HUES[verdict] ?? "failed"] += number;
    return sums;
  });
  const most = Math.max(...stacks.map((sums) => STACK.reduce((sum, hue) => sum + sums[hue], 0)));
  const top = nice(Math.max(most, 4));
  const slot = width / stacks.length;
  const bars = stacks.flatMap((sums, at) => {
    let foot = height;
    return STACK.filter((hue) => sums[hue] > 0).map((hue) => {
      const tall = (sums[hue] / top) * height;
      foot -= tall;
      return element("rect", { "data-hue": hue, x: at * slot + 1, y: foot, width: slot - 2, height: Math.max(tall - 0.75, 0.75), rx: 1.5 });
    });
  });
  draw("verdicts", width, [[0, "0"], [0.5, top / 2], [1, top]], ...bars);
  byId("verdicts-text").textContent = `at most ${most} in a second`;
}

// Answers take from microseconds to seconds, so the scale is one of powers: 0.1 ms to 1 s.
const DECADES = [[0, "0.1 ms"], [0.25, "1 ms"], [0.5, "10 ms"], [0.75, "100 ms"], [1, "1 s"]];

function showLatency(seconds) {
  const [width, height] = [400, 180];
  const slot = width / (seconds.length - 1);
  const share = (micros) => Math.min(1, Math.max(0, Math.log10(Math.max(micros, 1) / 100) / 4));
  const line = (key) => {
    let pen = "M";
    return seconds.map((second, at) => {
      if (second[key] === null) { pen = "M"; return ""; }
      const point = `${pen}${(at * slot).toFixed(1)} ${(height * (1 - share(second[key]))).toFixed(1)}`;
      // A second alone between silent ones is a short stroke.
      const alone = pen === "M" && (seconds[at + 1]?.[key] ?? null) === null ? "h3" : "";
      pen = "L";
      return point + alone;
    }).join("");
  };
  draw("latency", width, DECADES, element("path", { class: "p99", d: line("p99_us") }), element("path", { class: "p50", d: line("p50_us") }));
  const last = seconds.findLast((second) => second.p50_us !== null);
  byId("latency-text").textContent = last ? `latest ${time(last.p50_us)}, ${time(last.p99_us)}` : "nothing was asked";
}

// ---- agents ----

function showConnection(connection) {
  const bar = element("span", {});
  bar.style.width = `${Math.min(100, (connection.in_flight + connection.waiting) * 5)}%`;
  const waiting = connection.waiting ? `, ${connection.waiting} waiting` : "";
  const load = `${connection.in_flight} in flight${waiting}`;
  const state = connection.state === "open" ? connection.health : connection.state;
  return element("div", { class: "connection", "data-state": connection.state },
    element("span", { class: "dot", "aria-hidden": "true" }),
    element("span", { class: "name", title: connection.id }, connection.id),
    element("span", {}, state),
    element("span", { class: "times" }, `${load} · ${time(connection.p50_us)} / ${time(connection.p99_us)}`),
    element("span", { class: "load", "aria-hidden": "true" }, bar));
}

function showAgents(agents) {
  const cards = agents.map((agent) => {
    const here = agent.connections.length;
    const facts = [["answered", agent.answered], ["in flight", agent.in_flight], ["cancelled", agent.cancelled], ["lost, late", agent.lost + agent.timed_out]];
    return element("article", { class: "card agent", id: `agent-${agent.id}`, "data-state": here ? "here" : "away", "aria-label": `agent ${agent.id}` },
      element("h3", {}, agent.id,
        element("span", { class: "pill", "data-hue": here ? "allowed" : "failed" }, here ? plural(here, "connection") : "away")),
      element("p", { class: "under" }, DOES[agent.id] ?? "an agent"),
      element("dl", { class: "facts" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, count(value))))),
      ...agent.connections.map(showConnection));
  });
  byId("agents").replaceChildren(...(cards.length ? cards : [element("p", { class: "card empty" }, "No agent has come yet.")]));
}

// ---- what happened ----

let seen = 0;

function showLog(log, refusals, now) {
  const lines = log.slice(0, 7).map((entry) => {
    const came = entry.what === "came";
    return element("li", { class: entry.n > seen ? "fresh" : "", "data-hue": came ? "allowed" : "failed" },
      element("span", { class: "mark", "aria-hidden": "true" }, came ? "▲" : "▼"),
      element("span", {}, element("b", {}, entry.who), ` ${entry.what}`),
      element("time", {}, ago(now - entry.at_ms)),
      element("span", { class: "why" }, entry.why));
  });
  byId("log").replaceChildren(...(lines.length ? lines : [element("li", { class: "empty" }, "Nobody yet.")]));
  const causes = Object.entries(refusals).map(([cause, number]) => `${number} × ${cause.replaceAll("_", " ")}`);
  byId("refusals").replaceChildren("Turned away at the door: ", element("b", {}, causes.join(", ") || "nobody"));
  // Said aloud once, by whatever reads the page out.
  const news = log.filter((entry) => entry.n > seen).map((entry) => `agent ${entry.who} ${entry.what}`);
  if (seen > 0 && news.length) byId("said").textContent = news.join(", ");
}

function showRecent(recent, now) {
  const rows = recent.map((entry) => {
    const word = WORDS[entry.verdict] ?? entry.verdict;
    const cause = entry.cause ? `: ${entry.cause.replaceAll("_", " ")}` : "";
    return element("tr", { class: entry.n > seen ? "fresh" : "" },
      element("td", {}, element("span", { class: "pill", "data-hue": HUES[entry.verdict] ?? "failed" }, word + cause)),
      element("td", {}, `${entry.method} ${entry.path}`),
      element("td", { class: "number" }, entry.status === null ? "gone" : entry.status),
      element("td", { class: "number" }, time(entry.took_us)),
      element("td", { class: "number" }, entry.asked),
      element("td", { class: "number" }, ago(now - entry.at_ms)));
  });
  const none = element("tr", {}, element("td", { colspan: 6, class: "empty" }, "None yet. Try one of the curl commands."));
  byId("recent").replaceChildren(...(rows.length ? rows : [none]));
}

function show(snapshot) {
  showTotals(snapshot);
  showVerdicts(snapshot.seconds);
  showLatency(snapshot.seconds);
  showAgents(snapshot.agents);
  showLog(snapshot.log, snapshot.refusals, snapshot.now_ms);
  showRecent(snapshot.recent, snapshot.now_ms);
  seen = Math.max(seen, ...snapshot.log.map((entry) => entry.n), ...snapshot.recent.map((entry) => entry.n));
}

function tell(state, text) {
  if (byId("link").dataset.state === state) return;
  byId("link").dataset.state = state;
  byId("link-text").textContent = text;
}

byId("legend").replaceChildren(...STACK.map((hue) => element("li", {},
  element("svg", { viewBox: "0 0 14 10", "aria-hidden": "true" }, element("rect", { "data-hue": hue, width: 14, height: 10, rx: 2 })), LEGEND[hue])));

// The browser connects again by itself.
const events = new EventSource("events");
events.onmessage = (event) => {
  show(JSON.parse(event.data));
  tell("live", "live");
};
events.onerror = () => tell("lost", "the gateway does not answer");
