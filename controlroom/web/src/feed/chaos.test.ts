// The feed client over real sockets against the mock server, through every kind of trouble: in the end the
// table must hold what the server holds.
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { random } from '../../dev/city.mjs';
import { startMock } from '../../dev/mock.mjs';
import { FeedClient, type Socket } from './client';
import type { CityEvent, StateItem } from './protocol';
import { AssetTable } from './table';

type Mock = Awaited<ReturnType<typeof startMock>>;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Frames reach the client in the order that `shuffle` makes of them, or not at all. */
function connect(url: string, mangle?: (frames: string[]) => string[]): Socket {
  const socket = new WebSocket(url.replace('http', 'ws') + '/ws/v1/feed') as unknown as Socket;
  if (!mangle) return socket;
  let queue: string[] = [];
  const proxy: Socket = {
    send: (data) => socket.send(data),
    close: () => socket.close(),
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
  };
  socket.onopen = (e) => proxy.onopen?.(e);
  socket.onclose = (e) => proxy.onclose?.(e);
  socket.onerror = () => {};
  socket.onmessage = (e) => {
    if (queue.push(String(e.data)) > 1) return;
    setTimeout(() => {
      const frames = mangle(queue);
      queue = [];
      for (const data of frames) proxy.onmessage?.({ data } as MessageEvent);
    }, 3);
  };
  return proxy;
}

function follow(mock: Mock, mangle?: (frames: string[]) => string[]) {
  const table = new AssetTable();
  const events: string[] = [];
  let snapshots = 0;
  const client = new FeedClient({ connect: () => connect(mock.url, mangle), random: () => 0 });
  client.subscribe(
    'state',
    { topic: 'state' },
    {
      snapshotStart: () => table.beginSnapshot(),
      snapshotEnd: () => {
        table.endSnapshot();
        snapshots++;
      },
      items: (items, fresh) => (items as StateItem[]).forEach((i) => table.apply(i, fresh)),
    },
  );
  client.subscribe('events', { topic: 'events' }, { event: (e: CityEvent) => events.push(e.id) });
  client.start();
  closers.push(() => client.stop());
  return { table, client, events, snapshots: () => snapshots };
}

const server = (mock: Mock) => JSON.stringify([...mock.city.values()].map((d) => [d.id, d.alarm ?? null, d.values, d.t]).sort());
const client = (table: AssetTable) => {
  const severities = [null, 'info', 'warning', 'major', 'critical'];
  const { rows } = table.rows({ sort: 'id', descending: false, offset: 0, limit: 1e6 });
  return JSON.stringify(rows.map((r) => [r.id, severities[r.severity], table.get(r.id)!.values, r.seen]).sort());
};
const same = (mock: Mock, table: AssetTable) => expect.poll(() => client(table) === server(mock), { timeout: 20_000, interval: 50 }).toBe(true);

async function mock(options = {}): Promise<Mock> {
  const m = await startMock({ devices: 130, page: 20, heartbeat: 100, quiet: true, ...options });
  closers.push(() => m.close());
  return m;
}

function churn(m: Mock, rnd: () => number): void {
  const ids = [...m.city.keys()];
  m.change(
    Array.from({ length: 5 }, () => ids[Math.floor(rnd() * ids.length)]),
    (d: StateItem) => {
      d.values = { ...d.values, x: rnd() };
      d.alarm = [null, 'info', 'critical'][Math.floor(rnd() * 3)];
    },
  );
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('chaos', () => {
  it('a calm feed: pages of a snapshot, then changes', async () => {
    const m = await mock();
    const f = follow(m);
    const rnd = random(1);
    for (let i = 0; i < 50; i++) {
      churn(m, rnd);
      if (i % 10 === 0) await pause(5);
    }
    await same(m, f.table);
    expect(f.snapshots()).toBe(1);
    expect(f.client.health.gaps).toBe(0);
  });

  it('frames the server numbered but never sent: resumed without a snapshot', async () => {
    const m = await mock();
    const f = follow(m);
    const rnd = random(2);
    await same(m, f.table);
    churn(m, rnd);
    m.swallow(3);
    for (let i = 0; i < 5; i++) churn(m, rnd);
    await same(m, f.table);
    expect(f.client.health.gaps).toBe(1);
    expect(f.snapshots()).toBe(1);
  });

  it('connections that break: resumed, no event lost or doubled', async () => {
    const m = await mock();
    const f = follow(m);
    const rnd = random(3);
    await same(m, f.table);
    const raised: string[] = [];
    for (let i = 0; i < 6; i++) {
      churn(m, rnd);
      raised.push(m.raise([...m.city.values()][i], 'warning', 'r', `event ${i}`).id);
      m.dropAll();
      raised.push(m.raise([...m.city.values()][i], 'info', 'r', `while away ${i}`).id);
      churn(m, rnd);
      await expect.poll(() => f.events.length, { timeout: 20_000 }).toBe(raised.length);
    }
    await same(m, f.table);
    expect(f.events).toEqual(raised);
    expect(f.snapshots()).toBe(1);
  });

  it('away for longer than the server holds: a fresh snapshot', async () => {
    const m = await mock({ held: 5 });
    const f = follow(m);
    const rnd = random(4);
    await same(m, f.table);
    m.dropAll();
    for (let i = 0; i < 30; i++) churn(m, rnd);
    m.city.delete([...m.city.keys()][0]);
    await same(m, f.table);
    expect(f.snapshots()).toBe(2);
  });

  it('reordered and dropped on the way: in the end the same', async () => {
    const m = await mock();
    const rnd = random(5);
    let rough = true;
    // Pages of a snapshot have one number, so that nobody could tell that one is missing: they come as they were sent.
    const page = (frame: string) => JSON.parse(frame).type === 'snapshot';
    const f = follow(m, (frames) => {
      if (!rough) return frames;
      const kept = frames.filter((frame) => page(frame) || rnd() > 0.1);
      for (let i = kept.length - 1; i > 0; i--) {
        if (rnd() < 0.3 && !(page(kept[i]) && page(kept[i - 1]))) [kept[i], kept[i - 1]] = [kept[i - 1], kept[i]];
      }
      return kept;
    });
    for (let i = 0; i < 60; i++) {
      churn(m, rnd);
      await pause(4);
    }
    rough = false;
    // One more of everything: a gap at the end shows only by what comes after it.
    m.change([...m.city.keys()]);
    const settle = setInterval(() => churn(m, rnd), 200);
    closers.push(() => clearInterval(settle));
    await expect.poll(() => f.client.position('state') !== null, { timeout: 20_000 }).toBe(true);
    clearInterval(settle);
    churn(m, rnd);
    await same(m, f.table);
  });
});
