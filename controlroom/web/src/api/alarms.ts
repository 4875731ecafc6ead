import { get, Problem, send } from './client';

export type AlarmState = 'unacked' | 'acked' | 'returned' | 'normal' | 'shelved' | 'suppressed' | 'out_of_service';

/** One alarm a rule and key, as in GET /api/v1/alarms. */
export interface Alarm {
  id: string;
  rule: string;
  key: string;
  severity: string;
  state: AlarmState;
  raised: string;
  cleared: string | null;
  count: number;
  acked_by?: string;
  acked_at?: string | null;
  assigned_to?: string;
  shelved_until?: string | null;
  shelved_by?: string;
  note?: string;
  rev?: number;
  domain?: string;
  device?: string;
  zone?: string;
  text?: string;
  escalated?: boolean;
  chattering?: boolean;
  held_by?: string;
  /** what it has in common with the other alarms of its incident; '' where it is in none */
  group?: string;
  /** the alarm of the incident that came first, its own id where it did */
  first_out?: string;
  /** id of its newest event */
  event?: string;
  last_action?: string;
  last_by?: string;
  /** raised, in Unix ms: the page's own */
  at?: number;
}

export const actions = ['ack', 'unack', 'shelve', 'unshelve', 'assign', 'comment', 'close'] as const;
export type Action = (typeof actions)[number];

/** What goes with an action. */
export interface Act {
  action: Action;
  note?: string;
  /** of shelve: when it ends, RFC 3339 */
  until?: string;
  /** of assign: to whom; '' takes it back */
  to?: string;
}

export interface AlarmHealth {
  time: string;
  states: Record<string, number>;
  rate_10m: number;
  rates_10m: number[];
  priority_mix: Record<string, number>;
  bad_actors: { raises: number; alarm: Alarm }[];
  chattering: Alarm[];
  stale: Alarm[];
  stale_count: number;
  stale_after_s: number;
  shelved: Alarm[];
  oldest_unacked: Alarm | null;
  operators: number;
  rate_10m_per_operator: number;
  peak_10m_per_operator: number;
  average_10m_per_operator: number;
  /** part of the last 24 h's 10 minutes with more alarms for an operator than a flood begins with */
  over_limit_share_24h: number;
  /** part of the raises that the bad actors have */
  bad_actors_share: number;
  flood: { active: boolean; since: string | null; begins_above: number; ends_below: number; floods_24h: number; share_24h: number };
}

/** Something that happened to an alarm; `by` is empty for the system. */
export interface AlarmEntry {
  time: string;
  action: string;
  by: string;
  note: string;
  state: AlarmState;
  severity: string;
}

/** An alarm that an action did not fit: how it is now, where the server says it. */
export class Stale extends Error {
  constructor(
    readonly detail: string,
    readonly current: Alarm | undefined,
  ) {
    super(detail);
  }
}

const path = '/api/v1/alarms';

/** A page of the open alarms of some severity, the newest first. */
export interface AlarmPage {
  alarms: Alarm[];
  /** on all pages */
  total: number;
  next?: string;
}

export const alarmsApi = {
  /** The alarm after it; a Stale where it changed meanwhile. */
  async act(id: string, act: Act, rev: number | undefined): Promise<Alarm> {
    const { action, ...body } = act;
    try {
      return await send<Alarm>('POST', `${path}/${encodeURIComponent(id)}/${action}`, { ...body, rev });
    } catch (err) {
      if (err instanceof Problem && err.status === 409) throw new Stale(err.detail || err.title, err.body.current as Alarm | undefined);
      throw err;
    }
  },

  /** One action on many, whatever their rev; what came of each. */
  async actOnMany(ids: string[], act: Act): Promise<{ id: string; status: number; detail?: string }[]> {
    const answer = await send<{ results: { id: string; status: number; detail?: string }[] }>('POST', `${path}/actions`, { ...act, ids });
    return answer.results;
  },

  list: (query: { severity?: string; limit: number; cursor?: string }, signal?: AbortSignal) => get<AlarmPage>(path, query, signal),

  /** What happened to an alarm, the oldest first. */
  async log(id: string, signal?: AbortSignal): Promise<AlarmEntry[]> {
    const { log } = await get<{ log: AlarmEntry[] }>(`${path}/${encodeURIComponent(id)}/log`, {}, signal);
    return log;
  },

  health: (signal?: AbortSignal) => get<AlarmHealth>(`${path}/health`, {}, signal),
};
