import type { Rule, RuleProblem } from '../api/rules';
import { severityRank } from '../feed/protocol';
import type { Lang } from '../i18n/translate';

/** What the server adds to what was written. */
const added = new Set(['version', 'file', 'line', 'metrics', 'figures', 'template']);
/** Keys in the order in which people write them; others follow. */
const order = ['id', 'title', 'domain', 'profile', 'severity', 'enabled', 'mode', 'on', 'for_each', 'params', 'schedule', 'window', 'let', 'when', 'for', 'hold', 'clear', 'absent', 'sequence', 'unless', 'key', 'text'];

// A text that YAML reads as this very text without quotes.
const plain = (v: string) => (/^[A-Za-zÀ-ÿ_][^\n\t]*$/.test(v) && !/: | #|[:\s]$|^(true|false|yes|no|on|off|null|y|n)$/i.test(v)) || /^\d+(ms|s|m|h|d)$/.test(v);

function scalar(v: unknown): string {
  if (typeof v !== 'string') return JSON.stringify(v);
  return plain(v) ? v : JSON.stringify(v); // YAML reads JSON's strings
}

function lines(v: unknown, indent: string): string[] {
  const out: string[] = [];
  for (const [key, value] of Object.entries(v as Record<string, unknown>)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) {
      out.push(`${indent}${key}:`);
      for (const item of value) {
        if (typeof item !== 'object' || item === null) out.push(`${indent}  - ${scalar(item)}`);
        else lines(item, `${indent}    `).forEach((line, i) => out.push(i === 0 ? `${indent}  - ${line.trimStart()}` : line));
      }
    } else if (typeof value === 'object') {
      out.push(`${indent}${key}:`, ...lines(value, `${indent}  `));
    } else out.push(`${indent}${key}: ${scalar(value)}`);
  }
  return out;
}

/** A rule as one writes it, in YAML. */
export function ruleText(rule: Rule): string {
  const rank = (k: string) => (order.includes(k) ? order.indexOf(k) : order.length);
  const written = Object.entries(rule).filter(([k, v]) => !added.has(k) && !(k === 'enabled' && v === true) && v !== '');
  written.sort(([a], [b]) => rank(a) - rank(b));
  return `${lines(Object.fromEntries(written), '').join('\n')}\n`;
}

/** The id that a text gives its rule; '' where it gives none. */
export function idIn(text: string): string {
  const found = /^(?:id|"id"):[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#]+))/m.exec(text);
  return found?.[1] ?? found?.[2] ?? found?.[3] ?? '';
}

export const titleOf = (rule: Rule, lang: Lang): string => rule.title?.[lang] || rule.title?.en || rule.title?.it || rule.id;

/** What a rule looks at or waits for, in its own words. */
export function conditionOf(rule: Rule): string {
  if (typeof rule.when === 'string' && rule.when) return rule.when;
  return typeof rule.absent === 'string' && rule.absent ? `absent: ${rule.absent}` : '';
}

export type RuleMode = 'live' | 'shadow' | 'off';
export const modeOf = (rule: Rule): RuleMode => (rule.enabled === false ? 'off' : rule.mode === 'shadow' ? 'shadow' : 'live');

export type RuleSort = 'title' | 'domain' | 'severity' | 'mode' | 'evaluations' | 'raised';

/** A rule's figure since start, undefined where the server has none. */
export function figure(rule: Rule, name: 'evaluations' | 'raised' | 'errors'): number | undefined {
  return rule.figures?.[name];
}

export function sortRules(rules: readonly Rule[], by: RuleSort, descending: boolean, lang: Lang): Rule[] {
  const sign = descending ? -1 : 1;
  const text = new Intl.Collator(lang, { numeric: true }).compare;
  const compare: Record<RuleSort, (a: Rule, b: Rule) => number> = {
    title: (a, b) => text(titleOf(a, lang), titleOf(b, lang)),
    domain: (a, b) => text(a.domain ?? '', b.domain ?? ''),
    severity: (a, b) => severityRank(a.severity) - severityRank(b.severity),
    mode: (a, b) => text(modeOf(a), modeOf(b)),
    evaluations: (a, b) => (figure(a, 'evaluations') ?? -1) - (figure(b, 'evaluations') ?? -1),
    raised: (a, b) => (figure(a, 'raised') ?? -1) - (figure(b, 'raised') ?? -1),
  };
  return [...rules].sort((a, b) => sign * compare[by](a, b) || text(a.id, b.id));
}

/** A piece of a line; a wrong one is underlined. */
export interface Piece {
  text: string;
  problem?: RuleProblem;
}

/** The text line by line, cut where a problem is: from its column to the end of the word there. */
export function pieces(text: string, problems: readonly RuleProblem[]): Piece[][] {
  return text.split('\n').map((line, i) => {
    const here = problems.filter((p) => p.line === i + 1).sort((a, b) => a.column - b.column);
    const out: Piece[] = [];
    let at = 0;
    for (const problem of here) {
      const from = Math.min(Math.max(at, problem.column - 1), line.length);
      const word = /^[\w.]+|^\S|^$/.exec(line.slice(from))?.[0] ?? '';
      if (word === '') continue;
      if (from > at) out.push({ text: line.slice(at, from) });
      out.push({ text: word, problem });
      at = from + word.length;
    }
    if (at < line.length || out.length === 0) out.push({ text: line.slice(at) });
    return out;
  });
}

/** Where a line and column are in a text, in characters; the end of the line at most. */
export function offsetOf(text: string, line: number, column: number): number {
  const all = text.split('\n');
  const before = all.slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0);
  return Math.min(text.length, before + Math.min(Math.max(0, column - 1), all[line - 1]?.length ?? 0));
}
