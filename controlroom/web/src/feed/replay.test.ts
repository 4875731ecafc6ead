import { describe, expect, it } from 'vitest';
import type { CityEvent, StateItem } from './protocol';
import { Episodes, Refused, Replay, type ReplayStatus, type Stage } from './replay';

const noon = Date.UTC(2026, 10, 1, 12);
const event = (at: number, state: 'raised' | 'cleared', device = 'lamp', severity = 'major'): CityEvent => ({
  id: `${device}${at}`, rule: 'r', severity, state, device, time: new Date(at).toISOString(), text: '', context: { episode: `${device}-1` },
});

/** A city of one lamp that says every minute how many minutes it is past noon. */
function stage(now: number, events: CityEvent[] = []) {
  const s = { clock: now, lamp: undefined as StateItem | undefined, shown: [] as CityEvent[], status: {} as ReplayStatus, asked: 0, broken: false, cameras: [] as string[], noCameras: 0 };
  const it: Stage = {
    forget: () => (s.lamp = undefined),
    apply: (items) => {
      for (const i of items) s.lamp = { ...s.lamp, ...i };
    },
    events: (list) => s.shown.push(...list),
    get: async <T>(path: string, q: Record<string, string | number>) => {
      s.asked++;
      if (s.broken) throw new Error('no database');
      if (path.endsWith('cameras')) {
        s.cameras.push(String(q.at).slice(11, 16));
        if (s.noCameras) throw new Refused('no', s.noCameras);
        return { cameras: [{ id: 'lamp', values: { people_in: '<5' } }] } as T;
      }
      const [from, to] = [Date.parse(String(q.from)), Date.parse(String(q.to))];
      const minute = Math.ceil(to / 60_000 - 1) * 60_000;
      const devices = minute >= from ? [{ id: 'lamp', values: { minutes: (minute - noon) / 60_000 } }] : [];
      return (path.endsWith('changes') ? { devices } : { events: events.filter((e) => Date.parse(e.time) >= from && Date.parse(e.time) < to).reverse() }) as T;
    },
    now: () => s.clock,
    tell: (status) => (s.status = status),
  };
  return { s, it };
}

describe('a replay', () => {
  it('shows the moment, and goes on at its speed', async () => {
    const { s, it } = stage(noon + 7_200_000, [event(noon + 30_000, 'raised'), event(noon + 150_000, 'cleared')]);
    const r = new Replay(it);
    await r.seek(noon + 60_000, 60, true);
    expect(s.status).toMatchObject({ at: noon + 60_000, playing: true, loading: false });
    expect(s.lamp).toMatchObject({ values: { people_in: '<5' }, alarm: 'major' });
    expect(s.cameras).toEqual(['12:01']);
    s.clock += 1000;
    await r.tick();
    expect(s.status.at).toBe(noon + 120_000);
    expect(s.lamp).toMatchObject({ alarm: null }); // two of the reader's seconds ahead
    expect(s.shown.map((e) => e.state)).toEqual(['cleared']);
    const before = s.asked;
    s.clock += 1000;
    await r.tick();
    expect(s.asked).toBe(before); // what was fetched ahead is enough
    expect(s.cameras).toEqual(['12:01', '12:04']); // of the minute that is shown last
    r.play(false, 60);
    s.clock += 1000;
    await r.tick();
    expect(s.status.at).toBe(noon + 180_000);
  });

  it('goes on without cameras for whom they are not, and stops where they cannot be read', async () => {
    const { s, it } = stage(noon + 7_200_000);
    s.noCameras = 403;
    const r = new Replay(it);
    await r.seek(noon, 60, true);
    await r.seek(noon + 600_000, 60, true);
    expect(s.status).toMatchObject({ loading: false, failed: '' });
    expect(s.cameras).toEqual(['12:00']);
    const other = stage(noon + 7_200_000);
    other.s.noCameras = 503;
    await new Replay(other.it).seek(noon, 60, true);
    expect(other.s.status).toMatchObject({ playing: false, failed: 'no' });
  });

  it('ends where the present begins', async () => {
    const { s, it } = stage(noon);
    const r = new Replay(it);
    await r.seek(noon + 3_600_000, 10, true);
    expect(s.status.at).toBe(noon - 15_000);
    await r.tick();
    expect(s.status.playing).toBe(false);
  });

  it('stops and says why where the past cannot be read', async () => {
    const { s, it } = stage(noon + 7_200_000);
    const r = new Replay(it);
    await r.seek(noon, 10, true);
    s.broken = true;
    s.clock += 1000;
    await r.tick();
    expect(s.status).toMatchObject({ at: noon, playing: false, failed: 'no database' });
  });
});

describe('episodes', () => {
  it('make an asset as grave as the gravest that is open', () => {
    const e = new Episodes();
    e.take([event(1, 'raised'), { ...event(2, 'raised', 'lamp', 'warning'), context: { episode: 'other' } }]);
    expect(e.rank('lamp')).toBe(3);
    e.take([event(3, 'cleared')]);
    expect(e.rank('lamp')).toBe(2);
    expect(e.devices).toEqual(['lamp']);
    e.take([{ ...event(4, 'cleared'), context: { episode: 'other' } }]);
    expect(e.rank('lamp')).toBe(0);
    expect(e.devices).toEqual([]);
  });
});
