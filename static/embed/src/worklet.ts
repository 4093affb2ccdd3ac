// The two audio worklets: `ma-play` sounds the responses, `ma-mic` cuts the microphone into frames and measures its level.

import { Playout } from "./playout";

declare const sampleRate: number;
declare const currentTime: number;
declare function registerProcessor(name: string, ctor: unknown): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

export type PlayMessage =
  | { do: "push"; rid: number; rate: number; pcm: Int16Array }
  | { do: "end"; rid: number }
  | { do: "cut"; rid: number; fadeMs: number };

const PREBUFFER_MS = 60;

class Play extends AudioWorkletProcessor {
  readonly #playout = new Playout(sampleRate, PREBUFFER_MS, (mark) => this.port.postMessage(mark));

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<PlayMessage>) => {
      if (data.do === "push") this.#playout.push(data.rid, data.rate, data.pcm);
      else if (data.do === "end") this.#playout.end(data.rid);
      else this.#playout.cut(data.rid, data.fadeMs);
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0]?.[0];
    if (out) this.#playout.render(out, currentTime);
    return true;
  }
}

export type MicMessage = { level: number } | { pcm: Int16Array };

class Mic extends AudioWorkletProcessor {
  readonly #levelLength = Math.round(sampleRate * 0.01);
  readonly #frameLength = Math.round(sampleRate * 0.02);
  #frame = new Int16Array(this.#frameLength);
  #filled = 0;
  #energy = 0;
  #measured = 0;

  process(inputs: Float32Array[][]): boolean {
    const input = inputs[0]?.[0];
    if (!input) return true;
    for (const value of input) {
      const clipped = value > 1 ? 1 : value < -1 ? -1 : value;
      this.#frame[this.#filled++] = clipped * 32767;
      this.#energy += value * value;
      if (++this.#measured === this.#levelLength) {
        this.port.postMessage({ level: 10 * Math.log10(this.#energy / this.#levelLength + 1e-9) });
        this.#energy = this.#measured = 0;
      }
      if (this.#filled === this.#frameLength) {
        const pcm = this.#frame;
        this.port.postMessage({ pcm }, [pcm.buffer]);
        this.#frame = new Int16Array(this.#frameLength);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("ma-play", Play);
registerProcessor("ma-mic", Mic);
