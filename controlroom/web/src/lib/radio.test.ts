import { describe, expect, it } from 'vitest';
import type { Gateway } from '../api/client';
import { airtime, gatewayState, lossRank, percent, silenceRank, sortGateways, spreading, withUnit } from './radio';

const now = Date.parse('2026-01-31T12:00:00.000Z');
const before = (minutes: number) => new Date(now - minutes * 60_000).toISOString();
const gateway = (id: string, seen: string | null, loss: number | null, uplinks = 0): Gateway => ({ id, name: '', seen, uplinks, devices: 0, rssi_dbm: null, snr_db: null, loss, airtime_ms: 0 });

describe('what wants a look', () => {
  it('is silence', () => {
    expect([0, 60, 61, 360, 361].map((m) => silenceRank(before(m), now))).toEqual([0, 0, 2, 2, 3]);
    expect(silenceRank(null, now)).toBe(3);
  });
  it('is loss', () => {
    expect([null, 0, 0.049, 0.05, 0.1, 0.3, 1].map(lossRank)).toEqual([0, 0, 0, 1, 2, 3, 3]);
  });
  it('is the graver of both', () => {
    const f = (seen: string | null, loss: number | null) => Object.values(gatewayState({ seen, loss }, now)).join(' ');
    expect(f(before(1), 0)).toBe('0 radio.state.0');
    expect(f(before(1), 0.07)).toBe('1 radio.state.lossy');
    expect(f(before(70), 0.4)).toBe('3 radio.state.lossy');
    expect(f(before(70), 0.2)).toBe('2 radio.state.silent');
    expect(f(null, null)).toBe('3 radio.state.silent');
  });
});

describe('gateways', () => {
  const list = [gateway('b', before(5), 0.2, 7), gateway('a', null, null, 0), gateway('c', before(90), 0, 7)];
  const order = (...by: [Parameters<typeof sortGateways>[1], boolean]) => sortGateways(list, ...by, now).map((g) => g.id).join('');
  it('are sorted, the unknown last', () => {
    expect(order('id', false)).toBe('abc');
    expect(order('id', true)).toBe('cba');
    expect(order('seen', true)).toBe('bca');
    expect(order('seen', false)).toBe('cba');
    expect(order('loss', true)).toBe('bca');
    expect(order('loss', false)).toBe('cba');
    expect(order('uplinks', true)).toBe('bca');
    expect(order('state', true)).toBe('abc');
    expect(list[0].id).toBe('b');
  });
});

describe('figures', () => {
  it('are localised and short', () => {
    expect(percent('it', 0.0349)).toBe('3,5 %');
    expect(percent('en', 0)).toBe('0 %');
    expect(percent('en', 0.4567)).toBe('46 %');
    expect(percent('en', null)).toBe('–');
    expect(withUnit('it', -101.26, 'dBm')).toBe('-101,3 dBm');
    expect(withUnit('it', null, 'dBm')).toBe('–');
    expect(airtime('en', 56.6)).toBe('57 ms');
    expect(airtime('en', 4321)).toBe('4.3 s');
    expect(airtime('it', 400_000)).toBe('6,7 min');
    expect(spreading('SF12BW125')).toBe('SF 12');
    expect(spreading('50000')).toBe('50000');
  });
});
