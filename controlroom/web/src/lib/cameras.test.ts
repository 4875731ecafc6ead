import { describe, expect, it } from 'vitest';
import type { Camera, CameraState, CountPoint } from '../api/client';
import { align, busiest, cameraMetric, cameraThen, cone, healthRank, heatShade, hourly, sortCameras, pastState } from './cameras';
import { mercatorX, mercatorY } from '../feed/table';

const camera = (id: string, change: Partial<Camera> = {}, state: CameraState = 'ok', seen: string | null = null, frames: number | null = null): Camera => ({
  id,
  name: '',
  domain: 'mobility',
  zone: '',
  lat: 38.1157,
  lon: 13.3615,
  heading_deg: 90,
  fov_deg: 60,
  range_m: 100,
  purpose: 'traffic',
  legal_basis: '',
  controller: '',
  dpia_ref: '',
  areas: [],
  alarm: null,
  health: { state, seen, frames_per_s: frames, silent: false, tampered: false, signal_loss: false },
  now: {},
  hidden: [],
  k: 5,
  ...change,
});

describe('the cone of view', () => {
  const x = mercatorX(13.3615);
  const y = mercatorY(38.1157);
  const metre = 1 / (40_075_017 * Math.cos((38.1157 * Math.PI) / 180));
  it('begins at the camera, opens around its heading and closes', () => {
    const { ring, rank } = cone(camera('a'))!;
    expect([ring[0], ring[1]]).toEqual([x, y]);
    expect([ring.at(-2), ring.at(-1)]).toEqual([x, y]);
    expect(rank).toBe(0);
    for (let i = 2; i < ring.length - 2; i += 2) {
      const east = (ring[i] - x) / metre;
      const north = -(ring[i + 1] - y) / metre;
      expect(Math.hypot(east, north)).toBeCloseTo(100, 3);
      const heading = (Math.atan2(east, north) * 180) / Math.PI;
      expect(heading).toBeGreaterThan(59.99);
      expect(heading).toBeLessThan(120.01);
    }
  });
  it('looks north at 0', () => {
    const { ring } = cone(camera('a', { heading_deg: 0, fov_deg: 10 }))!;
    expect(ring[5]).toBeLessThan(y);
  });
  it('is a circle for one that sees all round, whatever its heading', () => {
    const { ring } = cone(camera('a', { heading_deg: null, fov_deg: 360 }))!;
    for (let i = 0; i < ring.length; i += 2) expect(Math.hypot(ring[i] - x, ring[i + 1] - y) / metre).toBeCloseTo(100, 3);
  });
  it('is not known without a place or a heading', () => {
    expect(cone(camera('a', { lat: null }))).toBeNull();
    expect(cone(camera('a', { heading_deg: null }))).toBeNull();
    expect(cone(camera('a', { fov_deg: null, range_m: null }))).not.toBeNull();
  });
});

describe('health', () => {
  it('ranks', () => {
    expect((['ok', 'never', 'silent', 'unlawful', 'tampered', 'signal_loss'] as const).map(healthRank)).toEqual([0, 1, 2, 2, 3, 3]);
  });
});

describe('a camera of the past', () => {
  it('is as it said then', () => {
    const then = { unlawful: false, lost: undefined as unknown, tampered: undefined as unknown, frames: 9.5 as unknown };
    expect(pastState(then)).toBe('ok');
    expect(pastState({ ...then, lost: 0, tampered: 1 })).toBe('tampered');
    expect(pastState({ ...then, lost: 1, tampered: 1 })).toBe('signal_loss');
    for (const frames of [undefined, null, 0]) expect(pastState({ ...then, frames })).toBe('silent');
    expect(pastState({ ...then, unlawful: true })).toBe('unlawful');
  });

  const now = camera('c', { now: { people_present: 9, vehicles_in: 3 }, hidden: ['vehicles_present'], alarm: 'major' }, 'tampered', '2026-01-31T12:00:00Z', 9);
  it('is as it was, and nothing of it is of now', () => {
    const was = cameraThen(now, { people_present: 4, vehicles_present: '<5', people_in: null, frames_per_s: 11, tampered: 0 }, Date.UTC(2026, 0, 30));
    expect(was.health).toMatchObject({ state: 'ok', frames_per_s: 11, seen: '2026-01-30T00:00:00.000Z' });
    expect(was.now).toEqual({ people_present: 4, frames_per_s: 11, tampered: 0 });
    expect(was.hidden).toEqual(['vehicles_present']);
    expect(was.alarm).toBeNull();
  });
  it('is silent where nothing was heard', () => {
    expect(cameraThen(now, undefined, 0)).toMatchObject({ now: {}, hidden: [], health: { state: 'silent', seen: null, frames_per_s: null } });
    expect(cameraThen(camera('u', {}, 'unlawful'), undefined, 0).health.state).toBe('unlawful');
  });
});

it('hours of a camera are told newest first, of its whole view', () => {
  const point = (time: string, n: number | null, hidden?: boolean) => ({ time, hidden, in: n, out: n, present: n, present_max: n, dwell_s: null, speed_mps: null, queue_max: null });
  const series = [
    { zone: '', class: 'person', points: [point('2026-01-31T10:00:00Z', 7), point('2026-01-31T11:00:00Z', null, true)] },
    { zone: 'gate', class: 'person', points: [point('2026-01-31T11:00:00Z', 99)] },
    { zone: '', class: 'car', points: [point('2026-01-31T11:00:00Z', 12)] },
  ];
  expect(hourly(series).map((h) => `${new Date(h.time).getUTCHours()} ${h.class} ${h.hidden ? '<k' : h.in}`)).toEqual(['11 car 12', '11 person <k', '10 person 7']);
});

describe('cameras', () => {
  const list = [
    camera('c-10', { zone: 'b', now: { people_present: 4 } }, 'ok', '2026-01-31T12:00:00Z', 9),
    camera('c-2', { zone: 'a', now: { people_present: 9 } }, 'tampered', '2026-01-31T11:00:00Z', 12),
    camera('c-3', { zone: 'a', hidden: ['vehicles_present'] }, 'never'),
  ];
  const order = (...by: [Parameters<typeof sortCameras>[1], boolean]) => sortCameras(list, ...by).map((c) => c.id).join(' ');
  it('are sorted, the unknown last', () => {
    expect(order('id', false)).toBe('c-2 c-3 c-10');
    expect(order('id', true)).toBe('c-10 c-3 c-2');
    expect(order('state', true)).toBe('c-2 c-3 c-10');
    expect(order('seen', true)).toBe('c-10 c-2 c-3');
    expect(order('frames', false)).toBe('c-10 c-2 c-3');
    expect(order('people', true)).toBe('c-2 c-10 c-3');
    expect(order('vehicles', true)).toBe('c-3 c-2 c-10');
    expect(order('zone', false)).toBe('c-2 c-3 c-10');
    expect(list[0].id).toBe('c-10');
  });
});

describe('counts', () => {
  const point = (minute: number, n: number | null): CountPoint => ({
    time: new Date(Date.UTC(2026, 0, 31, 12, minute)).toISOString(),
    hidden: n === null || undefined,
    in: n,
    out: n === null ? null : 0,
    present: n,
    present_max: n,
    dwell_s: null,
    speed_mps: null,
    queue_max: n,
  });
  const from = '2026-01-31T12:00:00.000Z';
  const to = '2026-01-31T12:05:00.000Z';
  it('have a place for every step: none is nobody, hidden is a gap', () => {
    const a = align([{ zone: '', class: 'car', points: [point(1, 7), point(2, null)] }], from, to, '1m', 'in');
    expect(a.times).toEqual([0, 60, 120, 180, 240].map((s) => Date.parse(from) / 1000 + s));
    expect(a.classes).toEqual([{ name: 'car', values: [0, 7, null, 0, 0], total: 7 }]);
    expect([a.hidden, a.left]).toEqual([1, 0]);
  });
  it('are of the fullest classes', () => {
    const series = ['a', 'b', 'c', 'd', 'e', 'f'].map((name, i) => ({ zone: '', class: name, points: [point(0, i)] }));
    const a = align(series, from, to, '1m', 'in');
    expect(a.classes.map((c) => c.name)).toEqual(['f', 'e', 'd', 'c']);
    expect(a.left).toBe(1); // a has nobody at all
    expect(align(series, from, to, '1m', 'out').classes).toEqual([]);
  });
  it('outside of the time are left out', () => {
    expect(align([{ zone: '', class: 'car', points: [point(59, 7)] }], from, to, '1m', 'in').classes).toEqual([]);
  });
});

describe('the heat map', () => {
  it('shades by the square root', () => {
    expect([heatShade(0, 9), heatShade(9, 9), heatShade(1, 4), heatShade(3, 0)]).toEqual([0, 1, 0.5, 0]);
  });
  it('says where it is fullest', () => {
    const cells = new Array<number>(32 * 18).fill(0);
    cells[0] = 5;
    cells[1] = 9;
    cells[32 * 18 - 1] = 40;
    cells[32 * 9 + 16] = 7;
    cells[32 * 9] = 6;
    expect(busiest({ columns: 32, rows: 18, cells })).toEqual([
      { third: 8, objects: 40 },
      { third: 0, objects: 9 },
      { third: 4, objects: 7 },
    ]);
    expect(busiest({ columns: 2, rows: 1, cells: [0, 0] })).toEqual([]);
  });
});

describe('values', () => {
  it('of cameras are told from others', () => {
    expect(['people_in', 'vehicles_queued', 'frames_per_s', 'tampered', 'signal_loss', 'bicycles_present'].every(cameraMetric)).toBe(true);
    expect(['power_w', 'people', 'dogs_in', 'in'].some(cameraMetric)).toBe(false);
  });
});
