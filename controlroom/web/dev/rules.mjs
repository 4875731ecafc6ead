// The rules of the made-up city, one of each kind that can be written, with their figures.
const made = [
  { id: 'lamp-burning-by-day', title: { it: 'Lampada accesa di giorno', en: 'Lamp on in daylight' }, domain: 'lighting', severity: 'warning', on: 'observations', when: 'power_w > limit && sun_elevation > 6', for: '15m', clear: 'power_w < 5', params: { limit: 20 }, text: '{device}: {power_w} W with the sun {sun_elevation} degrees up' },
  { id: 'lamp-dead', title: { it: 'Lampada spenta di notte', en: 'Lamp dark at night' }, domain: 'lighting', severity: 'major', on: 'observations', when: 'power_w < 1 && on == 1', for: '10m', text: '{device}: no power drawn after dusk' },
  { id: 'out-of-range@streetlight.power_w', title: { it: 'Misura fuori scala', en: 'Reading out of range' }, domain: 'lighting', severity: 'info', on: 'observations', when: 'power_w < 0 || power_w > 400', profile: 'streetlight', template: 'out-of-range', text: '{device}: {power_w} W' },
  { id: 'slow-traffic', title: { it: 'Traffico lento', en: 'Slow traffic' }, domain: 'mobility', severity: 'warning', on: 'observations', window: { type: 'sliding', size: '5m' }, let: { n: 'count(average_vehicle_speed)', v: 'avg(average_vehicle_speed)' }, when: 'n >= 5 && v < 10', key: 'zone', text: '{zone}: {v} km/h over 5 minutes' },
  { id: 'bus-late', title: { it: 'Autobus in ritardo', en: 'Bus late' }, domain: 'mobility', severity: 'info', on: 'observations', when: 'delay_s > 540', schedule: { days: ['mon-sat'], hours: ['06:00-22:00'], holidays: 'exclude' }, text: '{device}: {delay_s} s behind the timetable' },
  { id: 'tailgating', title: { it: 'Accesso senza badge', en: 'Entry without a badge' }, domain: 'safety', severity: 'critical', on: 'detections', sequence: [{ as: 'a', when: 'class == "person"' }, { as: 'b', within: '2m', on: 'observations', when: 'door_open == 1' }], unless: { within: '30s', when: 'badge_ok == 1' }, key: 'zone', mode: 'shadow', text: '{zone}: entered without a badge' },
  { id: 'pm10-high', title: { it: 'PM10 oltre il limite', en: 'PM10 above the limit' }, domain: 'environment', severity: 'major', on: 'observations', when: 'pm10 > 50 && pm10 > 1.5 * zone_avg("pm10")', for: '30m', text: '{device}: PM10 at {pm10}' },
  { id: 'bin-full', title: { it: 'Cassonetto pieno', en: 'Bin full' }, domain: 'waste', severity: 'warning', on: 'observations', when: 'filling_level > 95', clear: 'filling_level < 80', text: '{device}: {filling_level} % full' },
  { id: 'bin-fire', title: { it: 'Incendio in un cassonetto', en: 'Fire in a bin' }, domain: 'waste', severity: 'critical', on: 'observations', when: 'temperature > 60', text: '{device}: {temperature} °C inside' },
  { id: 'bin-silent', title: { it: 'Cassonetto muto', en: 'Bin silent' }, domain: 'waste', severity: 'info', on: 'observations', absent: '2h', text: '{device} says nothing' },
  { id: 'car-park-full', title: { it: 'Parcheggio pieno', en: 'Car park full' }, domain: 'parking', severity: 'info', on: 'observations', when: 'available_spots == 0', enabled: false, text: '{device}: no free spots' },
];
const mine = new Map(made.map((r, i) => [r.id, { enabled: true, ...r, version: (0xa1b2c3d4 + i * 7919).toString(16), file: r.template ? 'templates.yaml' : 'city.yaml', line: 4 + 11 * i }]));

export const rules = () => [...mine.values()];
export const rule = (id) => mine.get(id);

/** GET /api/v1/rule-stats */
export const ruleStats = () =>
  rules()
    .filter((r) => r.enabled)
    .map((r, i) => ({
      id: r.id, version: r.version, on: r.on, mode: r.mode ?? 'live', evaluations: 1_204_331 * (i + 1), matches: 911 * (i + 2), unknown: 17 * i, errors: r.id === 'pm10-high' ? 42 : 0,
      raised: 31 + 7 * i, cleared: 28 + 7 * i, late: r.window ? 12 : 0, dropped: 0, seconds: 0.9 + 0.7 * i,
      ...(r.id === 'pm10-high' ? { last_error: 'air-0007: division by zero' } : {}),
      ...(r.id === 'bin-fire' ? { failed: 'out of force: it failed on 1,000 readings one after another: temperature is text' } : {}),
    }));

/** POST /api/v1/rules/check: knows one mistake, a key that is misspelt. */
export function check(text) {
  const problems = text.split('\n').flatMap((line, i) => (line.startsWith('severty:') ? [{ line: i + 1, column: 1, message: 'unknown key "severty", want one of a rule\'s keys; did you mean "severity"?' }] : []));
  return { ok: problems.length === 0, problems };
}

/** POST /api/v1/rules/{id}/backtest */
export function backtest(id, { from, to }) {
  const [begin, end] = [Date.parse(from), Date.parse(to)];
  const step = end - begin > 14 * 86_400_000 ? 86_400 : 3600;
  const buckets = [];
  for (let t = Math.floor(begin / 1000 / step) * step, i = 0; t * 1000 < end; t += step, i++) buckets.push({ t: new Date(t * 1000).toISOString(), raised: (i * 5) % 7, cleared: (i * 5) % 6 });
  const r = mine.get(id) ?? made[0];
  const events = Array.from({ length: 12 }, (_, i) => ({
    id: `b${i}`, rule: id, rule_version: 'draft', severity: r.severity, state: i % 3 === 2 ? 'cleared' : 'raised', time: new Date(begin + ((end - begin) * (i + 1)) / 14).toISOString(),
    received: to, domain: r.domain, device: `asset-${String(i).padStart(4, '0')}`, key: `asset-${i}`, text: `asset-${String(i).padStart(4, '0')}: ${40 + i} W`, context: { values: { power_w: 40 + i } },
  }));
  return { readings: 1_440_000, left_out: 3, devices: 500, evaluations: 1_440_000, matches: 2_310, errors: 0, raised: buckets.reduce((n, b) => n + b.raised, 0), cleared: buckets.reduce((n, b) => n + b.cleared, 0), events, more: false, step_seconds: step, buckets, seconds: 0.8 };
}
