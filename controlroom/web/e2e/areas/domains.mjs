// A domain has its address, its figures, its devices and its groups.
import { visit } from '../harness.mjs';

export async function everySize(v) {
  await v.page.getByTestId('nav-domains').click();
  await v.appears('[data-testid=domain-row] a', 'the domains are listed');
  await v.page.locator('[data-testid=domain-row][data-id=lighting] a').click();
  v.check(v.path() === '/domains/lighting', 'a domain has an address');
  await v.appears('[data-testid=figures][data-ready=true]', 'the figures of the lighting are told');
  await v.page.getByTestId('groups-by').selectOption('street');
  await v.appears('[data-testid=group-row]', 'the lighting is summed up by street');
  await v.until(() => Number(document.querySelector('[data-figure=devices]')?.textContent?.replace(/\D/g, '')) > 0, null, 'the lamps are counted');
  await v.look('lighting');
  await v.page.getByTestId('count-all').click();
}

export async function once(browser) {
  const v = await visit(browser);
  for (const [domain, shown] of [
    ['mobility', '[data-testid=list-buses]'],
    ['environment', '[data-testid=air]'],
    ['waste', '[data-testid=round]'],
    ['parking', '[data-testid=list-areas]'],
    ['water', '[data-testid=figures]'],
  ]) {
    await v.go(`/domains/${domain}`);
    await v.appears(`[data-testid=domain][data-domain=${domain}] ${shown}`, `the domain ${domain} is shown`);
    await v.look(domain);
  }
  await v.close();
}
