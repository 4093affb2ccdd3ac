/** Eyelids: when they close, how fast, and how far. */

import { between, Interval, smoothstep, type Random } from "./motion.ts";

const CLOSE_SECONDS = 0.075;
const HOLD_SECONDS = 0.03;
const OPEN_SECONDS = 0.19;
const WHOLE = CLOSE_SECONDS + HOLD_SECONDS + OPEN_SECONDS;

/** How shut a lid is `age` seconds after a blink began: down fast, up slowly. */
export function lid(age: number): number {
  if (age <= 0 || age >= WHOLE) return 0;
  if (age < CLOSE_SECONDS) return smoothstep(age / CLOSE_SECONDS);
  const opening = (age - CLOSE_SECONDS - HOLD_SECONDS) / OPEN_SECONDS;
  return opening <= 0 ? 1 : 1 - smoothstep(Math.sqrt(opening));
}

/** Blinks every 2 to 6 seconds, sometimes twice, and whenever asked. */
export class Blinks {
  left = 0;
  right = 0;

  private readonly when: Interval;
  private age = Infinity;
  private skew = 0;
  private depth = 1;
  private again = false;

  constructor(private readonly random: Random) {
    this.when = new Interval(random, 2, 6);
  }

  /** Starts a blink, unless one is under way. */
  now(): void {
    if (this.age < WHOLE) return;
    this.age = 0;
    this.skew = between(this.random, -0.012, 0.012);
    this.depth = between(this.random, 0.94, 1);
    this.again = this.random() < 0.12;
  }

  step(dt: number, pace = 1): void {
    if (this.when.due(dt, pace)) this.now();
    this.age += dt;
    if (this.again && this.age >= WHOLE + 0.05) this.now();
    this.left = this.depth * lid(this.age);
    this.right = this.depth * lid(this.age - this.skew);
  }
}
