import type { Feature } from 'geojson';
import { api } from '../api/client';
import { groups as readGroups, type Group } from '../api/domains';
import { byAlarms, byFigure, byShare, silentAfter, type AreaCount, type Shading } from '../lib/districts';
import { domainOf, type Figure } from '../lib/domains';
import type { Key } from '../i18n/en';
import { app } from './app.svelte';
import { me } from './me.svelte';

const countEvery = 2_000; // ms
const figuresEvery = 10_000;
const none: Shading = { paint: new Map(), legend: [] };

/** What the districts of the map are coloured by, and the numbers behind it: for the map, its legend and its table. */
export class Districts {
  areas = $state.raw<AreaCount[]>([]);
  groups = $state.raw<Group[]>([]);
  failed = $state('');
  #after = $state.raw<Record<string, number> | undefined>();

  readonly features = $derived(app.zones.filter((z: Feature) => z.properties?.kind === 'district'));
  readonly domain = $derived(domainOf(app.route.domain));
  /** figures of the chosen domain; others are told of all domains */
  readonly figures = $derived(app.route.domain ? this.domain.figures.filter((f) => !['abnormal', 'silent'].includes(f.key)) : []);
  readonly figure = $derived<Figure | undefined>(this.figures.find((f) => f.key === app.route.shade));
  readonly measure = $derived<'' | 'alarms' | 'silent' | 'figure'>(app.route.shade === 'alarms' || app.route.shade === 'silent' ? app.route.shade : this.figure ? 'figure' : '');
  readonly values = $derived.by(() => {
    const found = new Map<string, number>();
    if (!this.figure) return found;
    for (const g of this.groups) {
      const v = this.figure.of(g);
      if (v !== null && Number.isFinite(v)) found.set(g.key, v);
    }
    return found;
  });

  /** Counts again and again while there is something to colour, or `always`. For an effect. */
  watch(always: boolean): () => void {
    const { measure, figure } = this;
    const domain = app.route.domain;
    if (!me.may('state.read') || (measure === '' && !always)) return () => {};
    const abort = new AbortController();
    const count = async () => {
      if (this.#after === undefined) {
        this.#after = {};
        this.#after = silentAfter(me.may('registry.read') ? await api.profiles(abort.signal).catch(() => []) : []);
      }
      this.areas = await app.feed.areas(domain, $state.snapshot(this.#after), app.time());
    };
    void count();
    const counting = setInterval(() => void count(), countEvery);
    const read = () =>
      readGroups(domain, 'zone', this.domain.metrics, '', abort.signal).then(
        (found) => {
          this.groups = found;
          this.failed = '';
        },
        (err: unknown) => {
          if (!abort.signal.aborted) this.failed = err instanceof Error ? err.message : String(err);
        },
      );
    if (figure) void read();
    const reading = figure ? setInterval(() => void read(), figuresEvery) : undefined;
    return () => {
      abort.abort();
      clearInterval(counting);
      clearInterval(reading);
    };
  }

  shading(ramp: readonly string[]): Shading {
    const known = new Set(this.features.map((f) => String(f.properties?.id ?? f.id)));
    const areas = this.areas.filter((a) => known.has(a.zone));
    switch (this.measure) {
      case 'alarms':
        return byAlarms(areas, (rank) => app.t(`severity.${rank}` as Key));
      case 'silent':
        return byShare(new Map(areas.filter((a) => a.total > 0).map((a) => [a.zone, a.silent / a.total])), ramp, app.lang);
      case 'figure':
        return byFigure(new Map([...this.values].filter(([zone]) => known.has(zone))), ramp, app.lang, this.figure!.shape, this.figure!.unit);
    }
    return none;
  }
}
