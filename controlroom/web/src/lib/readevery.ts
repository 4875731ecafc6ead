/**
 * Reads at once and every so many ms until the function that it returns is called, as an effect wants it. `said` is
 * told in words why a reading failed, and '' of one that did not.
 */
export function readEvery(ms: number, read: (signal: AbortSignal) => Promise<void>, said: (failed: string) => void): () => void {
  const abort = new AbortController();
  const turn = async () => {
    try {
      await read(abort.signal);
      said('');
    } catch (err) {
      if (!abort.signal.aborted) said(err instanceof Error ? err.message : String(err));
    }
  };
  void turn();
  const timer = setInterval(() => void turn(), ms);
  return () => {
    abort.abort();
    clearInterval(timer);
  };
}
