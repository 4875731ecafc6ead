// Every asset is in the table, which finds and sorts.
export async function everySize(v, { device }) {
  await v.page.getByTestId('nav-table').click();
  await v.appears('[data-testid=row]', 'the table has rows');
  await v.page.getByTestId('table-filter').fill(device);
  await v.appears(`[data-testid=row][data-id=${JSON.stringify(device)}]`, `the table finds ${device}`);
  await v.page.getByTestId('table-filter').fill('');
  await v.page.getByTestId('sort-id').click();
  await v.until(() => document.querySelector('th[aria-sort=ascending] [data-testid=sort-id]') !== null, null, 'the table sorts by id');
  await v.look('table');
}
