// One bot's chat: wires socket, log, captions, sound and avatar together.

import { initial, step, type Command, type Input, type ServerEventName, type State, type TimerName } from "./connection";
import type { BootConfig, Panel, Shell, Theme } from "./contract";
import { sheet } from "./dom";
import type { Hello, Ready, ServerEvents } from "./generated/wire";
import { paletteCss } from "./palette";
import { Scene } from "./scene";
import { speaker, type Say, type Texts } from "./texts";
import { Transport } from "./transport";
import { floorOf, type Floor, type TurnStateName } from "./turn";
import { View, type Notice } from "./view";
import { ApiError, Visitor } from "./visitor";
import type { Clock, MicFailure, Voice } from "./voice";

const CUT_FADE_MS = 30;
const MOUTH_REST_MS = 80;
/** Audio that came before the player did: one second's worth of the smallest frames. */
const EARLY_FRAMES = 200;
const REFUSALS: Record<string, keyof Texts> = {
  ORIGIN_NOT_ALLOWED: "not_allowed",
  FORBIDDEN: "not_allowed",
  RESOURCE_NOT_FOUND: "unavailable",
  CHATBOT_UNAVAILABLE: "unavailable",
  RATE_LIMIT_EXCEEDED: "rate_limited",
  SERVICE_UNAVAILABLE: "busy",
};
const silent: Clock = { rid: 0, t: 0, rate: 24_000, playing: false };

export class Chat implements Panel {
  readonly #shell: Shell;
  readonly #config: BootConfig;
  readonly #visitor: Visitor;
  readonly #transport: Transport;
  readonly #view: View;
  readonly #scene: Scene;
  readonly #sounds: boolean;
  readonly #timers = new Map<TimerName, ReturnType<typeof setTimeout>>();
  readonly #streaming = new Map<number, string>();
  readonly #paint = sheet("");
  readonly #off: (() => void)[] = [];
  #say: Say;
  #locale: string;
  #state: State = initial;
  #voice: Voice | null = null;
  #voiceLoading: Promise<Voice | null> | null = null;
  #early: ArrayBuffer[] = [];
  #server: TurnStateName | null = null;
  #floor: Floor = "idle";
  #asked = false;
  #open = false;
  #agreed: boolean;
  #muted = false;
  #micStarting = false;
  #unread = 0;
  #lastCut = 0;
  #loop = 0;
  #word = "";
  #blocked = false;
  #lat: ServerEvents["lat"] | null = null;
  #health: Partial<ServerEvents["state"]> = {};
  #greeted = false;
  #tokenRefused = false;

  constructor(shell: Shell, say: Say) {
    const { config, options } = shell;
    this.#shell = shell;
    this.#config = config;
    this.#locale = options.locale;
    this.#say = say;
    this.#agreed = !(options.consent || config.consent.required);
    this.#sounds = config.features.voice && config.type !== "text" && "AudioWorkletNode" in globalThis;
    this.#visitor = new Visitor(shell.origin, config);
    this.#transport = new Transport(shell.origin, {
      connected: () => this.#step({ type: "connected" }),
      dropped: () => this.#dropped(),
      refused: (code, message) => this.#refused(code, message),
      event: (name, payload) => this.#step({ type: "event", name, payload }),
      audio: (frame) => this.#audio(frame),
    });
    shell.root.adoptedStyleSheets.push(this.#paint);
    this.#view = new View(shell.root, config, options, this.#say, {
      say: (text) => this.send(text),
      resend: (_id, text) => this.send(text),
      stop: () => this.#stop("button"),
      mic: () => void this.#toggleMic(),
      mute: () => this.mute(!this.#muted),
      close: () => shell.closed(),
      touched: () => this.#touched(),
      agreed: () => this.#agree(),
    });
    this.#scene = new Scene(shell, this.#view, () => this.#say, () => this.#clock());
    this.setTheme({});
    this.#view.voice(this.#sounds);
    this.#view.consent(!this.#agreed);
    if (config.features.voice && config.type !== "text" && !this.#sounds) this.#tell("voice", "no_voice_here", "info");
    if (options.greeting && config.greeting) this.#view.log.greet(config.greeting);
    this.#listen(globalThis, "online", () => {
      this.#tell("network", null);
      this.#step({ type: "online" });
      shell.emit("online");
    });
    this.#listen(globalThis, "offline", () => {
      this.#tell("network", "offline", "warn");
      shell.emit("offline");
    });
    this.#refresh();
  }

  // --- what the loader calls ---

  open(visitorActed: boolean): void {
    if (this.#open) return this.#view.focus();
    this.#open = true;
    this.#unread = 0;
    this.#shell.unread(0);
    this.#view.open();
    this.#scene.open();
    if (visitorActed) {
      this.#view.focus();
      this.#touched();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stopMic();
    if (this.#busy) this.#stop("closed");
    this.#scene.close();
    this.#view.close();
  }

  send(text: string): void {
    const trimmed = text.trim().slice(0, 4_000);
    if (!trimmed || !this.#agreed) return;
    this.#touched();
    this.#silence();
    const id = newId();
    this.#view.log.ask(id, trimmed);
    this.#asked = true;
    this.#step({ type: "say", say: { id, text: trimmed, interrupt: true, speak: this.#sounds } });
    this.#shell.emit("message", { role: "user", id, text: trimmed });
    this.#refresh();
  }

  prefill(text: string): void {
    this.#view.prefill(text);
  }

  mute(on: boolean): void {
    this.#muted = on;
    this.#voice?.player.mute(on);
    this.#view.mute(on);
  }

  async setLocale(locale: string): Promise<void> {
    this.#locale = locale;
    const say = await speaker(locale, this.#config.texts);
    if (this.#locale !== locale) return;
    this.#say = say;
    this.#view.speak(this.#say, locale);
    this.#refresh();
  }

  setTheme(theme: Theme): void {
    const { options } = this.#shell;
    const merged = { ...this.#config.theme, ...theme };
    this.#paint.replaceSync(paletteCss(theme.color ?? options.color ?? merged.color, merged.radius));
    this.#view.theme(theme.mode ?? options.theme ?? merged.mode ?? "auto");
    this.#view.panel.dataset["side"] = options.position ?? merged.position ?? "right";
  }

  /** Forgets the visitor and the conversation, here and in the page's storage. */
  reset(): void {
    this.#stopMic();
    this.#silence();
    this.#step({ type: "close" });
    this.#visitor.erase();
    this.#view.log.clear();
    this.#state = initial;
    this.#greeted = false;
    this.#asked = false;
    this.#server = null;
    this.#streaming.clear();
    if (this.#shell.options.greeting && this.#config.greeting) this.#view.log.greet(this.#config.greeting);
    this.#refresh();
  }

  shutdown(): void {
    this.#step({ type: "close" });
    for (const off of this.#off) off();
    cancelAnimationFrame(this.#loop);
    this.#voice?.dispose();
    this.#scene.dispose();
    this.#view.dispose();
  }

  state(): Record<string, unknown> {
    return {
      open: this.#open,
      phase: this.#state.phase,
      state: this.#floor,
      mic: this.#voice?.mic.on ?? false,
      muted: this.#muted,
      unread: this.#unread,
      conversationId: this.#visitor.conversation,
    };
  }

  probe(): Record<string, unknown> {
    return {
      ...this.state(),
      clock: this.#clock(),
      player: this.#voice?.player.stats() ?? null,
      ducked: this.#voice?.player.stats().ducked ?? false,
      word: this.#word,
      caption: this.#view.captions.element.textContent,
      seq: this.#state.lastSeq,
      gaps: this.#state.gaps,
      lat: this.#lat,
      ...this.#scene.probe(),
    };
  }

  // --- the session ---

  /** The visitor does something: from here on there may be sound, storage and a connection. */
  #touched(): void {
    if (!this.#agreed) return;
    if (this.#sounds) {
      void this.#loadVoice();
      const context = this.#shell.audio();
      if (context && context.state !== "running") void context.resume().then(() => this.#unblocked());
    }
    if (this.#state.phase === "idle") this.#step({ type: "open" });
  }

  #unblocked(): void {
    this.#blocked = false;
    this.#view.soundBlocked(false);
  }

  #agree(): void {
    this.#agreed = true;
    this.#view.consent(false);
    this.#shell.emit("consent", { given: true });
    this.#touched();
    this.#view.focus();
  }

  #step(input: Input): void {
    const before = this.#state.phase;
    const [state, commands] = step(this.#state, input);
    this.#state = state;
    for (const command of commands) this.#obey(command);
    if (state.phase !== before) this.#refresh();
  }

  #obey(command: Command): void {
    switch (command.do) {
      case "connect":
        return void this.#connect();
      case "disconnect":
        return this.#transport.disconnect();
      case "hello":
        return this.#hello();
      case "emit":
        return this.#transport.emit(command.name, command.payload);
      case "say":
        return this.#transport.say(command.payload, (ack) => {
          this.#view.log.accepted(ack.id);
          this.#step({ type: "accepted", id: ack.id });
        });
      case "timer":
        clearTimeout(this.#timers.get(command.name));
        this.#timers.set(command.name, setTimeout(() => this.#step({ type: "timer", name: command.name, roll: Math.random() }), command.ms));
        return;
      case "cancel":
        return clearTimeout(this.#timers.get(command.name));
      case "deliver":
        return this.#deliver(command.name, command.payload);
      case "started":
        return void this.#started(command.ready, command.again);
      case "failed":
        return this.#view.log.notSent(command.id);
      case "phase":
        return this.#phase(command.phase);
    }
  }

  async #connect(): Promise<void> {
    let token: string;
    try {
      token = await this.#visitor.token(this.#locale);
      if (!this.#greeted) await this.#recall();
    } catch (error) {
      const refusal = error instanceof ApiError ? error : new ApiError("INTERNAL_ERROR", String(error), 500, null);
      if (this.#state.phase !== "connecting") return;
      if (refusal.retryable) return this.#dropped();
      this.#shell.emit("error", { code: refusal.code, message: refusal.message });
      this.#tell("session", REFUSALS[refusal.code] ?? "error", "bad", "retry");
      return this.#step({ type: "dropped", roll: 0, fatal: true });
    }
    if (this.#state.phase === "connecting") this.#transport.connect(token);
  }

  /** What was said before this page, once. */
  async #recall(): Promise<void> {
    this.#greeted = true;
    const past = await this.#visitor.history(this.#locale);
    if (past.length === 0) return;
    const { log } = this.#view;
    const pending = this.#state.outbox;
    log.clear();
    for (const message of past) if (message.role !== "system") log.add(message.role === "user" ? "user" : "bot", message.content);
    for (const say of pending) log.ask(say.id, say.text);
  }

  #hello(): void {
    const fresh = this.#visitor.conversation === null;
    const hello: Hello = {
      proto: 1,
      locale: this.#locale,
      caps: { in: ["pcm16"], out: this.#sounds ? ["pcm16"] : [], face: this.#scene.wanted ? ["oculus15"] : [], fps: 60, opus: false },
      chatbot_id: this.#config.id,
      conversation_id: this.#visitor.conversation,
      greet: fresh && this.#shell.options.greeting && this.#state.outbox.length === 0,
    };
    this.#transport.hello(hello, (ready) => this.#step({ type: "ready", ready }));
  }

  async #started(ready: Ready, again: boolean): Promise<void> {
    this.#tokenRefused = false;
    this.#scene.names(ready.face.names);
    this.#voice?.mic.restart(ready.mic_next);
    this.#server = null;
    this.#tell("session", null);
    if (!again) this.#shell.emit("ready", { conversationId: ready.conversation_id });
    if (!again || ready.recovered) return;
    this.#silence();
    this.#view.log.abandon();
    this.#streaming.clear();
    this.#lastCut = 0;
    await this.#recall();
  }

  #phase(phase: State["phase"]): void {
    if (phase === "waiting") {
      this.#stopMicQuietly();
      const again = this.#state.attempt > 1 || this.#state.session !== null;
      if (navigator.onLine && again) this.#tell("session", "reconnecting", "warn", "retry");
    }
    if (phase === "closed") this.#stopMic();
  }

  #dropped(): void {
    this.#step({ type: "dropped", roll: Math.random() });
  }

  #refused(code: string, message: string): void {
    if (code === "INVALID_TOKEN" && !this.#tokenRefused) {
      this.#tokenRefused = true;
      this.#visitor.forgetToken();
      return this.#dropped();
    }
    if (code === "SERVICE_UNAVAILABLE" || code === "RATE_LIMIT_EXCEEDED") {
      this.#tell("session", "busy", "warn", "retry");
      return this.#dropped();
    }
    this.#shell.emit("error", { code, message });
    this.#tell("session", REFUSALS[code] ?? "error", "bad", "retry");
    this.#step({ type: "dropped", roll: 0, fatal: true });
  }

  #deliver<E extends ServerEventName>(name: E, payload: ServerEvents[ServerEventName]): void {
    const handle = this.#on[name] as ((payload: unknown) => void) | undefined;
    handle?.(payload);
    this.#refresh();
  }

  readonly #on: { [E in ServerEventName]?: (event: ServerEvents[E]) => void } = {
    turn: ({ state }) => {
      this.#server = state;
      if (state === "listening") this.#asked = false;
    },
    vad: (vad) => this.#voice?.vad(vad),
    "stt.part": (part) => this.#view.log.hearing(part),
    "stt.final": (final) => {
      this.#view.log.heard(final);
      if (!final.text) return;
      this.#asked = true;
      this.#shell.emit("message", { role: "user", text: final.text });
    },
    "resp.start": (start) => {
      if (start.rid <= this.#lastCut) return;
      if (start.kind !== "greeting") this.#visitor.conversation = start.conversation_id;
      this.#asked = false;
      this.#streaming.set(start.rid, start.message_id);
      this.#view.log.answer(start);
    },
    txt: ({ rid, d }) => {
      if (rid <= this.#lastCut) return;
      this.#view.log.stream(rid, d);
      this.#shell.emit("message:delta", { id: this.#streaming.get(rid), delta: d });
    },
    seg: (seg) => {
      if (seg.rid > this.#lastCut) this.#view.captions.add(seg);
    },
    face: (face) => {
      if (face.rid > this.#lastCut) this.#scene.face(face);
    },
    cue: (cue) => {
      if (cue.rid > this.#lastCut) this.#scene.cue(cue);
    },
    duck: ({ db, ms }) => {
      if (!this.#voice?.mic.on) this.#voice?.player.duck(db, ms);
    },
    unduck: () => this.#voice?.player.unduck(),
    cut: ({ rid, fade_ms }) => this.#cut(rid, fade_ms),
    citation: (citation) => {
      this.#view.log.cite(citation);
      this.#shell.emit("citation", citation);
    },
    "resp.end": (end) => {
      if (end.status === "done") this.#voice?.player.end(end.rid);
      else this.#cut(end.rid, CUT_FADE_MS);
      const text = this.#view.log.end(end.rid, end.status, end.heard);
      this.#streaming.delete(end.rid);
      if (text) this.#shell.emit("message", { role: "assistant", id: end.message_id, text, status: end.status });
      if (text && !this.#open) this.#shell.unread(++this.#unread);
      if (text && !this.#open) this.#shell.emit("unread", this.#unread);
    },
    lat: (lat) => {
      this.#lat = lat;
    },
    state: (state) => this.#degraded(state),
    err: (error) => this.#failed(error),
    warn: ({ code, message }) => {
      this.#view.notice(`warn:${code}`, { text: message, kind: "warn" });
    },
    bye: ({ reason, reconnect }) => {
      if (reconnect) return;
      const key = reason === "superseded" ? "superseded" : "closed";
      this.#tell("session", key, "warn", reason === "superseded" ? "use_here" : "retry");
    },
  };

  #failed(error: ServerEvents["err"]): void {
    this.#shell.emit("error", { code: error.code, message: error.message });
    this.#asked = false;
    const text = error.code in REFUSALS ? this.#say(REFUSALS[error.code] as keyof Texts) : error.message || this.#say("error");
    if (error.ref && this.#state.outbox.some((say) => say.id === error.ref)) {
      this.#view.log.notSent(error.ref, text);
      return this.#step({ type: "refused", id: error.ref });
    }
    if (error.rid) {
      this.#view.log.end(error.rid, "error", null);
      this.#streaming.delete(error.rid);
      return;
    }
    const action = error.fatal ? { label: this.#say("retry"), run: () => this.#again() } : undefined;
    this.#view.notice(error.fatal ? "session" : `err:${error.code}`, { text, kind: error.fatal ? "bad" : "warn", action });
  }

  #degraded(state: ServerEvents["state"]): void {
    this.#health = { ...this.#health, ...state };
    for (const part of ["stt", "tts", "llm"] as const) {
      if (state[part]) this.#tell(part, state[part] === "unavailable" ? `${part}_down` : null, "warn");
    }
  }

  /** Shows a notice by its key in the texts, or takes it back. */
  #tell(slot: string, key: keyof Texts | null, kind: Notice["kind"] = "info", action?: "retry" | "use_here"): void {
    if (key === null) return this.#view.notice(slot, null);
    const text = this.#say(key);
    this.#view.notice(slot, { text, kind, action: action && { label: this.#say(action), run: () => this.#again() } });
  }

  #again(): void {
    this.#tell("session", null);
    this.#step({ type: this.#state.phase === "waiting" ? "online" : "open" });
  }

  // --- sound ---

  async #loadVoice(): Promise<Voice | null> {
    this.#voiceLoading ??= this.#makeVoice();
    return this.#voiceLoading;
  }

  async #makeVoice(): Promise<Voice | null> {
    try {
      const context = this.#shell.audio();
      if (!context) throw new Error("no audio context");
      const { Voice } = await import("./voice");
      const voice = await Voice.create(context, this.#shell.base, {
        play: (report) => {
          this.#transport.emit("play", report);
          this.#refresh();
        },
        frame: (bytes) => {
          if (this.#state.phase === "ready" && !this.#transport.congested) this.#transport.mic(bytes);
        },
        level: (db) => this.#view.level(db),
        barge: (barge) => this.#transport.emit("barge", barge),
        lost: (reason) => {
          this.#stopMic();
          this.#micFailed(reason);
        },
      });
      this.#voice = voice;
      voice.player.mute(this.#muted);
      for (const frame of this.#early.splice(0)) this.#audio(frame);
      return voice;
    } catch {
      this.#tell("voice", "no_voice_here", "warn");
      this.#view.voice(false);
      this.#transport.emit("config", { speak: false });
      return null;
    }
  }

  #audio(frame: ArrayBuffer): void {
    if (!this.#voice) {
      if (this.#early.length < EARLY_FRAMES) this.#early.push(frame);
      return;
    }
    this.#voice.player.push(frame);
    if (this.#voice.player.blocked && !this.#blocked) {
      this.#blocked = true;
      this.#view.soundBlocked(true);
      this.#shell.emit("audio:blocked");
    }
    this.#run();
    this.#refresh();
  }

  #clock(): Clock {
    return this.#voice?.player.now() ?? silent;
  }

  get #busy(): boolean {
    return this.#streaming.size > 0 || this.#asked || (this.#voice?.player.busy ?? false);
  }

  #stop(reason: string): void {
    const { rid } = this.#clock();
    const newest = Math.max(rid, ...this.#streaming.keys());
    this.#transport.emit("stop", { rid: newest > 0 ? newest : null, reason });
    this.#asked = false;
    this.#silence();
    this.#refresh();
  }

  /** Stops what is heard at once, without waiting for the server's word. */
  #silence(): void {
    const { rid } = this.#clock();
    if (rid > 0) this.#cut(rid, CUT_FADE_MS);
  }

  #cut(rid: number, fadeMs: number): void {
    this.#lastCut = Math.max(this.#lastCut, rid);
    this.#early = [];
    this.#voice?.player.cut(rid, fadeMs);
    this.#view.captions.cut(rid);
    this.#scene.cut(rid, MOUTH_REST_MS);
  }

  async #toggleMic(): Promise<void> {
    this.#tell("mic", null);
    if (this.#voice?.mic.on || this.#micStarting) {
      if (this.#server === "hearing") this.#transport.emit("mic.commit", {});
      return this.#stopMic();
    }
    this.#micStarting = true;
    this.#view.mic(true);
    const voice = await this.#loadVoice();
    if (!voice) {
      this.#micStarting = false;
      return this.#view.mic(false);
    }
    try {
      await voice.mic.start();
      if (!this.#micStarting) voice.stopMic();
    } catch (error) {
      this.#view.mic(false);
      this.#micFailed((error as { reason?: MicFailure }).reason ?? "mic_busy");
    }
    this.#micStarting = false;
    this.#refresh();
  }

  #micFailed(reason: MicFailure): void {
    this.#tell("mic", reason, "warn");
    this.#shell.emit("error", { code: reason.toUpperCase(), message: this.#say(reason) });
  }

  #stopMic(): void {
    this.#micStarting = false;
    this.#voice?.stopMic();
    this.#view.mic(false);
    this.#refresh();
  }

  /** The connection is gone: what was being said is not understood any more. */
  #stopMicQuietly(): void {
    this.#view.log.forget();
  }

  // --- what is shown ---

  /** Runs while something is heard: captions follow the clock. */
  #run(): void {
    if (this.#loop) return;
    const frame = (): void => {
      this.#loop = 0;
      const clock = this.#clock();
      this.#word = clock.playing ? this.#view.captions.show(clock.rid, clock.t) : "";
      this.#refresh();
      if (this.#voice?.player.busy) this.#loop = requestAnimationFrame(frame);
      else this.#view.captions.hide();
    };
    this.#loop = requestAnimationFrame(frame);
  }

  #refresh(): void {
    const mic = this.#voice?.mic.on ?? false;
    const audible = this.#clock().playing;
    const { phase } = this.#state;
    const floor = floorOf({ server: this.#server, mic, audible, streaming: this.#streaming.size > 0, asked: this.#asked });
    const away = phase === "waiting" || phase === "closed" || ((phase === "connecting" || phase === "greeting") && this.#asked);
    this.#view.floor(away ? "off" : floor, this.#say(away ? "connecting" : floor));
    this.#view.busy(this.#busy);
    if (floor === this.#floor) return;
    this.#floor = floor;
    this.#scene.mode(floor);
    this.#shell.emit("state", floor);
  }

  #listen(target: EventTarget, name: string, run: () => void): void {
    target.addEventListener(name, run);
    this.#off.push(() => target.removeEventListener(name, run));
  }
}

/** A random id; `randomUUID` exists on secure pages only. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
