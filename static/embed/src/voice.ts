// Voice in both directions: the player, the microphone, and the ducking between them.

import type { Barge, Play, ServerEvents } from "./generated/wire";
import { Mic, MicError, type MicFailure } from "./mic";
import { Player } from "./player";
import { duck, quiet, type DuckInput } from "./turn";

export { MicError };
export type { Clock, PlayerStats } from "./player";
export type { MicFailure };

export interface VoiceEvents {
  play(report: Play): void;
  frame(bytes: ArrayBuffer): boolean;
  level(db: number): void;
  barge(barge: Barge): void;
  lost(reason: MicFailure): void;
}

export class Voice {
  readonly player: Player;
  readonly mic: Mic;
  readonly #events: VoiceEvents;
  #duck = quiet;

  static async create(context: AudioContext, base: string, events: VoiceEvents): Promise<Voice> {
    return new Voice(await Player.create(context, base, events.play), base, events);
  }

  private constructor(player: Player, base: string, events: VoiceEvents) {
    this.player = player;
    this.#events = events;
    this.mic = new Mic(base, {
      frame: events.frame,
      lost: (reason) => {
        this.#step({ type: "stopped" });
        events.lost(reason);
      },
      level: (db, t) => {
        this.#step({ type: "level", db, t, playing: player.now().playing });
        events.level(db);
      },
      playing: () => player.now().playing,
    });
  }

  vad(vad: ServerEvents["vad"]): void {
    this.#step({ type: "vad", state: vad.state });
  }

  stopMic(): void {
    this.mic.stop();
    this.#step({ type: "stopped" });
  }

  dispose(): void {
    this.mic.dispose();
    this.player.dispose();
  }

  #step(input: DuckInput): void {
    const [state, commands] = duck(this.#duck, input);
    this.#duck = state;
    for (const command of commands) {
      if (command.do === "duck") this.player.duck();
      else if (command.do === "unduck") this.player.unduck();
      else this.#events.barge({ state: command.state, mic_t: this.mic.time });
    }
  }
}
