import type { FromWorker } from './messages';

/** The feed's thread. It begins with the page's first script, and takes the city in while the rest of the page comes. */
export const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'feed' });

// A worker's messages do not wait for a listener: until the page is there they are kept.
const early: FromWorker[] = [];
worker.onmessage = (m: MessageEvent<FromWorker>) => early.push(m.data);

/** From here on fn is told; first what has come already. */
export function listen(fn: (message: FromWorker) => void): void {
  worker.onmessage = (m: MessageEvent<FromWorker>) => fn(m.data);
  for (const message of early.splice(0)) fn(message);
}
