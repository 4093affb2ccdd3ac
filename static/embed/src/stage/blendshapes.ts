/** The face's vocabulary: the 52 ARKit names, each viseme as ARKit shapes, and each feeling as ARKit shapes. */

import { SPOKEN, VISEMES } from "../generated/visemes.ts";

const SIDED = [
  "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
  "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile",
  "mouthStretch", "mouthUpperUp", "noseSneer",
];
const SINGLE = [
  "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel",
  "mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
  "mouthShrugUpper", "tongueOut",
];

export const ARKIT: readonly string[] = [...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`]), ...SINGLE];
export const ARKIT_INDEX: ReadonlyMap<string, number> = new Map(ARKIT.map((name, i) => [name, i]));

/** True for shapes that move the lips or the jaw, which speech has the first claim on. */
export const IS_MOUTH: readonly boolean[] = ARKIT.map((name) => /^(mouth|jaw|tongue|cheekPuff)/.test(name));

export type Shape = Readonly<Record<string, number>>;

/** Indices and weights of a shape; a name that is one of a pair stands for both sides. */
export class Blend {
  readonly index: number[] = [];
  readonly weight: number[] = [];

  constructor(shape: Shape) {
    for (const [name, weight] of Object.entries(shape)) {
      for (const full of SIDED.includes(name) ? [`${name}Left`, `${name}Right`] : [name]) {
        const i = ARKIT_INDEX.get(full);
        if (i === undefined) throw new Error(`no ARKit shape is called ${full}`);
        this.index.push(i);
        this.weight.push(weight);
      }
    }
  }

  /** Adds the shape to `face` (52 weights): `upper` scales brows, eyes and cheeks, `mouth` lips and jaw. */
  addTo(face: Float32Array, upper: number, mouth: number): void {
    for (let k = 0; k < this.index.length; k++) {
      const i = this.index[k]!;
      face[i] = face[i]! + this.weight[k]! * (IS_MOUTH[i] ? mouth : upper);
    }
  }
}

/** For faces without viseme targets: what lips, jaw and tongue do. */
export const VISEME_BLENDS: readonly Blend[] = VISEMES.map((name) => new Blend(SPOKEN[name]));

/** How far each viseme opens the mouth, 0 to 1: the loudness that a face can see of itself. */
export const OPENNESS: readonly number[] = VISEMES.map((name) => (SPOKEN[name]["jawOpen"] ?? 0) / SPOKEN.aa["jawOpen"]!);

export interface Expression {
  readonly blend: Blend;
  /** Radians added to the head: nod down, turn, tilt. */
  readonly head: readonly [pitch: number, yaw: number, roll: number];
}

const express = (shape: Shape, head: Expression["head"] = [0, 0, 0]): Expression => ({
  blend: new Blend(shape),
  head,
});

export const EXPRESSIONS: Readonly<Record<string, Expression>> = {
  joy: express(
    { mouthSmile: 0.85, cheekSquint: 0.7, eyeSquint: 0.35, browOuterUp: 0.25, browInnerUp: 0.15, mouthUpperUp: 0.12 },
    [-0.02, 0, 0.03],
  ),
  warmth: express({ mouthSmile: 0.55, cheekSquint: 0.4, eyeSquint: 0.18, browInnerUp: 0.25 }, [0.01, 0, 0.05]),
  amusement: express(
    { mouthSmile: 0.95, cheekSquint: 0.9, eyeSquint: 0.5, jawOpen: 0.12, browOuterUp: 0.3, mouthDimple: 0.2 },
    [-0.04, 0, -0.04],
  ),
  concern: express({ browInnerUp: 0.9, browDown: 0.25, mouthFrown: 0.35, mouthPress: 0.2, eyeSquint: 0.12 }, [
    0.03, 0, 0.06,
  ]),
  sadness: express({ browInnerUp: 1, mouthFrown: 0.6, mouthShrugLower: 0.25, eyeLookDown: 0.12 }, [0.08, 0, 0.04]),
  surprise: express({ browInnerUp: 0.9, browOuterUp: 0.9, eyeWide: 0.7, jawOpen: 0.2, mouthFunnel: 0.1 }, [-0.05, 0, 0]),
  anger: express({ browDown: 0.9, eyeSquint: 0.4, noseSneer: 0.35, mouthPress: 0.5, mouthFrown: 0.25 }, [0.04, 0, 0]),
  fear: express({ browInnerUp: 1, browOuterUp: 0.4, eyeWide: 0.65, mouthStretch: 0.45 }, [-0.03, 0, 0]),
  disgust: express({ noseSneer: 0.75, mouthUpperUp: 0.3, browDown: 0.5, eyeSquint: 0.4, mouthFrown: 0.25 }, [
    -0.02, 0.05, 0,
  ]),
  confusion: express(
    { browDownLeft: 0.65, browOuterUpRight: 0.7, eyeSquintLeft: 0.35, mouthPressLeft: 0.3, mouthLeft: 0.2 },
    [0, 0.03, 0.09],
  ),
  curiosity: express({ browOuterUp: 0.6, browInnerUp: 0.5, eyeWide: 0.25, mouthSmile: 0.2 }, [0.03, 0, 0.07]),
  thought: express({ browInnerUp: 0.3, browDownLeft: 0.4, browOuterUpRight: 0.4, mouthPress: 0.3, mouthLeft: 0.18 }),
  attention: express({ browInnerUp: 0.28, browOuterUp: 0.22, eyeWide: 0.08, mouthSmile: 0.2, cheekSquint: 0.1 }),
  neutral: express({}),
};

const ALIASES: Readonly<Record<string, string>> = {
  happy: "joy", happiness: "joy", smile: "joy", excited: "joy", excitement: "joy", positive: "joy",
  warm: "warmth", love: "warmth", caring: "warmth", gratitude: "warmth", friendly: "warmth", calm: "warmth",
  laugh: "amusement", amused: "amusement", empathy: "concern", worried: "concern", apology: "concern",
  sympathy: "concern", sorry: "concern", sad: "sadness", negative: "concern", surprised: "surprise",
  angry: "anger", afraid: "fear", confused: "confusion", curious: "curiosity", interest: "curiosity",
  thinking: "thought", thoughtful: "thought", attentive: "attention",
};

/** The expression called `name`, or one meaning the same; undefined when nothing fits. */
export function expression(name: string): Expression | undefined {
  const key = name.toLowerCase();
  return EXPRESSIONS[ALIASES[key] ?? key];
}
