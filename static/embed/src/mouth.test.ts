// The mouth's timeline and the cues' envelopes, on sample clocks of our own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { VISEMES } from "./generated/visemes.ts";
import { CueTimeline, MouthTimeline, type CueEvent } from "./mouth.ts";

const RATE = 24_000;
const MS = RATE / 1000;
const PP = VISEMES.indexOf("PP");
const AA = VISEMES.indexOf("aa");

function at(mouth: MouthTimeline, rid: number, t: number): Float32Array {
  const out = new Float32Array(VISEMES.length);
  mouth.sample(rid, t, out);
  return out;
}

const near = (actual: number | undefined, expected: number): void =>
  assert.ok(Math.abs((actual ?? NaN) - expected) < 1e-4, `${actual} is not ${expected}`);

test("weights are linear between the keys of one viseme", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 1000, [[0, AA, 0], [200, PP, 0.5], [1000, AA, 1], [2000, AA, 0]]);
  near(at(mouth, 1, 1500)[AA], 0.5);
  near(at(mouth, 1, 2000)[AA], 1);
  near(at(mouth, 1, 2750)[AA], 0.25);
});

test("after the last key the mouth is at rest within 80 ms", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 0, [[0, AA, 0.8]]);
  near(at(mouth, 1, 0)[AA], 0.8);
  near(at(mouth, 1, 40 * MS)[AA], 0.4);
  near(at(mouth, 1, 80 * MS)[AA], 0);
});

test("a cut eases the shape on the face to rest in 80 ms without a jump", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 0, [[0, AA, 1], [RATE, AA, 1]]);
  near(at(mouth, 1, 5000)[AA], 1);
  mouth.cut(1);
  near(at(mouth, 1, 5000)[AA], 1);
  near(at(mouth, 1, 5000 + 20 * MS)[AA], 0.75);
  near(at(mouth, 1, 5000 + 80 * MS)[AA], 0);
  near(at(mouth, 1, 9000)[AA], 0);
});

test("keys of a cut response that still arrive are dropped", () => {
  const mouth = new MouthTimeline();
  mouth.cut(3);
  mouth.add(3, 0, [[0, AA, 1], [100, AA, 1]]);
  assert.equal(mouth.dropped, 2);
  near(at(mouth, 3, 50)[AA], 0);
});

test("an older response is forgotten once a newer one sounds", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 0, [[0, AA, 1], [RATE, AA, 1]]);
  mouth.add(2, 0, [[0, PP, 1], [RATE, PP, 1]]);
  at(mouth, 1, 100);
  at(mouth, 2, 0);
  mouth.add(1, 2000, [[0, AA, 1]]);
  assert.equal(mouth.dropped, 1);
  near(at(mouth, 2, 80 * MS)[PP], 1);
  near(at(mouth, 2, 80 * MS)[AA], 0);
});

test("keys whose sample has been shown are counted as late and still join the curve", () => {
  const mouth = new MouthTimeline();
  at(mouth, 1, 5000);
  mouth.add(1, 4000, [[0, AA, 0], [2000, AA, 1]]);
  assert.equal(mouth.late, 1);
  near(at(mouth, 1, 5000)[AA], 0.5);
});

test("a resent segment changes nothing", () => {
  const mouth = new MouthTimeline();
  const keys = [[0, AA, 0], [1000, AA, 1], [2000, AA, 0]] as const;
  mouth.add(1, 0, keys);
  const before = at(mouth, 1, 700);
  mouth.add(1, 0, keys);
  assert.deepEqual(at(mouth, 1, 700), before);
});

test("segments that arrive in the wrong order make the same curve", () => {
  const first = [[0, AA, 0], [1000, AA, 1]] as const;
  const second = [[0, AA, 1], [1000, AA, 0]] as const;
  const [forward, backward] = [new MouthTimeline(), new MouthTimeline()];
  forward.add(1, 0, first);
  forward.add(1, 1000, second);
  backward.add(1, 1000, second);
  backward.add(1, 0, first);
  for (let t = 0; t <= 2000; t += 50) assert.deepEqual(at(forward, 1, t), at(backward, 1, t));
});

test("a shape does not hang over a hole between two segments", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 0, [[0, AA, 0.6]]);
  mouth.add(1, 2 * RATE, [[0, AA, 0.6], [1000, AA, 0]]);
  near(at(mouth, 1, RATE)[AA], 0);
});

test("weights outside 0 to 1 are bounded and unknown visemes refused", () => {
  const mouth = new MouthTimeline();
  mouth.add(1, 0, [[0, AA, 7], [1000, AA, 7], [0, 99, 1], [0, PP, NaN]]);
  assert.equal(mouth.dropped, 2);
  near(at(mouth, 1, 500)[AA], 1);
});

test("a long response keeps a bounded number of keys", () => {
  const mouth = new MouthTimeline();
  for (let n = 0; n < 400; n++) {
    mouth.add(1, n * RATE, Array.from({ length: 100 }, (_, k) => [k * 240, k % 15, 0.5] as const));
    at(mouth, 1, n * RATE);
  }
  assert.equal(mouth.dropped, 0);
});

const cue = (over: Partial<CueEvent>): CueEvent => ({
  rid: 1, t: 0, type: "emotion", name: "joy", amp: 1, dur: RATE, ...over,
});

test("a cue enters and leaves smoothly around its duration", () => {
  const cues = new CueTimeline();
  cues.add(cue({ t: 1000, amp: 0.8 }));
  assert.equal(cues.sample(1, 999).length, 0);
  let last = 0;
  for (let t = 1000; t < 1000 + 2.2 * RATE; t += 16 * MS) {
    const level = cues.sample(1, t)[0]?.level ?? 0;
    assert.ok(Math.abs(level - last) < 0.09, `jump of ${level - last} at ${t}`);
    last = level;
  }
  near(cues.sample(1, 1000 + 3 * RATE).length, 0);
});

test("a cue reaches its amplitude while it lasts", () => {
  const cues = new CueTimeline();
  cues.add(cue({ amp: 0.8 }));
  near(cues.sample(1, RATE / 2)[0]?.level, 0.8);
});

test("a cut lets what is showing leave within 250 ms and forgets the rest", () => {
  const cues = new CueTimeline();
  cues.add(cue({}));
  cues.add(cue({ t: 20_000, name: "surprise" }));
  cues.sample(1, 12_000);
  cues.cut(1);
  near(cues.sample(1, 12_000)[0]?.level, 1);
  assert.equal(cues.sample(1, 12_000 + 250 * MS).length, 0);
  assert.equal(cues.sample(1, 20_100).length, 0);
});

test("a beat that comes too late is dropped, a feeling is not", () => {
  const cues = new CueTimeline();
  cues.sample(1, RATE);
  cues.add(cue({ type: "gesture", name: "beat" }));
  cues.add(cue({ dur: 3 * RATE }));
  assert.equal(cues.dropped, 1);
  assert.deepEqual(cues.sample(1, RATE).map((c) => c.name), ["joy"]);
});

test("a cue without a duration lasts its usual time", () => {
  const cues = new CueTimeline();
  cues.add(cue({ type: "gesture", name: "nod", dur: 0 }));
  assert.equal(cues.sample(1, 0.5 * RATE).length, 1);
  assert.equal(cues.sample(1, 1.5 * RATE).length, 0);
});
