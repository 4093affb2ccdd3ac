// The last seconds of the microphone: what has not been sent waits here, what has been sent may be asked for again. Pure.
//
// The server counts the samples that it gets. A frame gets its place in that count when it is sent; what was forgotten
// before it could be sent has none, and the next frame says that something is missing.

import { FLAG } from "./media";

export const KEPT_SECONDS = 5;
/** Backlog that may leave at once, and how many seconds of it follow each second of capture: the server takes no more. */
export const BURST_SECONDS = 2.5;
export const CATCH_UP = 1.5;

export interface Piece {
  /** 16-bit samples, little endian. */
  readonly pcm: Uint8Array;
  /** Samples a second. */
  readonly rate: number;
  readonly flags: number;
  /** Length in input samples, at 16 kHz. */
  readonly length: number;
}

interface Sent extends Piece {
  t: number;
}

/** Takes a piece that starts at input sample `t`; false when it cannot. */
export type Send = (piece: Piece, t: number) => boolean;

export class Tape {
  readonly #rate: number;
  readonly #send: Send;
  #sent: Sent[] = [];
  #waiting: Piece[] = [];
  #next = 0;
  #missing = 0;
  #allowed = 0;

  constructor(rate: number, send: Send) {
    this.#rate = rate;
    this.#send = send;
    this.#allowed = BURST_SECONDS * rate;
  }

  /** Input samples that the server has been sent, and those that wait. */
  get time(): number {
    return this.#next + total(this.#waiting);
  }

  push(piece: Piece): void {
    this.#waiting.push(piece);
    this.#allowed = Math.min(BURST_SECONDS * this.#rate, this.#allowed + piece.length * CATCH_UP);
    this.#forget();
    this.flush();
  }

  /** The server has heard up to input sample `next`; with `other` it is another server's session, which has heard nothing of this. */
  resume(next: number, other: boolean): void {
    const again = other ? [] : this.#sent.filter((piece) => piece.t + piece.length / 2 > next);
    if (!other && again[0] && again[0].t > next + again[0].length / 2) this.#missing = FLAG.discontinuity;
    if (other) this.#missing = FLAG.first;
    this.#waiting = [...again.map((piece) => ({ ...piece, flags: piece.flags | FLAG.resent })), ...this.#waiting];
    this.#sent = [];
    this.#next = next;
    this.#allowed = BURST_SECONDS * this.#rate;
    this.flush();
  }

  /** The microphone is closed: lets what is left of it go at the pace at which it would have gone. Returns whether anything waits. */
  drain(length: number): boolean {
    this.#allowed += length * CATCH_UP;
    this.flush();
    return this.#waiting.length > 0;
  }

  /** Sends what waits, as far as it is taken. */
  flush(): void {
    for (let piece = this.#waiting[0]; piece && piece.length <= this.#allowed; piece = this.#waiting[0]) {
      const sent: Sent = { ...piece, flags: piece.flags | this.#missing, t: this.#next };
      if (!this.#send(sent, sent.t)) return;
      this.#waiting.shift();
      this.#sent.push(sent);
      this.#allowed -= piece.length;
      this.#next += piece.length;
      this.#missing = 0;
    }
  }

  #forget(): void {
    const kept = KEPT_SECONDS * this.#rate;
    let length = total(this.#waiting);
    while (length > kept) {
      length -= (this.#waiting.shift() as Piece).length;
      this.#sent = [];
      this.#missing = FLAG.discontinuity;
    }
    for (let all = length + total(this.#sent); all > kept && this.#sent[0]; ) all -= (this.#sent.shift() as Sent).length;
  }
}

function total(pieces: readonly Piece[]): number {
  let sum = 0;
  for (const piece of pieces) sum += piece.length;
  return sum;
}
