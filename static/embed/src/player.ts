// The speaker: feeds the worklet, tells which sample of which response is audible now, reports it, ducks and mutes.

import type { Play } from "./generated/wire";
import { FLAG, HEADER_BYTES, KIND, unpack } from "./media";
import type { Mark } from "./playout";
import { DUCK_DB, DUCK_MS, UNDUCK_MS } from "./turn";
import type { PlayMessage } from "./worklet";

export interface Clock {
  /** Response number, 0 before the first. */
  rid: number;
  /** Samples of the response that have been heard, fractional. */
  t: number;
  /** Samples a second. */
  rate: number;
  playing: boolean;
}

export interface PlayerStats {
  frames: number;
  samples: number;
  underruns: number;
  cuts: number;
  gaps: number;
  late: number;
  ducked: boolean;
  latencyMs: number;
  state: string;
}

const TICK_MS = 250;
const MARKS_KEPT = 64;
const LONGEST_GAP_S = 2;

interface Received {
  rate: number;
  samples: number;
  underruns: number;
  reported: "none" | "start" | "over";
}

export class Player {
  readonly #context: AudioContext;
  readonly #node: AudioWorkletNode;
  readonly #ducking: GainNode;
  readonly #muting: GainNode;
  readonly #report: (play: Play) => void;
  readonly #received = new Map<number, Received>();
  readonly #marks: Mark[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #tick: ReturnType<typeof setInterval>;
  readonly #stats: Omit<PlayerStats, "latencyMs" | "state"> = { frames: 0, samples: 0, underruns: 0, cuts: 0, gaps: 0, late: 0, ducked: false };
  #lastCut = 0;
  #seenTime = 0;
  #seenAt = 0;
  #audible = 0;

  /** Rejects when the browser has no AudioWorklet or the module is refused. */
  static async create(context: AudioContext, base: string, report: (play: Play) => void): Promise<Player> {
    await context.audioWorklet.addModule(`${base}worklet.js`);
    return new Player(context, report);
  }

  private constructor(context: AudioContext, report: (play: Play) => void) {
    this.#context = context;
    this.#report = report;
    this.#node = new AudioWorkletNode(context, "ma-play", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#ducking = context.createGain();
    this.#muting = context.createGain();
    this.#node.connect(this.#ducking).connect(this.#muting).connect(context.destination);
    this.#node.port.onmessage = ({ data }: MessageEvent<Mark>) => this.#marked(data);
    this.#tick = setInterval(() => this.#ticked(), TICK_MS);
  }

  /** An `audio` message. Frames of a response that was cut, and frames already had, are dropped. */
  push(buffer: ArrayBuffer): void {
    const media = unpack(buffer);
    if (!media || media.kind !== KIND.pcm16) return;
    if (media.rid <= this.#lastCut) {
      this.#stats.late++;
      return;
    }
    const received = this.#response(media.rid, media.rate);
    let pcm = new Int16Array(buffer.slice(HEADER_BYTES, HEADER_BYTES + (media.payload.byteLength & ~1)));
    if (media.t < received.samples) pcm = pcm.subarray(Math.min(pcm.length, received.samples - media.t)).slice();
    const missing = Math.min(media.t - received.samples, media.rate * LONGEST_GAP_S);
    if (missing > 0) {
      this.#stats.gaps++;
      this.#send({ do: "push", rid: media.rid, rate: media.rate, pcm: new Int16Array(missing) });
      received.samples += missing;
    }
    this.#stats.frames++;
    this.#stats.samples += pcm.length;
    received.samples += pcm.length;
    if (pcm.length > 0) this.#send({ do: "push", rid: media.rid, rate: media.rate, pcm }, [pcm.buffer]);
    if (media.flags & FLAG.last) this.end(media.rid);
  }

  /** No more audio of `rid` will come. */
  end(rid: number): void {
    this.#send({ do: "end", rid });
  }

  cut(rid: number, fadeMs: number): void {
    if (rid <= this.#lastCut) return;
    this.#lastCut = rid;
    this.#stats.cuts++;
    const heard = this.#position(rid);
    this.#send({ do: "cut", rid, fadeMs });
    const mark = this.#last(rid);
    if (this.#context.state !== "running" || !mark?.on) this.#over(rid, "stop", heard);
    this.unduck();
  }

  /** Which sample is leaving the loudspeaker now. */
  now(): Clock {
    const audible = this.#audibleTime();
    let mark: Mark | undefined;
    for (const item of this.#marks) if (item.at <= audible) mark = item;
    if (!mark) return { rid: 0, t: 0, rate: 24_000, playing: false };
    const t = mark.on ? mark.s + (audible - mark.at) * mark.rate : mark.s;
    return { rid: mark.rid, t, rate: mark.rate, playing: mark.on };
  }

  /** Audio of a response is held or sounding: not yet heard to its end. */
  get busy(): boolean {
    for (const [rid, received] of this.#received) if (rid > this.#lastCut && received.reported !== "over") return true;
    return false;
  }

  /** The last sample of `rid` has been heard, or will never be. */
  finished(rid: number): boolean {
    return rid <= this.#lastCut || this.#received.get(rid)?.reported === "over";
  }

  duck(db = DUCK_DB, ms = DUCK_MS): void {
    this.#stats.ducked = true;
    this.#ramp(10 ** (db / 20), ms);
  }

  unduck(): void {
    if (!this.#stats.ducked) return;
    this.#stats.ducked = false;
    this.#ramp(1, UNDUCK_MS);
  }

  mute(on: boolean): void {
    this.#muting.gain.setTargetAtTime(on ? 0 : 1, this.#context.currentTime, 0.015);
  }

  get blocked(): boolean {
    return this.#context.state !== "running";
  }

  async resume(): Promise<void> {
    await this.#context.resume();
  }

  stats(): PlayerStats {
    return { ...this.#stats, latencyMs: this.#latency() * 1000, state: this.#context.state };
  }

  dispose(): void {
    clearInterval(this.#tick);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#node.disconnect();
    this.#muting.disconnect();
  }

  #send(message: PlayMessage, transfer: Transferable[] = []): void {
    this.#node.port.postMessage(message, transfer);
  }

  #response(rid: number, rate: number): Received {
    let received = this.#received.get(rid);
    if (!received) {
      received = { rate, samples: 0, underruns: 0, reported: "none" };
      this.#received.set(rid, received);
      for (const old of this.#received.keys()) if (this.#received.size > MARKS_KEPT) this.#received.delete(old);
    }
    return received;
  }

  #ramp(gain: number, ms: number): void {
    const { gain: param } = this.#ducking;
    const start = this.#context.currentTime;
    param.cancelScheduledValues(start);
    param.setValueAtTime(param.value, start);
    param.linearRampToValueAtTime(gain, start + ms / 1000);
  }

  #latency(): number {
    return this.#context.outputLatency || this.#context.baseLatency || 0;
  }

  /** `currentTime` moves in steps of the device's buffer: between two steps the page's clock fills in. It never runs backwards. */
  #audibleTime(): number {
    const time = this.#context.currentTime;
    const wall = performance.now() / 1000;
    if (time !== this.#seenTime) {
      this.#seenTime = time;
      this.#seenAt = wall;
    }
    const since = this.#context.state === "running" ? Math.min(wall - this.#seenAt, 0.03) : 0;
    this.#audible = Math.max(this.#audible, time + since - this.#latency());
    return this.#audible;
  }

  #last(rid: number): Mark | undefined {
    return this.#marks.findLast((mark) => mark.rid === rid);
  }

  #position(rid: number): number {
    const clock = this.now();
    return Math.round(clock.rid === rid ? clock.t : (this.#last(rid)?.s ?? 0));
  }

  #marked(mark: Mark): void {
    this.#marks.push(mark);
    if (this.#marks.length > MARKS_KEPT) this.#marks.shift();
    const received = this.#received.get(mark.rid);
    if (!received) return;
    if (mark.why === "stall") {
      received.underruns++;
      this.#stats.underruns++;
      return;
    }
    if (mark.why === "cut") return this.#over(mark.rid, "stop", mark.s);
    if (mark.why === "resume") return;
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        if (mark.why === "end") this.#over(mark.rid, "done", mark.s);
        else if (received.reported === "none" && mark.rid > this.#lastCut) {
          received.reported = "start";
          this.#tell(mark.rid, "start", this.#position(mark.rid));
        }
      },
      Math.max(0, (mark.at - this.#audibleTime()) * 1000),
    );
    this.#timers.add(timer);
  }

  #over(rid: number, state: "stop" | "done", played: number): void {
    const received = this.#received.get(rid);
    if (!received || received.reported === "over") return;
    received.reported = "over";
    this.#tell(rid, state, played);
  }

  #ticked(): void {
    const { rid } = this.now();
    if (this.#received.get(rid)?.reported === "start") this.#tell(rid, "tick", this.#position(rid));
  }

  #tell(rid: number, state: Play["state"], played: number): void {
    const received = this.#received.get(rid);
    const total = received?.samples ?? 0;
    const heard = Math.min(Math.max(0, Math.round(played)), total);
    const left = state === "stop" ? 0 : ((total - heard) / (received?.rate ?? 24_000)) * 1000;
    this.#report({ rid, played: heard, buffered_ms: Math.round(left), underruns: received?.underruns ?? 0, state });
  }
}
