// A replay says that it is not live, shows the city as it was, stands still and goes on.
import { visit } from '../harness.mjs';

export async function once(browser, { eventText }) {
  const v = await visit(browser, { name: 'replay', colorScheme: 'dark' });
  const { page } = v;
  await v.go(`/replay?at=${new Date(Date.now() - 20_000).toISOString()}`);
  await v.appears('[data-testid=replay][data-loading=false]', 'the moment is shown');
  if (eventText) await v.until(() => Number(document.querySelector('[data-testid=count-all]')?.dataset.abnormal) > 0, null, 'what was abnormal then is');
  v.check((await page.locator('[data-testid=feed-state]').count()) === 0 && (await page.title()).includes('Non in diretta'), 'nothing says that it is live');
  await v.until(() => document.querySelector('[data-testid=replay]')?.dataset.playing === 'false', null, 'it ends where the present begins');
  await page.getByTestId('replay-slider').focus();
  await page.keyboard.press('ArrowLeft');
  await v.until((at) => Number(document.querySelector('[data-testid=replay]')?.dataset.at) < at, Date.now() - 40_000, 'the keyboard goes a minute back');
  await page.getByTestId('replay-table').click();
  await v.appears('[data-testid=row]', 'the table is there too');
  v.check(v.path() === '/replay', 'the address stays');
  await v.look('replay');
  await page.getByTestId('replay-cameras').click();
  await v.appears('[data-testid=cameras-total]', 'and the cameras as they were');
  v.check(v.path() === '/replay' && (await page.locator('[data-testid=replay]').count()) === 1, 'still in the past');
  // On the map the last hours are there too, and leaving them needs no new page.
  await page.getByTestId('replay-map').click();
  await v.page.evaluate(() => (globalThis.samePage = true));
  await page.getByTestId('replay-leave').click();
  await v.appears('[data-testid=feed-state][data-state=live]', 'it is left for the present');
  v.check(v.path() === '/' && (await page.evaluate(() => globalThis.samePage === true)), 'by the same page');
  await page.getByTestId('time-slider').focus();
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  await v.appears('[data-testid=replay][data-loading=false]', "the map's slider goes back by keyboard");
  v.check(v.path() === '/replay' && (await page.getByTestId('time').getAttribute('data-past')) === 'true', 'the moment has an address, and the slider says that it is past');
  await v.look('city-past');
  await page.getByTestId('time-slider').focus();
  await page.keyboard.press('End');
  await v.appears('[data-testid=feed-state][data-state=live]', 'its end is the present');
  await v.until(() => Number(document.querySelector('[data-testid=count-all]')?.dataset.total) > 0, null, 'and the city is there');
  await page.goBack();
  await v.appears('[data-testid=replay][data-loading=false]', 'back is the moment again');
  await page.goForward();
  await v.appears('[data-testid=feed-state][data-state=live]', 'forth is the present');
  await v.close();
}
