import { Map as MapLibreMap, setWorkerUrl, type ExpressionSpecification, type GeoJSONSource, type LayerSpecification, type StyleSpecification } from 'maplibre-gl';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url';
import './gl-map.css';
import type { Feature, FeatureCollection } from 'geojson';
import { mercatorX, mercatorY } from '../feed/table';
import { badgeKey, badgeSize, drawBadge } from '../lib/badges';
import type { Cone } from '../lib/cameras';
import { labelPoint } from '../lib/geo';
import { drawMark, markColours, marks, ranks } from '../lib/marks';
import { coneAlpha, coneZoom, latitude, longitude, zoomOf, type Abnormal, type BackendOptions, type Badge, type Box, type DistrictPaint, type MapBackend, type Theme, type View } from './backend';
import type { BaseName, Tiles } from './base';
import { PointsLayer } from './points-layer';
import type { DomainMask, Touched } from './points';

setWorkerUrl(workerUrl);

const empty: FeatureCollection = { type: 'FeatureCollection', features: [] };
const reduced = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

const pointAlpha = 0.75;
const mostIdle = 100; // badges' images that are kept though none is shown
const iconImage = (t: Theme): ExpressionSpecification => ['concat', t.dark ? 'mark-dark-' : 'mark-light-', ['get', 'rank']];

/** A cone is grey, and has the colour of its rank where that is not normal. */
const coneColour = (t: Theme): ExpressionSpecification => ['match', ['get', 'rank'], ...ranks.flatMap((r) => [r, markColours[r].fill]), t.point] as unknown as ExpressionSpecification;

/** Names of a base map are softer than those of the city's own districts. */
const nameInk = (t: Theme) => ({ 'text-color': t.text, 'text-opacity': 0.75, 'text-halo-color': t.land, 'text-halo-width': 1.2 });

/** The layers under the live set, in the theme's greys. A base map of tiles has its own, below the first of those above `district-fill`. */
function style(t: Theme): StyleSpecification {
  const source = () => ({ type: 'geojson' as const, data: empty });
  return {
    version: 8,
    sources: { basemap: source(), 'base-names': source(), zones: source(), names: source(), cones: source(), abnormal: source(), badges: source(), selected: source() },
    layers: [
      { id: 'ground', type: 'background', paint: { 'background-color': t.ground } },
      { id: 'land', type: 'fill', source: 'basemap', filter: ['==', ['get', 'kind'], 'land'], paint: { 'fill-color': t.land } },
      { id: 'district-fill', type: 'fill', source: 'zones', paint: { 'fill-color': t.land } },
      { id: 'mountains', type: 'fill', source: 'basemap', filter: ['==', ['get', 'kind'], 'mountain'], paint: { 'fill-color': t.mountain } },
      { id: 'water', type: 'fill', source: 'basemap', filter: ['==', ['get', 'kind'], 'water'], paint: { 'fill-color': t.water } },
      {
        id: 'water-lines',
        type: 'line',
        source: 'basemap',
        filter: ['all', ['==', ['get', 'kind'], 'water'], ['==', ['geometry-type'], 'LineString']],
        paint: { 'line-color': t.water, 'line-width': ['interpolate', ['exponential', 1.5], ['zoom'], 10, 1.2, 17, 4] },
      },
      {
        id: 'land-edges',
        type: 'line',
        source: 'basemap',
        filter: ['==', ['get', 'kind'], 'land'],
        paint: { 'line-color': t.street, 'line-width': ['interpolate', ['linear'], ['zoom'], 9, 0.6, 15, 1.4] },
      },
      {
        id: 'streets',
        type: 'line',
        source: 'basemap',
        filter: ['==', ['get', 'kind'], 'street'],
        layout: { 'line-cap': 'round', 'line-join': 'round' },
        paint: { 'line-color': t.street, 'line-width': ['interpolate', ['exponential', 1.5], ['zoom'], 10, 0.6, 13, 1.5, 17, 9] },
      },
      {
        id: 'basemap-districts',
        type: 'line',
        source: 'basemap',
        filter: ['==', ['get', 'kind'], 'district'],
        paint: { 'line-color': t.district, 'line-width': 1 },
      },
      { id: 'buildings', type: 'fill', source: 'basemap', minzoom: 13, filter: ['==', ['get', 'kind'], 'building'], paint: { 'fill-color': t.building } },
      { id: 'district-paint', type: 'fill', source: 'zones', filter: ['has', 'fill'], paint: { 'fill-color': ['get', 'fill'], 'fill-opacity': ['get', 'alpha'] } },
      { id: 'districts', type: 'line', source: 'zones', paint: { 'line-color': t.district, 'line-width': ['interpolate', ['linear'], ['zoom'], 10, 0.8, 15, 1.6] } },
      { id: 'cones', type: 'fill', source: 'cones', minzoom: coneZoom, paint: { 'fill-color': coneColour(t), 'fill-opacity': ['match', ['get', 'rank'], 0, coneAlpha, 2 * coneAlpha] } },
      { id: 'cone-edges', type: 'line', source: 'cones', minzoom: coneZoom, paint: { 'line-color': coneColour(t), 'line-width': 1, 'line-opacity': 0.7 } },
      {
        id: 'street-names',
        type: 'symbol',
        source: 'basemap',
        minzoom: 13.5,
        filter: ['all', ['!=', ['get', 'name'], ''], ['==', ['geometry-type'], 'LineString']],
        layout: { 'text-field': ['get', 'name'], 'symbol-placement': 'line', 'text-size': 11, 'text-padding': 4, 'text-max-angle': 35 },
        paint: nameInk(t),
      },
      {
        id: 'base-names',
        type: 'symbol',
        source: 'base-names',
        // A filter is asked again at whole zooms alone; what has no room is left out by the others.
        filter: ['<=', ['get', 'zoom'], ['+', ['zoom'], 0.5]],
        layout: { 'text-field': ['get', 'name'], 'text-size': 11, 'text-max-width': 8, 'text-padding': 6, 'symbol-sort-key': ['get', 'zoom'] },
        paint: nameInk(t),
      },
      {
        id: 'district-names',
        type: 'symbol',
        source: 'names',
        maxzoom: 15,
        layout: {
          'text-field': ['format', ['get', 'name'], {}, ['get', 'note'], { 'font-scale': 1.25 }],
          'text-size': 12,
          'text-max-width': 8,
          'text-padding': 2,
          'text-anchor': ['case', ['get', 'badge'], 'bottom', 'center'],
        },
        paint: { 'text-color': t.text, 'text-halo-color': t.land, 'text-halo-width': 2 },
      },
      {
        id: 'selected',
        type: 'circle',
        source: 'selected',
        paint: { 'circle-radius': 15, 'circle-color': 'rgba(0,0,0,0)', 'circle-stroke-color': t.selected, 'circle-stroke-width': 3 },
      },
      {
        id: 'abnormal',
        type: 'symbol',
        source: 'abnormal',
        layout: {
          'icon-image': iconImage(t),
          'icon-size': ['interpolate', ['linear'], ['zoom'], 10, 0.6, 14, 1],
          'icon-allow-overlap': true,
          'icon-ignore-placement': true,
          'symbol-sort-key': ['get', 'rank'],
          'symbol-z-order': 'auto',
          'text-field': ['step', ['zoom'], '', 13.5, ['get', 'label']],
          'text-size': 12,
          'text-anchor': 'left',
          'text-offset': [1.1, 0],
          'text-optional': true,
          'text-max-width': 14,
        },
        paint: { 'text-color': t.text, 'text-halo-color': t.halo, 'text-halo-width': 1.5 },
      },
      {
        id: 'badges',
        type: 'symbol',
        source: 'badges',
        layout: { 'icon-image': ['get', 'image'], 'icon-anchor': ['case', ['get', 'below'], 'top', 'center'], 'icon-allow-overlap': true, 'icon-ignore-placement': true },
      },
    ],
  };
}

/** The map by MapLibre: base layers, one custom layer for the live set, signs for the abnormal on top. */
export class GlMap implements MapBackend {
  readonly kind = 'webgl' as const;
  readonly #map: MapLibreMap;
  readonly #layer: PointsLayer;
  readonly #data = new Map<string, FeatureCollection>();
  #theme: Theme;
  #loaded = false;
  #badges: Badge[] = [];
  /** badges' images that are shown, and those that are not any more, the oldest first */
  readonly #images = new Set<string>();
  #idle: string[] = [];
  #tiles: Tiles | undefined;
  #tileLayers: LayerSpecification[] = [];

  /** Throws where there is no WebGL 2. */
  constructor(options: BackendOptions) {
    this.#theme = options.theme;
    this.#map = new MapLibreMap({
      container: options.container,
      style: style(options.theme),
      bounds: lngLatBox(options.start),
      minZoom: 8,
      maxZoom: 20,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maxPitch: 0,
      rollEnabled: false,
      fadeDuration: 0,
      refreshExpiredTiles: false,
      renderWorldCopies: false,
    });
    this.#map.touchZoomRotate.disableRotation();
    this.#map.keyboard.disableRotation();
    this.#layer = new PointsLayer(options.points, () => this.view(), options.onDrawn);
    this.#map.on('error', (e) => console.error('map:', e.error));
    this.#map.once('style.load', () => {
      try {
        this.#dress();
      } catch (err) {
        options.onBroken(err);
      }
    });
    this.#map.once('webglcontextlost', () => options.onLost());
    // Data given to a source before it has loaded its own first data would be lost: it waits for `load`.
    this.#map.once('load', () => {
      this.#loaded = true;
      for (const [source, data] of this.#data) this.#source(source)?.setData(data);
      this.setBadges(this.#badges);
    });
    let level = Math.round(2 * this.#map.getZoom());
    this.#map.on('zoom', () => {
      const now = Math.round(2 * this.#map.getZoom());
      if (now === level) return;
      level = now;
      options.onZoom();
    });
    this.#map.on('click', (e) => options.onPick(e.point.x, e.point.y));
  }

  /** What the style cannot say: the signs' images and the live layer. */
  #dress(): void {
    const ratio = 2;
    for (const [name, halo] of [
      ['light', '#ffffff'],
      ['dark', '#0e1114'],
    ] as const) {
      for (const rank of ranks) {
        const id = `mark-${name}-${rank}`;
        const size = marks[rank].size + 6;
        const canvas = new OffscreenCanvas(size * ratio, size * ratio);
        const ctx = canvas.getContext('2d');
        if (!ctx) continue;
        ctx.scale(ratio, ratio);
        drawMark(ctx, rank, size / 2, size / 2, marks[rank].size, halo);
        this.#map.addImage(id, ctx.getImageData(0, 0, canvas.width, canvas.height), { pixelRatio: ratio });
      }
    }
    this.#layer.setColour(this.#theme.point, pointAlpha);
    this.#map.addLayer(this.#layer, 'street-names');
  }

  #source(name: string): GeoJSONSource | undefined {
    return this.#map.getSource(name) as GeoJSONSource | undefined;
  }

  #set(name: string, features: Feature[]): void {
    const data: FeatureCollection = { type: 'FeatureCollection', features };
    this.#data.set(name, data);
    if (this.#loaded) this.#source(name)?.setData(data);
  }

  get canvas(): HTMLCanvasElement {
    return this.#map.getCanvas();
  }

  get busy(): boolean {
    return this.#map.isMoving();
  }

  async still(): Promise<void> {
    await this.#map.once('idle');
  }

  view(): View {
    const { lng, lat } = this.#map.getCenter();
    const canvas = this.#map.getContainer();
    return {
      x: mercatorX(lng),
      y: mercatorY(lat),
      scale: 512 * 2 ** this.#map.getZoom(),
      width: canvas.clientWidth,
      height: canvas.clientHeight,
    };
  }

  setTheme(theme: Theme): void {
    if (theme === this.#theme) return;
    this.#theme = theme;
    // The same layers in other colours: nothing is loaded again, nothing blinks.
    const recolour = () => {
      for (const layer of [...style(theme).layers, ...this.#tileLayersIn(theme)]) {
        for (const [name, value] of Object.entries(layer.paint ?? {})) this.#map.setPaintProperty(layer.id, name as 'fill-color', value as string);
      }
      this.#map.setLayoutProperty('abnormal', 'icon-image', iconImage(theme));
      this.#layer.setColour(theme.point, pointAlpha);
      this.setBadges(this.#badges);
    };
    if (this.#loaded) recolour();
    else this.#map.once('load', recolour);
  }

  setZones(zones: Feature[], paint: ReadonlyMap<string, DistrictPaint>): void {
    const of = (f: Feature) => paint.get(String(f.properties?.id ?? f.id ?? ''));
    this.#set(
      'zones',
      zones.map((f) => {
        const p = of(f);
        return p ? { ...f, properties: { fill: p.fill, alpha: p.alpha } } : { ...f, properties: {} };
      }),
    );
    this.#set(
      'names',
      zones.flatMap((f): Feature[] => {
        const at = labelPoint(f.geometry);
        const name = String(f.properties?.name ?? '');
        const p = of(f);
        if (!at || (name === '' && !p)) return [];
        return [{ type: 'Feature', properties: { name, note: p?.note ? `\n${p.note}` : '', badge: p?.badge ?? false }, geometry: { type: 'Point', coordinates: at } }];
      }),
    );
  }

  setTiles(tiles: Tiles | undefined): void {
    this.#tiles = tiles;
    if (this.#loaded) void this.#lay();
    else this.#map.once('load', () => void this.#lay());
  }

  #tileLayersIn: (theme: Theme) => LayerSpecification[] = () => [];

  /** Puts the tiles of the base map in, or takes them out. What draws them comes only where there are some. */
  async #lay(): Promise<void> {
    const wanted = this.#tiles;
    const { layersOf, sourceOf, tileSource } = await import('./tile-layers');
    if (wanted !== this.#tiles || !this.#map.style) return; // another since, or the map is gone
    for (const layer of this.#tileLayers) this.#map.removeLayer(layer.id);
    this.#tileLayers = [];
    if (this.#map.getSource(tileSource)) this.#map.removeSource(tileSource);
    this.#tileLayersIn = (theme) => (wanted ? layersOf(wanted, theme) : []);
    if (!wanted) return;
    this.#map.addSource(tileSource, sourceOf(wanted));
    this.#tileLayers = this.#tileLayersIn(this.#theme);
    for (const layer of this.#tileLayers) this.#map.addLayer(layer, 'mountains');
  }

  setBasemap(basemap: FeatureCollection | undefined, names: BaseName[]): void {
    this.#set('basemap', basemap?.features ?? []);
    this.#set(
      'base-names',
      names.map(({ lon, lat, name, zoom }) => ({ type: 'Feature', properties: { name, zoom }, geometry: { type: 'Point', coordinates: [lon, lat] } })),
    );
  }

  pointsChanged(touched: Touched | null): void {
    this.#layer.changed(touched);
    this.#map.triggerRepaint();
  }

  setMask(mask: DomainMask): void {
    this.#layer.setMask(mask);
    this.#map.triggerRepaint();
  }

  setCones(cones: Cone[]): void {
    this.#set(
      'cones',
      cones.map(({ rank, ring }) => {
        const line: [number, number][] = [];
        for (let i = 0; i < ring.length; i += 2) line.push([longitude(ring[i]), latitude(ring[i + 1])]);
        return { type: 'Feature', properties: { rank }, geometry: { type: 'Polygon', coordinates: [line] } };
      }),
    );
  }

  setAbnormal(items: Abnormal[]): void {
    this.#set(
      'abnormal',
      items.map((a) => ({
        type: 'Feature',
        properties: { id: a.id, rank: a.rank, label: a.label },
        geometry: { type: 'Point', coordinates: [longitude(a.x), latitude(a.y)] },
      })),
    );
  }

  setBadges(badges: Badge[]): void {
    this.#badges = badges;
    const theme = this.#theme;
    if (!this.#loaded) return; // load comes back to it
    const prefix = theme.dark ? 'badge-dark-' : 'badge-light-';
    const ratio = 2;
    const wanted = new Set<string>();
    for (const b of badges) {
      const id = prefix + badgeKey(b.ranks);
      if (wanted.has(id)) continue;
      wanted.add(id);
      if (this.#map.hasImage(id)) continue;
      const { width, height } = badgeSize(b.ranks);
      const ctx = new OffscreenCanvas(width * ratio, height * ratio).getContext('2d');
      if (!ctx) continue;
      ctx.scale(ratio, ratio);
      drawBadge(ctx, b.ranks, 0, 0, theme);
      this.#map.addImage(id, ctx.getImageData(0, 0, width * ratio, height * ratio), { pixelRatio: ratio });
    }
    this.#set(
      'badges',
      badges.map((b) => ({
        type: 'Feature',
        properties: { image: prefix + badgeKey(b.ranks), below: b.below },
        geometry: { type: 'Point', coordinates: [longitude(b.x), latitude(b.y)] },
      })),
    );
    // Numbers change all day: what has been on no badge for a while is let go.
    for (const id of this.#images) {
      if (wanted.has(id)) continue;
      this.#images.delete(id);
      if (this.#idle.push(id) > mostIdle) this.#map.removeImage(this.#idle.shift()!);
    }
    for (const id of wanted) this.#images.add(id);
    this.#idle = this.#idle.filter((id) => !wanted.has(id));
  }

  setSelected(at: { x: number; y: number } | null): void {
    this.#set('selected', at ? [{ type: 'Feature', properties: {}, geometry: { type: 'Point', coordinates: [longitude(at.x), latitude(at.y)] } }] : []);
  }

  fit(box: Box, animate: boolean): void {
    this.#map.fitBounds(lngLatBox(box), { padding: 24, animate: animate && !reduced(), duration: 300, maxZoom: 16 });
  }

  moveTo(x: number, y: number, minZoom: number, animate: boolean): void {
    const center: [number, number] = [longitude(x), latitude(y)];
    const zoom = Math.max(minZoom, zoomOf(this.view().scale));
    if (animate && !reduced()) this.#map.easeTo({ center, zoom, duration: 300 });
    else this.#map.jumpTo({ center, zoom });
  }

  zoomBy(steps: number): void {
    this.#map.zoomTo(this.#map.getZoom() + steps, { animate: !reduced(), duration: 150 });
  }

  resize(): void {
    this.#map.resize();
  }

  destroy(): void {
    const container = this.#map.getContainer();
    this.#map.remove();
    container.remove();
  }
}

function lngLatBox([west, north, east, south]: Box): [[number, number], [number, number]] {
  return [
    [longitude(west), latitude(south)],
    [longitude(east), latitude(north)],
  ];
}
