import type { AreaCount } from '../lib/districts';
import { severityRank, type StateItem, type Value } from './protocol';

/** Web Mercator, 0 to 1 from west to east and from north to south; NaN where there is no position. */
export function mercatorX(lon: number): number {
  return (lon + 180) / 360;
}

export function mercatorY(lat: number): number {
  const clamped = Math.max(-85.051129, Math.min(85.051129, lat));
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + (clamped * Math.PI) / 360)) / (2 * Math.PI);
}

export interface Asset {
  slot: number;
  id: string;
  name: string;
  domain: string;
  zone: string;
  profile: string;
  lat: number; // NaN: unknown
  lon: number;
  seen: number; // Unix ms; 0: never
  severity: number; // rank: 0 is normal
  values: Record<string, Value>;
  generation: number;
}

/** Assets of one domain, by severity rank: [normal, info, warning, major, critical]. */
export interface DomainCount {
  domain: string;
  total: number;
  ranks: number[];
}

/** What changed since the last patch, a row a changed slot, in columns that can be transferred. */
export interface Patch {
  slots: Uint32Array;
  xy: Float64Array; // mercator x, y a slot; NaN: not on the map
  severity: Uint8Array;
  domain: Uint8Array; // index in `domains`
  /** slots that are new in this patch or whose asset is gone, and their ids, '' where it is gone, one a line: many objects are slow to hand over */
  named: Uint32Array;
  ids: string;
  domains: string[];
  counts: DomainCount[];
  size: number;
}

export type SortKey = 'severity' | 'id' | 'domain' | 'zone' | 'seen';

export interface RowQuery {
  /** a column, or the metric `has` by its number */
  sort: SortKey | 'value';
  descending: boolean;
  offset: number;
  limit: number;
  domain?: string;
  text?: string;
  abnormal?: boolean;
  zone?: string;
  /** only assets that have this metric */
  has?: string;
  /** and of them those whose number is this or more, or whose text is another than `not` */
  atLeast?: number;
  not?: string;
  /** metrics to be told in the rows' `values` */
  metrics?: readonly string[];
}

export interface Row extends Omit<Asset, 'slot' | 'values' | 'generation'> {
  values?: Record<string, Value>;
}

/**
 * Every asset's last state, filled from the feed. Slots are stable while an asset lives, so the map's
 * buffers can be written in place. One thread owns it.
 */
export class AssetTable {
  readonly domains: string[] = [];
  #assets: (Asset | undefined)[] = [];
  #byID = new Map<string, Asset>();
  #free: number[] = [];
  #dirty = new Set<number>();
  #fresh = new Set<number>();
  #counts = new Map<string, DomainCount>();
  #generation = 0;
  /** assets that appeared in a delta that did not say where or what they are */
  readonly strangers = new Set<string>();

  get size(): number {
    return this.#byID.size;
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  get(id: string): Asset | undefined {
    return this.#byID.get(id);
  }

  /** A fresh snapshot begins; what it does not name is gone when it ends. */
  beginSnapshot(): void {
    this.#generation++;
  }

  endSnapshot(): void {
    for (const asset of [...this.#byID.values()]) {
      if (asset.generation !== this.#generation) this.remove(asset.id);
    }
  }

  /** Applies an item; `whole` items (of a snapshot) replace the values, others merge. */
  apply(item: StateItem, whole: boolean): Asset | undefined {
    if (typeof item.id !== 'string' || item.id === '') return undefined;
    if (item.removed) {
      this.remove(item.id);
      return undefined;
    }
    let asset = this.#byID.get(item.id);
    const isNew = !asset;
    if (!asset) {
      const slot = this.#free.pop() ?? this.#assets.length;
      asset = {
        slot,
        id: item.id,
        name: '',
        domain: item.domain ?? '',
        zone: '',
        profile: '',
        lat: NaN,
        lon: NaN,
        seen: 0,
        severity: 0,
        values: {},
        generation: this.#generation,
      };
      this.#assets[slot] = asset;
      this.#byID.set(item.id, asset);
      this.#fresh.add(slot);
      this.#dirty.add(slot);
      this.#count(asset.domain, asset.severity, 1);
      if (!whole && (item.domain === undefined || item.lat === undefined)) this.strangers.add(item.id);
    }
    asset.generation = this.#generation;

    const before = { domain: asset.domain, severity: asset.severity, lat: asset.lat, lon: asset.lon };
    if (item.domain !== undefined) asset.domain = item.domain;
    if (item.zone !== undefined) asset.zone = item.zone;
    if (item.profile !== undefined) asset.profile = item.profile;
    if (item.name !== undefined) asset.name = item.name;
    if (typeof item.lat === 'number' && typeof item.lon === 'number') {
      asset.lat = item.lat;
      asset.lon = item.lon;
    }
    if (item.alarm !== undefined) asset.severity = severityRank(item.alarm);
    else if (whole) asset.severity = 0;
    const time = item.t ?? item.seen ?? '';
    const seen = typeof time === 'number' ? time : Date.parse(time);
    if (seen > asset.seen || (whole && seen)) asset.seen = seen;
    if (item.values) {
      if (whole) asset.values = item.values;
      else Object.assign(asset.values, item.values);
      // A vehicle says where it is as two of its values.
      const { position_lat: lat, position_lon: lon } = item.values;
      if (item.lat === undefined && typeof lat === 'number' && typeof lon === 'number') {
        asset.lat = lat;
        asset.lon = lon;
      }
    }

    if (asset.domain !== before.domain || asset.severity !== before.severity) {
      this.#count(before.domain, before.severity, -1);
      this.#count(asset.domain, asset.severity, 1);
      this.#dirty.add(asset.slot);
    }
    if (isNew || !Object.is(asset.lat, before.lat) || !Object.is(asset.lon, before.lon)) this.#dirty.add(asset.slot);
    return asset;
  }

  /** Every asset stays where it is and is called; what it said and how grave it is is no longer known. */
  forget(): void {
    for (const asset of this.#byID.values()) {
      asset.values = {};
      asset.seen = 0;
      if (asset.severity === 0) continue;
      this.#count(asset.domain, asset.severity, -1);
      asset.severity = 0;
      this.#count(asset.domain, 0, 1);
      this.#dirty.add(asset.slot);
    }
  }

  remove(id: string): void {
    const asset = this.#byID.get(id);
    if (!asset) return;
    this.#byID.delete(id);
    this.strangers.delete(id);
    this.#assets[asset.slot] = undefined;
    this.#free.push(asset.slot);
    this.#fresh.delete(asset.slot);
    this.#dirty.add(asset.slot);
    this.#count(asset.domain, asset.severity, -1);
  }

  /** The changes since the last call, or null where there are none. */
  patch(): Patch | null {
    if (!this.dirty) return null;
    const n = this.#dirty.size;
    const patch: Patch = {
      slots: new Uint32Array(n),
      xy: new Float64Array(2 * n),
      severity: new Uint8Array(n),
      domain: new Uint8Array(n),
      named: new Uint32Array(0),
      ids: '',
      domains: [],
      counts: [],
      size: this.#byID.size,
    };
    const named: number[] = [];
    const ids: string[] = [];
    let i = 0;
    for (const slot of this.#dirty) {
      const asset = this.#assets[slot];
      patch.slots[i] = slot;
      patch.xy[2 * i] = asset ? mercatorX(asset.lon) : NaN;
      patch.xy[2 * i + 1] = asset ? mercatorY(asset.lat) : NaN;
      patch.severity[i] = asset?.severity ?? 0;
      patch.domain[i] = asset ? this.#domainIndex(asset.domain) : 0;
      if (!asset || this.#fresh.has(slot)) {
        named.push(slot);
        ids.push(asset?.id ?? '');
      }
      i++;
    }
    patch.named = Uint32Array.from(named);
    patch.ids = ids.join('\n');
    patch.domains = [...this.domains];
    patch.counts = this.counts();
    this.#dirty.clear();
    this.#fresh.clear();
    return patch;
  }

  counts(): DomainCount[] {
    return inOrder([...this.#counts.values()]);
  }

  /** A window of the assets in the wanted order, and how many there are in all. */
  rows(q: RowQuery): { rows: Row[]; total: number } {
    const text = q.text?.trim().toLowerCase() ?? '';
    const found: Asset[] = [];
    for (const a of this.#byID.values()) {
      if (q.domain && a.domain !== q.domain) continue;
      if (q.abnormal && a.severity === 0) continue;
      if (q.zone && a.zone !== q.zone) continue;
      if (q.has !== undefined) {
        const v = a.values[q.has];
        if (v === undefined || v === null || v === q.not) continue;
        if (q.atLeast !== undefined && !(Number(v) >= q.atLeast)) continue;
      }
      if (text && !a.id.toLowerCase().includes(text) && !a.name.toLowerCase().includes(text)) continue;
      found.push(a);
    }
    const number = (a: Asset) => Number(a.values[q.has ?? '']);
    const by = q.sort === 'value' ? (a: Asset, b: Asset) => number(a) - number(b) : compare[q.sort];
    const sign = q.descending ? -1 : 1;
    found.sort((a, b) => sign * by(a, b) || byID(a, b));
    const rows = found.slice(q.offset, q.offset + q.limit).map(({ slot: _s, values, generation: _g, ...row }): Row => {
      if (!q.metrics) return row;
      return { ...row, values: Object.fromEntries(q.metrics.filter((m) => m in values).map((m) => [m, values[m]])) };
    });
    return { rows, total: found.length };
  }

  /** The assets by zone, of one domain or ('') of all. `after` says by profile how long, ms, one may be silent. */
  areas(domain: string, after: Record<string, number>, now: number): AreaCount[] {
    const found = new Map<string, AreaCount>();
    for (const a of this.#byID.values()) {
      if (domain && a.domain !== domain) continue;
      let area = found.get(a.zone);
      if (!area) found.set(a.zone, (area = { zone: a.zone, total: 0, ranks: [0, 0, 0, 0, 0], silent: 0 }));
      area.total++;
      area.ranks[a.severity]++;
      if (now - a.seen > (after[a.profile] ?? after[''] ?? Infinity)) area.silent++;
    }
    return [...found.values()];
  }

  #domainIndex(domain: string): number {
    const at = this.domains.indexOf(domain);
    if (at >= 0) return at;
    if (this.domains.length >= 255) return 254; // the map's masks are a byte: domains past 254 share the last
    return this.domains.push(domain) - 1;
  }

  #count(domain: string, severity: number, by: number): void {
    let c = this.#counts.get(domain);
    if (!c) this.#counts.set(domain, (c = { domain, total: 0, ranks: [0, 0, 0, 0, 0] }));
    c.total += by;
    c.ranks[severity] += by;
  }
}

/** A copy of the counts of domains that have assets, by name. */
export function inOrder(counts: readonly DomainCount[]): DomainCount[] {
  return counts
    .filter((c) => c.total > 0)
    .map((c) => ({ ...c, ranks: [...c.ranks] }))
    .sort((a, b) => a.domain.localeCompare(b.domain));
}

const collator = new Intl.Collator(undefined, { numeric: true });
const byID = (a: Asset, b: Asset) => collator.compare(a.id, b.id);
const compare: Record<SortKey, (a: Asset, b: Asset) => number> = {
  id: byID,
  severity: (a, b) => a.severity - b.severity,
  seen: (a, b) => a.seen - b.seen,
  domain: (a, b) => (a.domain < b.domain ? -1 : a.domain > b.domain ? 1 : 0),
  zone: (a, b) => collator.compare(a.zone, b.zone),
};
