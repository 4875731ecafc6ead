import { describe, expect, it } from 'vitest';
import { BinaryBody } from './binary';
import { FirstView } from './first';
import { AssetTable } from './table';

const utf8 = new TextEncoder();
const uvarint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...uvarint(Math.floor(n / 128))]);
const i32 = (n: number) => [...new Uint8Array(new Int32Array([n]).buffer)];
const text = (s: string) => [...uvarint(utf8.encode(s).length), ...utf8.encode(s)];

/** A page of assets, each with two values; one in three is nowhere, and the alarms are all there are. */
function page(ids: string[], domain: (n: number) => string): BinaryBody {
  const texts = [...new Set(['zone', 'profile', 'name', 'status', 'è acceso', ...ids, ...ids.map((_, n) => domain(n))])];
  const at = (s: string) => uvarint(texts.indexOf(s));
  const records = ids.flatMap((id, n) => [
    ...[...uvarint(n), 1 | 4 | 8 | 16 | 64 | (n % 3 ? 2 : 0), ...at(id), ...at(domain(n)), ...at('zone'), ...at('profile'), ...at('name')],
    ...(n % 3 ? [...i32(381_000_000 + n), ...i32(133_000_000 - n)] : []),
    ...[4, n % 7, 2, ...at('status'), 4, ...at('è acceso'), ...at('name'), 3, 0, 0, 0, 0, 0, 0, 0, 64],
  ]);
  const bytes = [...new Array(8).fill(0), ...uvarint(texts.length), ...texts.flatMap(text), ...uvarint(ids.length), ...records];
  return new BinaryBody(new Uint8Array(bytes), 0, new Map());
}

const ids = (n: number, prefix: string) => Array.from({ length: n }, (_, i) => `${prefix}-${i}`);

describe('the first view', () => {
  it('tells what a table that takes the same pages would', () => {
    const first = new FirstView();
    const table = new AssetTable();
    expect(first.patch()).toBeNull();
    const pages = [
      page(ids(400, 'lamp'), (n) => (n % 2 ? 'lighting' : 'mobility')),
      page(['bus-ä', ...ids(50, 'bus')], () => 'mobility'), // not one byte a letter
      page(ids(300, 'sensor'), (n) => `domain-${n}`), // more domains than the map has places for
    ];
    for (const body of pages) {
      first.add(body);
      table.beginSnapshot();
      for (const item of body.items()) table.apply(item, true);
      const patch = first.patch();
      expect(patch).toEqual(table.patch());
      expect(patch?.size).toBe(first.size);
      expect(first.dirty).toBe(false);
    }
  });

  it('refuses what is cut short, as reading it all does', () => {
    const { bytes } = page(ids(2, 'a'), () => 'd');
    for (let n = 0; n < bytes.length; n++) expect(() => new FirstView().add(new BinaryBody(bytes.subarray(0, n), 0, new Map())), `${n} bytes`).toThrow(RangeError);
  });
});
