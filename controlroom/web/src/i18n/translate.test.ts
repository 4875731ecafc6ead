import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { catalogues, pickLang, translate } from './translate';
import en, { type Key } from './en';
import it_ from './it';

const names = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();

describe('both languages', () => {
  it('have the same keys, none empty', () => {
    expect(Object.keys(it_).sort()).toEqual(Object.keys(en).sort());
    for (const [lang, messages] of Object.entries(catalogues)) {
      for (const [key, text] of Object.entries(messages)) expect(text.trim(), `${lang} ${key}`).not.toBe('');
    }
  });

  it('fill in the same names, and have one and many alike', () => {
    for (const key of Object.keys(en) as Key[]) {
      expect(new Set(names(it_[key])), key).toEqual(new Set(names(en[key])));
      expect(it_[key].split('|').length, key).toBe(en[key].split('|').length);
    }
  });

  it('have what the page asks for, and nothing else', () => {
    const src = join(import.meta.dirname, '..');
    const text = readdirSync(src, { recursive: true, withFileTypes: true })
      .filter((f) => f.isFile() && /\.(svelte|ts)$/.test(f.name) && !/\.test\.ts$/.test(f.name) && !f.parentPath.endsWith('i18n'))
      .map((f) => readFileSync(join(f.parentPath, f.name), 'utf8'))
      .join('\n');
    const asked = new Set([...text.matchAll(/['"`]([a-z]+\.[\w.]+)['"`]/gi)].map((m) => m[1]));
    const built = [...text.matchAll(/`([a-z]+(?:\.[a-z]+)*)\.?\$\{/gi)].map((m) => `${m[1]}.`);
    const unused = Object.keys(en).filter((k) => !asked.has(k) && !built.some((prefix) => k.startsWith(prefix)));
    expect(unused).toEqual([]);
  });
});

describe('translate', () => {
  it('fills in and picks one or many', () => {
    expect(translate('en', 'search.results', { n: 1 })).toBe('1 result');
    expect(translate('it', 'search.results', { n: '1.234' })).toBe('1.234 risultati');
    expect(translate('it', 'feed.still', { n: 12 })).toBe('Dati fermi da 12 s');
    expect(translate('en', 'feed.still')).toBe('Data still for {n} s');
  });

  it('chooses the language', () => {
    expect(pickLang(null, ['it-IT', 'en'])).toBe('it');
    expect(pickLang(null, ['fr', 'en-GB', 'it'])).toBe('en');
    expect(pickLang(null, ['fr'])).toBe('en');
    expect(pickLang('it', ['en'])).toBe('it');
    expect(pickLang('xx', ['it'])).toBe('it');
  });
});

describe('reasons of rejection', () => {
  it('have words, each of them', () => {
    const source = readFileSync(join(import.meta.dirname, '../../../../ingest/envelope.go'), 'utf8');
    const reasons = [...source.matchAll(/ Reason = "(\w+)"/g)].map(([, reason]) => reason);
    expect(reasons.length).toBeGreaterThan(40);
    expect(reasons.filter((r) => !(`reason.${r}` in en))).toEqual([]);
  });
});
