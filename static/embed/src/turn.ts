// Who holds the floor, as the client sees it, and the local decision to duck the avatar's voice when the visitor starts speaking.
//
// Pure: levels and server events in, commands out. Times are milliseconds of the capture stream, levels are dBFS.

export type Floor = "idle" | "listening" | "hearing" | "thinking" | "speaking";
export type TurnStateName = "listening" | "hearing" | "endpoint" | "thinking" | "speaking" | "paused";

export interface Seen {
  /** What the server said last. */
  readonly server: TurnStateName | null;
  readonly mic: boolean;
  /** A response is being heard right now, by the audio clock. */
  readonly audible: boolean;
  /** Text of an answer is arriving. */
  readonly streaming: boolean;
  /** A message of the visitor has been sent and nothing has come back yet. */
  readonly asked: boolean;
}

/** What to show. Sound wins over the server's word: the server finishes speaking before the listener has heard it. */
export function floorOf(seen: Seen): Floor {
  if (seen.server === "hearing" && seen.mic) return "hearing";
  if (seen.audible) return "speaking";
  if (seen.asked || seen.server === "thinking" || seen.server === "endpoint") return "thinking";
  if (seen.streaming) return "thinking";
  return seen.mic ? "listening" : "idle";
}

export const DUCK_DB = -12;
export const DUCK_MS = 20;
export const UNDUCK_MS = 180;
/** Two 10 ms levels in a row above the threshold are speech: decided within 20 ms. */
const ONSET_LEVELS = 2;
/** Quiet for this long without a verdict of the server: it was nothing. */
const RETRACT_AFTER_MS = 700;
/** No verdict at all: do not stay ducked for ever. */
const VERDICT_DEADLINE_MS = 2_500;
const QUIET_MARGIN_DB = 12;
/** While the avatar is heard, what echo cancellation leaves over must not duck it. */
const PLAYING_MARGIN_DB = 16;
const ABSOLUTE_FLOOR_DB = -50;

export interface Duck {
  readonly ducked: boolean;
  /** The slowly following noise floor, dBFS. */
  readonly floor: number;
  readonly run: number;
  readonly since: number;
  readonly lastLoud: number;
}

export const quiet: Duck = { ducked: false, floor: -60, run: 0, since: 0, lastLoud: 0 };

export type DuckInput =
  | { type: "level"; db: number; t: number; playing: boolean }
  /** The server's verdict: speech after all (`start`), or not (`retract`). */
  | { type: "vad"; state: "candidate" | "start" | "end" | "retract" }
  | { type: "stopped" };

export type DuckCommand = { do: "duck" } | { do: "unduck" } | { do: "barge"; state: "candidate" | "retracted" };

function release(state: Duck, retracted: boolean): [Duck, DuckCommand[]] {
  const commands: DuckCommand[] = [{ do: "unduck" }];
  if (retracted) commands.push({ do: "barge", state: "retracted" });
  return [{ ...state, ducked: false, run: 0 }, commands];
}

export function duck(state: Duck, input: DuckInput): [Duck, DuckCommand[]] {
  if (input.type === "stopped") return state.ducked ? release(state, false) : [{ ...state, run: 0 }, []];
  if (input.type === "vad") {
    return state.ducked && (input.state === "retract" || input.state === "end") ? release(state, false) : [state, []];
  }
  const margin = input.playing ? PLAYING_MARGIN_DB : QUIET_MARGIN_DB;
  const loud = input.db > Math.max(ABSOLUTE_FLOOR_DB, state.floor + margin);
  const rate = input.db < state.floor ? 0.2 : loud ? 0.002 : 0.02;
  const next: Duck = {
    ...state,
    floor: Math.max(-90, state.floor + (input.db - state.floor) * rate),
    run: loud ? state.run + 1 : 0,
    lastLoud: loud ? input.t : state.lastLoud,
  };
  if (!state.ducked) {
    if (!input.playing || next.run < ONSET_LEVELS) return [next, []];
    return [{ ...next, ducked: true, since: input.t }, [{ do: "duck" }, { do: "barge", state: "candidate" }]];
  }
  if (!input.playing) return release(next, false);
  if (input.t - next.lastLoud >= RETRACT_AFTER_MS) return release(next, true);
  // A noise that goes on without being speech is the new quiet.
  if (input.t - next.since >= VERDICT_DEADLINE_MS) return release({ ...next, floor: input.db }, true);
  return [next, []];
}
