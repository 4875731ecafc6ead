// The system has its address, from the foot of every size: lags by names in words, what is stored, nothing too wide.
export async function everySize(v) {
  await v.page.getByTestId('foot-system').click();
  v.check(v.path() === '/system', 'the system view has an address');
  await v.appears('[data-testid=system-view][data-ready=true] tbody tr', 'the figures of the system are told');
  await v.appears('[data-testid=system-view] th[scope=row]:text-matches("misure$|measurements$")', 'the kinds of the log have names in words');
  await v.look('system');
  await v.page.getByTestId('nav-map').click();
}
