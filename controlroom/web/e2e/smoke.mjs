// The page against a running server, in a real browser: `node e2e/smoke.mjs`. Beside what harness.mjs reads,
//   PANORMUS_DEVICE      an asset that has just published (optional: then any asset will do)
//   PANORMUS_EVENT_TEXT  text of an event that must be in the list (optional)
//   PANORMUS_CAMERA      a camera that has just been counted: people and cars came and left (optional)
// Exits 0, or 1 with what was wanted and what was there.
//
// Every area of the page has a file in areas, with `everySize(v, city)`, a part of one visit at each size, and
// `once(browser, city)`, with visits of its own. An area may count on the live feed and on nothing else, and leaves
// the top bar usable.
import * as alarms from './areas/alarms.mjs';
import * as asset from './areas/asset.mjs';
import * as cameras from './areas/cameras.mjs';
import * as city from './areas/city.mjs';
import * as domains from './areas/domains.mjs';
import * as keyboard from './areas/keyboard.mjs';
import * as radio from './areas/radio.mjs';
import * as replay from './areas/replay.mjs';
import * as rules from './areas/rules.mjs';
import * as system from './areas/system.mjs';
import * as table from './areas/table.mjs';
import * as theme from './areas/theme.mjs';
import * as wall from './areas/wall.mjs';
import { check, launch, sizes, verdict, visit } from './harness.mjs';

const areas = [city, table, domains, cameras, alarms, rules, radio, asset, theme, wall, replay, system, keyboard];
/** what is known to be in the city */
const known = { device: process.env.PANORMUS_DEVICE, eventText: process.env.PANORMUS_EVENT_TEXT, camera: process.env.PANORMUS_CAMERA };

const browser = await launch();
try {
  for (const size of sizes) {
    const v = await visit(browser, { size });
    await v.go('/', { waitUntil: 'commit' });
    await v.appears('[data-testid=feed-state][data-state=live]', 'the feed is live');
    known.device ??= await v.page.evaluate(async () => {
      // One with values to chart: cameras show theirs in their own way.
      const { devices } = await (await fetch('/api/v1/state?limit=1000')).json();
      return devices.find((d) => Object.keys(d.values).some((m) => /^(power_w|fill_pct|temperature)/.test(m)))?.id ?? devices[0].id;
    });
    for (const area of areas) await area.everySize?.(v, known);
    await v.close();
  }
  for (const area of areas) await area.once?.(browser, known);
} catch (err) {
  check(false, String(err.stack ?? err));
} finally {
  await browser.close();
}
verdict('the page');
