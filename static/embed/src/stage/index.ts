/** The stage: a canvas with a living avatar whose lips follow the audio clock. The widget loads this file when it needs it. */

import { VISEMES } from "../generated/visemes.ts";
import { CueTimeline, MouthTimeline, type CueEvent, type Key } from "../mouth.ts";
import { Avatar } from "./avatar.ts";
import { OPENNESS } from "./blendshapes.ts";
import { Life, type Mode } from "./life.ts";
import { loadModel } from "./load.ts";
import { clamp, type Random } from "./motion.ts";
import { BACKDROP, Studio, type Quality } from "./studio.ts";

export type { CueEvent, Key, Mode, Quality, Random };

/** What is audible now: output sample `t` of response `rid`, at `rate` samples a second. */
export interface ClockSample {
  readonly rid: number;
  readonly t: number;
  readonly rate: number;
  readonly playing: boolean;
}

export interface FaceEvent {
  readonly rid: number;
  readonly t0: number;
  readonly keys: readonly Key[];
}

export interface StageOptions {
  readonly glbUrl: string;
  readonly quality?: Quality;
  /** A still avatar that only speaks and shows feelings. */
  readonly reducedMotion?: boolean;
  /** A CSS background, or null for a see-through canvas; a soft studio gradient by default. */
  readonly backdrop?: string | null;
  /** `ready.face.names`, when it is not the usual fifteen in the usual order. */
  readonly faceNames?: readonly string[];
  readonly random?: Random;
  /** Called at most once, when there is no WebGL, no avatar, or the GPU went away; the stage is dead by then. */
  readonly onError?: (error: Error) => void;
}

export interface Probe {
  readonly rid: number;
  /** The clock's sample, and the one the lips were shown at (at most 20 ms ahead). */
  readonly t: number;
  readonly lipsT: number;
  readonly rate: number;
  readonly playing: boolean;
  readonly mode: Mode;
  readonly frame: number;
  /** `performance.now()` when the clock was read. */
  readonly at: number;
  readonly names: readonly string[];
  /** What the lips are at, in the order of `names`. */
  readonly weights: readonly number[];
  readonly late: number;
  readonly dropped: number;
}

export interface Timing {
  readonly p50: number;
  readonly p95: number;
}

export interface Stats {
  readonly frames: number;
  /** Milliseconds: life, lips and bones, every animation frame; the render call, every picture. */
  readonly script: Timing;
  readonly render: Timing;
  /** Milliseconds from one picture to the next. */
  readonly interval: Timing;
  readonly readyMs: number;
}

export interface Stage {
  setClock(clock: () => ClockSample | null): void;
  face(event: FaceEvent): void;
  /** A cue of a response; one with rid 0 plays at once, its `t` and `dur` in milliseconds from now. */
  cue(event: CueEvent): void;
  cut(rid: number, fadeMs?: number): void;
  setMode(mode: Mode): void;
  setReducedMotion(reduced: boolean): void;
  setFaceNames(names: readonly string[]): void;
  resize(): void;
  probe(): Probe;
  stats(): Stats;
  dispose(): void;
}

const FADE_IN_MS = 350;
const MAX_LEAD_SECONDS = 0.02;
const REST_SECONDS = 0.08;
const STATS_FRAMES = 600;
const LONGEST_STEP = 0.1;
const PP = VISEMES.indexOf("PP");
const FF = VISEMES.indexOf("FF");

/** The last `STATS_FRAMES` values and their percentiles. */
class Times {
  private readonly values = new Float64Array(STATS_FRAMES);
  private n = 0;

  add(value: number): void {
    this.values[this.n++ % STATS_FRAMES] = value;
  }

  timing(): Timing {
    const sorted = this.values.slice(0, Math.min(this.n, STATS_FRAMES)).sort();
    const at = (p: number): number => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;
    return { p50: at(0.5), p95: at(0.95) };
  }
}

const asError = (cause: unknown): Error => (cause instanceof Error ? cause : new Error(String(cause)));

class LiveStage implements Stage {
  private readonly mouth = new MouthTimeline();
  private readonly cues = new CueTimeline();
  private readonly asides = new CueTimeline(1000);
  private readonly life: Life;
  private readonly weights = new Float32Array(VISEMES.length);
  private readonly shown = new Float32Array(VISEMES.length);
  private order: readonly number[] = VISEMES.map((_, k) => k);
  private mode: Mode = "idle";
  private clock: () => ClockSample | null = () => null;
  private now: ClockSample = { rid: 0, t: 0, rate: 24_000, playing: false };
  private readAt = 0;
  private lipsT = 0;
  private cueT = 0;
  private silent = REST_SECONDS;
  private asideMs = 0;
  private frame = 0;
  private last = 0;
  private drawn = 0;
  private request = 0;
  private onScreen = true;
  private dirty = 3;
  private disposed = false;
  private readonly scriptTimes = new Times();
  private readonly renderTimes = new Times();
  private readonly intervals = new Times();
  private readonly ends = new AbortController();
  private readonly sizes: ResizeObserver;
  private readonly sights: IntersectionObserver;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly studio: Studio,
    private readonly avatar: Avatar,
    private reduced: boolean,
    private readonly readyMs: number,
    random: Random,
    onLost: (error: Error) => void,
  ) {
    this.life = new Life(random);
    const { signal } = this.ends;
    canvas.addEventListener(
      "webglcontextlost",
      () => {
        this.dispose();
        onLost(new Error("the graphics card took the 3D picture away (WebGL context lost)"));
      },
      { signal },
    );
    document.addEventListener("visibilitychange", () => this.schedule(), { signal });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(canvas);
    this.sights = new IntersectionObserver((entries) => {
      this.onScreen = entries.at(-1)?.isIntersecting ?? true;
      this.schedule();
    });
    this.sights.observe(canvas);
    this.schedule();
  }

  setClock(clock: () => ClockSample | null): void {
    this.clock = clock;
  }

  face(event: FaceEvent): void {
    this.mouth.add(event.rid, event.t0, event.keys.map(([dt, id, weight]) => [dt, this.order[id] ?? -1, weight] as const));
  }

  cue(event: CueEvent): void {
    if (event.rid === 0) this.asides.add({ ...event, rid: 0, t: this.asideMs + event.t });
    else this.cues.add(event);
  }

  cut(rid: number, _fadeMs = 0): void {
    this.mouth.cut(rid);
    this.cues.cut(rid);
  }

  setMode(mode: Mode): void {
    this.mode = mode;
  }

  setReducedMotion(reduced: boolean): void {
    this.reduced = reduced;
  }

  setFaceNames(names: readonly string[]): void {
    const known: readonly string[] = VISEMES;
    this.order = names.map((name) => known.indexOf(name.replace(/^viseme_/, "")));
  }

  resize(): void {
    if (this.disposed || !this.studio.resize()) return;
    this.dirty = 3;
    // A resized canvas is blank until it is drawn again, and the next frame may be a flicker away.
    if (this.frame > 0) this.studio.render();
  }

  probe(): Probe {
    const { rid, t, rate, playing } = this.now;
    return {
      rid, t, rate, playing, lipsT: this.lipsT, mode: this.mode, frame: this.frame, at: this.readAt,
      names: VISEMES, weights: Array.from(this.shown), late: this.mouth.late, dropped: this.mouth.dropped,
    };
  }

  stats(): Stats {
    return {
      frames: this.frame, readyMs: this.readyMs, script: this.scriptTimes.timing(),
      render: this.renderTimes.timing(), interval: this.intervals.timing(),
    };
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    cancelAnimationFrame(this.request);
    this.ends.abort();
    this.sizes.disconnect();
    this.sights.disconnect();
    this.studio.dispose();
  }

  private schedule(): void {
    const wanted = !this.disposed && this.onScreen && !document.hidden;
    if (wanted && this.request === 0) this.request = requestAnimationFrame(this.tick);
    if (wanted || this.request === 0) return;
    cancelAnimationFrame(this.request);
    this.request = 0;
  }

  private readonly tick = (at: number): void => {
    this.request = 0;
    this.schedule();
    const interval = (at - this.last) / 1000;
    this.last = at;
    const begun = performance.now();
    const dt = clamp(interval, 0, LONGEST_STEP);
    const moving = this.step(dt);
    const stepped = performance.now();
    this.scriptTimes.add(stepped - begun);
    if (moving) this.dirty = 3;
    if (this.dirty === 0 || !this.studio.ready(stepped, this.silent < REST_SECONDS)) return;
    this.dirty -= 1;
    const since = at - this.drawn;
    this.drawn = at;
    this.studio.render();
    this.frame += 1;
    this.renderTimes.add(performance.now() - stepped);
    if (this.frame < 2) return;
    this.intervals.add(since);
    this.studio.pace(interval);
  };

  /** One frame of lips and life. Returns whether anything may have moved. */
  private step(dt: number): boolean {
    const { shown } = this;
    const resting = this.silent >= REST_SECONDS;
    this.speak(dt);
    let openness = 0;
    for (let k = 0; k < shown.length; k++) openness += shown[k]! * OPENNESS[k]!;
    this.asideMs += dt * 1000;
    const spoken = this.cues.sample(this.now.rid, this.cueT);
    const asides = this.asides.sample(0, this.asideMs);
    const cues = asides.length > 0 ? [...spoken, ...asides] : spoken;
    const moment = {
      dt, mode: this.mode, cues, speaking: this.now.playing ? 1 : 0,
      openness: Math.min(1, openness), closure: Math.max(shown[PP]!, 0.7 * shown[FF]!), lens: this.studio.lens,
    };
    if (this.reduced) this.life.stepStill(moment);
    else this.life.step(moment);
    this.avatar.apply(this.life.pose, shown);
    return !this.reduced || !resting || this.silent < REST_SECONDS || cues.length > 0;
  }

  /** Reads the clock and puts the lips where its sample says; with the clock stopped they ease to rest. */
  private speak(dt: number): void {
    const read = this.clock();
    this.readAt = performance.now();
    if (read?.playing) {
      this.now = read;
      if (this.mouth.rate !== read.rate) this.mouth.rate = this.cues.rate = read.rate;
      // A frame is seen for the time until the next one; its middle is the moment to be right about.
      const lead = Math.min(MAX_LEAD_SECONDS, dt / 2);
      this.lipsT = read.t + lead * read.rate;
      this.cueT = read.t;
      this.mouth.sample(read.rid, this.lipsT, this.weights);
      this.shown.set(this.weights);
      this.silent = 0;
      return;
    }
    this.now = { ...this.now, playing: false };
    this.cueT += dt * this.now.rate;
    this.silent = Math.min(REST_SECONDS, this.silent + dt);
    const left = 1 - this.silent / REST_SECONDS;
    for (let k = 0; k < this.shown.length; k++) this.shown[k] = this.weights[k]! * left;
  }
}

/** Resolves when the first picture stands and fades in; rejects (after `onError`) when there will be none. */
export async function createStage(canvas: HTMLCanvasElement, options: StageOptions): Promise<Stage> {
  const begun = performance.now();
  let told = false;
  const fail = (error: Error): void => {
    if (told) return;
    told = true;
    options.onError?.(error);
  };
  const loading = new AbortController();
  const model = loadModel(options.glbUrl, loading.signal);
  let studio: Studio | undefined;
  try {
    const reduced = options.reducedMotion ?? false;
    canvas.style.opacity = "0";
    const backdrop = options.backdrop === undefined ? BACKDROP : options.backdrop;
    try {
      studio = new Studio(canvas, options.quality ?? "auto", backdrop);
    } catch (cause) {
      throw new Error("this browser offers no WebGL 2, so the avatar cannot be drawn", { cause });
    }
    const avatar = new Avatar(await model);
    studio.seat(avatar.root, avatar.eyeLine, avatar.crown);
    studio.resize();
    await studio.compile();
    studio.render();
    const stage = new LiveStage(
      canvas, studio, avatar, reduced, performance.now() - begun, options.random ?? Math.random, fail,
    );
    if (options.faceNames) stage.setFaceNames(options.faceNames);
    canvas.style.opacity = "";
    if (!reduced) canvas.animate([{ opacity: 0 }, { opacity: 1 }], { duration: FADE_IN_MS, easing: "ease-out" });
    return stage;
  } catch (cause) {
    const error = asError(cause);
    loading.abort();
    model.catch(() => undefined);
    studio?.dispose();
    fail(error);
    throw error;
  }
}
