// The avatar's life, replayed from a seed at sixty frames a second.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActiveCue } from "../mouth.ts";
import { ARKIT_INDEX, EXPRESSIONS, expression, IS_MOUTH } from "./blendshapes.ts";
import { lid } from "./blink.ts";
import { gesture } from "./gestures.ts";
import { Life, type Mode, type Moment, type Pose } from "./life.ts";
import { seeded, Spring } from "./motion.ts";

const DT = 1 / 60;
const shape = (pose: Pose, name: string): number => pose.face[ARKIT_INDEX.get(name)!]!;

function moment(over: Partial<Moment> = {}): Moment {
  return {
    dt: DT, mode: "idle", cues: [], speaking: 0, openness: 0, closure: 0, lens: { pitch: 0, yaw: 0 }, ...over,
  };
}

/** Runs a life for `seconds` and gives every frame to `see`. */
function live(seconds: number, over: Partial<Moment>, see: (pose: Pose, frame: number) => void, seed = 7): void {
  const life = new Life(seeded(seed));
  for (let frame = 0; frame < seconds * 60; frame++) {
    life.step(moment(over));
    see(life.pose, frame);
  }
}

const cue = (over: Partial<ActiveCue>): ActiveCue => ({
  serial: 1, type: "emotion", name: "joy", amp: 1, length: 2, age: 1, level: 1, ...over,
});

test("the same seed gives the same performance, another seed another", () => {
  const record = (seed: number): number[] => {
    const seen: number[] = [];
    live(20, { mode: "talking" }, (pose) => seen.push(pose.head.yaw, pose.eyes.yaw, shape(pose, "eyeBlinkLeft")), seed);
    return seen;
  };
  assert.deepEqual(record(1), record(1));
  assert.notDeepEqual(record(1), record(2));
});

test("blinks come every two to six seconds and whenever they are asked for", () => {
  const starts: number[] = [];
  let shut = false;
  live(120, {}, (pose, frame) => {
    const now = shape(pose, "eyeBlinkLeft") > 0.5;
    if (now && !shut) starts.push(frame / 60);
    shut = now;
  });
  assert.ok(starts.length > 20 && starts.length < 75, `${starts.length} blinks in two minutes`);
  const life = new Life(seeded(3));
  life.step(moment());
  for (let n = 0; n < 6; n++) life.step(moment({ cues: [cue({ type: "blink", name: "blink" })] }));
  assert.ok(shape(life.pose, "eyeBlinkLeft") > 0.6);
});

test("a lid closes faster than it opens", () => {
  const peak = Array.from({ length: 300 }, (_, ms) => lid(ms / 1000)).findIndex((x) => x > 0.999);
  assert.ok(peak < 90, `closed after ${peak} ms`);
  assert.ok(lid(0.2) > 0.1);
  assert.equal(lid(0.3), 0);
});

for (const mode of ["idle", "listening", "thinking", "talking"] as const) {
  test(`nothing but an eye snaps while ${mode}`, () => {
    let last: number[] | null = null;
    live(60, { mode }, (pose) => {
      const now = [pose.head.pitch, pose.head.yaw, pose.head.roll, pose.trunk.lean, pose.trunk.yaw, pose.breath * 0.02];
      for (const [k, x] of now.entries()) {
        assert.ok(Math.abs(x) < 0.4, `angle ${k} of ${x}`);
        if (last) assert.ok(Math.abs(x - last[k]!) < 0.014, `angle ${k} jumps by ${x - last[k]!}`);
      }
      last = now;
    });
  });
}

test("changing the mode blends instead of snapping", () => {
  const life = new Life(seeded(5));
  let last = Float32Array.from(life.pose.face);
  let pitch = 0;
  const modes: Mode[] = ["idle", "listening", "thinking", "talking"];
  const brow = ARKIT_INDEX.get("browInnerUp")!;
  for (let frame = 0; frame < 1200; frame++) {
    life.step(moment({ mode: modes[Math.floor(frame / 100) % 4]! }));
    if (frame > 0) {
      assert.ok(Math.abs(life.pose.face[brow]! - last[brow]!) < 0.05);
      assert.ok(Math.abs(life.pose.head.pitch - pitch) < 0.014);
    }
    last = Float32Array.from(life.pose.face);
    pitch = life.pose.head.pitch;
  }
});

test("the eyes stay on the person most of the time, except while thinking", () => {
  const contact = (mode: Mode): number => {
    let on = 0;
    live(90, { mode }, (pose) => {
      const yaw = pose.eyes.yaw + pose.head.yaw + pose.trunk.yaw;
      const pitch = pose.eyes.pitch + pose.head.pitch + 0.6 * pose.trunk.lean;
      if (Math.hypot(yaw, pitch) < 0.06) on += 1;
    });
    return on / (90 * 60);
  };
  assert.ok(contact("listening") > 0.75, `listening ${contact("listening")}`);
  assert.ok(contact("idle") > 0.6, `idle ${contact("idle")}`);
  assert.ok(contact("talking") > 0.6, `talking ${contact("talking")}`);
  assert.ok(contact("thinking") < 0.4, `thinking ${contact("thinking")}`);
});

test("a listener nods now and then", () => {
  let deepest = -1;
  let sum = 0;
  live(30, { mode: "listening" }, (pose) => {
    deepest = Math.max(deepest, pose.head.pitch);
    sum += pose.head.pitch;
  });
  assert.ok(deepest - sum / 1800 > 0.025);
});

test("a feeling leaves the lips to speech", () => {
  const smile = (speaking: number, closure: number): number => {
    const life = new Life(seeded(1));
    for (let n = 0; n < 120; n++) life.step(moment({ mode: "talking", speaking, closure, cues: [cue({})] }));
    return shape(life.pose, "mouthSmileLeft");
  };
  assert.ok(smile(0, 0) > 0.55);
  assert.ok(smile(1, 0) < 0.45 * smile(0, 0));
  assert.ok(smile(1, 1) < 0.1);
});

test("weights stay between 0 and 1 with every feeling at once", () => {
  const cues = Object.keys(EXPRESSIONS).map((name, serial) => cue({ serial, name }));
  live(8, { mode: "thinking", cues }, (pose) => {
    for (const weight of pose.face) assert.ok(weight >= 0 && weight <= 1);
  });
});

test("less motion means a still head, no blinks, and feelings that still show", () => {
  const life = new Life(seeded(1));
  for (let n = 0; n < 600; n++) life.stepStill(moment({ mode: "talking", cues: [cue({})] }));
  assert.deepEqual(life.pose.head, { pitch: 0, yaw: 0, roll: 0 });
  assert.equal(shape(life.pose, "eyeBlinkLeft"), 0);
  assert.ok(shape(life.pose, "mouthSmileLeft") > 0.4);
});

test("a wave raises the right arm and brings it back", () => {
  const life = new Life(seeded(1));
  let highest = 0;
  for (let n = 0; n < 240; n++) {
    const age = n / 60;
    const cues = age < 2 ? [cue({ type: "gesture", name: "wave", age, length: 1.7, level: 1 })] : [];
    life.step(moment({ cues }));
    highest = Math.max(highest, life.pose.rightArm);
  }
  assert.ok(highest > 0.9);
  assert.ok(life.pose.rightArm < 0.01);
  assert.equal(life.pose.leftArm, 0);
});

test("names that mean the same find the same feeling or gesture; unknown ones find none", () => {
  assert.equal(expression("Happy"), EXPRESSIONS.joy);
  assert.equal(gesture("yes"), gesture("nod"));
  assert.equal(expression("zeal"), undefined);
  assert.equal(gesture("cartwheel"), undefined);
});

test("only shapes of lips, jaw, tongue and cheeks count as the mouth's", () => {
  assert.equal(IS_MOUTH[ARKIT_INDEX.get("jawOpen")!], true);
  assert.equal(IS_MOUTH[ARKIT_INDEX.get("browInnerUp")!], false);
  assert.equal(ARKIT_INDEX.size, 52);
});

test("a spring reaches its target without passing it, at any frame rate", () => {
  for (const dt of [1 / 240, 1 / 60, 1 / 12]) {
    const spring = new Spring();
    let highest = 0;
    for (let t = 0; t < 2; t += dt) highest = Math.max(highest, spring.step(1, 6, dt));
    assert.ok(highest <= 1 && highest > 0.99, `${highest} at ${dt}`);
  }
});
