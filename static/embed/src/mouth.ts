/** The mouth on the sample clock: sparse viseme keys and cues in, weights at one output sample out. No DOM, no clock. */

import { VISEMES } from "./generated/visemes.ts";

/** One row of a `face` event: output samples since `t0`, index into the session's viseme names, weight 0 to 1. */
export type Key = readonly [dt: number, id: number, weight: number];

const REST_SECONDS = 0.08;
const ATTACK_SECONDS = 0.04;
const KEPT_SECONDS = 2;
const MAX_RESPONSES = 8;
const MAX_KEYS = 32_768;
const MAX_CUES = 512;
const MAX_GONE = 32;

/** The responses that were cut; the newest `MAX_GONE` are remembered, which outlives anything still on the wire. */
class Gone {
  private readonly rids: number[] = [];

  add(rid: number): void {
    if (this.rids.includes(rid)) return;
    this.rids.push(rid);
    if (this.rids.length > MAX_GONE) this.rids.shift();
  }

  has(rid: number): boolean {
    return this.rids.includes(rid);
  }
}

/** The keys of one viseme, ordered in time; `part` tells which `add` brought a key. */
class Track {
  readonly t: number[] = [];
  readonly w: number[] = [];
  readonly part: number[] = [];

  /** Index of the last key at or before `t`, or -1. */
  find(t: number): number {
    let low = 0;
    let high = this.t.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.t[mid]! <= t) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  }

  /** Inserts one key, replacing a key at the same sample. Returns how many keys the track grew by. */
  insert(t: number, w: number, part: number): number {
    const i = this.find(t);
    if (i >= 0 && this.t[i] === t) {
      this.w[i] = w;
      this.part[i] = part;
      return 0;
    }
    this.t.splice(i + 1, 0, t);
    this.w.splice(i + 1, 0, w);
    this.part.splice(i + 1, 0, part);
    return 1;
  }

  /** Forgets the keys that no sample at or after `t` can need. Returns how many went. */
  forget(t: number): number {
    const n = this.find(t);
    if (n < 64) return 0;
    this.t.splice(0, n);
    this.w.splice(0, n);
    this.part.splice(0, n);
    return n;
  }

  /** Linear between neighbours; across a hole between two parts the shape is released and taken up again. */
  at(t: number, release: number, attack: number): number {
    const i = this.find(t);
    const next = i + 1;
    const leaving = i < 0 ? 0 : this.w[i]! * Math.max(0, 1 - (t - this.t[i]!) / release);
    if (next >= this.t.length) return leaving;
    const t1 = this.t[next]!;
    if (i >= 0) {
      const t0 = this.t[i]!;
      if (this.part[i] === this.part[next] || t1 - t0 <= release) {
        const w0 = this.w[i]!;
        return w0 + ((this.w[next]! - w0) * (t - t0)) / (t1 - t0);
      }
    }
    return Math.max(leaving, this.w[next]! * Math.max(0, 1 - (t1 - t) / attack));
  }
}

interface Response {
  readonly tracks: Track[];
  keys: number;
  parts: number;
}

/** Viseme keys of the responses that are sounding or about to. */
export class MouthTimeline {
  /** Keys that arrived after their sample had been shown. */
  late = 0;
  /** Keys refused: of a cut or passed response, out of range, or over the bound. */
  dropped = 0;

  private readonly responses = new Map<number, Response>();
  private readonly gone = new Gone();
  private readonly last: Float32Array;
  private readonly from: Float32Array;
  private rid = 0;
  private t = 0;
  private easeAt = 0;
  private easing = false;

  /** `count` is the number of visemes, `rate` the output samples a second. */
  constructor(
    readonly count: number = VISEMES.length,
    public rate = 24_000,
  ) {
    this.last = new Float32Array(count);
    this.from = new Float32Array(count);
  }

  /** Takes the keys of one segment of response `rid`, whose first sample is `t0`. Resent keys replace themselves. */
  add(rid: number, t0: number, keys: readonly Key[]): void {
    if (rid < this.rid || this.gone.has(rid)) {
      this.dropped += keys.length;
      return;
    }
    const response = this.open(rid);
    response.parts += 1;
    const shown = rid === this.rid ? this.t : -1;
    for (const [dt, id, weight] of keys) {
      const t = t0 + dt;
      const track = response.tracks[id];
      if (!track || !Number.isFinite(t) || !Number.isFinite(weight) || response.keys >= MAX_KEYS) {
        this.dropped += 1;
        continue;
      }
      if (t < shown) this.late += 1;
      response.keys += track.insert(t, Math.min(1, Math.max(0, weight)), response.parts);
    }
  }

  /** Forgets response `rid`; the shape on the face eases to rest, and keys of it that still arrive are dropped. */
  cut(rid: number): void {
    this.gone.add(rid);
    this.responses.delete(rid);
    if (rid === this.rid) this.ease(this.t);
  }

  /** Writes the weights at output sample `t` of response `rid` into `out`; everything older is forgotten. */
  sample(rid: number, t: number, out: Float32Array): void {
    if (rid !== this.rid) {
      for (const known of this.responses.keys()) if (known < rid) this.responses.delete(known);
      this.rid = rid;
      this.ease(t);
    } else if (t < this.easeAt) {
      this.easeAt = t;
    }
    this.t = t;
    const response = this.responses.get(rid);
    const release = REST_SECONDS * this.rate;
    const attack = ATTACK_SECONDS * this.rate;
    const k = this.easing ? (t - this.easeAt) / release : 1;
    if (k >= 1) this.easing = false;
    for (let id = 0; id < this.count; id++) {
      const value = response ? response.tracks[id]!.at(t, release, attack) : 0;
      out[id] = k >= 1 ? value : this.from[id]! * (1 - k) + value * k;
      this.last[id] = out[id]!;
    }
    if (response) for (const track of response.tracks) response.keys -= track.forget(t - KEPT_SECONDS * this.rate);
  }

  private ease(t: number): void {
    this.from.set(this.last);
    this.easeAt = t;
    this.easing = this.last.some((w) => w > 0);
  }

  private open(rid: number): Response {
    let response = this.responses.get(rid);
    if (!response) {
      response = { tracks: Array.from({ length: this.count }, () => new Track()), keys: 0, parts: 0 };
      this.responses.set(rid, response);
      if (this.responses.size > MAX_RESPONSES) this.responses.delete(Math.min(...this.responses.keys()));
    }
    return response;
  }
}

export type CueType = "emotion" | "gesture" | "gaze" | "pose" | "blink" | "animation";

/** A `cue` event: `t` and `dur` in output samples, `amp` 0 to 1. */
export interface CueEvent {
  readonly rid: number;
  readonly t: number;
  readonly type: CueType;
  readonly name: string;
  readonly amp: number;
  readonly dur: number;
}

/** A cue at one moment: `level` is its envelope times `amp`, `age` and `length` are seconds, `serial` names it. */
export interface ActiveCue {
  readonly serial: number;
  readonly type: CueType;
  readonly name: string;
  readonly amp: number;
  readonly length: number;
  age: number;
  level: number;
}

interface Envelope {
  readonly enter: number;
  readonly leave: number;
  /** Seconds, used when a cue states no duration. */
  readonly usual: number;
  /** A cue later than this many seconds is pointless. */
  readonly patience: number;
}

const ENVELOPES: Record<CueType, Envelope> = {
  emotion: { enter: 0.35, leave: 0.7, usual: 3, patience: Infinity },
  pose: { enter: 0.5, leave: 0.7, usual: 3, patience: Infinity },
  gaze: { enter: 0.08, leave: 0.15, usual: 1, patience: Infinity },
  gesture: { enter: 0.15, leave: 0.3, usual: 0.9, patience: 0.25 },
  animation: { enter: 0.3, leave: 0.4, usual: 2, patience: 0.5 },
  blink: { enter: 0, leave: 0, usual: 0.25, patience: 0.15 },
};
const CUT_SECONDS = 0.25;

interface Planned {
  readonly cue: ActiveCue;
  readonly rid: number;
  readonly t: number;
  cutAt: number;
  cutLevel: number;
}

const smooth = (x: number): number => {
  const k = Math.min(1, Math.max(0, x));
  return k * k * (3 - 2 * k);
};

/** Cues of the responses that are sounding or about to, each with an envelope that enters and leaves. */
export class CueTimeline {
  late = 0;
  dropped = 0;

  private planned: Planned[] = [];
  private readonly gone = new Gone();
  private readonly active: ActiveCue[] = [];
  private serial = 0;
  private rid = 0;
  private t = 0;

  constructor(public rate = 24_000) {}

  add(cue: CueEvent): void {
    const envelope = ENVELOPES[cue.type] as Envelope | undefined;
    const valid = envelope && Number.isFinite(cue.t) && Number.isFinite(cue.amp);
    if (!valid || cue.rid < this.rid || this.gone.has(cue.rid) || this.planned.length >= MAX_CUES) {
      this.dropped += 1;
      return;
    }
    const behind = cue.rid === this.rid ? (this.t - cue.t) / this.rate : 0;
    if (behind > 0) this.late += 1;
    if (behind > envelope.patience) {
      this.dropped += 1;
      return;
    }
    this.serial += 1;
    const length = cue.dur > 0 ? cue.dur / this.rate : envelope.usual;
    const amp = Math.min(1, Math.max(0, cue.amp));
    const active = { serial: this.serial, type: cue.type, name: cue.name, amp, length, age: 0, level: 0 };
    this.planned.push({ cue: active, rid: cue.rid, t: cue.t, cutAt: Infinity, cutLevel: 0 });
  }

  /** What is showing of response `rid` leaves within a quarter of a second; the rest of it is forgotten. */
  cut(rid: number): void {
    this.gone.add(rid);
    this.planned = this.planned.filter((p) => p.rid !== rid || (rid === this.rid && p.t <= this.t));
    for (const p of this.planned) {
      if (p.rid !== rid || p.cutAt !== Infinity) continue;
      p.cutAt = this.t;
      p.cutLevel = p.cue.level;
    }
  }

  /** The cues showing at output sample `t` of response `rid`. The array is reused by the next call. */
  sample(rid: number, t: number): readonly ActiveCue[] {
    if (rid !== this.rid) {
      this.planned = this.planned.filter((p) => p.rid >= rid);
      this.rid = rid;
    }
    this.t = t;
    this.active.length = 0;
    let over = false;
    for (const p of this.planned) {
      if (p.rid !== rid || p.t > t) continue;
      const { cue } = p;
      const { enter, leave } = ENVELOPES[cue.type];
      cue.age = (t - p.t) / this.rate;
      const gone = Math.max(0, t - p.cutAt) / this.rate;
      if (cue.age >= cue.length + leave || gone >= CUT_SECONDS) {
        over = true;
        continue;
      }
      const open = enter > 0 ? smooth(cue.age / enter) : 1;
      const shut = leave > 0 ? 1 - smooth((cue.age - cue.length) / leave) : 1;
      const whole = cue.amp * open * shut;
      cue.level = p.cutAt === Infinity ? whole : Math.min(whole, p.cutLevel * (1 - smooth(gone / CUT_SECONDS)));
      this.active.push(cue);
    }
    if (over) {
      this.planned = this.planned.filter(
        (p) => p.rid !== rid || p.t > t || this.active.includes(p.cue),
      );
    }
    return this.active;
  }
}
