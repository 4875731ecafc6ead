// The cameras view has its address, with or without cameras; a camera's panel shows how it is, what it counts and where.
export async function everySize(v, { camera }) {
  await v.page.getByTestId('nav-cameras').click();
  await v.appears('[data-testid=cameras-total]', 'the cameras view counts cameras');
  v.check(v.path() === '/cameras', 'the cameras view has an address');
  if (camera) await panel(v, camera);
  await v.page.waitForTimeout(800);
  await v.look('cameras');
}

async function panel(v, camera) {
  const { page } = v;
  const row = `[data-testid=camera-row][data-id=${JSON.stringify(camera)}]`;
  await page.getByTestId('cameras-filter').fill(camera);
  await v.appears(row, `the cameras view finds ${camera}`);
  await page.getByTestId('cameras-sort-seen').click();
  await v.until(() => document.querySelector('th[aria-sort] [data-testid=cameras-sort-seen]') !== null, null, 'the cameras sort');
  await page.locator(`${row} a`).click();
  await v.appears('[data-testid=camera][data-state=ok]', 'the panel says that the camera works', { state: 'attached' });
  await v.until(() => /\d/.test(document.querySelector('[data-value=people_present]')?.textContent ?? ''), null, 'the newest minute is shown');
  await v.until(() => /\bcar\b/.test(document.querySelector('[data-testid=camera-counts]')?.dataset.classes ?? ''), null, 'cars are counted over time');
  await v.until(() => document.querySelector('[data-testid=camera-zone][data-zone=gate][data-class=car]') !== null, null, 'the line has its figures');
  await v.until(() => Number(document.querySelector('[data-testid=camera-heat]')?.dataset.max) >= 5, null, 'the heat map has cells');
  await page.getByTestId('heat-hour').focus();
  await page.keyboard.press('End');
  await v.until(() => document.querySelector('[data-testid=heat-hour]')?.getAttribute('aria-valuetext') === '23–00', null, 'the hour is chosen by keyboard');
  await page.keyboard.press('Home');
  await page.waitForTimeout(800);
  await v.look('camera');
  await page.getByTestId('asset-close').click();
  await page.getByTestId('cameras-filter').fill('');
}
