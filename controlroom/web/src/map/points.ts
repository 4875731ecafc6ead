import type { Patch } from '../feed/table';

/** The slots a patch touched, first and last included; null for none. */
export interface Touched {
  from: number;
  to: number;
}

/**
 * The live set as the map draws it: a column a property, a row a slot, written in place by patches.
 * Positions are Web Mercator, 0 to 1; NaN is not on the map.
 */
export class Points {
  x = new Float64Array(1024).fill(NaN);
  y = new Float64Array(1024).fill(NaN);
  severity = new Uint8Array(1024);
  domain = new Uint8Array(1024);
  /** slots in use are below this */
  length = 0;
  domains: string[] = [];
  /** slots that are not normal */
  readonly abnormal = new Set<number>();
  #ids: string[] = [];
  #slots = new Map<string, number>();
  #unnamed: Pick<Patch, 'named' | 'ids'>[] = []; // names that nobody has asked for yet: the first drawing needs none

  /** by slot */
  get ids(): readonly string[] {
    this.#name();
    return this.#ids;
  }

  slotOf(id: string): number | undefined {
    this.#name();
    return this.#slots.get(id);
  }

  #name(): void {
    if (this.#unnamed.length === 0) return;
    for (const { named, ids } of this.#unnamed.splice(0)) {
      const list = ids.split('\n');
      for (let i = 0; i < named.length; i++) {
        const slot = named[i];
        const id = list[i];
        const old = this.#ids[slot];
        if (old && this.#slots.get(old) === slot) this.#slots.delete(old);
        this.#ids[slot] = id;
        if (id) this.#slots.set(id, slot);
      }
    }
  }

  apply(patch: Patch): Touched | null {
    this.domains = patch.domains;
    if (patch.named.length > 0 && this.#unnamed.push({ named: patch.named, ids: patch.ids }) > 16) this.#name();
    if (patch.slots.length === 0) return null;
    let from = Infinity;
    let to = -1;
    for (let i = 0; i < patch.slots.length; i++) {
      const slot = patch.slots[i];
      if (slot < from) from = slot;
      if (slot > to) to = slot;
    }
    this.#grow(to + 1);
    for (let i = 0; i < patch.slots.length; i++) {
      const slot = patch.slots[i];
      this.x[slot] = patch.xy[2 * i];
      this.y[slot] = patch.xy[2 * i + 1];
      this.severity[slot] = patch.severity[i];
      this.domain[slot] = patch.domain[i];
      if (patch.severity[i] > 0) this.abnormal.add(slot);
      else this.abnormal.delete(slot);
    }
    this.length = Math.max(this.length, to + 1);
    return { from, to };
  }

  /**
   * The slot nearest to a place, within `radius` (mercator units); abnormal ones win over normal ones,
   * as they are drawn on top. Only domains in the mask count.
   */
  nearest(x: number, y: number, radius: number, mask: DomainMask): number | null {
    let best: number | null = null;
    let bestScore = Infinity;
    const r2 = radius * radius;
    for (let i = 0; i < this.length; i++) {
      const dx = this.x[i] - x;
      const dy = this.y[i] - y;
      const d2 = dx * dx + dy * dy;
      if (!(d2 <= r2) || !mask.has(this.domain[i])) continue;
      const score = d2 / r2 - (this.severity[i] > 0 ? 1 + this.severity[i] : 0);
      if (score < bestScore) {
        bestScore = score;
        best = i;
      }
    }
    return best;
  }

  /**
   * The box that holds them all, but for what lies far outside the box of nearly all: a stray position must
   * not zoom the city away. Null for none.
   */
  bounds(): [west: number, north: number, east: number, south: number] | null {
    const xs: number[] = [];
    const ys: number[] = [];
    for (let i = 0; i < this.length; i++) {
      if (this.x[i] === this.x[i]) {
        xs.push(this.x[i]);
        ys.push(this.y[i]);
      }
    }
    if (xs.length === 0) return null;
    xs.sort((a, b) => a - b);
    ys.sort((a, b) => a - b);
    const [west, east] = core(xs);
    const [north, south] = core(ys);
    return [west, north, east, south];
  }

  #grow(size: number): void {
    if (size <= this.x.length) return;
    const capacity = Math.max(size, this.x.length * 2);
    const x = new Float64Array(capacity).fill(NaN);
    const y = new Float64Array(capacity).fill(NaN);
    const severity = new Uint8Array(capacity);
    const domain = new Uint8Array(capacity);
    x.set(this.x);
    y.set(this.y);
    severity.set(this.severity);
    domain.set(this.domain);
    Object.assign(this, { x, y, severity, domain });
  }
}

/** The range of sorted numbers without those that lie a fifth of it beyond where 99 % are. */
function core(sorted: number[]): [number, number] {
  const skip = Math.floor(sorted.length * 0.005);
  const low = sorted[skip];
  const high = sorted[sorted.length - 1 - skip];
  const margin = (high - low) * 0.2;
  return [sorted.find((v) => v >= low - margin) ?? low, sorted.findLast((v) => v <= high + margin) ?? high];
}

/** Which of up to 256 domains are shown: a bit each, as the shader takes it. */
export class DomainMask {
  readonly words = new Uint32Array(8);

  static all(): DomainMask {
    const m = new DomainMask();
    m.words.fill(0xffffffff);
    return m;
  }

  static only(index: number): DomainMask {
    const m = new DomainMask();
    if (index >= 0) m.words[index >> 5] = 1 << (index & 31);
    return m;
  }

  /** The same without one. */
  without(index: number): DomainMask {
    const m = new DomainMask();
    m.words.set(this.words);
    if (index >= 0) m.words[index >> 5] &= ~(1 << (index & 31));
    return m;
  }

  has(index: number): boolean {
    return (this.words[index >> 5] & (1 << (index & 31))) !== 0;
  }
}
