import { describe, expect, it } from 'vitest';
import type { Alarm } from '../api/alarms';
import { linesOf, type Line } from './alarms';
import { Keeper, type Steady } from './steady';

const alarm = (id: string, severity = 'warning', more: Partial<Alarm> = {}): Alarm => ({ id, rule: 'r', key: id, severity, state: 'unacked', raised: '2026-01-31T10:00:00.000Z', cleared: null, count: 1, zone: 'z', ...more });
const open = (...alarms: Alarm[]) => new Map(alarms.map((a) => [a.id, a]));
const flat = (all: Map<string, Alarm>): Line[] => linesOf([...all.values()], '', new Set());
const ids = (s: Steady) => s.lines.map((l) => l.id).join('');
const state = (s: Steady, id: string) => s.lines.flatMap((l) => (l.kind === 'alarm' && l.id === id ? [l.alarm.state] : []))[0];

describe('a list that somebody is at', () => {
  const a = alarm('a');
  const b = alarm('b');
  const before = open(a, b);

  it('follows what comes while nobody is', () => {
    const keeper = new Keeper();
    keeper.show('look', flat(before), 10, false, before);
    const after = open(alarm('n', 'critical'), a, b);
    const now = keeper.show('look', flat(after), 10, false, after);
    expect([ids(now), now.fresh]).toEqual(['nab', 0]);
  });

  it('keeps its lines where they are: what comes waits, what changes does so in place', () => {
    const keeper = new Keeper();
    keeper.show('look', flat(before), 10, false, before);
    const after = open(alarm('n', 'critical'), alarm('m', 'major'), { ...b, state: 'acked' });
    const held = keeper.show('look', flat(after), 10, true, after);
    expect([ids(held), held.fresh, held.gravest]).toEqual(['ab', 2, 4]);
    expect([state(held, 'a'), state(held, 'b')]).toEqual(['normal', 'acked']); // a is over: its line stays and says so
    expect(['a', 'b', 'n'].map(keeper.knows)).toEqual([true, true, false]);
    expect(keeper.show('look', flat(after), 10, true, after).lines[0]).toBe(held.lines[0]); // nothing new, nothing drawn

    const released = keeper.show('look', flat(after), 10, false, after);
    expect([ids(released), released.fresh, [...released.came].join('')]).toEqual(['nmb', 0, 'nm']);
    expect(keeper.knows('n')).toBe(true);
  });

  it('is another list at once when another is asked for', () => {
    const keeper = new Keeper();
    keeper.show('look', flat(before), 10, false, before);
    const after = open(alarm('n'), a);
    keeper.show('look', flat(after), 10, true, after);
    const other = keeper.show('other', flat(after), 10, true, after);
    expect([ids(other), other.fresh, other.came.size]).toEqual(['na', 0, 0]);
  });

  it('knows what was there beyond what is shown', () => {
    const keeper = new Keeper();
    keeper.show('look', flat(before), 1, false, before);
    const after = open(b);
    const held = keeper.show('look', flat(after), 1, true, after);
    expect([ids(held), held.fresh]).toEqual(['a', 0]); // b is not new, only further up
  });

  it('counts in groups that stand still', () => {
    const keeper = new Keeper();
    const groups = (m: Map<string, Alarm>) => linesOf([...m.values()], 'zone', new Set());
    keeper.show('look', groups(before), 10, false, before);
    const after = open(a, b, alarm('c'), alarm('d', 'major', { zone: 'y' }));
    const held = keeper.show('look', groups(after), 10, true, after);
    expect(held.lines.map((l) => l.kind === 'group' && [l.group.key, l.group.alarms.length])).toEqual([['z', 3]]);
    expect([held.fresh, held.gravest]).toEqual([1, 3]);
  });
});
