import { describe, expect, it } from 'vitest';
import { AssetTable, mercatorX, mercatorY } from './table';
import { DomainMask, Points } from '../map/points';

const lamp = (id: string, more = {}) => ({ id, domain: 'lighting', zone: 'z1', lat: 38.1, lon: 13.3, alarm: null, t: '2026-11-23T10:00:00.000Z', values: { power_w: 80 }, ...more });

describe('the table', () => {
  it('keeps slots while an asset lives and gives them away after', () => {
    const t = new AssetTable();
    const a = t.apply(lamp('a'), true)!;
    const b = t.apply(lamp('b'), true)!;
    expect([a.slot, b.slot]).toEqual([0, 1]);
    t.remove('a');
    expect(t.apply(lamp('c'), true)!.slot).toBe(0);
    expect(t.size).toBe(2);
  });

  it('merges changes and replaces on a snapshot', () => {
    const t = new AssetTable();
    t.apply(lamp('a', { alarm: 'major', values: { power_w: 80, on: 1 } }), true);
    t.apply({ id: 'a', t: '2026-11-23T10:00:05.000Z', values: { power_w: 0 } }, false);
    expect(t.get('a')).toMatchObject({ severity: 3, values: { power_w: 0, on: 1 }, seen: Date.parse('2026-11-23T10:00:05.000Z') });
    t.apply({ id: 'a', t: '2026-11-23T09:00:00.000Z', alarm: null }, false); // late: the time stays
    expect(t.get('a')).toMatchObject({ severity: 0, seen: Date.parse('2026-11-23T10:00:05.000Z') });
    t.apply(lamp('a', { values: { power_w: 1 } }), true);
    expect(t.get('a')!.values).toEqual({ power_w: 1 });
  });

  it('drops what a fresh snapshot does not name', () => {
    const t = new AssetTable();
    t.beginSnapshot();
    t.apply(lamp('a'), true);
    t.apply(lamp('b'), true);
    t.endSnapshot();
    t.beginSnapshot();
    t.apply(lamp('b'), true);
    t.endSnapshot();
    expect(t.get('a')).toBeUndefined();
    expect(t.counts()).toEqual([{ domain: 'lighting', total: 1, ranks: [1, 0, 0, 0, 0] }]);
  });

  it('counts by domain and severity, through every change', () => {
    const t = new AssetTable();
    t.apply(lamp('a', { alarm: 'critical' }), true);
    t.apply(lamp('b'), true);
    t.apply({ id: 'c', domain: 'waste', alarm: 'something new' }, true);
    t.apply({ id: 'b', domain: 'energy' }, false);
    expect(t.counts()).toEqual([
      { domain: 'energy', total: 1, ranks: [1, 0, 0, 0, 0] },
      { domain: 'lighting', total: 1, ranks: [0, 0, 0, 0, 1] },
      { domain: 'waste', total: 1, ranks: [0, 1, 0, 0, 0] },
    ]);
    t.apply({ id: 'a', removed: true }, false);
    expect(t.counts().map((c) => c.domain)).toEqual(['energy', 'waste']);
  });

  it('patches only what the map shows differently', () => {
    const t = new AssetTable();
    t.apply(lamp('a'), true);
    const first = t.patch()!;
    expect([[...first.named], first.ids]).toEqual([[0], 'a']);
    expect(t.patch()).toBeNull();
    t.apply({ id: 'a', values: { power_w: 3 }, t: '2026-11-23T11:00:00.000Z' }, false);
    expect(t.patch()).toBeNull();
    t.apply({ id: 'a', values: { position_lat: 38.2, position_lon: 13.4 } }, false);
    const p = t.patch()!;
    expect([...p.xy]).toEqual([mercatorX(13.4), mercatorY(38.2)]);
    expect([...p.named]).toEqual([]);
  });

  it('asks who a stranger is, unless its delta said', () => {
    const t = new AssetTable();
    t.apply({ id: 'x', values: { a: 1 } }, false);
    t.apply({ ...lamp('y'), lat: null, lon: null }, false);
    expect([...t.strangers]).toEqual(['x']);
  });

  it('answers windows, sorted and filtered', () => {
    const t = new AssetTable();
    for (const id of ['lamp-10', 'lamp-9', 'lamp-1']) t.apply(lamp(id), true);
    t.apply(lamp('bin', { domain: 'waste', alarm: 'warning', name: 'Cassonetto' }), true);
    const ids = (q: object) => t.rows({ sort: 'id', descending: false, offset: 0, limit: 10, ...q }).rows.map((r) => r.id);
    expect(ids({})).toEqual(['bin', 'lamp-1', 'lamp-9', 'lamp-10']);
    expect(ids({ descending: true })).toEqual(['lamp-10', 'lamp-9', 'lamp-1', 'bin']);
    expect(ids({ sort: 'severity', descending: true })[0]).toBe('bin');
    expect(ids({ domain: 'lighting', offset: 1, limit: 1 })).toEqual(['lamp-9']);
    expect(ids({ abnormal: true })).toEqual(['bin']);
    expect(ids({ text: ' CASSO ' })).toEqual(['bin']);
    expect(t.rows({ sort: 'id', descending: false, offset: 0, limit: 1 }).total).toBe(4);
  });

  it('forgets what was said, and not where things are', () => {
    const t = new AssetTable();
    t.apply(lamp('a', { alarm: 'major', values: { power_w: 80 } }), true);
    t.patch();
    t.forget();
    const [row] = t.rows({ sort: 'id', descending: false, offset: 0, limit: 1, metrics: ['power_w'] }).rows;
    expect(row).toMatchObject({ id: 'a', severity: 0, seen: 0, values: {} });
    expect(row.lat).not.toBeNaN();
    expect(t.counts()[0].ranks).toEqual([1, 0, 0, 0, 0]);
    expect(t.patch()?.severity).toEqual(new Uint8Array([0]));
  });

  it('answers by a metric, with the values asked for', () => {
    const t = new AssetTable();
    const bin = (id: string, values: Record<string, string | number>, zone = 'north') => t.apply({ id, domain: 'waste', zone, values }, true);
    bin('half', { filling_level: 0.5, status: 'ok', temperature: 20 });
    bin('full', { filling_level: 1, status: 'ok' }, 'south');
    bin('burnt', { filling_level: 0.8, status: 'fire' });
    bin('mute', { temperature: 20 });
    const ids = (q: object) => t.rows({ sort: 'value', descending: true, offset: 0, limit: 10, has: 'filling_level', ...q }).rows.map((r) => r.id);
    expect(ids({})).toEqual(['full', 'burnt', 'half']);
    expect(ids({ descending: false })).toEqual(['half', 'burnt', 'full']);
    expect(ids({ atLeast: 0.8 })).toEqual(['full', 'burnt']);
    expect(ids({ zone: 'north' })).toEqual(['burnt', 'half']);
    expect(ids({ has: 'status', not: 'ok' })).toEqual(['burnt']);
    const { rows } = t.rows({ sort: 'id', descending: false, offset: 0, limit: 1, has: 'status', metrics: ['temperature', 'status'] });
    expect(rows[0].values).toEqual({ status: 'fire' });
  });
});

describe('the points', () => {
  it('follow the table through growth, removal and reuse of slots', () => {
    const t = new AssetTable();
    const p = new Points();
    for (let i = 0; i < 3000; i++) t.apply(lamp(`l${i}`, { lon: 13 + i / 10000 }), true);
    expect(p.apply(t.patch()!)).toEqual({ from: 0, to: 2999 });
    expect(p.slotOf('l2999')).toBe(2999);
    t.apply({ id: 'l5', alarm: 'critical' }, false);
    t.remove('l7');
    expect(p.apply(t.patch()!)).toEqual({ from: 5, to: 7 });
    expect([...p.abnormal]).toEqual([5]);
    expect(p.slotOf('l7')).toBeUndefined();
    expect(p.x[7]).toBeNaN();
    t.apply(lamp('new'), true);
    p.apply(t.patch()!);
    expect(p.slotOf('new')).toBe(7);
    t.remove('l5');
    p.apply(t.patch()!);
    expect(p.abnormal.size).toBe(0);
  });

  it('finds the nearest, the abnormal first, of the domains shown', () => {
    const t = new AssetTable();
    const p = new Points();
    t.apply(lamp('near', { lon: 13.3001 }), true);
    t.apply(lamp('alarmed', { lon: 13.3004, alarm: 'warning' }), true);
    t.apply(lamp('other', { domain: 'waste', lon: 13.3 }), true);
    t.apply({ id: 'nowhere', domain: 'lighting' }, true);
    p.apply(t.patch()!);
    const at = (radius: number, mask = DomainMask.all()) => {
      const slot = p.nearest(mercatorX(13.3), mercatorY(38.1), radius, mask);
      return slot === null ? null : p.ids[slot];
    };
    expect(at(1e-5)).toBe('alarmed');
    expect(at(5e-7)).toBe('other');
    expect(at(5e-7, DomainMask.only(0))).toBe('near');
    expect(at(5e-7, DomainMask.only(-1))).toBeNull();
  });

  it('bounds leave a stray position out', () => {
    const t = new AssetTable();
    const p = new Points();
    expect(p.bounds()).toBeNull();
    for (let i = 0; i < 999; i++) t.apply(lamp(`l${i}`, { lon: 13.3 + i * 1e-5 }), true);
    t.apply(lamp('stray', { lat: 0, lon: 0 }), true);
    p.apply(t.patch()!);
    expect(p.bounds()![0]).toBeGreaterThan(mercatorX(13.2));
  });
});

describe('domain masks', () => {
  it('hold 256 domains', () => {
    for (const n of [0, 31, 32, 254]) {
      const m = DomainMask.only(n);
      expect([n - 1, n, n + 1].map((i) => i >= 0 && m.has(i))).toEqual([false, true, false]);
    }
  });
});

describe('assets by zone', () => {
  it('are counted by severity, with those that have been silent too long for their profile', () => {
    const table = new AssetTable();
    table.beginSnapshot();
    const at = (minutes: number) => new Date(Date.UTC(2026, 0, 1, 12, -minutes)).toISOString();
    for (const [id, domain, zone, profile, minutes, alarm] of [
      ['a', 'lighting', 'z1', 'lamp', 1, null],
      ['b', 'lighting', 'z1', 'lamp', 31, 'critical'],
      ['c', 'mobility', 'z1', 'bus', 2, 'info'],
      ['d', 'lighting', 'z2', 'other', 59, null],
    ] as const) table.apply({ id, domain, zone, profile, t: at(minutes), alarm }, true);
    table.apply({ id: 'never', domain: 'lighting', zone: 'z2', profile: 'lamp' }, true);
    const after = { '': 3_600_000, lamp: 1_800_000, bus: 60_000 };
    const now = Date.UTC(2026, 0, 1, 12);
    expect(table.areas('', after, now)).toEqual([
      { zone: 'z1', total: 3, ranks: [1, 1, 0, 0, 1], silent: 2 },
      { zone: 'z2', total: 2, ranks: [2, 0, 0, 0, 0], silent: 1 },
    ]);
    expect(table.areas('mobility', after, now)).toEqual([{ zone: 'z1', total: 1, ranks: [0, 1, 0, 0, 0], silent: 1 }]);
  });
});
