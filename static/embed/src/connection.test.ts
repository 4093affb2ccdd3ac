// The session's state machine, one behaviour a test.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACK_EVERY_EVENTS, BACKOFF_MAX_MS, BACKOFF_MIN_MS, backoff, initial, step, type Command, type Input, type State } from "./connection.ts";
import type { Ready } from "./generated/wire.ts";

const ready = (over: Partial<Ready> = {}): Ready => ({
  v: 1, seq: 1, ts: 0, sid: "s1", token: "t1", ttl: 120, recovered: false, mic_next: 0, conversation_id: null,
  bot: { id: "cb_1", name: "Ada", type: "3d", avatar_id: null, voice_id: null, language: "en" },
  out: { rate: 24000, format: "pcm16" }, face: { set: "oculus15", names: [], unit: "keys", fps: 30 },
  turn: { mode: "auto", hangover: 200 }, ...over,
});

function run(inputs: Input[], from: State = initial): { state: State; commands: Command[] } {
  let state = from;
  const commands: Command[] = [];
  for (const input of inputs) {
    const [next, more] = step(state, input);
    state = next;
    commands.push(...more);
  }
  return { state, commands };
}

const live = (over: Partial<Ready> = {}): State => run([{ type: "open" }, { type: "connected" }, { type: "ready", ready: ready(over) }]).state;
const txt = (seq: number): Input => ({ type: "event", name: "txt", payload: { v: 1, seq, ts: 0, rid: 1, i: 0, d: "x" } });
const of = <D extends Command["do"]>(commands: Command[], what: D): Extract<Command, { do: D }>[] =>
  commands.filter((command): command is Extract<Command, { do: D }> => command.do === what);

test("opening connects, says hello without a resume, and is ready at the answer", () => {
  const { state, commands } = run([{ type: "open" }, { type: "connected" }, { type: "ready", ready: ready() }]);
  assert.equal(state.phase, "ready");
  assert.deepEqual(of(commands, "hello"), [{ do: "hello", resume: null }]);
  assert.equal(of(commands, "started")[0]?.again, false);
});

test("an event seen before is not delivered again", () => {
  const { commands } = run([txt(2), txt(2), txt(1)], live());
  assert.equal(of(commands, "deliver").length, 1);
});

test("a hole in the numbering is counted", () => {
  assert.equal(run([txt(2), txt(5)], live()).state.gaps, 2);
});

test("the first event asks for one acknowledgement timer, and its ring acknowledges the last number", () => {
  const { commands } = run([txt(2), txt(3), { type: "timer", name: "ack" }], live());
  assert.equal(of(commands, "timer").length, 1);
  assert.deepEqual(of(commands, "emit"), [{ do: "emit", name: "ack", payload: { seq: 3 } }]);
});

test("32 events are acknowledged at once", () => {
  const { commands } = run(Array.from({ length: ACK_EVERY_EVENTS }, (_, i) => txt(2 + i)), live());
  assert.deepEqual(of(commands, "emit"), [{ do: "emit", name: "ack", payload: { seq: 33 } }]);
});

test("a message stays in the outbox until its own acceptance", () => {
  const sent = run([{ type: "say", say: { id: "a", text: "hi" } }, { type: "accepted", id: "b" }], live());
  assert.equal(sent.state.outbox.length, 1);
  assert.equal(run([{ type: "accepted", id: "a" }], sent.state).state.outbox.length, 0);
});

test("messages written offline go out in order once ready", () => {
  const { commands } = run([
    { type: "say", say: { id: "a", text: "1" } }, { type: "say", say: { id: "b", text: "2" } },
    { type: "open" }, { type: "connected" }, { type: "ready", ready: ready() },
  ]);
  assert.deepEqual(of(commands, "say").map((command) => command.payload.id), ["a", "b"]);
});

test("an unaccepted message is sent again, under the same id, after a reconnect", () => {
  const { commands } = run([
    { type: "say", say: { id: "a", text: "1" } }, { type: "dropped", roll: 0 }, { type: "timer", name: "retry" },
    { type: "connected" }, { type: "ready", ready: ready({ sid: "s2", recovered: true, seq: 1 }) },
  ], live());
  assert.deepEqual(of(commands, "say").map((command) => command.payload.id), ["a", "a"]);
});

test("a message that is never accepted drops the socket so that it is sent again", () => {
  const { state } = run([{ type: "say", say: { id: "a", text: "1" } }, { type: "timer", name: "say", roll: 0 }], live());
  assert.equal(state.phase, "waiting");
});

test("a drop waits, and the next hello offers the session and the last number", () => {
  const { commands } = run([txt(2), { type: "dropped", roll: 0.5 }, { type: "timer", name: "retry" }, { type: "connected" }], live());
  assert.deepEqual(of(commands, "hello").at(-1)?.resume, { sid: "s1", token: "t1", last_seq: 2 });
});

test("a session that was not recovered starts its numbering anew", () => {
  const { state } = run([txt(9), { type: "dropped", roll: 0 }, { type: "timer", name: "retry" }, { type: "connected" },
    { type: "ready", ready: ready({ seq: 1, recovered: false }) }, txt(2)], live());
  assert.equal(state.lastSeq, 2);
});

test("a recovered session delivers what it missed, and not again what it had", () => {
  const { commands } = run([txt(2), txt(3), { type: "dropped", roll: 0 }, { type: "timer", name: "retry" }, { type: "connected" },
    { type: "ready", ready: ready({ seq: 5, recovered: true }) }, txt(3), txt(4), txt(5)], live());
  assert.deepEqual(of(commands, "deliver").map((command) => command.payload.seq), [2, 3, 4, 5]);
});

test("backoff lies between 1 and 30 seconds and grows with each attempt", () => {
  for (let attempt = 0; attempt < 20; attempt++) {
    for (const roll of [0, 0.5, 1]) {
      const ms = backoff(attempt, roll);
      assert.ok(ms >= BACKOFF_MIN_MS && ms <= BACKOFF_MAX_MS);
    }
  }
  assert.ok(backoff(3, 0.5) > backoff(1, 0.5));
});

test("coming online cuts the wait short", () => {
  const { state } = run([{ type: "dropped", roll: 1 }, { type: "online" }], live());
  assert.equal(state.phase, "connecting");
});

test("draining sets the delay of the next attempt", () => {
  const { commands } = run([
    { type: "event", name: "draining", payload: { v: 1, seq: 2, ts: 0, retry_ms: 4200 } }, { type: "dropped", roll: 0 },
  ], live());
  assert.equal(of(commands, "timer").find((timer) => timer.name === "retry")?.ms, 4200);
});

test("a bye that forbids reconnecting closes for good and forgets the session", () => {
  const { state } = run([{ type: "event", name: "bye", payload: { v: 1, seq: 2, ts: 0, reason: "revoked", reconnect: false } },
    { type: "dropped", roll: 0 }, { type: "timer", name: "retry" }], live());
  assert.equal(state.phase, "closed");
  assert.equal(state.session, null);
});

test("a fatal error with a delay is tried again, without one it is not", () => {
  const err = (retry_ms: number | null): Input => ({ type: "event", name: "err", payload: { v: 1, seq: 0, ts: 0, code: "X", message: "x", fatal: true, retry_ms } });
  assert.equal(run([err(2000)], live()).state.phase, "waiting");
  assert.equal(run([err(null)], live()).state.phase, "closed");
});

test("a hello that is never answered is tried again", () => {
  const { state } = run([{ type: "open" }, { type: "connected" }, { type: "timer", name: "hello", roll: 0 }]);
  assert.equal(state.phase, "waiting");
  assert.equal(state.attempt, 1);
});

test("two drops of one socket count as one attempt", () => {
  assert.equal(run([{ type: "dropped", roll: 0 }, { type: "dropped", roll: 0 }], live()).state.attempt, 1);
});

test("a full outbox refuses instead of growing", () => {
  const inputs: Input[] = Array.from({ length: 51 }, (_, i) => ({ type: "say", say: { id: `m${i}`, text: "x" } }));
  const { state, commands } = run(inputs);
  assert.equal(state.outbox.length, 50);
  assert.deepEqual(of(commands, "failed"), [{ do: "failed", id: "m50" }]);
});

const bye = (reason: "superseded" | "expired", reconnect: boolean): Input => ({ type: "event", name: "bye", payload: { v: 1, seq: 2, ts: 0, reason, reconnect } });
const resumes = (commands: Command[]) => of(commands, "hello").map((command) => command.resume);

test("what another tab has taken over is taken back with the newest token of this browser", () => {
  const { state, commands } = run([bye("superseded", false), { type: "open", session: { sid: "s1", token: "t9" } }, { type: "connected" }], live());
  assert.equal(state.phase, "greeting");
  assert.deepEqual(resumes(commands), [{ sid: "s1", token: "t9", last_seq: 2 }]);
});

test("a page that has just been opened offers the session that its browser has kept, from the first number on", () => {
  const { state, commands } = run([{ type: "open", session: { sid: "s7", token: "t7" } }, { type: "connected" }, { type: "ready", ready: ready({ sid: "s7" }) }]);
  assert.deepEqual(resumes(commands), [{ sid: "s7", token: "t7", last_seq: 0 }]);
  assert.equal(of(commands, "started")[0]?.again, false);
  assert.equal(state.phase, "ready");
});

test("a session that another tab has resumed while this one was away is not taken back unasked", () => {
  const { state, commands } = run([{ type: "dropped", roll: 0 }, { type: "timer", name: "retry" }, { type: "superseded" }], live());
  assert.equal(state.phase, "closed");
  assert.deepEqual(of(commands, "deliver").map((command) => command.name), ["bye"]);
});

test("an expired token is renewed at once", () => {
  const { commands } = run([bye("expired", true), { type: "dropped", roll: 1 }], live());
  assert.equal(of(commands, "timer").find((timer) => timer.name === "retry")?.ms, 0);
});

test("after a restart clients come back spread over half as much time again as they were told", () => {
  const wait = (roll: number) => of(run([
    { type: "event", name: "draining", payload: { v: 1, seq: 2, ts: 0, retry_ms: 4000 } }, { type: "dropped", roll },
  ], live()).commands, "timer").find((timer) => timer.name === "retry")?.ms;
  assert.deepEqual([wait(0), wait(1)], [4000, 6000]);
});

test("going offline drops the socket, and coming online dials anew even while a dial hangs", () => {
  const dropped = run([{ type: "offline" }], live());
  assert.equal(dropped.state.phase, "waiting");
  const { commands } = run([{ type: "online" }, { type: "online" }], dropped.state);
  assert.equal(of(commands, "connect").length, 2);
});

test("silence is probed only while something is expected, and a probe without an answer drops the socket", () => {
  const ring = (frames: number, expecting: boolean): Input => ({ type: "timer", name: "probe", frames, expecting, roll: 0 });
  const pings = (...rings: Input[]) => of(run(rings, live()).commands, "emit").length;
  assert.equal(pings(ring(7, false), ring(7, false), ring(7, false)), 0);
  assert.equal(pings(ring(7, true), ring(8, true), ring(9, true)), 0);
  assert.equal(pings(ring(7, true), ring(7, true)), 1);
  assert.equal(run([ring(7, true), ring(7, true), ring(8, true)], live()).state.phase, "ready");
  assert.equal(run([ring(7, true), ring(7, true), ring(7, true)], live()).state.phase, "waiting");
});

test("attempts are forgotten only by a connection that holds", () => {
  const again: Input[] = [{ type: "dropped", roll: 0 }, { type: "timer", name: "retry" }, { type: "connected" }, { type: "ready", ready: ready({ recovered: true }) }];
  const { state } = run([...again, ...again], live());
  assert.equal(state.attempt, 2);
  assert.equal(run([{ type: "timer", name: "probe", expecting: false }], state).state.attempt, 0);
});
