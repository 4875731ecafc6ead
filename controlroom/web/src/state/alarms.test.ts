import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Alarm } from '../api/alarms';
import { Alarms } from './alarms.svelte';

const alarm = (id: string, rev = 1): Alarm => ({ id, rule: 'r', key: id, severity: 'major', state: 'unacked', raised: '2026-01-31T10:00:00.000Z', cleared: null, count: 1, rev });

/** A server that answers when the test says so. */
const soon = (holds: () => void) => vi.waitFor(holds, { timeout: 50_000, interval: 5 });
let answer: (status: number, body: unknown) => void;
let asked: { url: string; body: Record<string, unknown> }[];

beforeEach(() => {
  asked = [];
  vi.stubGlobal('fetch', (url: string, init: { body: string }) => {
    asked.push({ url, body: JSON.parse(init.body) as Record<string, unknown> });
    return new Promise<Response>((resolve) => (answer = (status, body) => resolve(new Response(JSON.stringify(body), { status }))));
  });
});
afterEach(() => vi.unstubAllGlobals());

describe('an action', () => {
  it('shows at once, with the rev that was seen, and then as the server has it', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a')], true);
    const done = alarms.act(['a'], { action: 'ack', note: 'on it' });
    expect(alarms.open.get('a')?.state).toBe('acked');
    expect(alarms.waiting).toBe(0);
    expect(asked).toEqual([{ url: '/api/v1/alarms/a/ack', body: { note: 'on it', rev: 1 } }]);
    answer(200, { ...alarm('a', 2), state: 'acked', acked_by: 'anna' });
    await done;
    expect(alarms.open.get('a')).toMatchObject({ acked_by: 'anna', rev: 2 });
    expect(alarms.underWay).toBe(0);
  });

  it('that came too late shows the alarm as it is and can be tried again', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a')], true);
    const done = alarms.act(['a'], { action: 'ack' });
    answer(409, { title: 'Conflict', detail: 'rev 1 is stale', current: { ...alarm('a', 5), severity: 'critical' } });
    await done;
    expect(alarms.open.get('a')).toMatchObject({ state: 'unacked', severity: 'critical', rev: 5 });
    expect(alarms.conflicts).toHaveLength(1);
    const again = alarms.again(alarms.conflicts[0]);
    expect(asked[1].body).toEqual({ rev: 5 });
    answer(200, { ...alarm('a', 6), state: 'acked' });
    await again;
    expect(alarms.conflicts).toEqual([]);
    expect(alarms.open.get('a')?.state).toBe('acked');
  });

  it('that fails is taken back and said', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a')], true);
    const done = alarms.act(['a'], { action: 'ack' });
    answer(503, { title: 'Not available', detail: '' });
    await done;
    expect(alarms.open.get('a')?.state).toBe('unacked');
    expect(alarms.failed).toBe('Not available');
  });

  it('on very many is one request, and each is told what came of it', async () => {
    const alarms = new Alarms();
    const ids = Array.from({ length: 60 }, (_x, i) => `a${i}`);
    alarms.take(ids.map((id) => alarm(id)), true);
    const done = alarms.act(ids, { action: 'ack' });
    expect(alarms.waiting).toBe(0);
    expect(asked).toHaveLength(1);
    expect(asked[0].body).toEqual({ action: 'ack', ids });
    answer(200, { done: 59, results: ids.map((id) => (id === 'a7' ? { id, status: 409, detail: 'it is closed' } : { id, status: 200 })) });
    await done;
    expect(alarms.conflicts.map((c) => [c.saw.id, c.detail])).toEqual([['a7', 'it is closed']]);
    expect(alarms.open.get('a7')?.state).toBe('unacked');
    expect(alarms.open.get('a8')?.state).toBe('acked');
    expect(alarms.underWay).toBe(0);
  });

  it('is not done where it makes no sense', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a')], true);
    await alarms.act(['a', 'gone'], { action: 'unack' });
    expect(asked).toEqual([]);
  });

  it('answered late does not undo what the feed told since', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a')], true);
    const done = alarms.act(['a'], { action: 'comment', note: 'x' });
    alarms.take([{ ...alarm('a', 9), state: 'acked' }], false);
    answer(200, alarm('a', 2));
    await done;
    expect(alarms.open.get('a')).toMatchObject({ state: 'acked', rev: 9 });
  });
});

describe('the feed', () => {
  it('brings, changes and ends alarms; a fresh list replaces all', () => {
    const alarms = new Alarms();
    alarms.take([alarm('a'), alarm('b')], true);
    alarms.take([{ ...alarm('a', 2), state: 'normal' }, { ...alarm('c'), severity: 'critical' }], false);
    expect([...alarms.open.keys()]).toEqual(['b', 'c']);
    expect(alarms.announced?.id).toBe('c');
    alarms.take([alarm('d')], true);
    expect([...alarms.open.keys()]).toEqual(['d']);
  });
});

describe('more alarms than the feed begins with', () => {
  const old = (id: string, severity: string, rev = 1) => ({ ...alarm(id, rev), severity });
  /** Answers what is asked for next, which must be this. */
  async function page(query: string, body: unknown): Promise<void> {
    await soon(() => expect(asked.map((a) => a.url)).toContain(`/api/v1/alarms?${query}`));
    asked = [];
    answer(200, body);
  }
  const newest = Array.from({ length: 5000 }, (_x, i) => old(`n${i}`, 'warning'));

  beforeEach(() => {
    vi.stubGlobal('fetch', (url: string) => {
      if (url.endsWith('/health')) return new Promise<Response>(() => {});
      asked.push({ url, body: {} });
      return new Promise<Response>((resolve) => (answer = (status, body) => resolve(new Response(JSON.stringify(body), { status }))));
    });
  });

  it('are read while somebody looks, the gravest first; what the feed tells meanwhile is newer', async () => {
    const alarms = new Alarms();
    alarms.take(newest, true);
    expect([alarms.partial, alarms.open.size, asked]).toEqual([true, 5000, []]);
    const stop = alarms.watch();
    await page('limit=1', { alarms: [], total: 5004 });
    await page('severity=critical&limit=1000', { alarms: [old('c', 'critical')], total: 2, next: 'more' });
    await page('severity=critical&limit=1000&cursor=more', { alarms: [old('over', 'critical')], total: 2 });
    await soon(() => expect(alarms.absent).toBe(2));
    alarms.take([{ ...old('over', 'critical', 2), state: 'normal' }, { ...old('c', 'critical', 2), state: 'acked' }, old('m', 'major', 5)], false);
    // Read before the feed told of it: it must not come back, nor go back.
    await page('severity=major&limit=1000', { alarms: [old('over', 'major'), old('m', 'major')], total: 2 });
    await page('severity=warning&limit=1000', { alarms: [old('n1', 'warning'), old('w', 'warning')], total: 2 });
    await page('severity=info&limit=1000', { alarms: [], total: 0 });
    await soon(() => expect(alarms.partial).toBe(false));
    expect([alarms.absent, alarms.open.size, alarms.open.has('over')]).toEqual([0, 5003, false]);
    expect([alarms.open.get('c')?.state, alarms.open.get('m')?.rev]).toEqual(['acked', 5]);
    stop();
  });

  it('are begun anew with a fresh list, and not read when nobody looks', async () => {
    const alarms = new Alarms();
    const stop = alarms.watch();
    alarms.take(newest, true);
    await page('limit=1', { alarms: [], total: 6000 });
    alarms.take([old('only', 'major')], true);
    expect([alarms.partial, alarms.open.size]).toEqual([false, 1]);
    stop();
    alarms.take(newest, true);
    expect(alarms.partial).toBe(true);
    expect(asked.filter((a) => a.url.endsWith('limit=1'))).toEqual([]);
  });
});

describe('what was done', () => {
  it('can be taken back, where it went well', async () => {
    const alarms = new Alarms();
    alarms.take([alarm('a'), alarm('b')], true);
    vi.stubGlobal('fetch', (url: string, init: { body: string }) => {
      asked.push({ url, body: JSON.parse(init.body) as Record<string, unknown> });
      if (url.includes('/b/')) return Promise.resolve(new Response(JSON.stringify({ title: 'Conflict' }), { status: 409 }));
      return Promise.resolve(new Response(JSON.stringify({ ...alarm('a', 2), state: url.endsWith('/ack') ? 'acked' : 'unacked' }), { status: 200 }));
    });
    await alarms.act(['a', 'b'], { action: 'ack' });
    expect(alarms.done).toEqual({ action: 'ack', ids: ['a'] });
    asked = [];
    await alarms.undo();
    expect(asked.map((a) => a.url)).toEqual(['/api/v1/alarms/a/unack']);
    expect(alarms.done).toEqual({ action: 'unack', ids: ['a'] });
  });
});

describe('a new alarm', () => {
  it('sounds once from major on, and is said where it is critical', () => {
    const alarms = new Alarms();
    alarms.take([alarm('old')], true);
    expect(alarms.rang).toBeUndefined(); // what was there when the page opened calls by its place in the list
    alarms.take([{ ...alarm('minor'), severity: 'warning' }], false);
    expect(alarms.rang).toBeUndefined();
    alarms.take([alarm('a')], false);
    expect(alarms.rang?.id).toBe('a');
    expect(alarms.announced).toBeUndefined();
    alarms.take([{ ...alarm('b'), severity: 'critical' }, alarm('a', 2)], false);
    expect(alarms.rang?.id).toBe('b');
    expect(alarms.announced?.id).toBe('b');
  });
});
