/**
 * Everything that moves above and around the mouth: breath, blinks, gaze, head, posture, feelings, gestures. Layers are
 * summed and smoothed by springs; nothing here reads a clock or rolls its own dice, so a seed replays a performance.
 */

import type { ActiveCue } from "../mouth.ts";
import { Blinks } from "./blink.ts";
import { ARKIT, ARKIT_INDEX, Blend, expression, EXPRESSIONS, type Expression } from "./blendshapes.ts";
import { Gaze, type Mode } from "./gaze.ts";
import { AT_SIDE, gesture, still, type ArmPose, type Gesture, type Motion } from "./gestures.ts";
import { between, clamp, Drift, Interval, Spring, type Random } from "./motion.ts";

export type { Mode } from "./gaze.ts";

/** Angles in radians: pitch positive downwards, yaw to the avatar's left, roll towards its right shoulder. */
export interface Angles {
  pitch: number;
  yaw: number;
  roll: number;
}

/** What the avatar does at one moment, apart from its lips. */
export interface Pose {
  readonly head: Angles;
  /** The trunk; `lean` is forwards. */
  readonly trunk: { lean: number; yaw: number; roll: number };
  /** 0 to 1: how full the lungs are; shoulders rise with it. */
  breath: number;
  shrug: number;
  /** Where the eyes look, from the head's own forward. */
  readonly eyes: { pitch: number; yaw: number };
  /** 52 ARKit weights, lips included as far as feelings move them. */
  readonly face: Float32Array;
  /** 0 at the side to 1 in `arm`. */
  leftArm: number;
  rightArm: number;
  arm: ArmPose;
  swing: number;
}

export interface Moment {
  readonly dt: number;
  readonly mode: Mode;
  readonly cues: readonly ActiveCue[];
  /** The mouth is sounding: 0 or 1. */
  readonly speaking: number;
  /** How far the visemes open the mouth, 0 to 1. */
  readonly openness: number;
  /** How firmly they close it, 0 to 1: feelings must not part the lips then. */
  readonly closure: number;
  /** The way from the eyes to the lens. */
  readonly lens: { readonly pitch: number; readonly yaw: number };
}

interface Stance {
  readonly head: Angles;
  readonly lean: number;
  readonly sway: number;
  readonly expression: Expression;
  readonly strength: number;
  readonly blinkPace: number;
}

const STANCES: Record<Mode, Stance> = {
  idle: {
    head: { pitch: 0, yaw: 0, roll: 0 }, lean: 0, sway: 1,
    expression: EXPRESSIONS.warmth!, strength: 0.5, blinkPace: 1,
  },
  listening: {
    head: { pitch: 0.025, yaw: 0.02, roll: 0.06 }, lean: 0.035, sway: 0.7,
    expression: EXPRESSIONS.attention!, strength: 1, blinkPace: 0.8,
  },
  thinking: {
    head: { pitch: -0.045, yaw: 0.05, roll: 0.07 }, lean: -0.01, sway: 0.8,
    expression: EXPRESSIONS.thought!, strength: 1, blinkPace: 1.1,
  },
  talking: {
    head: { pitch: 0.005, yaw: 0, roll: 0 }, lean: 0.015, sway: 1.5,
    expression: EXPRESSIONS.warmth!, strength: 0.45, blinkPace: 1.15,
  },
};
const MODES = Object.keys(STANCES) as Mode[];

/** While lips speak, this much of a feeling's mouth is left. */
const MOUTH_WHILE_SPEAKING = 0.38;
const BROW = new Blend({ browInnerUp: 0.7, browOuterUp: 0.8 });
const EYE_REACH = { yaw: 0.5, down: 0.45, up: 0.35 };
const i = (name: string): number => ARKIT_INDEX.get(name)!;
const LID = { left: i("eyeBlinkLeft"), right: i("eyeBlinkRight") };
const SQUINT = { left: i("eyeSquintLeft"), right: i("eyeSquintRight") };
const WIDE = { left: i("eyeWideLeft"), right: i("eyeWideRight") };
const LOOK = {
  down: [i("eyeLookDownLeft"), i("eyeLookDownRight")],
  up: [i("eyeLookUpLeft"), i("eyeLookUpRight")],
  left: [i("eyeLookOutLeft"), i("eyeLookInRight")],
  right: [i("eyeLookInLeft"), i("eyeLookOutRight")],
} as const;

export class Life {
  readonly pose: Pose = {
    head: { pitch: 0, yaw: 0, roll: 0 },
    trunk: { lean: 0, yaw: 0, roll: 0 },
    breath: 0, shrug: 0,
    eyes: { pitch: 0, yaw: 0 },
    face: new Float32Array(ARKIT.length),
    leftArm: 0, rightArm: 0, arm: AT_SIDE, swing: 0,
  };

  private seconds = 0;
  private breathPhase = 0;
  private readonly blinks: Blinks;
  private readonly gaze: Gaze;
  private readonly drifts: readonly Drift[];
  private readonly share = new Map(MODES.map((mode) => [mode, new Spring(mode === "idle" ? 1 : 0)]));
  private readonly head = [new Spring(), new Spring(), new Spring()] as const;
  private readonly trunk = [new Spring(), new Spring(), new Spring()] as const;
  private readonly follow = [new Spring(), new Spring()] as const;
  private readonly energy = new Spring();
  private readonly speech = new Spring();
  private readonly brow = new Spring();
  private readonly arms = [new Spring(), new Spring()] as const;
  private readonly posture = { yaw: 0, roll: 0, lean: 0, headYaw: 0, headRoll: 0 };
  private readonly shift: Interval;
  private readonly nod: Interval;
  private nodAge = Infinity;
  private nodSize = 0;
  private side = 1;
  private readonly motion: Motion = still();
  private readonly gestures = new Map<number, Gesture | undefined>();
  private seenBlink = 0;

  constructor(private readonly random: Random) {
    this.blinks = new Blinks(random);
    this.gaze = new Gaze(random);
    this.drifts = [0.11, 0.13, 0.09, 0.05, 0.06].map((hertz) => new Drift(random, hertz));
    this.shift = new Interval(random, 7, 16);
    this.nod = new Interval(random, 2.2, 5.5);
    this.breathPhase = random();
  }

  /** Advances by `moment.dt` seconds and writes `pose`. */
  step(moment: Moment): void {
    const { dt, mode } = moment;
    this.seconds += dt;
    const speech = this.speech.step(moment.speaking, 14, dt);
    const energy = this.energy.step(moment.openness * moment.speaking, 7, dt);
    for (const name of MODES) this.share.get(name)!.step(name === mode ? 1 : 0, 4.5, dt);
    this.gesture(moment);
    this.breathe(dt, speech);
    this.lookAround(moment);
    this.carry(moment, energy);
    this.show(moment, speech, energy);
  }

  /** Feelings alone, for people who asked for less motion. */
  stepStill(moment: Moment): void {
    const speech = this.speech.step(moment.speaking, 14, moment.dt);
    this.pose.eyes.pitch = moment.lens.pitch;
    this.pose.eyes.yaw = moment.lens.yaw;
    this.show(moment, speech, 0);
  }

  private gesture(moment: Moment): void {
    const out = Object.assign(this.motion, still());
    const sum = { pitch: 0, yaw: 0, roll: 0, lean: 0, brow: 0 };
    for (const cue of moment.cues) {
      if (cue.type === "blink" && cue.serial > this.seenBlink) {
        this.seenBlink = cue.serial;
        this.blinks.now();
      }
      if (cue.type !== "gesture" && cue.type !== "animation" && cue.type !== "pose") continue;
      if (!this.gestures.has(cue.serial)) this.gestures.set(cue.serial, gesture(cue.name));
      const play = this.gestures.get(cue.serial);
      if (!play) continue;
      out.pitch = out.yaw = out.roll = out.lean = out.brow = 0;
      play(out, cue.age, cue.length, cue.level);
      sum.pitch += out.pitch;
      sum.yaw += out.yaw;
      sum.roll += out.roll;
      sum.lean += out.lean;
      sum.brow += out.brow;
    }
    Object.assign(out, sum);
    if (this.gestures.size > 64) this.gestures.clear();
  }

  private breathe(dt: number, speech: number): void {
    this.breathPhase = (this.breathPhase + dt / (4.3 - 0.8 * speech)) % 1;
    const inhale = 0.42;
    const x = this.breathPhase < inhale ? this.breathPhase / inhale : (1 - this.breathPhase) / (1 - inhale);
    this.pose.breath = 0.5 - 0.5 * Math.cos(Math.PI * x);
    this.pose.shrug = this.motion.shrug;
  }

  private lookAround(moment: Moment): void {
    let look: string | null = null;
    for (const cue of moment.cues) if (cue.type === "gaze" && cue.level > 0.05) look = cue.name;
    this.gaze.step(moment.dt, moment.mode, look);
    if (this.gaze.shifted && this.random() < 0.4) this.blinks.now();
    this.blinks.step(moment.dt, STANCES[moment.mode].blinkPace);
  }

  private carry({ dt, mode, lens }: Moment, energy: number): void {
    const { head, trunk } = this.pose;
    const { posture, motion } = this;
    if (this.shift.due(dt)) {
      posture.yaw = between(this.random, -0.05, 0.05);
      posture.roll = between(this.random, -0.018, 0.018);
      posture.lean = between(this.random, -0.012, 0.02);
      posture.headYaw = between(this.random, -0.05, 0.05);
      posture.headRoll = between(this.random, -0.03, 0.03);
    }
    if (mode === "listening" && this.nod.due(dt)) {
      this.nodAge = 0;
      this.nodSize = between(this.random, 0.04, 0.075);
    }
    this.nodAge += dt;
    const glance = this.gaze.towards.yaw;
    if (Math.abs(glance) > 0.05) this.side = Math.sign(glance);
    let pitch = 0;
    let yaw = posture.headYaw;
    let roll = posture.headRoll;
    let lean = posture.lean;
    let sway = 0;
    for (const name of MODES) {
      const share = this.share.get(name)!.x;
      const stance = STANCES[name];
      pitch += share * stance.head.pitch;
      yaw += share * stance.head.yaw * this.side;
      roll += share * stance.head.roll * -this.side;
      lean += share * stance.lean;
      sway += share * stance.sway;
    }
    for (const [k, feeling, level] of this.feelings) {
      pitch += feeling.head[0] * level;
      yaw += feeling.head[1] * level;
      roll += feeling.head[2] * level * (k % 2 ? 1 : -1);
    }
    const [a, b, c, d, e] = this.drifts.map((drift) => drift.at(this.seconds * (0.8 + 0.2 * sway)));
    const followPitch = this.follow[0].step(this.gaze.towards.pitch * 0.3, 5.5, dt);
    const followYaw = this.follow[1].step(this.gaze.towards.yaw * 0.38, 5.5, dt);
    const nodding = Math.sin(Math.min(1, this.nodAge / 0.75) * Math.PI * 2) ** 2 * Math.exp(-this.nodAge * 1.6);
    const settle = 3.2;
    head.pitch = this.head[0].step(pitch, settle, dt) + followPitch + 0.016 * sway * a! + this.nodSize * nodding
      + motion.pitch + 0.035 * energy;
    head.yaw = this.head[1].step(yaw, settle, dt) + followYaw + 0.024 * sway * b! + motion.yaw;
    head.roll = this.head[2].step(roll, settle, dt) + 0.016 * sway * c! + motion.roll;
    trunk.lean = this.trunk[0].step(lean, 1.8, dt) + motion.lean + 0.006 * sway * d! + 0.006 * this.pose.breath;
    trunk.yaw = this.trunk[1].step(posture.yaw, 1.3, dt) + 0.012 * sway * e!;
    trunk.roll = this.trunk[2].step(posture.roll, 1.3, dt) + 0.005 * sway * d!;
    this.pose.leftArm = this.arms[0].step(motion.left, 16, dt);
    this.pose.rightArm = this.arms[1].step(motion.right, 16, dt);
    if (motion.left + motion.right > 0) this.pose.arm = motion.pose;
    this.pose.swing = motion.swing;
    // The eyes make up for what the head does, which is what eye contact is.
    const { eyes } = this.pose;
    eyes.pitch = clamp(lens.pitch + this.gaze.pitch - head.pitch - 0.6 * trunk.lean, -EYE_REACH.up, EYE_REACH.down);
    eyes.yaw = clamp(lens.yaw + this.gaze.yaw - head.yaw - trunk.yaw, -EYE_REACH.yaw, EYE_REACH.yaw);
  }

  private readonly feelings: [number, Expression, number][] = [];

  private show(moment: Moment, speech: number, energy: number): void {
    const { face, eyes } = this.pose;
    face.fill(0);
    this.feelings.length = 0;
    let taken = 0;
    for (const cue of moment.cues) {
      if (cue.type !== "emotion") continue;
      const found = expression(cue.name);
      if (!found) continue;
      const level = cue.level * (1 - taken);
      taken += level * 0.7;
      this.feelings.push([cue.serial, found, level]);
    }
    const mouth = (1 - (1 - MOUTH_WHILE_SPEAKING) * speech) * (1 - 0.85 * moment.closure);
    for (const [, feeling, level] of this.feelings) feeling.blend.addTo(face, level, level * mouth);
    for (const name of MODES) {
      const stance = STANCES[name];
      const level = this.share.get(name)!.x * stance.strength * (1 - Math.min(1, taken));
      stance.expression.blend.addTo(face, level, level * mouth);
    }
    const brow = this.brow.step(this.motion.brow + 0.22 * energy, 18, moment.dt);
    BROW.addTo(face, brow, 0);

    const down = clamp(eyes.pitch / EYE_REACH.down, 0, 1);
    const up = clamp(-eyes.pitch / EYE_REACH.up, 0, 1);
    const left = clamp(eyes.yaw / EYE_REACH.yaw, 0, 1);
    const right = clamp(-eyes.yaw / EYE_REACH.yaw, 0, 1);
    for (const k of LOOK.down) face[k] = face[k]! + down;
    for (const k of LOOK.up) face[k] = up;
    for (const k of LOOK.left) face[k] = left;
    for (const k of LOOK.right) face[k] = right;
    for (const side of ["left", "right"] as const) {
      const shut = this.blinks[side];
      // A lid that already follows the gaze down, or squints, has less far to fall.
      const lowered = 0.45 * face[LOOK.down[side === "left" ? 0 : 1]]! + 0.25 * face[SQUINT[side]]!;
      face[LID[side]] = Math.max(0, shut * (1 - lowered));
      face[WIDE[side]] = face[WIDE[side]]! * (1 - shut);
      face[SQUINT[side]] = face[SQUINT[side]]! + 0.12 * shut;
    }
    for (let k = 0; k < face.length; k++) face[k] = clamp(face[k]!, 0, 1);
  }
}
