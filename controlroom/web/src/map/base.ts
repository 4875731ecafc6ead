import type { Feature, FeatureCollection } from 'geojson';
import { labelRoom } from '../lib/geo';

/** A base map of tiles: where it is, and what is in it. */
export interface Tiles {
  url: string;
  /** images; else vector tiles */
  raster: boolean;
  /** the names of the layers of vector tiles */
  layers: string[];
}

/** A name of an area or a place, and the zoom from which there is room for it. */
export interface BaseName {
  lon: number;
  lat: number;
  name: string;
  zoom: number;
}

export interface Base {
  geojson: FeatureCollection | undefined;
  /** of areas and places, those with the most room first; lines have their names with them */
  names: BaseName[];
  tiles: Tiles | undefined;
  /** whose data it is, in plain words */
  attribution: string;
}

export const noBase: Base = { geojson: undefined, names: [], tiles: undefined, attribution: '' };

/** How something of a base map is drawn: the greys of the theme have these names. */
export type Kind = 'land' | 'mountain' | 'water' | 'street' | 'district' | 'building' | 'name';

const kinds: readonly Kind[] = ['land', 'mountain', 'water', 'street', 'district', 'building'];

/** What a feature is, by the property kind of our own files, by OpenStreetMap's tags, else by its geometry. */
export function kindOf(f: Feature): Kind | undefined {
  const p = f.properties ?? {};
  const own = kinds.find((k) => k === p.kind);
  if (own) return own;
  const line = /LineString$/.test(f.geometry?.type ?? '');
  const area = /Polygon$/.test(f.geometry?.type ?? '');
  if (!line && !area) return undefined;
  if (p.highway || p.railway) return 'street';
  if (p.waterway || p.water || p.natural === 'water' || p.natural === 'coastline' || p.natural === 'bay') return 'water';
  if (p.building) return 'building';
  if (p.landuse || p.leisure || p.natural) return area ? 'mountain' : undefined;
  if (p.boundary || p.admin_level) return 'district';
  return line ? 'street' : 'land';
}

const mostNames = 5000; // of a file; a city's districts, squares and places are fewer
const nameKeys = ['name:it', 'name', 'nome', 'denominazione', 'denom', 'label', 'toponimo', 'quartiere', 'municipio', 'circoscrizione', 'localita', 'località', 'comune', 'via', 'strada', 'title'];

/** A feature's name, by the properties that open data has it in; '' where it has none. A number alone says what it numbers. */
export function nameOf(f: Feature): string {
  const p = new Map(Object.entries(f.properties ?? {}).map(([k, v]) => [k.toLowerCase(), v]));
  for (const key of nameKeys) {
    const v = p.get(key);
    const name = typeof v === 'number' ? String(v) : typeof v === 'string' ? v.trim().slice(0, 80) : '';
    if (name === '') continue;
    return /^(\d+|[IVX]+)$/.test(name) && key.length > 4 ? `${key[0].toUpperCase()}${key.slice(1)} ${name}` : name;
  }
  return '';
}

// From which zoom places are named that have no extent, by OpenStreetMap's tag.
const placeZooms: Record<string, number> = { city: 8, town: 9, borough: 10, suburb: 11, village: 11, quarter: 12, island: 11, neighbourhood: 13, hamlet: 13 };

/** Where a feature that is no line has its name, if it has one. */
function named(f: Feature): BaseName | undefined {
  const name = nameOf(f);
  if (name === '') return undefined;
  if (f.geometry?.type === 'Point') {
    const [lon, lat] = f.geometry.coordinates;
    return { lon, lat, name, zoom: placeZooms[String(f.properties?.place ?? '')] ?? 14 };
  }
  const room = labelRoom(f.geometry);
  if (!room || room.side === 0) return undefined;
  const width = Math.min(6 * name.length, 80); // px: longer ones are set in lines
  return { lon: room.at[0], lat: room.at[1], name, zoom: Math.log2((width * 360) / (512 * room.side)) };
}

/** The features that are drawn, each with its kind and lines with their name, and the names of the others. */
export function classified(all: FeatureCollection): Pick<Base, 'geojson' | 'names'> {
  const names: BaseName[] = [];
  const features: Feature[] = [];
  for (const f of all.features) {
    const kind = kindOf(f);
    const line = /LineString$/.test(f.geometry?.type ?? '');
    if (kind) features.push({ type: 'Feature', properties: { kind, name: line && kind !== 'district' ? nameOf(f) : '' }, geometry: f.geometry });
    const at = line ? undefined : named(f);
    if (at && at.zoom < 20) names.push(at);
  }
  names.sort((a, b) => a.zoom - b.zoom);
  return { geojson: { type: 'FeatureCollection', features }, names: names.slice(0, mostNames) };
}

// The layers of the schemas that open base maps have: Protomaps, OpenMapTiles, Shortbread.
const schemas: [RegExp, Kind][] = [
  [/place|label|poi|name|address|housenumber/, 'name'],
  [/ocean|water|sea|river/, 'water'],
  [/road|street|transport|rail|path|bridge|tunnel/, 'street'],
  [/building/, 'building'],
  [/bound|admin|district|quartier|circoscri|sezion|section|comun|municip/, 'district'],
  [/^earth$|^land$|coast/, 'land'],
  [/land|park|wood|green|site|natural|mountain/, 'mountain'],
];

/** What a layer of vector tiles holds, by its name; outlines where that says nothing. */
export const kindOfLayer = (name: string): Kind => schemas.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1] ?? 'district';

/** An attribution as text: the files have it in HTML. */
export const plain = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replace(/&copy;/g, '©')
    .replace(/&amp;/g, '&')
    .trim()
    .slice(0, 200);
