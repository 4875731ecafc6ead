import { rulesApi, type Rule, type RuleProblem } from '../api/rules';

const every = 15_000; // ms between looks at the rules while they are shown

/** The rules, as long as somebody looks, and what was written of them but not saved. */
class Rules {
  list = $state.raw<Rule[] | undefined>();
  problems = $state.raw<RuleProblem[]>([]);
  failed = $state('');
  /** texts that were changed and not saved, by the rule's id, and the version they were made from; '' is the new rule: they survive a look elsewhere */
  readonly drafts = new Map<string, { text: string; from: string }>();
  #run = 0;

  /** Reads the list now and again and again; returns how to stop. For an effect. */
  watch(): () => void {
    void this.load();
    const timer = setInterval(() => void this.load(), every);
    return () => {
      this.#run++;
      clearInterval(timer);
    };
  }

  async load(): Promise<void> {
    const run = ++this.#run;
    try {
      const [answer, figures] = await Promise.all([rulesApi.list(), rulesApi.figures().catch(() => undefined)]); // the list is good without figures
      if (run !== this.#run) return;
      this.list = answer.rules.map((r) => ({ ...r, figures: figures?.get(r.id) }));
      this.problems = answer.problems;
      this.failed = '';
    } catch (err) {
      if (run === this.#run) this.failed = err instanceof Error ? err.message : String(err);
    }
  }
}

export const rules = new Rules();
