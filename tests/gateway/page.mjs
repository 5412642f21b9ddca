// Watches the gateway's page in a browser while agents come and go and clients ask.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

// A browser that talks to nobody but the page.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const PATIENCE = 60_000;

// Starts a gateway on free ports and reads where it is.
async function gateway(...words) {
  const child = spawn(process.env.GATEWAY, ["--port", "0", "--status-port", "0", ...words], { stdio: ["pipe", "pipe", "inherit"] });
  const places = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [, name, place] = line.match(/^the (proxy|page)\s+(\S+)/) ?? [];
    if (name) places[name] = place;
    if (places.proxy && places.page) break;
  }
  child.stdout.resume();
  return { ...places, child, say: (line) => child.stdin.write(`${line}\n`) };
}

async function ask(site, path, body) {
  const response = await fetch(site.proxy + path, { method: body ? "POST" : "GET", body, redirect: "manual" });
  return { status: response.status, text: await response.text() };
}

// Opens the page, and listens to what it complains of and whom it calls.
async function open(browser, site, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.setDefaultTimeout(PATIENCE);
  const [complaints, calls] = [[], []];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => calls.push(request.url()));
  await page.goto(site.page);
  return { page, complaints, calls };
}

// Waits until an element's text is, or holds, what it should.
async function shows(page, selector, wanted) {
  try {
    await page.waitForFunction(([selector, wanted]) => {
      const text = document.querySelector(selector)?.textContent ?? "";
      return text.includes(wanted);
    }, [selector, wanted]);
  } catch {
    const text = await page.locator(selector).first().textContent({ timeout: 1_000 }).catch(() => "nothing");
    assert.fail(`${selector} never showed ${JSON.stringify(wanted)}; it shows ${JSON.stringify(text)}`);
  }
}

// The tile's number is exactly that, in the end.
async function total(page, name, number) {
  await page.waitForFunction(([id, number]) => document.querySelector(id)?.textContent === String(number), [`#total-${name} dd`, number])
    .catch(async () => assert.fail(`${name} is ${await page.locator(`#total-${name} dd`).textContent()}, not ${number}`));
}

async function watch(browser) {
  const site = await gateway("--manual");
  try {
    const { page, complaints, calls } = await open(browser, site);
    await shows(page, "#link-text", "live");
    await shows(page, "#agents", "No agent has come yet.");
    assert.equal((await ask(site, "/")).status, 503);
    await total(page, "failed", 1);
    await shows(page, "#recent tr:first-child", "no verdict: no agent");

    site.say("come guard");
    await shows(page, "#agent-guard .pill", "1 connection");
    await shows(page, "#log li:first-child", "guard came");
    assert.deepEqual(await Promise.all(["/", "/admin", "/old", "/vault"].map(async (path) => (await ask(site, path)).status)), [200, 403, 302, 401]);
    assert.equal((await ask(site, "/echo", "an attack")).status, 422);
    assert.match((await ask(site, "/letter")).text, /4111 1111/);
    await total(page, "allowed", 2);
    await total(page, "blocked", 2);
    await total(page, "steered", 2);
    await total(page, "unasked", 2);
    assert.ok(await page.locator("#verdicts rect").count() >= 3, "bars for three verdicts");
    await page.waitForFunction(() => (document.querySelector("#latency .p50")?.getAttribute("d") ?? "").startsWith("M"));

    site.say("come editor");
    await shows(page, "#agent-editor .pill", "1 connection");
    assert.match((await ask(site, "/letter")).text, /\*\*\*\* \*\*\*\*/);
    await total(page, "edited", 1);

    assert.equal((await ask(site, "/slow")).status, 200);
    await shows(page, "#recent tr:first-child", "GET /slow");

    site.say("come guard");
    await shows(page, "#agent-guard .pill", "2 connections");
    site.say("kill guard");
    await shows(page, "#agent-guard .pill", "1 connection");
    await shows(page, "#log li:first-child", "guard left");
    await shows(page, "#said", "agent guard left");
    assert.equal((await ask(site, "/")).status, 200);
    site.say("go guard");
    await shows(page, "#agent-guard .pill", "away");
    assert.equal(await page.locator("#agent-guard").getAttribute("data-state"), "away");
    assert.equal((await ask(site, "/")).status, 503);
    await total(page, "failed", 2);
    site.say("knock");
    await shows(page, "#refusals", "1 × not allowed");
    site.say("come guard");
    await shows(page, "#agent-guard .pill", "1 connection");
    assert.equal((await ask(site, "/")).status, 200);

    // What an agent or a client says is text, not markup.
    await ask(site, "/%3Cimg%20src=x%3E");
    await shows(page, "#recent tr:first-child", "GET /%3Cimg");
    await readable(page);
    assert.ok(calls.every((call) => call.startsWith(site.page)), `it calls elsewhere: ${calls}`);
    assert.deepEqual(complaints, []);

    // A phone has the same page, and nothing sticks out of it.
    const phone = await open(browser, site, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
    await shows(phone.page, "#agent-guard .pill", "1 connection");
    const [wide, inner] = await phone.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= inner, `${wide} wide in ${inner}`);
    await readable(phone.page);
    await phone.page.close();

    site.child.kill("SIGKILL");
    await shows(page, "#link-text", "the gateway does not answer");
    await page.close();
  } finally {
    site.child.kill("SIGKILL");
  }
}

// Named sections and charts, and text that stands out from its ground by 4.5 to 1.
async function readable(page) {
  for (const [role, name] of [["region", "Agents"], ["region", "Comings and goings"], ["img", /Verdicts per second/], ["img", /Answer time/],
    ["article", "agent guard"], ["columnheader", "Verdict"], ["link", "Skip to the agents"]]) {
    assert.equal(await page.getByRole(role, { name }).count(), 1, `one ${role} is called ${name}`);
  }
  const faint = await page.evaluate(() => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    // The colour that is seen where these lie upon each other, the lowest first.
    const mix = (colours) => {
      canvas.clearRect(0, 0, 1, 1);
      for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
      const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
      if (!own || node.closest("script, style, noscript, .hidden, .skip, svg")) continue;
      const grounds = [];
      for (let at = node; at; at = at.parentElement) if (!at.closest("tr.fresh") || at === node) grounds.unshift(getComputedStyle(at).backgroundColor);
      const [text, ground] = [light(mix([...grounds, getComputedStyle(node).color])), light(mix(grounds))];
      const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
      if (ratio < 4.5) found.push(`${node.className || node.tagName} ${JSON.stringify(node.textContent.slice(0, 20))} ${ratio.toFixed(2)}`);
    }
    return [...new Set(found)];
  });
  assert.deepEqual(faint, [], "text that is hard to read");
}

// A minute at work.
async function picture(browser, path) {
  const site = await gateway();
  try {
    const { page } = await open(browser, site, { viewport: { width: 1180, height: 900 } });
    await shows(page, "#link-text", "live");
    await page.waitForTimeout(66_000);
    await page.screenshot({ path, fullPage: true });
  } finally {
    site.child.kill("SIGKILL");
  }
}

const at = process.argv.indexOf("--screenshot");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
try {
  await watch(browser);
  console.log("gateway: the page shows what happens");
  if (at > 0) await picture(browser, process.argv[at + 1]);
} finally {
  await browser.close();
}
