import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { keys, suggest } from './rulekeys';

/** Suggestions where `|` stands in a text. */
const at = (text: string) => suggest(text.replace('|', ''), text.indexOf('|')).map((s) => s.label);

describe('suggest', () => {
  it('has no key that the engine does not take', () => {
    const source = readFileSync(join(import.meta.dirname, '../../../../stream/rules/parse.go'), 'utf8');
    const taken = [...(/var ruleKeys = \[\]string\{([^}]*)\}/.exec(source)?.[1] ?? '').matchAll(/"(\w+)"/g)].map((m) => m[1]);
    expect(taken.length).toBeGreaterThan(10);
    expect(Object.keys(keys['']).filter((k) => !taken.includes(k))).toEqual([]);
  });

  it('tells keys by their beginning, and none twice', () => {
    expect(at('id: a\ns|')).toEqual(['severity', 'schedule', 'sequence']);
    expect(at('id: a\nseverity: info\ns|')).toEqual(['schedule', 'sequence']);
    expect(at('id: a\nwin|dow: x')).toEqual([]);
  });

  it('knows where it is', () => {
    expect(at('window:\n  |')).toEqual(['type', 'size', 'every', 'gap']);
    expect(at('window:\n  type: sliding\n  s|\nwhen: n > 1')).toEqual(['size']);
    expect(at('schedule:\n  days: [mon]\n  |')).toEqual(['hours', 'holidays', 'calendar']);
    expect(at('sequence:\n  - as: a\n    w|')).toEqual(['within', 'when']);
    expect(at('sequence:\n  - as: a\n  - |')).toEqual(['as', 'on', 'within', 'when']);
    expect(at('window:\n  size: 5m\nfo|')).toEqual(['for_each', 'for']);
  });

  it('tells the values that a key may have', () => {
    expect(at('severity: |')).toEqual(['info', 'warning', 'major', 'critical']);
    expect(at('severity: ma|')).toEqual(['major']);
    expect(at('severity: major|')).toEqual([]);
    expect(at('window:\n  type: s|')).toEqual(['sliding', 'session']);
    expect(at('type: s|')).toEqual([]);
  });

  it('tells functions in conditions and aggregates in lets', () => {
    expect(at('when: power_w > 20 && base|')).toEqual(['baseline(x)', 'baseline_z(x)']);
    expect(at('when: power_w > |')).toEqual([]);
    expect(at('let:\n  n: count|')).toEqual(['count()', 'count(x)', 'count_distinct(x)']);
    expect(at('text: rate|')).toEqual([]);
    expect(at('when: zone == "ra|')).toEqual([]);
  });

  it('replaces what is written and keeps the indent', () => {
    const [s] = suggest('id: a\nsch', 9);
    expect(s).toMatchObject({ from: 6, text: 'schedule:\n  days: [mon-fri]\n  hours: ["08:00-19:00"]', place: '' });
    const [step] = suggest('sequence:\n  - as: a\n  - ', 24);
    expect(step).toMatchObject({ label: 'as', from: 24, place: 'sequence' });
  });
});
