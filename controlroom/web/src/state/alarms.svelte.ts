import { untrack } from 'svelte';
import { alarmsApi, Stale, type Act, type Action, type Alarm, type AlarmHealth } from '../api/alarms';
import { calls, canDo, foreseen, oldestWaiting, undoOf } from '../lib/alarms';
import { severities } from '../feed/protocol';

const many = 50; // from here on one request does it all, so that a flood is acknowledged in one go
const mostAtOnce = 10_000; // what the server takes
const together = 6; // actions under way at once: what a browser sends to one host
const healthEvery = 15_000; // ms
const snapshotMost = 5_000; // alarms, the newest, in what the feed begins with
const pageMost = 100_000; // alarms that the page holds
const pageSize = 1_000;
const againAfter = 5_000; // ms

/** An action that came too late for an alarm. */
export interface Conflict {
  act: Act;
  saw: Alarm;
  now: Alarm | undefined;
  detail: string;
}

/** The open alarms, as the feed tells them; over them what this operator just did and nobody has answered yet. */
export class Alarms {
  ready = $state(false);
  health = $state.raw<AlarmHealth | undefined>();
  failed = $state('');
  conflicts = $state.raw<Conflict[]>([]);
  /** actions without an answer yet */
  underWay = $state(0);
  /** what was done last and went well, until the next action */
  done = $state.raw<{ action: Action; ids: string[] } | undefined>();
  /** there are open alarms that the page does not have, or not yet */
  partial = $state(false);
  /** how many, as far as somebody looked */
  absent = $state(0);
  /** the newest alarm that must be said at once */
  announced = $state.raw<Alarm | undefined>();
  /** the newest alarm that calls for somebody by its sound: major ones too */
  rang = $state.raw<Alarm | undefined>();

  readonly waiting = $derived.by(() => {
    let n = 0;
    for (const a of this.open.values()) if (calls(a)) n++;
    return n;
  });
  readonly oldest = $derived(oldestWaiting(this.open.values()));

  #version = $state(0); // of #shown, which changes in place: there can be 100,000
  #shown = new Map<string, Alarm>();
  #told = new Map<string, Alarm>(); // as the server said last
  #ahead = new Map<string, Alarm>(); // as foreseen
  #filling: { abort: AbortController; ended: Map<string, number> } | undefined; // what ended while the rest is read, with its rev
  #looks = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** open alarms by id */
  get open(): ReadonlyMap<string, Alarm> {
    void this.#version;
    return this.#shown;
  }

  /** Takes what the feed brought, in order; `all` is a fresh list of what is open, or of the newest of it. */
  take(alarms: readonly Alarm[], all: boolean): void {
    if (all) {
      this.#told = new Map();
      this.#shown = new Map();
      this.partial = alarms.length >= snapshotMost;
      this.absent = 0;
    }
    for (const a of alarms) {
      if (!all && a.state === 'unacked' && this.#told.get(a.id)?.state !== 'unacked') {
        if (a.severity === 'critical') this.announced = a;
        if (a.severity === 'critical' || a.severity === 'major') this.rang = a;
      }
      this.#tell(a);
      this.#show(a.id);
    }
    this.ready = true;
    this.#version++;
    if (all) this.#fill();
  }

  #tell(a: Alarm): void {
    a.at = Date.parse(a.raised) || 0;
    if (a.state !== 'normal') this.#told.set(a.id, a);
    else if (this.#told.delete(a.id)) this.#filling?.ended.set(a.id, a.rev ?? 0);
  }

  #show(id: string): void {
    const told = this.#told.get(id);
    const a = told && (this.#ahead.get(id) ?? told);
    if (!a || a.state === 'normal') this.#shown.delete(id);
    else this.#shown.set(id, a);
  }

  /** Reads what the feed had no room for, the gravest first, as long as somebody looks at alarms. */
  #fill(): void {
    this.#filling?.abort.abort();
    this.#filling = undefined;
    if (!untrack(() => this.partial) || this.#looks === 0) return;
    const filling = (this.#filling = { abort: new AbortController(), ended: new Map<string, number>() });
    const read = async (): Promise<void> => {
      try {
        const { signal } = filling.abort;
        const { total } = await alarmsApi.list({ limit: 1 }, signal);
        for (const severity of severities.toReversed()) {
          let cursor: string | undefined;
          do {
            const page = await alarmsApi.list({ severity, limit: pageSize, cursor }, signal);
            if (signal.aborted) return;
            for (const a of page.alarms) {
              if (this.#told.has(a.id) || (filling.ended.get(a.id) ?? -1) >= (a.rev ?? 0)) continue; // the feed knows better
              this.#tell(a);
              this.#show(a.id);
            }
            this.#version++;
            this.absent = Math.max(0, total - this.#told.size);
            cursor = page.next;
          } while (cursor && this.#told.size < pageMost);
        }
        this.partial = this.#told.size >= pageMost;
        if (!this.partial) this.absent = 0;
        this.#filling = undefined;
      } catch {
        // What is missing is told by `absent`; the next try is near.
        if (!filling.abort.signal.aborted) setTimeout(() => filling === this.#filling && void read(), againAfter);
      }
    };
    void read();
  }

  /** Does one thing to many, each with the rev that was seen; what came too late ends in `conflicts`. */
  async act(ids: readonly string[], act: Act): Promise<void> {
    const queue: Alarm[] = [];
    for (const id of ids) {
      const seen = this.#told.get(id);
      if (!seen || !canDo(seen, act.action) || this.#ahead.has(id)) continue; // gone, of no use, or waiting for another answer
      queue.push(seen);
      this.#ahead.set(id, foreseen(seen, act));
      this.#show(id);
    }
    this.failed = '';
    this.done = undefined;
    this.underWay += queue.length;
    this.#version++;
    const done: string[] = [];
    while (queue.length > many) done.push(...(await this.#many(queue.splice(0, mostAtOnce), act)));
    await Promise.all(
      Array.from({ length: together }, async () => {
        for (let seen = queue.shift(); seen; seen = queue.shift()) {
          if (await this.#one(seen, act)) done.push(seen.id);
          this.underWay--;
        }
      }),
    );
    if (done.length > 0) this.done = { action: act.action, ids: done };
  }

  /** Takes back what was done last, of what can still be. */
  undo(): Promise<void> {
    const done = this.done;
    const action = done && undoOf[done.action];
    return action ? this.act(done.ids, { action }) : Promise.resolve();
  }

  /** Returns the ids that it was done to. */
  async #many(seen: Alarm[], act: Act): Promise<string[]> {
    const done: string[] = [];
    try {
      const results = await alarmsApi.actOnMany(
        seen.map((a) => a.id),
        act,
      );
      const why = new Map(results.filter((r) => r.status !== 200).map((r) => [r.id, r]));
      for (const a of seen) {
        const r = why.get(a.id);
        if (!r) {
          this.#answered({ ...foreseen(a, act), rev: a.rev }); // the feed tells the rest
          done.push(a.id);
        }
        else if (r.status === 409) this.conflicts = [...this.conflicts, { act, saw: a, now: undefined, detail: r.detail ?? '' }];
        else this.failed = r.detail ?? '';
      }
    } catch (err) {
      this.failed = err instanceof Error ? err.message : String(err);
    }
    for (const a of seen) this.#answer(a.id);
    this.underWay -= seen.length;
    this.#version++;
    return done;
  }

  /** Returns whether it was done. */
  async #one(seen: Alarm, act: Act): Promise<boolean> {
    let done = false;
    try {
      this.#answered(await alarmsApi.act(seen.id, act, seen.rev));
      done = true;
    } catch (err) {
      if (err instanceof Stale) {
        this.conflicts = [...this.conflicts.filter((c) => c.saw.id !== seen.id), { act, saw: seen, now: err.current, detail: err.detail }];
        if (err.current) this.#answered(err.current);
      } else this.failed = err instanceof Error ? err.message : String(err);
    }
    this.#answer(seen.id);
    this.#version++;
    return done;
  }

  /** What was foreseen has been answered. */
  #answer(id: string): void {
    this.#ahead.delete(id);
    this.#show(id);
  }

  /** The feed may have told of a later change already. */
  #answered(a: Alarm): void {
    const told = this.#told.get(a.id);
    if (told && (told.rev ?? 0) > (a.rev ?? 0)) return;
    this.#tell(a);
  }

  drop(conflict: Conflict): void {
    this.conflicts = this.conflicts.filter((c) => c !== conflict);
  }

  /** The same again, now that it is known how the alarm is. */
  again(conflict: Conflict): Promise<void> {
    this.drop(conflict);
    return this.act([conflict.saw.id], conflict.act);
  }

  /** Somebody looks: the alarm system's health is read again and again, and all alarms are; returns how to stop. For an effect. */
  watch(): () => void {
    if (this.#looks++ === 0) {
      this.#fill();
      const read = () =>
        alarmsApi.health().then(
          (h) => (this.health = h),
          () => {}, // the figures keep their time; the next look is near
        );
      void read();
      this.#timer = setInterval(() => void read(), healthEvery);
    }
    return () => {
      if (--this.#looks > 0) return;
      clearInterval(this.#timer);
      this.#fill(); // it stops
    };
  }
}

export const alarms = new Alarms();
