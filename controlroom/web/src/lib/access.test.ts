import { describe, expect, it } from 'vitest';
import { may, sameAccess, topicsOf, viewNeeds, type Who } from './access';

const viewer: Who = { name: 'rosalia', role: 'viewer', scope: null, expires: null, via: 'session', permissions: ['self', 'map.read', 'state.read', 'events.read', 'alarms.read', 'radio.read', 'metrics.read'] };
const scoped: Who = { ...viewer, scope: { areas: [{ domain: 'lighting' }] } };
const agency: Who = { ...viewer, role: 'agency', scope: { areas: [{ domain: 'safety' }] }, permissions: ['self', 'map.read', 'events.read'] };

describe('who may see what', () => {
  it('is nobody before the server said', () => {
    expect(may(null, 'self')).toBe(false);
  });

  it('keeps what tells of the whole city from those who see a part of it', () => {
    const sees = (who: Who) => Object.entries(viewNeeds).filter(([, n]) => may(who, n.permission, n.whole)).map(([view]) => view);
    expect(sees(viewer)).toEqual(['map', 'table', 'domains', 'alarms', 'health', 'radio', 'system', 'statement']);
    expect(sees(scoped)).toEqual(['map', 'table', 'domains', 'alarms', 'health', 'statement']);
    expect(sees(agency)).toEqual(['map', 'statement']);
  });

  it('asks the feed for no topic that would be refused', () => {
    expect(topicsOf(viewer)).toEqual(['state', 'events', 'alarms', 'stats']);
    expect(topicsOf(agency)).toEqual(['events']);
  });

  it('knows when somebody may do other things than before', () => {
    expect(sameAccess(viewer, { ...viewer, expires: '2027-01-01T00:00:00.000Z' })).toBe(true);
    expect(sameAccess(viewer, scoped)).toBe(false);
    expect(sameAccess(viewer, { ...viewer, permissions: [...viewer.permissions, 'alarms.act'] })).toBe(false);
  });
});
