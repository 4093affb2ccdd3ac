/** The avatar's body as the life needs it: morph targets by name across all meshes, bones turned in the model's axes. */

import { Euler, Mesh, Quaternion, SkinnedMesh, Vector3, type Bone, type Group, type Object3D } from "three";
import { VISEMES } from "../generated/visemes.ts";
import { ARKIT, VISEME_BLENDS } from "./blendshapes.ts";
import { AT_SIDE, type ArmPose, type Vector } from "./gestures.ts";
import type { Pose } from "./life.ts";

interface Slot {
  readonly influences: number[];
  readonly index: number;
}

const SIDES = ["Left", "Right"] as const;
type Side = (typeof SIDES)[number];

/** One bone, its rest pose, and the rest orientation of what it hangs on. */
class Joint {
  private readonly rest: Quaternion;
  private readonly parent: Quaternion;
  private readonly back: Quaternion;
  readonly place: Vector3;

  constructor(readonly bone: Object3D) {
    this.rest = bone.quaternion.clone();
    this.parent = bone.parent!.getWorldQuaternion(new Quaternion());
    this.back = this.parent.clone().invert();
    this.place = bone.getWorldPosition(new Vector3());
  }

  /** Turns the bone from rest by `turn`, given in the model's axes as they were at rest. */
  turn(turn: Quaternion): void {
    this.bone.quaternion.copy(this.back).multiply(turn).multiply(this.parent).multiply(this.rest);
  }
}

interface Arm {
  readonly upper: Joint;
  readonly fore: Joint;
  readonly hand: Joint;
  readonly upperRest: Vector3;
  readonly foreRest: Vector3;
  /** Fingers in the order of their bones, each with the axis it curls about. */
  readonly fingers: readonly { readonly joint: Joint; readonly axis: Vector3 }[];
}

const euler = new Euler();
const q = { a: new Quaternion(), b: new Quaternion(), c: new Quaternion(), d: new Quaternion(), e: new Quaternion() };
const v = { a: new Vector3(), b: new Vector3(), c: new Vector3() };

export class Avatar {
  /** Viseme targets exist; otherwise the lips are made of ARKit shapes. */
  readonly hasVisemes: boolean;
  readonly missing: readonly string[];
  /** Where the eyes are, and the top of the head, at rest, in metres. */
  readonly eyeLine: Vector3;
  readonly crown: number;

  private readonly slots = new Map<string, Slot[]>();
  private readonly shapes: readonly (readonly Slot[])[];
  private readonly visemes: readonly (readonly Slot[])[];
  private readonly joints = new Map<string, Joint>();
  private readonly arms = new Map<Side, Arm>();
  private readonly eyesByBone: boolean;
  private readonly mixed = new Float32Array(ARKIT.length);

  constructor(readonly root: Group) {
    root.updateMatrixWorld(true);
    let eyeMorphs = false;
    let crown = -Infinity;
    root.traverse((node) => {
      const name = node.name.replace(/^mixamorig:?/, "");
      if ((node as Bone).isBone && !this.joints.has(name)) this.joints.set(name, new Joint(node));
      if (!(node instanceof Mesh)) return;
      node.frustumCulled = false;
      if (node instanceof SkinnedMesh) node.computeBoundingBox();
      else node.geometry.computeBoundingBox();
      crown = Math.max(crown, ((node as SkinnedMesh).boundingBox ?? node.geometry.boundingBox!).max.y);
      const { morphTargetDictionary: names, morphTargetInfluences: influences } = node;
      if (!names || !influences) return;
      for (const [target, index] of Object.entries(names)) {
        const list = this.slots.get(target);
        if (list) list.push({ influences, index });
        else this.slots.set(target, [{ influences, index }]);
      }
      if (/eye/i.test(node.name) && !/lash|brow/i.test(node.name)) eyeMorphs ||= "eyeLookInLeft" in names;
    });
    this.shapes = ARKIT.map((name) => this.slots.get(name) ?? []);
    this.visemes = VISEMES.map((name) => this.slots.get(`viseme_${name}`) ?? []);
    this.hasVisemes = this.visemes.filter((slots) => slots.length > 0).length >= VISEMES.length - 1;
    this.missing = ARKIT.filter((name) => !this.slots.has(name));
    this.eyesByBone = !eyeMorphs && this.joints.has("LeftEye");
    this.crown = crown;
    this.eyeLine = this.findEyes();
    for (const side of SIDES) this.findArm(side);
  }

  /** Shows `pose` with the lips at `weights` (in the order of VISEMES). */
  apply(pose: Pose, weights: Float32Array): void {
    this.bend(pose);
    const { mixed } = this;
    mixed.set(pose.face);
    if (!this.hasVisemes) for (let k = 0; k < weights.length; k++) VISEME_BLENDS[k]!.addTo(mixed, 0, weights[k]!);
    for (let k = 0; k < this.shapes.length; k++) {
      const weight = Math.min(1, mixed[k]!);
      for (const { influences, index } of this.shapes[k]!) influences[index] = weight;
    }
    if (!this.hasVisemes) return;
    for (let k = 0; k < this.visemes.length; k++) {
      for (const { influences, index } of this.visemes[k]!) influences[index] = weights[k]!;
    }
  }

  private bend(pose: Pose): void {
    const { head, trunk, breath, shrug } = pose;
    this.rotate("Spine", trunk.lean * 0.4, trunk.yaw * 0.4, trunk.roll * 0.5);
    this.rotate("Spine1", trunk.lean * 0.3 - 0.006 * breath, trunk.yaw * 0.3, trunk.roll * 0.3);
    this.rotate("Spine2", trunk.lean * 0.3 - 0.014 * breath, trunk.yaw * 0.3, trunk.roll * 0.2);
    // The neck takes a third, and undoes the tilt that breathing gives the chest.
    this.rotate("Neck", head.pitch * 0.35 + 0.01 * breath, head.yaw * 0.35, head.roll * 0.4);
    this.rotate("Head", head.pitch * 0.65 + 0.01 * breath, head.yaw * 0.65, head.roll * 0.6);
    const lift = 0.018 * breath + 0.22 * shrug;
    this.rotate("LeftShoulder", 0, 0, lift);
    this.rotate("RightShoulder", 0, 0, -lift);
    if (this.eyesByBone) for (const side of SIDES) this.rotate(`${side}Eye`, pose.eyes.pitch, pose.eyes.yaw, 0);
    this.place("Left", pose.leftArm, pose);
    this.place("Right", pose.rightArm, pose);
  }

  /** Radians: pitch turns the front downwards, yaw turns it to the avatar's left (+x), roll tips +x upwards. */
  private rotate(name: string, pitch: number, yaw: number, roll: number): void {
    this.joints.get(name)?.turn(q.a.setFromEuler(euler.set(pitch, yaw, roll, "YXZ")));
  }

  private place(side: Side, amount: number, pose: Pose): void {
    const arm = this.arms.get(side);
    if (!arm) return;
    const mirror = side === "Left" ? 1 : -1;
    const to: ArmPose = pose.arm;
    const swing = pose.swing * amount * mirror;
    this.direction(v.a, AT_SIDE.upper, to.upper, amount, mirror);
    this.direction(v.b, AT_SIDE.fore, to.fore, amount, mirror);
    if (swing !== 0) v.b.applyQuaternion(q.a.setFromAxisAngle(v.c.set(0, 0, 1), -swing));
    const upper = q.b.setFromUnitVectors(arm.upperRest, v.a);
    arm.upper.turn(upper);
    // From rest to its target as the upper arm carries it, then about itself.
    const fore = q.c.setFromUnitVectors(v.c.copy(arm.foreRest).applyQuaternion(upper), v.b).multiply(upper);
    const twist = (AT_SIDE.twist + (to.twist - AT_SIDE.twist) * amount) * mirror;
    q.a.setFromAxisAngle(v.b, -twist);
    const foreTwisted = q.d.setFromAxisAngle(v.b, -twist * 0.5).multiply(fore);
    const carried = q.e.copy(upper).invert().multiply(foreTwisted);
    arm.fore.turn(carried);
    const wrist = (AT_SIDE.wrist + (to.wrist - AT_SIDE.wrist) * amount);
    const hand = q.a.multiply(fore);
    q.b.copy(foreTwisted).invert().multiply(hand);
    v.a.copy(arm.fingers[0]?.axis ?? v.c.set(0, 0, 1));
    arm.hand.turn(q.b.multiply(q.c.setFromAxisAngle(v.a, -wrist)));
    const curl = AT_SIDE.curl + (to.curl - AT_SIDE.curl) * amount;
    for (const { joint, axis } of arm.fingers) joint.turn(q.a.setFromAxisAngle(axis, curl));
  }

  private direction(out: Vector3, from: Vector, to: Vector, amount: number, mirror: number): void {
    out.set(from[0] + (to[0] - from[0]) * amount, from[1] + (to[1] - from[1]) * amount, from[2] + (to[2] - from[2]) * amount);
    // Half way between opposite directions the arm swings out to the front instead of through the body.
    out.z += 0.35 * amount * (1 - amount);
    out.x *= mirror;
    out.normalize();
  }

  private findEyes(): Vector3 {
    const left = this.joints.get("LeftEye");
    const right = this.joints.get("RightEye");
    if (left && right) return left.place.clone().add(right.place).multiplyScalar(0.5);
    const head = this.joints.get("Head")?.place ?? v.a.set(0, this.crown - 0.22, 0);
    return new Vector3(head.x, head.y + (this.crown - head.y) * 0.42, head.z + 0.08);
  }

  private findArm(side: Side): void {
    const upper = this.joints.get(`${side}Arm`);
    const fore = this.joints.get(`${side}ForeArm`);
    const hand = this.joints.get(`${side}Hand`);
    if (!upper || !fore || !hand) return;
    const place = (name: string): Vector3 | undefined => this.joints.get(`${side}Hand${name}`)?.place;
    const index = place("Index1");
    const pinky = place("Pinky1");
    const fingers: { joint: Joint; axis: Vector3 }[] = [];
    if (index && pinky) {
      // Fingers curl about the line of the knuckles, towards the palm.
      const axis = index.clone().sub(pinky).normalize().multiplyScalar(side === "Left" ? -1 : 1);
      for (const finger of ["Index", "Middle", "Ring", "Pinky"]) {
        for (const part of [1, 2, 3]) {
          const joint = this.joints.get(`${side}Hand${finger}${part}`);
          if (joint) fingers.push({ joint, axis });
        }
      }
    }
    this.arms.set(side, {
      upper, fore, hand, fingers,
      upperRest: fore.place.clone().sub(upper.place).normalize(),
      foreRest: hand.place.clone().sub(fore.place).normalize(),
    });
  }
}
