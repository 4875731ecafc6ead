import { describe, expect, it } from 'vitest';
import type { Alarm, AlarmState } from '../api/alarms';
import { byPlace, canDo, changes, foreseen, groupLabel, groupsOf, linesOf, longestAcked, oldestWaiting, shares, wanted } from './alarms';

const alarm = (id: string, severity: string, state: AlarmState, raised: string, more: Partial<Alarm> = {}): Alarm => ({
  id,
  rule: `rule-${id}`,
  key: id,
  severity,
  state,
  raised: `2026-01-31T${raised}:00.000Z`,
  cleared: null,
  count: 1,
  rev: 1,
  text: `text of ${id}`,
  ...more,
});
const a = alarm('a', 'warning', 'unacked', '10:00', { rule: 'lamp', zone: 'z1', domain: 'lighting' });
const b = alarm('b', 'critical', 'acked', '09:00', { rule: 'fire', zone: 'z1', domain: 'waste' });
const c = alarm('c', 'critical', 'unacked', '08:00', { rule: 'fire', zone: 'z2', domain: 'waste' });
const d = alarm('d', 'warning', 'returned', '07:00', { rule: 'lamp', zone: 'z2', domain: 'lighting' });
const all = [a, b, c, d];
const ids = (list: readonly Alarm[]) => list.map((x) => x.id).join('');

describe('the list', () => {
  it('is by severity, then by who waits, then by age', () => {
    expect(ids([...all].sort(byPlace('severity')))).toBe('cbad');
    expect(ids([...all].sort(byPlace('newest')))).toBe('abcd');
    expect(ids([...all].sort(byPlace('oldest')))).toBe('dcba');
  });

  it('knows the oldest that nobody acknowledged', () => {
    expect(oldestWaiting(all)?.id).toBe('c'); // d is older, but is over
    expect(oldestWaiting([b, d])).toBeUndefined();
  });

  it('puts the alarms of an incident together, and leaves those of none alone', () => {
    const incident = { group: 'zone z1', first_out: 'c' };
    const list = [{ ...a, ...incident }, b, { ...c, ...incident }, { ...d, group: 'zone z2', first_out: 'd' }].sort(byPlace('severity'));
    expect(linesOf(list, 'incident', new Set(['c'])).map((l) => l.id)).toEqual(['group c', 'c', 'a', 'b', 'd']);
    expect(linesOf(list, 'incident', new Set()).map((l) => l.id)).toEqual(['group c', 'b', 'd']);
    expect(groupLabel('zone z1', () => 'Kalsa')).toBe('Kalsa');
    expect(groupLabel('parent cabinet-7', () => 'Kalsa')).toBe('parent cabinet-7');
  });

  it('knows who has been acknowledged for longest', () => {
    const at = (x: Alarm, acked_at: string | null) => ({ ...x, state: 'acked' as const, acked_at });
    expect(ids(longestAcked([at(a, '2026-01-31T11:00:00Z'), at(b, '2026-01-31T10:00:00Z'), at(c, null), d]))).toBe('ba');
  });

  it('is filtered by state, severity, domain and text', () => {
    const any = { state: '', severity: '', domain: '', text: '' } as const;
    const of = (f: Parameters<typeof wanted>[1]) => ids(all.filter((x) => wanted(x, f, (y) => `${y.text} ${y.zone}`)));
    expect(of(any)).toBe('abcd');
    expect(of({ ...any, state: 'unacked' })).toBe('ac');
    expect(of({ ...any, state: 'todo', severity: 'critical' })).toBe('bc');
    expect(of({ ...any, domain: 'lighting', text: ' Z2 ' })).toBe('d');
    expect(wanted({ ...a, state: 'shelved' }, { ...any, state: 'todo' }, () => '')).toBe(false);
  });

  it('groups, the gravest group first, closed ones with their head only', () => {
    const sorted = [...all].sort(byPlace('severity'));
    expect(groupsOf(sorted, 'rule').map((g) => [g.key, g.rank, g.waiting, g.alarms.length])).toEqual([
      ['fire', 4, 1, 2],
      ['lamp', 2, 2, 2],
    ]);
    expect(linesOf(sorted, 'zone', new Set(['z1'])).map((l) => l.id)).toEqual(['group z2', 'group z1', 'b', 'a']);
    expect(linesOf(sorted, '', new Set()).map((l) => l.id).join('')).toBe('cbad');
  });
});

describe('actions', () => {
  it('are offered where they make sense', () => {
    expect(all.filter((x) => canDo(x, 'ack')).map((x) => x.id).join('')).toBe('acd');
    expect(canDo(b, 'unack')).toBe(true);
    expect(canDo({ ...a, state: 'shelved' }, 'close')).toBe(false);
    expect(canDo({ ...a, state: 'suppressed' }, 'comment')).toBe(true);
  });

  it('are foreseen as the server will do them', () => {
    expect(foreseen(a, { action: 'ack', note: 'seen' })).toMatchObject({ state: 'acked', note: 'seen' });
    expect(foreseen(d, { action: 'ack' }).state).toBe('normal');
    expect(foreseen(a, { action: 'shelve', until: 'x' })).toMatchObject({ state: 'shelved', shelved_until: 'x' });
    expect(foreseen({ ...a, assigned_to: 'Anna' }, { action: 'assign', to: '' }).assigned_to).toBe('');
  });

  it('that came too late say what changed', () => {
    expect(changes(a, { ...a, state: 'acked', note: 'mine', rev: 2 })).toEqual(['state', 'note']);
    expect(changes({ ...a, note: undefined }, { ...a, note: '' })).toEqual([]);
  });
});

describe('priorities', () => {
  it('are shares of those that call operators', () => {
    expect(shares({ info: 0, warning: 6, major: 1, critical: 1 }).map((s) => s.percent)).toEqual([13, 13, 75]);
    expect(shares({}).map((s) => s.percent)).toEqual([0, 0, 0]);
  });
});
