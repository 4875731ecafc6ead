// What every test in a browser stands on: the browser, a visit (a page in it at one size) with what is looked
// for in it, and the list of what was not as wanted.
//   PANORMUS_URL      where the server is, http://127.0.0.1:8080
//   PANORMUS_TIMEOUT  how long to wait for something to appear, in ms
//   PANORMUS_SHOTS    folder for screenshots (optional)
//   PANORMUS_VERBOSE  says what is as wanted, too (optional)
//   CHROMIUM          the browser, /usr/bin/chromium by default
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const shots = process.env.PANORMUS_SHOTS;
const verbose = Boolean(process.env.PANORMUS_VERBOSE);
const patience = Number(process.env.PANORMUS_TIMEOUT ?? 60_000);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const sizes = [
  { name: '1920x1080', width: 1920, height: 1080 },
  { name: '1280x720', width: 1280, height: 720 },
  { name: '390x844', width: 390, height: 844, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
];
export const desk = sizes[1];

const complaints = [];
let checked = 0;
export function check(ok, what) {
  checked++;
  if (!ok) complaints.push(what);
  if (!ok || verbose) console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
}

/** Says what was not as wanted and ends the process. */
export function verdict(subject) {
  if (complaints.length > 0) {
    console.error(`\n${subject} is not as wanted:\n${[...new Set(complaints)].map((c) => `  ${c}`).join('\n')}`);
    process.exit(1);
  }
  console.log(`${subject} is as wanted: ${checked} checks`);
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });

/** A server may have no base map: the browser's complaint about the 404 is none of ours. */
const optional = (url) => url.endsWith('/map/basemap.geojson');

/**
 * A page of its own at one size. `name` goes before everything that is said of it. Errors in the console, answers
 * of 400 and above, but of addresses that `refused` says are wanted, and requests to another host are complaints by
 * themselves.
 */
export async function visit(browser, { size = desk, name = size.name, base = process.env.PANORMUS_URL ?? 'http://127.0.0.1:8080', refused = () => false, ...extra } = {}) {
  const { name: _name, width, height, ...rest } = size;
  const context = await browser.newContext({ viewport: { width, height }, locale: 'it-IT', timezoneId: 'Europe/Rome', ...rest, ...extra });
  context.setDefaultTimeout(patience); // of what is gone to and clicked, too: a slow machine is no fault
  const page = await context.newPage();
  await page.addInitScript(watchShifts);
  const at = (what) => `${name}: ${what}`;
  page.on('console', (m) => {
    if (m.type() === 'error' && !optional(m.location().url) && !refused(m.location().url)) check(false, at(`console: ${m.text()} (${m.location().url})`));
  });
  page.on('pageerror', (err) => check(false, at(`page error: ${err.stack ?? err}`)));
  page.on('request', (r) => {
    if (/^(data|blob):/.test(r.url())) return;
    if (new URL(r.url()).origin !== new URL(base).origin) check(false, at(`request to another host: ${r.url()}`));
  });
  page.on('response', (r) => {
    if (r.status() >= 400 && !optional(r.url()) && !refused(r.url())) check(false, at(`${r.status()} for ${r.url()}`));
  });
  return new Visit(page, base, size, name);
}

/** Runs before the page: `shifts` is how far what was shown moved without being scrolled, as browsers reckon it. */
function watchShifts() {
  globalThis.shifts = [];
  const place = (el) => (el?.nodeType === 1 ? el : el?.parentElement)?.outerHTML?.slice(0, 80) ?? 'what is gone';
  new PerformanceObserver((list) => {
    for (const e of list.getEntries()) globalThis.shifts.push({ value: e.value, what: e.sources.slice(0, 2).map((s) => place(s.node)).join(' and ') });
  }).observe({ type: 'layout-shift', buffered: true });
}
const mostShift = 0.1; // the web's own measure of a page that stands still

class Visit {
  constructor(page, base, size, name) {
    Object.assign(this, { page, base, size, name, patience, phone: size.width < 768 });
  }

  check(ok, what) {
    check(ok, `${this.name}: ${what}`);
  }

  go(path, options) {
    return this.page.goto(this.base + path, options);
  }

  path() {
    return new URL(this.page.url()).pathname;
  }

  /** Waits for a selector; the message says what was wanted rather than which selector. */
  appears(selector, what, options = {}) {
    return this.#within(this.page.locator(selector).first().waitFor({ timeout: patience, ...options }), what);
  }

  /** Waits until fn, in the page, is true of arg. */
  until(fn, arg, what) {
    return this.#within(this.page.waitForFunction(fn, arg, { timeout: patience }), what);
  }

  async #within(waiting, what) {
    const left = await waiting.then(
      () => '',
      (err) => (/timeout/i.test(err.message) ? `not within ${patience / 1000} s` : err.message),
    );
    this.check(left === '', left === '' ? what : `${what}: ${left}`);
    return left === '';
  }

  /** Nothing is wider than the window. */
  async fits(view) {
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    this.check(wide <= 0, `${view}: nothing wider than the window${wide > 0 ? ` (by ${wide} px)` : ''}`);
  }

  /** What came later and pushed something away since the page was opened, or since this was asked last; a push that follows an act counts, too. */
  async shifts() {
    const all = await this.page.evaluate(() => globalThis.shifts.splice(0));
    const sum = all.reduce((n, e) => n + e.value, 0);
    return { all, sum, still: sum < mostShift };
  }

  /** What shifts says is that the view stood still. */
  stood(view, { all, sum, still }) {
    const what = still ? '' : all.filter((s) => s.value > 0.01).map((s) => `\n      ${s.value.toFixed(3)} ${s.what}`).join('');
    this.check(still, `${view}: it stands still (${sum.toFixed(3)}, less than ${mostShift} is wanted)${what}`);
  }

  async accessible(view) {
    await this.page.evaluate(axe);
    const serious = await this.page.evaluate(async () => {
      const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
      return violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3).join(' | ')}`);
    });
    this.check(serious.length === 0, `${view}: no serious accessibility violation${serious.length ? `: ${serious.join('; ')}` : ''}`);
  }

  async shot(view) {
    if (!shots) return;
    mkdirSync(shots, { recursive: true });
    await this.page.screenshot({ path: join(shots, `${view}-${this.name}.png`.replaceAll(' ', '-')) });
  }

  /** What holds of every view: it fits, it is accessible; and a picture of it. */
  async look(view) {
    await this.fits(view);
    await this.shot(view);
    await this.accessible(view);
  }

  close() {
    return this.page.context().close();
  }
}
