import type { Feature, FeatureCollection, Position } from 'geojson';
import { mercatorX, mercatorY } from '../feed/table';
import { badgeSize, drawBadge } from '../lib/badges';
import type { Cone } from '../lib/cameras';
import { labelPoint } from '../lib/geo';
import { drawMark, markColours, marks, type Rank } from '../lib/marks';
import { boxOf, coneAlpha, coneZoom, zoomOf, type Abnormal, type BackendOptions, type Badge, type Box, type DistrictPaint, type MapBackend, type Theme, type View } from './backend';
import type { BaseName } from './base';
import { Dots } from './dots';
import { DomainMask, type Touched } from './points';

const minScale = 512 * 2 ** 8;
const padding = 24; // CSS px around what is fitted
const maxScale = 512 * 2 ** 20;

interface Shape {
  kind: string;
  id: string;
  area: boolean;
  lines: Float64Array[]; // mercator x, y in turn
  box: Box;
}

interface Label {
  x: number;
  y: number;
  name: string;
  id: string;
}

/** The same map on a plain canvas, until there is WebGL and where there is none: pan, zoom, pick, all layers but a base map of tiles, fewer graces. */
export class CanvasMap implements MapBackend {
  readonly kind = 'canvas' as const;
  readonly canvas = document.createElement('canvas');
  readonly #ctx: CanvasRenderingContext2D;
  readonly #options: BackendOptions;
  readonly #abort = new AbortController();
  readonly #pointers = new Map<number, { x: number; y: number }>();
  #theme: Theme;
  #view: View = { x: 0.5, y: 0.5, scale: 512 * 2 ** 11, width: 1, height: 1 };
  #zones: Shape[] = [];
  #labels: Label[] = [];
  #paint: ReadonlyMap<string, DistrictPaint> = new Map();
  #badges: Badge[] = [];
  #level = 0;
  #basemap: Shape[] = [];
  #baseNames: (BaseName & { x: number; y: number })[] = [];
  #cones: Cone[] = [];
  #abnormal: Abnormal[] = [];
  #selected: { x: number; y: number } | null = null;
  #mask = DomainMask.all();
  readonly #dots = new Dots();
  #frame = 0;
  #moved = 0;

  constructor(options: BackendOptions) {
    this.#options = options;
    this.#theme = options.theme;
    // Drawn by this thread, not by a graphics card: it is there at once, and what draws it is often no card at all.
    const ctx = this.canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    if (!ctx) throw new Error('the browser draws neither WebGL nor canvas');
    this.#ctx = ctx;
    this.canvas.className = 'canvas-map';
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'region');
    options.container.append(this.canvas);
    this.resize();
    this.#show(options.start, 0);
    const signal = this.#abort.signal;
    this.canvas.addEventListener('pointerdown', (e) => this.#down(e), { signal });
    this.canvas.addEventListener('pointermove', (e) => this.#move(e), { signal });
    for (const end of ['pointerup', 'pointercancel'] as const) this.canvas.addEventListener(end, (e) => this.#up(e), { signal });
    this.canvas.addEventListener('wheel', (e) => this.#wheel(e), { signal, passive: false });
    this.canvas.addEventListener('keydown', (e) => this.#key(e), { signal });
  }

  view(): View {
    return { ...this.#view };
  }

  get busy(): boolean {
    return this.#pointers.size > 0;
  }

  async still(): Promise<void> {
    while (this.#frame) await new Promise(requestAnimationFrame);
  }

  paint(): void {
    if (!this.#frame) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#paintAll();
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.#draw();
  }

  setZones(zones: Feature[], paint: ReadonlyMap<string, DistrictPaint>): void {
    this.#zones = zones.flatMap(shapes);
    this.#paint = paint;
    this.#labels = zones.flatMap((f): Label[] => {
      const at = labelPoint(f.geometry);
      return at ? [{ x: mercatorX(at[0]), y: mercatorY(at[1]), name: String(f.properties?.name ?? ''), id: idOf(f) }] : [];
    });
    this.#draw();
  }

  setTiles(): void {
    // It draws none: the ground, the districts and a base map of GeoJSON do.
  }

  setBadges(badges: Badge[]): void {
    this.#badges = badges;
    this.#draw();
  }

  setBasemap(basemap: FeatureCollection | undefined, names: BaseName[]): void {
    this.#basemap = (basemap?.features ?? []).flatMap(shapes);
    this.#baseNames = names.map((n) => ({ ...n, x: mercatorX(n.lon), y: mercatorY(n.lat) }));
    this.#draw();
  }

  pointsChanged(_touched: Touched | null): void {
    this.#draw();
  }

  setMask(mask: DomainMask): void {
    this.#mask = mask;
    this.#draw();
  }

  setCones(cones: Cone[]): void {
    this.#cones = cones;
    this.#draw();
  }

  setAbnormal(items: Abnormal[]): void {
    this.#abnormal = [...items].sort((a, b) => a.rank - b.rank);
    this.#draw();
  }

  setSelected(at: { x: number; y: number } | null): void {
    this.#selected = at;
    this.#draw();
  }

  fit(box: Box): void {
    this.#show(box, padding);
  }

  #show([west, north, east, south]: Box, margin: number): void {
    const v = this.#view;
    v.x = (west + east) / 2;
    v.y = (north + south) / 2;
    const pad = 2 * margin;
    const scale = Math.min((v.width - pad) / Math.max(east - west, 1e-9), (v.height - pad) / Math.max(south - north, 1e-9));
    v.scale = Math.min(512 * 2 ** 16, Math.max(minScale, scale));
    this.#draw();
  }

  moveTo(x: number, y: number, minZoom: number): void {
    this.#view.x = x;
    this.#view.y = y;
    this.#view.scale = Math.max(this.#view.scale, 512 * 2 ** minZoom);
    this.#draw();
  }

  zoomBy(steps: number): void {
    this.#zoomAt(2 ** steps, this.#view.width / 2, this.#view.height / 2);
  }

  resize(): void {
    const { clientWidth, clientHeight } = this.#options.container;
    this.#view.width = Math.max(1, clientWidth);
    this.#view.height = Math.max(1, clientHeight);
    this.canvas.width = Math.round(this.#view.width * devicePixelRatio);
    this.canvas.height = Math.round(this.#view.height * devicePixelRatio);
    this.#draw();
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    this.#abort.abort();
    this.#options.container.remove();
  }

  #draw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paintAll();
    });
  }

  #paintAll(): void {
    const level = Math.round(2 * zoomOf(this.#view.scale));
    if (level !== this.#level) {
      this.#level = level;
      this.#options.onZoom();
    }
    const ctx = this.#ctx;
    const t = this.#theme;
    const v = this.#view;
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.fillStyle = t.ground;
    ctx.fillRect(0, 0, v.width, v.height);
    this.#fill(this.#basemap, 'land', t.land);
    this.#fill(this.#zones, '', t.land);
    this.#fill(this.#basemap, 'mountain', t.mountain);
    this.#fill(this.#basemap, 'water', t.water);
    this.#stroke(this.#basemap, 'water', t.water, 1.5);
    this.#stroke(this.#basemap, 'land', t.street, 1);
    this.#stroke(this.#basemap, 'street', t.street, Math.max(0.6, 2 ** (zoomOf(v.scale) - 13)));
    this.#fill(this.#basemap, 'building', t.building);
    this.#stroke(this.#basemap, 'district', t.district, 1);
    this.#paintDistricts();
    this.#stroke(this.#zones, '', t.district, 1);
    this.#drawCones();
    this.#points();
    this.#names();
    if (this.#selected) {
      ctx.beginPath();
      ctx.arc(...this.#screen(this.#selected.x, this.#selected.y), 15, 0, 7);
      ctx.strokeStyle = t.selected;
      ctx.lineWidth = 3;
      ctx.stroke();
    }
    this.#signs();
    for (const b of this.#badges) {
      const [px, py] = this.#screen(b.x, b.y);
      const { width, height } = badgeSize(b.ranks);
      drawBadge(ctx, b.ranks, px - width / 2, b.below ? py : py - height / 2, t);
    }
    this.#options.onDrawn();
  }

  #paintDistricts(): void {
    const ctx = this.#ctx;
    for (const z of this.#zones) {
      const p = this.#paint.get(z.id);
      if (!p || !z.area) continue;
      ctx.beginPath();
      this.#trace(z);
      ctx.fillStyle = p.fill;
      ctx.globalAlpha = p.alpha;
      ctx.fill('evenodd');
    }
    ctx.globalAlpha = 1;
  }

  #screen(x: number, y: number): [number, number] {
    const v = this.#view;
    return [(x - v.x) * v.scale + v.width / 2, (y - v.y) * v.scale + v.height / 2];
  }

  #inView({ box }: Shape): boolean {
    const [west, north, east, south] = boxOf(this.#view);
    return box[0] <= east && box[2] >= west && box[1] <= south && box[3] >= north;
  }

  #trace(shape: Shape): void {
    const ctx = this.#ctx;
    for (const line of shape.lines) {
      for (let i = 0; i < line.length; i += 2) {
        const [px, py] = this.#screen(line[i], line[i + 1]);
        if (i === 0) ctx.moveTo(px, py);
        else ctx.lineTo(px, py);
      }
      if (shape.area) ctx.closePath();
    }
  }

  #fill(all: Shape[], kind: string, colour: string): void {
    this.#ctx.beginPath();
    for (const s of all) if (s.area && (kind === '' || s.kind === kind) && this.#inView(s)) this.#trace(s);
    this.#ctx.fillStyle = colour;
    this.#ctx.fill('evenodd');
  }

  #stroke(all: Shape[], kind: string, colour: string, width: number): void {
    this.#ctx.beginPath();
    for (const s of all) if ((kind === '' || s.kind === kind) && this.#inView(s)) this.#trace(s);
    this.#ctx.strokeStyle = colour;
    this.#ctx.lineWidth = width;
    this.#ctx.stroke();
  }

  #drawCones(): void {
    if (zoomOf(this.#view.scale) < coneZoom) return;
    const ctx = this.#ctx;
    ctx.lineWidth = 1;
    for (const { rank, ring } of this.#cones) {
      ctx.beginPath();
      for (let i = 0; i < ring.length; i += 2) {
        const at = this.#screen(ring[i], ring[i + 1]);
        if (i === 0) ctx.moveTo(...at);
        else ctx.lineTo(...at);
      }
      ctx.fillStyle = ctx.strokeStyle = rank > 0 ? markColours[rank as Rank].fill : this.#theme.point;
      ctx.globalAlpha = rank > 0 ? 2 * coneAlpha : coneAlpha;
      ctx.fill();
      ctx.globalAlpha = 0.7;
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
  }

  /** The districts' names, then as many of the base map's as stand free of them and of one another. */
  #names(): void {
    const zoom = zoomOf(this.#view.scale);
    const ctx = this.#ctx;
    ctx.textAlign = 'center';
    ctx.fillStyle = this.#theme.text;
    ctx.strokeStyle = this.#theme.land;
    ctx.lineWidth = 4;
    ctx.lineJoin = 'round';
    const taken: [x: number, y: number, half: number][] = [];
    for (const l of zoom > 15 ? [] : this.#labels) {
      const p = this.#paint.get(l.id);
      const [px, py] = this.#screen(l.x, l.y);
      taken.push([px, py, 4 * l.name.length]);
      const say = (text: string, font: string, y: number) => {
        ctx.font = font;
        ctx.strokeText(text, px, y);
        ctx.fillText(text, px, y);
      };
      say(l.name, '12px system-ui, sans-serif', p ? py - 4 : py + 4);
      if (p?.note) say(p.note, '15px system-ui, sans-serif', py + 14);
    }
    ctx.font = '11px system-ui, sans-serif';
    ctx.globalAlpha = 0.75;
    for (const n of this.#baseNames) {
      if (n.zoom > zoom + 0.5) break; // in order of it
      const [px, py] = this.#screen(n.x, n.y);
      const half = 3.5 * n.name.length;
      if (px < -half || py < 0 || px > this.#view.width + half || py > this.#view.height) continue;
      if (taken.some(([x, y, h]) => Math.abs(x - px) < h + half && Math.abs(y - py) < 16)) continue;
      taken.push([px, py, half]);
      ctx.strokeText(n.name, px, py);
      ctx.fillText(n.name, px, py);
    }
    ctx.globalAlpha = 1;
  }

  #points(): void {
    this.#dots.draw(this.#options.points, this.#view, this.#mask, this.#theme.point);
    this.#ctx.globalAlpha = 0.75;
    this.#ctx.drawImage(this.#dots.image, 0, 0, this.#view.width, this.#view.height);
    this.#ctx.globalAlpha = 1;
  }

  #signs(): void {
    const ctx = this.#ctx;
    const zoom = zoomOf(this.#view.scale);
    const shrink = Math.min(1, Math.max(0.6, 0.6 + 0.1 * (zoom - 10)));
    ctx.textAlign = 'left';
    ctx.font = '12px system-ui, sans-serif';
    for (const a of this.#abnormal) {
      const [px, py] = this.#screen(a.x, a.y);
      if (px < -20 || py < -20 || px > this.#view.width + 20 || py > this.#view.height + 20) continue;
      const rank = a.rank as Rank;
      drawMark(ctx, rank, px, py, marks[rank].size * shrink, this.#theme.halo);
      if (zoom < 13.5) continue;
      ctx.lineWidth = 3;
      ctx.strokeStyle = this.#theme.halo;
      ctx.strokeText(a.label, px + 14, py + 4);
      ctx.fillStyle = this.#theme.text;
      ctx.fillText(a.label, px + 14, py + 4);
    }
  }

  #zoomAt(factor: number, px: number, py: number): void {
    const v = this.#view;
    const scale = Math.min(maxScale, Math.max(minScale, v.scale * factor));
    const x = (px - v.width / 2) / v.scale + v.x;
    const y = (py - v.height / 2) / v.scale + v.y;
    v.x = x - (px - v.width / 2) / scale;
    v.y = y - (py - v.height / 2) / scale;
    v.scale = scale;
    this.#draw();
  }

  #down(e: PointerEvent): void {
    this.canvas.setPointerCapture(e.pointerId);
    this.#pointers.set(e.pointerId, { x: e.offsetX, y: e.offsetY });
    this.#moved = this.#pointers.size > 1 ? Infinity : 0;
  }

  #move(e: PointerEvent): void {
    const was = this.#pointers.get(e.pointerId);
    if (!was) return;
    const now = { x: e.offsetX, y: e.offsetY };
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers].find(([id]) => id !== e.pointerId)![1];
      const before = Math.hypot(was.x - other.x, was.y - other.y);
      const after = Math.hypot(now.x - other.x, now.y - other.y);
      if (before > 0) this.#zoomAt(after / before, (now.x + other.x) / 2, (now.y + other.y) / 2);
    }
    const share = this.#pointers.size;
    this.#view.x -= (now.x - was.x) / this.#view.scale / share;
    this.#view.y -= (now.y - was.y) / this.#view.scale / share;
    this.#moved += Math.hypot(now.x - was.x, now.y - was.y);
    this.#pointers.set(e.pointerId, now);
    this.#draw();
  }

  #up(e: PointerEvent): void {
    if (!this.#pointers.delete(e.pointerId)) return;
    if (e.type === 'pointerup' && this.#moved < 5) this.#options.onPick(e.offsetX, e.offsetY);
  }

  #wheel(e: WheelEvent): void {
    e.preventDefault();
    this.#zoomAt(2 ** (-e.deltaY / 300), e.offsetX, e.offsetY);
  }

  #key(e: KeyboardEvent): void {
    const step = 80 / this.#view.scale;
    if (e.key === 'ArrowLeft') this.#view.x -= step;
    else if (e.key === 'ArrowRight') this.#view.x += step;
    else if (e.key === 'ArrowUp') this.#view.y -= step;
    else if (e.key === 'ArrowDown') this.#view.y += step;
    else if (e.key === '+' || e.key === '=') this.zoomBy(1);
    else if (e.key === '-') this.zoomBy(-1);
    else return;
    e.preventDefault();
    this.#draw();
  }
}

const idOf = (f: Feature) => String(f.properties?.id ?? f.id ?? '');

function shapes(f: Feature): Shape[] {
  const box: Box = [Infinity, Infinity, -Infinity, -Infinity];
  const flat = (line: Position[]) => {
    const out = new Float64Array(line.length * 2);
    line.forEach(([lon, lat], i) => {
      const [x, y] = [mercatorX(lon), mercatorY(lat)];
      out[2 * i] = x;
      out[2 * i + 1] = y;
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    });
    return out;
  };
  const base = { kind: String(f.properties?.kind ?? ''), id: idOf(f), box };
  const g = f.geometry;
  switch (g?.type) {
    case 'LineString':
      return [{ ...base, area: false, lines: [flat(g.coordinates)] }];
    case 'MultiLineString':
      return [{ ...base, area: false, lines: g.coordinates.map(flat) }];
    case 'Polygon':
      return [{ ...base, area: true, lines: g.coordinates.map(flat) }];
    case 'MultiPolygon':
      return [{ ...base, area: true, lines: g.coordinates.flat().map(flat) }];
    default:
      return [];
  }
}
