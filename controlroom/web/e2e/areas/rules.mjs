// A rule has its address; its text is checked as it is typed, problems say where they are, and it is tried on the past.
export async function everySize(v) {
  const { page } = v;
  await page.getByTestId('nav-rules').click();
  await v.appears('[data-testid=rule-row]', 'the rules are listed');
  await v.look('rules');
  const rule = await page.locator('[data-testid=rule-row]').first().getAttribute('data-id');
  await page.locator('[data-testid=rule-row] a').first().click();
  v.check(v.path() === `/rules/${encodeURIComponent(rule)}`, 'a rule has an address');
  await v.appears('[data-testid=rule-editor][data-state=done][data-problems="0"]', 'the rule has no problems');
  const written = await page.getByTestId('rule-text').inputValue();
  await page.getByTestId('rule-text').fill(written.replace('severity:', 'severty:'));
  await v.until(() => Number(document.querySelector('[data-testid=rule-editor]')?.dataset.problems) > 0, null, 'a misspelt rule is told as it is typed');
  await v.look('rule');
  await page.getByTestId('rule-text').fill(written);
  await v.until(() => document.querySelector('[data-testid=rule-editor]')?.dataset.problems === '0', null, 'the mended rule has no problems');

  await page.getByTestId('rule-back').click();
  await page.getByTestId('rules-filter').fill('lamp-dead');
  await page.locator('[data-testid=rule-row][data-id=lamp-dead] a').click();
  await v.appears('[data-testid=rule][data-id=lamp-dead] [data-testid=backtest]', 'a rule on observations can be tried');
  await page.getByTestId('backtest-span').selectOption('1');
  await page.getByTestId('backtest-run').click();
  await v.until(() => document.querySelector('[data-testid=backtest]')?.dataset.raised !== undefined, null, 'the past is told');
  await page.getByTestId('backtest-run').scrollIntoViewIfNeeded();
  await v.look('backtest');
}
