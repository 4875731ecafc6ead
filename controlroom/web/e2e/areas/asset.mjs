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
  if (v.phone) {
    await page.getByTestId('sheet').click();
    await page.waitForTimeout(300);
    await v.shot('asset-full');
  }
  await page.getByTestId('lang-en').click();
  await v.until(() => document.documentElement.lang === 'en', null, 'English');
  await page.reload();
  await v.until(() => document.documentElement.lang === 'en', null, 'still English after a reload');
  await v.appears(shown, 'the deep link opens the panel');
  await page.getByTestId('asset-close').click();
  await v.until(() => document.querySelector('[data-testid=asset]') === null, null, 'the panel closes');
}
