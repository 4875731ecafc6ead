import { get } from './client';

/** A metric over the devices of a group; over_devices, which have a number, hours and growth are of the time asked for. */
export interface GroupSum {
  n: number;
  sum: number | null;
  avg: number | null;
  min: number | null;
  max: number | null;
  texts?: Record<string, number>;
  over_devices?: number;
  hours?: number;
  growth?: number;
}

export interface Group {
  key: string;
  devices: number;
  heard: number;
  /** their values are not in the sums */
  silent: number;
  alarms: Record<string, number>;
  values: Record<string, GroupSum>;
}

export interface EnvironmentIndex {
  index: string;
  value: number;
  hours?: number;
  limit: number | null;
  over: boolean;
  alarm: boolean;
}

export interface Station {
  id: string;
  name: string;
  zone: string;
  noise_class?: number;
  indexes: EnvironmentIndex[];
}

export interface Limit {
  index: string;
  metric: string;
  unit: string;
  limit: number | null;
  alarm: number | null;
  classes?: { class: number; limit: number }[];
  allowed_a_year?: number;
  source: string;
}

/** How often a station passed a limit in a year: hours or days. */
export interface Exceedance {
  index: string;
  count: number | null;
  per: 'hour' | 'day';
  allowed: number | null;
  over: boolean;
  last: string | null;
  valid: number;
  of: number;
  /** of ozone: of the counts of three years */
  mean?: number;
}

export interface ExceedingStation {
  id: string;
  name: string;
  zone: string;
  counts: Exceedance[];
  means: { index: string; value: number; limit: number | null; over: boolean; valid: number; of: number }[];
}

export interface AirYear {
  year: number;
  until: string;
  stations: ExceedingStation[];
  limits: Limit[];
  means: Limit[];
}

const most = 10_000; // groups or stations; a city has fewer

async function pages<T, A extends { next?: string }>(path: string, query: Record<string, string>, of: (answer: A) => T[], signal?: AbortSignal, limit = 1000): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  do {
    const answer = await get<A>(path, { ...query, limit, cursor }, signal);
    found.push(...of(answer));
    cursor = answer.next;
  } while (cursor && found.length < most);
  return found;
}

/** A domain by zone, profile or a tag; over, such as 24h, also asks what the metrics came to. */
export const groups = (domain: string, by: string, metrics: readonly string[], over: string, signal?: AbortSignal) =>
  pages<Group, { groups: Group[]; next?: string }>(
    `/api/v1/domains/${encodeURIComponent(domain)}/groups`,
    { by, ...(metrics.length > 0 ? { metric: metrics.join(',') } : {}), ...(over ? { over } : {}) },
    (a) => a.groups,
    signal,
  );

/** Every station's air and noise, and the limits they are compared with. */
export async function indexes(signal?: AbortSignal): Promise<{ stations: Station[]; limits: Limit[] }> {
  let limits: Limit[] = [];
  const stations = await pages<Station, { stations: Station[]; limits: Limit[]; next?: string }>(
    '/api/v1/environment/indexes',
    {},
    (a) => {
      limits = a.limits;
      return a.stations;
    },
    signal,
  );
  return { stations, limits };
}

/**
 * How often every station passed the limits in a calendar year, the running one unless another is asked for. The
 * server may have to read the year first: `each` is told what is there after each page.
 */
export async function exceedances(year: number | undefined, each: (soFar: AirYear) => void, signal?: AbortSignal): Promise<void> {
  const stations: ExceedingStation[] = [];
  await pages<ExceedingStation, AirYear & { next?: string }>(
    '/api/v1/environment/exceedances',
    year === undefined ? {} : { year: String(year) },
    (a) => {
      stations.push(...a.stations);
      each({ ...a, stations: [...stations] });
      return a.stations;
    },
    signal,
    20,
  );
}
