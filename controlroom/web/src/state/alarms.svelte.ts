import { alarmsApi, Stale, type Act, type Alarm, type AlarmHealth } from '../api/alarms';
import { calls, canDo, foreseen, oldestWaiting } from '../lib/alarms';

const many = 50; // from here on one request does it all, so that a flood is acknowledged in one go
const mostAtOnce = 10_000; // what the server takes
const together = 6; // actions under way at once: what a browser sends to one host
const healthEvery = 15_000; // ms

/** An action that came too late for an alarm. */
export interface Conflict {
  act: Act;
  saw: Alarm;
  now: Alarm | undefined;
  detail: string;
}

/** The open alarms, as the feed tells them; over them what this operator just did and nobody has answered yet. */
export class Alarms {
  /** open alarms by id */
  open = $state.raw<ReadonlyMap<string, Alarm>>(new Map());
  ready = $state(false);
  health = $state.raw<AlarmHealth | undefined>();
  failed = $state('');
  conflicts = $state.raw<Conflict[]>([]);
  /** actions without an answer yet */
  underWay = $state(0);
  /** the newest alarm that must be said at once */
  announced = $state.raw<Alarm | undefined>();
  /** the newest alarm that calls for somebody by its sound: major ones too */
  rang = $state.raw<Alarm | undefined>();

  readonly waiting = $derived([...this.open.values()].filter(calls).length);
  readonly oldest = $derived(oldestWaiting(this.open.values()));

  #told = new Map<string, Alarm>(); // as the server said last
  #ahead = new Map<string, Alarm>(); // as foreseen
  #looks = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Takes what the feed brought, in order; `all` is a fresh list of everything open. */
  take(alarms: readonly Alarm[], all: boolean): void {
    if (all) this.#told = new Map();
    for (const a of alarms) {
      if (!all && a.state === 'unacked' && this.#told.get(a.id)?.state !== 'unacked') {
        if (a.severity === 'critical') this.announced = a;
        if (a.severity === 'critical' || a.severity === 'major') this.rang = a;
      }
      if (a.state === 'normal') this.#told.delete(a.id);
      else this.#told.set(a.id, a);
    }
    this.ready = true;
    this.#show();
  }

  #show(): void {
    const shown = new Map(this.#told);
    for (const [id, a] of this.#ahead) {
      if (a.state === 'normal') shown.delete(id);
      else if (shown.has(id)) shown.set(id, a);
    }
    this.open = shown;
  }

  /** Does one thing to many, each with the rev that was seen; what came too late ends in `conflicts`. */
  async act(ids: readonly string[], act: Act): Promise<void> {
    const queue: Alarm[] = [];
    for (const id of ids) {
      const seen = this.#told.get(id);
      if (!seen || !canDo(seen, act.action) || this.#ahead.has(id)) continue; // gone, of no use, or waiting for another answer
      queue.push(seen);
      this.#ahead.set(id, foreseen(seen, act));
    }
    this.failed = '';
    this.underWay += queue.length;
    this.#show();
    while (queue.length > many) await this.#many(queue.splice(0, mostAtOnce), act);
    await Promise.all(
      Array.from({ length: together }, async () => {
        for (let seen = queue.shift(); seen; seen = queue.shift()) {
          await this.#one(seen, act);
          this.underWay--;
        }
      }),
    );
  }

  async #many(seen: Alarm[], act: Act): Promise<void> {
    try {
      const results = await alarmsApi.actOnMany(
        seen.map((a) => a.id),
        act,
      );
      const why = new Map(results.filter((r) => r.status !== 200).map((r) => [r.id, r]));
      for (const a of seen) {
        const r = why.get(a.id);
        if (!r) this.#answered({ ...foreseen(a, act), rev: a.rev }); // the feed tells the rest
        else if (r.status === 409) this.conflicts = [...this.conflicts, { act, saw: a, now: undefined, detail: r.detail ?? '' }];
        else this.failed = r.detail ?? '';
      }
    } catch (err) {
      this.failed = err instanceof Error ? err.message : String(err);
    }
    for (const a of seen) this.#ahead.delete(a.id);
    this.underWay -= seen.length;
    this.#show();
  }

  async #one(seen: Alarm, act: Act): Promise<void> {
    try {
      this.#answered(await alarmsApi.act(seen.id, act, seen.rev));
    } catch (err) {
      if (err instanceof Stale) {
        this.conflicts = [...this.conflicts.filter((c) => c.saw.id !== seen.id), { act, saw: seen, now: err.current, detail: err.detail }];
        if (err.current) this.#answered(err.current);
      } else this.failed = err instanceof Error ? err.message : String(err);
    }
    this.#ahead.delete(seen.id);
    this.#show();
  }

  /** The feed may have told of a later change already. */
  #answered(a: Alarm): void {
    const told = this.#told.get(a.id);
    if (told && (told.rev ?? 0) > (a.rev ?? 0)) return;
    if (a.state === 'normal') this.#told.delete(a.id);
    else this.#told.set(a.id, a);
  }

  drop(conflict: Conflict): void {
    this.conflicts = this.conflicts.filter((c) => c !== conflict);
  }

  /** The same again, now that it is known how the alarm is. */
  again(conflict: Conflict): Promise<void> {
    this.drop(conflict);
    return this.act([conflict.saw.id], conflict.act);
  }

  /** Reads the alarm system's health now and again and again; returns how to stop. For an effect. */
  watchHealth(): () => void {
    if (this.#looks++ === 0) {
      const read = () =>
        alarmsApi.health().then(
          (h) => (this.health = h),
          () => {}, // the figures keep their time; the next look is near
        );
      void read();
      this.#timer = setInterval(() => void read(), healthEvery);
    }
    return () => {
      if (--this.#looks === 0) clearInterval(this.#timer);
    };
  }
}

export const alarms = new Alarms();
