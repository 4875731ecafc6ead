// A stand-in for the server, for the tests of the feed client and for work on the page without a backend:
// the HTTP API and the live feed over a made-up city. `node dev/mock.mjs --port 8090 --devices 6600`.
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { WebSocketServer } from 'ws';
import { AlarmBook } from './alarms.mjs';
import { assets, centre, profiles, random, streets, troubles, values, zones } from './city.mjs';
import { cameras, exceedances, gateways, groups, indexes, radioDevices } from './figures.mjs';
import * as rulebook from './rules.mjs';
import { about, metrics } from './system.mjs';

const dist = join(import.meta.dirname, '..', 'dist');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
// The policy that web.go sends, so that the page is tried under it.
const csp = /const csp = ((?:"[^"]*"[\s+]*)+)/
  .exec(readFileSync(join(import.meta.dirname, '..', 'web.go'), 'utf8'))[1]
  .replace(/"\s*\+\s*"/g, '')
  .replace(/^"|"\s*$/g, '');
const permissions = ['self', 'map.read', 'state.read', 'registry.read', 'events.read', 'alarms.read', 'alarms.act', 'rules.read', 'rules.try', 'rules.write', 'cameras.read', 'radio.read', 'metrics.read', 'purposes.read'];
const stamp = (ms) => new Date(ms).toISOString();

/**
 * Starts a mock city and resolves with { url, close, city, raise, change, dropAll, swallow }.
 * options: port (0: any), devices, seed, hz (changes sent a second, 0: only by hand), changes (devices a step),
 * heartbeat (ms), page (items a snapshot page), alarms (devices in trouble at the start), zonesFile (GeoJSON to show instead of the made-up districts),
 * at (ms since 1970: the clock stands still there, and with hz 0 every answer is always the same).
 */
export async function startMock(options = {}) {
  const { port = 0, devices = 500, seed = 1, hz = 0, changes = 40, heartbeat = 1000, page = 1000, zonesFile, held = 1000, alarms = Math.min(160, devices / 20), quiet = false, at } = options;
  const now = at === undefined ? Date.now : () => at;
  const rnd = random(seed);
  const lines = streets(rnd);
  const list = assets(rnd, lines, devices, now());
  const city = new Map(list.map((d) => [d.id, d]));
  const districts = zonesFile ? JSON.parse(readFileSync(zonesFile, 'utf8')).features.map(named) : zones();
  const events = []; // oldest first
  const book = new AlarmBook(now, (alarm) => publish('alarms', { type: 'alarm', alarm: { ...alarm } }));
  const counters = { received: 0, decoded: 0, rejected: 0, logged: 0, stored: 0, events: 0 };
  const epoch = stamp(now());
  const topics = { state: { seq: 100, ring: [] }, events: { seq: 10, ring: [] }, alarms: { seq: 1, ring: [] }, stats: { seq: 1, ring: [] } };
  let swallowed = 0; // how many of the next state messages are numbered but not sent
  let eventNumber = 0;

  const item = (d) => ({ id: d.id, domain: d.domain, zone: d.zone, profile: d.profile, name: d.name || undefined, lat: d.lat, lon: d.lon, t: stamp(d.t), alarm: d.alarm, values: d.values });
  const device = ({ id, domain, profile, zone, name, lat, lon }) => ({ id, domain, profile, zone, name, lat, lon, status: 'claimed' });
  const stats = () => ({ ...counters, devices: city.size, lag: { writer: at === undefined ? Math.floor(2 * rnd()) : 0, rules: 0 } });

  // ---- the feed
  const clients = new Set();
  function publish(topic, body) {
    const t = topics[topic];
    const message = { ...body, seq: ++t.seq };
    t.ring.push(message);
    if (t.ring.length > held) t.ring.shift();
    if (topic === 'state' && swallowed > 0) {
      swallowed--;
      return;
    }
    for (const client of clients) {
      for (const [id, sub] of client.subs) if (sub === topic) client.send({ ...message, id });
    }
  }

  function change(ids, alter) {
    const items = [];
    for (const id of ids) {
      const d = city.get(id);
      if (!d) continue;
      d.t = now();
      alter?.(d);
      items.push({ id, t: stamp(d.t), values: d.values, alarm: d.alarm, ...(d.profile === 'bus' ? { lat: d.lat, lon: d.lon } : {}) });
      counters.received++;
      counters.decoded++;
      counters.logged += Object.keys(d.values).length;
      counters.stored += Object.keys(d.values).length;
    }
    publish('state', { type: 'delta', items });
  }

  function raise(d, severity, rule, text, state = 'raised', time = now()) {
    const event = { id: `e${++eventNumber}`, rule, rule_version: rulebook.rule(rule)?.version ?? '1', severity, state, time: stamp(time), received: stamp(time), domain: d.domain, device: d.id, zone: d.zone, key: d.id, text, context: whyOf(d, rulebook.rule(rule), time) };
    events.push(event);
    counters.events++;
    if (state === 'raised' && severity !== 'info') book.raise(event);
    publish('events', { type: 'event', event });
    return event;
  }

  function trouble(time = now()) {
    const d = list[Math.floor(rnd() * list.length)];
    if (d.alarm !== null) return;
    const kindsOf = troubles[d.domain];
    const [severity, rule, text] = kindsOf[Math.floor(rnd() * kindsOf.length)];
    if (severity === 'critical' && rnd() > 0.1) return;
    d.alarm = severity;
    raise(d, severity, rule, text(d), 'raised', time);
    if (time > now() - 1000) change([d.id]);
  }
  for (let i = 0; i < alarms; i++) trouble(now() - (200 - i) * 41_000);

  const http = createServer((request, response) => void answer(request, response));
  const sockets = new WebSocketServer({ server: http, path: '/ws/v1/feed', perMessageDeflate: false });
  sockets.on('connection', (socket) => {
    const client = { subs: new Map(), socket, send: (m) => socket.readyState === 1 && socket.send(JSON.stringify(m)) };
    clients.add(client);
    socket.on('close', () => clients.delete(client));
    socket.on('message', (data) => {
      const m = JSON.parse(String(data));
      if (m.op === 'ping') client.send({ type: 'pong', n: m.n });
      else if (m.op === 'unsubscribe') client.subs.delete(m.id);
      else if (m.op === 'subscribe') subscribe(client, m);
      else client.send({ type: 'error', id: m.id, title: 'unknown op', detail: String(m.op) });
    });
  });

  function subscribe(client, { id, topic, resume }) {
    const t = topics[topic];
    if (!t) {
      client.send({ type: 'error', id, title: 'unknown topic', detail: String(topic) });
      return;
    }
    client.subs.set(id, topic);
    const oldest = t.ring[0]?.seq ?? t.seq + 1;
    if (resume?.epoch === epoch && resume.seq <= t.seq && resume.seq >= oldest - 1) {
      for (const m of t.ring) if (m.seq > resume.seq) client.send({ ...m, id });
      return;
    }
    const items = topic === 'state' ? [...city.values()].map(item) : topic === 'stats' ? [stats()] : topic === 'alarms' ? book.open() : [];
    for (let i = 0; i < Math.max(1, items.length); i += page) {
      client.send({ type: 'snapshot', id, epoch, seq: t.seq, items: items.slice(i, i + page), more: i + page < items.length });
    }
  }

  // ---- the HTTP API
  async function answer(request, response) {
    const url = new URL(request.url, 'http://mock');
    const q = url.searchParams;
    const send = (status, body, type = 'application/json') => {
      response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': csp, 'X-Content-Type-Options': 'nosniff' });
      response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
    };
    const missing = (title) => send(404, { type: 'about:blank', title, status: 404 }, 'application/problem+json');
    const limit = Number(q.get('limit') ?? 100);
    const start = Number(q.get('cursor') ?? 0);
    const paged = (name, all) => send(200, { [name]: all.slice(start, start + limit), next: start + limit < all.length ? String(start + limit) : null });
    const wants = (d) => ['domain', 'zone', 'profile', 'severity', 'device', 'rule'].every((k) => !q.get(k) || q.get(k) === d[k]);
    const [, , , kind, id, part] = url.pathname.split('/').map(decodeURIComponent);
    const text = request.method === 'GET' ? '' : await bodyOf(request);
    const json = () => JSON.parse(text || '{}');

    if (url.pathname === '/metrics') return send(200, metrics(now()), 'text/plain');
    if (url.pathname === '/map/base.json') return send(200, { geojson: true, tiles: false });
    if (url.pathname === '/map/basemap.geojson') {
      const features = lines.map((line) => ({ type: 'Feature', properties: { kind: 'street' }, geometry: { type: 'LineString', coordinates: line } }));
      return send(200, { type: 'FeatureCollection', features });
    }
    if (url.pathname.startsWith('/api/v1/')) {
      if (kind === 'system') return send(200, about(now()));
      if (kind === 'me') return send(200, { name: '', role: 'admin', scope: null, expires: null, via: 'open', permissions });
      if (kind === 'stats') return send(200, stats());
      if (kind === 'zones') return send(200, { type: 'FeatureCollection', features: districts });
      if (kind === 'profiles' && !id) return send(200, { profiles: Object.values(profiles) });
      if (kind === 'profiles') return profiles[id] ? send(200, profiles[id]) : missing('no such profile');
      if (kind === 'devices' && part === 'readings') {
        const d = city.get(id);
        const of = ([metric, v], i) => ({ time: stamp(now() - 60_000 * i), received: stamp(now() - 60_000 * i + 400), metric, value: v, quality: i === 1 ? ['late', 'range'] : [] });
        return send(200, { device: id, readings: Object.entries(d.values).map(of) });
      }
      if (kind === 'devices' && part === 'refused') return send(200, { device: id, refused: [{ received: stamp(now() - 90_000), reason: 'syntax', bytes: 41, topic: `city/lighting/${id}/telemetry`, detail: 'offset 17: no JSON' }] });
      if (kind === 'devices' && id) return city.has(id) ? send(200, device(city.get(id))) : missing('no such device');
      if (kind === 'devices') {
        const text = (q.get('q') ?? '').toLowerCase();
        return paged('devices', list.filter((d) => wants(d) && (d.id.includes(text) || d.name.toLowerCase().includes(text))).map(device));
      }
      if (kind === 'state' && id === 'changes') return send(200, { devices: list.map((d) => ({ id: d.id, t: stamp(d.t), values: d.values })) });
      if (kind === 'state' && id === 'cameras') return send(200, { cameras: [] });
      if (kind === 'state') return paged('devices', list.filter(wants).map((d) => ({ ...item(d), seen: stamp(d.t) })));
      if (kind === 'events' && id) {
        const event = events.find((e) => e.id === id);
        return event ? send(200, { event, rule: rulebook.rule(event.rule) ?? null, rule_changed: rulebook.rule(event.rule)?.version !== event.rule_version }) : missing('no such event');
      }
      if (kind === 'events') {
        const to = q.get('to') ? Date.parse(q.get('to')) : Infinity;
        return paged('events', events.filter((e) => wants(e) && Date.parse(e.time) <= to).reverse());
      }
      if (kind === 'domains') return paged('groups', groups(list.filter((d) => d.domain === id), q.get('by')));
      if (kind === 'environment') {
        const stations = list.filter((d) => d.profile === 'air');
        return send(200, id === 'indexes' ? indexes(stations) : exceedances(stations, Number(url.searchParams.get('year')) || new Date(now()).getFullYear(), stamp(now())));
      }
      if (kind === 'purposes') return paged('purposes', [{ id: 'traffic', title: { it: 'Traffico', en: 'Traffic' } }]);
      if (kind === 'cameras' && !id) return paged('cameras', cameras(now(), centre));
      if (kind === 'gateways') return paged('gateways', gateways(now()));
      if (kind === 'radio') return paged('devices', radioDevices(now(), list));
      if (kind === 'alarms') return alarmsAnswer(id, part, json, send);
      if (kind === 'rule-stats') return send(200, { rules: rulebook.ruleStats() });
      if (kind === 'rules' && id === 'check') return send(200, rulebook.check(text));
      if (kind === 'rules' && part === 'backtest') return send(200, rulebook.backtest(id, json()));
      if (kind === 'rules' && id) return rulebook.rule(id) ? send(200, rulebook.rule(id)) : missing('no such rule');
      if (kind === 'rules') return send(200, { rules: rulebook.rules(), problems: [] });
      if (kind === 'series') return send(200, series(city.get(q.get('device')), q.get('metric'), Date.parse(q.get('from')), Date.parse(q.get('to'))));
      return missing('not found');
    }
    const file = join(dist, url.pathname);
    try {
      const name = extname(file) && statSync(file).isFile() ? file : join(dist, 'index.html');
      return send(200, readFileSync(name), types[extname(name)] ?? 'application/octet-stream');
    } catch {
      return missing('not found');
    }
  }

  function alarmsAnswer(id, part, json, send) {
    if (id === 'health') return send(200, book.health());
    if (id === 'actions') return send(200, book.actOnMany(json()));
    if (!id) return send(200, { alarms: book.open(), total: book.open().length });
    if (!part) return book.get(id) ? send(200, book.get(id)) : send(404, { title: 'no such alarm', status: 404 });
    if (part === 'log') return send(200, { log: book.log(id) });
    const { status, body } = book.act(id, part, json());
    return send(status, body, status === 200 ? undefined : 'application/problem+json');
  }

  function series(d, metric, from, to) {
    const last = Number(d?.values[metric] ?? 0);
    const points = [];
    const rnd = random(seed + metric.length); // the same each time it is asked for
    for (let t = to, v = last; t > from && d; t -= 30_000) {
      points.push([stamp(t), Math.round(v * 10) / 10]);
      v += (rnd() - 0.5) * Math.max(1, Math.abs(last)) * 0.06;
    }
    return { device: d?.id, metric, unit: profiles[d?.profile]?.metrics[metric]?.unit, points: points.reverse() };
  }

  // ---- time goes on
  const timers = [
    setInterval(() => {
      for (const client of clients) client.send({ type: 'heartbeat', t: stamp(now()) });
    }, heartbeat),
    setInterval(() => publish('stats', { type: 'delta', items: [stats()] }), 1000),
  ];
  if (hz > 0) {
    timers.push(
      setInterval(() => {
        const ids = Array.from({ length: changes }, () => list[Math.floor(rnd() * list.length)].id);
        change(ids, (d) => {
          d.values = values(rnd, d.profile, d.values);
          if (d.profile === 'bus') d.lon += (rnd() - 0.5) * 0.0004;
        });
      }, 1000 / hz),
      setInterval(() => trouble(), 4000),
      setInterval(() => {
        const d = list.find((x) => x.alarm !== null && rnd() < 0.1);
        if (!d) return;
        const severity = d.alarm;
        d.alarm = null;
        raise(d, severity, 'cleared', `${d.id}: back to normal`, 'cleared');
        change([d.id]);
      }, 6000),
    );
  }

  await new Promise((resolve) => http.listen(port, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${http.address().port}`;
  if (!quiet) console.log(url);
  return {
    url,
    city,
    change,
    raise,
    /** ends every connection as a crash would */
    dropAll: () => clients.forEach((c) => c.socket.terminate()),
    /** the next n state messages take a number but are never sent */
    swallow: (n) => (swallowed += n),
    /** connections that are open but say nothing more */
    freeze: () => clients.forEach((c) => (c.send = () => {})),
    close: () => {
      timers.forEach(clearInterval);
      clients.forEach((c) => c.socket.terminate());
      sockets.close();
      return new Promise((resolve) => http.close(resolve));
    },
  };
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Why a rule was raised, as an event's context says it. */
function whyOf(d, rule, time) {
  const values = Object.fromEntries(Object.entries(d.values).filter(([, v]) => typeof v === 'number').slice(0, 2));
  const [name] = Object.keys(values);
  return {
    values: { ...values, ...rule?.params }, when: rule?.when, clear: rule?.clear, since: stamp(time - 300_000), for: rule?.for, key_of: rule?.key,
    thresholds: [{ value: name, is: '>', limit: rule?.params?.limit ?? 50, ...(rule?.params ? { param: 'limit' } : {}) }],
    ...(rule?.params ? { overridden: { limit: 'zone' } } : {}),
    ...(rule?.window ? { window: { type: rule.window.type, from: stamp(time - 300_000), to: stamp(time) }, devices: 7 } : {}),
  };
}

function named(f, i) {
  const name = f.properties.name ?? f.properties.QUARTIERE ?? f.properties.NOME ?? Object.values(f.properties).find((v) => typeof v === 'string') ?? '';
  return { ...f, properties: { id: `z${i}`, name, kind: 'district' } };
}

if (process.argv[1] === import.meta.filename) {
  const args = Object.fromEntries(process.argv.slice(2).map((a, i, all) => (a.startsWith('--') ? [a.slice(2), all[i + 1]] : [])).filter((p) => p.length));
  const mock = await startMock({ port: Number(args.port ?? 0), devices: Number(args.devices ?? 6600), hz: Number(args.hz ?? 4), changes: Number(args.changes ?? 100), zonesFile: args.zones, alarms: args.alarms && Number(args.alarms) });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void mock.close().then(() => process.exit(0)));
}
