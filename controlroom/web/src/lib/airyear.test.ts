import { expect, it } from 'vitest';
import type { AirYear, Exceedance } from '../api/domains';
import { yearLines } from './airyear';

const counted = (index: string, count: number | null, allowed: number | null, over: boolean, rest: Partial<Exceedance> = {}): Exceedance => ({ index, count, per: 'day', allowed, over, last: null, valid: 90, of: 100, ...rest });

it('a year is told by what of the allowed times is used up', () => {
  const year: AirYear = {
    year: 2026, until: '2026-06-01T00:00:00.000Z', limits: [], means: [],
    stations: [{
      id: 'air-1', name: '', zone: '',
      counts: [
        counted('pm10_24h', 36, 35, true, { last: '2026-05-30T23:00:00.000Z' }), counted('so2_24h', 2, 3, false), counted('no2_1h', 14, 18, false, { per: 'hour', valid: 0, of: 0 }),
        counted('o3_8h', 10, 25, false, { mean: 24 }), counted('o3_1h', 1, null, false), counted('co_8h', 0, 0, false), counted('so2_1h', null, 24, false),
      ],
      means: [{ index: 'pm10_year', value: 39.5, limit: 40, over: false, valid: 10, of: 20 }, { index: 'no2_year', value: 41, limit: 40, over: true, valid: 20, of: 20 }, { index: 'pm2_5_year', value: 9, limit: null, over: false, valid: 1, of: 20 }],
    }],
  };
  const lines = yearLines(year);
  expect(lines.map((l) => `${l.index} ${l.state}`)).toEqual([
    'pm10_24h over', 'so2_24h ok', 'no2_1h near', 'o3_8h near', 'o3_1h inform', 'co_8h ok', 'so2_1h none', 'pm10_year ok', 'no2_year over', 'pm2_5_year none',
  ]);
  expect(lines.map((l) => l.valid)).toEqual([0.9, 0.9, null, 0.9, 0.9, 0.9, 0.9, 0.5, 1, 0.05]);
  expect(lines[3]).toMatchObject({ count: 10, mean: 24, share: 0.96, last: null });
  expect(lines[0].last).toBe(Date.UTC(2026, 4, 30, 23));
  expect(yearLines(undefined)).toEqual([]);
});
