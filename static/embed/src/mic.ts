// The microphone: asks for it, cuts it into 20 ms PCM16 frames with their header, measures its level, and says in words why it cannot.

import { FLAG, KIND, pack } from "./media";
import { Tape } from "./tape";
import type { MicMessage } from "./worklet";

export type MicFailure = "mic_denied" | "mic_missing" | "mic_busy" | "mic_lost" | "mic_insecure" | "no_voice_here";

export class MicError extends Error {
  readonly reason: MicFailure;

  constructor(reason: MicFailure) {
    super(reason);
    this.reason = reason;
  }
}

export interface MicEvents {
  /** False when it cannot be sent now: it is offered again. */
  frame(bytes: ArrayBuffer): boolean;
  /** Every 10 ms: dBFS, and milliseconds of capture. */
  level(db: number, ms: number): void;
  lost(reason: MicFailure): void;
  /** The listener hears the avatar right now. */
  playing(): boolean;
}

const RATE = 16_000;
const DRAIN_MS = 100;
const CONSTRAINTS: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

function failureOf(error: unknown): MicFailure {
  switch ((error as DOMException | null)?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "mic_denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "mic_missing";
    default:
      return "mic_busy";
  }
}

export class Mic {
  readonly #base: string;
  readonly #events: MicEvents;
  #stream: MediaStream | null = null;
  #context: AudioContext | null = null;
  #attempt = 0;
  #seq = 0;
  #first = true;
  #draining: ReturnType<typeof setInterval> | undefined;
  /** Its clock runs at 16 kHz, and counts on over every time the microphone was open. */
  readonly #tape = new Tape(RATE, ({ pcm, rate, flags }, t) =>
    this.#events.frame(pack({ kind: KIND.mic, flags, seq: this.#seq++, rid: 0, rate, t: Math.round((t * rate) / RATE), payload: pcm })),
  );
  #levels = 0;

  constructor(base: string, events: MicEvents) {
    this.#base = base;
    this.#events = events;
  }

  get on(): boolean {
    return this.#stream !== null;
  }

  /** Samples at 16 kHz since the session's start. */
  get time(): number {
    return this.#tape.time;
  }

  /** The number of the next frame. */
  get seq(): number {
    return this.#seq;
  }

  /** The server has heard this many samples, and gets what it has missed; `other` is a session that has heard nothing yet. */
  resume(samples: number, other: boolean): void {
    this.#tape.resume(samples, other);
    this.#drain();
  }

  /** Rejects with `MicError`. Only the last of several calls at once wins. */
  async start(): Promise<void> {
    const attempt = ++this.#attempt;
    if (!globalThis.isSecureContext) throw new MicError("mic_insecure");
    if (!navigator.mediaDevices?.getUserMedia || !globalThis.AudioWorkletNode) throw new MicError("no_voice_here");
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: CONSTRAINTS });
    } catch (error) {
      throw new MicError(failureOf(error));
    }
    if (attempt !== this.#attempt) return stopTracks(stream);
    this.#stream = stream;
    try {
      this.#context = await this.#capture(stream);
    } catch {
      this.stop();
      throw new MicError("mic_busy");
    }
    if (attempt !== this.#attempt) return;
    clearInterval(this.#draining);
    this.#first = true;
    const track = stream.getAudioTracks()[0];
    track?.addEventListener("ended", () => {
      if (this.#stream === stream) void this.#replace();
    });
  }

  stop(): void {
    this.#attempt++;
    if (this.#stream) stopTracks(this.#stream);
    this.#stream = null;
    void this.#context?.close();
    this.#context = null;
    this.#drain();
  }

  dispose(): void {
    this.stop();
    clearInterval(this.#draining);
  }

  /** What the closed microphone has left behind still goes, while there is somebody who takes it. */
  #drain(): void {
    clearInterval(this.#draining);
    if (this.on) return;
    this.#draining = setInterval(() => {
      if (!this.#tape.drain((RATE * DRAIN_MS) / 1000)) clearInterval(this.#draining);
    }, DRAIN_MS);
  }

  /** The device went away: take the next one, once. */
  async #replace(): Promise<void> {
    this.stop();
    try {
      await this.start();
    } catch {
      this.#events.lost("mic_lost");
    }
  }

  /** At 16 kHz where the browser converts; else at the device's own rate, and the server converts. */
  async #capture(stream: MediaStream): Promise<AudioContext> {
    let context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    let source: MediaStreamAudioSourceNode;
    try {
      source = context.createMediaStreamSource(stream);
    } catch {
      void context.close();
      context = new AudioContext({ latencyHint: "interactive" });
      source = context.createMediaStreamSource(stream);
    }
    await context.audioWorklet.addModule(`${this.#base}worklet.js`);
    const node = new AudioWorkletNode(context, "ma-mic", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }: MessageEvent<MicMessage>) => {
      if (this.#stream !== stream) return;
      if ("level" in data) this.#events.level(data.level, ++this.#levels * 10);
      else this.#frame(data.pcm, context.sampleRate);
    };
    source.connect(node);
    await context.resume();
    return context;
  }

  #frame(pcm: Int16Array, rate: number): void {
    const flags = (this.#first ? FLAG.first : 0) | (this.#events.playing() ? FLAG.playing : 0);
    this.#first = false;
    this.#tape.push({ pcm: new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength), rate, flags, length: Math.round((pcm.length * RATE) / rate) });
  }
}

function stopTracks(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
