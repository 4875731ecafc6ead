import { expect, it } from 'vitest';
import { bytes, samples } from './metrics';

it('reads the samples of a text', () => {
  expect(samples('# HELP a b\na 1\nb{kind="x y",n="q\\"\\\\"} 2.5e+09\nnonsense\n{} 3\n')).toEqual([
    { name: 'a', labels: {}, value: 1 },
    { name: 'b', labels: { kind: 'x y', n: 'q"\\' }, value: 2.5e9 },
  ]);
});
it('says sizes as people do', () => {
  expect([0, 999, 1500, 2_340_000_000].map((n) => bytes('en', n))).toEqual(['0 B', '999 B', '1.5 kB', '2.3 GB']);
  expect(bytes('it', 1500)).toBe('1,5 kB');
});
