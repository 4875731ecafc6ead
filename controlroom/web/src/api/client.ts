import type { Feature, FeatureCollection } from 'geojson';
import type { CityEvent } from '../feed/protocol';
import { noBase, classified, plain, type Base } from '../map/base';
import { signIn } from './signin';

/** An answer that is not what was asked for: problem+json's title and detail, or the status alone. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** what is wrong where, for answers that say it */
    readonly errors: { location?: string; message: string }[] = [],
    /** the whole answer: some say more than a problem does */
    readonly body: Record<string, unknown> = {},
  ) {
    super(detail ? `${title}: ${detail}` : title);
  }
}

export interface Device {
  id: string;
  domain: string;
  profile?: string;
  zone?: string;
  name?: string;
  lat?: number | null;
  lon?: number | null;
  tags?: Record<string, string>;
  status?: 'claimed' | 'unclaimed';
  /** of a camera: its lawful ground */
  camera?: { purpose?: string };
}

export interface Metric {
  unit?: string;
  min?: number;
  max?: number;
  label?: Record<string, string>;
}

export interface Profile {
  id: string;
  domain?: string;
  expected_period?: string;
  metrics?: Record<string, Metric>;
}

export interface Series {
  device: string;
  metric: string;
  unit?: string;
  points: [time: string, value: number | null][] | null;
}

export interface EventQuery {
  from?: string;
  to?: string;
  severity?: string;
  domain?: string;
  device?: string;
  limit?: number;
  cursor?: string;
}

/** A gateway over the window asked for; loss is 0 to 1, null where nothing can be said. */
export interface Gateway {
  id: string;
  name: string;
  seen: string | null;
  uplinks: number;
  devices: number;
  rssi_dbm: number | null;
  snr_db: number | null;
  loss: number | null;
  airtime_ms: number;
}

/** How a device is heard over the window asked for; the signal is the best. */
export interface RadioDevice {
  id: string;
  name: string;
  seen: string;
  uplinks: number;
  gateways: number;
  rssi_dbm: number | null;
  snr_db: number | null;
  data_rates: string[];
  expected: number;
  lost: number;
  loss: number | null;
  airtime_ms: number;
  last: { gateway: string; rssi_dbm: number | null; snr_db: number | null; data_rate: string };
}

export interface RadioQuery {
  window?: string;
  gateway?: string;
  device?: string;
  sort?: string;
  limit?: number;
  cursor?: string;
}

export type CameraState = 'ok' | 'silent' | 'never' | 'tampered' | 'signal_loss' | 'unlawful';

/** A zone or line in a camera's image, x and y in 0 to 1 from the top left. */
export interface Area {
  name: string;
  kind: 'zone' | 'line';
  points: [x: number, y: number][];
}

/** An observation as it is stored, and the reasons to doubt it. */
export interface Reading {
  time: string;
  received: string;
  metric: string;
  value: number | string | null;
  quality: string[];
}

/** A message that was rejected; what it was about is told to those who may export, what it said to those who asked for it. */
export interface RefusedMessage {
  received: string;
  reason: string;
  bytes: number;
  topic?: string;
  detail?: string;
  payload?: string;
}

/** The way of one object through a camera's view. */
export interface Track {
  id: string;
  class: string;
  start: string;
  end: string;
  duration_s: number;
  zones: string[];
}

export interface Camera {
  id: string;
  name: string;
  domain: string;
  zone: string;
  lat: number | null;
  lon: number | null;
  heading_deg: number | null;
  fov_deg: number | null;
  range_m: number | null;
  purpose: string;
  legal_basis: string;
  controller: string;
  dpia_ref: string;
  areas: Area[];
  alarm: string | null;
  health: { state: CameraState; seen: string | null; frames_per_s: number | null; silent: boolean; tampered: boolean; signal_loss: boolean };
  /** newest minute of the whole view: people_in, vehicles_present… */
  now: Record<string, number>;
  /** what is not in now because it would tell of fewer than k objects */
  hidden: string[];
  k: number;
}

/** Figures of a step; all null where it is hidden: fewer than k objects. */
export interface CountPoint {
  time: string;
  hidden?: boolean;
  in: number | null;
  out: number | null;
  present: number | null;
  present_max: number | null;
  dwell_s: number | null;
  speed_mps: number | null;
  queue_max: number | null;
}

export interface CountSeries {
  zone: string;
  class: string;
  points: CountPoint[];
}

export type Step = '1m' | '5m' | '15m' | '1h' | '1d';

export interface Counts {
  from: string;
  to: string;
  step: Step;
  k: number;
  series: CountSeries[];
}

export interface ZoneSums {
  k: number;
  zones: (CountPoint & { zone: string; class: string })[];
}

/** Different objects by cell, row by row from the top left; 0 where there were fewer than k. */
export interface HeatMap {
  k: number;
  columns: number;
  rows: number;
  cells: number[];
  max: number;
  hidden: number;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

async function answer<T>(response: Response): Promise<T> {
  if (!response.ok) {
    if (response.status === 401) signIn();
    const body = (await response.json().catch(() => ({}))) as { title?: string; detail?: string; errors?: { location?: string; message: string }[] };
    throw new Problem(response.status, body.title ?? `${response.status} ${response.statusText}`, body.detail ?? '', body.errors ?? [], body);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export async function get<T>(path: string, query: Record<string, string | number | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(key, String(value));
  }
  const search = params.size > 0 ? `?${params}` : '';
  return answer<T>(await fetch(path + search, { headers: { Accept: 'application/json' }, signal }));
}

/** A text goes as YAML, anything else as JSON. */
export async function send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, signal?: AbortSignal, more: Record<string, string> = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json', ...more };
  if (body !== undefined) headers['Content-Type'] = typeof body === 'string' ? 'application/yaml' : 'application/json';
  return answer<T>(await fetch(path, { method, headers, body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body), signal }));
}

/** What is there, and the tag by which a change of it can be made to this state alone. */
export async function tagged<T>(path: string): Promise<{ found: T; tag: string }> {
  const response = await fetch(path, { headers: { Accept: 'application/json' } });
  return { found: await answer<T>(response), tag: response.headers.get('ETag') ?? '' };
}

/** undefined where there is none (404). */
export async function optional<T>(path: string, signal?: AbortSignal): Promise<T | undefined> {
  try {
    return await get<T>(path, {}, signal);
  } catch (err) {
    if (err instanceof Problem && err.status === 404) return undefined;
    throw err;
  }
}

const enc = encodeURIComponent;

/** The reader's clock, for hours of the day. */
const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'Europe/Rome';

export const api = {
  device: (id: string, signal?: AbortSignal) => optional<Device>(`/api/v1/devices/${enc(id)}`, signal),

  profile: (id: string, signal?: AbortSignal) => optional<Profile>(`/api/v1/profiles/${enc(id)}`, signal),

  async profiles(signal?: AbortSignal): Promise<Profile[]> {
    const answer = await get<{ profiles: Profile[] | null }>('/api/v1/profiles', { limit: 1000 }, signal);
    return answer.profiles ?? [];
  },

  async devices(q: string, limit: number, signal?: AbortSignal): Promise<Device[]> {
    const answer = await get<{ devices: Device[] | null }>('/api/v1/devices', { q, limit }, signal);
    return answer.devices ?? [];
  },

  async events(query: EventQuery, signal?: AbortSignal): Promise<Page<CityEvent>> {
    const answer = await get<{ events: CityEvent[] | null; next?: string | null }>('/api/v1/events', { ...query }, signal);
    return { items: answer.events ?? [], next: answer.next || null };
  },

  series(device: string, metric: string, from: Date, to: Date, step: string, signal?: AbortSignal): Promise<Series> {
    const query = { device, metric, from: from.toISOString(), to: to.toISOString(), step, agg: 'avg' };
    return get<Series>('/api/v1/series', query, signal);
  },

  async gateways(window: string, signal?: AbortSignal): Promise<Gateway[]> {
    const found: Gateway[] = [];
    let cursor: string | undefined;
    do {
      const answer = await get<{ gateways: Gateway[]; next?: string }>('/api/v1/gateways', { window, limit: 1000, cursor }, signal);
      found.push(...answer.gateways);
      cursor = answer.next;
    } while (cursor && found.length < 10_000);
    return found;
  },

  async radioDevices(query: RadioQuery, signal?: AbortSignal): Promise<Page<RadioDevice>> {
    const answer = await get<{ devices: RadioDevice[]; next?: string }>('/api/v1/radio/devices', { ...query }, signal);
    return { items: answer.devices, next: answer.next || null };
  },

  async cameras(signal?: AbortSignal): Promise<Camera[]> {
    const found: Camera[] = [];
    let cursor: string | undefined;
    do {
      const answer = await get<{ cameras: Camera[]; next?: string }>('/api/v1/cameras', { limit: 1000, cursor }, signal);
      found.push(...answer.cameras);
      cursor = answer.next;
    } while (cursor && found.length < 10_000);
    return found;
  },

  async purposes(signal?: AbortSignal): Promise<{ id: string; title?: Record<string, string> }[]> {
    const answer = await get<{ purposes?: { id: string; title?: Record<string, string> }[] }>('/api/v1/purposes', {}, signal);
    return answer.purposes ?? [];
  },

  /** What an asset said last before a time, newest first. */
  readings: async (id: string, limit: number, to?: Date, signal?: AbortSignal): Promise<Reading[]> =>
    (await get<{ readings: Reading[] }>(`/api/v1/devices/${enc(id)}/readings`, { limit, to: to?.toISOString() }, signal)).readings,

  camera: (id: string, signal?: AbortSignal) => optional<Camera>(`/api/v1/cameras/${enc(id)}`, signal),

  /** The step goes by the length of the time unless it is given. */
  counts: (id: string, from: Date, to: Date, signal?: AbortSignal, step?: Step) =>
    get<Counts>(`/api/v1/cameras/${enc(id)}/counts`, { from: from.toISOString(), to: to.toISOString(), step }, signal),

  /** The last ways through a camera's view; each look is noted. */
  tracks: async (id: string, from: Date, to: Date, limit: number, signal?: AbortSignal): Promise<Track[]> =>
    (await get<{ tracks: Track[] }>(`/api/v1/cameras/${enc(id)}/tracks`, { from: from.toISOString(), to: to.toISOString(), limit }, signal)).tracks,

  /** What an asset said that was rejected, newest first; with what it said, each look is noted. */
  refused: async (id: string, payloads: boolean, to?: Date, signal?: AbortSignal): Promise<RefusedMessage[]> =>
    (await get<{ refused: RefusedMessage[] }>(`/api/v1/devices/${enc(id)}/refused`, { payloads: payloads ? 'true' : undefined, to: to?.toISOString() }, signal)).refused,

  zoneSums: (id: string, from: Date, to: Date, signal?: AbortSignal) =>
    get<ZoneSums>(`/api/v1/cameras/${enc(id)}/zones`, { from: from.toISOString(), to: to.toISOString() }, signal),

  /** hour -1 is any hour of the day */
  heatMap: (id: string, from: Date, to: Date, hour: number, signal?: AbortSignal) =>
    get<HeatMap>(`/api/v1/cameras/${enc(id)}/heatmap`, { from: from.toISOString(), to: to.toISOString(), hour, tz: timeZone() }, signal),

  /** Zones as features; both a FeatureCollection and the list form are read. */
  async zones(signal?: AbortSignal): Promise<Feature[]> {
    const answer = await get<{ features?: Feature[] | null; zones?: Feature[] | null }>('/api/v1/zones', { limit: 1000 }, signal);
    return answer.features ?? answer.zones ?? [];
  },

  /** The base map the server offers, if any: the page is good without. */
  async base(signal?: AbortSignal): Promise<Base> {
    const there = await get<{ geojson: boolean; tiles: boolean }>('/map/base.json', {}, signal);
    if (there.tiles) {
      const { describe } = await import('../map/tiles');
      return describe('/map/base.pmtiles');
    }
    if (!there.geojson) return noBase;
    const map = await get<FeatureCollection & { attribution?: string }>('/map/basemap.geojson', {}, signal);
    return Array.isArray(map.features) ? { ...noBase, ...classified(map), attribution: plain(map.attribution ?? '') } : noBase;
  },
};
