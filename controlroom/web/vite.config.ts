import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { firstView } from './build/first.ts';
import { maplibre } from './build/maplibre.ts';
import { usedTokens } from './build/tokens.ts';

// During `npm run dev` everything that is not the page comes from a running panormus (or `npm run mock`).
const backend = process.env.PANORMUS_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [maplibre(), usedTokens(join(import.meta.dirname, 'src')), firstView(join(import.meta.dirname, 'src/start.ts')), svelte()],
  build: {
    outDir: 'dist',
    // dist/.gitkeep stays: the Go package embeds the folder even where the page is not built.
    emptyOutDir: false,
    target: 'es2022',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  server: {
    proxy: {
      '/api': backend,
      '/map': backend,
      '/metrics': backend,
      '/ws': { target: backend, ws: true },
    },
  },
  test: {
    include: ['src/**/*.test.ts'],
    environment: 'node',
    testTimeout: 60_000, // a bound for what hangs: a slow machine is no fault
  },
});
