import type { Geometry, Position } from 'geojson';

/** Twice the signed area of a ring, and its centre of gravity. */
function weigh(ring: readonly Position[]): { area: number; x: number; y: number } {
  let area = 0;
  let x = 0;
  let y = 0;
  const [ox, oy] = ring[0] ?? [0, 0]; // near the ring: the sums stay exact
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const ax = ring[j][0] - ox;
    const ay = ring[j][1] - oy;
    const bx = ring[i][0] - ox;
    const by = ring[i][1] - oy;
    const cross = ax * by - bx * ay;
    area += cross;
    x += (ax + bx) * cross;
    y += (ay + by) * cross;
  }
  return area === 0 ? { area, x: ox, y: oy } : { area, x: ox + x / (3 * area), y: oy + y / (3 * area) };
}

function inside(ring: readonly Position[], x: number, y: number): boolean {
  let is = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [ax, ay] = ring[i];
    const [bx, by] = ring[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) is = !is;
  }
  return is;
}

/** Where the name of an area stands: in its largest part. Undefined for what is no area. */
export const labelPoint = (g: Geometry | null): [lon: number, lat: number] | undefined => labelRoom(g)?.at;

/** Where the name of an area stands, and how much room it has: the side of a square as large as that part, in degrees. */
export function labelRoom(g: Geometry | null): { at: [lon: number, lat: number]; side: number } | undefined {
  const polygons = g?.type === 'Polygon' ? [g.coordinates] : g?.type === 'MultiPolygon' ? g.coordinates : [];
  let best: { ring: Position[]; area: number; x: number; y: number } | undefined;
  for (const [ring] of polygons) {
    if (!ring || ring.length < 3) continue;
    const w = weigh(ring);
    if (!best || Math.abs(w.area) > Math.abs(best.area)) best = { ring, ...w };
  }
  if (!best) return undefined;
  const { ring, x, y } = best;
  const side = Math.sqrt(Math.abs(best.area) / 2);
  if (inside(ring, x, y)) return { at: [x, y], side };
  // Of a bent shape: the middle of the widest stretch at that height.
  const cuts: number[] = [];
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [ax, ay] = ring[i];
    const [bx, by] = ring[j];
    if (ay > y !== by > y) cuts.push(((bx - ax) * (y - ay)) / (by - ay) + ax);
  }
  cuts.sort((a, b) => a - b);
  let at = x;
  let widest = 0;
  for (let i = 0; i + 1 < cuts.length; i += 2) {
    if (cuts[i + 1] - cuts[i] <= widest) continue;
    widest = cuts[i + 1] - cuts[i];
    at = (cuts[i] + cuts[i + 1]) / 2;
  }
  return { at: [at, y], side };
}

/** Whether a place lies in an area; its holes are not looked at. */
export function contains(g: Geometry | null, lon: number, lat: number): boolean {
  if (g?.type === 'Polygon') return inside(g.coordinates[0] ?? [], lon, lat);
  return g?.type === 'MultiPolygon' && g.coordinates.some(([ring]) => inside(ring ?? [], lon, lat));
}

/** The box of an area: west, south, east, north; undefined for what is none. */
export function bounds(g: Geometry | null): [number, number, number, number] | undefined {
  const points = g?.type === 'Polygon' ? g.coordinates.flat() : g?.type === 'MultiPolygon' ? g.coordinates.flat(2) : [];
  if (points.length === 0) return undefined;
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon, lat] of points) {
    box[0] = Math.min(box[0], lon);
    box[1] = Math.min(box[1], lat);
    box[2] = Math.max(box[2], lon);
    box[3] = Math.max(box[3], lat);
  }
  return box;
}
