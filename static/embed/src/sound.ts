// Sound as the chat sees it: brings the voice part when it is first needed, keeps what came early, opens and closes the microphone.

import type { Shell } from "./contract";
import type { Barge, Play, Vad } from "./generated/wire";
import type { Clock, MicFailure, PlayerStats, Voice } from "./voice";

/** Audio that came before the player did. */
const EARLY_FRAMES = 200;
const silent: Clock = { rid: 0, t: 0, rate: 24_000, playing: false };

export interface SoundEvents {
  play(report: Play): void;
  frame(bytes: ArrayBuffer): boolean;
  level(db: number): void;
  barge(barge: Barge): void;
  /** The browser holds sound back until it is touched, or no longer does. */
  blocked(on: boolean): void;
  /** The microphone opened or closed. */
  mic(on: boolean): void;
  micFailed(reason: MicFailure): void;
  /** There will be no sound. */
  unavailable(): void;
}

export class Sound {
  /** The bot speaks and this browser can play it. */
  readonly wanted: boolean;
  readonly #shell: Shell;
  readonly #events: SoundEvents;
  #voice: Voice | null = null;
  #loading: Promise<Voice | null> | null = null;
  #early: ArrayBuffer[] = [];
  #blocked = false;
  #muted = false;
  #micWanted = false;
  #heard = 0;
  #told: Play | null = null;

  constructor(shell: Shell, events: SoundEvents) {
    this.#shell = shell;
    this.#events = events;
    this.wanted = shell.config.features.voice && shell.config.type !== "text" && "AudioWorkletNode" in globalThis;
  }

  /** In a touch or key of the visitor: sound is allowed from here on. */
  unlock(): void {
    if (!this.wanted) return;
    void this.#load();
    const context = this.#shell.audio();
    if (context && context.state !== "running") void context.resume().then(() => this.#block(false));
  }

  push(frame: ArrayBuffer): void {
    if (!this.#voice) {
      if (this.#early.length < EARLY_FRAMES) this.#early.push(frame);
      return;
    }
    this.#voice.player.push(frame);
    if (this.#voice.player.blocked) this.#block(true);
  }

  end(rid: number): void {
    this.#voice?.player.end(rid);
  }

  cut(rid: number, fadeMs: number): void {
    this.#early = [];
    this.#voice?.player.cut(rid, fadeMs);
  }

  /** The server's wish; the client's own detector decides while the microphone is open. */
  duck(db: number, ms: number): void {
    if (!this.micOn) this.#voice?.player.duck(db, ms);
  }

  unduck(): void {
    this.#voice?.player.unduck();
  }

  mute(on: boolean): void {
    this.#muted = on;
    this.#voice?.player.mute(on);
  }

  vad(vad: Vad): void {
    this.#voice?.vad(vad);
  }

  now(): Clock {
    return this.#voice?.player.now() ?? silent;
  }

  /** Something is held or sounding that has not been heard to its end. */
  get busy(): boolean {
    return this.#voice?.player.busy ?? false;
  }

  get micOn(): boolean {
    return this.#voice?.mic.on ?? false;
  }

  get muted(): boolean {
    return this.#muted;
  }

  stats(): PlayerStats | null {
    return this.#voice?.player.stats() ?? null;
  }

  /** A socket stands again: the microphone goes on from `samples`, and what was last heard is told once more. */
  resume(samples: number, other: boolean): void {
    this.#heard = samples;
    this.#voice?.mic.resume(samples, other);
    if (this.#told) this.#events.play(this.#told);
  }

  /** The number of the microphone's next frame. */
  get micSeq(): number {
    return this.#voice?.mic.seq ?? 0;
  }

  async toggleMic(): Promise<void> {
    if (this.#micWanted) return this.stopMic();
    this.#micWanted = true;
    this.#events.mic(true);
    const voice = await this.#load();
    if (!voice) return this.stopMic();
    try {
      await voice.mic.start();
      if (this.#micWanted) this.#events.mic(true);
      else voice.stopMic();
    } catch (error) {
      this.stopMic();
      this.#events.micFailed((error as { reason?: MicFailure }).reason ?? "mic_busy");
    }
  }

  stopMic(): void {
    this.#micWanted = false;
    this.#voice?.stopMic();
    this.#events.mic(false);
  }

  dispose(): void {
    this.#micWanted = false;
    this.#voice?.dispose();
  }

  #block(on: boolean): void {
    if (on === this.#blocked) return;
    this.#blocked = on;
    this.#events.blocked(on);
  }

  #load(): Promise<Voice | null> {
    this.#loading ??= this.#make();
    return this.#loading;
  }

  async #make(): Promise<Voice | null> {
    const events = this.#events;
    try {
      const context = this.#shell.audio();
      if (!context) throw new Error("this browser makes no audio context");
      const { Voice } = await import("./voice");
      const voice = await Voice.create(context, this.#shell.base, {
        play: (report) => events.play((this.#told = report)),
        frame: events.frame,
        level: events.level,
        barge: events.barge,
        lost: (reason) => {
          this.stopMic();
          events.micFailed(reason);
        },
      });
      this.#voice = voice;
      voice.player.mute(this.#muted);
      voice.mic.resume(this.#heard, true);
      for (const frame of this.#early.splice(0)) this.push(frame);
      return voice;
    } catch {
      events.unavailable();
      return null;
    }
  }
}
