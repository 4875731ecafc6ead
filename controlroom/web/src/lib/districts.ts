import type { DistrictPaint } from '../map/backend';
import type { Lang } from '../i18n/translate';
import { markColours, type Rank } from './marks';
import { shaped, type Shape } from './domains';
import { percent } from './radio';

/** The assets of a zone: how many, by severity rank, and how many have been silent too long. */
export interface AreaCount {
  zone: string;
  total: number;
  ranks: number[];
  silent: number;
}

/** A line of the legend. */
export interface Shade {
  fill: string;
  alpha: number;
  text: string;
  /** of a severity: its sign stands beside it */
  rank?: number;
}

export interface Shading {
  paint: Map<string, DistrictPaint>;
  legend: Shade[];
}

const patience = 3; // expected periods without a word until a device is silent
const unknownPeriod = 3_600_000; // ms, where no profile says one

/** After how long, ms, devices of a profile are silent, by the profile's id; '' is of those without. */
export function silentAfter(profiles: readonly { id: string; expected_period?: string }[]): Record<string, number> {
  const after: Record<string, number> = { '': patience * unknownPeriod };
  for (const p of profiles) after[p.id] = patience * (duration(p.expected_period ?? '') ?? unknownPeriod);
  return after;
}

/** A duration of the API, such as 6m15s, in ms; undefined for what is none. */
export function duration(text: string): number | undefined {
  const unit: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, n, u] of text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) sum += Number(n) * unit[u];
  return sum > 0 ? sum : undefined;
}

/** Each district in the colour of the gravest that stands open in it; how many there are is on its badge. */
export function byAlarms(areas: readonly AreaCount[], severity: (rank: number) => string): Shading {
  const paint = new Map<string, DistrictPaint>();
  const there = new Set<Rank>();
  for (const a of areas) {
    const rank = ([4, 3, 2, 1] as const).find((r) => a.ranks[r] > 0);
    if (!rank) continue;
    there.add(rank);
    paint.set(a.zone, { fill: markColours[rank].fill, alpha: 0.32, note: '', badge: true });
  }
  const legend = ([4, 3, 2, 1] as const).filter((r) => there.has(r)).map((r): Shade => ({ fill: markColours[r].fill, alpha: 0.32, text: severity(r), rank: r }));
  return { paint, legend };
}

const shareEdges = [0, 0.01, 0.05, 0.1];

/** Each district by a share of 0 to 1, in greys: none, and four classes above. */
export function byShare(shares: ReadonlyMap<string, number>, ramp: readonly string[], lang: Lang): Shading {
  const classOf = (v: number) => (v <= 0 ? 0 : 1 + shareEdges.filter((e, i) => i > 0 && v >= e).length);
  const text = ['0 %', ...shareEdges.map((e, i) => (i < shareEdges.length - 1 ? `${i === 0 ? '>' : '≥'} ${percent(lang, e)}` : `≥ ${percent(lang, e)}`))];
  return shade(shares, classOf, text, ramp, (v) => percent(lang, v));
}

/** Each district by a figure, in greys: five classes of the same width between the least and the greatest. */
export function byFigure(values: ReadonlyMap<string, number>, ramp: readonly string[], lang: Lang, shape: Shape, unit: string | undefined): Shading {
  const all = [...values.values()];
  if (all.length === 0) return { paint: new Map(), legend: [] };
  const least = Math.min(...all);
  const width = (Math.max(...all) - least) / ramp.length;
  const say = (v: number) => shaped(lang, v, shape, unit);
  if (width === 0) return shade(values, () => 0, [say(least)], ramp, say);
  const text = ramp.map((_, i) => `${say(least + i * width)} – ${say(least + (i + 1) * width)}`);
  return shade(values, (v) => Math.min(ramp.length - 1, Math.floor((v - least) / width)), text, ramp, say);
}

function shade(values: ReadonlyMap<string, number>, classOf: (v: number) => number, text: readonly string[], ramp: readonly string[], say: (v: number) => string): Shading {
  const paint = new Map<string, DistrictPaint>();
  for (const [zone, v] of values) paint.set(zone, { fill: ramp[classOf(v)], alpha: 0.75, note: say(v), badge: false });
  return { paint, legend: text.map((t, i) => ({ fill: ramp[i], alpha: 0.75, text: t })) };
}
