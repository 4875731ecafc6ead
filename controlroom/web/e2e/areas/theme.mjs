// Dark: by the system's choice, and the other theme than the system's is kept over a reload; back again follows the
// system. The sound and the statement have their places.
import { visit } from '../harness.mjs';

export async function once(browser) {
  const v = await visit(browser, { name: 'dark', colorScheme: 'dark' });
  const { page } = v;
  await v.go('/');
  await v.appears('[data-testid=map][data-ready=true]', 'the map is drawn');
  await v.appears('[data-testid=feed-state][data-state=live]', 'the feed is live');
  await page.waitForTimeout(1500);
  await v.look('city');
  await page.getByTestId('theme').click();
  await v.until(() => document.documentElement.dataset.theme === 'light' && getComputedStyle(document.body).color === 'rgb(26, 26, 26)', null, 'the theme is switched to light');
  await v.go('/domains/environment');
  await v.until(() => document.documentElement.dataset.theme === 'light', null, 'the theme is kept');
  await page.getByTestId('theme').click();
  await v.until(() => document.documentElement.dataset.theme === 'dark', null, 'the theme is switched back');
  await v.appears('[data-testid=air]', 'air and noise are shown');
  await v.look('environment');
  await page.getByTestId('sound').click();
  await v.appears('[data-testid=sound][aria-pressed=true]', 'the sound is on');
  await page.getByTestId('nav-statement').click();
  await v.appears('[data-testid=statement] h3', 'the accessibility statement is shown');
  v.check(v.path() === '/accessibility', 'the statement has an address');
  await v.look('statement');
  await v.close();
}
