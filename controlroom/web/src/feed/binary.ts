import { severities, type StateItem, type Value } from './protocol';

// Binary state frames, as controlroom/FEED.md draws them: little endian, varints as in Protocol Buffers.
//
//   version u8 | kind u8 | id length u8, id | seq u64 | kinds 1, 2: epoch length u8, epoch | body
//   body: base time i64 (Unix ms) | texts: count, (length, UTF-8)… | records: count, record…
//   record: index | flags u8 | what the flags name, in their order

const version = 1;
const kindSnapshot = 1; // the last page
const kindMore = 2; // a page with more to come
const kindDelta = 3;

const hasIdentity = 1;
const hasPosition = 2;
const hasTime = 4;
const hasAlarm = 8;
const hasValues = 16;
const isRemoved = 32;
const isWhole = 64;

const utf8 = new TextDecoder();

export interface BinaryHead {
  type: 'snapshot' | 'delta';
  id: string;
  seq: number;
  epoch?: string;
  more?: boolean;
  /** where the body begins */
  at: number;
}

class Reader {
  at: number;
  readonly view: DataView;

  constructor(
    readonly bytes: Uint8Array,
    at = 0,
  ) {
    this.at = at;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.view.getUint8(this.at++);
  }

  u64(): number {
    const v = this.view.getBigUint64(this.at, true);
    this.at += 8;
    return Number(v);
  }

  i64(): number {
    const v = this.view.getBigInt64(this.at, true);
    this.at += 8;
    return Number(v);
  }

  i32(): number {
    const v = this.view.getInt32(this.at, true);
    this.at += 4;
    return v;
  }

  f32(): number {
    const v = this.view.getFloat32(this.at, true);
    this.at += 4;
    return v;
  }

  f64(): number {
    const v = this.view.getFloat64(this.at, true);
    this.at += 8;
    return v;
  }

  /** Exact up to 2^53: by multiplication, since shifts end at 32 bits. */
  uvarint(): number {
    let v = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const b = this.u8();
      v += (b & 0x7f) * scale;
      if (b < 0x80) return v;
      scale *= 128;
    }
    throw new RangeError('a varint of more than 10 bytes');
  }

  varint(): number {
    const v = this.uvarint();
    return v % 2 === 0 ? v / 2 : -(v + 1) / 2;
  }

  /** A frame's texts, each a part of one: for what is held no longer than the frame is. */
  texts(): string[] {
    const n = this.uvarint();
    const begin = this.at;
    const ends: number[] = [];
    for (let i = 0; i < n; i++) {
      const length = this.uvarint();
      if (this.at + length > this.bytes.length) throw new RangeError(`a text of ${length} bytes, ${this.bytes.length - this.at} are left`);
      ends.push(this.at - begin, this.at + length - begin);
      this.at += length;
    }
    const whole = utf8.decode(this.bytes.subarray(begin, this.at));
    const texts: string[] = [];
    // As many letters as bytes: each letter is where its byte is.
    const plain = whole.length === this.at - begin;
    for (let i = 0; i < ends.length; i += 2) texts.push(plain ? whole.slice(ends[i], ends[i + 1]) : utf8.decode(this.bytes.subarray(begin + ends[i], begin + ends[i + 1])));
    return texts;
  }

  text(length: number): string {
    if (this.at + length > this.bytes.length) throw new RangeError(`a text of ${length} bytes, ${this.bytes.length - this.at} are left`);
    const s = utf8.decode(this.bytes.subarray(this.at, this.at + length));
    this.at += length;
    return s;
  }
}

/** Reads what a binary frame is and whose. Null: another version or kind. Throws RangeError where it is cut short. */
export function binaryHead(bytes: Uint8Array): BinaryHead | null {
  const r = new Reader(bytes);
  if (r.u8() !== version) return null;
  const kind = r.u8();
  const id = r.text(r.u8());
  const seq = r.u64();
  if (kind === kindDelta) return { type: 'delta', id, seq, at: r.at };
  if (kind !== kindSnapshot && kind !== kindMore) return null;
  const epoch = r.text(r.u8());
  return { type: 'snapshot', id, seq, epoch, more: kind === kindMore, at: r.at };
}

/**
 * What a frame says, to be read when it is wanted. `names` maps a device's index to its id, learned from the records that
 * carry it, and belongs to the subscription: bodies must be read in the order in which they came.
 */
export class BinaryBody {
  constructor(
    readonly bytes: Uint8Array,
    readonly at: number,
    readonly names: Map<number, string>,
  ) {}

  /** See binaryItems. */
  items(): StateItem[] {
    return binaryItems(this.bytes, this.at, this.names);
  }

  /**
   * Tells of each record with an identity, in order, what a first look at the city needs, which takes a small part of the
   * time that items does; it learns no names. Throws RangeError where the body is cut short.
   */
  places(tell: (id: string, domain: string, lat: number, lon: number, rank: number) => void): void {
    const r = new Reader(this.bytes, this.at);
    r.i64();
    const texts = r.texts();
    const text = (): string => {
      const n = r.uvarint();
      if (n >= texts.length) throw new RangeError(`text ${n} of ${texts.length}`);
      return texts[n];
    };
    for (let n = r.uvarint(); n > 0; n--) {
      r.uvarint();
      const flags = r.u8();
      let id = '';
      let domain = '';
      if (flags & hasIdentity) {
        id = text();
        domain = text();
        r.uvarint();
        r.uvarint();
        r.uvarint();
      }
      let lat = NaN;
      let lon = NaN;
      if (flags & hasPosition) {
        lat = r.i32() / 1e7;
        lon = r.i32() / 1e7;
      }
      if (flags & hasTime) r.uvarint();
      const alarm = flags & hasAlarm ? r.u8() : 0;
      if (flags & hasValues) {
        for (let k = r.uvarint(); k > 0; k--) {
          r.uvarint();
          skip(r);
        }
      }
      if (id !== '' && !(flags & isRemoved)) tell(id, domain, lat, lon, alarm > severities.length ? 0 : alarm);
    }
  }
}

/**
 * Reads the items of a frame's body. `names` maps a device's index to its id, learned from the records
 * that carry it, and belongs to the subscription. Throws RangeError where the body is cut short or names
 * a device that was never introduced.
 */
export function binaryItems(bytes: Uint8Array, at: number, names: Map<number, string>): StateItem[] {
  const r = new Reader(bytes, at);
  const base = r.i64();
  const texts: string[] = [];
  for (let n = r.uvarint(); n > 0; n--) texts.push(r.text(r.uvarint()));
  const text = (): string => {
    const n = r.uvarint();
    if (n >= texts.length) throw new RangeError(`text ${n} of ${texts.length}`);
    return texts[n];
  };
  const items: StateItem[] = [];
  for (let n = r.uvarint(); n > 0; n--) {
    const index = r.uvarint();
    const flags = r.u8();
    const item: StateItem = { id: '' };
    if (flags & hasIdentity) {
      item.id = text();
      item.domain = text();
      item.zone = text();
      item.profile = text();
      item.name = text();
      names.set(index, item.id);
    } else {
      const id = names.get(index);
      if (id === undefined) throw new RangeError(`device ${index} was never introduced`);
      item.id = id;
    }
    if (flags & hasPosition) {
      item.lat = r.i32() / 1e7;
      item.lon = r.i32() / 1e7;
    }
    if (flags & hasTime) item.seen = base + r.varint();
    if (flags & hasAlarm) item.alarm = severities[r.u8() - 1] ?? null;
    if (flags & hasValues) {
      const values: Record<string, Value> = {};
      for (let k = r.uvarint(); k > 0; k--) {
        const metric = text();
        values[metric] = value(r, text);
      }
      item.values = values;
    } else if (flags & isWhole) item.values = {};
    if (flags & isRemoved) item.removed = true;
    items.push(item);
  }
  return items;
}

function value(r: Reader, text: () => string): Value {
  const kind = r.u8();
  switch (kind) {
    case 0:
      return null;
    case 1:
      return r.varint();
    case 2:
      return r.f32();
    case 3:
      return r.f64();
    case 4:
      return text();
    default:
      throw new RangeError(`a value of kind ${kind}, want 0 to 4`);
  }
}

/** Goes past a value. */
function skip(r: Reader): void {
  const kind = r.u8();
  if (kind === 1 || kind === 4) r.uvarint();
  else if (kind === 2) r.f32();
  else if (kind === 3) r.f64();
  else if (kind !== 0) throw new RangeError(`a value of kind ${kind}, want 0 to 4`);
}
