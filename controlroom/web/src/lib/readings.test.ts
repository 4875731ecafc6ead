import { describe, expect, it } from 'vitest';
import { doubtful } from './readings';

const reading = (...quality: string[]) => ({ time: '', received: '', metric: 'n', value: 1, quality });

describe('readings', () => {
  it('that there is something to doubt of are counted by the reason', () => {
    expect(doubtful([reading(), reading('late'), reading('range', 'late'), reading('clock')])).toEqual([
      { quality: 'late', n: 2 },
      { quality: 'clock', n: 1 },
      { quality: 'range', n: 1 },
    ]);
    expect(doubtful([reading()])).toEqual([]);
  });
});
