import type { BinaryBody } from './binary';
import type { CityEvent, Filter, Position, ServerFrame, Stats, Topic } from './protocol';

/** What a subscriber is told. Calls come in the order that ends in the server's state. */
export interface Handlers {
  /** A fresh snapshot starts: what was known before is void once `snapshotEnd` has come. */
  snapshotStart?(): void;
  snapshotEnd?(): void;
  /** Items of a snapshot page (`fresh`) or of a delta. */
  items?(items: unknown[], fresh: boolean): void;
  /** The same of a binary frame, in its place, for who reads it when it is wanted. */
  body?(body: BinaryBody, fresh: boolean): void;
  event?(event: CityEvent): void;
  alarm?(alarm: unknown): void;
  stats?(stats: Stats): void;
  error?(title: string, detail: string): void;
}

export interface Request {
  topic: Topic;
  filter?: Filter;
  maxHz?: number;
  /** compact frames, for state; a server that has none is asked again for JSON */
  binary?: boolean;
  /** where a former page left off */
  resume?: Position;
}

type Numbered = Extract<ServerFrame, { seq: number }>;
type Change = Exclude<Numbered, { type: 'snapshot' }>;

/** What a subscription makes of a frame: taken, of no use (seen before), or proof that one is missing. */
export type Verdict = 'taken' | 'ignored' | 'gap';

const heldLimit = 10_000;

/**
 * The numbering of one subscription: pages of a snapshot are put together, changes that arrive between
 * its pages wait for the last one, a frame that came before is ignored, one that skips a number is a gap.
 */
export class Sequence {
  position: Position | null;
  #pending: { position: Position; held: Change[] } | null = null;

  constructor(
    readonly request: Request,
    private readonly handlers: Handlers,
  ) {
    this.position = request.resume ?? null;
  }

  /** True between the first and the last page of a snapshot. */
  get loading(): boolean {
    return this.#pending !== null;
  }

  /** The connection that carried this numbering is gone. A snapshot that was under way is void. */
  detach(): void {
    if (this.#pending) {
      this.#pending = null;
      this.position = null;
    }
  }

  /** Forgets the position: the next subscribe asks for a fresh snapshot. */
  forget(): void {
    this.#pending = null;
    this.position = null;
  }

  fail(title: string, detail: string): void {
    this.handlers.error?.(title, detail);
  }

  take(frame: Numbered): Verdict {
    if (frame.type === 'snapshot') return this.#snapshot(frame);
    if (this.#pending) {
      if (this.#pending.held.length >= heldLimit) return 'gap';
      this.#pending.held.push(frame);
      return 'taken';
    }
    return this.#change(frame);
  }

  #snapshot(frame: Extract<Numbered, { type: 'snapshot' }>): Verdict {
    if (!this.#pending) {
      this.#pending = { position: { epoch: frame.epoch, seq: frame.seq }, held: [] };
      this.handlers.snapshotStart?.();
    } else if (frame.epoch !== this.#pending.position.epoch) {
      // The server restarted its numbering in the middle: these pages begin anew.
      this.#pending = { position: { epoch: frame.epoch, seq: frame.seq }, held: [] };
      this.handlers.snapshotStart?.();
    }
    this.#pending.position.seq = Math.max(this.#pending.position.seq, frame.seq);
    this.#items(frame, true);
    if (frame.more) return 'taken';
    const { position, held } = this.#pending;
    this.#pending = null;
    this.position = position;
    this.handlers.snapshotEnd?.();
    held.sort((a, b) => a.seq - b.seq);
    for (const change of held) {
      if (this.#change(change) === 'gap') return 'gap';
    }
    return 'taken';
  }

  #items(frame: { items?: unknown[]; body?: BinaryBody }, fresh: boolean): void {
    if (frame.body && this.handlers.body) {
      this.handlers.body(frame.body, fresh);
      return;
    }
    const items = frame.body ? frame.body.items() : frame.items;
    if (items?.length) this.handlers.items?.(items, fresh);
  }

  #change(frame: Change): Verdict {
    if (this.position) {
      if (frame.epoch !== undefined && frame.epoch !== this.position.epoch) return 'gap';
      if (frame.seq <= this.position.seq) return 'ignored';
      if (frame.seq > this.position.seq + 1) return 'gap';
      this.position.seq = frame.seq;
    } else if (frame.epoch !== undefined) {
      this.position = { epoch: frame.epoch, seq: frame.seq };
    }
    switch (frame.type) {
      case 'delta':
        this.#items(frame, false);
        break;
      case 'event':
        this.handlers.event?.(frame.event);
        break;
      case 'alarm':
        this.handlers.alarm?.(frame.alarm);
        break;
      case 'stats':
        this.handlers.stats?.(frame.stats);
        break;
    }
    return 'taken';
  }
}
