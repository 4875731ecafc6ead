import { addProtocol, type ExpressionSpecification, type LayerSpecification, type SourceSpecification } from 'maplibre-gl';
import { PMTiles, Protocol } from 'pmtiles';
import type { Theme } from './backend';
import { kindOfLayer, type Tiles } from './base';

const protocol = new Protocol();
addProtocol('pmtiles', protocol.tile);

/** The name of the source of a base map of tiles. */
export const tileSource = 'tiles';

export function sourceOf(tiles: Tiles): SourceSpecification {
  const url = new URL(tiles.url, location.href).href;
  protocol.add(new PMTiles(url));
  return tiles.raster ? { type: 'raster', url: `pmtiles://${url}`, tileSize: 256 } : { type: 'vector', url: `pmtiles://${url}` };
}

type Geometry = 'Polygon' | 'LineString' | 'Point';

/** The layers of a base map of tiles in the theme's greys, whatever schema it has: names say what is water and what a street. */
export function layersOf(tiles: Tiles, t: Theme): LayerSpecification[] {
  if (tiles.raster) {
    // A picture keeps its shapes and gives up its colours: they are for what is abnormal.
    return [{ id: 'tiles', type: 'raster', source: tileSource, paint: { 'raster-saturation': -1, 'raster-opacity': t.dark ? 0.35 : 0.5, 'raster-fade-duration': 0 } }];
  }
  const areas: LayerSpecification[] = [];
  const lines: LayerSpecification[] = [];
  const names: LayerSpecification[] = [];
  const text = { 'text-field': ['coalesce', ['get', 'name:it'], ['get', 'name'], ''] as ExpressionSpecification, 'text-size': 11 };
  const ink = { 'text-color': t.text, 'text-opacity': 0.55, 'text-halo-color': t.land, 'text-halo-width': 1 };
  for (const name of tiles.layers) {
    const kind = kindOfLayer(name);
    const of = (g: Geometry) => ({ source: tileSource, 'source-layer': name, filter: ['==', ['geometry-type'], g] as ['==', ['geometry-type'], Geometry] });
    // Streets have their names in a layer of their own or with them, by the schema.
    if (kind === 'name' || kind === 'street') names.push({ id: `tiles-${name}-along`, type: 'symbol', ...of('LineString'), minzoom: 13.5, layout: { ...text, 'symbol-placement': 'line', 'text-max-angle': 35 }, paint: ink });
    if (kind === 'name') {
      names.push({ id: `tiles-${name}`, type: 'symbol', ...of('Point'), layout: { ...text, 'text-max-width': 8, 'text-padding': 8 }, paint: ink });
      continue;
    }
    if (kind !== 'street' && kind !== 'district') {
      areas.push({ id: `tiles-${name}`, type: 'fill', ...of('Polygon'), minzoom: kind === 'building' ? 13 : 0, paint: { 'fill-color': t[kind] } });
    }
    if (kind === 'district') {
      lines.push({ id: `tiles-${name}-edge`, type: 'line', ...of('Polygon'), paint: { 'line-color': t.street, 'line-width': 0.7 } });
      lines.push({ id: `tiles-${name}`, type: 'line', ...of('LineString'), paint: { 'line-color': t.street, 'line-width': 0.7 } });
    } else if (kind === 'street') {
      lines.push({
        id: `tiles-${name}`,
        type: 'line',
        ...of('LineString'),
        layout: { 'line-cap': 'round', 'line-join': 'round' },
        paint: { 'line-color': t.street, 'line-width': ['interpolate', ['exponential', 1.5], ['zoom'], 10, 0.5, 13, 1.2, 17, 8] },
      });
    } else if (kind === 'water') {
      lines.push({ id: `tiles-${name}-line`, type: 'line', ...of('LineString'), paint: { 'line-color': t.water, 'line-width': 1.2 } });
    }
  }
  return [...areas, ...lines, ...names];
}
