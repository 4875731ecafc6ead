import type { Who } from '../lib/access';
import type { AreaCount } from '../lib/districts';
import type { CityEvent, Stats, Value } from './protocol';
import type { Connection } from './client';
import type { ReplayStatus } from './replay';
import type { Patch, Row, RowQuery } from './table';

/** What the page asks of the worker. */
export type ToWorker =
  /** the last patch is on the screen: the next may come */
  | { op: 'drawn' }
  /** tell the values of this asset, and again at each change; null: of none */
  | { op: 'watch'; id: string | null }
  | { op: 'rows'; request: number; query: RowQuery }
  | { op: 'areas'; request: number; domain: string; after: Record<string, number>; now: number }
  | { op: 'retry' }
  /** leave the past: `present` answers when all of the present is there */
  | { op: 'present' }
  /** leave the present: show this moment, Unix ms */
  | { op: 'seek'; at: number; speed: number; playing: boolean }
  | { op: 'play'; on: boolean; speed: number };

export interface Watched extends Row {
  values: Record<string, Value>;
}

export interface FeedHealth {
  connection: Connection;
  lastFrame: number | null;
  heartbeat: number;
  attempts: number;
  gaps: number;
  closeCode: number;
  /** the first snapshot is complete */
  ready: boolean;
}

/** What the worker tells the page. */
export type FromWorker =
  /** who reads, and is told what they may see; once */
  | { kind: 'who'; who: Who }
  | { kind: 'patch'; patch: Patch }
  /** the patches that were told hold the whole city; once */
  | { kind: 'whole' }
  | { kind: 'health'; health: FeedHealth }
  /** in the order they came */
  | { kind: 'events'; events: CityEvent[] }
  /** events may have been missed: read the list again */
  | { kind: 'eventsGap' }
  /** in the order they came; `all`: everything that is open */
  | { kind: 'alarms'; alarms: unknown[]; all: boolean }
  | { kind: 'stats'; stats: Stats; at: number }
  | { kind: 'watched'; id: string; asset: Watched | null }
  | { kind: 'rows'; request: number; rows: Row[]; total: number }
  | { kind: 'areas'; request: number; areas: AreaCount[] }
  | { kind: 'replay'; status: ReplayStatus }
  | { kind: 'present' }
  /** the server does not know the reader any more */
  | { kind: 'signedOut' }
  | { kind: 'trouble'; title: string; detail: string };
