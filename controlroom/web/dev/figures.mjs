// What the domains, the cameras and the radio network of the made-up city come to.

/** GET /api/v1/domains/{domain}/groups: devices by one of their fields, and their metrics summed up. */
export function groups(list, by) {
  const found = new Map();
  for (const d of list) {
    const key = String(d[by] ?? '');
    let g = found.get(key);
    if (!g) found.set(key, (g = { key, devices: 0, heard: 0, silent: 0, alarms: {}, values: {} }));
    g.devices++;
    g.heard++;
    if (d.alarm) g.alarms[d.alarm] = (g.alarms[d.alarm] ?? 0) + 1;
    for (const [metric, v] of Object.entries(d.values)) {
      const s = (g.values[metric] ??= { n: 0, sum: 0, avg: null, min: null, max: null });
      s.n++;
      if (typeof v === 'string') s.texts = { ...s.texts, [v]: (s.texts?.[v] ?? 0) + 1 };
      else Object.assign(s, { sum: s.sum + v, min: Math.min(s.min ?? v, v), max: Math.max(s.max ?? v, v), over_devices: (s.over_devices ?? 0) + 1, hours: (s.hours ?? 0) + 11, growth: (s.growth ?? 0) + v / 100 });
    }
  }
  for (const g of found.values()) for (const s of Object.values(g.values)) if (!s.texts) s.avg = s.sum / s.n;
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** GET /api/v1/environment/indexes */
export function indexes(list) {
  const limits = [
    { index: 'pm10_24h', metric: 'pm10', unit: 'ug/m3', limit: 50, alarm: null, allowed_a_year: 35, source: 'D.Lgs. 155/2010' },
    { index: 'no2_1h', metric: 'no2', unit: 'ug/m3', limit: 200, alarm: 400, allowed_a_year: 18, source: 'D.Lgs. 155/2010' },
  ];
  const stations = list.map((d) => ({
    id: d.id, name: d.name, zone: d.zone, noise_class: 3,
    indexes: limits.map((l) => ({ index: l.index, value: d.values[l.metric], hours: 24, limit: l.limit, over: d.values[l.metric] > l.limit, alarm: false })),
  }));
  return { stations, limits };
}

/** GET /api/v1/environment/exceedances: of the first stations more than is allowed, of others nearly. */
export function exceedances(list, year, until) {
  const { limits } = indexes([]);
  const means = [{ index: 'pm10_year', metric: 'pm10', unit: 'ug/m3', limit: 40, alarm: null, source: 'D.Lgs. 155/2010' }];
  const stations = list.map((d, i) => ({
    id: d.id, name: d.name, zone: d.zone,
    counts: limits.map((l) => {
      const count = Math.max(0, l.allowed_a_year + 3 - 4 * i);
      return { index: l.index, count, per: l.index.endsWith('1h') ? 'hour' : 'day', allowed: l.allowed_a_year, over: count > l.allowed_a_year, last: count > 0 ? `${year}-04-0${1 + (i % 9)}T23:00:00.000Z` : null, valid: 150 - i, of: 166 };
    }),
    means: [{ index: 'pm10_year', value: 41.2 - i, limit: 40, over: i < 1, valid: 3900, of: 3990 }],
  }));
  return { year, until, stations, limits, means };
}

/** Cameras that look at streets, in the form of GET /api/v1/cameras. */
export function cameras(now, near) {
  return ['ok', 'ok', 'silent', 'tampered', 'unlawful'].map((state, i) => ({
    id: `camera-${i + 1}`, name: `Via Maqueda ${12 * (i + 1)}`, domain: 'safety', zone: `z${i}`, lat: near[1] + i * 0.004, lon: near[0] + i * 0.003,
    heading_deg: 40 + 60 * i, fov_deg: 70, range_m: 60, purpose: 'traffic', legal_basis: state === 'unlawful' ? '' : 'D.Lgs. 285/1992 art. 7', controller: 'Comune', dpia_ref: `DPIA-${i + 1}`,
    areas: [{ name: 'gate', kind: 'line', points: [[0.5, 1], [0.5, 0]] }], alarm: state === 'tampered' ? 'major' : null,
    health: { state, seen: new Date(now - (state === 'silent' ? 5_400_000 : 2_000)).toISOString(), frames_per_s: state === 'ok' ? 12 : null, silent: state === 'silent', tampered: state === 'tampered', signal_loss: false },
    now: { people_present: 4 + i, vehicles_present: 2 * i, people_in: 11, vehicles_in: 7 }, hidden: [], k: 5,
  }));
}

export const gateways = (now) =>
  ['Monte Pellegrino', 'Porto', 'Brancaccio'].map((name, i) => ({ id: `gw-${i + 1}`, name, seen: new Date(now - 4_000 * (i + 1)).toISOString(), uplinks: 5200 - 1700 * i, devices: 410 - 90 * i, rssi_dbm: -92 - 6 * i, snr_db: 7.5 - 3 * i, loss: 0.01 + 0.03 * i, airtime_ms: 61_000 - 9_000 * i }));

export const radioDevices = (now, list) =>
  list.slice(0, 24).map((d, i) => ({ id: d.id, name: d.name, seen: new Date(now - 30_000 * i).toISOString(), uplinks: 96 - i, gateways: 1 + (i % 3), rssi_dbm: -88 - i, snr_db: 8 - i / 2, data_rates: ['SF7BW125', 'SF9BW125'].slice(0, 1 + (i % 2)), expected: 96, lost: i, loss: i / 96, airtime_ms: 5_400, last: { gateway: 'gw-1', rssi_dbm: -88 - i, snr_db: 8 - i / 2, data_rate: 'SF7BW125' } }));
