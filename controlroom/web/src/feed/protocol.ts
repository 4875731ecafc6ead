import type { BinaryBody } from './binary';

// The words of /ws/v1/feed: what the client says and what the server answers, one JSON message a frame.

export type Severity = 'info' | 'warning' | 'major' | 'critical';

/** severities, least first; a device without an alarm is rank 0, `info` is rank 1. */
export const severities: readonly Severity[] = ['info', 'warning', 'major', 'critical'];

/** Rank 0 is normal; anything unknown that is not empty counts as `info`. */
export function severityRank(s: string | null | undefined): number {
  if (!s) return 0;
  const at = severities.indexOf(s as Severity);
  return at < 0 ? 1 : at + 1;
}

export type Value = number | string | boolean | null;

/** One device in a snapshot or a delta. A delta carries only what changed. */
export interface StateItem {
  id: string;
  /** event time of the newest value, RFC 3339 */
  t?: string;
  /** the same in GET /api/v1/state; Unix ms in binary frames */
  seen?: string | number;
  domain?: string;
  zone?: string;
  profile?: string;
  name?: string;
  lat?: number | null;
  lon?: number | null;
  values?: Record<string, Value>;
  /** absent: unchanged; null: normal */
  alarm?: string | null;
  /** the device left the registry */
  removed?: boolean;
}

/** As in GET /api/v1/events. */
export interface CityEvent {
  id: string;
  rule: string;
  rule_version?: string | number;
  severity: string;
  state?: 'raised' | 'updated' | 'cleared';
  time: string;
  received?: string;
  domain?: string;
  device?: string;
  zone?: string;
  key?: string;
  text: string;
  context?: Record<string, unknown>;
}

/** As in GET /api/v1/stats: counters since start. */
export interface Stats {
  received?: number;
  decoded?: number;
  rejected?: number;
  logged?: number;
  stored?: number;
  events?: number;
  devices?: number;
  lag?: Record<string, number>;
  [other: string]: unknown;
}

export interface Filter {
  domain?: string[];
  zone?: string[];
  device?: string[];
  severity?: string[];
  bbox?: [west: number, south: number, east: number, north: number];
}

export type Topic = 'state' | 'events' | 'alarms' | 'stats';

/** A place in a subscription's numbering: what `resume` asks to continue from. */
export interface Position {
  epoch: string;
  seq: number;
}

export type ClientFrame =
  | { op: 'subscribe'; id: string; topic: Topic; filter?: Filter; max_hz?: number; resume?: Position; encoding?: 'bin' }
  | { op: 'unsubscribe'; id: string }
  | { op: 'ping'; n: number };

export type ServerFrame =
  | { type: 'snapshot'; id: string; epoch: string; seq: number; items?: unknown[]; body?: BinaryBody; more?: boolean }
  | { type: 'delta'; id: string; seq: number; epoch?: string; items?: unknown[]; body?: BinaryBody }
  | { type: 'event'; id: string; seq: number; epoch?: string; event: CityEvent }
  | { type: 'alarm'; id: string; seq: number; epoch?: string; alarm: unknown }
  | { type: 'stats'; id: string; seq: number; epoch?: string; stats: Stats }
  | { type: 'error'; id?: string; title?: string; detail?: string }
  | { type: 'pong'; n: number }
  | { type: 'heartbeat'; t: string };

/** Reads a frame, or null for what is not one. Unknown types pass: the contract grows by adding. */
export function parseFrame(text: string): ServerFrame | null {
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof v !== 'object' || v === null || typeof (v as { type?: unknown }).type !== 'string') return null;
  return v as ServerFrame;
}
