// Ducking on the visitor's voice, and what the panel says is going on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { duck, floorOf, quiet, type Duck, type DuckCommand, type DuckInput, type Seen } from "./turn.ts";

function run(inputs: DuckInput[], from: Duck = quiet): { state: Duck; commands: DuckCommand[] } {
  let state = from;
  const commands: DuckCommand[] = [];
  for (const input of inputs) {
    const [next, more] = duck(state, input);
    state = next;
    commands.push(...more);
  }
  return { state, commands };
}
const levels = (db: number, from: number, to: number, playing = true): DuckInput[] =>
  Array.from({ length: (to - from) / 10 }, (_, i) => ({ type: "level", db, t: from + i * 10, playing }));

test("speech over the avatar's voice ducks it after two levels and says so", () => {
  const { commands } = run([...levels(-70, 0, 500), ...levels(-20, 500, 520)]);
  assert.deepEqual(commands, [{ do: "duck" }, { do: "barge", state: "candidate" }]);
});

test("one click is not speech", () => {
  assert.deepEqual(run([...levels(-70, 0, 500), ...levels(-20, 500, 510), ...levels(-70, 510, 600)]).commands, []);
});

test("nothing is ducked while nothing plays", () => {
  assert.deepEqual(run([...levels(-70, 0, 500, false), ...levels(-20, 500, 900, false)]).commands, []);
});

test("a steady noise becomes the floor and does not duck", () => {
  const { state } = run(levels(-45, 0, 4000, false));
  assert.deepEqual(run(levels(-44, 4000, 6000), state).commands, []);
});

test("the server's retraction unducks at once", () => {
  const { commands } = run([...levels(-70, 0, 500), ...levels(-20, 500, 540), { type: "vad", state: "retract" }]);
  assert.deepEqual(commands.at(-1), { do: "unduck" });
});

test("quiet without a verdict retracts by itself", () => {
  const { commands } = run([...levels(-70, 0, 500), ...levels(-20, 500, 600), ...levels(-70, 600, 1400)]);
  assert.deepEqual(commands.slice(2), [{ do: "unduck" }, { do: "barge", state: "retracted" }]);
});

test("a noise that never ends does not duck for ever", () => {
  const { commands, state } = run([...levels(-70, 0, 500), ...levels(-20, 500, 6000)]);
  assert.equal(commands.filter((command) => command.do === "unduck").length, 1);
  assert.equal(state.ducked, false);
});

test("the end of playing unducks without a word to the server", () => {
  const { commands } = run([...levels(-70, 0, 500), ...levels(-20, 500, 540), ...levels(-20, 540, 560, false)]);
  assert.deepEqual(commands.slice(2), [{ do: "unduck" }]);
});

const seen: Seen = { server: null, mic: false, audible: false, streaming: false, asked: false };

test("what is audible is called speaking even when the server has moved on", () => {
  assert.equal(floorOf({ ...seen, server: "listening", audible: true }), "speaking");
});

test("hearing the visitor wins over speaking", () => {
  assert.equal(floorOf({ ...seen, server: "hearing", mic: true, audible: true }), "hearing");
});

test("a question just sent shows as thinking", () => {
  assert.equal(floorOf({ ...seen, asked: true }), "thinking");
});

test("an open microphone with nothing going on is listening", () => {
  assert.equal(floorOf({ ...seen, mic: true, server: "listening" }), "listening");
});
