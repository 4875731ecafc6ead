// What is made of the radio's figures: which of them want a look, and in which order they are listed.
import type { Gateway } from '../api/client';
import type { Lang } from '../i18n/translate';
import { measure } from './format';

const minute = 60_000;

/** The rank of a silence: an hour is a warning, six hours or nothing at all in the window is major. */
export function silenceRank(seen: string | null, now: number): 0 | 2 | 3 {
  if (seen === null) return 3;
  const age = now - Date.parse(seen);
  return age > 360 * minute ? 3 : age > 60 * minute ? 2 : 0;
}

/** The rank of a share lost: a twentieth is worth knowing, a tenth a warning, three tenths major. */
export function lossRank(loss: number | null): 0 | 1 | 2 | 3 {
  if (loss === null || loss < 0.05) return 0;
  return loss < 0.1 ? 1 : loss < 0.3 ? 2 : 3;
}

export interface RadioState {
  rank: 0 | 1 | 2 | 3;
  key: 'radio.state.0' | 'radio.state.silent' | 'radio.state.lossy';
}

/** The graver of the two; of equals silence, which explains the rest. */
export function gatewayState(g: Pick<Gateway, 'seen' | 'loss'>, now: number): RadioState {
  const silent = silenceRank(g.seen, now);
  const lossy = lossRank(g.loss);
  if (silent === 0 && lossy === 0) return { rank: 0, key: 'radio.state.0' };
  return silent >= lossy ? { rank: silent, key: 'radio.state.silent' } : { rank: lossy, key: 'radio.state.lossy' };
}

export type GatewaySort = 'state' | 'id' | 'seen' | 'uplinks' | 'devices' | 'rssi_dbm' | 'snr_db' | 'loss';

/** A sorted copy. What is not known stands last in either direction; equals are in order of name. */
export function sortGateways(list: readonly Gateway[], by: GatewaySort, descending: boolean, now: number): Gateway[] {
  const name = (g: Gateway) => g.name || g.id;
  const place = (g: Gateway): number | null => {
    if (by === 'state') return gatewayState(g, now).rank;
    if (by === 'seen') return g.seen === null ? null : Date.parse(g.seen);
    return by === 'id' ? 0 : g[by];
  };
  const sign = descending ? -1 : 1;
  return [...list].sort((a, b) => {
    const [x, y] = [place(a), place(b)];
    if (x !== y) {
      if (x === null) return 1;
      if (y === null) return -1;
      return sign * (x - y);
    }
    return (by === 'id' ? sign : 1) * (name(a).localeCompare(name(b)) || a.id.localeCompare(b.id));
  });
}

/** A share as a percentage, one decimal below ten: 3,4 %. A dash where there is none. */
export function percent(lang: Lang, share: number | null): string {
  if (share === null) return '–';
  const p = share * 100;
  return `${measure(lang, p < 10 ? Math.round(p * 10) / 10 : Math.round(p))} %`;
}

/** A number with its unit, one decimal; a dash where there is none. */
export function withUnit(lang: Lang, v: number | null, unit: string): string {
  return v === null ? '–' : `${measure(lang, Math.round(v * 10) / 10)} ${unit}`;
}

/** Time on air in the unit a person would say. */
export function airtime(lang: Lang, ms: number): string {
  if (ms < 1000) return `${measure(lang, Math.round(ms))} ms`;
  if (ms < 100 * 1000) return `${measure(lang, Math.round(ms / 100) / 10)} s`;
  return `${measure(lang, Math.round(ms / 6000) / 10)} min`;
}

/** "SF9BW125" is SF 9; other names stay. */
export function spreading(rate: string): string {
  const m = /^SF(\d+)BW\d+$/.exec(rate);
  return m ? `SF ${m[1]}` : rate;
}
