import type { BinaryBody } from './binary';
import { inOrder, mercatorX, mercatorY, type DomainCount, type Patch } from './table';

/**
 * What is shown of a first snapshot before its assets are made: where they are, how grave, how many. Its patches are those
 * of an empty AssetTable that takes the same pages, where no asset is in them twice.
 */
export class FirstView {
  #ids: string[] = [];
  #xy: number[] = [];
  #ranks: number[] = [];
  #domainOf: number[] = [];
  #domains: string[] = [];
  #counts: DomainCount[] = [];
  #sent = 0;

  get size(): number {
    return this.#ids.length;
  }

  /** Something was not told by a patch. */
  get dirty(): boolean {
    return this.#sent < this.size;
  }

  /** Takes a page. Throws RangeError where it is cut short. */
  add(page: BinaryBody): void {
    let domain = '';
    let at = -1;
    page.places((id, of, lat, lon, rank) => {
      if (at < 0 || of !== domain) [domain, at] = [of, this.#domain(of)];
      this.#ids.push(id);
      this.#xy.push(mercatorX(lon), mercatorY(lat));
      this.#ranks.push(rank);
      this.#domainOf.push(Math.min(at, 254));
      this.#counts[at].total++;
      this.#counts[at].ranks[rank]++;
    });
  }

  /** What was added since the last call, or null. */
  patch(): Patch | null {
    if (!this.dirty) return null;
    const from = this.#sent;
    this.#sent = this.size;
    const slots = Uint32Array.from({ length: this.size - from }, (_, i) => from + i);
    return {
      slots,
      xy: new Float64Array(this.#xy.slice(2 * from)),
      severity: new Uint8Array(this.#ranks.slice(from)),
      domain: new Uint8Array(this.#domainOf.slice(from)),
      named: slots.slice(),
      ids: this.#ids.slice(from).join('\n'),
      domains: this.#domains.slice(0, 255),
      counts: inOrder(this.#counts),
      size: this.size,
    };
  }

  #domain(name: string): number {
    const at = this.#domains.indexOf(name);
    if (at >= 0) return at;
    this.#counts.push({ domain: name, total: 0, ranks: [0, 0, 0, 0, 0] });
    return this.#domains.push(name) - 1;
  }
}
