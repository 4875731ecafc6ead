import { severityRank, type CityEvent, type StateItem } from './protocol';

const hour = 3_600_000;
const day = 24 * hour;
const ahead = 2_000; // ms of the reader's time that a step covers: what is shown is that fresh
const margin = 15_000; // ms that the database may be behind the city
const mostEvents = 5_000;

/** A question that was answered with a status of 400 and above. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** What the replay writes into and asks; the worker gives it the table and the network. */
export interface Stage {
  /** everything is unknown again, but where assets are and what they are called */
  forget(): void;
  apply(items: StateItem[]): void;
  events(events: CityEvent[]): void;
  get<T>(path: string, query: Record<string, string | number>): Promise<T>;
  now(): number;
  tell(status: ReplayStatus): void;
}

export interface ReplayStatus {
  /** the moment shown, Unix ms */
  at: number;
  speed: number;
  playing: boolean;
  loading: boolean;
  failed: string;
}

/** Which episodes are open, and so how grave each asset's state is. */
export class Episodes {
  #open = new Map<string, Map<string, number>>();

  /** Takes events in order of time; returns the assets whose severity may have changed. */
  take(events: readonly CityEvent[]): Set<string> {
    const touched = new Set<string>();
    for (const e of events) {
      if (!e.device) continue;
      const episode = String(e.context?.episode ?? `${e.rule} ${e.key ?? ''}`);
      let of = this.#open.get(e.device);
      if (!of) this.#open.set(e.device, (of = new Map()));
      if (e.state === 'cleared') of.delete(episode);
      else of.set(episode, severityRank(e.severity));
      touched.add(e.device);
    }
    return touched;
  }

  rank(device: string): number {
    return Math.max(0, ...(this.#open.get(device)?.values() ?? []));
  }

  /** Every asset with an open episode. */
  get devices(): string[] {
    return [...this.#open].flatMap(([device, of]) => (of.size > 0 ? [device] : []));
  }
}

const names = [null, 'info', 'warning', 'major', 'critical'];

/** Plays the city back: the hour before a moment gives its state, step after step what changed since. */
export class Replay {
  #stage: Stage;
  #at = 0;
  #loaded = 0; // up to here everything is applied
  #speed = 10;
  #playing = false;
  #loading = false;
  #failed = '';
  #last = 0;
  #run = 0;
  #episodes = new Episodes();
  #minute = 0; // the cameras are of the one before it
  #cameras = true; // who is here may ask for them

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Goes to a moment, at a speed; the answer comes as status. */
  async seek(at: number, speed: number, playing: boolean): Promise<void> {
    const run = ++this.#run;
    this.#at = this.#loaded = Math.min(at, this.#stage.now() - margin);
    this.#speed = speed;
    this.#playing = playing;
    this.#loading = true;
    this.#failed = '';
    this.#tell();
    try {
      this.#minute = 0;
      const [items, cameras, events] = await Promise.all([this.#changes(this.#at - hour, this.#at), this.#camerasAt(this.#at), this.#events(this.#at - day, this.#at)]);
      if (run !== this.#run) return;
      this.#stage.forget();
      this.#episodes = new Episodes();
      this.#episodes.take(events);
      this.#stage.apply(items);
      this.#stage.apply(cameras);
      this.#stage.apply(this.#episodes.devices.map((id) => ({ id, alarm: names[this.#episodes.rank(id)] })));
    } catch (err) {
      if (run === this.#run) this.#fail(err);
    }
    if (run !== this.#run) return;
    this.#loading = false;
    this.#last = this.#stage.now();
    this.#tell();
  }

  /** Tells and writes nothing more. */
  end(): void {
    this.#run++;
    this.#playing = false;
    this.#loading = true; // what is under way is not taken any more, and nothing new begins
  }

  play(on: boolean, speed: number): void {
    this.#playing = on;
    this.#speed = speed;
    this.#failed = '';
    this.#last = this.#stage.now();
    this.#tell();
  }

  /** Moves on by the time since the last tick; to be called a few times a second. */
  async tick(): Promise<void> {
    const now = this.#stage.now();
    const passed = now - this.#last;
    this.#last = now;
    if (!this.#playing || this.#loading) return;
    const end = now - margin;
    this.#at = Math.min(this.#at + passed * this.#speed, end);
    if (this.#at >= end) this.#playing = false; // the past ends here
    if (this.#at > this.#loaded) await this.#step(Math.min(this.#at + ahead * this.#speed, this.#loaded + hour, end));
    this.#at = Math.min(this.#at, this.#loaded);
    this.#tell();
  }

  async #step(to: number): Promise<void> {
    const run = this.#run;
    this.#loading = true;
    try {
      const [items, cameras, events] = await Promise.all([this.#changes(this.#loaded, to), this.#camerasAt(to), this.#events(this.#loaded, to)]);
      if (run !== this.#run) return;
      this.#loaded = to;
      this.#stage.apply(items);
      this.#stage.apply(cameras);
      this.#stage.apply([...this.#episodes.take(events)].map((id) => ({ id, alarm: names[this.#episodes.rank(id)] })));
      if (events.length > 0) this.#stage.events(events);
    } catch (err) {
      if (run === this.#run) this.#fail(err);
    } finally {
      if (run === this.#run) this.#loading = false;
    }
    this.#last = this.#stage.now();
  }

  #fail(err: unknown): void {
    this.#playing = false;
    this.#failed = err instanceof Error ? err.message : String(err);
  }

  #tell(): void {
    this.#stage.tell({ at: this.#at, speed: this.#speed, playing: this.#playing, loading: this.#loading, failed: this.#failed });
  }

  async #changes(from: number, to: number): Promise<StateItem[]> {
    const found: StateItem[] = [];
    let cursor = '';
    do {
      const answer = await this.#stage.get<{ devices: StateItem[]; next?: string }>('/api/v1/state/changes', { ...times(from, to), limit: 10_000, cursor });
      found.push(...answer.devices);
      cursor = answer.next ?? '';
    } while (cursor);
    return found;
  }

  /** What cameras counted in the last whole minute: asked once a minute of the city's. */
  async #camerasAt(at: number): Promise<StateItem[]> {
    const minute = Math.floor(at / 60_000);
    if (!this.#cameras || minute === this.#minute) return [];
    this.#minute = minute;
    const found: StateItem[] = [];
    let cursor = '';
    try {
      do {
        const answer = await this.#stage.get<{ cameras: StateItem[]; next?: string }>('/api/v1/state/cameras', { at: new Date(at).toISOString(), limit: 10_000, cursor });
        found.push(...answer.cameras);
        cursor = answer.next ?? '';
      } while (cursor);
    } catch (err) {
      if (!(err instanceof Refused) || (err.status !== 403 && err.status !== 501)) throw err;
      this.#cameras = false; // not for whoever is here, or there are none
    }
    return found;
  }

  /** In order of time: the API has the newest first. */
  async #events(from: number, to: number): Promise<CityEvent[]> {
    const found: CityEvent[] = [];
    let cursor = '';
    do {
      const answer = await this.#stage.get<{ events: CityEvent[]; next?: string | null }>('/api/v1/events', { ...times(from, to), limit: 1000, cursor });
      found.push(...answer.events);
      cursor = answer.next ?? '';
    } while (cursor && found.length < mostEvents);
    return found.reverse();
  }
}

const times = (from: number, to: number) => ({ from: new Date(from).toISOString(), to: new Date(Math.max(to, from + 1)).toISOString() });
