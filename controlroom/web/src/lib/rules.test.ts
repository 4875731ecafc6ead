import { afterEach, describe, expect, it, vi } from 'vitest';
import { refused, rulesApi, type Rule } from '../api/rules';
import { Problem } from '../api/client';
import { idIn, offsetOf, pieces, ruleText, sortRules } from './rules';

const rule: Rule = {
  id: 'lamp-dead',
  title: { en: 'Lamp dead: no light', it: 'Lampada guasta' },
  domain: 'lighting',
  severity: 'major',
  on: 'observations',
  when: 'on && dimming > 0.1 && status == "off"',
  for: '2m',
  text: '{device}: {power_w} W',
  enabled: true,
  version: 'abc',
  file: 'defaults/lighting.yaml',
  line: 4,
  metrics: ['on'],
};

describe('the text of a rule', () => {
  it('is what one would write, without what the server adds', () => {
    expect(ruleText(rule)).toBe(`id: lamp-dead
title:
  en: "Lamp dead: no light"
  it: Lampada guasta
domain: lighting
severity: major
on: observations
when: on && dimming > 0.1 && status == "off"
for: 2m
text: "{device}: {power_w} W"
`);
  });

  it('quotes what YAML would read as something else', () => {
    const text = ruleText({ id: 'x', severity: 'info', when: '!on', clear: 'on', key: 'a #b', sequence: [{ as: 'a', when: 'x == 1' }, { as: 'b', within: '2m' }], enabled: false });
    expect(text).toBe(`id: x
severity: info
enabled: false
when: "!on"
clear: "on"
sequence:
  - as: a
    when: x == 1
  - as: b
    within: 2m
key: "a #b"
`);
  });

  it('tells its id', () => {
    expect(idIn('id: lamp-dead # old\nseverity: major')).toBe('lamp-dead');
    expect(idIn('severity: major\nid: "a b"')).toBe('a b');
    expect(idIn('title:\n  id: x')).toBe('');
  });
});

describe('problems', () => {
  it('are at their word', () => {
    const problem = { line: 2, column: 7, message: 'no such metric' };
    expect(pieces('id: x\nwhen: powr > 2\n', [problem])).toEqual([[{ text: 'id: x' }], [{ text: 'when: ' }, { text: 'powr', problem }, { text: ' > 2' }], [{ text: '' }]]);
  });

  it('beyond the end of a line or of the text harm nothing', () => {
    const far = { line: 1, column: 99, message: '' };
    expect(pieces('ab', [far, { ...far, line: 9 }])).toEqual([[{ text: 'ab' }]]);
    expect(offsetOf('ab\ncd', 2, 2)).toBe(4);
    expect(offsetOf('ab\ncd', 1, 99)).toBe(2);
    expect(offsetOf('ab\ncd', 9, 1)).toBe(5);
  });

  it('of a refused save are read from the answer', () => {
    const err = new Problem(422, 'Unprocessable', '', [{ location: 'line 3, column 14', message: 'found a text' }]);
    expect(refused(err)).toEqual([{ line: 3, column: 14, message: 'found a text' }]);
    expect(refused(new Problem(503, 'away', ''))).toEqual([]);
  });
});

describe('rules', () => {
  it('sort by severity and then by id', () => {
    const of = (id: string, severity: string): Rule => ({ id, severity });
    const all = [of('b', 'info'), of('c', 'critical'), of('a', 'info')];
    expect(sortRules(all, 'severity', true, 'en').map((r) => r.id)).toEqual(['c', 'a', 'b']);
  });
});

describe('entering a rule', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('is in place of the version that was seen, or of none, and of no other', async () => {
    const asked: [string, string | undefined, string | undefined][] = [];
    vi.stubGlobal('fetch', (_url: string, init: { method?: string; headers: Record<string, string> }) => {
      asked.push([init.method ?? 'GET', init.headers['If-Match'], init.headers['If-None-Match']]);
      return Promise.resolve(new Response(JSON.stringify(rule), { status: 200, headers: { ETag: '"tag"' } }));
    });
    await rulesApi.put('lamp-dead', 'id: lamp-dead', 'abc');
    await rulesApi.put('new', 'id: new', '');
    await expect(rulesApi.put('lamp-dead', 'id: lamp-dead', 'before')).rejects.toMatchObject({ status: 412 });
    expect(asked).toEqual([
      ['GET', undefined, undefined],
      ['PUT', '"tag"', undefined],
      ['PUT', undefined, '*'],
      ['GET', undefined, undefined],
    ]);
  });
});
