import type { CityEvent } from '../feed/protocol';
import { get, Problem, send } from './client';

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
  raised: number;
  errors: number;
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

  check: (text: string, signal?: AbortSignal) => send<{ ok: boolean; problems: RuleProblem[] }>('POST', '/api/v1/rules/check', text, signal),

  put: (id: string, text: string) => send<Rule>('PUT', path(id), text),

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
