import { get } from '../api/client';
import { may, sameAccess, type Who } from '../lib/access';

/** Who has the page open and what they may do; what they may not is not shown. The server decides, the page only spares the attempt. */
class Me {
  /** null until the server said, which the feed's thread asks */
  who = $state.raw<Who | null>(null);
  #asking = false;

  /** Asks again: a connection has ended, perhaps because the session has. One that may do other things gets the page anew. */
  async check(): Promise<void> {
    if (this.#asking || this.who === null) return;
    this.#asking = true;
    try {
      const now = await get<Who>('/api/v1/me');
      if (!sameAccess(this.who, now)) location.reload();
    } catch {
      // signed out: get has seen to it; else the connection is what is broken
    } finally {
      this.#asking = false;
    }
  }

  /** whole: what tells of the whole city, and is refused to those who see a part of it */
  may(permission: string, whole = false): boolean {
    return may(this.who, permission, whole);
  }
}

export const me = new Me();
