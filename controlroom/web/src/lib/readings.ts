import type { Reading } from '../api/client';

/** How many readings there are to doubt, by the reason, the most first. */
export function doubtful(readings: readonly Reading[]): { quality: string; n: number }[] {
  const found = new Map<string, number>();
  for (const r of readings) for (const q of r.quality) found.set(q, (found.get(q) ?? 0) + 1);
  return [...found].map(([quality, n]) => ({ quality, n })).sort((a, b) => b.n - a.n || a.quality.localeCompare(b.quality));
}
