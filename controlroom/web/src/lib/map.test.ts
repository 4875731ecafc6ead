import { describe, expect, it } from 'vitest';
import type { Feature } from 'geojson';
import { classified, kindOf, kindOfLayer, nameOf, plain } from '../map/base';
import { badgeKey, badgeSize } from './badges';
import { cluster, reach } from './clusters';
import { byAlarms, byFigure, byShare, duration, silentAfter } from './districts';
import { bounds, contains, labelPoint } from './geo';

const feature = (type: 'Polygon' | 'LineString' | 'Point', properties: Record<string, unknown>): Feature => ({ type: 'Feature', properties, geometry: { type, coordinates: [] } as unknown as Feature['geometry'] });

describe('clusters', () => {
  it('keep the place of the gravest, count each severity and leave nobody out', () => {
    const items = [
      { x: 0.5, y: 0.5, rank: 4 },
      { x: 0.502, y: 0.5, rank: 2 },
      { x: 0.9, y: 0.1, rank: 2 },
      { x: 0.498, y: 0.501, rank: 1 },
      { x: 0.5, y: 0.4999, rank: 1 },
    ];
    const found = cluster(items, 0.01);
    expect(found.map((c) => [c.x, c.y, c.ranks])).toEqual([
      [0.5, 0.5, [0, 2, 1, 0, 1]],
      [0.9, 0.1, [0, 0, 1, 0, 0]],
    ]);
    expect(found.flatMap((c) => c.members)).toHaveLength(items.length);
    expect(reach(found[0].members)).toEqual([0.498, 0.4999, 0.502, 0.501]);
  });
  it('stand no nearer to one another than their radius', () => {
    let seed = 7;
    const rnd = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const items = Array.from({ length: 2000 }, () => ({ x: rnd(), y: rnd(), rank: 1 + Math.floor(4 * rnd()) })).sort((a, b) => b.rank - a.rank);
    const found = cluster(items, 0.05);
    for (const [i, a] of found.entries()) for (const b of found.slice(0, i)) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThanOrEqual(0.05);
    expect(found.reduce((n, c) => n + c.members.length, 0)).toBe(2000);
  });
});

describe('badges', () => {
  it('are the same where the numbers are, and grow with them', () => {
    expect(badgeKey([9, 1, 0, 2, 0])).toBe(badgeKey([3, 1, 0, 2, 0]));
    expect(badgeKey([0, 1, 0, 2, 0])).not.toBe(badgeKey([0, 2, 0, 1, 0]));
    expect(badgeSize([0, 1, 0, 0, 0]).width).toBeLessThan(badgeSize([0, 100, 0, 0, 0]).width);
    expect(badgeSize([0, 100_000, 0, 0, 0])).toEqual(badgeSize([0, 1000, 0, 0, 0]));
    expect(badgeSize([0, 1, 1, 1, 0]).height).toBeGreaterThan(badgeSize([0, 1, 1, 0, 0]).height);
  });
});

describe('places of names', () => {
  const square = (x: number, y: number, size: number) => [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]];
  it('are in the largest part', () => {
    expect(labelPoint({ type: 'MultiPolygon', coordinates: [[square(0, 0, 1)], [square(10, 10, 4)]] })).toEqual([12, 12]);
    expect(labelPoint({ type: 'Point', coordinates: [1, 1] })).toBeUndefined();
    expect(labelPoint({ type: 'Polygon', coordinates: [] })).toBeUndefined();
  });
  it('are inside of a bent shape', () => {
    const bent = { type: 'Polygon' as const, coordinates: [[[0, 0], [10, 0], [10, 10], [8, 10], [8, 2], [0, 2], [0, 0]]] };
    const [x, y] = labelPoint(bent)!;
    expect(contains(bent, x, y)).toBe(true);
    expect(contains(bent, 2, 8)).toBe(false);
    expect(bounds(bent)).toEqual([0, 0, 10, 10]);
  });
});

describe('colours of districts', () => {
  const area = (zone: string, ranks: number[], silent = 0) => ({ zone, ranks, silent, total: ranks.reduce((a, b) => a + b, 0) });
  it('are of the gravest that stands open', () => {
    const { paint, legend } = byAlarms([area('a', [5, 9, 1, 0, 0]), area('b', [5, 0, 0, 0, 1]), area('c', [5, 0, 0, 0, 0])], (r) => `s${r}`);
    expect([...paint.keys()]).toEqual(['a', 'b']);
    expect(paint.get('a')!.fill).not.toBe(paint.get('b')!.fill);
    expect(legend.map((l) => l.text)).toEqual(['s4', 's2']);
  });
  it('are greys of a share, and of a figure between its least and greatest', () => {
    const ramp = ['0', '1', '2', '3', '4'];
    const share = byShare(new Map([['a', 0], ['b', 0.004], ['c', 0.05], ['d', 1]]), ramp, 'en');
    expect([...share.paint.values()].map((p) => p.fill)).toEqual(['0', '1', '3', '4']);
    expect(share.legend).toHaveLength(5);
    const figure = byFigure(new Map([['a', 10], ['b', 60], ['c', 20]]), ramp, 'en', 'measure', 'kW');
    expect([...figure.paint.values()].map((p) => [p.fill, p.note])).toEqual([['0', '10 kW'], ['4', '60 kW'], ['1', '20 kW']]);
    expect(byFigure(new Map([['a', 3]]), ramp, 'en', 'count', undefined).legend.map((l) => l.text)).toEqual(['3']);
    expect(byFigure(new Map(), ramp, 'en', 'count', undefined).legend).toEqual([]);
  });
  it('know how long a profile may be silent', () => {
    expect(duration('6m15s')).toBe(375_000);
    for (const bad of ['', 'soon', '5', '0s', '5m x']) expect(duration(bad), bad).toBeUndefined();
    expect(silentAfter([{ id: 'bus', expected_period: '10s' }, { id: 'camera' }])).toEqual({ '': 10_800_000, bus: 30_000, camera: 10_800_000 });
  });
});

describe('a base map', () => {
  it('tells by kind, by tags of OpenStreetMap or by geometry what a feature is', () => {
    for (const [f, kind] of [
      [feature('Polygon', { kind: 'water' }), 'water'],
      [feature('Polygon', { kind: 'nonsense' }), 'land'],
      [feature('LineString', { highway: 'primary' }), 'street'],
      [feature('Polygon', { natural: 'water' }), 'water'],
      [feature('Polygon', { building: 'yes' }), 'building'],
      [feature('Polygon', { landuse: 'forest' }), 'mountain'],
      [feature('Polygon', { boundary: 'administrative' }), 'district'],
      [feature('LineString', {}), 'street'],
      [feature('Point', { kind: 'peak' }), undefined],
    ] as const) expect(kindOf(f), JSON.stringify(f.properties)).toBe(kind);
    expect(classified({ type: 'FeatureCollection', features: [feature('Point', {}), feature('Polygon', { name: 'Palermo' })] }).geojson!.features.map((f) => f.properties)).toEqual([{ kind: 'land', name: '' }]);
  });
  it('has names, by the properties that open data has them in', () => {
    for (const [properties, name] of [
      [{ name: 'Palermo', 'name:it': 'Palermo (it)' }, 'Palermo (it)'],
      [{ Quartiere: 'Tribunali-Castellammare', circoscrizione: 'I' }, 'Tribunali-Castellammare'],
      [{ circoscrizione: 'IV' }, 'Circoscrizione IV'],
      [{ NOME: ' Foro Italico ' }, 'Foro Italico'],
      [{ name: 113 }, '113'],
      [{ name: '', istat: '082053' }, ''],
      [{}, ''],
    ] as const) expect(nameOf(feature('Polygon', properties)), JSON.stringify(properties)).toBe(name);
  });
  it('names areas where there is room for it, the largest first, places by what they are, lines along themselves', () => {
    const square = (name: string, size: number): Feature => ({ type: 'Feature', properties: { name }, geometry: { type: 'Polygon', coordinates: [[[13, 38], [13 + size, 38], [13 + size, 38 + size], [13, 38 + size], [13, 38]]] } });
    const place = (properties: Record<string, string>): Feature => ({ type: 'Feature', properties, geometry: { type: 'Point', coordinates: [13.3, 38.1] } });
    const street: Feature = { type: 'Feature', properties: { highway: 'primary', name: 'Via Maqueda' }, geometry: { type: 'LineString', coordinates: [[13, 38], [13.1, 38]] } };
    const border: Feature = { ...street, properties: { boundary: 'administrative', name: 'Confine' } };
    const { geojson, names } = classified({ type: 'FeatureCollection', features: [square('Kalsa', 0.01), square('Sicilia', 1), place({ name: 'Mondello', place: 'suburb' }), place({ name: 'Fontana' }), street, border] });
    expect(names.map((n) => n.name)).toEqual(['Sicilia', 'Mondello', 'Kalsa', 'Fontana']);
    expect(names.map((n) => Math.round(n.zoom))).toEqual([5, 11, 11, 14]);
    expect(geojson!.features.map((f) => f.properties!.name)).toEqual(['', '', 'Via Maqueda', '']);
  });
  it('tells by its name what a layer of tiles holds', () => {
    expect(['earth', 'water', 'ocean', 'landuse', 'roads', 'transportation', 'buildings', 'boundaries', 'place_labels', 'street_labels', 'sezioni', 'x'].map(kindOfLayer)).toEqual(
      ['land', 'water', 'water', 'mountain', 'street', 'street', 'building', 'district', 'name', 'name', 'district', 'district'],
    );
  });
  it('has its attribution in plain words', () => {
    expect(plain('<a href="https://x">&copy; OpenStreetMap</a> contributors')).toBe('© OpenStreetMap contributors');
  });
});
