import { describe, expect, it } from 'vitest';
import type { Group } from '../api/domains';
import { domainOf, shaped, sorted, together, withDay } from './domains';
import { metres, tour } from './tour';

const group = (key: string, values: Group['values'], rest: Partial<Group> = {}): Group => ({ key, devices: 2, heard: 2, silent: 0, alarms: {}, values, ...rest });

describe('groups', () => {
  it('are taken together by their devices, not by their means', () => {
    const all = together([
      group('a', { speed_kmh: { n: 1, sum: 50, avg: 50, min: 50, max: 50 }, status: { n: 0, sum: null, avg: null, min: null, max: null, texts: { ok: 2 } } }, { alarms: { warning: 1 }, silent: 1 }),
      group('b', { speed_kmh: { n: 3, sum: 30, avg: 10, min: 5, max: 15, growth: 2 }, status: { n: 0, sum: null, avg: null, min: null, max: null, texts: { ok: 1, lamp_failure: 1 } } }, { alarms: { warning: 2, info: 1 } }),
    ]);
    expect(all.devices).toBe(4);
    expect(all.alarms).toEqual({ warning: 3, info: 1 });
    expect(all.values.speed_kmh).toEqual({ n: 4, sum: 80, avg: 20, min: 5, max: 50, growth: 2 });
    expect(all.values.status.texts).toEqual({ ok: 3, lamp_failure: 1 });
    const figure = (key: string) => domainOf('lighting').figures.find((f) => f.key === key)!.of(all);
    expect(figure('out')).toBe(1);
    expect(figure('power')).toBeNull();
    expect(figure('abnormal')).toBe(4);
    expect(figure('silent')).toBe(1);
  });

  it('have burn hours of the lamps that said something, and nothing of now from the day before', () => {
    const was = { n: 2, sum: 2, avg: 1, min: 1, max: 1, over_devices: 2, hours: 26, growth: 1 };
    const now = [group('a', {}, { devices: 5, silent: 5 })];
    withDay(now, new Map([['a', group('a', { on: was, power_w: { n: 2, sum: 9, avg: 4, min: 4, max: 5 } })]]));
    const all = together(now);
    const figure = (key: string) => domainOf('lighting').figures.find((f) => f.key === key)!.of(all);
    expect(figure('hours')).toBe(13);
    expect(figure('burning')).toBeNull();
    expect(figure('power')).toBeNull();
  });

  it('have figures of any domain', () => {
    expect(domainOf('safety').more).toBe('cameras');
    expect(domainOf('water').more).toBeUndefined();
    expect(domainOf('water').figures.map((f) => f.key)).toEqual(['devices', 'silent', 'abnormal']);
  });
});

describe('figures', () => {
  it('are written as people do', () => {
    expect(shaped('it', 1234.4, 'count')).toBe('1.234');
    expect(shaped('it', 12.34, 'measure', 'kW')).toBe('12,3 kW');
    expect(shaped('en', 95, 'minutes')).toBe('1.6 min');
    expect(shaped('en', 10, 'kmh', 'km/h')).toBe('36 km/h');
    expect(shaped('en', 0.5, 'percent')).toBe('50 %');
    expect(shaped('en', null, 'count')).toBe('–');
  });

  it('are sorted, what has none last', () => {
    const rows = [{ id: 'a', v: 1 }, { id: 'b', v: null }, { id: 'c', v: 3 }];
    const ids = (descending: boolean) => sorted(rows, (r) => r.v, descending, 'en').map((r) => r.id).join('');
    expect(ids(true)).toBe('cab');
    expect(ids(false)).toBe('acb');
  });
});

describe('a tour', () => {
  it('goes to the nearest that is left, and visits all', () => {
    const at = (id: string, lon: number) => ({ id, lat: 38, lon });
    const round = tour([at('start', 13.3), at('far', 13.4), at('near', 13.31), at('behind', 13.29)]);
    expect(round.map((r) => r.stop.id).join(' ')).toBe('start near behind far');
    expect(round[0].step).toBe(0);
    expect(round[1].step).toBeCloseTo(metres(at('', 13.3), at('', 13.31)), 6);
    expect(metres({ lat: 38, lon: 13 }, { lat: 39, lon: 13 })).toBeCloseTo(111_195, -1);
    expect(tour([])).toEqual([]);
  });
});
