// The search opens an asset's panel with its values and its last hour; the panel is an address and keeps the language.
export async function everySize(v, { device }) {
  const { page } = v;
  const shown = `[data-testid=asset][data-id=${JSON.stringify(device)}] [data-testid=value]`;
  await page.getByTestId('nav-map').click();
  await page.getByTestId('search').fill(device);
  await page.locator(`[data-testid=search-hit][data-id=${JSON.stringify(device)}]`).click({ timeout: v.patience });
  await v.appears(shown, `the panel of ${device} shows values`);
  await v.until(() => Number(document.querySelector('[data-testid=chart]')?.dataset.points) > 0, null, 'the chart has points');
  v.check(v.path() === `/asset/${encodeURIComponent(device)}`, 'the panel has an address');
  // What it said, one by one, is read when it is asked for.
  await page.getByTestId('readings').locator('summary').focus();
  await page.keyboard.press('Enter');
  await v.appears('[data-testid=reading]', 'its readings are listed as they are stored', { state: 'attached' });
  await page.waitForTimeout(800);
  await v.look('asset');
  if (v.phone) await sheet(v);
  await page.getByTestId('lang-en').click();
  await v.until(() => document.documentElement.lang === 'en', null, 'English');
  await page.reload();
  await v.until(() => document.documentElement.lang === 'en', null, 'still English after a reload');
  await v.appears(shown, 'the deep link opens the panel');
  await page.getByTestId('asset-close').click();
  await v.until(() => document.querySelector('[data-testid=asset]') === null, null, 'the panel closes');
}

/** The sheet of a phone is under the finger while it is dragged, and settles at one of its heights; a tap does, too. */
async function sheet(v) {
  const { page } = v;
  const grip = page.getByTestId('sheet');
  const rests = (at, how) => v.until((at) => {
    const grip = document.querySelector('[data-testid=sheet]');
    return grip.ariaValueNow === at && grip.parentElement.style.height === '' && grip.parentElement.getAnimations().length === 0;
  }, at, how);
  const height = () => grip.evaluate((el) => Math.round(el.parentElement.getBoundingClientRect().height));
  const half = await height();
  const { x, y, width } = await grip.boundingBox();
  const across = x + width / 2;
  await page.mouse.move(across, y + 10);
  await page.mouse.down();
  await page.mouse.move(across, y); // it is held
  await page.mouse.move(across, y - 40);
  v.check((await height()) === half + 40, `the sheet follows the finger: ${await height()} px high, want ${half + 40}`);
  await page.mouse.move(across, y + 37);
  v.check((await height()) === half - 37, `and back: ${await height()} px high, want ${half - 37}`);
  await page.waitForTimeout(150); // it is held still: not thrown
  await page.mouse.up();
  await rests('1', 'let go nearby, it returns');
  v.check((await height()) === half, 'to where it was');
  await page.mouse.move(across, y + 10);
  await page.mouse.down();
  await page.mouse.move(across, y, { steps: 2 });
  await page.mouse.move(across, y - 0.4 * half, { steps: 4 });
  await page.mouse.move(across, 150, { steps: 4 });
  await page.mouse.up();
  await rests('2', 'drawn up, it stays up');
  await v.shot('asset-full');
  await grip.click();
  await rests('0', 'a tap takes the next height');
  await grip.click();
  await rests('1', 'and the next');
}
