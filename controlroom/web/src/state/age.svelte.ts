import type { Feed } from './feed.svelte';

let beat = $state(Date.now());
setInterval(() => (beat = Date.now()), 250);

/** How long ago anything came from the server, ms; null before the first frame. Reactive, four times a second. */
export function feedAge(feed: Feed): number | null {
  const last = feed.health.lastFrame;
  return last === null ? null : Math.max(0, beat - last);
}

/** True after two missed heartbeats: what is shown is no longer the city's present. */
export function feedStill(feed: Feed): boolean {
  const age = feedAge(feed);
  return age !== null && age > 2 * feed.health.heartbeat + 500;
}
