import { PMTiles, TileType } from 'pmtiles';
import { noBase, plain, type Base } from './base';

/** What a PMTiles file has in it, from its header and metadata. */
export async function describe(path: string): Promise<Base> {
  const file = new PMTiles(new URL(path, location.href).href);
  const [{ tileType }, about] = [await file.getHeader(), (await file.getMetadata()) as { attribution?: string; vector_layers?: { id: string }[] } | undefined];
  const layers = (about?.vector_layers ?? []).map((l) => l.id);
  return { ...noBase, tiles: { url: path, raster: tileType !== TileType.Mvt, layers }, attribution: plain(about?.attribution ?? '') };
}
