import type { Alarm } from '../api/alarms';
import { severityRank } from '../feed/protocol';
import type { Line } from './alarms';

export interface Steady {
  lines: Line[];
  /** lines that are there and not shown yet, and the rank of the gravest */
  fresh: number;
  gravest: number;
  /** lines that came while the list was held the last time */
  came: ReadonlySet<string>;
}

const rankOf = (line: Line) => (line.kind === 'alarm' ? severityRank(line.alarm.severity) : line.group.rank);

/**
 * Keeps the lines of a list where they are while somebody is at it, so that none is under the pointer or the keyboard
 * that was not there a moment before. Lines change in place, one whose alarm is over says so, new ones wait.
 */
export class Keeper {
  #look = ''; // what the list is of: filter, order, groups
  #all: readonly Line[] = [];
  #lines: Line[] = [];
  #known: Set<string> | undefined; // lines there were when it began to be held
  #came: ReadonlySet<string> = new Set();

  /** `all` as they would be, the first `most` of which are shown; `open` are the open alarms. */
  show(look: string, all: readonly Line[], most: number, held: boolean, open: ReadonlyMap<string, Alarm>): Steady {
    if (!held || look !== this.#look) {
      this.#all = all;
      this.#lines = all.slice(0, most);
      if (look !== this.#look) this.#came = new Set();
      else if (this.#known) this.#came = new Set(this.#lines.filter((l) => !this.#known!.has(l.id)).map((l) => l.id));
      this.#look = look;
      this.#known = undefined;
      return { lines: this.#lines, fresh: 0, gravest: 0, came: this.#came };
    }
    this.#known ??= new Set(this.#all.map((l) => l.id));
    this.#all = [];
    const now = new Map<string, Line>();
    let fresh = 0;
    let gravest = 0;
    for (const line of all) {
      if (line.kind === 'group') now.set(line.id, line);
      if (this.#known.has(line.id)) continue;
      fresh++;
      gravest = Math.max(gravest, rankOf(line));
    }
    this.#lines = this.#lines.map((line) => {
      if (line.kind === 'group') return now.get(line.id) ?? line;
      const alarm: Alarm = open.get(line.id) ?? { ...line.alarm, state: 'normal' };
      return alarm === line.alarm || (alarm.state === 'normal' && line.alarm.state === 'normal') ? line : { ...line, alarm };
    });
    return { lines: this.#lines, fresh, gravest, came: this.#came };
  }

  /** Whether a line was there when the list began to be held; all are while it is not. */
  knows = (id: string): boolean => this.#known?.has(id) ?? true;
}
