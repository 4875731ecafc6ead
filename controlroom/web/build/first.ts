import type { Plugin } from 'vite';

const fonts = /titillium-web-.*latin-(600|regular)-[\w-]+\.woff2$/;

/**
 * Names in the HTML what the first view needs and the first script asks for later: the page's own code (`start`), its
 * styles, and the fonts. The browser fetches them at once, beside the first script instead of after it.
 */
export function firstView(start: string): Plugin {
  return {
    name: 'first-view',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(_html, { bundle }) {
        const files = Object.values(bundle ?? {});
        const chunk = files.find((f) => f.type === 'chunk' && f.facadeModuleId === start);
        if (chunk?.type !== 'chunk') throw new Error(`no chunk begins with ${start}`);
        const styles = [...(chunk.viteMetadata?.importedCss ?? [])];
        const link = (attrs: Record<string, string | boolean>) => ({ tag: 'link', attrs, injectTo: 'head' as const });
        return [
          ...[chunk.fileName, ...chunk.imports].map((name) => link({ rel: 'modulepreload', crossorigin: true, href: `/${name}` })),
          ...styles.map((href) => link({ rel: 'stylesheet', crossorigin: true, href: `/${href}` })),
          ...files.filter((f) => fonts.test(f.fileName)).map((f) => link({ rel: 'preload', as: 'font', type: 'font/woff2', crossorigin: true, href: `/${f.fileName}` })),
        ];
      },
    },
  };
}
