import { severityRank, type CityEvent } from '../feed/protocol';

export interface EventFilter {
  domain: string; // '' is any
  severity: string; // '' is any
}

export function matches(filter: EventFilter, e: CityEvent): boolean {
  return (!filter.domain || e.domain === filter.domain) && (!filter.severity || e.severity === filter.severity);
}

const timeOf = (e: CityEvent) => Date.parse(e.time) || 0;

/** Newest first; of one instant the graver first, then by id, so that the order never depends on arrival. */
export function newerFirst(a: CityEvent, b: CityEvent): number {
  return timeOf(b) - timeOf(a) || severityRank(b.severity) - severityRank(a.severity) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** One id an episode and state change; the state is part of the key where a server keeps the episode's id. */
export const eventKey = (e: CityEvent) => `${e.id} ${e.state ?? ''}`;

/**
 * Adds `more` to a list that is newest first, without doubles, and cuts it to `limit` from the old end.
 * Returns the new list and whether something old was cut.
 */
export function merge(list: readonly CityEvent[], more: readonly CityEvent[], limit: number): { list: CityEvent[]; cut: boolean } {
  const known = new Set(list.map(eventKey));
  const fresh: CityEvent[] = [];
  for (const e of more) {
    const key = eventKey(e);
    if (known.has(key)) continue;
    known.add(key);
    fresh.push(e);
  }
  if (fresh.length === 0) return { list: [...list], cut: false };
  const all = [...list, ...fresh].sort(newerFirst);
  return { list: all.slice(0, limit), cut: all.length > limit };
}
