import { api, type Camera } from '../api/client';
import type { Lang } from '../i18n/translate';
import { me } from './me.svelte';

const every = 15_000;

/** The cameras as the API lists them, read again as long as anybody looks; one list for the map and the view. */
class Cameras {
  list = $state.raw<Camera[] | undefined>();
  failed = $state('');
  #titles = $state.raw<Map<string, Record<string, string>>>(new Map());
  #asked = false;
  #watchers = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Keeps the list fresh until the returned function is called. */
  watch(): () => void {
    if (!me.may('cameras.read')) return () => {};
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

  /** A purpose in words, as its policy has them; else its id. */
  purpose(id: string, lang: Lang): string {
    if (!this.#asked && me.may('purposes.read')) {
      this.#asked = true;
      api.purposes().then(
        (found) => (this.#titles = new Map(found.map((p) => [p.id, p.title ?? {}]))),
        () => {}, // ids do
      );
    }
    return this.#titles.get(id)?.[lang] || id || '–';
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
