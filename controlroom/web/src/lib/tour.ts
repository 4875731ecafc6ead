/** A place to be visited. */
export interface Stop {
  lat: number;
  lon: number;
}

const radius = 6_371_008; // m

/** Metres from a to b as the crow flies. */
export function metres(a: Stop, b: Stop): number {
  const rad = Math.PI / 180;
  const dLat = (b.lat - a.lat) * rad;
  const dLon = (b.lon - a.lon) * rad;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin(dLon / 2) ** 2;
  return 2 * radius * Math.asin(Math.min(1, Math.sqrt(h)));
}

/**
 * An order to visit the stops in: from the first always to the nearest that is left. It is a proposal for a round,
 * a quarter longer than the best as a rule, along no street. `step` is the way from the stop before, in metres.
 */
export function tour<T extends Stop>(stops: readonly T[]): { stop: T; step: number }[] {
  const left = [...stops];
  const out: { stop: T; step: number }[] = [];
  let at = left.shift();
  let step = 0;
  while (at) {
    out.push({ stop: at, step });
    let best = -1;
    step = Infinity;
    for (let i = 0; i < left.length; i++) {
      const d = metres(at, left[i]);
      if (d < step) [best, step] = [i, d];
    }
    at = best < 0 ? undefined : left.splice(best, 1)[0];
  }
  return out;
}
