// The alarms, and how their system does; by keyboard alone an alarm is found, commented on and acknowledged.
import { visit } from '../harness.mjs';

export async function everySize(v) {
  await v.page.getByTestId('nav-alarms').click();
  await v.appears('[data-testid=alarms-total]', 'alarms are counted');
  await v.page.waitForTimeout(500);
  await v.look('alarms');
  await v.page.getByTestId('alarms-health').click();
  await v.appears('[data-testid=rate-chart]', 'the health of the alarm system is shown');
  v.check(v.path() === '/alarms/health', 'the health has an address');
  await v.look('health');
}

/** There must be an alarm that waits: as long as an event is known there is. */
export async function once(browser, { eventText }) {
  if (!eventText) return;
  const v = await visit(browser, { name: 'keyboard' });
  const { page } = v;
  await v.go('/alarms');
  await v.appears('[data-testid=alarm][data-state=unacked]', 'an alarm waits');
  const focused = () => page.evaluate(() => document.activeElement?.dataset.testid);
  for (let i = 0; i < 60 && (await focused()) !== 'alarm'; i++) await page.keyboard.press('Tab');
  v.check((await focused()) === 'alarm', 'Tab reaches the alarms');
  for (let i = 0; i < 200 && (await page.evaluate(() => document.activeElement?.dataset.state)) !== 'unacked'; i++) await page.keyboard.press('ArrowDown');
  const id = await page.evaluate(() => document.activeElement?.dataset.id);
  await page.keyboard.press('w');
  await v.appears(`[data-testid=alarm-detail][data-id="${id}"] [data-testid=why][data-event]`, 'W tells why');
  await page.keyboard.press('w');
  await v.until(() => document.querySelector('[data-testid=alarm-detail]') === null, null, 'W again ends it');
  await page.keyboard.press('c');
  await v.until(() => ['INPUT', 'TEXTAREA'].includes(document.activeElement?.tagName ?? ''), null, 'C asks for the comment');
  await page.keyboard.type('seen by keyboard');
  await page.keyboard.press('Enter');
  await v.appears(`[data-testid=alarm][data-id="${id}"]:has-text("seen by keyboard")`, 'C comments');
  await v.until((alarm) => document.activeElement?.dataset.id === alarm, id, 'it is back at the alarm');
  await page.keyboard.press('a');
  await v.until(async (alarm) => ['acked', 'normal', 'returned'].includes((await (await fetch(`/api/v1/alarms/${alarm}`)).json()).state), id, 'A acknowledges');
  await v.until(() => document.activeElement?.dataset.testid === 'alarm', null, 'it stays in the list');
  await v.shot('alarms-acked');
  await v.close();
}

/** Over the made-up city: `raise` raises an alarm. Whoever is at the list has its rows where they are until they want them new. */
export async function calm(browser, raise) {
  const v = await visit(browser, { name: 'calm' });
  const { page } = v;
  await v.go('/alarms');
  await v.appears('[data-testid=alarm]', 'alarms are listed');
  const rows = () => page.locator('[data-testid=alarm]').evaluateAll((all) => all.slice(0, 6).map((r) => `${r.dataset.id} ${Math.round(r.getBoundingClientRect().top)}`).join('\n'));
  const waits = (n, what) => v.until((n) => Number(document.querySelector('[data-testid=alarms-fresh]')?.dataset.n) === n, n, what);
  const mouse = await page.locator('[data-testid=alarm]').nth(1).boundingBox();
  await page.mouse.move(mouse.x + 300, mouse.y + 8);
  // However slow the machine is, somebody stays at the list.
  await page.evaluate(() => setInterval(() => document.querySelector('[data-testid=alarm]')?.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })), 500));
  const stood = await rows();
  raise('critical');
  await waits(1, 'a new alarm waits while the pointer is at the list');
  v.check((await rows()) === stood, 'its rows are where they were');
  await page.mouse.down();
  await page.mouse.up();
  const [, chosen] = stood.split(/[ \n]/).filter((w) => !/^\d+$/.test(w));
  v.check((await page.locator('[data-testid=alarm][aria-selected=true]').getAttribute('data-id')) === chosen, 'a click is of the row that was pointed at');
  raise('critical');
  await waits(2, 'and while the keyboard is at it');
  await page.keyboard.press('ControlOrMeta+a');
  v.check(!(await page.getByTestId('alarms-all').isChecked()), 'what nobody saw is not chosen with all');
  await page.keyboard.press('Escape');
  await page.keyboard.press('n');
  await v.until(() => document.querySelector('[data-testid=alarms-fresh]') === null && document.activeElement?.dataset.line === '0', null, 'N shows them and goes there');

  // What was done is taken back in one go.
  await page.getByTestId('alarms-filter').fill('calm');
  await v.until(() => document.querySelectorAll('[data-testid=alarm]').length === 2, null, 'the filter finds them');
  await page.getByTestId('alarms-all').check();
  await page.getByTestId('do-ack').click();
  await v.until(() => document.querySelectorAll('[data-testid=alarm][data-state=acked]').length === 2, null, 'all that a filter finds is acknowledged');
  await page.getByTestId('alarms-undo').click();
  await v.until(() => document.querySelectorAll('[data-testid=alarm][data-state=unacked]').length === 2, null, 'and taken back');
  await v.close();
}
