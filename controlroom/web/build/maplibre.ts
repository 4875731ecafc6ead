import { fileURLToPath } from 'node:url';
import { transformWithOxc, type Plugin } from 'vite';

const source = (path: string) => fileURLToPath(new URL(`../node_modules/maplibre-gl/src/${path}`, import.meta.url));
const registers = /^register\(/m;
const inSource = /node_modules\/maplibre-gl\/src\//;

/**
 * Builds MapLibre from its sources. Its ready-made bundles hold the same 264 modules twice, once for the page and
 * once for its worker; built here, both share one chunk, and the controls the page does not use are left out.
 */
export function maplibre(): Plugin {
  const map = source('index.ts');
  const worker = source('source/worker.ts');
  const url = '\0maplibre-worker-url';
  let reference = '';
  return {
    name: 'maplibre-from-source',
    apply: 'build',
    enforce: 'pre',
    buildStart() {
      reference = this.emitFile({ type: 'chunk', id: worker, name: 'map-worker' });
    },
    resolveId(id) {
      if (id === 'maplibre-gl') return map;
      if (id === 'maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url') return url;
      return undefined;
    },
    load(id) {
      return id === url ? `export default import.meta.ROLLUP_FILE_URL_${reference};` : undefined;
    },
    transform: {
      filter: { id: inSource },
      async handler(code, id) {
        // Its classes declare fields that a parent's constructor has set: they are types alone, and no fields.
        const js = await transformWithOxc(code, id, {
          typescript: { removeClassFieldsWithoutInitializer: true },
          assumptions: { setPublicClassFields: true },
        });
        // The package marks every source as having effects. Those with one that others wait for are the worker, which
        // starts itself, and the classes that name themselves for the way between page and worker.
        return { code: js.code, map: null, moduleSideEffects: id === worker || registers.test(code) };
      },
    },
  };
}
