import routes from '../routes.json';

export const views = ['map', 'table', 'cameras', 'radio'] as const;
export type View = (typeof views)[number];

/** Where the page is. Every view is an address: it can be sent to a colleague or opened on the wall. */
export interface Route {
  view: View;
  /** the asset whose panel is open */
  asset: string | null;
  /** '' shows all domains */
  domain: string;
}

/** Reads an address; what is not known is the map. */
export function parseRoute(pathname: string, search: string): Route {
  const params = new URLSearchParams(search);
  const route: Route = { view: 'map', asset: null, domain: params.get('domain') ?? '' };
  if (pathname === routes.table) route.view = 'table';
  else if (pathname === routes.cameras) route.view = 'cameras';
  else if (pathname === routes.radio) route.view = 'radio';
  else if (pathname.startsWith(routes.asset) && pathname.length > routes.asset.length) {
    try {
      route.asset = decodeURIComponent(pathname.slice(routes.asset.length));
    } catch {
      route.asset = null; // a broken % escape names no asset
    }
    route.view = views.find((v) => v === params.get('view')) ?? 'map';
  }
  return route;
}

export function formatRoute(route: Route): string {
  const params = new URLSearchParams();
  let path: string = { map: routes.home, table: routes.table, cameras: routes.cameras, radio: routes.radio }[route.view];
  if (route.asset !== null) {
    path = routes.asset + encodeURIComponent(route.asset);
    if (route.view !== 'map') params.set('view', route.view);
  }
  if (route.domain) params.set('domain', route.domain);
  return params.size > 0 ? `${path}?${params}` : path;
}
