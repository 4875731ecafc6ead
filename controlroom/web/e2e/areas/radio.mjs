// The radio view has its address and its headings, with or without gateways.
export async function everySize(v) {
  await v.page.getByTestId('nav-radio').click();
  await v.appears('[data-testid=radio-gateways]', 'the radio view lists gateways');
  await v.appears('[data-testid=radio-devices]', 'the radio view lists devices');
  v.check(v.path() === '/radio', 'the radio view has an address');
  await v.page.waitForTimeout(800);
  await v.look('radio');
}
