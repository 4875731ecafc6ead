import type { Feature, FeatureCollection } from 'geojson';
import type { Cone } from '../lib/cameras';
import type { BadgeTheme } from '../lib/badges';
import type { BaseName, Tiles } from './base';
import type { DomainMask, Points, Touched } from './points';

/** What the map shows now: centre in Web Mercator 0 to 1, CSS px a mercator unit, size in CSS px. */
export interface View {
  x: number;
  y: number;
  scale: number;
  width: number;
  height: number;
}

/** An abnormal asset, on top of the grey ones with its sign and, where there is room, its label. */
export interface Abnormal {
  id: string;
  x: number;
  y: number;
  rank: number;
  label: string;
}

/** How many of each severity there are at a place; over a district's name, or alone. */
export interface Badge {
  x: number;
  y: number;
  ranks: readonly number[];
  /** it hangs below the name of a district */
  below: boolean;
}

/** What a district is filled with, by its id, and what stands below its name. */
export interface DistrictPaint {
  fill: string;
  alpha: number;
  note: string;
  /** leaves room for a badge */
  badge: boolean;
}

export interface Theme extends BadgeTheme {
  dark: boolean;
  ground: string;
  land: string;
  mountain: string;
  water: string;
  district: string;
  street: string;
  building: string;
  /** five greys for what grows */
  ramp: readonly string[];
  point: string;
  text: string;
  halo: string;
  selected: string;
}

/** Box in Web Mercator: west, north, east, south. */
export type Box = [west: number, north: number, east: number, south: number];

/** What draws the map: WebGL through MapLibre, or a plain canvas where there is no WebGL. */
export interface MapBackend {
  readonly kind: 'webgl' | 'canvas';
  /** what takes the keyboard: focusable, to be given a name */
  readonly canvas: HTMLCanvasElement;
  /** somebody is moving it just now */
  readonly busy: boolean;
  view(): View;
  setTheme(theme: Theme): void;
  setZones(zones: Feature[], paint: ReadonlyMap<string, DistrictPaint>): void;
  /** features with a kind, and names, those with the most room first: see base.ts */
  setBasemap(basemap: FeatureCollection | undefined, names: BaseName[]): void;
  /** what cannot draw tiles does without */
  setTiles(tiles: Tiles | undefined): void;
  /** the points were written between the slots `touched`; null: only what else is shown changed */
  pointsChanged(touched: Touched | null): void;
  setMask(mask: DomainMask): void;
  /** where cameras look: below the points, seen from zoom 13 on */
  setCones(cones: Cone[]): void;
  setAbnormal(items: Abnormal[]): void;
  setBadges(badges: Badge[]): void;
  setSelected(at: { x: number; y: number } | null): void;
  fit(box: Box, animate: boolean): void;
  moveTo(x: number, y: number, minZoom: number, animate: boolean): void;
  zoomBy(steps: number): void;
  /** settles when it has drawn all it has */
  still(): Promise<void>;
  /** draws what has changed now: whoever is in a frame already need not wait for the next */
  paint?(): void;
  resize(): void;
  destroy(): void;
}

export interface BackendOptions {
  container: HTMLElement;
  points: Points;
  theme: Theme;
  start: Box;
  /** the view has moved to another whole zoom level */
  onZoom: () => void;
  /** it has drawn the points as they are */
  onDrawn: () => void;
  /** a click or tap, in CSS px from the container's corner */
  onPick: (px: number, py: number) => void;
  /** it cannot draw after all: another backend must */
  onBroken: (err: unknown) => void;
  /** the graphics context is gone (a driver reset, a GPU process that died): make the map anew */
  onLost: () => void;
}

export const lights: Record<'dark' | 'light', Theme> = {
  light: {
    dark: false,
    ground: '#e5e8eb',
    land: '#f5f5f5',
    mountain: '#ecedee',
    water: '#d3dbe2',
    district: '#929da9',
    street: '#cdd3d9',
    point: '#5c6f82',
    text: '#262626',
    halo: '#ffffff',
    building: '#e3e6e9',
    edge: '#5c6f82',
    ramp: ['#eceff2', '#d5dce3', '#b9c5d0', '#98a8b7', '#75899c'],
    selected: '#0066cc',
  },
  dark: {
    dark: true,
    ground: '#15191d',
    land: '#1d2227',
    mountain: '#21272d',
    water: '#11161b',
    district: '#5c6f82',
    street: '#343c44',
    point: '#929da9',
    text: '#ebeced',
    halo: '#0e1114',
    building: '#272e35',
    edge: '#768594',
    ramp: ['#232a31', '#303b45', '#3f4d5a', '#506273', '#63798d'],
    selected: '#6aaaeb',
  },
};

/** Web Mercator y (0 north) back to degrees. */
export function latitude(y: number): number {
  return (Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) * 360) / Math.PI - 90;
}

export function longitude(x: number): number {
  return x * 360 - 180;
}

/** What a view shows, as a box. */
export function boxOf(v: View): Box {
  const dx = v.width / 2 / v.scale;
  const dy = v.height / 2 / v.scale;
  return [v.x - dx, v.y - dy, v.x + dx, v.y + dy];
}

/** Points' diameter in CSS px by zoom level: small enough to see a street of lamps as one. */
export function pointSize(zoom: number): number {
  const stops = [9, 2, 12, 3, 14, 5, 17, 10];
  if (zoom <= stops[0]) return stops[1];
  for (let i = 2; i < stops.length; i += 2) {
    if (zoom <= stops[i]) {
      const f = (zoom - stops[i - 2]) / (stops[i] - stops[i - 2]);
      return stops[i - 1] + f * (stops[i + 1] - stops[i - 1]);
    }
  }
  return stops[stops.length - 1];
}

/** The zoom from which cones of view are drawn, and how strongly they are filled. */
export const coneZoom = 13;
export const coneAlpha = 0.16;

/** MapLibre's zoom for a scale in px a mercator unit (512 px tiles). */
export const zoomOf = (scale: number) => Math.log2(scale / 512);
