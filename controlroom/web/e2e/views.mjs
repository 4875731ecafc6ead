// The views whose look is kept: where they are, what is there when they are shown, and what is done to them first.
// `still`: what is done moves nothing of what was shown. `ready` must not appear before what the view shows is complete.
const mapReady = '[data-testid=map][data-ready=true]';

export const views = [
  { name: 'city', path: '/', ready: mapReady, act: mapStill },
  { name: 'canvas', path: '/?renderer=canvas', ready: '[data-testid=map][data-renderer=canvas]', act: mapStill },
  {
    name: 'city-past',
    path: '/',
    ready: mapReady,
    still: true, // going into the past moves nothing
    act: async (v) => {
      const slider = v.page.getByTestId('time-slider');
      await slider.focus();
      for (let i = 0; i < 3; i++) await v.page.keyboard.press('PageDown');
      await v.appears('[data-testid=replay][data-loading=false]', 'the city is shown as it was');
      v.check((await v.page.getByTestId('time').getAttribute('data-past')) === 'true', 'the slider says that it is past');
    },
  },
  {
    name: 'city-layers',
    path: '/',
    ready: mapReady,
    act: async (v) => {
      await v.page.locator('[data-testid=layers] summary').click();
      await v.appears('[data-testid=layers] fieldset', 'the layers are shown');
      if (!v.phone) return;
      const grip = v.page.getByTestId('layers').getByRole('slider');
      await grip.focus();
      await v.page.keyboard.press('End');
      v.check((await grip.getAttribute('aria-valuenow')) === '2', 'the sheet of the layers is raised by keyboard');
      await v.page.keyboard.press('Home');
      v.check((await grip.getAttribute('aria-valuenow')) === '0', 'and lowered');
      await v.page.keyboard.press('ArrowUp');
    },
  },
  { name: 'asset', path: '/asset/lamp-0001', ready: '[data-testid=chart][data-points]', act: mapStill },
  { name: 'table', path: '/table', ready: '[data-testid=row]' },
  { name: 'domains', path: '/domains', ready: '[data-testid=domain-row]' },
  { name: 'lighting', path: '/domains/lighting', ready: '[data-testid=figures][data-ready=true]' },
  { name: 'environment', path: '/domains/environment', ready: '[data-testid=air]' },
  { name: 'cameras', path: '/cameras', ready: '[data-testid=camera-row]' },
  { name: 'radio', path: '/radio', ready: '[data-testid=radio] tbody tr' },
  { name: 'alarms', path: '/alarms', ready: '[data-testid=alarm]' },
  {
    name: 'alarms-grouped',
    path: '/alarms',
    ready: '[data-testid=alarm]',
    act: async (v) => {
      await v.page.getByTestId('alarms-group').selectOption('zone');
      await v.appears('[data-testid=alarm-group]', 'alarms are grouped');
    },
  },
  {
    name: 'alarms-shelve',
    path: '/alarms',
    ready: '[data-testid=alarm]',
    act: async (v) => {
      // A key that meets a row in the moment in which it goes elsewhere is nobody's: it is pressed again.
      const ask = v.page.getByTestId('alarm-ask');
      for (let left = 10; left > 0 && !(await ask.isVisible()); left--) {
        await v.page.locator('[data-testid=alarm][data-state=unacked]').first().focus();
        await v.page.keyboard.press('s');
        await ask.waitFor({ timeout: 5_000 }).catch(() => {});
      }
      await v.appears('[data-testid=alarm-ask]', 'shelving asks');
    },
  },
  {
    name: 'alarms-why',
    path: '/alarms',
    ready: '[data-testid=alarm]',
    act: async (v) => {
      await v.page.getByTestId('alarms-group').selectOption('incident');
      await v.appears('[data-testid=alarm-group]', 'alarms are grouped by their incidents');
      await v.page.locator('[data-testid=alarm-group] button').first().click();
      await v.page.getByTestId('alarm-why').first().click();
      await v.appears('[data-testid=why][data-event]', 'it is told why');
      await v.appears('[data-testid=alarm-log] li', 'what happened is told');
    },
  },
  { name: 'health', path: '/alarms/health', ready: '[data-testid=rate-chart]' },
  { name: 'rules', path: '/rules', ready: '[data-testid=rule-row]' },
  {
    name: 'rule',
    path: '/rules/slow-traffic',
    ready: '[data-testid=rule-editor][data-state=done]',
    act: async (v) => {
      await v.page.getByTestId('backtest-run').click();
      await v.appears('[data-testid=backtest][data-raised]', 'the past is told');
    },
  },
  {
    name: 'rule-wrong',
    path: '/rules/pm10-high',
    ready: '[data-testid=rule-editor][data-state=done]',
    act: async (v) => {
      const text = v.page.getByTestId('rule-text');
      await text.fill((await text.inputValue()).replace('severity:', 'severty:'));
      await v.appears('[data-testid=rule-editor][data-state=done][data-problems="1"]', 'the mistake is told');
    },
  },
  {
    name: 'rule-new',
    path: '/rules/lamp-burning-by-day',
    ready: '[data-testid=rule-overrides]',
    act: async (v) => {
      const text = v.page.getByTestId('rule-text');
      await text.focus();
      await v.page.keyboard.press('ControlOrMeta+End');
      await v.page.keyboard.type('sch');
      await v.page.keyboard.press('Control+Space');
      await v.page.keyboard.press('Enter');
      v.check(/^schedule:\n {2}days: /m.test(await text.inputValue()), 'what is suggested is written by keyboard');
      await v.page.keyboard.type('\nho');
      await v.appears('[data-testid=rule-suggestions] button', 'more is suggested');
    },
  },
  { name: 'system', path: '/system', ready: '[data-testid=system-view][data-ready=true] [data-testid=dead-letters]' },
  { name: 'statement', path: '/accessibility', ready: '[data-testid=statement] h3' },
];

/** The map has drawn what it has: two frames in a row without anything to load. */
async function mapStill(v) {
  await v.until(() => Number(document.querySelector('[data-testid=map]')?.dataset.placed ?? 1) > 0, null, 'assets are on the map');
  await v.page.waitForTimeout(700);
}
