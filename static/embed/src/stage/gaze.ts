/** Where the eyes look: mostly at the person, in saccades, with glances away that suit what the avatar is doing. */

import { between, Drift, Interval, Spring, type Random } from "./motion.ts";

export type Mode = "idle" | "listening" | "thinking" | "talking";

interface Habit {
  /** Seconds between glances away, and how long one lasts. */
  readonly every: readonly [number, number];
  readonly away: readonly [number, number];
  /** Radians: the middle of where a glance goes, and how far around it. */
  readonly pitch: number;
  readonly yaw: number;
  readonly spread: number;
}

const HABITS: Record<Mode, Habit> = {
  idle: { every: [3, 8], away: [0.6, 1.6], pitch: 0.02, yaw: 0.16, spread: 0.06 },
  listening: { every: [5, 11], away: [0.4, 0.9], pitch: 0.05, yaw: 0.1, spread: 0.04 },
  thinking: { every: [0.1, 0.5], away: [1.1, 2.6], pitch: -0.13, yaw: 0.24, spread: 0.06 },
  talking: { every: [2.5, 6], away: [0.5, 1.2], pitch: 0.03, yaw: 0.15, spread: 0.06 },
};

const NAMED: Readonly<Record<string, readonly [pitch: number, yaw: number]>> = {
  camera: [0, 0], user: [0, 0], center: [0, 0], centre: [0, 0], contact: [0, 0],
  up: [-0.2, 0.02], down: [0.22, 0], left: [0, 0.3], right: [0, -0.3],
  away: [0.04, 0.26], aside: [0.02, 0.24], up_left: [-0.16, 0.22], up_right: [-0.16, -0.22],
};

/** Pitch is positive downwards, yaw positive to the avatar's left, both radians from the camera. */
export class Gaze {
  pitch = 0;
  yaw = 0;
  /** The slow target that the head follows a part of. */
  readonly towards = { pitch: 0, yaw: 0 };
  /** True on the step that a large shift begins, which people often blink through. */
  shifted = false;

  private readonly pitchSpring = new Spring();
  private readonly yawSpring = new Spring();
  private readonly fixation: Interval;
  private readonly tremor: readonly [Drift, Drift];
  private mode: Mode = "idle";
  private untilAway: number;
  private untilBack = 0;
  private side = 1;
  private micro = { pitch: 0, yaw: 0 };
  private seconds = 0;

  constructor(private readonly random: Random) {
    this.fixation = new Interval(random, 0.35, 1.5);
    this.tremor = [new Drift(random, 1.3), new Drift(random, 1.1)];
    this.untilAway = between(random, 2, 5);
  }

  /** `cue` names where to look; null leaves it to habit. */
  step(dt: number, mode: Mode, cue: string | null): void {
    this.seconds += dt;
    const before = this.towards.pitch * 7 + this.towards.yaw;
    const named = cue === null ? undefined : NAMED[cue.toLowerCase()];
    if (named) [this.towards.pitch, this.towards.yaw] = named;
    else this.wander(dt, mode);
    this.shifted = Math.abs(this.towards.pitch * 7 + this.towards.yaw - before) > 0.12;
    if (this.fixation.due(dt)) {
      // Over a face the eyes hop between the other's eyes and mouth.
      const wide = mode === "idle" ? 0.012 : 0.02;
      this.micro = { pitch: between(this.random, -0.4, 1) * wide, yaw: between(this.random, -1, 1) * wide };
    }
    const [p, y] = this.tremor;
    const pitch = this.towards.pitch + this.micro.pitch + 0.0015 * p.at(this.seconds);
    const yaw = this.towards.yaw + this.micro.yaw + 0.0015 * y.at(this.seconds);
    this.pitch = this.pitchSpring.step(pitch, 70, dt);
    this.yaw = this.yawSpring.step(yaw, 70, dt);
  }

  private wander(dt: number, mode: Mode): void {
    const habit = HABITS[mode];
    if (mode !== this.mode) {
      this.mode = mode;
      this.back(habit);
      if (mode === "thinking") this.untilAway = 0.15;
    }
    if (this.untilBack > 0) {
      this.untilBack -= dt;
      if (this.untilBack <= 0) this.back(habit);
      return;
    }
    this.untilAway -= dt;
    if (this.untilAway > 0) return;
    const keep = mode === "thinking" ? 0.75 : 0.4;
    if (this.random() > keep) this.side = -this.side;
    this.towards.yaw = this.side * (habit.yaw + between(this.random, -1, 1) * habit.spread);
    this.towards.pitch = habit.pitch + between(this.random, -1, 1) * habit.spread * 0.7;
    this.untilBack = between(this.random, ...habit.away);
  }

  private back(habit: Habit): void {
    // A thinker goes from one spot to the next and comes back to the camera now and then.
    if (this.mode !== "thinking" || this.random() < 0.25) this.towards.pitch = this.towards.yaw = 0;
    this.untilBack = 0;
    this.untilAway = between(this.random, ...habit.every);
  }
}
