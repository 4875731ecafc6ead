// How the page looks: every view over a made-up city whose clock stands still, `node e2e/looks.mjs`.
//
// Each view is opened at three sizes, dark and in English, at twice the size and at 320 pixels (WCAG 1.4.10). In all
// of them nothing may be cut off, covered or wider than the window, nothing may move where motion is not wanted, and
// axe must find nothing serious. Its picture is compared with the one in looks: as thumbnails, so that only what has
// another shape, place or colour counts, not how a machine draws letters. Whoever changes how the page looks runs
//   node e2e/looks.mjs --update     and looks at what changed: git diff, or PANORMUS_SHOTS=folder for the full pictures
//   node e2e/looks.mjs --only alarms    only views whose name has this in it
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startMock } from '../dev/mock.mjs';
import * as alarms from './areas/alarms.mjs';
import { check, desk, launch, sizes, verdict, visit } from './harness.mjs';
import { difference, faults, grain, thumbnail } from './layout.mjs';
import { views } from './views.mjs';

const folder = join(import.meta.dirname, 'looks');
const update = process.argv.includes('--update');
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : '';
const most = 0.03; // of a picture may differ
// A Monday morning before any clock that runs this: what the page reckons from its worker's real clock is then "now".
const at = Date.parse('2025-06-16T08:30:00Z');

/** How the views are opened: what is checked of all, and what more of each. */
const ways = [
  ...sizes.map((size) => ({ name: size.name, size, pictured: true, axe: size !== sizes[0] })),
  { name: 'dark', size: desk, colorScheme: 'dark', locale: 'en-GB', pictured: true, axe: true },
  { name: '200%', size: { name: '200%', width: 640, height: 360, deviceScaleFactor: 2 } },
  { name: '320px', size: { name: '320px', width: 320, height: 640, isMobile: true, hasTouch: true }, locale: 'en-GB' },
];

const mock = await startMock({ port: 0, devices: 900, alarms: 60, seed: 7, at, heartbeat: 1000, quiet: true });
process.env.PANORMUS_URL = mock.url;
const browser = await launch();
const tool = await (await browser.newContext()).newPage();

/** Runs before the page: its clock is at `at` when it opens, and goes on. */
function beginsAt(at) {
  const Real = Date;
  const shift = at - Real.now();
  globalThis.Date = class extends Real {
    constructor(...args) {
      if (args.length > 0) super(...args);
      else super(Real.now() + shift);
    }
    static now = () => Real.now() + shift;
  };
}

/** Answers come one after another, and on the phone as late as they may: what is shown first must not be pushed away. */
async function inTurn(route) {
  const late = [...new URL(route.request().url()).pathname].reduce((h, c) => (31 * h + c.charCodeAt(0)) % 251, 7);
  await new Promise((done) => setTimeout(done, late)); // ms
  await route.continue().catch(() => undefined); // the page may have gone on
}

/** A picture of what is shown, as a thumbnail in base64. */
async function picture(v) {
  const png = (await v.page.screenshot({ scale: 'css', animations: 'disabled', caret: 'hide' })).toString('base64');
  return tool.evaluate(thumbnail, [png, grain(v.size.width)]);
}

/** Looks again until what is shown is as it was: a slow machine may still draw the map. */
async function compare(v, view) {
  const file = join(folder, `${view}-${v.name}.png`);
  if (update || !existsSync(file)) {
    v.check(update, `${view}: there is a picture to compare with`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, Buffer.from(await picture(v), 'base64'));
    return;
  }
  const was = readFileSync(file).toString('base64');
  const until = Date.now() + 20_000;
  let share;
  do share = await tool.evaluate(difference, [was, await picture(v)]);
  while (share > most && Date.now() < until);
  v.check(share <= most, `${view}: it looks as it did (${(100 * share).toFixed(1)} % differs, ${100 * most} % may)`);
}

/** Opens a view and does what it says. What moves has three tries: on a slow machine parts of a view come apart, but not each time. */
async function open(v, view) {
  for (let left = 2; ; left--) {
    await v.go(view.path);
    await v.appears('[data-testid=feed-state][data-state=live]', `${view.name}: the feed is live`, { state: 'attached' });
    if (!(await v.appears(view.ready, `${view.name}: it is shown`, { state: 'attached' }))) return false;
    const opened = await v.shifts();
    await view.act?.(v);
    const then = view.still && v.size.width >= 640 ? await v.shifts() : opened;
    if (left > 0 && !(opened.still && then.still)) continue;
    v.stood(view.name, opened);
    if (then !== opened) v.stood(`${view.name}, then`, then);
    return true;
  }
}

try {
  for (const { name, size, pictured, axe, ...extra } of ways) {
    const v = await visit(browser, { name, size, reducedMotion: 'reduce', ...extra });
    await v.page.addInitScript(beginsAt, at);
    if (v.phone) await v.page.route(/\/api\//, inTurn);
    for (const view of views) {
      if (!view.name.includes(only)) continue;
      if (!(await open(v, view))) continue;
      await v.page.evaluate(() => document.fonts.ready);
      await v.until(() => document.getAnimations().every((a) => a.playState !== 'running'), null, `${view.name}: nothing moves`);
      await v.fits(view.name);
      const wrong = await v.page.evaluate(faults);
      v.check(wrong.length === 0, `${view.name}: nothing is covered or cut off${wrong.map((w) => `\n      ${w}`).join('')}`);
      if (pictured) await compare(v, view.name);
      await v.shot(view.name);
      if (axe) await v.accessible(view.name);
    }
    await v.close();
  }
  if (!only || 'alarms'.includes(only)) {
    await alarms.once(browser, { eventText: 'of the made-up city' });
    let raised = 0;
    await alarms.calm(browser, (severity) => mock.raise([...mock.city.values()][++raised], severity, 'calm', `calm ${raised}`));
  }
} catch (err) {
  check(false, String(err.stack ?? err));
} finally {
  await browser.close();
  await mock.close();
}
verdict('the look of the page');
