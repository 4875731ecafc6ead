// The map, what stands around it, and the map without WebGL.
import { visit } from '../harness.mjs';

export async function everySize(v, { eventText }) {
  await v.until(() => Number(document.querySelector('[data-testid=count-all]')?.dataset.total) > 0, null, 'assets are counted');
  await v.appears('[data-testid=map][data-ready=true][data-renderer=webgl]', 'the map is drawn by WebGL');
  if (eventText) await v.appears(`[data-testid=event]:has-text(${JSON.stringify(eventText)})`, `the event "${eventText}" is listed`, { state: 'attached' });
  await v.until(() => document.querySelector('[data-testid=rate-received]') !== null, null, 'rates are shown');
  await v.page.waitForTimeout(1500); // the map's own fading and labels
  await v.look('city');
}

export async function once(browser, { camera }) {
  const v = await visit(browser, { name: 'canvas' });
  await v.go('/?renderer=canvas');
  await v.appears('[data-testid=map][data-renderer=canvas]', 'the map is drawn on a canvas');
  await v.until(() => Number(document.querySelector('[data-testid=map]')?.dataset.placed) > 0, null, 'assets are on the map');
  if (camera) await v.until(() => Number(document.querySelector('[data-testid=map]')?.dataset.cones) > 0, null, 'the camera has its cone');
  await v.look('city');
  await v.close();
}
