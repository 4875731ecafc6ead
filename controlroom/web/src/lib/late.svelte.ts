/** Whether so many ms have passed since the component that makes it began: what is there by then is shown without the rest. */
export class Late {
  now = $state(false);

  constructor(ms: number) {
    $effect(() => {
      const timer = setTimeout(() => (this.now = true), ms);
      return () => clearTimeout(timer);
    });
  }
}
