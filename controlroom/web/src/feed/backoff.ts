/**
 * Pauses between attempts: they double from `base` to `cap` milliseconds, and each is drawn at random
 * from the upper half of its step, so that a thousand pages cut off together do not come back together.
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly base: number,
    private readonly cap: number,
    private readonly random: () => number = Math.random,
  ) {}

  next(): number {
    const step = Math.min(this.cap, this.base * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 30);
    return step / 2 + (step / 2) * this.random();
  }

  reset(): void {
    this.#attempt = 0;
  }
}
