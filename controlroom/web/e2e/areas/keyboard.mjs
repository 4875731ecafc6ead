// Keyboard alone: the skip link, then the events by arrows, Enter opens the asset.
import { visit } from '../harness.mjs';

export async function once(browser) {
  const v = await visit(browser, { name: 'keyboard' });
  const { page } = v;
  await v.go('/');
  await v.appears('[data-testid=feed-state][data-state=live]', 'the feed is live');
  await page.keyboard.press('Tab');
  v.check(await page.evaluate(() => document.activeElement?.classList.contains('skip')), 'the first stop is the skip link');
  if ((await page.locator('[data-testid=event][data-device]').count()) > 1) {
    await page.locator('[data-testid=event]').first().focus();
    await page.keyboard.press('ArrowDown');
    const device = await page.evaluate(() => document.activeElement?.dataset.device);
    await page.keyboard.press('Enter');
    if (device) await v.appears(`[data-testid=asset][data-id=${JSON.stringify(device)}]`, 'Enter on an event opens its asset');
    await page.keyboard.press('Escape');
    await v.until(() => document.querySelector('[data-testid=asset]') === null, null, 'Escape closes the panel');
  }
  // The map by keyboard: an asset that is brought to its middle is opened again by Enter.
  const placed = await page.evaluate(async () => (await (await fetch('/api/v1/state?limit=1000')).json()).devices.find((d) => d.lat !== null)?.id);
  await v.go(`/asset/${encodeURIComponent(placed)}`);
  await v.appears('[data-testid=map][data-ready=true]', 'the map is drawn');
  await page.getByTestId('asset-close').click();
  await v.until(() => document.querySelector('[data-testid=asset]') === null, null, 'the panel is closed');
  await page.locator('[data-testid=map] canvas').focus();
  await page.keyboard.press('Enter');
  await v.appears('[data-testid=asset]', 'Enter on the map opens what is in its middle');
  // What had the focus went with its view: the next key is the new view's. What a button opened gives it back.
  if (await page.getByTestId('districts-table').count()) {
    await page.getByTestId('districts-table').focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('districts-close').focus();
    await page.keyboard.press('Escape');
    await v.until(() => document.activeElement?.dataset.testid === 'districts-table', null, 'Escape closes the districts and gives the focus back');
  }
  await page.getByTestId('nav-domains').focus();
  await page.keyboard.press('Enter');
  await v.appears('[data-testid=domain-row] a', 'the domains are listed');
  await page.locator('[data-testid=domain-row] a').first().focus();
  await page.keyboard.press('Enter');
  await v.until(() => document.activeElement?.id === 'main', null, 'Enter on a domain goes on in its view');
  await v.close();
}
