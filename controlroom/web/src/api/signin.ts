const key = 'panormus.signin';
const pause = 30_000; // ms; a server that refuses what it just let in must not make the page turn for ever

/**
 * Nobody is logged in any more: the page is asked for again, and the server sends whoever asks to its login,
 * and from there back here.
 */
export function signIn(): void {
  try {
    if (Date.now() - Number(sessionStorage.getItem(key) ?? 0) < pause) return;
    sessionStorage.setItem(key, String(Date.now()));
  } catch {
    // without a store the reload is not held back
  }
  location.reload();
}
