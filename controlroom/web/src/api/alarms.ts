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
  last_action?: string;
  last_by?: string;
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
  flood: { active: boolean; since: string | null; begins_above: number; ends_below: number; floods_24h: number; share_24h: number };
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

  health: (signal?: AbortSignal) => get<AlarmHealth>(`${path}/health`, {}, signal),
};
