// For the tests: a clock that moves only when told, and sockets that say what the test says.
import type { Clock, Socket } from './client';
import type { ClientFrame, ServerFrame } from './protocol';

export class FakeClock implements Clock {
  #now = 1_000_000;
  #next = 0;
  #timers = new Map<number, { at: number; fn: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): unknown {
    const id = ++this.#next;
    this.#timers.set(id, { at: this.#now + ms, fn });
    return id;
  }

  cancel(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** Moves on by ms and runs what falls due, in order. */
  pass(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      let first: number | undefined;
      for (const [id, t] of this.#timers) {
        if (t.at <= until && (first === undefined || t.at < this.#timers.get(first)!.at)) first = id;
      }
      if (first === undefined) break;
      const { at, fn } = this.#timers.get(first)!;
      this.#timers.delete(first);
      this.#now = Math.max(this.#now, at);
      fn();
    }
    this.#now = until;
  }
}

export class FakeSocket implements Socket {
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  readonly sent: ClientFrame[] = [];
  closed = false;

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientFrame);
  }

  close(): void {
    this.closed = true;
  }

  open(): void {
    this.onopen?.({} as Event);
  }

  say(frame: ServerFrame | ArrayBuffer): void {
    const data = frame instanceof ArrayBuffer ? frame : JSON.stringify(frame);
    this.onmessage?.({ data } as MessageEvent);
  }

  /** The connection ends as the other side or the network ends it. */
  end(code = 1006): void {
    this.onclose?.({ code, reason: '' } as CloseEvent);
  }

  /** The last subscribe that was sent, for a topic. */
  subscribed(topic: string): Extract<ClientFrame, { op: 'subscribe' }> {
    const found = this.sent.findLast((f) => f.op === 'subscribe' && f.topic === topic);
    if (found?.op !== 'subscribe') throw new Error(`no subscribe for ${topic}, but ${JSON.stringify(this.sent)}`);
    return found;
  }

  count(op: ClientFrame['op']): number {
    return this.sent.filter((f) => f.op === op).length;
  }
}
