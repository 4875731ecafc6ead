import en, { type Key, type Messages } from './en';
import it from './it';

export type Lang = 'it' | 'en';
export const catalogues: Record<Lang, Messages> = { it, en };

export type Params = Record<string, string | number>;

/** Fills `{name}`s; of `one|many` takes by `n` (a number given as text counts as many unless "1"). */
export function translate(lang: Lang, key: Key, params: Params = {}): string {
  let text = catalogues[lang][key];
  if ('n' in params && text.includes('|')) {
    const [one, many] = text.split('|');
    text = String(params.n) === '1' ? one : many;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in params ? String(params[name]) : whole));
}

/** The language wanted: as chosen before, else as the browser prefers, else English. */
export function pickLang(stored: string | null, preferred: readonly string[]): Lang {
  if (stored === 'it' || stored === 'en') return stored;
  for (const p of preferred) {
    const base = p.toLowerCase().split('-')[0];
    if (base === 'it' || base === 'en') return base;
  }
  return 'en';
}
