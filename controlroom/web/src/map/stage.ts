import { boxOf, type BackendOptions, type Box, type MapBackend, type Theme } from './backend';
import { CanvasMap } from './canvas-map';

const mostWait = 10_000; // ms for the better map to draw
const mostRest = 2_000; // ms
const again = 1_000; // ms after a context was lost
const inHand = 250; // ms until somebody who moves the map is looked at again

export interface StageOptions extends Pick<BackendOptions, 'points' | 'onPick' | 'onZoom' | 'onDrawn'> {
  host: HTMLElement;
  theme: () => Theme;
  start: Box;
  /** the city is there; it is looked at when something was drawn */
  whole: () => boolean;
  /** not even where there is WebGL */
  canvasOnly: boolean;
  /** `backend` is the map from here on */
  use: (backend: MapBackend) => void;
  /** whether the map that is there will stay, and has drawn what it has */
  onSettled: (settled: boolean) => void;
}

const pause = () => new Promise((resolve) => setTimeout(resolve, inHand));

/** Settles when what was drawn is on the screen and there is nothing more urgent to do. */
const rest = () =>
  new Promise<void>((resolve) =>
    requestAnimationFrame(() => {
      if (typeof requestIdleCallback === 'function') requestIdleCallback(() => resolve(), { timeout: mostRest });
      else setTimeout(resolve, inHand);
    }),
  );

/**
 * Puts the map on the screen: on a canvas at once, which needs no code, context or thread that is still to come, and then
 * by WebGL, which looks the same, beneath the canvas until it has drawn. A context that is lost, or none to be had, is the
 * canvas again. What was chosen stays in view throughout.
 */
export class Stage {
  readonly #o: StageOptions;
  #backend: MapBackend;
  #gone = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** settles when the canvas has drawn the city: all else waits for that */
  #drawn: Promise<void>;

  constructor(options: StageOptions) {
    this.#o = options;
    let tell = () => {};
    this.#drawn = new Promise((resolve) => {
      tell = resolve;
    });
    this.#backend = new CanvasMap({
      ...this.#options(options.start),
      onDrawn: () => {
        options.onDrawn();
        if (options.whole()) tell();
      },
    });
    options.use(this.#backend);
    options.onSettled(options.canvasOnly);
    if (!options.canvasOnly) void this.#better();
  }

  destroy(): void {
    this.#gone = true;
    clearTimeout(this.#timer);
    this.#backend.destroy();
  }

  #options(start: Box): BackendOptions {
    const { host, points, onPick, onZoom, onDrawn } = this.#o;
    const container = document.createElement('div');
    container.className = 'map-layer';
    host.prepend(container); // below what is there
    return { container, points, start, theme: this.#o.theme(), onPick, onZoom, onDrawn, onBroken: (err) => this.#back(err), onLost: () => this.#lost() };
  }

  async #better(): Promise<void> {
    await this.#drawn;
    await rest();
    let made: MapBackend;
    try {
      const { GlMap } = await import('./gl-map');
      while (this.#backend.busy && !this.#gone) await pause();
      if (this.#gone) return;
      // It throws where there is no WebGL: a context made only to see whether there is one costs as much as the map's.
      made = new GlMap(this.#options(boxOf(this.#backend.view())));
    } catch (err) {
      console.warn('map: no WebGL, drawing on a canvas:', err);
      this.#o.onSettled(true);
      return;
    }
    const old = this.#swap(made);
    // What is seen stays until the new one has drawn; what is done is done to the new one.
    old.canvas.style.pointerEvents = 'none';
    // Signs and names come last: without the canvas there would be a map for a while that shows nothing abnormal.
    let still = false;
    const drawn = made.still().then(() => (still = true));
    const end = performance.now() + mostWait;
    while (!still && !this.#gone && this.#backend === made && !made.busy && performance.now() < end) await Promise.race([drawn, pause()]);
    old.destroy();
    if (this.#backend === made) this.#o.onSettled(true);
  }

  /** The map from here on; the one before is returned, still on the screen. */
  #swap(made: MapBackend): MapBackend {
    const old = this.#backend;
    const focused = document.activeElement === old.canvas;
    this.#backend = made;
    this.#o.use(made);
    if (focused) made.canvas.focus({ preventScroll: true });
    return old;
  }

  #canvas(settled: boolean): void {
    if (this.#gone) return;
    this.#swap(new CanvasMap(this.#options(boxOf(this.#backend.view())))).destroy();
    this.#o.onSettled(settled);
  }

  /** WebGL cannot draw after all. */
  #back(err: unknown): void {
    console.warn('map: drawing on a canvas:', err);
    this.#canvas(true);
  }

  /** The graphics context is gone: the canvas draws until there is another. */
  #lost(): void {
    this.#canvas(false);
    this.#drawn = new Promise((resolve) => (this.#timer = setTimeout(resolve, again)));
    void this.#better();
  }
}
