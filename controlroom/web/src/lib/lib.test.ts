import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ago, clock, count, degrees, domainLabel, measure, metricLabel, rate, seconds, unit, value } from './format';
import { formatRoute, parseRoute } from './route';
import { marks, ranks } from './marks';

describe('numbers', () => {
  it('are localised', () => {
    expect(count('it', 6610)).toBe('6.610');
    expect(count('en', 6610)).toBe('6,610');
    expect(seconds('it', 432)).toBe('0,4');
    expect(seconds('en', -5)).toBe('0.0');
    expect(degrees('en', 38.1)).toBe('38.10000');
    expect(rate('en', 9.87)).toBe('9.9');
    expect(rate('en', 12345.6)).toBe('12,346');
  });

  it('have as many digits as they mean', () => {
    const f = (v: number, want: string) => expect(measure('en', v), String(v)).toBe(want);
    f(83.24567, '83.25');
    f(0, '0');
    f(-0.5, '-0.5');
    f(0.00012345, '0.00012');
    f(1234.567, '1,234.6');
    f(120000, '120,000');
    f(NaN, '–');
    f(Infinity, '–');
  });
});

describe('values', () => {
  it('come with units for people', () => {
    expect(unit('ug/m3')).toBe('µg/m³');
    expect(unit('Cel')).toBe('°C');
    expect(unit('{vehicles}/h')).toBe('vehicles/h');
    expect(unit('1')).toBe('');
    expect(unit(undefined)).toBe('');
    expect(value('it', 21.5, { unit: 'Cel' })).toBe('21,5 °C');
    expect(value('it', true)).toBe('acceso');
    expect(value('en', 'ok')).toBe('ok');
    expect(value('en', null)).toBe('–');
    expect(value('en', undefined)).toBe('–');
  });

  it('have labels, or their names', () => {
    expect(metricLabel('it', 'power_w', { label: { it: 'Potenza', en: 'Power' } })).toBe('Potenza');
    expect(metricLabel('it', 'power_w', { label: { en: 'Power' } })).toBe('Power');
    expect(metricLabel('it', 'power_w')).toBe('power w');
    expect(domainLabel('it', 'lighting')).toBe('Illuminazione');
    expect(domainLabel('en', 'cold_chain')).toBe('Cold chain');
    expect(domainLabel('en', '')).toBe('Unknown');
  });
});

describe('times', () => {
  const now = new Date(2026, 10, 23, 12, 0, 0).getTime();
  it('tell how long ago', () => {
    const f = (s: number, want: string) => expect(ago('en', now - s * 1000, now), `${s} s`).toBe(want);
    f(-3, 'now');
    f(0.4, 'now');
    f(12, '12 s ago');
    f(99, '99 s ago');
    f(120, '2 min ago');
    f(3 * 3600, '3 h ago');
    f(3 * 86400, '3 d ago');
  });
  it('name the day when it is not today', () => {
    expect(clock('it', now - 1000, now)).toBe('11:59:59');
    expect(clock('it', now - 86_400_000, now)).toBe('22/11 12:00:00');
  });
});

describe('addresses', () => {
  it('are read as they are written', () => {
    for (const route of [
      { view: 'map', asset: null, rule: null, domain: '', shade: '' },
      { view: 'table', asset: null, rule: null, domain: 'waste', shade: '' },
      { view: 'radio', asset: null, rule: null, domain: '', shade: '' },
      { view: 'domains', asset: null, rule: null, domain: '', shade: '' },
      { view: 'domains', asset: null, rule: null, domain: 'wi-fi/2', shade: '' },
      { view: 'domains', asset: 'lamp 7', rule: null, domain: 'lighting', shade: '' },
      { view: 'statement', asset: null, rule: null, domain: '', shade: '' },
      { view: 'cameras', asset: null, rule: null, domain: '', shade: '' },
      { view: 'cameras', asset: 'cam 7', rule: null, domain: 'mobility', shade: '' },
      { view: 'radio', asset: 'meter 7', rule: null, domain: 'water', shade: '' },
      { view: 'map', asset: 'lamp.7', rule: null, domain: '', shade: '' },
      { view: 'alarms', asset: null, rule: null, domain: 'waste', shade: '' },
      { view: 'health', asset: 'lamp.7', rule: null, domain: '', shade: '' },
      { view: 'rules', asset: null, rule: null, domain: '', shade: '' },
      { view: 'rules', asset: null, rule: 'lamp/by day', domain: 'lighting', shade: '' },
      { view: 'rules', asset: 'lamp.7', rule: 'lamp-dead', domain: '', shade: '' },
      { view: 'table', asset: '€ %2F&?', rule: null, domain: 'lighting', shade: '' },
    ] as const) {
      const url = new URL(formatRoute(route), 'http://x');
      expect(parseRoute(url.pathname, url.search)).toEqual(route);
    }
  });
  it('are the map where they are not known', () => {
    for (const path of ['/', '/asset/', '/nowhere', '/asset/%E0%A4%A']) expect(parseRoute(path, '')).toEqual({ view: 'map', asset: null, rule: null, domain: '', shade: '' });
  });
});

describe('signs', () => {
  it('differ in shape and glyph, not in colour alone', () => {
    expect(new Set(ranks.map((r) => marks[r].shape)).size).toBe(ranks.length);
  });
});

describe('the page', () => {
  it('names no other host', () => {
    const html = readFileSync(join(import.meta.dirname, '../../index.html'), 'utf8');
    expect(html).not.toMatch(/https?:\/\//);
  });
});
