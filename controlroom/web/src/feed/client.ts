import { Backoff } from './backoff';
import { BinaryBody, binaryHead } from './binary';
import { parseFrame, type ClientFrame, type ServerFrame } from './protocol';
import { Sequence, type Handlers, type Request } from './subscription';

/** What the client uses of a WebSocket; tests pass a fake. */
export interface Socket {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
}

/** The clock and timers; tests pass their own. */
export interface Clock {
  now(): number;
  after(ms: number, fn: () => void): unknown;
  cancel(timer: unknown): void;
}

export const realClock: Clock = {
  now: () => Date.now(),
  after: (ms, fn) => setTimeout(fn, ms),
  cancel: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

export type Connection = 'connecting' | 'open' | 'waiting' | 'stopped';

export interface Health {
  connection: Connection;
  /** when anything was last received, in the clock's milliseconds; null before the first frame */
  lastFrame: number | null;
  /** how far apart the server's heartbeats are, as observed, in milliseconds */
  heartbeat: number;
  /** attempts since the last frame */
  attempts: number;
  /** gaps found and mended since start */
  gaps: number;
  /** why the last connection ended: a close code, 0 where it never opened */
  closeCode: number;
}

export interface Options {
  connect: () => Socket;
  clock?: Clock;
  random?: () => number;
  /** called when the connection changes; ages are read from `health` */
  onHealth?: (health: Health) => void;
  /** assumed distance of heartbeats until two were seen, ms */
  heartbeat?: number;
}

const giveUp = 10_000; // least silence, ms, before a connection is given up
const calm = 30_000; // a gap this long after the last one is a first one again

interface Entry {
  key: string;
  wire: string; // the id on the wire: a new one each time it is asked for, so that late frames of an old one are known
  sequence: Sequence;
  lastGap: number;
  mending: Backoff;
  binary: boolean;
  names: Map<number, string>; // of the devices in binary frames, by index
  timer: unknown;
}

/**
 * A client of /ws/v1/feed. It keeps subscriptions across connections: each is resumed from its last epoch
 * and number, gaps are asked for again, a silent connection is given up after three heartbeats. It owns one
 * socket and a few timers, and no thread: run it where its handlers should run (here: a Web Worker).
 */
export class FeedClient {
  readonly health: Health;
  readonly #options: Options;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #entries = new Map<string, Entry>();
  readonly #byWire = new Map<string, Entry>();
  #socket: Socket | null = null;
  #open = false;
  #nextWire = 0;
  #pings = 0;
  #retry: unknown = null;
  #watch: unknown = null;
  #lastBeat: number | null = null;
  #beats: number[] = []; // the last distances between heartbeats, ms
  #wanted = false;

  constructor(options: Options) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#backoff = new Backoff(500, 15_000, options.random);
    this.health = {
      connection: 'stopped',
      lastFrame: null,
      heartbeat: options.heartbeat ?? 5_000,
      attempts: 0,
      gaps: 0,
      closeCode: 0,
    };
  }

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#connect();
  }

  stop(): void {
    this.#wanted = false;
    this.#clock.cancel(this.#retry);
    this.#drop(1000, 'stopped');
    this.#set('stopped');
  }

  /** Ends the pause before the next attempt: the network is back or somebody asked. */
  retryNow(): void {
    if (this.health.connection !== 'waiting') return;
    this.#clock.cancel(this.#retry);
    this.#connect();
  }

  /** Subscribes under `key`; a second call with the same key replaces the first. */
  subscribe(key: string, request: Request, handlers: Handlers): void {
    this.unsubscribe(key);
    const entry: Entry = {
      key,
      wire: '',
      sequence: new Sequence(request, handlers),
      lastGap: -Infinity,
      mending: new Backoff(1_000, 30_000, this.#options.random),
      binary: request.binary === true,
      names: new Map(),
      timer: null,
    };
    this.#entries.set(key, entry);
    if (this.#open) this.#ask(entry);
  }

  unsubscribe(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#clock.cancel(entry.timer);
    this.#unask(entry);
  }

  /** The epoch and number a subscription stands at, to resume it elsewhere. */
  position(key: string): { epoch: string; seq: number } | null {
    const p = this.#entries.get(key)?.sequence.position;
    return p ? { ...p } : null;
  }

  #ask(entry: Entry): void {
    entry.wire = `${entry.key}.${++this.#nextWire}`;
    this.#byWire.set(entry.wire, entry);
    const { topic, filter, maxHz } = entry.sequence.request;
    const frame: ClientFrame = { op: 'subscribe', id: entry.wire, topic };
    if (filter) frame.filter = filter;
    if (maxHz) frame.max_hz = maxHz;
    if (entry.binary) frame.encoding = 'bin';
    if (entry.sequence.position) frame.resume = { ...entry.sequence.position };
    this.#send(frame);
  }

  #unask(entry: Entry): void {
    if (!entry.wire) return;
    this.#byWire.delete(entry.wire);
    if (this.#open) this.#send({ op: 'unsubscribe', id: entry.wire });
    entry.wire = '';
  }

  #send(frame: ClientFrame): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #connect(): void {
    this.health.attempts++;
    this.#set('connecting');
    const socket = this.#options.connect();
    this.#socket = socket;
    const mine = (fn: () => void) => {
      if (this.#socket === socket) fn();
    };
    socket.onopen = () =>
      mine(() => {
        this.#open = true;
        this.#lastBeat = null;
        this.#set('open');
        for (const entry of this.#entries.values()) this.#ask(entry);
      });
    socket.onmessage = (event) => mine(() => this.#receive(event.data));
    socket.onerror = () => {}; // a close always follows and says more
    socket.onclose = (event) => mine(() => this.#closed(event.code));
    this.#armWatch();
  }

  /** Gives the socket up; its own close event, if it ever comes, is no longer listened to. */
  #drop(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    this.#clock.cancel(this.#watch);
    this.#byWire.clear();
    for (const entry of this.#entries.values()) {
      entry.wire = '';
      entry.sequence.detach();
      this.#clock.cancel(entry.timer);
    }
    try {
      socket?.close(code, reason);
    } catch {
      // closing a socket that never opened may throw; it is gone either way
    }
  }

  #closed(code: number): void {
    this.#drop(1000, 'closed');
    this.health.closeCode = code;
    if (!this.#wanted) return;
    // 1013: the server asks for time. 1008: it did not like what we said, and will not like it better soon.
    let pause = this.#backoff.next();
    if (code === 1013 || code === 1008) pause += 2_000;
    this.#retry = this.#clock.after(pause, () => this.#connect());
    this.#set('waiting');
  }

  #armWatch(): void {
    this.#clock.cancel(this.#watch);
    this.#watch = this.#clock.after(this.health.heartbeat, () => this.#silence(1));
  }

  /** Called after each heartbeat's time without a frame: asks, and gives the socket up at the third. */
  #silence(missed: number): void {
    if (!this.#socket) return;
    if (missed >= 3 && missed * this.health.heartbeat >= giveUp) {
      this.#closed(0);
      return;
    }
    if (this.#open) this.#send({ op: 'ping', n: ++this.#pings });
    this.#watch = this.#clock.after(this.health.heartbeat, () => this.#silence(missed + 1));
  }

  #receive(data: unknown): void {
    this.health.lastFrame = this.#clock.now();
    this.health.attempts = 0;
    this.#backoff.reset();
    this.#armWatch();
    if (data instanceof ArrayBuffer) {
      this.#binary(new Uint8Array(data));
      return;
    }
    const frame = typeof data === 'string' ? parseFrame(data) : null;
    if (frame) this.#dispatch(frame);
  }

  #binary(bytes: Uint8Array): void {
    let entry: Entry | undefined;
    try {
      const head = binaryHead(bytes);
      if (!head) {
        // A later version of the frames: everything that asked for binary is asked for as JSON.
        for (const e of this.#entries.values()) if (e.binary) this.#askJSON(e);
        return;
      }
      entry = this.#byWire.get(head.id);
      if (!entry) return;
      const body = new BinaryBody(bytes, head.at, entry.names);
      const frame: ServerFrame =
        head.type === 'snapshot'
          ? { type: 'snapshot', id: head.id, seq: head.seq, epoch: head.epoch ?? '', body, more: head.more }
          : { type: 'delta', id: head.id, seq: head.seq, body };
      this.#dispatch(frame);
    } catch (err) {
      console.warn('feed: a binary frame that cannot be read:', err);
      if (entry) this.#resync(entry);
    }
  }

  /** What was told of it cannot be used: all of it is asked for again. */
  again(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.sequence.forget();
    this.#resync(entry);
  }

  #askJSON(entry: Entry): void {
    entry.binary = false;
    entry.sequence.forget();
    this.#unask(entry);
    if (this.#open) this.#ask(entry);
  }

  #dispatch(frame: ServerFrame): void {
    switch (frame.type) {
      case 'heartbeat':
        this.#beat();
        return;
      case 'pong':
        return;
      case 'error': {
        const entry = frame.id === undefined ? undefined : this.#byWire.get(frame.id);
        if (entry?.binary && !entry.sequence.position && !entry.sequence.loading && /encoding/.test(frame.detail ?? '')) {
          this.#byWire.delete(entry.wire); // it was refused, so there is nothing to unsubscribe
          entry.wire = '';
          this.#askJSON(entry);
        } else if (entry) entry.sequence.fail(frame.title ?? '', frame.detail ?? '');
        else console.warn('feed:', frame.title, frame.detail);
        return;
      }
    }
    const entry = this.#byWire.get(frame.id);
    if (!entry || typeof frame.seq !== 'number') return;
    if (entry.sequence.take(frame) === 'gap') this.#resync(entry);
  }

  /**
   * Something is missing: ask again from where the subscription stands. Where that does not help, ask for
   * all of it, at growing distances: a server that skips numbers must not be asked for snapshots without end.
   */
  #resync(entry: Entry): void {
    this.health.gaps++;
    const now = this.#clock.now();
    const first = now - entry.lastGap > calm;
    entry.lastGap = now;
    this.#unask(entry);
    if (first) {
      entry.mending.reset();
      entry.sequence.detach();
      this.#ask(entry);
      return;
    }
    entry.sequence.forget();
    entry.timer = this.#clock.after(entry.mending.next(), () => {
      if (this.#open && !entry.wire && this.#entries.get(entry.key) === entry) this.#ask(entry);
    });
  }

  #beat(): void {
    const now = this.#clock.now();
    if (this.#lastBeat !== null) {
      // The longest of the last few, within reason: beats that were held up come in a bunch, and a paused
      // tab must not teach us a heartbeat of an hour.
      this.#beats = [...this.#beats, now - this.#lastBeat].slice(-4);
      if (this.#beats.length >= 2) this.health.heartbeat = Math.min(30_000, Math.max(1_000, ...this.#beats));
    }
    this.#lastBeat = now;
  }

  #set(connection: Connection): void {
    if (this.health.connection === connection) return;
    this.health.connection = connection;
    this.#options.onHealth?.(this.health);
  }
}
