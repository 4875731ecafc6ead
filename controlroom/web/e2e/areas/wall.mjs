// The wall: a round of views, no bars to scroll, larger on a larger display; it can be held and left.
import { sizes, visit } from '../harness.mjs';

export async function once(browser) {
  const v = await visit(browser, { name: 'wall', size: sizes[0], colorScheme: 'dark' });
  const { page } = v;
  await v.go('/wall?views=domains/lighting,alarms&seconds=600');
  await v.appears('[data-testid=wall][data-view=domains]', 'the wall shows its first view');
  await v.appears('[data-testid=figures][data-ready=true]', 'the wall shows figures');
  v.check((await page.locator('nav[aria-label]').count()) === 1, 'the wall has no menu, only the domains');
  v.check(await page.evaluate(() => document.querySelector('h2').getBoundingClientRect().height > 30), 'the wall is large');
  await v.look('lighting');
  await page.getByTestId('wall-next').click();
  await v.appears('[data-testid=wall][data-view=alarms]', 'the wall goes on');
  v.check(v.path() === '/wall', 'the wall keeps its address');
  await page.getByTestId('wall-leave').click();
  await v.appears('[data-testid=nav-alarms][aria-current=page]', 'the wall is left where it was');
  await v.close();
}
