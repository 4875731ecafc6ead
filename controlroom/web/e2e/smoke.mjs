// The page against a running server, in a real browser: `node e2e/smoke.mjs` with
//   PANORMUS_URL         where the server is, http://127.0.0.1:8080
//   PANORMUS_DEVICE      an asset that has just published (optional: then any asset will do)
//   PANORMUS_EVENT_TEXT  text of an event that must be in the list (optional)
//   PANORMUS_CAMERA      a camera that has just been counted: people and cars came and left (optional)
//   PANORMUS_SHOTS       folder for screenshots (optional)
//   CHROMIUM             the browser, /usr/bin/chromium by default
// Exits 0, or 1 with what was wanted and what was there.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const base = process.env.PANORMUS_URL ?? 'http://127.0.0.1:8080';
const shots = process.env.PANORMUS_SHOTS;
const eventText = process.env.PANORMUS_EVENT_TEXT;
const camera = process.env.PANORMUS_CAMERA;
const patience = Number(process.env.PANORMUS_TIMEOUT ?? 30_000);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const sizes = [
  { name: '1920x1080', width: 1920, height: 1080 },
  { name: '1280x720', width: 1280, height: 720 },
  { name: '390x844', width: 390, height: 844, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
];

const complaints = [];
function check(ok, what) {
  if (!ok) complaints.push(what);
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
}

/** Waits for a selector; the message says what was wanted rather than which selector. */
async function appears(page, selector, what, options = {}) {
  try {
    await page.locator(selector).first().waitFor({ timeout: patience, ...options });
    check(true, what);
    return true;
  } catch {
    check(false, `${what}: not within ${patience / 1000} s`);
    return false;
  }
}

async function until(page, fn, arg, what) {
  try {
    await page.waitForFunction(fn, arg, { timeout: patience });
    check(true, what);
  } catch {
    check(false, `${what}: not within ${patience / 1000} s`);
  }
}

/** A server may have no base map: the browser's complaint about the 404 is none of ours. */
const optional = (url) => url.endsWith('/map/basemap.geojson');

async function open(browser, size, extra = {}) {
  const { name: _name, width, height, ...rest } = size;
  const context = await browser.newContext({ viewport: { width, height }, locale: 'it-IT', timezoneId: 'Europe/Rome', ...rest, ...extra });
  const page = await context.newPage();
  page.on('console', (m) => {
    if (m.type() === 'error' && !optional(m.location().url)) check(false, `console: ${m.text()} (${m.location().url})`);
  });
  page.on('pageerror', (err) => check(false, `page error: ${err.stack ?? err}`));
  page.on('request', (r) => {
    if (/^(data|blob):/.test(r.url())) return;
    const { origin } = new URL(r.url());
    if (origin !== new URL(base).origin) check(false, `request to another host: ${r.url()}`);
  });
  page.on('response', (r) => {
    if (r.status() >= 400 && !optional(r.url())) check(false, `${r.status()} for ${r.url()}`);
  });
  return page;
}

const shot = async (page, name) => {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
};

/** No control is cut off, nothing scrolls sideways. */
async function fits(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(wide <= 0, `${name}: nothing wider than the window${wide > 0 ? ` (by ${wide} px)` : ''}`);
}

async function accessible(page, name) {
  await page.evaluate(axe);
  const serious = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
    return violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3).join(' | ')}`);
  });
  check(serious.length === 0, `${name}: no serious accessibility violation${serious.length ? `: ${serious.join('; ')}` : ''}`);
}

/** The camera is listed, and its panel shows how it is, what it counts and where. */
async function cameraPanel(page, at) {
  const row = `[data-testid=camera-row][data-id=${JSON.stringify(camera)}]`;
  await page.getByTestId('cameras-filter').fill(camera);
  await appears(page, row, at(`the cameras view finds ${camera}`));
  await page.getByTestId('cameras-sort-seen').click();
  await until(page, () => document.querySelector('th[aria-sort] [data-testid=cameras-sort-seen]') !== null, null, at('the cameras sort'));
  await page.locator(`${row} a`).click();
  await appears(page, '[data-testid=camera][data-state=ok]', at('the panel says that the camera works'), { state: 'attached' });
  await until(page, () => Number(document.querySelector('[data-value=people_present]')?.textContent?.replace(',', '.')) >= 0, null, at('the newest minute is shown'));
  await until(page, () => /\bcar\b/.test(document.querySelector('[data-testid=camera-counts]')?.dataset.classes ?? ''), null, at('cars are counted over time'));
  await until(page, () => document.querySelector('[data-testid=camera-zone][data-zone=gate][data-class=car]') !== null, null, at('the line has its figures'));
  await until(page, () => Number(document.querySelector('[data-testid=camera-heat]')?.dataset.max) >= 5, null, at('the heat map has cells'));
  const slider = page.getByTestId('heat-hour');
  await slider.focus();
  await page.keyboard.press('End');
  await until(page, () => document.querySelector('[data-testid=heat-hour]')?.getAttribute('aria-valuetext') === '23–00', null, at('the hour is chosen by keyboard'));
  await page.keyboard.press('Home');
  await page.waitForTimeout(800);
  await fits(page, at('camera'));
  await shot(page, at('camera').replace(': ', '-'));
  await accessible(page, at('camera'));
  await page.getByTestId('asset-close').click();
  await page.getByTestId('cameras-filter').fill('');
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
});

let wanted = process.env.PANORMUS_DEVICE;
try {
  for (const size of sizes) {
    const at = (what) => `${size.name}: ${what}`;
    const phone = size.width < 768;
    const page = await open(browser, size);
    const started = Date.now();
    await page.goto(base, { waitUntil: 'commit' });
    await appears(page, '[data-testid=feed-state][data-state=live]', at('the feed is live'));
    await until(page, () => Number(document.querySelector('[data-testid=count-all]')?.dataset.total) > 0, null, at('assets are counted'));
    console.log(`     first useful view after ${Date.now() - started} ms`);
    await appears(page, '[data-testid=map][data-ready=true][data-renderer=webgl]', at('the map is drawn by WebGL'));
    if (eventText) await appears(page, `[data-testid=event]:has-text(${JSON.stringify(eventText)})`, at(`the event "${eventText}" is listed`), { state: 'attached' });
    await until(page, () => document.querySelector('[data-testid=rate-received]') !== null, null, at('rates are shown'));
    await page.waitForTimeout(1500); // the map's own fading and labels
    await fits(page, size.name);
    await shot(page, `city-${size.name}`);
    await accessible(page, size.name);

    // Every asset is in the table, which finds and sorts.
    await page.getByTestId('nav-table').click();
    await appears(page, '[data-testid=row]', at('the table has rows'));
    wanted ??= await page.evaluate(async () => {
      // One with values to chart: cameras show theirs in their own way.
      const { devices } = await (await fetch('/api/v1/state?limit=1000')).json();
      return devices.find((d) => Object.keys(d.values).some((m) => /^(power_w|fill_pct|temperature)/.test(m)))?.id ?? devices[0].id;
    });
    await page.getByTestId('table-filter').fill(wanted);
    await appears(page, `[data-testid=row][data-id=${JSON.stringify(wanted)}]`, at(`the table finds ${wanted}`));
    await page.getByTestId('table-filter').fill('');
    await page.getByTestId('sort-id').click();
    await until(page, () => document.querySelector('th[aria-sort=ascending] [data-testid=sort-id]') !== null, null, at('the table sorts by id'));
    await fits(page, `${size.name} table`);
    await shot(page, `table-${size.name}`);
    await accessible(page, `${size.name} table`);

    // A domain has its address, its figures, its devices and its groups.
    await page.getByTestId('nav-domains').click();
    await appears(page, '[data-testid=domain-row] a', at('the domains are listed'));
    await page.locator('[data-testid=domain-row][data-id=lighting] a').click();
    check(new URL(page.url()).pathname === '/domains/lighting', at('a domain has an address'));
    await appears(page, '[data-testid=figures][data-ready=true]', at('the figures of the lighting are told'));
    await page.getByTestId('groups-by').selectOption('street');
    await appears(page, '[data-testid=group-row]', at('the lighting is summed up by street'));
    await until(page, () => Number(document.querySelector('[data-figure=devices]')?.textContent?.replace(/\D/g, '')) > 0, null, at('the lamps are counted'));
    await fits(page, `${size.name} lighting`);
    await shot(page, `lighting-${size.name}`);
    await accessible(page, `${size.name} lighting`);
    if (size === sizes[1]) {
      for (const [domain, shown] of [['mobility', '[data-testid=list-buses]'], ['environment', '[data-testid=air]'], ['waste', '[data-testid=round]'], ['parking', '[data-testid=list-areas]'], ['water', '[data-testid=figures]']]) {
        await page.goto(`${base}/domains/${domain}`);
        await appears(page, `[data-testid=domain][data-domain=${domain}] ${shown}`, at(`the domain ${domain} is shown`));
        await fits(page, `${size.name} ${domain}`);
        await shot(page, `${domain}-${size.name}`);
        await accessible(page, `${size.name} ${domain}`);
      }
      await page.goto(`${base}/table`);
    }
    await page.getByTestId('count-all').click();

    // The cameras view has its address, with or without cameras.
    await page.getByTestId('nav-cameras').click();
    await appears(page, '[data-testid=cameras-total]', at('the cameras view counts cameras'));
    check(new URL(page.url()).pathname === '/cameras', at('the cameras view has an address'));
    if (camera) await cameraPanel(page, at);
    await page.waitForTimeout(800);
    await fits(page, `${size.name} cameras`);
    await shot(page, `cameras-${size.name}`);
    await accessible(page, `${size.name} cameras`);

    // The alarms, and how their system does.
    await page.getByTestId('nav-alarms').click();
    await appears(page, '[data-testid=alarms-total]', at('alarms are counted'));
    await page.waitForTimeout(500);
    await fits(page, `${size.name} alarms`);
    await shot(page, `alarms-${size.name}`);
    await accessible(page, `${size.name} alarms`);
    await page.getByTestId('alarms-health').click();
    await appears(page, '[data-testid=rate-chart]', at('the health of the alarm system is shown'));
    check(new URL(page.url()).pathname === '/alarms/health', at('the health has an address'));
    await fits(page, `${size.name} health`);
    await shot(page, `health-${size.name}`);
    await accessible(page, `${size.name} health`);

    // A rule has its address; its text is checked as it is typed, and problems say where they are.
    await page.getByTestId('nav-rules').click();
    await appears(page, '[data-testid=rule-row]', at('the rules are listed'));
    await fits(page, `${size.name} rules`);
    await shot(page, `rules-${size.name}`);
    await accessible(page, `${size.name} rules`);
    const rule = await page.locator('[data-testid=rule-row]').first().getAttribute('data-id');
    await page.locator('[data-testid=rule-row] a').first().click();
    check(new URL(page.url()).pathname === `/rules/${encodeURIComponent(rule)}`, at('a rule has an address'));
    await appears(page, '[data-testid=rule-editor][data-state=done][data-problems="0"]', at('the rule has no problems'));
    const written = await page.getByTestId('rule-text').inputValue();
    await page.getByTestId('rule-text').fill(written.replace('severity:', 'severty:'));
    await until(page, () => Number(document.querySelector('[data-testid=rule-editor]')?.dataset.problems) > 0, null, at('a misspelt rule is told as it is typed'));
    await fits(page, `${size.name} rule`);
    await shot(page, `rule-${size.name}`);
    await accessible(page, `${size.name} rule`);
    await page.getByTestId('rule-text').fill(written);
    await until(page, () => document.querySelector('[data-testid=rule-editor]')?.dataset.problems === '0', null, at('the mended rule has no problems'));

    await page.getByTestId('rule-back').click();
    await page.getByTestId('rules-filter').fill('lamp-dead');
    await page.locator('[data-testid=rule-row][data-id=lamp-dead] a').click();
    await appears(page, '[data-testid=rule][data-id=lamp-dead] [data-testid=backtest]', at('a rule on observations can be tried'));
    await page.getByTestId('backtest-span').selectOption('1');
    await page.getByTestId('backtest-run').click();
    await until(page, () => document.querySelector('[data-testid=backtest]')?.dataset.raised !== undefined, null, at('the past is told'));
    await page.getByTestId('backtest-run').scrollIntoViewIfNeeded();
    await fits(page, `${size.name} backtest`);
    await shot(page, `backtest-${size.name}`);
    await accessible(page, `${size.name} backtest`);

    // The radio view has its address and its headings, with or without gateways.
    await page.getByTestId('nav-radio').click();
    await appears(page, '[data-testid=radio-gateways]', at('the radio view lists gateways'));
    await appears(page, '[data-testid=radio-devices]', at('the radio view lists devices'));
    check(new URL(page.url()).pathname === '/radio', at('the radio view has an address'));
    await page.waitForTimeout(800);
    await fits(page, `${size.name} radio`);
    await shot(page, `radio-${size.name}`);
    await accessible(page, `${size.name} radio`);
    await page.getByTestId('nav-map').click();

    // The search opens the asset's panel with its values and its last hour.
    await page.getByTestId('search').fill(wanted);
    await page.locator(`[data-testid=search-hit][data-id=${JSON.stringify(wanted)}]`).click({ timeout: patience });
    await appears(page, `[data-testid=asset][data-id=${JSON.stringify(wanted)}] [data-testid=value]`, at(`the panel of ${wanted} shows values`));
    await until(page, () => Number(document.querySelector('[data-testid=chart]')?.dataset.points) > 0, null, at('the chart has points'));
    check(new URL(page.url()).pathname === `/asset/${encodeURIComponent(wanted)}`, at('the panel has an address'));
    await page.waitForTimeout(800);
    await fits(page, `${size.name} asset`);
    await shot(page, `asset-${size.name}`);
    await accessible(page, `${size.name} asset`);

    if (phone) {
      await page.getByTestId('sheet').click();
      await page.waitForTimeout(300);
      await shot(page, `asset-full-${size.name}`);
    }

    // Both languages; the choice survives a reload, the panel too: it is an address.
    await page.getByTestId('lang-en').click();
    await until(page, () => document.documentElement.lang === 'en', null, at('English'));
    await page.reload();
    await until(page, () => document.documentElement.lang === 'en', null, at('still English after a reload'));
    await appears(page, `[data-testid=asset][data-id=${JSON.stringify(wanted)}] [data-testid=value]`, at('the deep link opens the panel'));
    await page.getByTestId('asset-close').click();
    await until(page, () => document.querySelector('[data-testid=asset]') === null, null, at('the panel closes'));
    await page.context().close();
  }

  // Dark, and without WebGL.
  const dark = await open(browser, sizes[1], { colorScheme: 'dark' });
  await dark.goto(base);
  await appears(dark, '[data-testid=map][data-ready=true]', 'dark: the map is drawn');
  await appears(dark, '[data-testid=feed-state][data-state=live]', 'dark: the feed is live');
  await dark.waitForTimeout(1500);
  await shot(dark, 'dark-1280x720');
  await accessible(dark, 'dark');
  // The other theme than the system's is kept over a reload; back again follows the system.
  await dark.getByTestId('theme').click();
  await until(dark, () => document.documentElement.dataset.theme === 'light' && getComputedStyle(document.body).color === 'rgb(26, 26, 26)', null, 'the theme is switched to light');
  await dark.goto(`${base}/domains/environment`);
  await until(dark, () => document.documentElement.dataset.theme === 'light', null, 'the theme is kept');
  await dark.getByTestId('theme').click();
  await until(dark, () => document.documentElement.dataset.theme === 'dark', null, 'the theme is switched back');
  await appears(dark, '[data-testid=air]', 'dark: air and noise are shown');
  await accessible(dark, 'dark environment');
  await dark.getByTestId('sound').click();
  await appears(dark, '[data-testid=sound][aria-pressed=true]', 'the sound is on');
  await dark.getByTestId('nav-statement').click();
  await appears(dark, '[data-testid=statement] h3', 'the accessibility statement is shown');
  check(new URL(dark.url()).pathname === '/accessibility', 'the statement has an address');
  await accessible(dark, 'dark statement');

  // The wall: a round of views, no bars to scroll, larger on a larger display; it can be held and left.
  await dark.setViewportSize({ width: 1920, height: 1080 });
  await dark.goto(`${base}/wall?views=domains/lighting,alarms&seconds=600`);
  await appears(dark, '[data-testid=wall][data-view=domains]', 'the wall shows its first view');
  await appears(dark, '[data-testid=figures][data-ready=true]', 'the wall shows figures');
  check((await dark.locator('nav[aria-label]').count()) === 1, 'the wall has no menu, only the domains');
  check(await dark.evaluate(() => document.querySelector('h2').getBoundingClientRect().height > 30), 'the wall is large');
  await fits(dark, 'wall');
  await shot(dark, 'wall-1920x1080');
  await accessible(dark, 'wall');
  await dark.getByTestId('wall-next').click();
  await appears(dark, '[data-testid=wall][data-view=alarms]', 'the wall goes on');
  check(new URL(dark.url()).pathname === '/wall', 'the wall keeps its address');
  await dark.getByTestId('wall-leave').click();
  await appears(dark, '[data-testid=nav-alarms][aria-current=page]', 'the wall is left where it was');
  await dark.setViewportSize({ width: 1280, height: 720 });

  // A replay says that it is not live, shows the city as it was, stands still and goes on.
  await dark.goto(`${base}/replay?at=${new Date(Date.now() - 20_000).toISOString()}`);
  await appears(dark, '[data-testid=replay][data-loading=false]', 'replay: the moment is shown');
  if (eventText) await until(dark, () => Number(document.querySelector('[data-testid=count-all]')?.dataset.abnormal) > 0, null, 'replay: what was abnormal then is');
  check((await dark.locator('[data-testid=feed-state]').count()) === 0 && (await dark.title()).includes('Non in diretta'), 'replay: nothing says that it is live');
  await until(dark, () => document.querySelector('[data-testid=replay]')?.dataset.playing === 'false', null, 'replay: it ends where the present begins');
  await dark.getByTestId('replay-slider').focus();
  await dark.keyboard.press('ArrowLeft');
  await until(dark, (at) => Number(document.querySelector('[data-testid=replay]')?.dataset.at) < at, Date.now() - 40_000, 'replay: the keyboard goes a minute back');
  await dark.getByTestId('replay-table').click();
  await appears(dark, '[data-testid=row]', 'replay: the table is there too');
  check(new URL(dark.url()).pathname === '/replay', 'replay: the address stays');
  await fits(dark, 'replay');
  await shot(dark, 'replay-1280x720');
  await accessible(dark, 'replay');
  await dark.getByTestId('replay-leave').click();
  await appears(dark, '[data-testid=feed-state][data-state=live]', 'replay: it is left for the present');
  await dark.goto(`${base}/?renderer=canvas`);
  await appears(dark, '[data-testid=map][data-renderer=canvas]', 'the map is drawn on a canvas');
  await until(dark, () => Number(document.querySelector('[data-testid=map]')?.dataset.placed) > 0, null, 'canvas: assets are on the map');
  if (camera) await until(dark, () => Number(document.querySelector('[data-testid=map]')?.dataset.cones) > 0, null, 'canvas: the camera has its cone');
  await dark.waitForTimeout(500);
  await shot(dark, 'canvas-1280x720');

  await dark.context().close();

  // Keyboard alone: skip link, then the events by arrows, Enter opens the asset.
  const keys = await open(browser, sizes[1]);
  await keys.goto(base);
  await appears(keys, '[data-testid=feed-state][data-state=live]', 'keyboard: the feed is live');
  await keys.keyboard.press('Tab');
  check(await keys.evaluate(() => document.activeElement?.classList.contains('skip')), 'keyboard: the first stop is the skip link');
  if ((await keys.locator('[data-testid=event][data-device]').count()) > 1) {
    await keys.locator('[data-testid=event]').first().focus();
    await keys.keyboard.press('ArrowDown');
    const device = await keys.evaluate(() => document.activeElement?.dataset.device);
    await keys.keyboard.press('Enter');
    if (device) await appears(keys, `[data-testid=asset][data-id=${JSON.stringify(device)}]`, 'keyboard: Enter on an event opens its asset');
    await keys.keyboard.press('Escape');
    await until(keys, () => document.querySelector('[data-testid=asset]') === null, null, 'keyboard: Escape closes the panel');
  }

  // Keyboard alone: an alarm is found, commented on and acknowledged.
  await keys.goto(`${base}/alarms`);
  await appears(keys, '[data-testid=alarms-total]', 'keyboard: the alarms are counted');
  await keys.waitForTimeout(1000);
  if ((await keys.locator('[data-testid=alarm][data-state=unacked]').count()) > 0) {
    const focused = () => keys.evaluate(() => document.activeElement?.dataset.testid);
    for (let i = 0; i < 60 && (await focused()) !== 'alarm'; i++) await keys.keyboard.press('Tab');
    check((await focused()) === 'alarm', 'keyboard: Tab reaches the alarms');
    for (let i = 0; i < 200 && (await keys.evaluate(() => document.activeElement?.dataset.state)) !== 'unacked'; i++) await keys.keyboard.press('ArrowDown');
    const id = await keys.evaluate(() => document.activeElement?.dataset.id);
    await keys.keyboard.press('c');
    await until(keys, () => ['INPUT', 'TEXTAREA'].includes(document.activeElement?.tagName ?? ''), null, 'keyboard: C asks for the comment');
    await keys.keyboard.type('seen by keyboard');
    await keys.keyboard.press('Enter');
    await appears(keys, `[data-testid=alarm][data-id="${id}"]:has-text("seen by keyboard")`, 'keyboard: C comments');
    await until(keys, (alarm) => document.activeElement?.dataset.id === alarm, id, 'keyboard: it is back at the alarm');
    await keys.keyboard.press('a');
    await until(keys, async (alarm) => ['acked', 'normal', 'returned'].includes((await (await fetch(`/api/v1/alarms/${alarm}`)).json()).state), id, 'keyboard: A acknowledges');
    await until(keys, () => document.activeElement?.dataset.testid === 'alarm', null, 'keyboard: it stays in the list');
    await shot(keys, 'alarms-acked-1280x720');
  }
} catch (err) {
  check(false, String(err.stack ?? err));
} finally {
  await browser.close();
}

if (complaints.length > 0) {
  console.error(`\nthe page is not as wanted at ${base}:\n${[...new Set(complaints)].map((c) => `  ${c}`).join('\n')}`);
  process.exit(1);
}
console.log(`the page is as wanted at ${base}`);
