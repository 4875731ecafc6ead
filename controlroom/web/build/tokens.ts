import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

const declaration = /^\s*(--it-[\w-]+):([^;]*);.*$/gm;
const use = /var\((--it-[\w-]+)/g;

/** Keeps of the design tokens (600 of them) those that the page's sources use, and those they are made of. */
export function usedTokens(src: string): Plugin {
  return {
    name: 'used-tokens',
    enforce: 'pre',
    apply: 'build',
    transform: {
      filter: { id: /design-tokens-italia\/.*\.css$/ },
      handler(css) {
        const values = new Map([...css.matchAll(declaration)].map(([, name, value]) => [name, value]));
        const used = new Set<string>();
        const take = (text: string) => {
          for (const [, name] of text.matchAll(use)) {
            const value = values.get(name);
            if (value === undefined) this.error(`${name} is no design token`);
            if (used.has(name)) continue;
            used.add(name);
            take(value);
          }
        };
        for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
          if (entry.isFile() && /\.(svelte|css|ts)$/.test(entry.name)) take(readFileSync(join(entry.parentPath, entry.name), 'utf8'));
        }
        return { code: css.replace(declaration, (line, name: string) => (used.has(name) ? line : '')), map: null };
      },
    },
  };
}
