/** Something abnormal at a place, in Web Mercator. */
export interface Placed {
  x: number;
  y: number;
  rank: number;
}

/** Abnormal assets that stand too near one another to be told apart: how many of each severity. */
export interface Cluster<T extends Placed = Placed> {
  x: number;
  y: number;
  /** by rank; [0] is always 0 */
  ranks: number[];
  members: T[];
}

/**
 * Puts together what lies within `radius` of the gravest of it (mercator units), which keeps its place: so
 * no two stand nearer than that, and a cluster stays where it is while others come and go. Those that stand
 * alone are clusters of one. `items` come gravest first.
 */
export function cluster<T extends Placed>(items: readonly T[], radius: number): Cluster<T>[] {
  const found: Cluster<T>[] = [];
  const cells = new Map<string, Cluster<T>[]>();
  for (const item of items) {
    const column = Math.floor(item.x / radius);
    const row = Math.floor(item.y / radius);
    let nearest: Cluster<T> | undefined;
    let least = radius * radius;
    for (let dx = -1; dx <= 1; dx++) {
      for (let dy = -1; dy <= 1; dy++) {
        for (const c of cells.get(`${column + dx} ${row + dy}`) ?? []) {
          const d2 = (c.x - item.x) ** 2 + (c.y - item.y) ** 2;
          if (d2 >= least) continue;
          least = d2;
          nearest = c;
        }
      }
    }
    if (!nearest) {
      nearest = { x: item.x, y: item.y, ranks: [0, 0, 0, 0, 0], members: [] };
      found.push(nearest);
      const key = `${column} ${row}`;
      const cell = cells.get(key);
      if (cell) cell.push(nearest);
      else cells.set(key, [nearest]);
    }
    nearest.ranks[item.rank]++;
    nearest.members.push(item);
  }
  return found;
}

/** The box of what is in a cluster: west, north, east, south. */
export function reach(members: readonly Placed[]): [number, number, number, number] {
  const xs = members.map((m) => m.x);
  const ys = members.map((m) => m.y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
