// What is made of cameras' figures: where they look, which of them want a look, and how counts and
// heat maps are laid out.
import type { Camera, CameraState, CountSeries, HeatMap, Step } from '../api/client';
import { mercatorX, mercatorY } from '../feed/table';

/** A camera's view on the ground, as a ring in Web Mercator 0 to 1, x and y in turn. */
export interface Cone {
  id: string;
  rank: number;
  ring: Float64Array;
}

const earth = 40_075_017; // m around the equator
const defaults = { fov: 60, range: 50 };

/** The view's outline: from the camera along an arc at its range; a circle where it sees all round. Null without a place or heading. */
export function cone(c: Pick<Camera, 'id' | 'lat' | 'lon' | 'heading_deg' | 'fov_deg' | 'range_m' | 'health'>): Cone | null {
  if (c.lat === null || c.lon === null) return null;
  const fov = Math.min(360, c.fov_deg ?? defaults.fov);
  if (c.heading_deg === null && fov < 360) return null;
  const x = mercatorX(c.lon);
  const y = mercatorY(c.lat);
  const radius = (c.range_m ?? defaults.range) / (earth * Math.cos((c.lat * Math.PI) / 180));
  const steps = Math.max(2, Math.ceil(fov / 7.5));
  const ring: number[] = fov < 360 ? [x, y] : [];
  for (let i = 0; i <= steps; i++) {
    const angle = (((c.heading_deg ?? 0) - fov / 2 + (fov * i) / steps) * Math.PI) / 180;
    ring.push(x + radius * Math.sin(angle), y - radius * Math.cos(angle)); // y grows southwards
  }
  ring.push(ring[0], ring[1]);
  return { id: c.id, rank: healthRank(c.health.state), ring: new Float64Array(ring) };
}

/** How much a state of health wants a look. */
export function healthRank(state: CameraState): 0 | 1 | 2 | 3 {
  switch (state) {
    case 'ok':
      return 0;
    case 'never':
      return 1;
    case 'silent':
    case 'unlawful':
      return 2;
    default:
      return 3; // tampered, signal_loss
  }
}

/** How a camera was at a moment of the past, by what was said within the hour: silent without a frame. */
export function pastState(then: { unlawful: boolean; lost: unknown; tampered: unknown; frames: unknown }): CameraState {
  if (then.unlawful) return 'unlawful';
  if (then.lost === 1) return 'signal_loss';
  if (then.tampered === 1) return 'tampered';
  return typeof then.frames === 'number' && then.frames > 0 ? 'ok' : 'silent';
}

/** A camera as it was at a moment of the past: of what the list says only who and where it is is not of now. */
export function cameraThen(c: Camera, values: Record<string, unknown> | undefined, seen: number): Camera {
  const now: Record<string, number> = {};
  const hidden: string[] = [];
  for (const [name, v] of Object.entries(values ?? {})) {
    if (typeof v === 'number') now[name] = v;
    else if (typeof v === 'string') hidden.push(name); // of too few to be told
  }
  const state = pastState({ unlawful: c.health.state === 'unlawful', lost: values?.signal_loss, tampered: values?.tampered, frames: values?.frames_per_s });
  const frames = typeof values?.frames_per_s === 'number' ? values.frames_per_s : null;
  return { ...c, alarm: null, now, hidden, health: { ...c.health, state, seen: seen > 0 ? new Date(seen).toISOString() : null, silent: false, frames_per_s: frames } };
}

/** What a camera counted in an hour, of a class; in, out and most are null where they are not known or of too few. */
export interface CameraHour {
  time: number;
  class: string;
  hidden?: boolean;
  in: number | null;
  out: number | null;
  most: number | null;
}

/** The hours of a camera's whole view, the newest first, in each the classes by name. */
export function hourly(series: readonly CountSeries[]): CameraHour[] {
  return series
    .filter((s) => s.zone === '')
    .flatMap((s) => s.points.map((p) => ({ time: Date.parse(p.time), class: s.class, hidden: p.hidden, in: p.in, out: p.out, most: p.present_max })))
    .sort((a, b) => b.time - a.time || a.class.localeCompare(b.class));
}

export type CameraSort = 'state' | 'id' | 'zone' | 'seen' | 'frames' | 'people' | 'vehicles';

/** A sorted copy. What is not known stands last in either direction; equals are in order of name. */
export function sortCameras(list: readonly Camera[], by: CameraSort, descending: boolean): Camera[] {
  const name = (c: Camera) => c.name || c.id;
  const place = (c: Camera): number | null => {
    switch (by) {
      case 'state':
        return healthRank(c.health.state);
      case 'seen':
        return c.health.seen === null ? null : Date.parse(c.health.seen);
      case 'frames':
        return c.health.frames_per_s;
      case 'people':
        return c.now.people_present ?? (c.hidden.includes('people_present') ? 0.5 : null); // few, but some
      case 'vehicles':
        return c.now.vehicles_present ?? (c.hidden.includes('vehicles_present') ? 0.5 : null);
      default:
        return 0;
    }
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const sign = descending ? -1 : 1;
  return [...list].sort((a, b) => {
    const [x, y] = [place(a), place(b)];
    if (x !== y) {
      if (x === null) return 1;
      if (y === null) return -1;
      return sign * (x - y);
    }
    const byName = collator.compare(name(a), name(b)) || collator.compare(a.id, b.id);
    if (by === 'zone') return sign * collator.compare(a.zone, b.zone) || byName;
    return (by === 'id' ? sign : 1) * byName;
  });
}

export type Measure = 'in' | 'out' | 'present';

export interface Aligned {
  /** Unix seconds, one a step */
  times: number[];
  /** the classes with the most, at most four, each with a value a step: null where it is hidden; the total is of those shown */
  classes: { name: string; values: (number | null)[]; total: number }[];
  /** classes beyond those */
  left: number;
  /** cells that hide fewer than k */
  hidden: number;
}

const seconds: Record<Step, number> = { '1m': 60, '5m': 300, '15m': 900, '1h': 3600, '1d': 86_400 };
const mostLines = 4;

/** Lays a camera's counts out for a chart: every step of the time has its place, one without a row is nobody. */
export function align(series: readonly CountSeries[], from: string, to: string, step: Step, measure: Measure): Aligned {
  const width = seconds[step];
  const start = Date.parse(from) / 1000;
  const n = Math.max(0, Math.min(5000, Math.round((Date.parse(to) / 1000 - start) / width)));
  const out: Aligned = { times: Array.from({ length: n }, (_, i) => start + i * width), classes: [], left: 0, hidden: 0 };
  for (const s of series) {
    const values = new Array<number | null>(n).fill(0);
    let total = 0;
    let gaps = 0;
    for (const p of s.points) {
      const i = Math.round((Date.parse(p.time) / 1000 - start) / width);
      if (i < 0 || i >= n) continue;
      values[i] = p.hidden ? null : (p[measure] ?? 0);
      total += values[i] ?? 0;
      if (p.hidden) gaps++;
    }
    out.hidden += gaps;
    if (total > 0 || gaps > 0) out.classes.push({ name: s.class, values, total });
  }
  out.classes.sort((a, b) => b.total - a.total || a.name.localeCompare(b.name));
  out.left = Math.max(0, out.classes.length - mostLines);
  out.classes.length = Math.min(out.classes.length, mostLines);
  return out;
}

/** How dark a cell is, 0 to 1: by the square root, so that one crowded cell does not blank out the rest. */
export const heatShade = (n: number, max: number): number => (n <= 0 || max <= 0 ? 0 : Math.sqrt(n / max));

export interface Busy {
  /** place by thirds of the image: top left is 0, bottom right 8 */
  third: number;
  objects: number;
}

/** The fullest places, at most three, the fullest first: each third of the image by its fullest cell. */
export function busiest(h: Pick<HeatMap, 'columns' | 'rows' | 'cells'>): Busy[] {
  const best = new Array<number>(9).fill(0);
  h.cells.forEach((n, i) => {
    const column = Math.floor(((i % h.columns) * 3) / h.columns);
    const row = Math.floor((Math.floor(i / h.columns) * 3) / h.rows);
    best[3 * row + column] = Math.max(best[3 * row + column], n);
  });
  return best
    .map((objects, third) => ({ third, objects }))
    .filter((b) => b.objects > 0)
    .sort((a, b) => b.objects - a.objects || a.third - b.third)
    .slice(0, 3);
}

/** Values of a camera that its panel shows in its own way. */
export const cameraMetric = (name: string): boolean => /^(people|bicycles|vehicles)_(in|out|present|queued)$|^(frames_per_s|tampered|signal_loss)$/.test(name);
