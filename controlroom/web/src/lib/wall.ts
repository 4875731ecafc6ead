import { views, type Route } from './route';

/** What a wall display shows in turn, and for how long each. */
export interface WallPlan {
  views: Route[];
  seconds: number;
}

const usual = 'map,alarms,domains/lighting,domains/mobility,domains/environment,domains/waste,domains/parking';

/** Reads /wall?views=map,alarms,domains/lighting&seconds=20: views, each with a domain after a slash where it is of one; map:alarms colours the districts. */
export function parseWall(search: string): WallPlan {
  const params = new URLSearchParams(search);
  const read = (list: string) =>
    list.split(',').flatMap((part): Route[] => {
      const [first, ...domain] = part.trim().split('/');
      const [name, shade = ''] = first.split(':');
      const view = views.find((v) => v === name);
      return view ? [{ view, asset: null, rule: null, domain: domain.join('/'), shade }] : [];
    });
  const asked = read(params.get('views') ?? usual);
  const seconds = Number(params.get('seconds') ?? 20);
  return { views: asked.length > 0 ? asked : read(usual), seconds: seconds >= 5 ? Math.min(seconds, 3600) : 20 };
}
