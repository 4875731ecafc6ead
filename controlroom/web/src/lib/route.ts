import routes from '../routes.json';

/** health is a part of the alarms: it has an address, and no place of its own in the menu; nor has the statement */
export const views = ['map', 'table', 'domains', 'alarms', 'health', 'rules', 'cameras', 'radio', 'system', 'statement'] as const;
export type View = (typeof views)[number];

/** Where the page is. Every view is an address: it can be sent to a colleague or opened on the wall. */
export interface Route {
  view: View;
  /** the asset whose panel is open */
  asset: string | null;
  /** the rule that is open, in the view of rules */
  rule: string | null;
  /** what the districts of the map are coloured by; '' is nothing */
  shade: string;
  /** '' shows all domains; in the view of domains it is the one that is open */
  domain: string;
}

/** What follows prefix in an address, or null. */
function named(pathname: string, prefix: string): string | null {
  if (!pathname.startsWith(prefix) || pathname.length === prefix.length) return null;
  try {
    return decodeURIComponent(pathname.slice(prefix.length));
  } catch {
    return null; // a broken % escape names nothing
  }
}

/** Reads an address; what is not known is the map. */
export function parseRoute(pathname: string, search: string): Route {
  const params = new URLSearchParams(search);
  const route: Route = { view: 'map', asset: null, rule: null, domain: params.get('domain') ?? '', shade: params.get('districts') ?? '' };
  if (pathname.startsWith(routes.asset) && pathname.length > routes.asset.length) {
    route.asset = named(pathname, routes.asset);
    route.view = views.find((v) => v === params.get('view')) ?? 'map';
    if (route.view === 'rules') route.rule = params.get('rule');
  } else if (pathname.startsWith(routes.rule)) {
    route.view = 'rules';
    route.rule = named(pathname, routes.rule);
  } else if (pathname.startsWith(routes.domain)) {
    route.view = 'domains';
    route.domain = named(pathname, routes.domain) ?? route.domain;
  } else {
    route.view = views.find((v) => v !== 'map' && pathname === routes[v]) ?? 'map';
  }
  return route;
}

export function formatRoute(route: Route): string {
  const params = new URLSearchParams();
  let path = route.view === 'map' ? routes.home : routes[route.view];
  if (route.asset !== null) {
    path = routes.asset + encodeURIComponent(route.asset);
    if (route.view !== 'map') params.set('view', route.view);
    if (route.view === 'rules' && route.rule !== null) params.set('rule', route.rule);
  } else if (route.view === 'rules' && route.rule !== null) {
    path = routes.rule + encodeURIComponent(route.rule);
  } else if (route.view === 'domains' && route.domain) {
    return routes.domain + encodeURIComponent(route.domain);
  }
  if (route.domain) params.set('domain', route.domain);
  if (route.view === 'map' && route.shade) params.set('districts', route.shade);
  return params.size > 0 ? `${path}?${params}` : path;
}
