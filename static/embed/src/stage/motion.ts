/** Springs, drift and seeded chance: the small arithmetic that every movement of the avatar is made of. */

export type Random = () => number;

/** A deterministic random source, uniform in [0, 1) (mulberry32 by Tommy Ettinger, public domain). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const between = (random: Random, low: number, high: number): number => low + (high - low) * random();

export const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));

export const smoothstep = (x: number): number => {
  const k = clamp(x, 0, 1);
  return k * k * (3 - 2 * k);
};

/** A critically damped spring, integrated exactly, so that it is stable at any frame rate. */
export class Spring {
  v = 0;

  constructor(public x = 0) {}

  /** Moves towards `target`; `omega` in radians a second, about 4 / (seconds to settle). */
  step(target: number, omega: number, dt: number): number {
    const offset = this.x - target;
    const impulse = (this.v + omega * offset) * dt;
    const decay = Math.exp(-omega * dt);
    this.v = (this.v - omega * impulse) * decay;
    this.x = target + (offset + impulse) * decay;
    return this.x;
  }
}

/** A slow wander in about [-1, 1]: three sines whose periods never meet. */
export class Drift {
  private readonly phase: [number, number, number];

  constructor(
    random: Random,
    private readonly hertz: number,
  ) {
    this.phase = [random() * 6.283, random() * 6.283, random() * 6.283];
  }

  at(seconds: number): number {
    const a = seconds * this.hertz * 6.283;
    const [p, q, r] = this.phase;
    return 0.5 * Math.sin(a + p) + 0.32 * Math.sin(a * 1.73 + q) + 0.18 * Math.sin(a * 3.11 + r);
  }
}

/** Calls for something at random intervals. */
export class Interval {
  private left: number;

  constructor(
    private readonly random: Random,
    private readonly low: number,
    private readonly high: number,
  ) {
    this.left = between(random, low, high);
  }

  /** True on the steps where the time has come. `pace` above 1 brings it sooner. */
  due(dt: number, pace = 1): boolean {
    this.left -= dt * pace;
    if (this.left > 0) return false;
    this.left = between(this.random, this.low, this.high);
    return true;
  }
}
