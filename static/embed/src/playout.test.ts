// The playout queue against a made-up clock: every sample once, in order, and marks that say when.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pack, unpack } from "./media.ts";
import { Playout, type Mark } from "./playout.ts";

const RATE = 24_000;
const ramp = (from: number, length: number): Int16Array => Int16Array.from({ length }, (_, i) => from + i);

function rig(sampleRate = RATE): { playout: Playout; marks: Mark[]; render(frames: number): Float32Array } {
  const marks: Mark[] = [];
  const playout = new Playout(sampleRate, 60, (mark) => marks.push(mark));
  let frame = 0;
  return {
    playout,
    marks,
    render(frames) {
      const out = new Float32Array(frames);
      playout.render(out, frame / sampleRate);
      frame += frames;
      return out;
    },
  };
}

test("nothing sounds before 60 ms are there", () => {
  const { playout, render, marks } = rig();
  playout.push(1, RATE, ramp(100, 1439));
  assert.ok(render(128).every((value) => value === 0));
  playout.push(1, RATE, ramp(1539, 1));
  assert.equal(render(128)[0], 100 / 32768);
  assert.deepEqual(marks.map((mark) => [mark.why, mark.at, mark.s]), [["start", 128 / RATE, 0]]);
});

test("every sample sounds once and in order across chunks", () => {
  const { playout, render } = rig();
  playout.push(1, RATE, ramp(1, 1000));
  playout.push(1, RATE, ramp(1001, 1000));
  playout.end(1);
  const out = render(2000);
  assert.ok(out.every((value, i) => value === (i + 1) / 32768));
});

test("a short answer that has ended does not wait for the buffer", () => {
  const { playout, render, marks } = rig();
  playout.push(1, RATE, ramp(1, 10));
  playout.end(1);
  render(128);
  assert.deepEqual(marks.map((mark) => [mark.why, mark.s, Math.round(mark.at * RATE)]), [["start", 0, 0], ["end", 10, 10]]);
});

test("running dry is a stall at its sample, and playing goes on from there", () => {
  const { playout, render, marks } = rig();
  playout.push(1, RATE, ramp(1, 1500));
  render(2000);
  playout.push(1, RATE, ramp(1501, 1500));
  assert.equal(render(10)[0], 1501 / 32768);
  assert.deepEqual(marks.map((mark) => [mark.why, mark.s]), [["start", 0], ["stall", 1500], ["resume", 1500]]);
});

test("a cut fades to silence in its time and flushes", () => {
  const { playout, render, marks } = rig();
  playout.push(1, RATE, new Int16Array(24_000).fill(16384));
  render(2400);
  playout.cut(1, 30);
  const out = render(1000);
  assert.ok((out[0] as number) > 0.49 && (out[360] as number) < 0.3 && (out[360] as number) > 0.2);
  assert.ok(out.subarray(720).every((value) => value === 0));
  assert.deepEqual([marks.at(-1)?.why, marks.at(-1)?.s], ["cut", 2400 + 720]);
});

test("frames of a response that was cut are dropped, later responses sound", () => {
  const { playout, render } = rig();
  playout.cut(3, 30);
  playout.push(2, RATE, ramp(1, 5000));
  playout.push(3, RATE, ramp(1, 5000));
  assert.ok(render(200).every((value) => value === 0));
  playout.push(4, RATE, ramp(7, 5000));
  assert.equal(render(200)[0], 7 / 32768);
});

test("the second response follows the first without a gap", () => {
  const { playout, render, marks } = rig();
  playout.push(1, RATE, ramp(1, 100));
  playout.end(1);
  playout.push(2, RATE, ramp(5000, 2000));
  const out = render(300);
  assert.equal(out[101], 5000 / 32768);
  assert.deepEqual(marks.map((mark) => [mark.rid, mark.why]), [[1, "start"], [1, "end"], [2, "start"]]);
});

test("a device at another rate hears the same length of time", () => {
  const { playout, render, marks } = rig(48_000);
  playout.push(1, RATE, ramp(1, 2400));
  playout.end(1);
  render(6000);
  assert.ok(Math.abs((marks.at(-1)?.at ?? 0) - 0.1) < 0.001);
});

test("the header survives the way there and back", () => {
  const media = { kind: 1, flags: 17, seq: 4_000_000_000, rid: 7, rate: 16_000, t: 2 ** 40 + 3, payload: Uint8Array.of(1, 2, 3, 4) };
  assert.deepEqual(unpack(pack(media)), { ...media, payload: Uint8Array.of(1, 2, 3, 4) });
});

test("a frame of another version is ignored", () => {
  const bytes = pack({ kind: 2, flags: 0, seq: 0, rid: 1, rate: 24_000, t: 0, payload: new Uint8Array(0) });
  new DataView(bytes).setUint8(0, 9);
  assert.equal(unpack(bytes), null);
});
