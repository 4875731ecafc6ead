import type { Act, Action, Alarm, AlarmState } from '../api/alarms';
import { severityRank } from '../feed/protocol';

/** Whether somebody has to acknowledge it. */
export const calls = (a: Alarm): boolean => a.state === 'unacked' || a.state === 'returned';

/** In which states an action makes sense. */
const fits: Record<Action, readonly AlarmState[] | null> = {
  ack: ['unacked', 'returned'],
  unack: ['acked'],
  shelve: ['unacked', 'acked', 'returned', 'shelved'],
  unshelve: ['shelved'],
  close: ['unacked', 'acked', 'returned'],
  assign: null,
  comment: null,
};
export const canDo = (a: Alarm, action: Action): boolean => fits[action]?.includes(a.state) ?? true;

/** Actions that nobody after can understand without a word. */
export const wantsNote = (action: Action): boolean => action === 'comment' || action === 'shelve' || action === 'close';

/** The key of each action in the list. */
export const letters: Record<string, Action> = { a: 'ack', u: 'unack', s: 'shelve', g: 'assign', c: 'comment', x: 'close' };

/** What takes an action back. What was closed or said cannot be. */
export const undoOf: Partial<Record<Action, Action>> = { ack: 'unack', unack: 'ack', shelve: 'unshelve' };

/** The alarm as it will be when the server takes the action: shown until it has answered. */
export function foreseen(a: Alarm, act: Act): Alarm {
  const note = act.note || a.note;
  switch (act.action) {
    case 'ack':
      return { ...a, note, state: a.state === 'returned' ? 'normal' : 'acked' };
    case 'unack':
      return { ...a, note, state: 'unacked', acked_by: '' };
    case 'shelve':
      return { ...a, note, state: 'shelved', shelved_until: act.until };
    case 'unshelve':
      return { ...a, note, state: a.cleared ? 'normal' : 'unacked', shelved_until: null };
    case 'close':
      return { ...a, note, state: 'normal' };
    case 'assign':
      return { ...a, note, assigned_to: act.to };
    case 'comment':
      return { ...a, note };
  }
}

export interface AlarmFilter {
  /** '' is all open ones; 'todo' those that stand or wait for somebody */
  state: '' | 'todo' | AlarmState;
  severity: string;
  domain: string;
  text: string;
}

export function wanted(a: Alarm, f: AlarmFilter, words: (a: Alarm) => string): boolean {
  if (f.state === 'todo' ? !calls(a) && a.state !== 'acked' : f.state !== '' && a.state !== f.state) return false;
  if (f.severity && a.severity !== f.severity) return false;
  if (f.domain && a.domain !== f.domain) return false;
  const text = f.text.trim().toLowerCase();
  return !text || words(a).toLowerCase().includes(text);
}

const age = (a: Alarm) => a.at ?? (Date.parse(a.raised) || 0);

export type AlarmSort = 'severity' | 'newest' | 'oldest';

/** By severity: of one severity those that wait for somebody first, then the newest. */
export function byPlace(sort: AlarmSort): (a: Alarm, b: Alarm) => number {
  const id = (a: Alarm, b: Alarm) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
  if (sort === 'newest') return (a, b) => age(b) - age(a) || id(a, b);
  if (sort === 'oldest') return (a, b) => age(a) - age(b) || id(a, b);
  return (a, b) => severityRank(b.severity) - severityRank(a.severity) || Number(calls(b)) - Number(calls(a)) || age(b) - age(a) || id(a, b);
}

/** The one that has waited longest for somebody, of those that have not returned. */
export function oldestWaiting(alarms: Iterable<Alarm>): Alarm | undefined {
  let found: Alarm | undefined;
  for (const a of alarms) {
    if (a.state === 'unacked' && (!found || age(a) < age(found) || (age(a) === age(found) && a.id < found.id))) found = a;
  }
  return found;
}

export type Grouping = '' | 'incident' | 'rule' | 'zone' | 'device';

export interface Group {
  key: string;
  alarms: Alarm[];
  /** of the gravest */
  rank: number;
  waiting: number;
}

export type Line = { kind: 'group'; id: string; group: Group } | { kind: 'alarm'; id: string; alarm: Alarm };

/** What an alarm is put together with others by; of one that is in no incident its own id. */
function keyOf(a: Alarm, by: Exclude<Grouping, ''>): string {
  return by === 'incident' ? a.first_out || a.id : (a[by] ?? '');
}

/** The groups of a sorted list, the gravest first, then the one with most that wait. */
export function groupsOf(sorted: readonly Alarm[], by: Exclude<Grouping, ''>): Group[] {
  const found = new Map<string, Group>();
  for (const a of sorted) {
    const key = keyOf(a, by);
    let g = found.get(key);
    if (!g) found.set(key, (g = { key, alarms: [], rank: 0, waiting: 0 }));
    g.alarms.push(a);
    g.rank = Math.max(g.rank, severityRank(a.severity));
    if (calls(a)) g.waiting++;
  }
  return [...found.values()].sort((a, b) => b.rank - a.rank || b.waiting - a.waiting || b.alarms.length - a.alarms.length || (a.key < b.key ? -1 : 1));
}

/** What the list shows, line by line: groups closed but for those in `open`. An incident of one alarm is that alarm. */
export function linesOf(sorted: readonly Alarm[], grouping: Grouping, open: ReadonlySet<string>): Line[] {
  const line = (alarm: Alarm): Line => ({ kind: 'alarm', id: alarm.id, alarm });
  if (grouping === '') return sorted.map(line);
  const out: Line[] = [];
  for (const group of groupsOf(sorted, grouping)) {
    if (grouping === 'incident' && group.alarms.length === 1) {
      out.push(line(group.alarms[0]));
      continue;
    }
    out.push({ kind: 'group', id: `group ${group.key}`, group });
    if (open.has(group.key)) out.push(...group.alarms.map(line));
  }
  return out;
}

/** What the alarms of an incident have in common, for people: zones by their names. */
export const groupLabel = (group: string, zoneName: (id: string) => string): string => group.replace(/^zone (.+)$/, (_, id: string) => zoneName(id));

/** Those that somebody acknowledged and that still stand, the one that has been so for longest first. */
export function longestAcked(alarms: Iterable<Alarm>): Alarm[] {
  const at = (a: Alarm) => Date.parse(a.acked_at ?? '') || 0;
  return [...alarms].filter((a) => a.state === 'acked' && a.acked_at).sort((a, b) => at(a) - at(b));
}

/** What of an alarm differs between what the operator saw and how it is. */
export function changes(saw: Alarm, now: Alarm): ('state' | 'severity' | 'assigned_to' | 'note' | 'count' | 'text')[] {
  return (['state', 'severity', 'assigned_to', 'note', 'count', 'text'] as const).filter((k) => (saw[k] ?? '') !== (now[k] ?? ''));
}

/** Shares in percent of the severities that call operators, whole numbers. */
export function shares(mix: Record<string, number>): { severity: string; n: number; percent: number }[] {
  const total = Object.values(mix).reduce((a, b) => a + b, 0);
  return ['critical', 'major', 'warning'].map((severity) => ({ severity, n: mix[severity] ?? 0, percent: total === 0 ? 0 : Math.round((100 * (mix[severity] ?? 0)) / total) }));
}
