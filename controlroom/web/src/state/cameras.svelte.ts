import { api, type Camera } from '../api/client';

const every = 15_000;

/** The cameras as the API lists them, read again as long as anybody looks; one list for the map and the view. */
class Cameras {
  list = $state.raw<Camera[] | undefined>();
  failed = $state('');
  #watchers = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Keeps the list fresh until the returned function is called. */
  watch(): () => void {
    if (this.#watchers++ === 0) {
      this.#abort = new AbortController();
      void this.#read();
      this.#timer = setInterval(() => void this.#read(), every);
    }
    return () => {
      if (--this.#watchers > 0) return;
      clearInterval(this.#timer);
      this.#abort.abort();
    };
  }

  async #read(): Promise<void> {
    const { signal } = this.#abort;
    try {
      this.list = await api.cameras(signal);
      this.failed = '';
    } catch (err) {
      if (!signal.aborted) this.failed = err instanceof Error ? err.message : String(err);
    }
  }
}

export const cameras = new Cameras();
