import type { Group } from '../api/domains';
import type { Key } from '../i18n/en';
import type { Lang } from '../i18n/translate';
import { count, measure } from './format';
import { percent } from './radio';

/** minutes are of seconds, kmh of metres a second */
export type Shape = 'count' | 'measure' | 'percent' | 'minutes' | 'kmh';

/** A figure of a group, or of several taken together; null where nothing can be said. */
export interface Figure {
  key: string;
  label: Key;
  unit?: string;
  shape: Shape;
  of: (g: Group) => number | null;
  /** left out where the table is narrow */
  wide?: boolean;
}

/** A list of single devices: those that have a metric, and what of them is told. */
export interface List {
  key: string;
  title: Key;
  has: string;
  not?: string;
  descending: boolean;
  columns: { metric: string; label: Key; unit?: string; shape: Shape | 'text'; wide?: boolean }[];
}

export interface Domain {
  /** what it is told by, the first unless another is chosen */
  by: { key: string; label: Key }[];
  metrics: string[];
  /** also what the metrics came to in the last 24 hours */
  over: boolean;
  figures: Figure[];
  /** the figure by which the groups stand, the most first; by their names without */
  first?: string;
  lists: List[];
  /** where more is told of it */
  more?: 'cameras' | 'radio';
}

const sum = (metric: string) => (g: Group) => g.values[metric]?.sum ?? null;
const avg = (metric: string) => (g: Group) => g.values[metric]?.avg ?? null;
const max = (metric: string) => (g: Group) => g.values[metric]?.max ?? null;
const over = (a: number | null | undefined, b: number | null | undefined) => (a === null || a === undefined || !b ? null : a / b);

const zone = { key: 'zone', label: 'asset.zone' } as const;
const street = { key: 'street', label: 'domains.street' } as const;
const devices: Figure = { key: 'devices', label: 'domains.devices', shape: 'count', of: (g) => g.devices };
const abnormal: Figure = { key: 'abnormal', label: 'domains.abnormal', shape: 'count', of: (g) => Object.values(g.alarms).reduce((a, b) => a + b, 0) };
const silent: Figure = { key: 'silent', label: 'domains.silent', shape: 'count', of: (g) => g.silent };

/** Those of a status that is not ok; null where none tells one. */
function broken(g: Group): number | null {
  const texts = g.values.status?.texts;
  return texts ? Object.entries(texts).reduce((n, [text, devices]) => (text === 'ok' ? n : n + devices), 0) : null;
}

const known: Record<string, Domain> = {
  lighting: {
    by: [street, zone, { key: 'cabinet', label: 'domains.cabinet' }],
    first: 'out', // lamps out by street
    metrics: ['on', 'power_w', 'status', 'energy_kwh'],
    over: true,
    figures: [
      { ...devices, label: 'domains.lamps' },
      { key: 'burning', label: 'domains.burning', shape: 'count', of: sum('on') },
      { key: 'out', label: 'domains.out', shape: 'count', of: broken },
      { key: 'power', label: 'domains.power', unit: 'kW', shape: 'measure', of: (g) => over(g.values.power_w?.sum, 1000) },
      { key: 'hours', label: 'domains.hours', unit: 'h', shape: 'measure', of: (g) => over(g.values.on?.hours, g.values.on?.over_devices), wide: true },
      { key: 'energy', label: 'domains.energy', unit: 'kWh', shape: 'measure', of: (g) => g.values.energy_kwh?.growth ?? null, wide: true },
      silent,
      abnormal,
    ],
    lists: [
      {
        key: 'out',
        title: 'domains.list.out',
        has: 'status',
        not: 'ok',
        descending: false,
        columns: [
          { metric: 'status', label: 'domains.fault', shape: 'text' },
          { metric: 'power_w', label: 'domains.draws', unit: 'W', shape: 'measure' },
          { metric: 'dimming', label: 'domains.level', shape: 'percent', wide: true },
        ],
      },
    ],
  },
  mobility: {
    by: [zone, street, { key: 'line', label: 'domains.line' }],
    metrics: ['intensity', 'speed_kmh', 'occupancy', 'congested', 'delay_s', 'passengers'],
    over: false,
    figures: [
      { key: 'flow', label: 'domains.flow', unit: '/h', shape: 'count', of: avg('intensity') },
      { key: 'speed', label: 'domains.speed', unit: 'km/h', shape: 'measure', of: avg('speed_kmh') },
      { key: 'occupancy', label: 'domains.occupancy', shape: 'percent', of: avg('occupancy'), wide: true },
      { key: 'congested', label: 'domains.congested', shape: 'count', of: sum('congested') },
      { key: 'buses', label: 'domains.buses', shape: 'count', of: (g) => g.values.delay_s?.n ?? null },
      { key: 'delay', label: 'domains.delay', shape: 'minutes', of: avg('delay_s') },
      { key: 'latest', label: 'domains.latest', shape: 'minutes', of: max('delay_s'), wide: true },
      { key: 'passengers', label: 'domains.passengers', shape: 'count', of: sum('passengers'), wide: true },
      silent,
      abnormal,
    ],
    lists: [
      {
        key: 'buses',
        title: 'domains.list.buses',
        has: 'delay_s',
        descending: true,
        columns: [
          { metric: 'delay_s', label: 'domains.late', shape: 'minutes' },
          { metric: 'passengers', label: 'domains.passengers', shape: 'count', wide: true },
          { metric: 'speed_mps', label: 'domains.pace', unit: 'km/h', shape: 'kmh', wide: true },
        ],
      },
      {
        key: 'loops',
        title: 'domains.list.loops',
        has: 'speed_kmh',
        descending: false,
        columns: [
          { metric: 'speed_kmh', label: 'domains.speed', unit: 'km/h', shape: 'measure' },
          { metric: 'intensity', label: 'domains.flow', unit: '/h', shape: 'count' },
          { metric: 'occupancy', label: 'domains.occupancy', shape: 'percent', wide: true },
        ],
      },
    ],
  },
  environment: { by: [zone], metrics: [], over: false, figures: [], lists: [] },
  waste: {
    by: [zone, { key: 'waste_type', label: 'domains.wasteType' }, street],
    metrics: ['filling_level', 'battery_level'],
    over: false,
    figures: [
      { ...devices, label: 'domains.bins' },
      { key: 'fill', label: 'domains.fillMean', shape: 'percent', of: avg('filling_level') },
      { key: 'fullest', label: 'domains.fillMax', shape: 'percent', of: max('filling_level') },
      { key: 'battery', label: 'domains.batteryMin', shape: 'percent', of: (g) => g.values.battery_level?.min ?? null, wide: true },
      silent,
      abnormal,
    ],
    lists: [
      {
        key: 'bins',
        title: 'domains.list.bins',
        has: 'filling_level',
        descending: true,
        columns: [
          { metric: 'filling_level', label: 'domains.fill', shape: 'percent' },
          { metric: 'temperature', label: 'domains.temperature', unit: '°C', shape: 'measure', wide: true },
          { metric: 'battery_level', label: 'domains.battery', shape: 'percent', wide: true },
        ],
      },
    ],
  },
  parking: {
    by: [zone, street],
    metrics: ['available_spot_number', 'total_spot_number'],
    over: false,
    figures: [
      { ...devices, label: 'domains.areas' },
      { key: 'free', label: 'domains.free', shape: 'count', of: sum('available_spot_number') },
      { key: 'places', label: 'domains.places', shape: 'count', of: sum('total_spot_number') },
      { key: 'freeShare', label: 'domains.freeShare', shape: 'percent', of: (g) => over(g.values.available_spot_number?.sum, g.values.total_spot_number?.sum) },
      silent,
      abnormal,
    ],
    lists: [
      {
        key: 'areas',
        title: 'domains.list.areas',
        has: 'available_spot_number',
        descending: false,
        columns: [
          { metric: 'available_spot_number', label: 'domains.free', shape: 'count' },
          { metric: 'total_spot_number', label: 'domains.places', shape: 'count' },
          { metric: 'occupancy', label: 'domains.occupancy', shape: 'percent', wide: true },
        ],
      },
    ],
  },
};

const other: Domain = { by: [zone, { key: 'profile', label: 'asset.profile' }], metrics: [], over: false, figures: [devices, silent, abnormal], lists: [] };

const withMore: Record<string, Domain> = { safety: { ...other, more: 'cameras' }, lorawan: { ...other, more: 'radio' } };

/** What is told of a domain; of one that is not known what can be told of any. */
export const domainOf = (name: string): Domain => known[name] ?? withMore[name] ?? other;

/** All groups as one: the domain. */
export function together(groups: readonly Group[]): Group {
  const all: Group = { key: '', devices: 0, heard: 0, silent: 0, alarms: {}, values: {} };
  const plus = (a: number | null | undefined, b: number | null | undefined) => (a == null ? (b ?? null) : a + (b ?? 0));
  for (const g of groups) {
    all.devices += g.devices;
    all.heard += g.heard;
    all.silent += g.silent;
    for (const [severity, n] of Object.entries(g.alarms)) all.alarms[severity] = (all.alarms[severity] ?? 0) + n;
    for (const [metric, v] of Object.entries(g.values)) {
      const s = (all.values[metric] ??= { n: 0, sum: null, avg: null, min: null, max: null });
      s.n += v.n;
      s.sum = plus(s.sum, v.sum);
      s.avg = over(s.sum, s.n);
      s.min = s.min === null ? v.min : Math.min(s.min, v.min ?? s.min);
      s.max = s.max === null ? v.max : Math.max(s.max, v.max ?? s.max);
      if (v.over_devices !== undefined) s.over_devices = (s.over_devices ?? 0) + v.over_devices;
      if (v.hours !== undefined) s.hours = (s.hours ?? 0) + v.hours;
      if (v.growth !== undefined) s.growth = (s.growth ?? 0) + v.growth;
      for (const [text, n] of Object.entries(v.texts ?? {})) (s.texts ??= {})[text] = (s.texts[text] ?? 0) + n;
    }
  }
  return all;
}

/** Adds to groups of now what was asked of a day before: of which nothing says how it is now. */
export function withDay(groups: readonly Group[], day: ReadonlyMap<string, Group>): void {
  for (const g of groups) {
    for (const [metric, { over_devices, hours, growth }] of Object.entries(day.get(g.key)?.values ?? {})) {
      if (hours !== undefined) g.values[metric] = { ...(g.values[metric] ?? { n: 0, sum: null, avg: null, min: null, max: null }), over_devices, hours, growth };
    }
  }
}

const rounded = (lang: Lang, v: number) => measure(lang, Math.abs(v) >= 100 ? Math.round(v) : Math.round(v * 10) / 10);

/** A figure in words; a dash for none. */
export function shaped(lang: Lang, v: number | null | undefined, shape: Shape, unit = ''): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return '–';
  const text =
    shape === 'count' ? count(lang, v) : shape === 'percent' ? percent(lang, v) : shape === 'minutes' ? `${measure(lang, Math.round(v / 6) / 10)} min` : rounded(lang, shape === 'kmh' ? 3.6 * v : v);
  return unit ? `${text} ${unit}` : text;
}

/** A sorted copy by a number; what has none stands last in either direction. */
export function sorted<T extends { id: string }>(rows: readonly T[], of: (row: T) => number | string | null, descending: boolean, lang: Lang): T[] {
  const text = new Intl.Collator(lang, { numeric: true }).compare;
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x === null || y === null) return x === y ? text(a.id, b.id) : x === null ? 1 : -1;
    const by = typeof x === 'number' && typeof y === 'number' ? x - y : text(String(x), String(y));
    return sign * by || text(a.id, b.id);
  });
}
