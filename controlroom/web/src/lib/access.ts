import type { View } from './route';

/** Who has the page open, as GET /api/v1/me tells it. */
export interface Who {
  name: string;
  role: string;
  /** null: the whole city */
  scope: { areas?: { domain?: string; zone?: string }[]; rules?: string[]; cameras?: string[] } | null;
  /** RFC 3339; null: never */
  expires: string | null;
  /** open: nobody has to say who they are */
  via: 'open' | 'token' | 'session';
  permissions: string[];
}

/** What something asks of whoever wants it: a permission, and whether it is refused to those who see a part of the city. */
export interface Need {
  permission: string;
  whole?: boolean;
}

/** Topics of the feed. */
export const topics = ['state', 'events', 'alarms', 'stats'] as const;
export type Topic = (typeof topics)[number];

// The same as the table of package auth, which has the last word: what is asked without leave is refused there.
const topicNeeds: Record<Topic, string> = { state: 'state.read', events: 'events.read', alarms: 'alarms.read', stats: 'state.read' };

export const viewNeeds: Record<View, Need> = {
  map: { permission: 'map.read' },
  table: { permission: 'state.read' },
  domains: { permission: 'state.read' },
  alarms: { permission: 'alarms.read' },
  health: { permission: 'alarms.read' },
  rules: { permission: 'rules.read' },
  cameras: { permission: 'cameras.read' },
  radio: { permission: 'radio.read', whole: true },
  system: { permission: 'metrics.read', whole: true },
  statement: { permission: 'self' },
};

export function may(who: Who | null, permission: string, whole = false): boolean {
  return who !== null && who.permissions.includes(permission) && (!whole || who.scope === null);
}

export const topicsOf = (who: Who): Topic[] => topics.filter((t) => may(who, topicNeeds[t]));

/** Whether somebody is let do as before; if not, the page is made anew. */
export const sameAccess = (a: Who, b: Who): boolean =>
  a.name === b.name && a.role === b.role && JSON.stringify(a.scope) === JSON.stringify(b.scope) && a.permissions.join() === b.permissions.join();
