import type { AirYear, ExceedingStation } from '../api/domains';

/** A station against one limit of a year: hours or days above it, or the year's mean. */
export interface YearLine {
  id: string;
  station: ExceedingStation;
  index: string;
  per: 'hour' | 'day' | 'mean';
  /** times above the limit, or the mean; null where the station measures in another unit */
  count: number | null;
  /** times, or the greatest mean, that the law allows; null where it says none */
  allowed: number | null;
  /** of ozone: the mean of the years' counts, which is what the law bounds */
  mean: number | null;
  over: boolean;
  /** of what is allowed that is used up; null where nothing can be said */
  share: number | null;
  /** when the limit was passed last, in ms */
  last: number | null;
  /** share of the hours or days so far that count */
  valid: number | null;
  /** near: three quarters of what is allowed; inform: passed, of a threshold without a number allowed */
  state: 'over' | 'near' | 'inform' | 'ok' | 'none';
}

const nearly = 0.75;

/** Every station against every limit of a year. */
export function yearLines(found: AirYear | undefined): YearLine[] {
  const share = (part: number, of: number) => (of > 0 ? Math.min(part / of, 1) : null);
  const stateOf = (count: number | null, used: number | null, allowed: number | null, over: boolean): YearLine['state'] =>
    count === null ? 'none' : over ? 'over' : allowed === null ? (count > 0 ? 'inform' : 'ok') : used !== null && used >= nearly ? 'near' : 'ok';
  return (found?.stations ?? []).flatMap((station) => [
    ...station.counts.map((c): YearLine => {
      const bounded = c.mean ?? c.count;
      const used = bounded === null || !c.allowed ? null : bounded / c.allowed;
      return {
        id: `${station.id} ${c.index}`, station, index: c.index, per: c.per, count: c.count, allowed: c.allowed, mean: c.mean ?? null, over: c.over, share: used,
        last: c.last ? Date.parse(c.last) : null, valid: share(c.valid, c.of), state: stateOf(c.count, used, c.allowed, c.over),
      };
    }),
    ...station.means.map((m): YearLine => {
      const used = m.limit === null ? null : m.value / m.limit;
      // A mean near its limit is no matter of days that are left: it is told as it is.
      return {
        id: `${station.id} ${m.index}`, station, index: m.index, per: 'mean', count: m.value, allowed: m.limit, mean: null, over: m.over, share: used,
        last: null, valid: share(m.valid, m.of), state: m.limit === null ? 'none' : m.over ? 'over' : 'ok',
      };
    }),
  ]);
}
