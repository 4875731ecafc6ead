/** Hz of each stroke: a critical alarm is told from a major one without looking. */
const strokes: Record<number, number[]> = { 4: [880, 660, 880, 660], 3: [660, 880] };
const apart = 0.22; // s
const silence = 1.5; // s between two rings: a flood is one sound, not a hundred

/** The alarms' sound. Browsers let a page sound only after somebody has touched it: until then it keeps still. */
export class Bell {
  #context: AudioContext | undefined;
  #quietUntil = 0;

  /** To be called from a click or a key, which is what a browser wants. */
  wake(): void {
    this.#context ??= new AudioContext();
    void this.#context.resume();
  }

  /** Rings for an alarm of a rank; false where it could not. */
  ring(rank: number): boolean {
    const context = this.#context;
    const tones = strokes[rank];
    if (!context || !tones || context.state !== 'running' || context.currentTime < this.#quietUntil) return false;
    this.#quietUntil = context.currentTime + tones.length * apart + silence;
    tones.forEach((hz, i) => {
      const at = context.currentTime + i * apart;
      const tone = context.createOscillator();
      const gain = context.createGain();
      tone.frequency.value = hz;
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(0.3, at + 0.02);
      gain.gain.exponentialRampToValueAtTime(0.001, at + apart);
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + apart);
    });
    return true;
  }
}
