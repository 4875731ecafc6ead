// The page where people have to say who they are, over a base map of the operator's own: `node e2e/page.mjs`.
// Beside what harness.mjs reads,
//   PANORMUS_PASSWORD  of the users seen (a viewer), luce (an operator of lighting), capo (an admin), polizia (an agency)
//   PANORMUS_CLAIM     a code by which one device is let in
//   PANORMUS_DEVICE    a lamp in the district "Centro" with an alarm of severity major
// The server has a PMTiles file with water over all of it, an asset of mobility, and that district.
import { check, desk, launch, sizes, verdict, visit } from './harness.mjs';

const password = process.env.PANORMUS_PASSWORD;
const lamp = process.env.PANORMUS_DEVICE;
/** what is refused to somebody is a complaint of visit's; who is not let in is what is wanted here */
async function signIn(v, name, path = '/') {
  await v.go(path);
  v.check(v.path() === '/login', `${name}: whoever is nobody is sent to the login`);
  await v.page.fill('#name', name);
  await v.page.fill('#password', password);
  await v.page.click('button[type=submit]');
  await v.appears('[data-testid=feed-state][data-state=live]', `${name}: the feed is live`);
  v.check(v.path() === new URL(path, v.base).pathname, `${name}: and then where they wanted to go`);
}
const shown = (v, selector) => v.page.locator(selector).count();

async function viewer(browser) {
  for (const size of sizes) {
    const v = await visit(browser, { size, name: `viewer ${size.name}` });
    await signIn(v, 'seen', '/alarms');
    await v.appears(`[data-testid=alarm]`, 'the alarm is listed');
    v.check((await shown(v, '[data-testid=alarm-actions]')) === 0, 'no action on alarms is offered');
    await v.appears('[data-testid=alarms-read-only]', 'it is said why');
    await v.page.getByTestId('user').locator('summary').click();
    await v.appears('[data-testid=sign-out]', 'the user can sign out');
    await v.look('viewer');
    await v.page.keyboard.press('Escape');
    await v.until(() => !document.querySelector('[data-testid=user]').open, null, 'Escape closes the menu');
    await v.go('/rules/lamp-dead');
    await v.appears('[data-testid=rule][data-id=lamp-dead] [data-testid=rule-read-only]', 'a rule is shown and cannot be changed');
    v.check((await shown(v, '[data-testid=rule-text], [data-testid=rule-save], [data-testid=rules-new], [data-testid=backtest]')) === 0, 'no button that would be refused');
    if (size === desk) {
      await v.page.getByTestId('user').locator('summary').click();
      await v.page.getByTestId('sign-out').click();
      await v.page.waitForURL('**/login');
      await v.go('/');
      v.check(v.path() === '/login', 'who signed out is nobody');
    }
    await v.close();
  }
}

async function scoped(browser) {
  const v = await visit(browser, { name: 'scoped' });
  await signIn(v, 'luce');
  await v.until(() => document.querySelector('[data-testid=count-lighting]') !== null && document.querySelector('[data-testid=count-mobility]') === null, null, 'only their domain is counted');
  v.check((await shown(v, '[data-testid=nav-radio]')) === 0, 'what tells of the whole city is no view of theirs');
  await v.go('/radio');
  await v.appears('[data-testid=not-yours]', 'its address says so');
  await v.go('/alarms');
  await v.appears('[data-testid=alarm-actions]', 'an operator acts on alarms');
  await v.page.getByTestId('alarms-health').click();
  await v.appears('[data-testid=rate-chart]', 'they are told how their part of the alarm system does');
  await v.close();
}

async function agency(browser) {
  const v = await visit(browser, { name: 'agency' });
  await signIn(v, 'polizia');
  await v.appears('[data-testid=events]', 'it sees the events that are shared');
  v.check((await shown(v, '[data-testid=nav-table], [data-testid=search], [data-testid=counts]')) === 0, 'and nothing of the city beside');
  await v.close();
}

/** A session that ends elsewhere ends here: the feed's connection is closed, and the page goes to the login. */
async function ended(browser) {
  const v = await visit(browser, { name: 'ended' });
  await signIn(v, 'seen', '/table');
  const chief = await visit(browser, { name: 'chief' });
  await signIn(chief, 'capo');
  // From here on refusals are what is wanted: the harness would complain of them.
  v.page.removeAllListeners('response');
  v.page.removeAllListeners('console');
  const status = await chief.page.evaluate(async () => (await fetch('/api/v1/sessions/seen', { method: 'DELETE' })).status);
  check(status < 300, `the sessions of the viewer are ended: ${status}`);
  await v.page.waitForURL('**/login?next=*', { timeout: v.patience }).then(
    () => v.check(new URL(v.page.url()).searchParams.get('next') === '/table', 'the login leads back'),
    () => v.check(false, 'the page goes to the login when its session ends'),
  );
  await v.close();
  await chief.close();
}

async function map(browser) {
  for (const [size, colorScheme] of [[desk, 'light'], [desk, 'dark'], [sizes[2], 'dark']]) {
    const v = await visit(browser, { size, name: `map ${size.name} ${colorScheme}`, colorScheme });
    await signIn(v, 'seen', '/?districts=alarms');
    await v.appears('[data-testid=map][data-ready=true][data-base=tiles]', 'the base map of tiles is known');
    await v.until(() => Number(document.querySelector('[data-testid=map]').dataset.shaded) === 1, null, 'the district is coloured');
    if (!v.phone) await v.appears('[data-testid=shades]', 'the colours have a legend');
    await v.appears('[data-testid=attribution]:has-text("made for a test")', 'it is said whose data it is');
    // The file has water everywhere, which nothing else has: the sea's colour stands where the ground would.
    await v.until(
      ([r, g, b]) => {
        const gl = document.querySelector('[data-testid=map] canvas');
        const copy = new OffscreenCanvas(8, 8).getContext('2d');
        // Drawn in the frame that follows its own: the buffer is not kept beyond it.
        return new Promise((resolve) =>
          requestAnimationFrame(() => {
            copy.drawImage(gl, 4, gl.height / 2, 8, 8, 0, 0, 8, 8);
            const [x, y, z, a] = copy.getImageData(4, 4, 1, 1).data;
            resolve(a === 255 && Math.abs(x - r) + Math.abs(y - g) + Math.abs(z - b) < 6);
          }),
        );
      },
      colorScheme === 'dark' ? [0x11, 0x16, 0x1b] : [0xd3, 0xdb, 0xe2],
      'its water is drawn',
    );
    await v.page.getByTestId('districts-table').click();
    await v.appears('[data-testid=district-row]:has-text("Centro")', 'the districts are a table too');
    await v.look('districts');
    await v.page.locator('[data-testid=district-row] button').click();
    await v.until(() => Number(document.querySelector('[data-testid=map]').dataset.badges) === 1, null, 'from afar the district has a badge that counts what is abnormal');
    await v.page.getByTestId('districts-close').click();
    await v.page.getByTestId('layers').locator('summary').click();
    await v.page.getByTestId('layer.base').click();
    await v.until(() => document.querySelector('[data-testid=attribution]') === null, null, 'the base map can be switched off');
    await v.page.getByTestId('layer-lighting').click();
    await v.look('layers');
    await v.page.reload();
    await v.appears('[data-testid=map][data-ready=true]', 'the map is drawn again');
    v.check((await shown(v, '[data-testid=attribution]')) === 0, 'and stays off over a reload');
    await v.page.getByTestId('districts-by').selectOption('silent');
    v.check(new URL(v.page.url()).searchParams.get('districts') === 'silent', 'what the districts are coloured by is in the address');
    if (size === desk && colorScheme === 'light') {
      await v.go(`/?districts=alarms&renderer=canvas`);
      await v.appears('[data-testid=map][data-renderer=canvas][data-shaded="1"]', 'the canvas colours districts');
      await v.go(`/asset/${lamp}`);
      await v.appears(`[data-testid=asset][data-id=${JSON.stringify(lamp)}]`, 'a viewer opens an asset');
    }
    await v.close();
  }
}

/** Whoever mounts a device enters its code, by the keyboard alone: in the light on a phone, and in the dark at a desk. */
async function claim(browser) {
  for (const [size, colorScheme, code] of [[desk, 'dark'], [sizes[2], 'light', process.env.PANORMUS_CLAIM]]) {
    const v = await visit(browser, { size, colorScheme, name: `claim ${size.name} ${colorScheme}`, refused: (url) => new URL(url).pathname === '/claim' });
    const { keyboard } = v.page;
    await v.go('/claim#WRONG-CODE');
    v.check(await v.page.evaluate(() => document.querySelector('#code').value === 'WRONG-CODE' && location.hash === ''), 'the code of a QR is filled in, and gone from the address');
    await v.look('claim');
    const stops = [];
    do {
      await keyboard.press('Tab');
      stops.push(await v.page.evaluate(() => document.activeElement?.id || document.activeElement?.type));
    } while (stops.length < 9 && stops.at(-1) !== 'submit');
    v.check(stops.join(' ') === 'code device name lat lon here submit', `the keyboard reaches every field and button in their order: ${stops.join(' ')}`);
    await keyboard.press('Enter');
    await v.appears('#wrong[role=alert]', 'a wrong code is told');
    v.check(await v.page.evaluate(() => document.querySelector('#code').value === 'WRONG-CODE' && document.querySelector('#code').getAttribute('aria-describedby') === 'wrong'), 'beside the field, which keeps it');
    await v.look('claim-wrong');
    if (code) {
      await v.page.focus('#code');
      await keyboard.press('Control+A');
      await keyboard.type(code);
      await keyboard.press('Enter');
      await v.appears('[role=status] + dl dd', 'the device is let in');
      await v.look('claim-done');
    }
    await v.close();
  }
}

const browser = await launch();
try {
  for (const part of [viewer, scoped, agency, ended, map, claim]) await part(browser);
} catch (err) {
  check(false, String(err.stack ?? err));
} finally {
  await browser.close();
}
verdict('the page behind a login');
