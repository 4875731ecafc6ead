import type { View } from '../lib/route';

// The city's map and what stands around it is what most open; what else there is comes when it is asked for, so that
// the first view does not wait for it.
export type Rest = typeof import('./rest');
export type Part = keyof Rest;

/** The views beside the map. */
export const views: Record<Exclude<View, 'map'>, Part> = {
  table: 'AssetTable',
  domains: 'DomainsView',
  alarms: 'AlarmsView',
  health: 'AlarmHealth',
  rules: 'RulesView',
  cameras: 'CamerasView',
  radio: 'RadioView',
  system: 'SystemView',
  statement: 'Statement',
};

export const rest = (): Promise<Rest> => import('./rest');

const calm = 10_000; // ms after the page has begun

/** Brings the rest once the first view is there: a page that is open all day must not need the server of this morning. */
export function bring(): void {
  // What cannot be had now is asked for again when it is shown.
  setTimeout(() => void rest().catch(() => undefined), calm);
}
