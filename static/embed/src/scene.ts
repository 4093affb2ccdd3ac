// The avatar's place in the panel: brings the 3D part when the panel is first seen, and says in words when it cannot come.

import type { Shell } from "./contract";
import type { Cue, Face } from "./generated/wire";
import type { Stage } from "./stage/index";
import type { Say, Texts } from "./texts";
import type { Floor } from "./turn";
import type { View } from "./view";
import type { Clock } from "./voice";

type Mode = "idle" | "listening" | "thinking" | "talking";

const MODES: Record<Floor, Mode> = { idle: "idle", listening: "listening", hearing: "listening", thinking: "thinking", speaking: "talking" };
/** Keys and cues that came while the avatar was loading. */
const EARLY_EVENTS = 500;

export class Scene {
  /** The bot has an avatar and this browser can show it. */
  readonly wanted: boolean;
  readonly #shell: Shell;
  readonly #view: View;
  readonly #say: () => Say;
  readonly #now: () => Clock;
  #stage: Stage | null = null;
  #started = false;
  #gone = false;
  #mode: Mode = "idle";
  #names: readonly string[] = [];
  #early: ((stage: Stage) => void)[] = [];
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(shell: Shell, view: View, say: () => Say, now: () => Clock) {
    const { config, options } = shell;
    this.#shell = shell;
    this.#view = view;
    this.#say = say;
    this.#now = now;
    this.wanted = config.features.three_d && config.avatar !== null && options.quality !== "2d";
    view.stage(this.wanted);
  }

  open(): void {
    if (this.wanted && !this.#started) void this.#load();
  }

  close(): void {
    this.mode("idle");
  }

  /** What `face.keys` index. */
  names(names: readonly string[]): void {
    this.#names = names;
    if (names.length > 0) this.#stage?.setFaceNames(names);
  }

  face(face: Face): void {
    this.#play((stage) => stage.face(face));
  }

  cue(cue: Cue): void {
    this.#play((stage) => stage.cue(cue));
  }

  cut(rid: number, ms: number): void {
    this.#play((stage) => stage.cut(rid, ms));
  }

  mode(floor: Floor): void {
    this.#mode = MODES[floor];
    this.#stage?.setMode(this.#mode);
  }

  probe(): Record<string, unknown> {
    return { stage: this.#stage?.probe() ?? null, stats: this.#stage?.stats() ?? null };
  }

  dispose(): void {
    this.#gone = true;
    this.#still.removeEventListener("change", this.#reduce);
    this.#stage?.dispose();
    this.#stage = null;
  }

  #play(event: (stage: Stage) => void): void {
    if (this.#stage) event(this.#stage);
    else if (this.wanted && !this.#gone && this.#early.length < EARLY_EVENTS) this.#early.push(event);
  }

  readonly #reduce = (): void => this.#stage?.setReducedMotion(this.#still.matches);

  async #load(): Promise<void> {
    this.#started = true;
    const { config, options, origin } = this.#shell;
    if (!config.avatar) return;
    if (!hasWebGl()) return this.#fail("no_webgl");
    this.#view.stageNote(this.#say()("avatar_loading"), true);
    try {
      const { createStage } = await import("./stage/index");
      const stage = await createStage(this.#view.canvas, {
        glbUrl: new URL(config.avatar.glb_url, origin).href,
        quality: options.quality === "2d" ? "low" : options.quality,
        reducedMotion: this.#still.matches,
        backdrop: null,
        onError: () => this.#fail("avatar_failed"),
      });
      if (this.#gone) return stage.dispose();
      this.#stage = stage;
      this.#still.addEventListener("change", this.#reduce);
      stage.setClock(this.#now);
      stage.setMode(this.#mode);
      this.names(this.#names);
      for (const event of this.#early.splice(0)) event(stage);
      this.#view.stageNote("");
    } catch {
      this.#fail("avatar_failed");
    }
  }

  /** The panel goes on with words alone. */
  #fail(key: keyof Texts): void {
    this.#gone = true;
    this.#early = [];
    this.#view.stageNote("");
    this.#view.stage(false);
    this.#view.notice("stage", { text: this.#say()(key), kind: "info" });
    this.#stage?.dispose();
    this.#stage = null;
  }
}

function hasWebGl(): boolean {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}
