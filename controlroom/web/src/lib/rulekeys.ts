// What can be written in a rule, for who writes one: keys by the place they stand at, the values that some have, and
// the functions of expressions. The server has the last word; this only spares looking it up.

/** Where a key stands: at the top of a rule, or inside of one of its keys. */
export type Place = '' | 'title' | 'window' | 'sequence' | 'unless' | 'schedule' | 'for_each' | 'let' | 'params';

/** The keys of a place in the order in which people write them, each with what to write to begin with. */
export const keys: Record<Place, Record<string, string>> = {
  '': {
    id: 'id: ', title: 'title:\n  en: \n  it: ', domain: 'domain: ', severity: 'severity: warning', on: 'on: observations', profile: 'profile: ',
    for_each: 'for_each:\n  profile: ["*"]\n  metric: ["*"]', params: 'params:\n  limit: 50', schedule: 'schedule:\n  days: [mon-fri]\n  hours: ["08:00-19:00"]',
    window: 'window:\n  type: sliding\n  size: 5m', let: 'let:\n  n: count()', late: 'late: wait', sequence: 'sequence:\n  - as: a\n    when: \n  - as: b\n    within: 2m\n    when: ',
    unless: 'unless:\n  within: 30s\n  when: ', when: 'when: ', for: 'for: 5m', clear: 'clear: ', hold: 'hold: 1m', absent: 'absent: 30m', key: 'key: device', text: 'text: "{device}: "',
    mode: 'mode: shadow', enabled: 'enabled: false',
  },
  title: { en: 'en: ', it: 'it: ' },
  window: { type: 'type: sliding', size: 'size: 5m', every: 'every: 1m', gap: 'gap: 30s' },
  sequence: { as: 'as: ', on: 'on: detections', within: 'within: 2m', when: 'when: ' },
  unless: { within: 'within: 30s', when: 'when: ', on: 'on: observations' },
  schedule: { days: 'days: [mon-fri]', hours: 'hours: ["08:00-19:00"]', holidays: 'holidays: exclude', calendar: 'calendar: city' },
  for_each: { profile: 'profile: ["*"]', metric: 'metric: ["*"]' },
  let: {},
  params: {},
};

/** What stands behind some keys, by place and key. */
const values: Record<string, readonly string[]> = {
  severity: ['info', 'warning', 'major', 'critical'],
  on: ['observations', 'detections', 'tracks', 'counts', 'uplinks', 'events'],
  key: ['device', 'zone', 'domain', 'camera'],
  mode: ['live', 'shadow'],
  late: ['correct', 'wait'],
  enabled: ['true', 'false'],
  'window.type': ['tumbling', 'hopping', 'sliding', 'session'],
  'sequence.on': ['observations', 'detections', 'tracks', 'counts', 'uplinks', 'events'],
  'unless.on': ['observations', 'detections', 'tracks', 'counts', 'uplinks', 'events'],
  'schedule.holidays': ['include', 'exclude', 'only'],
  'schedule.calendar': ['city', 'palermo', 'italy', 'none'],
};

/** Functions of conditions, as they are called. */
export const functions = [
  'rate(x, 10m)', 'delta(x, 10m)', 'ewma(x, 5m)', 'zscore(x, 1h)', 'stuck(x, 2h)', 'baseline(x)', 'baseline_z(x)', 'abs(x)',
  'in_zone("id")', 'enter("id")', 'leave("id", 50)', 'distance_m(lat, lon)',
  'zone_avg("x")', 'zone_min("x")', 'zone_max("x")', 'zone_sum("x")', 'zone_count("x")', 'neighbours_avg("x", 300)', 'neighbours_count("x", 300)', 'of("device", "x")',
  'is_holiday()', 'working_hours()', 'weekday()', 'hour()', 'minute()', 'day()', 'month()',
] as const;

/** What a let comes to, over the readings of a window. */
export const aggregates = ['count()', 'count(x)', 'count_distinct(x)', 'sum(x)', 'avg(x)', 'min(x)', 'max(x)', 'first(x)', 'last(x)', 'stddev(x)', 'percentile(x, 95)', 'rate(x)'] as const;

/** Variables that every condition and text of observations may name. */
export const variables = ['sun_elevation', 'device', 'zone', 'domain', 'profile', 'tags["street"]'] as const;

/** Something that could be written where the cursor is, instead of the text from `from` on. */
export interface Suggestion {
  label: string;
  text: string;
  from: number;
  /** of a key: what it is */
  place?: Place;
}

const most = 24;

/** The place of a line: the nearest line above it that is less indented and opens one. */
function placeOf(lines: readonly string[], at: number, indent: number): Place {
  for (let i = at - 1; i >= 0 && indent > 0; i--) {
    const found = /^( *)(- )?([\w]+):/.exec(lines[i]);
    if (!found || found[1].length >= indent) continue;
    if (found[2]) continue; // a step of a list: its list is further up
    return found[3] in keys ? (found[3] as Place) : '';
  }
  return '';
}

/** What could be written at an offset of a rule's text; nothing inside of a word that is complete. */
export function suggest(text: string, offset: number): Suggestion[] {
  const before = text.slice(0, offset).split('\n');
  const line = before.at(-1) ?? '';
  if (/^\s*#/.test(line) || /^[\w.]/.test(text.slice(offset))) return [];
  const all = text.split('\n');
  const at = before.length - 1;
  const keyed = /^(\s*)(- )?(\w*)$/.exec(line);
  if (keyed) {
    const indent = keyed[1].length + (keyed[2]?.length ?? 0);
    const place = placeOf(all, at, indent);
    const has = (name: string) => place !== 'sequence' && new RegExp(`^${' '.repeat(indent)}${name}:`, 'm').test(text);
    return Object.entries(keys[place])
      .filter(([name]) => name.startsWith(keyed[3]) && !has(name))
      .map(([name, snippet]) => ({ label: name, text: snippet.replaceAll('\n', `\n${' '.repeat(indent)}`), from: offset - keyed[3].length, place }));
  }
  const valued = /^(\s*(?:- )?)(\w+):\s*(.*)$/.exec(line);
  if (!valued) return [];
  const place = placeOf(all, at, valued[1].length);
  const word = /[\w]*$/.exec(valued[3])?.[0] ?? '';
  const from = offset - word.length;
  const fixed = values[place ? `${place}.${valued[2]}` : valued[2]];
  if (fixed) return valued[3] === word ? fixed.filter((v) => v.startsWith(word) && v !== word).map((v) => ({ label: v, text: v, from })) : [];
  if (/"[^"]*$/.test(valued[3].replaceAll(/"[^"]*"/g, '')) && valued[2] !== 'text') return []; // within quotes
  const words = place === 'let' ? aggregates : ['when', 'clear'].includes(valued[2]) ? [...functions, ...variables] : [];
  return words.filter((w) => word !== '' && w.startsWith(word) && w !== word).slice(0, most).map((w) => ({ label: w, text: w, from }));
}
