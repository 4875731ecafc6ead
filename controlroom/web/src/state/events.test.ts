import { describe, expect, it } from 'vitest';
import type { CityEvent } from '../feed/protocol';
import { matches, merge } from './events';

const event = (id: string, time: number, more: Partial<CityEvent> = {}): CityEvent => ({
  id,
  rule: 'r',
  severity: 'warning',
  state: 'raised',
  time: new Date(time).toISOString(),
  text: id,
  ...more,
});
const ids = (list: CityEvent[]) => list.map((e) => e.id).join(' ');

describe('the event list', () => {
  it('is newest first whatever the order of arrival, without doubles', () => {
    const { list } = merge([event('c', 3), event('a', 1)], [event('b', 2), event('c', 3), event('d', 4), event('d', 4)], 10);
    expect(ids(list)).toBe('d c b a');
  });
  it('puts the graver first at one instant', () => {
    expect(ids(merge([], [event('x', 1), event('y', 1, { severity: 'critical' }), event('w', 1)], 10).list)).toBe('y w x');
  });
  it('keeps both ends of an episode that share an id', () => {
    expect(merge([event('a', 1)], [event('a', 2, { state: 'cleared' })], 10).list.length).toBe(2);
  });
  it('is bounded and says what it cut', () => {
    const many = Array.from({ length: 20 }, (_, i) => event(`e${i}`, i));
    const { list, cut } = merge([], many, 5);
    expect(ids(list)).toBe('e19 e18 e17 e16 e15');
    expect(cut).toBe(true);
    expect(merge(list, [], 5).cut).toBe(false);
  });
  it('filters by domain and severity', () => {
    const e = event('a', 1, { domain: 'waste' });
    expect(matches({ domain: '', severity: '' }, e)).toBe(true);
    expect(matches({ domain: 'waste', severity: 'warning' }, e)).toBe(true);
    expect(matches({ domain: 'lighting', severity: '' }, e)).toBe(false);
    expect(matches({ domain: '', severity: 'major' }, e)).toBe(false);
  });
});
