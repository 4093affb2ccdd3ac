/** Gestures: head movements as curves over time, arm movements as directions for upper arm and forearm. */

import { smoothstep } from "./motion.ts";

export type Vector = readonly [x: number, y: number, z: number];

/** An arm as the avatar's own left one (x outwards, y up, z to the front); the right one is its mirror. */
export interface ArmPose {
  readonly upper: Vector;
  readonly fore: Vector;
  /** Radians about the forearm: positive turns the palm up and outwards. */
  readonly twist: number;
  /** Radians the hand bends back (positive) or down. */
  readonly wrist: number;
  /** 0 flat to 1 fist. */
  readonly curl: number;
}

export const AT_SIDE: ArmPose = { upper: [0.2, -0.97, -0.04], fore: [0.06, -0.96, 0.26], twist: 0, wrist: 0, curl: 0.32 };
const OFFER: ArmPose = { upper: [0.05, -0.76, 0.56], fore: [-0.06, 0.84, 0.5], twist: 1.3, wrist: 0.3, curl: 0.18 };
const EXPLAIN: ArmPose = { upper: [0.14, -0.8, 0.5], fore: [-0.18, 0.86, 0.44], twist: 0.7, wrist: 0.1, curl: 0.3 };
const RAISED: ArmPose = { upper: [0.2, -0.88, 0.4], fore: [-0.04, 0.97, 0.2], twist: -0.5, wrist: 0.15, curl: 0.08 };
const HEART: ArmPose = { upper: [0.34, -0.8, 0.46], fore: [-0.72, 0.66, 0.2], twist: -0.2, wrist: 0, curl: 0.15 };
const SHRUG: ArmPose = { upper: [0.16, -0.8, 0.5], fore: [0.14, 0.82, 0.5], twist: 1.5, wrist: 0.35, curl: 0.12 };
const POINT: ArmPose = { upper: [0.12, -0.78, 0.56], fore: [-0.06, 0.82, 0.55], twist: 0.4, wrist: 0.3, curl: 0.75 };

/** Everything a gesture may add at one moment; angles are radians. */
export interface Motion {
  pitch: number;
  yaw: number;
  roll: number;
  lean: number;
  brow: number;
  shrug: number;
  /** 0 to 1 towards `pose`, and a wave of the forearm from side to side. */
  left: number;
  right: number;
  pose: ArmPose;
  swing: number;
}

export const still = (): Motion => ({
  pitch: 0, yaw: 0, roll: 0, lean: 0, brow: 0, shrug: 0, left: 0, right: 0, pose: AT_SIDE, swing: 0,
});

/** What a gesture does `age` seconds in, of `length` seconds, at envelope `level`; it writes into `out`. */
export type Gesture = (out: Motion, age: number, length: number, level: number) => void;

const hump = (x: number): number => (x <= 0 || x >= 1 ? 0 : Math.sin(Math.PI * x) ** 2);

const arms =
  (pose: ArmPose, left: number, right: number, also?: Gesture): Gesture =>
  (out, age, length, level) => {
    const up = smoothstep(age / 0.45) * (1 - smoothstep((age - Math.max(0.45, length - 0.15)) / 0.45)) * Math.min(1, level * 2);
    out.pose = pose;
    out.left = left * up;
    out.right = right * up;
    also?.(out, age, length, level);
  };

const GESTURES: Readonly<Record<string, Gesture>> = {
  nod: (out, age, length, level) => {
    const beats = Math.max(1, Math.round(length / 0.45));
    const x = age / length;
    out.pitch = x < 1 ? level * 0.11 * Math.sin(Math.PI * beats * x) ** 2 * (1 - 0.5 * x) : 0;
  },
  shake: (out, age, length, level) => {
    const x = age / length;
    out.yaw = level * 0.14 * Math.sin(2 * Math.PI * Math.max(1, Math.round(length / 0.5)) * x) * hump(x * 0.9 + 0.05);
  },
  tilt: (out, _age, _length, level) => {
    out.roll = 0.12 * level;
  },
  beat: (out, age, _length, level) => {
    const x = age / 0.36;
    out.pitch = level * 0.065 * (hump(x) - 0.35 * hump(x - 0.75));
    out.brow = 0.25 * level * hump(age / 0.5);
  },
  brow: (out, age, length, level) => {
    out.brow = 0.6 * level * hump(age / Math.max(0.4, length));
  },
  shrug: arms(SHRUG, 0.85, 0.9, (out, age, length, level) => {
    out.shrug = level * hump(age / Math.max(0.9, length));
    out.roll = 0.06 * level;
    out.brow = 0.35 * level;
  }),
  lean: (out, _age, _length, level) => {
    out.lean = 0.07 * level;
  },
  bow: (out, age, length, level) => {
    const x = hump(age / Math.max(1, length));
    out.lean = 0.16 * level * x;
    out.pitch = 0.2 * level * x;
  },
  wave: arms(RAISED, 0, 1, (out, age, length, level) => {
    out.swing = level * 0.26 * Math.sin(2 * Math.PI * 2 * (age - 0.3)) * smoothstep((age - 0.2) / 0.3) * (1 - smoothstep((age - length + 0.3) / 0.3));
    out.roll = -0.05 * level;
  }),
  offer: arms(OFFER, 0.35, 1),
  open: arms(OFFER, 1, 1),
  explain: arms(EXPLAIN, 0.2, 1, (out, age, _length, level) => {
    out.swing = 0.08 * level * Math.sin(2 * Math.PI * 1.1 * age);
  }),
  heart: arms(HEART, 0, 1),
  point: arms(POINT, 0, 1),
};

const ALIASES: Readonly<Record<string, string>> = {
  yes: "nod", head_nod: "nod", no: "shake", head_shake: "shake", head_tilt: "tilt", head_beat: "beat",
  stress: "beat", emphasis: "beat", brow_raise: "brow", brows: "brow", eyebrow: "brow", lean_in: "lean",
  hello: "wave", greet: "wave", greeting: "wave", goodbye: "wave", open_hands: "open", open_palms: "open",
  welcome: "open", present: "offer", hand: "explain", talk: "explain", thanks: "heart", hand_on_heart: "heart",
  handbeat: "explain", hand_beat: "explain", namaste: "bow", pointing: "point",
};

/** The gesture called `name`, or one meaning the same; undefined when nothing fits. */
export function gesture(name: string): Gesture | undefined {
  const key = name.toLowerCase();
  return GESTURES[ALIASES[key] ?? key];
}
