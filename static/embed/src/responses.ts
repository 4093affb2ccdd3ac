// What the bot says: its events become text, captions, sound and a face, by response number; what was cut stays silent.

import type { ServerEventName } from "./connection";
import type { Shell } from "./contract";
import type { RespStart, ServerEvents } from "./generated/wire";
import type { Scene } from "./scene";
import type { Sound } from "./sound";
import type { View } from "./view";

const CUT_FADE_MS = 30;
const MOUTH_REST_MS = 80;

export type Handlers = { [E in ServerEventName]?: (event: ServerEvents[E]) => void };

export interface ResponseEvents {
  began(start: RespStart): void;
  ended(end: ServerEvents["resp.end"], text: string): void;
  /** A response has ended whose beginning this page has not seen: it is in the history. */
  missed(): void;
  /** At every animation frame while something is held or heard. */
  heard(): void;
}

export class Responses {
  readonly #shell: Shell;
  readonly #view: View;
  readonly #sound: Sound;
  readonly #scene: Scene;
  readonly #events: ResponseEvents;
  /** Message ids of the responses whose text is arriving. */
  readonly #streaming = new Map<number, string>();
  #lastCut = 0;
  #loop = 0;
  /** The word that sounds now. */
  word = "";

  constructor(shell: Shell, view: View, sound: Sound, scene: Scene, events: ResponseEvents) {
    this.#shell = shell;
    this.#view = view;
    this.#sound = sound;
    this.#scene = scene;
    this.#events = events;
  }

  get streaming(): boolean {
    return this.#streaming.size > 0;
  }

  /** Text is arriving, or sound is held or heard. */
  get busy(): boolean {
    return this.streaming || this.#sound.busy;
  }

  /** The number of the newest response known to be under way; 0 for none. */
  get newest(): number {
    return Math.max(this.#sound.now().rid, ...this.#streaming.keys());
  }

  /** Stops what is heard at once, without waiting for the server's word. */
  silence(): void {
    const { rid } = this.#sound.now();
    if (rid > 0) this.#cut(rid, CUT_FADE_MS);
  }

  /** Nothing more will come of what was under way; with `over` the rest of its sound neither, beyond what is here. */
  abandon(over: boolean): void {
    if (over) for (const rid of this.#streaming.keys()) this.#sound.end(rid);
    this.#streaming.clear();
    this.#view.log.abandon();
  }

  /** Runs while something is heard: captions follow the clock. */
  run(): void {
    if (this.#loop) return;
    const { captions } = this.#view;
    const frame = (): void => {
      this.#loop = 0;
      const { rid, t, playing } = this.#sound.now();
      this.word = playing ? captions.show(rid, t) : "";
      this.#events.heard();
      if (playing || this.#sound.busy) this.#loop = requestAnimationFrame(frame);
      else captions.hide();
    };
    this.#loop = requestAnimationFrame(frame);
  }

  dispose(): void {
    cancelAnimationFrame(this.#loop);
  }

  clear(): void {
    this.silence();
    this.#streaming.clear();
    this.#view.log.clear();
  }

  readonly on: Handlers = {
    "resp.start": (start) => {
      if (this.#past(start.rid)) return;
      this.#streaming.set(start.rid, start.message_id);
      this.#view.log.answer(start);
      this.#events.began(start);
    },
    txt: ({ rid, d }) => {
      if (this.#past(rid) || !this.#streaming.has(rid)) return;
      this.#view.log.stream(rid, d);
      this.#shell.emit("message:delta", { id: this.#streaming.get(rid), delta: d });
    },
    seg: (seg) => {
      if (!this.#past(seg.rid)) this.#view.captions.add(seg);
    },
    face: (face) => {
      if (!this.#past(face.rid)) this.#scene.face(face);
    },
    cue: (cue) => {
      if (!this.#past(cue.rid)) this.#scene.cue(cue);
    },
    duck: ({ db, ms }) => this.#sound.duck(db, ms),
    unduck: () => this.#sound.unduck(),
    cut: ({ rid, fade_ms }) => this.#cut(rid, fade_ms),
    citation: (citation) => {
      this.#view.log.cite(citation);
      this.#shell.emit("citation", citation);
    },
    "resp.end": (end) => {
      const { rid, status, heard } = end;
      if (status === "done") this.#sound.end(rid);
      else this.#cut(rid, CUT_FADE_MS);
      if (!this.#streaming.delete(rid)) return this.#events.missed();
      this.#events.ended(end, this.#view.log.end(rid, status, heard));
    },
  };

  /** A response that was cut, or an older one. */
  #past(rid: number): boolean {
    return rid <= this.#lastCut;
  }

  #cut(rid: number, fadeMs: number): void {
    this.#lastCut = Math.max(this.#lastCut, rid);
    this.#sound.cut(rid, fadeMs);
    this.#view.captions.cut(rid);
    this.#scene.cut(rid, MOUTH_REST_MS);
  }
}
