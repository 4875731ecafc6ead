// The alarms of the made-up city: one a rule and key, with the states and answers of /api/v1/alarms. What happens to
// them beyond being raised, in the past, is by their number, so that each kind of alarm is among them.
const hidden = ['shelved', 'suppressed', 'out_of_service'];
const fits = {
  ack: ['unacked', 'returned'],
  unack: ['acked'],
  shelve: ['unacked', 'acked', 'returned', 'shelved'],
  unshelve: ['shelved'],
  close: ['unacked', 'acked', 'returned'],
};

export class AlarmBook {
  #all = new Map();
  #now;
  #tell;

  /** now: the clock in ms; tell is called with each alarm that changed. */
  constructor(now, tell) {
    this.#now = now;
    this.#tell = tell;
  }

  #stamp = (ms) => new Date(ms).toISOString();

  raise(event) {
    const id = `a-${event.rule}-${event.key}`.replace(/[^\w-]/g, '_');
    const n = this.#all.size;
    const at = Date.parse(event.time);
    const a = {
      id, rule: event.rule, key: event.key, severity: event.severity, base_severity: event.severity, state: 'unacked', active: true,
      raised: event.time, since: event.time, changed: event.time, cleared: null, count: 1 + (n % 11 === 3 ? 4 : 0),
      acked_by: '', acked_at: null, assigned_to: '', shelved_until: null, shelved_by: '', note: '', rev: 1,
      domain: event.domain, device: event.device, zone: event.zone, text: event.text, escalated: n % 17 === 5, chattering: n % 11 === 3,
      held_by: '', last_action: 'raised', last_by: '', group: '', first_out: '', event: event.id,
    };
    switch (at < this.#now() ? n % 9 : 0) {
      case 2:
        Object.assign(a, { state: 'acked', acked_by: 'Rosa Lo Verde', acked_at: this.#stamp(at + 140_000), note: 'Squadra 4 avvisata', last_action: 'ack', last_by: 'Rosa Lo Verde' });
        break;
      case 4:
        Object.assign(a, { state: 'returned', active: false, cleared: this.#stamp(at + 300_000), last_action: 'cleared' });
        break;
      case 6:
        Object.assign(a, { state: 'shelved', shelved_until: this.#stamp(this.#now() + (n + 20) * 60_000), shelved_by: 'Rosa Lo Verde', note: 'Ricambio ordinato', last_action: 'shelve', last_by: 'Rosa Lo Verde' });
        break;
      case 8:
        Object.assign(a, n % 2 ? { state: 'out_of_service', held_by: 'maintenance: rete elettrica, via Roma' } : { state: 'suppressed', held_by: `cabinet-${event.zone}: power-lost` });
    }
    // Every third zone is an incident of its own: what came first there is its first-out.
    if (event.zone === 'z1' || event.zone === 'z4') {
      a.group = `zone ${event.zone}`;
      a.first_out = [...this.#all.values()].find((b) => b.group === a.group)?.id ?? id;
    }
    this.#all.set(id, a);
    this.#tell(a);
    return a;
  }

  open() {
    return [...this.#all.values()].filter((a) => a.state !== 'normal');
  }

  /** What an operator does to one alarm: the status and body of the answer. */
  act(id, action, { note = '', until, to = '', rev } = {}) {
    const a = this.#all.get(id);
    const problem = (status, detail) => ({ status, body: { type: 'about:blank', title: detail, status, detail, current: a } });
    if (!a) return problem(404, 'no such alarm');
    if (rev && rev !== a.rev) return problem(409, `it changed: ${a.last_action} by ${a.last_by}`);
    if (fits[action] && !fits[action].includes(a.state)) return problem(409, `${action} does not fit ${a.state}`);
    const time = this.#stamp(this.#now());
    const changes = {
      ack: { state: a.active ? 'acked' : 'normal', acked_by: 'operator', acked_at: time },
      unack: { state: 'unacked', acked_by: '', acked_at: null },
      shelve: { state: 'shelved', shelved_until: until, shelved_by: 'operator' },
      unshelve: { state: a.active ? 'unacked' : 'normal', shelved_until: null, shelved_by: '' },
      assign: { assigned_to: to },
      comment: {},
      close: { state: 'normal' },
    }[action];
    if (!changes) return problem(404, `no such action: ${action}`);
    Object.assign(a, changes, { note: note || a.note, rev: a.rev + 1, changed: time, last_action: action, last_by: 'operator' });
    this.#tell(a);
    return { status: 200, body: a };
  }

  /** POST /api/v1/alarms/actions */
  actOnMany({ action, ids, ...rest }) {
    const results = ids.map((id) => {
      const { status, body } = this.act(id, action, { ...rest, rev: undefined });
      return { id, status, detail: status === 200 ? undefined : body.detail, state: body.state ?? body.current?.state };
    });
    return { done: results.filter((r) => r.status === 200).length, matched: ids.length, more: false, results };
  }

  get = (id) => this.#all.get(id);

  /** What happened to an alarm, the oldest first. */
  log(id) {
    const a = this.#all.get(id);
    const first = { time: a.raised, alarm: id, action: 'raised', by: '', note: '', state: 'unacked', severity: a.base_severity };
    return a.last_action === 'raised' ? [first] : [first, { time: a.acked_at ?? a.cleared ?? a.changed, alarm: id, action: a.last_action, by: a.last_by, note: a.note, state: a.state, severity: a.severity }];
  }

  health() {
    const all = this.open();
    const by = (key) => all.reduce((sums, a) => ({ ...sums, [a[key]]: (sums[a[key]] ?? 0) + 1 }), {});
    const mix = by('severity');
    const rates = Array.from({ length: 144 }, (_, i) => (i > 96 && i < 103 ? 8 + ((i * 7) % 9) : (i * i) % 4));
    const standing = all.filter((a) => !hidden.includes(a.state));
    const shelved = all.filter((a) => a.state === 'shelved');
    const unacked = all.filter((a) => a.state === 'unacked');
    return {
      time: this.#stamp(this.#now()), states: by('state'), severities: mix, rate_10m: rates[143], rates_10m: rates, priority_mix: mix,
      bad_actors: all.slice(0, 12).map((alarm, i) => ({ raises: 60 - 5 * i, alarm })),
      chattering: all.filter((a) => a.chattering), chattering_count: all.filter((a) => a.chattering).length,
      stale: standing.slice(0, 6), stale_count: standing.slice(0, 6).length, stale_after_s: 86_400,
      shelved, oldest_unacked: unacked[0] ?? null,
      flood: { active: false, since: null, begins_above: 10, ends_below: 5, window_s: 600, floods_24h: 1, time_s_24h: 3600, share_24h: 0.042 },
      operators: 2, rate_10m_per_operator: rates[143] / 2, peak_10m_per_operator: Math.max(...rates) / 2,
      average_10m_per_operator: rates.reduce((a, b) => a + b, 0) / 288, over_limit_share_24h: 0.028,
      priority_shares: Object.fromEntries(Object.entries(mix).map(([s, n]) => [s, n / Math.max(1, all.length)])), bad_actors_share: 0.41,
    };
  }
}
