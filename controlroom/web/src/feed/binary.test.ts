import { describe, expect, it } from 'vitest';
import { binaryHead, binaryItems } from './binary';

const utf8 = new TextEncoder();
const uvarint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...uvarint(Math.floor(n / 128))]);
const varint = (n: number) => uvarint(n < 0 ? -2 * n - 1 : 2 * n);
const u64 = (n: bigint) => [...new Uint8Array(new BigUint64Array([n]).buffer)];
const i32 = (n: number) => [...new Uint8Array(new Int32Array([n]).buffer)];
const f32 = (n: number) => [...new Uint8Array(new Float32Array([n]).buffer)];
const f64 = (n: number) => [...new Uint8Array(new Float64Array([n]).buffer)];
const short = (s: string) => [utf8.encode(s).length, ...utf8.encode(s)];
const bytes = (...parts: number[][]) => new Uint8Array(parts.flat());

const texts = ['lamp-1', 'lighting', 'z1', 'streetlight', 'Via Roma €', 'power_w', 'status', 'ok', 'far'];
const table = [...uvarint(texts.length), ...texts.flatMap((t) => [...uvarint(utf8.encode(t).length), ...utf8.encode(t)])];
const base = 1_795_000_000_000n;
const body = bytes(
  u64(base),
  table,
  uvarint(3),
  // whole: identity, position, time, alarm, values
  [...uvarint(300), 1 | 2 | 4 | 8 | 16 | 64, 0, 1, 2, 3, 4],
  [...i32(381234567), ...i32(-133456789)],
  [...varint(-1500), 2],
  [...uvarint(5), 5, 1, ...varint(-83), 6, 4, 7, 5, 2, ...f32(0.5), 5, 3, ...f64(0.1), 8, 0],
  // a change: by index, alarm gone, one value
  [...uvarint(300), 8 | 16, 0, ...uvarint(1), 5, 1, ...varint(70000)],
  // removed
  [...uvarint(7), 32 | 1, 8, 1, 2, 3, 4],
);

describe('binary frames', () => {
  it('reads heads', () => {
    expect(binaryHead(bytes([1, 3], short('s.1'), u64(12n)))).toEqual({ type: 'delta', id: 's.1', seq: 12, at: 14 });
    expect(binaryHead(bytes([1, 2], short('a'), u64(2n), short('epoch')))).toEqual({ type: 'snapshot', id: 'a', seq: 2, epoch: 'epoch', more: true, at: 18 });
    expect(binaryHead(bytes([1, 1], short('a'), u64(2n), short('')))?.more).toBe(false);
    expect(binaryHead(bytes([2, 3], short('a'), u64(2n)))).toBeNull();
    expect(binaryHead(bytes([1, 9], short('a'), u64(2n)))).toBeNull();
  });

  it('reads items, and who they are by the index once told', () => {
    const names = new Map<number, string>();
    const [whole, change, gone] = binaryItems(body, 0, names);
    expect(whole).toEqual({
      id: 'lamp-1',
      domain: 'lighting',
      zone: 'z1',
      profile: 'streetlight',
      name: 'Via Roma €',
      lat: 38.1234567,
      lon: -13.3456789,
      seen: Number(base) - 1500,
      alarm: 'warning',
      values: { power_w: 0.1, status: 'ok', far: null },
    });
    expect(change).toEqual({ id: 'lamp-1', alarm: null, values: { power_w: 70000 } });
    expect(gone).toMatchObject({ id: 'far', removed: true });
    expect(names.get(300)).toBe('lamp-1');
  });

  it('refuses every strict prefix, and strangers', () => {
    for (let n = 0; n < body.length; n++) expect(() => binaryItems(body.subarray(0, n), 0, new Map()), `${n} bytes`).toThrow(RangeError);
    expect(() => binaryItems(bytes(u64(0n), [0], [1], [5, 0]), 0, new Map())).toThrow('never introduced');
    expect(() => binaryItems(bytes(u64(0n), [0], [1], new Array(11).fill(255)), 0, new Map())).toThrow(RangeError);
  });

  it('is of use at an offset', () => {
    const padded = bytes([9, 9, 9], [...body]);
    expect(binaryItems(padded, 3, new Map()).length).toBe(3);
  });
});
