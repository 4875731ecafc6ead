import type { CityEvent } from '../feed/protocol';
import { get, Problem, send, tagged } from './client';

/** A rule in force: what was written, and what the server says of it. */
export interface Rule {
  id: string;
  title?: Record<string, string>;
  domain?: string;
  severity: string;
  on?: string;
  enabled?: boolean;
  mode?: string;
  version?: string;
  /** where it was read; "api" for one that came through the page or the API */
  file?: string;
  line?: number;
  figures?: RuleFigures;
  [written: string]: unknown;
}

export interface RuleFigures {
  evaluations: number;
  matches: number;
  /** evaluations that were neither true nor false: of a metric not reported yet, and of errors */
  unknown: number;
  errors: number;
  raised: number;
  cleared: number;
  /** readings of windows and sequences that were over by then, and messages that a sequence had no room for */
  late: number;
  dropped: number;
  /** processor time */
  seconds: number;
  last_error?: string;
  /** why the rule was put out of force */
  failed?: string;
}

/** What is wrong with a rule, or could be (a warning); lines and columns count from 1. */
export interface RuleProblem {
  file?: string;
  line: number;
  column: number;
  rule?: string;
  message: string;
  warning?: boolean;
}

export interface RuleList {
  rules: Rule[];
  problems: RuleProblem[];
}

/** What a rule would have raised. */
export interface Backtest {
  readings: number;
  devices: number;
  errors: number;
  last_error?: string;
  raised: number;
  cleared: number;
  /** the first ones, in order of time */
  events: CityEvent[];
  more: boolean;
  step_seconds: number;
  buckets: { t: string; raised: number; cleared: number }[];
  seconds: number;
}

/** What decided that an event was raised. */
export interface Why {
  values?: Record<string, unknown>;
  when?: string;
  clear?: string;
  thresholds?: { value: string; is: string; limit: unknown; param?: string }[];
  /** parameters that are not the rule's own, and whose they are */
  overridden?: Record<string, string>;
  for?: string;
  absent?: string;
  hold?: string;
  key_of?: string;
  since?: string;
  devices?: number;
  window?: { type: string; from: string; to: string };
  /** so many times late readings changed what was told, and what came of that */
  correction?: number;
  ended?: string;
  withdrawn?: boolean;
  schedule?: Record<string, unknown>;
  reason?: string;
  chain?: string[];
}

/** An event with the rule that raised it, as it is today. */
export interface Explained {
  event: CityEvent & { rule_version?: string; key?: string; context?: Why };
  rule: Rule | null;
  rule_changed: boolean;
}

/** Parameters of rules that a profile or a zone has of its own. */
export interface Override {
  kind: 'profile' | 'zone';
  id: string;
  values: Record<string, unknown>;
}

const path = (id: string) => `/api/v1/rules/${encodeURIComponent(id)}`;

export const rulesApi = {
  async list(signal?: AbortSignal): Promise<RuleList> {
    const found: RuleList = { rules: [], problems: [] };
    let cursor: string | undefined;
    do {
      const answer = await get<{ rules: Rule[] | null; problems: RuleProblem[] | null; next?: string }>('/api/v1/rules', { limit: 1000, cursor }, signal);
      found.rules.push(...(answer.rules ?? []));
      found.problems = answer.problems ?? [];
      cursor = answer.next || undefined;
    } while (cursor && found.rules.length < 20_000);
    return found;
  },

  /** What each rule in force has done since the start, by id. */
  async figures(signal?: AbortSignal): Promise<Map<string, RuleFigures>> {
    const { rules } = await get<{ rules: (RuleFigures & { id: string })[] }>('/api/v1/rule-stats', {}, signal);
    return new Map(rules.map((r) => [r.id, r]));
  },

  explain: (event: string, signal?: AbortSignal) => get<Explained>(`/api/v1/events/${encodeURIComponent(event)}`, {}, signal),

  /** What profiles and zones say of a rule, or of the template that it comes of. */
  async overrides(rule: Rule, signal?: AbortSignal): Promise<Override[]> {
    type Overriding = { id: string; rules?: Record<string, Record<string, unknown>> };
    const [profiles, zones] = await Promise.all([
      get<{ profiles: Overriding[] }>('/api/v1/profiles', { limit: 1000 }, signal),
      get<{ features: { properties: Overriding }[] }>('/api/v1/zones', { limit: 1000 }, signal),
    ]);
    const names = [rule.template, rule.id].filter((n): n is string => typeof n === 'string' && n !== '');
    const of = (kind: Override['kind'], all: Overriding[]) =>
      all.flatMap(({ id, rules }) => {
        const values = Object.assign({}, ...names.map((n) => rules?.[n] ?? {})) as Record<string, unknown>;
        return Object.keys(values).length > 0 ? [{ kind, id, values }] : [];
      });
    return [...of('profile', profiles.profiles ?? []), ...of('zone', (zones.features ?? []).map((f) => f.properties))];
  },

  check: (text: string, signal?: AbortSignal) => send<{ ok: boolean; problems: RuleProblem[] }>('POST', '/api/v1/rules/check', text, signal),

  /** Enters a rule in place of the version that was seen, '' where none was; a Problem 412 where there is another by now. */
  async put(id: string, text: string, seen: string): Promise<Rule> {
    if (seen === '') return send<Rule>('PUT', path(id), text, undefined, { 'If-None-Match': '*' });
    const { found, tag } = await tagged<Rule>(path(id));
    if (found.version !== seen) throw new Problem(412, 'Precondition Failed', '');
    return send<Rule>('PUT', path(id), text, undefined, { 'If-Match': tag });
  },

  /** What a text would have raised as the rule `id`, with the readings of the past. */
  backtest: (id: string, text: string, from: Date, to: Date, signal?: AbortSignal) =>
    send<Backtest>('POST', `${path(id)}/backtest`, { from: from.toISOString(), to: to.toISOString(), rule: text }, signal),

  remove: (id: string) => send<void>('DELETE', path(id)),
};

/** The problems that a refused rule came back with, each at its place in the text. */
export function refused(err: unknown): RuleProblem[] {
  if (!(err instanceof Problem) || err.status !== 422) return [];
  return err.errors.map((e) => {
    const at = /line (\d+), column (\d+)/.exec(e.location ?? '');
    return { line: at ? Number(at[1]) : 1, column: at ? Number(at[2]) : 1, message: e.message };
  });
}
