// The client's side of a session as a pure state machine: hello and ready, numbered events, acknowledgements, the outbox, reconnecting.
//
// `step(state, input)` returns the next state and what the shell must do. It reads no clock, rolls no dice and knows no
// socket: the shell passes a roll between 0 and 1 with each drop and says when a timer it was asked for has rung.

import type { ClientEvents, Ready, Resume, Say, ServerEvents } from "./generated/wire";

export const ACK_EVERY_EVENTS = 32;
export const ACK_EVERY_MS = 250;
export const BACKOFF_MIN_MS = 1_000;
export const BACKOFF_MAX_MS = 30_000;
/** How long the token and the socket may take, then the answer to `hello`; and the acceptance of a message. */
export const CONNECT_TIMEOUT_MS = 25_000;
export const HELLO_TIMEOUT_MS = 15_000;
export const SAY_TIMEOUT_MS = 15_000;
/** While something is expected of the server: silence after which it is asked for a sign of life, and as long again to give one. */
export const PROBE_MS = 4_000;
export const OUTBOX_SIZE = 50;

export type Phase = "idle" | "connecting" | "greeting" | "ready" | "waiting" | "closed";
export type TimerName = "ack" | "retry" | "hello" | "say" | "probe";
export type ServerEventName = keyof ServerEvents;

/** A session's id and the newest of its rotating tokens. */
export interface Resumable {
  readonly sid: string;
  readonly token: string;
}

export interface State {
  readonly phase: Phase;
  /** Failed attempts since the last `ready`. */
  readonly attempt: number;
  /** What the session may be resumed with; null when there is none. */
  readonly session: Resumable | null;
  /** This page has had a session before. */
  readonly begun: boolean;
  readonly lastSeq: number;
  readonly ackedSeq: number;
  readonly ackPending: boolean;
  /** Events missing from the numbering since the session began. */
  readonly gaps: number;
  /** Messages the server has not yet said it has committed, oldest first. */
  readonly outbox: readonly Say[];
  /** Frames at the last look, and whether a sign of life has been asked for since they came. */
  readonly frames: number;
  readonly probed: boolean;
  /** Set by `draining`: the delay of the next attempt. */
  readonly retryMs: number | null;
}

export type Input =
  /** `session` is what this browser has kept, perhaps from another page or tab. */
  | { type: "open"; session?: Resumable | null }
  | { type: "connected" }
  | { type: "ready"; ready: Ready }
  | { type: "event"; name: ServerEventName; payload: ServerEvents[ServerEventName] }
  | { type: "say"; say: Say }
  | { type: "accepted"; id: string }
  | { type: "refused"; id: string }
  | { type: "dropped"; roll: number; fatal?: boolean }
  /** `frames` is how many have come from the server so far; `expecting` that more should. */
  | { type: "timer"; name: TimerName; roll?: number; frames?: number; expecting?: boolean }
  | { type: "online" }
  | { type: "offline" }
  /** Another tab has resumed the session meanwhile. */
  | { type: "superseded" }
  | { type: "close" };

export type Command =
  | { do: "connect" }
  | { do: "disconnect" }
  | { do: "hello"; resume: Pick<Resume, "sid" | "token" | "last_seq"> | null }
  | { do: "emit"; name: "ack"; payload: ClientEvents["ack"] }
  | { do: "emit"; name: "ping"; payload: ClientEvents["ping"] }
  | { do: "say"; payload: Say }
  | { do: "timer"; name: TimerName; ms: number }
  | { do: "cancel"; name: TimerName }
  | { do: "deliver"; name: ServerEventName; payload: ServerEvents[ServerEventName] }
  | { do: "started"; ready: Ready; again: boolean }
  | { do: "failed"; id: string }
  | { do: "phase"; phase: Phase; retryMs: number | null };

export const initial: State = {
  phase: "idle",
  attempt: 0,
  session: null,
  begun: false,
  lastSeq: 0,
  ackedSeq: 0,
  ackPending: false,
  gaps: 0,
  outbox: [],
  frames: 0,
  probed: false,
  retryMs: null,
};

/** Full jitter above a floor: 1 s at least, doubling to 30 s at most. */
export function backoff(attempt: number, roll: number): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt);
  return Math.round(BACKOFF_MIN_MS + (ceiling - BACKOFF_MIN_MS) * roll);
}

const ALL_TIMERS: readonly TimerName[] = ["ack", "retry", "hello", "say", "probe"];
const cancelAll = (): Command[] => ALL_TIMERS.map((name) => ({ do: "cancel", name }));

function enter(state: State, phase: Phase, commands: Command[], retryMs: number | null = null): [State, Command[]] {
  return [{ ...state, phase }, [...commands, { do: "phase", phase, retryMs }]];
}

function drop(state: State, roll: number, fatal = false): [State, Command[]] {
  if (state.phase === "idle" || state.phase === "closed" || state.phase === "waiting") return [state, []];
  const lost = { ...state, ackPending: false };
  if (fatal) return enter(lost, "closed", [...cancelAll(), { do: "disconnect" }]);
  // Not everybody comes back in the same moment.
  const ms = state.retryMs === null ? backoff(state.attempt, roll) : Math.round(state.retryMs * (1 + roll / 2));
  const next = { ...lost, attempt: state.attempt + 1, retryMs: null };
  return enter(next, "waiting", [...cancelAll(), { do: "disconnect" }, { do: "timer", name: "retry", ms }], ms);
}

function start(state: State): [State, Command[]] {
  return enter(state, "connecting", [{ do: "cancel", name: "retry" }, { do: "connect" }, { do: "timer", name: "hello", ms: CONNECT_TIMEOUT_MS }]);
}

function adopt(state: State, session: Resumable | null = null): State {
  if (!session) return state;
  return session.sid === state.session?.sid ? { ...state, session } : { ...state, session, lastSeq: 0, ackedSeq: 0 };
}

function flushAck(state: State): [State, Command[]] {
  if (state.phase !== "ready" || state.lastSeq === state.ackedSeq) return [{ ...state, ackPending: false }, []];
  return [
    { ...state, ackedSeq: state.lastSeq, ackPending: false },
    [{ do: "cancel", name: "ack" }, { do: "emit", name: "ack", payload: { seq: state.lastSeq } }],
  ];
}

function receive(state: State, name: ServerEventName, payload: ServerEvents[ServerEventName]): [State, Command[]] {
  const seq = payload.seq ?? 0;
  if (seq > 0 && seq <= state.lastSeq) return [state, []];
  let next = state;
  const commands: Command[] = [];
  if (seq > 0) next = { ...next, lastSeq: seq, gaps: next.gaps + (seq - next.lastSeq - 1) };
  if (name === "bye" && (payload as ServerEvents["bye"]).reason === "expired") next = { ...next, retryMs: 0 };
  if (name === "draining") next = { ...next, retryMs: Math.max(BACKOFF_MIN_MS, (payload as ServerEvents["draining"]).retry_ms) };
  commands.push({ do: "deliver", name, payload });
  if (name === "err" && (payload as ServerEvents["err"]).fatal) {
    const wait = (payload as ServerEvents["err"]).retry_ms ?? null;
    const [dropped, more] = drop({ ...next, retryMs: wait }, 0, wait === null);
    return [dropped, [...commands, ...more]];
  }
  if (name === "bye" && !(payload as ServerEvents["bye"]).reconnect) {
    const [closed, more] = drop(next, 0, true);
    // Superseded, it lives on, and may be taken back.
    const session = (payload as ServerEvents["bye"]).reason === "superseded" ? closed.session : null;
    return [{ ...closed, session }, [...commands, ...more]];
  }
  if (next.lastSeq - next.ackedSeq >= ACK_EVERY_EVENTS) {
    const [flushed, more] = flushAck(next);
    return [flushed, [...commands, ...more]];
  }
  if (seq > 0 && !next.ackPending) {
    next = { ...next, ackPending: true };
    commands.push({ do: "timer", name: "ack", ms: ACK_EVERY_MS });
  }
  return [next, commands];
}

function begin(state: State, ready: Ready): [State, Command[]] {
  const seq = ready.seq ?? 0;
  const next: State = {
    ...state,
    retryMs: null,
    begun: true,
    probed: false,
    session: { sid: ready.sid, token: ready.token },
    lastSeq: ready.recovered ? state.lastSeq : seq,
    ackedSeq: ready.recovered ? state.ackedSeq : seq,
  };
  const commands: Command[] = [
    { do: "cancel", name: "hello" },
    { do: "started", ready, again: state.begun },
    { do: "timer", name: "probe", ms: PROBE_MS },
    ...state.outbox.map((payload): Command => ({ do: "say", payload })),
  ];
  if (state.outbox.length > 0) commands.push({ do: "timer", name: "say", ms: SAY_TIMEOUT_MS });
  return enter(next, "ready", commands);
}

function settle(state: State, id: string, failed: boolean): [State, Command[]] {
  if (!state.outbox.some((say) => say.id === id)) return [state, []];
  const outbox = state.outbox.filter((say) => say.id !== id);
  const commands: Command[] = failed ? [{ do: "failed", id }] : [];
  if (outbox.length === 0) commands.push({ do: "cancel", name: "say" });
  return [{ ...state, outbox }, commands];
}

/** A connection that has held for a while has no failed attempts behind it; one that is silent when it should not be is tested. */
function probe(state: State, frames: number, expecting: boolean, roll: number): [State, Command[]] {
  if (state.phase !== "ready") return [state, []];
  const silent = expecting && frames === state.frames;
  if (silent && state.probed) return drop(state, roll);
  const commands: Command[] = [{ do: "timer", name: "probe", ms: PROBE_MS }];
  if (silent) commands.push({ do: "emit", name: "ping", payload: { c: frames } });
  return [{ ...state, attempt: 0, frames, probed: silent }, commands];
}

function ring(state: State, { name, roll = 1, frames = 0, expecting = false }: Extract<Input, { type: "timer" }>): [State, Command[]] {
  switch (name) {
    case "probe":
      return probe(state, frames, expecting, roll);
    case "ack":
      return flushAck(state);
    case "retry":
      return state.phase === "waiting" ? start(state) : [state, []];
    case "hello":
      return state.phase === "connecting" || state.phase === "greeting" ? drop(state, roll) : [state, []];
    case "say":
      return state.phase === "ready" && state.outbox.length > 0 ? drop(state, roll) : [state, []];
  }
}

export function step(state: State, input: Input): [State, Command[]] {
  switch (input.type) {
    case "open":
      return state.phase === "idle" || state.phase === "closed" ? start({ ...adopt(state, input.session), attempt: 0 }) : [state, []];
    case "connected":
      if (state.phase !== "connecting") return [state, []];
      return enter(state, "greeting", [
        { do: "timer", name: "hello", ms: HELLO_TIMEOUT_MS },
        { do: "hello", resume: state.session && { ...state.session, last_seq: state.lastSeq } },
      ]);
    case "ready":
      return state.phase === "greeting" ? begin(state, input.ready) : [state, []];
    case "event":
      return receive(state, input.name, input.payload);
    case "say": {
      if (state.outbox.length >= OUTBOX_SIZE) return [state, [{ do: "failed", id: input.say.id }]];
      const next = { ...state, outbox: [...state.outbox, input.say] };
      if (state.phase !== "ready") return [next, []];
      return [next, [{ do: "say", payload: input.say }, { do: "timer", name: "say", ms: SAY_TIMEOUT_MS }]];
    }
    case "accepted":
      return settle(state, input.id, false);
    case "refused":
      return settle(state, input.id, true);
    case "dropped":
      return drop(state, input.roll, input.fatal);
    case "timer":
      return ring(state, input);
    case "online":
      // What was begun before may be waiting for an answer that the old network has lost.
      return state.phase === "waiting" || state.phase === "connecting" || state.phase === "greeting" ? start(state) : [state, []];
    case "offline":
      return drop(state, 0);
    case "superseded":
      return receive(state, "bye", { v: 1, seq: 0, ts: 0, reason: "superseded", reconnect: false });
    case "close":
      return enter({ ...state, session: null, begun: false, ackPending: false, attempt: 0 }, "idle", [...cancelAll(), { do: "disconnect" }]);
  }
}
