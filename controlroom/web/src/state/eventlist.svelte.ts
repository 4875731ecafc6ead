import { api, Problem } from '../api/client';
import type { CityEvent } from '../feed/protocol';
import { matches, merge, type EventFilter } from './events';

const pageSize = 100;
const retryAfter = 5_000; // ms
const recentLimit = 200;
const heldLimit = 1000; // rows in memory, and so in the page

/** The event list: a page from the API, live events on top, older ones on request. */
export class EventList {
  items = $state.raw<CityEvent[]>([]);
  /** events that wait while the reader is further down */
  waiting = $state.raw<CityEvent[]>([]);
  loading = $state(false);
  failed = $state('');
  /** there may be older ones */
  more = $state(false);
  /** the list is full: it can only be narrowed */
  full = $derived(this.items.length >= heldLimit);
  filter = $state.raw<EventFilter>({ domain: '', severity: '' });

  /** how often the list began anew: its rows are then others, which appear and move nothing */
  begun = $state(0);

  /** RFC 3339; what is read ends here. For a replay, which brings what comes after; '' is now */
  until = '';

  #holding = false;
  /** what the feed brought lately: the database may not have it yet when the list is read */
  #recent: CityEvent[] = [];
  #cursor: string | null = null;
  #run = 0;
  #abort: AbortController | null = null;

  constructor(
    /** only this asset's events; null: everybody's */
    readonly device: string | null = null,
    private readonly limit = pageSize,
  ) {}

  get bound(): number {
    return heldLimit;
  }

  setFilter(filter: EventFilter): Promise<void> {
    this.filter = filter;
    return this.load();
  }

  /** Reads the newest page and starts from it; `anew` forgets what the feed brought. */
  async load(anew = false): Promise<void> {
    if (anew) this.#recent = [];
    await this.#read(undefined, (items) => {
      const live = this.#recent.filter((e) => this.#wants(e));
      this.items = merge(items, live, heldLimit).list;
      this.waiting = [];
      if (anew) this.begun++;
    });
  }

  /** Reads no more. */
  close(): void {
    this.#run++;
    this.#abort?.abort();
  }

  /** Reads the page before the oldest one shown. */
  async older(): Promise<void> {
    if (this.loading || this.full) return;
    const last = this.items.at(-1);
    const place = this.#cursor ? { cursor: this.#cursor } : last ? { to: last.time } : {};
    const before = this.items.length;
    await this.#read(place, (items) => {
      this.items = merge(this.items, items, heldLimit).list;
      if (this.items.length === before) this.more = false;
    });
  }

  /** Takes live events: on top, or aside while the reader is elsewhere in the list. */
  add(events: readonly CityEvent[]): void {
    this.#recent = [...this.#recent, ...events].slice(-recentLimit);
    const mine = events.filter((e) => this.#wants(e));
    if (mine.length === 0) return;
    if (this.#holding) {
      this.waiting = merge(this.waiting, mine, heldLimit).list;
      return;
    }
    this.#put(mine);
  }

  /** While true, new events wait in `waiting` so that what is being read does not move. */
  hold(on: boolean): void {
    if (this.#holding === on) return;
    this.#holding = on;
    if (!on) this.release();
  }

  release(): void {
    if (this.waiting.length === 0) return;
    const events = this.waiting;
    this.waiting = [];
    this.#put(events);
  }

  #wants(e: CityEvent): boolean {
    return (this.device === null || e.device === this.device) && matches(this.filter, e);
  }

  #put(events: readonly CityEvent[]): void {
    const { list, cut } = merge(this.items, events, heldLimit);
    this.items = list;
    if (cut) {
      this.more = true;
      this.#cursor = null; // it points past what was cut; older ones are asked for by time
    }
  }

  async #read(place: { cursor?: string; to?: string } | undefined, take: (items: CityEvent[]) => void): Promise<void> {
    const run = ++this.#run;
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.loading = true;
    this.failed = '';
    try {
      const query = { ...this.filter, device: this.device ?? undefined, limit: this.limit, ...(this.until ? { to: this.until } : {}), ...place };
      const page = await api.events(query, this.#abort.signal);
      if (run !== this.#run) return;
      take(page.items);
      this.#cursor = page.next;
      this.more = page.next !== null;
    } catch (err) {
      if (run !== this.#run) return;
      // The database may be starting or gone for a minute: the live events come anyway, the older ones are asked for again.
      if (place === undefined) setTimeout(() => run === this.#run && void this.load(), retryAfter);
      this.failed = err instanceof Problem || err instanceof Error ? err.message : String(err);
    } finally {
      if (run === this.#run) this.loading = false;
    }
  }
}
