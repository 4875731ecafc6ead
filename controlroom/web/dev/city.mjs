// A made-up city for the mock server: districts, streets, assets and what they measure. Seeded.

/** A small seeded generator (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** longitude and latitude */
export const centre = [13.355, 38.118];
const lonPerKm = 1 / 87.4;
const latPerKm = 1 / 111.2;
const at = (east, north) => [centre[0] + east * lonPerKm, centre[1] + north * latPerKm];

const districts = ['Kalsa', 'Albergheria', 'Noce', 'Zisa', 'Libertà', 'Resuttana', 'Mondello', 'Brancaccio'];

export function zones() {
  // Two rings of four around the centre.
  const features = [];
  districts.forEach((name, i) => {
    const ring = i < 4 ? [0, 2.2] : [2.2, 5.5];
    const from = ((i % 4) * Math.PI) / 2 + 0.4;
    const line = [];
    for (let k = 0; k <= 16; k++) line.push(at(...polar(ring[1] * (1 + 0.08 * Math.sin(5 * (from + k / 8) + i)), from + (k / 16) * (Math.PI / 2))));
    if (ring[0] === 0) line.push(at(0, 0));
    else for (let k = 16; k >= 0; k--) line.push(at(...polar(ring[0] * (1 + 0.08 * Math.sin(5 * (from + k / 8) + i - 4)), from + (k / 16) * (Math.PI / 2))));
    line.push(line[0]);
    features.push({ type: 'Feature', id: `z${i}`, properties: { id: `z${i}`, name, kind: 'district', ...(i === 1 ? { rules: { 'lamp-burning-by-day': { limit: 35 } } } : {}) }, geometry: { type: 'Polygon', coordinates: [line] } });
  });
  return features;
}

const polar = (r, angle) => [r * Math.cos(angle), r * Math.sin(angle)];

export function streets(rnd) {
  const lines = [];
  for (let i = 0; i < 14; i++) {
    const angle = (i / 14) * 2 * Math.PI + 0.1;
    lines.push([0.3, 1.5, 3, 5].map((r, k) => at(...polar(r, angle + 0.06 * k * (rnd() - 0.5)))));
  }
  for (const r of [0.7, 1.3, 2, 2.8, 3.7, 4.7]) {
    lines.push(Array.from({ length: 49 }, (_, k) => at(...polar(r * (1 + 0.03 * Math.sin(3 * k)), (k / 48) * 2 * Math.PI))));
  }
  for (let i = 0; i < 120; i++) {
    const [e, n] = polar(0.4 + 4.4 * Math.sqrt(rnd()), rnd() * 2 * Math.PI);
    const angle = rnd() * Math.PI;
    const half = 0.2 + 0.5 * rnd();
    lines.push([at(e - half * Math.cos(angle), n - half * Math.sin(angle)), at(e + half * Math.cos(angle), n + half * Math.sin(angle))]);
  }
  return lines;
}

export const profiles = {
  streetlight: {
    id: 'streetlight',
    domain: 'lighting',
    expected_period: '1m0s',
    rules: { 'lamp-burning-by-day': { limit: 25 } },
    metrics: {
      power_w: { unit: 'W', min: 0, max: 400, label: { it: 'Potenza', en: 'Power' } },
      dimming: { unit: '%', min: 0, max: 100, label: { it: 'Regolazione', en: 'Dimming' } },
      on: { label: { it: 'Acceso', en: 'On' } },
      voltage_v: { unit: 'V', label: { it: 'Tensione', en: 'Voltage' } },
      status: { label: { it: 'Stato', en: 'Status' } },
    },
  },
  loop: {
    id: 'loop',
    domain: 'mobility',
    metrics: {
      intensity: { unit: '{vehicles}/h', label: { it: 'Flusso', en: 'Flow' } },
      average_vehicle_speed: { unit: 'km/h', label: { it: 'Velocità media', en: 'Average speed' } },
      occupancy: { unit: '%', label: { it: 'Occupazione', en: 'Occupancy' } },
    },
  },
  bus: { id: 'bus', domain: 'mobility', metrics: { speed_kmh: { unit: 'km/h', label: { it: 'Velocità', en: 'Speed' } }, delay_s: { unit: 's', label: { it: 'Ritardo', en: 'Delay' } } } },
  air: {
    id: 'air',
    domain: 'environment',
    metrics: {
      pm10: { unit: 'ug/m3', label: { it: 'PM10', en: 'PM10' } },
      no2: { unit: 'ug/m3', label: { it: 'NO₂', en: 'NO₂' } },
      temperature: { unit: 'Cel', label: { it: 'Temperatura', en: 'Temperature' } },
      l_aeq: { unit: 'dB[A]', label: { it: 'Livello sonoro', en: 'Sound level' } },
    },
  },
  bin: { id: 'bin', domain: 'waste', metrics: { filling_level: { unit: '%', label: { it: 'Riempimento', en: 'Filling' } }, battery_v: { unit: 'V', label: { it: 'Batteria', en: 'Battery' } } } },
  car_park: { id: 'car_park', domain: 'parking', metrics: { available_spots: { unit: '1', label: { it: 'Posti liberi', en: 'Free spots' } }, occupancy: { unit: '%', label: { it: 'Occupazione', en: 'Occupancy' } } } },
};

const kinds = [
  { profile: 'streetlight', prefix: 'lamp', share: 5000, street: true },
  { profile: 'loop', prefix: 'loop', share: 300, street: true },
  { profile: 'bus', prefix: 'bus', share: 250, street: true },
  { profile: 'air', prefix: 'air', share: 60 },
  { profile: 'bin', prefix: 'bin', share: 800, street: true },
  { profile: 'car_park', prefix: 'park', share: 200 },
];

export function values(rnd, profile, old = {}) {
  const near = (key, from, to, step) => {
    const v = (old[key] ?? from + (to - from) * rnd()) + (rnd() - 0.5) * step;
    return Math.round(Math.min(to, Math.max(from, v)) * 10) / 10;
  };
  switch (profile) {
    case 'streetlight':
      return { power_w: near('power_w', 40, 120, 4), dimming: near('dimming', 30, 100, 2), on: 1, voltage_v: near('voltage_v', 222, 236, 1), status: 'ok' };
    case 'loop':
      return { intensity: Math.round(near('intensity', 40, 1800, 60)), average_vehicle_speed: near('average_vehicle_speed', 6, 62, 3), occupancy: near('occupancy', 2, 70, 3) };
    case 'bus':
      return { speed_kmh: near('speed_kmh', 0, 48, 9), delay_s: Math.round(near('delay_s', -60, 900, 20)) };
    case 'air':
      return { pm10: near('pm10', 8, 60, 1), no2: near('no2', 10, 90, 2), temperature: near('temperature', 12, 24, 0.2), l_aeq: near('l_aeq', 45, 78, 1.5) };
    case 'bin':
      return { filling_level: near('filling_level', 2, 100, 1), battery_v: near('battery_v', 3.2, 3.7, 0.01) };
    default:
      return { available_spots: Math.round(near('available_spots', 0, 240, 3)), occupancy: near('occupancy', 10, 100, 1) };
  }
}

/** `now` in ms: when they were last heard is up to a minute before. */
export function assets(rnd, lines, count, now) {
  const total = kinds.reduce((n, k) => n + k.share, 0);
  const out = [];
  for (const kind of kinds) {
    const n = Math.max(1, Math.round((kind.share * count) / total));
    for (let i = 0; i < n; i++) {
      let place;
      let street;
      if (kind.street) {
        const n = Math.floor(rnd() * lines.length);
        const line = lines[n];
        street = `Via ${n + 1}`;
        const k = Math.floor(rnd() * (line.length - 1));
        const f = rnd();
        place = [0, 1].map((c) => line[k][c] + f * (line[k + 1][c] - line[k][c]) + (rnd() - 0.5) * 0.0001);
      } else place = at(...polar(5 * Math.sqrt(rnd()), rnd() * 2 * Math.PI));
      const id = `${kind.prefix}-${String(i + 1).padStart(4, '0')}`;
      out.push({
        id,
        domain: profiles[kind.profile].domain,
        profile: kind.profile,
        zone: `z${Math.floor(rnd() * districts.length)}`,
        street,
        name: kind.prefix === 'park' ? `Parcheggio ${i + 1}` : '',
        lon: place[0],
        lat: place[1],
        t: now - Math.floor(rnd() * 60_000),
        alarm: null,
        values: values(rnd, kind.profile),
      });
    }
  }
  return out;
}

export const troubles = {
  lighting: [
    ['warning', 'lamp-burning-by-day', (d) => `${d.id}: ${d.values.power_w} W with the sun 21 degrees up`],
    ['major', 'lamp-dead', (d) => `${d.id}: no power drawn after dusk`],
  ],
  mobility: [
    ['warning', 'slow-traffic', (d) => `${d.id}: average speed under 10 km/h for 5 minutes`],
    ['info', 'bus-late', (d) => `${d.id}: 9 minutes behind the timetable`],
  ],
  environment: [['major', 'pm10-high', (d) => `${d.id}: PM10 at 62 µg/m³, the daily limit is 50`]],
  waste: [
    ['warning', 'bin-full', (d) => `${d.id}: 96 % full`],
    ['critical', 'bin-fire', (d) => `${d.id}: 71 °C inside`],
  ],
  parking: [['info', 'car-park-full', (d) => `${d.name || d.id}: no free spots`]],
};
