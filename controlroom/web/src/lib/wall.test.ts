import { describe, expect, it } from 'vitest';
import { parseWall } from './wall';

describe('a wall', () => {
  const names = (search: string) => parseWall(search).views.map((r) => (r.domain ? `${r.view}/${r.domain}` : r.view)).join(' ');
  it('shows what is asked for, in that order', () => {
    expect(names('?views=alarms,%20map/waste,domains/lighting')).toBe('alarms map/waste domains/lighting');
    expect(names('?views=map,nonsense')).toBe('map');
  });
  it('has a usual round', () => {
    expect(names('')).toContain('map alarms domains/lighting');
    expect(names('?views=nonsense')).toBe(names(''));
  });
  it('gives each view time to be read', () => {
    expect(parseWall('?seconds=60').seconds).toBe(60);
    for (const bad of ['0', '1', '-5', 'x', '']) expect(parseWall(`?seconds=${bad}`).seconds, bad).toBe(20);
    expect(parseWall('?seconds=1e9').seconds).toBe(3600);
  });
});
