import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Alarm } from '../api/alarms';
import { Alarms } from './alarms.svelte';

const alarm = (id: string, rev = 1): Alarm => ({ id, rule: 'r', key: id, severity: 'major', state: 'unacked', raised: '2026-01-31T10:00:00.000Z', cleared: null, count: 1, rev });

/** A server that answers when the test says so. */
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
