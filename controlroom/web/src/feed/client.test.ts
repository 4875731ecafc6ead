import { describe, expect, it, vi } from 'vitest';
import { FeedClient } from './client';
import { FakeClock, FakeSocket } from './fake';
import type { Handlers, Request } from './subscription';

function setup(request: Request = { topic: 'state', maxHz: 4 }) {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const log: string[] = [];
  const client = new FeedClient({
    connect: () => {
      const s = new FakeSocket();
      sockets.push(s);
      return s;
    },
    clock,
    random: () => 1,
  });
  const handlers: Handlers = {
    snapshotStart: () => log.push('start'),
    snapshotEnd: () => log.push('end'),
    items: (items, fresh) => log.push(`${fresh ? 'fresh' : 'delta'} ${(items as { id: string }[]).map((i) => i.id).join(',')}`),
    event: (e) => log.push(`event ${e.id}`),
    stats: (s) => log.push(`stats ${s.received}`),
    error: (title, detail) => log.push(`error ${title}: ${detail}`),
  };
  client.subscribe('s', request, handlers);
  client.start();
  const last = () => sockets[sockets.length - 1];
  const id = () => last().subscribed(request.topic).id;
  const take = () => log.splice(0);
  return { clock, sockets, client, handlers, log, last, id, take };
}

const item = (id: string) => ({ id });
const delta = (id: string, seq: number, ...ids: string[]) => ({ type: 'delta' as const, id, seq, items: ids.map(item) });
const snapshot = (id: string, seq: number, more: boolean, ...ids: string[]) => ({ type: 'snapshot' as const, id, epoch: 'E', seq, more, items: ids.map(item) });

describe('subscriptions', () => {
  it('subscribes when the socket opens, without a resume at first', () => {
    const { last } = setup({ topic: 'state', maxHz: 4, filter: { domain: ['lighting'] } });
    expect(last().sent).toEqual([]);
    last().open();
    expect(last().sent).toEqual([{ op: 'subscribe', id: 's.1', topic: 'state', filter: { domain: ['lighting'] }, max_hz: 4 }]);
  });

  it('puts the pages of a snapshot together and holds changes back until the last', () => {
    const { last, id, take } = setup();
    last().open();
    last().say(snapshot(id(), 10, true, 'a'));
    last().say(delta(id(), 12, 'y'));
    last().say(delta(id(), 11, 'x'));
    last().say(delta(id(), 10, 'old'));
    expect(take()).toEqual(['start', 'fresh a']);
    last().say(snapshot(id(), 10, false, 'b'));
    expect(take()).toEqual(['fresh b', 'end', 'delta x', 'delta y']);
  });

  it('takes an empty snapshot', () => {
    const { last, id, take } = setup();
    last().open();
    last().say({ type: 'snapshot', id: id(), epoch: 'E', seq: 0 });
    last().say(delta(id(), 1, 'a'));
    expect(take()).toEqual(['start', 'end', 'delta a']);
  });

  it('ignores what it has had', () => {
    const { last, id, take } = setup();
    last().open();
    last().say(snapshot(id(), 10, false));
    last().say(delta(id(), 11, 'a'));
    last().say(delta(id(), 11, 'a again'));
    last().say(delta(id(), 9, 'older'));
    expect(take()).toEqual(['start', 'end', 'delta a']);
  });

  it('begins anew when the numbering restarts between pages', () => {
    const { last, id, take } = setup();
    last().open();
    last().say(snapshot(id(), 10, true, 'a'));
    last().say({ ...snapshot(id(), 1, false, 'b'), epoch: 'F' });
    expect(take()).toEqual(['start', 'fresh a', 'start', 'fresh b', 'end']);
  });

  it('passes events, stats and errors on', () => {
    const { last, id, take, client, handlers } = setup({ topic: 'events' });
    client.subscribe('t', { topic: 'stats' }, handlers);
    last().open();
    const event = { id: 'e1', rule: 'r', severity: 'info', time: '2026-01-01T00:00:00.000Z', text: '' };
    last().say(snapshot(id(), 4, false));
    last().say({ type: 'event', id: id(), seq: 5, event });
    last().say({ type: 'stats', id: last().subscribed('stats').id, seq: 1, stats: { received: 7 } });
    last().say({ type: 'error', id: id(), title: 'Bad message', detail: 'why' });
    expect(take()).toEqual(['start', 'end', 'event e1', 'stats 7', 'error Bad message: why']);
  });

  it('does not hear a subscription that was ended or replaced', () => {
    const { last, id, take, client, handlers } = setup();
    last().open();
    const first = id();
    client.subscribe('s', { topic: 'state', filter: { domain: ['waste'] } }, handlers);
    expect(last().sent.slice(1)).toEqual([
      { op: 'unsubscribe', id: first },
      { op: 'subscribe', id: 's.2', topic: 'state', filter: { domain: ['waste'] } },
    ]);
    last().say(snapshot(first, 10, false, 'late'));
    expect(take()).toEqual([]);
    client.unsubscribe('s');
    last().say(snapshot('s.2', 10, false, 'late'));
    expect(take()).toEqual([]);
  });

  it('survives what is no frame', () => {
    const { last, id, take } = setup();
    last().open();
    for (const data of ['', '{', '[]', 'null', '7', '{"type":7}', '{"type":"delta"}', '{"type":"later","id":"s.1","seq":1}', new Uint8Array([1, 3, 0, 0]).buffer]) {
      last().onmessage?.({ data } as MessageEvent);
    }
    last().say(snapshot(id(), 1, false, 'a'));
    expect(take()).toEqual(['start', 'fresh a', 'end']);
  });
});

describe('gaps', () => {
  it('resumes from where it stands', () => {
    const { last, id, take, client } = setup();
    last().open();
    last().say(snapshot(id(), 10, false));
    last().say(delta(id(), 11, 'a'));
    const before = id();
    last().say(delta(before, 13, 'c'));
    expect(take()).toEqual(['start', 'end', 'delta a']);
    expect(last().sent.slice(-2)).toEqual([
      { op: 'unsubscribe', id: before },
      { op: 'subscribe', id: 's.2', topic: 'state', max_hz: 4, resume: { epoch: 'E', seq: 11 } },
    ]);
    last().say(delta(before, 14, 'late, under the old id'));
    last().say(delta(id(), 12, 'b'));
    last().say(delta(id(), 13, 'c'));
    expect(take()).toEqual(['delta b', 'delta c']);
    expect(client.health.gaps).toBe(1);
  });

  it('asks for all of it, ever more rarely, where resuming does not help', () => {
    const { last, id, clock } = setup();
    last().open();
    last().say(snapshot(id(), 10, false));
    last().say(delta(id(), 20)); // resume at once
    expect(id()).toBe('s.2');
    last().say(delta(id(), 30)); // the same again: a fresh snapshot, after a pause
    expect(id()).toBe('s.2');
    clock.pass(1_000);
    expect(id()).toBe('s.3');
    expect(last().subscribed('state').resume).toBeUndefined();
    last().say(snapshot(id(), 30, false));
    last().say(delta(id(), 40));
    clock.pass(1_900);
    expect(id()).toBe('s.3');
    clock.pass(200);
    expect(id()).toBe('s.4');
  });

  it('is a gap when a change is of another epoch', () => {
    const { last, id } = setup();
    last().open();
    last().say(snapshot(id(), 10, false));
    last().say({ ...delta(id(), 11), epoch: 'F' });
    expect(id()).toBe('s.2');
  });
});

describe('connections', () => {
  it('comes back after a growing pause and resumes', () => {
    const { last, id, clock, sockets, client, take } = setup();
    last().open();
    last().say(snapshot(id(), 10, false, 'a'));
    last().end();
    expect(client.health.connection).toBe('waiting');
    clock.pass(499);
    expect(sockets.length).toBe(1);
    clock.pass(1);
    expect(sockets.length).toBe(2);
    last().end(); // never opened: the next pause is twice as long
    clock.pass(999);
    expect(sockets.length).toBe(2);
    clock.pass(1);
    last().open();
    expect(last().subscribed('state').resume).toEqual({ epoch: 'E', seq: 10 });
    take();
    last().say(delta(id(), 11, 'b'));
    expect(take()).toEqual(['delta b']);
    last().end(); // it had spoken: the pause is short again
    clock.pass(500);
    expect(sockets.length).toBe(4);
  });

  it('takes the fresh snapshot that a resume may be answered with', () => {
    const { last, id, clock, take } = setup();
    last().open();
    last().say(snapshot(id(), 10, false, 'a'));
    last().end();
    clock.pass(500);
    last().open();
    take();
    last().say({ ...snapshot(id(), 3, false, 'b'), epoch: 'F' });
    last().say(delta(id(), 4, 'c'));
    expect(take()).toEqual(['start', 'fresh b', 'end', 'delta c']);
  });

  it('does not resume from half a snapshot', () => {
    const { last, id, clock } = setup();
    last().open();
    last().say(snapshot(id(), 10, true, 'a'));
    last().end();
    clock.pass(500);
    last().open();
    expect(last().subscribed('state').resume).toBeUndefined();
  });

  it('waits longer when the server says it is too much, and at once when somebody asks', () => {
    const { last, clock, sockets, client } = setup();
    last().open();
    last().end(1013);
    clock.pass(2_400);
    expect(sockets.length).toBe(1);
    expect(client.health.closeCode).toBe(1013);
    client.retryNow();
    expect(sockets.length).toBe(2);
  });

  it('asks into a silence and gives the connection up', () => {
    const { last, id, clock, sockets, client } = setup();
    last().open();
    last().say(snapshot(id(), 1, false));
    const silent = last();
    const silentID = id();
    clock.pass(5_000);
    expect(silent.count('ping')).toBe(1);
    last().say({ type: 'pong', n: 1 });
    clock.pass(14_000);
    expect(silent.closed).toBe(false);
    clock.pass(1_100);
    expect(silent.closed).toBe(true);
    expect(client.health.connection).toBe('waiting');
    clock.pass(500);
    expect(sockets.length).toBe(2);
    silent.say(delta(silentID, 2, 'from the dead'));
    expect(client.position('s')?.seq).toBe(1);
  });

  it('learns how far apart heartbeats are', () => {
    const { last, clock, client } = setup();
    last().open();
    const beat = (after: number) => {
      clock.pass(after);
      last().say({ type: 'heartbeat', t: '' });
    };
    beat(1_900);
    beat(2_000);
    expect(client.health.heartbeat).toBe(5_000); // one distance is no rhythm
    beat(2_000);
    expect(client.health.heartbeat).toBe(2_000);
    for (let i = 0; i < 5; i++) beat(0); // a bunch that was held up
    expect(client.health.heartbeat).toBe(1_000);
    beat(2_200);
    expect(client.health.heartbeat).toBe(2_200);
  });

  it('stops for good', () => {
    const { last, clock, sockets, client } = setup();
    last().open();
    client.stop();
    expect(last().closed).toBe(true);
    last().end();
    clock.pass(60_000);
    expect(sockets.length).toBe(1);
    expect(client.health.connection).toBe('stopped');
  });
});

describe('binary', () => {
  it('asks for JSON where binary is refused', () => {
    const { last, id, take } = setup({ topic: 'state', binary: true });
    last().open();
    expect(last().subscribed('state').encoding).toBe('bin');
    last().say({ type: 'error', id: id(), title: 'Bad message', detail: 'encoding: "bin", want json' });
    expect(last().subscribed('state').encoding).toBeUndefined();
    expect(last().count('unsubscribe')).toBe(0);
    last().say(snapshot(id(), 1, false, 'a'));
    expect(take()).toEqual(['start', 'fresh a', 'end']);
  });

  it('asks for JSON where the frames are of a later version', () => {
    const { last } = setup({ topic: 'state', binary: true });
    last().open();
    last().say(new Uint8Array([2, 1, 0]).buffer);
    expect(last().subscribed('state').encoding).toBeUndefined();
  });

  it('mends a frame that is cut short', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const { last, id } = setup({ topic: 'state', binary: true });
    last().open();
    const name = new TextEncoder().encode(id());
    last().say(new Uint8Array([1, 3, name.length, ...name, 1, 0, 0, 0, 0, 0, 0, 0, 9]).buffer);
    expect(id()).toBe('s.2');
    warn.mockRestore();
  });
});
