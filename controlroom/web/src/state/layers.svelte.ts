const key = 'panormus.layers';

/** What is left off the map, in this browser: domains by their names, and what lies below them. */
class Layers {
  #hidden = $state.raw<ReadonlySet<string>>(new Set(read()));

  shows(name: string): boolean {
    return !this.#hidden.has(name);
  }

  get any(): boolean {
    return this.#hidden.size > 0;
  }

  show(name: string, on: boolean): void {
    const next = new Set(this.#hidden);
    if (on) next.delete(name);
    else next.add(name);
    this.#hidden = next;
    try {
      localStorage.setItem(key, JSON.stringify([...next]));
    } catch {
      // private browsing: the choice lasts as long as the page
    }
  }
}

function read(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(kept) ? kept.filter((k) => typeof k === 'string') : [];
  } catch {
    return [];
  }
}

/** The layers that are no domain. No domain has a name with a dot. */
export const underlays = ['.districts', '.cones', '.base'] as const;

export const layers = new Layers();
