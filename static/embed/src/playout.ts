// What is heard when: the queue of responses that the worklet reads, sample by sample. Pure, so that it is tested without audio.

/** From context time `at` on, sample `s` of `rid` is the next one heard; `on` says whether it moves. */
export interface Mark {
  rid: number;
  at: number;
  s: number;
  rate: number;
  on: boolean;
  why: "start" | "resume" | "stall" | "end" | "cut";
}

interface Response {
  rid: number;
  rate: number;
  chunks: Int16Array[];
  /** Samples read of the first chunk. */
  offset: number;
  buffered: number;
  read: number;
  ended: boolean;
}

export class Playout {
  readonly #queue: Response[] = [];
  readonly #sampleRate: number;
  readonly #prebufferMs: number;
  readonly #mark: (mark: Mark) => void;
  #playing = false;
  #begun = false;
  #lastCut = 0;
  #fadeLeft = -1;
  #fadeLength = 1;
  #phase = 1;
  #previous = 0;
  #current = 0;

  constructor(sampleRate: number, prebufferMs: number, mark: (mark: Mark) => void) {
    this.#sampleRate = sampleRate;
    this.#prebufferMs = prebufferMs;
    this.#mark = mark;
  }

  push(rid: number, rate: number, pcm: Int16Array): void {
    if (rid <= this.#lastCut) return;
    const response = this.#find(rid, rate);
    response.chunks.push(pcm);
    response.buffered += pcm.length;
  }

  end(rid: number): void {
    const response = this.#queue.find((item) => item.rid === rid);
    if (response) response.ended = true;
  }

  /** Fades `rid` out over `fadeMs` and forgets it and everything older. */
  cut(rid: number, fadeMs: number): void {
    this.#lastCut = Math.max(this.#lastCut, rid);
    const head = this.#queue[0];
    const sounding = head !== undefined && head.rid <= rid && this.#playing;
    for (let i = this.#queue.length - 1; i >= (sounding ? 1 : 0); i--) {
      const response = this.#queue[i];
      if (response && response.rid <= rid) this.#queue.splice(i, 1);
    }
    if (sounding) {
      this.#fadeLength = this.#fadeLeft = Math.max(1, Math.round((fadeMs / 1000) * this.#sampleRate));
    } else {
      this.#begun = false;
    }
  }

  /** Writes one block whose first frame sounds at context time `at`. */
  render(out: Float32Array, at: number): void {
    for (let i = 0; i < out.length; i++) out[i] = this.#frame(at + i / this.#sampleRate);
  }

  #find(rid: number, rate: number): Response {
    let response = this.#queue.find((item) => item.rid === rid);
    if (!response) {
      response = { rid, rate, chunks: [], offset: 0, buffered: 0, read: 0, ended: false };
      this.#queue.push(response);
    }
    return response;
  }

  #note(head: Response, at: number, on: boolean, why: Mark["why"]): void {
    this.#mark({ rid: head.rid, at, s: head.read, rate: head.rate, on, why });
  }

  #finish(head: Response, at: number, why: "end" | "cut"): void {
    this.#note(head, at, false, why);
    this.#queue.shift();
    this.#playing = this.#begun = false;
    this.#fadeLeft = -1;
    this.#phase = 1;
    this.#previous = this.#current = 0;
  }

  #frame(at: number): number {
    const head = this.#queue[0];
    if (!head) return 0;
    if (!this.#playing) {
      if (head.ended && head.buffered === 0) {
        this.#finish(head, at, "end");
        return 0;
      }
      if (!head.ended && head.buffered * 1000 < this.#prebufferMs * head.rate) return 0;
      this.#playing = true;
      this.#note(head, at, true, this.#begun ? "resume" : "start");
      this.#begun = true;
    }
    if (this.#fadeLeft === 0) {
      this.#finish(head, at, "cut");
      return 0;
    }
    const step = head.rate / this.#sampleRate;
    let value: number;
    if (step === 1) {
      if (!this.#ready(head, at)) return 0;
      value = this.#take(head);
    } else {
      while (this.#phase >= 1) {
        if (!this.#ready(head, at)) return 0;
        this.#previous = this.#current;
        this.#current = this.#take(head);
        this.#phase -= 1;
      }
      value = this.#previous + (this.#current - this.#previous) * this.#phase;
      this.#phase += step;
    }
    if (this.#fadeLeft > 0) value *= this.#fadeLeft-- / this.#fadeLength;
    return value;
  }

  /** False, with the reason noted, when the response has no sample to give. */
  #ready(head: Response, at: number): boolean {
    if (head.buffered > 0) return true;
    if (head.ended || this.#fadeLeft > 0) {
      this.#finish(head, at, this.#fadeLeft > 0 ? "cut" : "end");
    } else {
      this.#playing = false;
      this.#note(head, at, false, "stall");
    }
    return false;
  }

  #take(head: Response): number {
    const chunk = head.chunks[0] as Int16Array;
    const value = (chunk[head.offset] as number) / 32768;
    head.offset++;
    head.buffered--;
    head.read++;
    if (head.offset >= chunk.length) {
      head.chunks.shift();
      head.offset = 0;
    }
    return value;
  }
}
