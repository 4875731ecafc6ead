// The feed's thread: asks who reads, parses the socket, keeps the table of assets, and hands the page what changed in
// typed arrays, one patch at a time. The page answers `drawn`, so a slow page gets fewer, larger patches.
import { topicsOf, type Topic, type Who } from '../lib/access';
import type { BinaryBody } from './binary';
import { FeedClient } from './client';
import { FirstView } from './first';
import type { FromWorker, ToWorker, Watched } from './messages';
import type { CityEvent, StateItem, Stats } from './protocol';
import { Refused, Replay } from './replay';
import { AssetTable } from './table';

const scope = self as unknown as DedicatedWorkerGlobalScope;
const table = new AssetTable();
const patchEvery = 200; // ms between patches: what a person can follow, and what the map redraws cheaply
const loadingEvery = 1_000; // while the first snapshot comes: soon whole, or else seen to grow
const healthEvery = 250;
const eventsEvery = 100; // events of this many ms go to the page together
const alarmsEvery = 250; // and alarms
const restFirst = 300; // that the page has for itself once it has the whole city
const mostFirst = 2_000; // and at most, once the city is known
const whoEvery = 3_000; // a server that does not say who reads is asked again

let client: FeedClient | null = null;
// The first snapshot is shown before assets are made of it: that takes longer than all else the first view needs of this thread.
let first: FirstView | null = new FirstView();
let waiting: { body: BinaryBody; fresh: boolean }[] = []; // what has come meanwhile
let drawn = true;
let ready = false;
let whole = false; // the page has all of the first snapshot
let patchTimer: ReturnType<typeof setTimeout> | null = null;
let lastPatch = Date.now();
let topics: Topic[] = []; // what the reader may see
let watched: string | null = null;
let watchedDirty = false;
let events: CityEvent[] = [];
let alarms: unknown[] = [];
let opening: unknown[] = []; // of a snapshot of alarms that is under way
let eventsSeen = false; // the first snapshot is the start, a later one is a hole

function post(message: FromWorker, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

function tellHealth(): void {
  if (!client) return;
  const { connection, lastFrame, heartbeat, attempts, gaps, closeCode } = client.health;
  post({ kind: 'health', health: { connection, lastFrame, heartbeat, attempts, gaps, closeCode, ready } });
}

function tellWatched(): void {
  watchedDirty = false;
  if (watched === null) return;
  make();
  const asset = table.get(watched);
  if (!asset) {
    post({ kind: 'watched', id: watched, asset: null });
    return;
  }
  const { slot: _slot, generation: _generation, ...plain } = asset;
  post({ kind: 'watched', id: watched, asset: { ...plain, values: { ...plain.values } } satisfies Watched });
}

function sendPatch(): void {
  patchTimer = null;
  if (watchedDirty) tellWatched();
  if (!drawn) return;
  const patch = (first ?? table).patch();
  if (patch) {
    drawn = false;
    lastPatch = Date.now();
    post({ kind: 'patch', patch }, [patch.slots.buffer, patch.xy.buffer, patch.severity.buffer, patch.domain.buffer, patch.named.buffer]);
  }
  if (!ready || whole) return;
  whole = true;
  post({ kind: 'whole' });
}

function schedulePatch(): void {
  if (patchTimer !== null || (!(first ?? table).dirty && !watchedDirty && (whole || !ready))) return;
  patchTimer = setTimeout(sendPatch, Math.max(0, (ready ? patchEvery : loadingEvery) - (Date.now() - lastPatch)));
}

function applyItems(items: unknown[], fresh: boolean): void {
  for (const item of items as StateItem[]) {
    table.apply(item, fresh);
    if (item.id === watched) watchedDirty = true;
  }
  if (table.strangers.size > 0) askStrangers();
  schedulePatch();
}

function take(body: BinaryBody, fresh: boolean): void {
  if (!first) {
    applyItems(body.items(), fresh);
    return;
  }
  waiting.push({ body, fresh });
  if (fresh) first.add(body);
  schedulePatch();
}

/** Makes the assets of what has come. */
function make(): void {
  if (!first) return;
  const shown = first;
  const came = waiting;
  first = null;
  waiting = [];
  try {
    for (const { body, fresh } of came) if (fresh) applyItems(body.items(), true);
    // What the page was told is not told again.
    if (!shown.dirty && table.size === shown.size) table.patch();
    for (const { body, fresh } of came) if (!fresh) applyItems(body.items(), false);
  } catch (err) {
    console.warn('feed: a binary frame that cannot be read:', err);
    client?.again('state');
  }
  schedulePatch();
}

// An asset that first appears in a delta may come without its place and name: the registry knows them.
let askingStrangers = false;
async function askStrangers(): Promise<void> {
  if (askingStrangers) return;
  askingStrangers = true;
  try {
    while (table.strangers.size > 0) {
      const [id] = table.strangers;
      table.strangers.delete(id);
      const response = await fetch(`/api/v1/devices/${encodeURIComponent(id)}`);
      if (response.status === 401) post({ kind: 'signedOut' });
      if (response.ok && table.get(id)) {
        const { domain, zone, profile, name, lat, lon } = (await response.json()) as StateItem;
        table.apply({ id, domain, zone, profile, name, lat, lon }, false);
        if (id === watched) watchedDirty = true;
        schedulePatch();
      }
    }
  } catch {
    // the feed goes on without their places; the next snapshot brings them
  } finally {
    askingStrangers = false;
  }
}

function addEvent(event: CityEvent): void {
  if (events.push(event) > 1) return;
  setTimeout(() => {
    post({ kind: 'events', events });
    events = [];
  }, eventsEvery);
}

function addAlarm(alarm: unknown): void {
  if (alarms.push(alarm) > 1) return;
  setTimeout(() => {
    if (alarms.length > 0) post({ kind: 'alarms', alarms, all: false });
    alarms = [];
  }, alarmsEvery);
}

// Where assets are and what they are called is today's: the replay begins once the feed has told that, and stops it.
let replay: Replay | null = null;
let ticks: ReturnType<typeof setInterval> | undefined;
let returning = false;
let wanted: { at: number; speed: number; playing: boolean } | null = null;
function seek(): void {
  if (!wanted || !ready) return;
  make();
  if (!replay) {
    client?.stop();
    const mine = new Replay({
      forget: () => {
        table.forget();
        watchedDirty = watched !== null;
        schedulePatch();
      },
      apply: (items) => applyItems(items, false),
      events: (list) => post({ kind: 'events', events: list }),
      get: async <T>(path: string, query: Record<string, string | number>) => {
        const params = new URLSearchParams(Object.entries(query).flatMap(([k, v]) => (v === '' ? [] : [[k, String(v)]])));
        const response = await fetch(`${path}?${params}`);
        if (response.status === 401) post({ kind: 'signedOut' });
        if (!response.ok) throw new Refused(`${path}: ${response.status}`, response.status);
        return (await response.json()) as T;
      },
      now: () => Date.now(),
      tell: (status) => {
        if (replay === mine) post({ kind: 'replay', status });
      },
    });
    replay = mine;
    ticks = setInterval(() => void replay?.tick(), 250);
  }
  void replay.seek(wanted.at, wanted.speed, wanted.playing);
}

// What is shown stays the past until a fresh snapshot is whole: nothing half of then and half of now.
function present(): void {
  wanted = null;
  if (!replay || !client) return;
  replay.end();
  replay = null;
  clearInterval(ticks);
  ready = false;
  returning = true;
  for (const topic of topics) subscribe[topic]();
  client.start();
}

const subscribe: Record<Topic, () => void> = {
  state: () =>
    client?.subscribe(
      'state',
      { topic: 'state', maxHz: 4, binary: true },
      {
        snapshotStart: () => {
          if (waiting.length > 0) make(); // this one is another
          table.beginSnapshot();
        },
        snapshotEnd: () => {
          table.endSnapshot();
          ready = true;
          watchedDirty = watched !== null;
          if (patchTimer !== null) clearTimeout(patchTimer);
          sendPatch();
          setTimeout(make, mostFirst);
          if (returning && !wanted) post({ kind: 'present' });
          returning = false;
          tellHealth();
          seek();
        },
        items: (items, fresh) => {
          make(); // the server speaks JSON
          applyItems(items, fresh);
        },
        body: take,
        error: (title, detail) => post({ kind: 'trouble', title, detail }),
      },
    ),
  events: () =>
    client?.subscribe(
      'events',
      { topic: 'events' },
      {
        // The list itself comes from the HTTP API; a snapshot here means events may have been missed.
        snapshotEnd: () => {
          if (eventsSeen) post({ kind: 'eventsGap' });
          eventsSeen = true;
        },
        items: (items) => {
          for (const item of items as CityEvent[]) addEvent(item);
        },
        event: addEvent,
        error: (title, detail) => post({ kind: 'trouble', title, detail }),
      },
    ),
  alarms: () =>
    client?.subscribe(
      'alarms',
      { topic: 'alarms' },
      {
        snapshotStart: () => (opening = []),
        snapshotEnd: () => {
          alarms = []; // older than the snapshot
          post({ kind: 'alarms', alarms: opening, all: true });
          opening = [];
        },
        items: (items) => {
          for (const item of items) opening.push(item);
        },
        alarm: addAlarm,
        error: (title, detail) => post({ kind: 'trouble', title, detail }),
      },
    ),
  stats: () =>
    client?.subscribe(
      'stats',
      { topic: 'stats', maxHz: 1 },
      {
        items: (items) => {
          const last = items.at(-1) as Stats | undefined;
          if (last) post({ kind: 'stats', stats: last, at: Date.now() });
        },
        stats: (stats) => post({ kind: 'stats', stats, at: Date.now() }),
      },
    ),
};

// Nothing of this waits for the page: its code is still on the way.
function start(): void {
  const url = new URL('/ws/v1/feed', scope.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const connect = () => {
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    return socket;
  };
  client = new FeedClient({ connect, onHealth: tellHealth });
  client.start();
  setInterval(tellHealth, healthEvery);
  scope.addEventListener('online', () => client?.retryNow());
  void introduce();
}

/** Asks who reads until it is known, and subscribes to what they may see. */
async function introduce(): Promise<void> {
  for (;;) {
    try {
      const response = await fetch('/api/v1/me', { headers: { Accept: 'application/json' } });
      if (response.status === 401) post({ kind: 'signedOut' });
      if (response.ok) {
        const who = (await response.json()) as Who;
        topics = topicsOf(who);
        for (const topic of topics) subscribe[topic]();
        if (!topics.includes('state')) {
          ready = true; // there is nothing to wait for
          schedulePatch();
        }
        post({ kind: 'who', who });
        tellHealth();
        return;
      }
    } catch {
      // the server is not there yet
    }
    await new Promise((resolve) => setTimeout(resolve, whoEvery));
  }
}

scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  switch (data.op) {
    case 'drawn':
      drawn = true;
      if (ready && first && !first.dirty) setTimeout(make, restFirst);
      schedulePatch();
      break;
    case 'watch':
      watched = data.id;
      tellWatched();
      break;
    case 'rows':
      make();
      post({ kind: 'rows', request: data.request, ...table.rows(data.query) });
      break;
    case 'areas':
      make();
      post({ kind: 'areas', request: data.request, areas: table.areas(data.domain, data.after, data.now) });
      break;
    case 'seek':
      wanted = { at: data.at, speed: data.speed, playing: data.playing };
      seek();
      break;
    case 'play':
      if (wanted) wanted = { ...wanted, speed: data.speed, playing: data.on };
      replay?.play(data.on, data.speed);
      break;
    case 'present':
      present();
      break;
    case 'retry':
      client?.retryNow();
      break;
  }
};

start();
