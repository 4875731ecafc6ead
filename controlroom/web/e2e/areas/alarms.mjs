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
