import type { Feature, FeatureCollection } from 'geojson';

/** A base map of tiles: where it is, and what is in it. */
export interface Tiles {
  url: string;
  /** images; else vector tiles */
  raster: boolean;
  /** the names of the layers of vector tiles */
  layers: string[];
}

export interface Base {
  geojson: FeatureCollection | undefined;
  tiles: Tiles | undefined;
  /** whose data it is, in plain words */
  attribution: string;
}

export const noBase: Base = { geojson: undefined, tiles: undefined, attribution: '' };

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

/** The features that are drawn, each with its kind; others are left out. */
export function classified(all: FeatureCollection): FeatureCollection {
  const features = all.features.flatMap((f): Feature[] => {
    const kind = kindOf(f);
    return kind ? [{ ...f, properties: { kind } }] : [];
  });
  return { type: 'FeatureCollection', features };
}

// The layers of the schemas that open base maps have: Protomaps, OpenMapTiles, Shortbread.
const named: [RegExp, Kind][] = [
  [/place|label|poi|name|address|housenumber/, 'name'],
  [/ocean|water|sea|river/, 'water'],
  [/road|street|transport|rail|path|bridge|tunnel/, 'street'],
  [/building/, 'building'],
  [/bound|admin|district|quartier|circoscri|sezion|section|comun|municip/, 'district'],
  [/^earth$|^land$|coast/, 'land'],
  [/land|park|wood|green|site|natural|mountain/, 'mountain'],
];

/** What a layer of vector tiles holds, by its name; outlines where that says nothing. */
export const kindOfLayer = (name: string): Kind => named.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1] ?? 'district';

/** An attribution as text: the files have it in HTML. */
export const plain = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replace(/&copy;/g, '©')
    .replace(/&amp;/g, '&')
    .trim()
    .slice(0, 200);
