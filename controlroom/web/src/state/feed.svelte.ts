import type { Alarm } from '../api/alarms';
import { signIn } from '../api/signin';
import { listen, worker } from '../feed/begin';
import type { FeedHealth, FromWorker, ToWorker, Watched } from '../feed/messages';
import type { CityEvent, Stats } from '../feed/protocol';
import type { ReplayStatus } from '../feed/replay';
import type { DomainCount, Row, RowQuery } from '../feed/table';
import type { Who } from '../lib/access';
import type { AreaCount } from '../lib/districts';
import { Points, type Touched } from '../map/points';

export interface Rates {
  received: number; // messages a second
  stored: number; // observations a second
  rejected: number; // messages a second
  rejectedTotal: number;
  lag: Record<string, number>; // log batches
}

type DrawListener = (touched: Touched | null) => void;

/** The page's side of the feed's worker: what it tells, as reactive state; the points, written in place. */
export class Feed {
  counts = $state.raw<DomainCount[]>([]);
  size = $state(0);
  /** domains in the order of their index in `points` */
  domains = $state.raw<string[]>([]);
  health = $state.raw<FeedHealth>({
    connection: 'connecting',
    lastFrame: null,
    heartbeat: 5_000,
    attempts: 0,
    gaps: 0,
    closeCode: 0,
    ready: false,
  });
  rates = $state.raw<Rates | null>(null);
  watched = $state.raw<Watched | null>(null);
  trouble = $state.raw<{ title: string; detail: string } | null>(null);
  /** where a replay is; null: the present, or a replay that is still to begin */
  replay = $state.raw<ReplayStatus | null>(null);
  /** grows with every patch: what reads `points` depends on it */
  version = $state(0);
  readonly points = new Points();
  /** the points are the whole city, not what has come of it so far */
  whole = false;

  #who: (who: Who) => void = () => {};
  #samples: { at: number; stats: Stats }[] = [];
  #listeners = new Set<DrawListener>();
  #eventListeners = new Set<(events: CityEvent[]) => void>();
  #gapListeners = new Set<() => void>();
  #alarmListeners = new Set<(alarms: Alarm[], all: boolean) => void>();
  #presentListeners = new Set<() => void>();
  #requests = new Map<number, (answer: { rows: Row[]; total: number }) => void>();
  #areaRequests = new Map<number, (areas: AreaCount[]) => void>();
  #nextRequest = 0;
  #watchedID: string | null = null;

  /** Begins to tell what the feed's thread has found out, and `who` reads. */
  start(who: (who: Who) => void): void {
    this.#who = who;
    listen((message) => this.#receive(message));
  }

  /** Called once a frame at most, after the points were written. Returns how to stop. */
  onDraw(fn: DrawListener): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  onEvents(fn: (events: CityEvent[]) => void, missed: () => void): () => void {
    this.#eventListeners.add(fn);
    this.#gapListeners.add(missed);
    return () => {
      this.#eventListeners.delete(fn);
      this.#gapListeners.delete(missed);
    };
  }

  onAlarms(fn: (alarms: Alarm[], all: boolean) => void): () => void {
    this.#alarmListeners.add(fn);
    return () => this.#alarmListeners.delete(fn);
  }

  /** Called when the past was left and what is shown is now again. */
  onPresent(fn: () => void): () => void {
    this.#presentListeners.add(fn);
    return () => this.#presentListeners.delete(fn);
  }

  /** Follows one asset's values in `watched`; null follows none. */
  watch(id: string | null): void {
    this.#watchedID = id;
    this.watched = null;
    this.#tell({ op: 'watch', id });
  }

  rows(query: RowQuery): Promise<{ rows: Row[]; total: number }> {
    const request = ++this.#nextRequest;
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      this.#tell({ op: 'rows', request, query });
    });
  }

  /** The assets by zone: see AssetTable.areas. */
  areas(domain: string, after: Record<string, number>, now: number): Promise<AreaCount[]> {
    const request = ++this.#nextRequest;
    return new Promise((resolve) => {
      this.#areaRequests.set(request, resolve);
      this.#tell({ op: 'areas', request, domain, after, now });
    });
  }

  retry(): void {
    this.#tell({ op: 'retry' });
  }

  /** Leaves the past: what is shown stays until all of the present has come. */
  present(): void {
    this.#tell({ op: 'present' });
  }

  /** Shows a moment of the past, and from there on the past. */
  seek(at: number, speed: number, playing: boolean): void {
    this.#tell({ op: 'seek', at, speed, playing });
  }

  replayPlay(on: boolean, speed: number): void {
    this.#tell({ op: 'play', on, speed });
  }

  #tell(message: ToWorker): void {
    worker.postMessage(message);
  }

  #receive(m: FromWorker): void {
    switch (m.kind) {
      case 'who':
        this.#who(m.who);
        break;
      case 'patch':
        this.#whenDrawing(() => {
          const touched = this.points.apply(m.patch);
          this.counts = m.patch.counts;
          this.size = m.patch.size;
          if (m.patch.domains.length !== this.domains.length) this.domains = m.patch.domains;
          this.version++;
          for (const fn of this.#listeners) fn(touched);
          this.#tell({ op: 'drawn' });
        });
        break;
      case 'whole':
        this.#whenDrawing(() => {
          this.whole = true;
          for (const fn of this.#listeners) fn(null);
        });
        break;
      case 'health':
        this.health = m.health;
        break;
      case 'events':
        for (const fn of this.#eventListeners) fn(m.events);
        break;
      case 'eventsGap':
        for (const fn of this.#gapListeners) fn();
        break;
      case 'alarms':
        for (const fn of this.#alarmListeners) fn(m.alarms as Alarm[], m.all);
        break;
      case 'stats':
        this.#stats(m.stats, m.at);
        break;
      case 'watched':
        if (m.id === this.#watchedID) this.watched = m.asset;
        break;
      case 'rows':
        this.#requests.get(m.request)?.({ rows: m.rows, total: m.total });
        this.#requests.delete(m.request);
        break;
      case 'areas':
        this.#areaRequests.get(m.request)?.(m.areas);
        this.#areaRequests.delete(m.request);
        break;
      case 'replay':
        this.replay = m.status;
        break;
      case 'present':
        this.replay = null;
        for (const fn of this.#presentListeners) fn();
        break;
      case 'signedOut':
        signIn();
        break;
      case 'trouble':
        this.trouble = { title: m.title, detail: m.detail };
        break;
    }
  }

  /** At the next frame; a hidden page has no frames, but must not fall behind: it takes a timer. */
  #whenDrawing(fn: () => void): void {
    if (document.visibilityState === 'hidden') setTimeout(fn, 0);
    else requestAnimationFrame(fn);
  }

  #stats(stats: Stats, at: number): void {
    const samples = this.#samples;
    const last = samples.at(-1);
    // Counters that went back mean the server started again.
    if (last && (stats.received ?? 0) < (last.stats.received ?? 0)) samples.length = 0;
    samples.push({ at, stats });
    while (samples.length > 2 && at - samples[0].at > 10_000) samples.shift();
    const first = samples[0];
    const elapsed = (at - first.at) / 1000;
    const perSecond = (key: 'received' | 'stored' | 'rejected') =>
      elapsed > 0 ? Math.max(0, ((stats[key] ?? 0) - (first.stats[key] ?? 0)) / elapsed) : 0;
    this.rates = {
      received: perSecond('received'),
      stored: perSecond('stored'),
      rejected: perSecond('rejected'),
      rejectedTotal: stats.rejected ?? 0,
      lag: stats.lag ?? {},
    };
  }
}
