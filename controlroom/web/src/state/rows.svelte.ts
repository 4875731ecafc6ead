import type { Row, RowQuery } from '../feed/table';
import { app } from './app.svelte';

/** A window of the assets from the feed's thread: asked for once a second, and at once when the question changes. To be made where an effect may be. */
export class LiveRows {
  rows = $state.raw<Row[]>([]);
  total = $state(0);
  /** the whole city has come: what is told is not the beginning of it */
  ready = $state(false);

  constructor(query: () => RowQuery) {
    $effect(() => {
      const q = $state.snapshot(query()) as RowQuery;
      void app.now;
      let stale = false;
      void app.feed.rows(q).then((answer) => {
        if (stale) return;
        this.rows = answer.rows;
        this.total = answer.total;
        this.ready ||= app.feed.health.ready || app.feed.replay?.loading === false;
      });
      return () => (stale = true);
    });
  }
}
