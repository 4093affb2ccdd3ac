// The microphone's tape: what is sent again after a resume, what is forgotten, and how fast it catches up.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FLAG } from "./media.ts";
import { BURST_SECONDS, KEPT_SECONDS, Tape, type Piece } from "./tape.ts";

const RATE = 1_000;
const FRAME = 20;

/** A tape whose wire can be taken away; `got` is what the server was sent: which frame, at which sample, with which flags. */
function taped() {
  const got: { frame: number; t: number; flags: number }[] = [];
  const wire = { up: true };
  const tape = new Tape(RATE, (piece, t) => {
    if (wire.up) got.push({ frame: piece.pcm[0] as number, t, flags: piece.flags });
    return wire.up;
  });
  let frames = 0;
  const record = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const piece: Piece = { pcm: Uint8Array.of(frames++), rate: RATE, flags: 0, length: FRAME };
      tape.push(piece);
    }
  };
  return { tape, got, wire, record };
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test("frames leave as they come, each where the server counts it", () => {
  const { got, record } = taped();
  record(3);
  assert.deepEqual(got, [0, 1, 2].map((frame) => ({ frame, t: frame * FRAME, flags: 0 })));
});

test("after a resume the server gets what it missed once, from the sample it asks for on", () => {
  const { tape, got, wire, record } = taped();
  record(10);
  wire.up = false;
  record(5);
  wire.up = true;
  const before = got.length;
  tape.resume(7 * FRAME, false);
  record(1);
  const after = got.slice(before);
  assert.deepEqual(after.map((item) => item.frame), range(7, 16));
  assert.deepEqual(after.map((item) => item.t), range(7, 16).map((frame) => frame * FRAME));
  assert.deepEqual(after.map((item) => item.flags), [...Array(3).fill(FLAG.resent), ...Array(6).fill(0)]);
});

test("what has waited for more than five seconds is dropped, the next frame says so, and the count has no hole", () => {
  const { tape, got, wire, record } = taped();
  record(2);
  wire.up = false;
  record((KEPT_SECONDS * RATE) / FRAME + 4);
  wire.up = true;
  const before = got.length;
  tape.resume(2 * FRAME, false);
  const [first, second] = got.slice(before);
  assert.deepEqual(first, { frame: 6, t: 2 * FRAME, flags: FLAG.discontinuity });
  assert.deepEqual(second, { frame: 7, t: 3 * FRAME, flags: 0 });
});

test("samples that the server asks for and that are no longer kept are flagged as missing", () => {
  const { tape, got, record } = taped();
  record((KEPT_SECONDS * RATE) / FRAME + 10);
  const before = got.length;
  tape.resume(0, false);
  assert.deepEqual(got[before], { frame: 10, t: 0, flags: FLAG.discontinuity | FLAG.resent });
});

test("another session gets what nobody has heard, counted from its own start", () => {
  const { tape, got, wire, record } = taped();
  record(10);
  wire.up = false;
  record(2);
  wire.up = true;
  const before = got.length;
  tape.resume(0, true);
  assert.deepEqual(got.slice(before), [{ frame: 10, t: 0, flags: FLAG.first }, { frame: 11, t: FRAME, flags: 0 }]);
});

test("a long backlog leaves in a burst and then faster than it grows, never faster than the server listens", () => {
  const { tape, got, wire, record } = taped();
  wire.up = false;
  record((KEPT_SECONDS * RATE) / FRAME);
  wire.up = true;
  tape.resume(0, false);
  assert.equal(got.length, (BURST_SECONDS * RATE) / FRAME);
  const burst = got.length;
  record(100);
  assert.equal(got.length - burst, 150);
  record(200);
  assert.equal(got.length, (KEPT_SECONDS * RATE) / FRAME + 300);
  assert.deepEqual(got.map((item) => item.t), range(0, got.length).map((frame) => frame * FRAME));
});

test("a frame that the socket does not take is offered again with the next", () => {
  const { got, wire, record } = taped();
  wire.up = false;
  record(2);
  wire.up = true;
  record(1);
  assert.deepEqual(got.map((item) => item.frame), [0, 1, 2]);
});
