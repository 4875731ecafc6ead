import type { Feature } from 'geojson';
import { api } from '../api/client';
import type { Key } from '../i18n/en';
import { pickLang, translate, type Lang, type Params } from '../i18n/translate';
import { Bell } from '../lib/bell';
import { formatRoute, parseRoute, type Route } from '../lib/route';
import { parseWall, type WallPlan } from '../lib/wall';
import routes from '../routes.json';
import { alarms } from './alarms.svelte';
import { EventList } from './eventlist.svelte';
import { Feed } from './feed.svelte';
import { me } from './me.svelte';

/** The page: where it is, in which language, and what it knows of the city. One for the whole page. */
class App {
  lang = $state<Lang>(pickLang(stored('panormus.lang'), navigator.languages));
  route = $state.raw<Route>(parseRoute(location.pathname, location.search));
  /** the wall clock, once a second: ages and times read it */
  now = $state(Date.now());
  zones = $state.raw<Feature[]>([]);
  /** they are there, or cannot be had now */
  zonesKnown = $state(false);
  zoneNames = $derived(new Map(this.zones.map((z) => [String(z.properties?.id ?? z.id ?? ''), String(z.properties?.name ?? '')])));
  /** as the system has it, unless this page is told otherwise */
  theme = $state<'' | 'light' | 'dark'>(stored('panormus.theme') === 'dark' ? 'dark' : stored('panormus.theme') === 'light' ? 'light' : '');
  #systemDark = $state(false);
  readonly dark = $derived(this.theme === '' ? this.#systemDark : this.theme === 'dark');
  /** alarms sound; off until somebody wants it */
  sound = $state(stored('panormus.sound') === 'on');
  /** the round of views on a wall display; null: an ordinary page */
  wall = $state.raw<WallPlan | null>(location.pathname === routes.wall ? parseWall(location.search) : null);
  readonly bell = new Bell();
  /** the city is played back: nothing shown is now */
  replaying = $state(location.pathname === routes.replay);
  /** on the way from there to now */
  returning = $state(false);
  readonly feed = new Feed();
  readonly events = new EventList();

  constructor() {
    setInterval(() => (this.now = this.time()), 1000);
    addEventListener('popstate', () => this.#arrive());
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    this.#systemDark = scheme.matches;
    scheme.addEventListener('change', () => (this.#systemDark = scheme.matches));
    for (const touch of ['pointerdown', 'keydown']) addEventListener(touch, () => this.sound && this.bell.wake(), { capture: true, passive: true });
    this.feed.onEvents(
      // Before a replay begins the feed tells of the present, which is no matter here.
      (events) => (!this.replaying || this.feed.replay) && this.events.add(events),
      () => this.replaying || void this.events.load(), // after a gap, which only a subscription has
    );
    this.feed.onAlarms((list, all) => alarms.take(list, all));
    this.feed.onPresent(() => this.#back());
    if (this.route.domain) this.events.filter = { domain: this.route.domain, severity: '' };
    this.feed.start((who) => {
      me.who = who;
      this.#begin();
    });
  }

  /** What is read once it is known who reads. */
  #begin(): void {
    const events = me.may('events.read');
    if (this.replaying) this.#replay();
    else if (events) void this.events.load();
    void this.loadZones();
  }

  /** The moment that is shown: now, or where the replay is. */
  time(): number {
    return this.feed.replay?.at ?? Date.now();
  }

  /** To the moment the address names; the page may have come there by going back or forth. */
  #replay(): void {
    const params = new URLSearchParams(location.search);
    const at = Date.parse(params.get('at') ?? '');
    this.seek(Number.isFinite(at) ? at : Date.now() - 3_600_000, Number(params.get('speed')) || 10);
  }

  #arrive(): void {
    if (location.pathname === routes.replay) {
      this.replaying = true;
      this.#replay();
      return;
    }
    this.route = parseRoute(location.pathname, location.search);
    if (this.replaying) this.present();
  }

  /** Goes to a moment of the past; the address follows, so that it can be sent to somebody. */
  seek(at: number, speed = this.feed.replay?.speed ?? 10, playing = this.feed.replay?.playing ?? true): void {
    this.feed.seek(at, speed, playing);
    this.events.until = new Date(at).toISOString();
    void this.events.load(true);
    const address = `${routes.replay}?${new URLSearchParams({ at: this.events.until, speed: String(speed) })}`;
    if (this.replaying) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.replaying = true;
    this.returning = false;
  }

  /** Leaves the past. It is not live again before the feed has told all there is now. */
  present(): void {
    this.returning = true;
    this.feed.present();
  }

  #back(): void {
    this.replaying = this.returning = false;
    this.now = this.time();
    this.events.until = '';
    if (me.may('events.read')) void this.events.load(true);
    if (location.pathname === routes.replay) history.pushState(null, '', formatRoute(this.route));
  }

  async loadZones(): Promise<void> {
    try {
      this.zones = await api.zones();
    } catch {
      setTimeout(() => void this.loadZones(), 10_000); // the map is good without districts, and better with
    }
    this.zonesKnown = true;
  }

  t = (key: Key, params?: Params): string => translate(this.lang, key, params);

  setLang(lang: Lang): void {
    this.lang = lang;
    store('panormus.lang', lang);
  }

  /** The other theme than the one shown; what the system has needs no keeping. */
  switchTheme(): void {
    const dark = !this.dark;
    this.theme = dark === this.#systemDark ? '' : dark ? 'dark' : 'light';
    store('panormus.theme', this.theme);
  }

  switchSound(): void {
    this.sound = !this.sound;
    if (this.sound) this.bell.wake();
    store('panormus.sound', this.sound ? 'on' : '');
  }

  /** Shows a view without making it the page's address: on the wall the address is the round. */
  show(route: Route): void {
    this.route = route;
  }

  leaveWall(): void {
    this.wall = null;
    this.go({});
  }

  /** Goes to a route; what is left out stays as it is. */
  go(change: Partial<Route>): void {
    const route = { ...this.route, ...change };
    const address = formatRoute(route);
    // A replay keeps its address: any other is the present's.
    if (!this.replaying && address !== location.pathname + location.search) history.pushState(null, '', address);
    this.route = route;
  }

  href(change: Partial<Route>): string {
    return formatRoute({ ...this.route, ...change });
  }

  /** For links: a plain click stays in the page, any other (new tab, middle) is the browser's. */
  follow = (event: MouseEvent, change: Partial<Route>): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(change);
  };

  zoneName(id: string | undefined): string {
    return (id && this.zoneNames.get(id)) || id || '';
  }
}

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // private browsing: the choice lasts as long as the page
  }
}

export const app = new App();
