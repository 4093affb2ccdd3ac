// One bot's chat: what the session says becomes words, captions, sound and a face; what the visitor does goes back.

import type { ServerEventName } from "./connection";
import type { BootConfig, Panel, Shell, Theme } from "./contract";
import { sheet } from "./dom";
import type { Ready, ServerEvents } from "./generated/wire";
import { Notices } from "./notices";
import { paletteCss } from "./palette";
import { Scene } from "./scene";
import { Session } from "./session";
import { Sound } from "./sound";
import { speaker, type Say } from "./texts";
import { floorOf, type Floor, type TurnStateName } from "./turn";
import { MAX_CHARACTERS, View } from "./view";
import { Visitor } from "./visitor";

const CUT_FADE_MS = 30;
const MOUTH_REST_MS = 80;
type Handlers = { [E in ServerEventName]?: (event: ServerEvents[E]) => void };

export class Chat implements Panel {
  readonly #shell: Shell;
  readonly #config: BootConfig;
  readonly #visitor: Visitor;
  readonly #session: Session;
  readonly #view: View;
  readonly #notices: Notices;
  readonly #scene: Scene;
  readonly #sound: Sound;
  readonly #paint = sheet("");
  readonly #ends = new AbortController();
  /** Message ids of the responses whose text is arriving. */
  readonly #streaming = new Map<number, string>();
  #say: Say;
  #locale: string;
  #server: TurnStateName | null = null;
  #floor: Floor = "idle";
  #asked = false;
  #open = false;
  #agreed: boolean;
  #recalled = false;
  #unread = 0;
  #lastCut = 0;
  #loop = 0;
  #word = "";
  #lat: ServerEvents["lat"] | null = null;

  constructor(shell: Shell, say: Say) {
    const { config, options } = shell;
    this.#shell = shell;
    this.#config = config;
    this.#locale = options.locale;
    this.#say = say;
    this.#agreed = !(options.consent || config.consent.required);
    shell.root.adoptedStyleSheets.push(this.#paint);
    this.#view = new View(shell, say, {
      say: (text) => this.send(text),
      resend: (_id, text) => this.send(text),
      stop: () => this.#stop("button"),
      mic: () => this.#toggleMic(),
      mute: () => this.mute(!this.#sound.muted),
      close: () => shell.closed(),
      touched: () => this.#touched(),
      agreed: () => this.#agree(),
    });
    this.#notices = new Notices(this.#view, () => this.#say, () => this.#session.open());
    this.#sound = new Sound(shell, {
      play: (report) => {
        this.#session.play(report);
        this.#refresh();
      },
      frame: (bytes) => this.#session.mic(bytes),
      level: (db) => this.#view.level(db),
      barge: (barge) => this.#session.emit("barge", barge),
      blocked: (on) => {
        this.#view.soundBlocked(on);
        if (on) shell.emit("audio:blocked");
      },
      mic: (on) => {
        this.#view.mic(on);
        this.#refresh();
      },
      micFailed: (reason) => {
        this.#notices.tell("mic", reason, "warn");
        shell.emit("error", { code: reason.toUpperCase(), message: this.#say(reason) });
      },
      unavailable: () => {
        this.#notices.tell("voice", "no_voice_here", "warn");
        this.#view.voice(false);
        this.#session.emit("config", { speak: false });
      },
    });
    this.#scene = new Scene(shell, this.#view, () => this.#say, () => this.#sound.now());
    this.#visitor = new Visitor(shell.origin, config);
    this.#session = new Session(shell.origin, config, this.#visitor, {
      hello: () => this.#hello(),
      heard: () => this.#sound.now(),
      locale: () => this.#locale,
      known: () => this.#recall(),
      phase: (phase, attempt) => {
        if (phase === "waiting") this.#view.log.forget();
        if (phase === "closed") this.#sound.stopMic();
        const lost = phase === "waiting" && (attempt > 1 || this.#session.state.session !== null);
        if (lost) this.#notices.lost();
        this.#refresh();
      },
      started: (ready, again) => this.#started(ready, again),
      event: (name, payload) => {
        (this.#on[name] as ((event: typeof payload) => void) | undefined)?.(payload);
        this.#refresh();
      },
      audio: (frame) => {
        this.#sound.push(frame);
        this.#run();
      },
      accepted: (id) => this.#view.log.accepted(id),
      failed: (id) => this.#view.log.notSent(id),
      refused: (code, message, final) => {
        shell.emit("error", { code, message });
        this.#notices.refused(code, final);
      },
    });

    this.setTheme({});
    this.#view.voice(this.#sound.wanted);
    this.#view.consent(!this.#agreed);
    if (config.features.voice && config.type !== "text" && !this.#sound.wanted) this.#notices.tell("voice", "no_voice_here");
    this.#greet();
    this.#watchNetwork();
    this.#refresh();
  }

  // --- what the loader calls ---

  open(visitorActed: boolean): void {
    if (!this.#open) {
      this.#open = true;
      this.#shell.unread((this.#unread = 0));
      this.#view.open();
      this.#scene.open();
    }
    if (!visitorActed) return;
    this.#view.focus();
    this.#touched();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#sound.stopMic();
    if (this.#busy) this.#stop("closed");
    this.#view.close();
  }

  send(text: string): void {
    const trimmed = text.trim().slice(0, MAX_CHARACTERS);
    if (!trimmed || !this.#agreed) return;
    this.#touched();
    this.#silence();
    const id = newId();
    this.#view.log.ask(id, trimmed);
    this.#asked = true;
    this.#session.say({ id, text: trimmed, interrupt: true, speak: this.#sound.wanted });
    this.#shell.emit("message", { role: "user", id, text: trimmed });
    this.#refresh();
  }

  prefill(text: string): void {
    this.#view.prefill(text);
  }

  mute(on: boolean): void {
    this.#sound.mute(on);
    this.#view.mute(on);
  }

  async setLocale(locale: string): Promise<void> {
    this.#locale = locale;
    const say = await speaker(locale, this.#config.texts);
    if (this.#locale !== locale) return;
    this.#say = say;
    this.#view.speak(say, locale);
    this.#refresh();
  }

  setTheme(theme: Theme): void {
    const { options } = this.#shell;
    const bot = this.#config.theme;
    this.#paint.replaceSync(paletteCss(theme.color ?? options.color ?? bot.color, theme.radius ?? bot.radius));
    this.#view.theme(theme.mode ?? options.theme ?? bot.mode ?? "auto");
    this.#view.panel.dataset["side"] = options.position ?? bot.position ?? "right";
  }

  /** Forgets the visitor and the conversation, here and in the page's storage. */
  reset(): void {
    this.#sound.stopMic();
    this.#silence();
    this.#session.forget();
    this.#view.log.clear();
    this.#recalled = this.#asked = false;
    this.#server = null;
    this.#streaming.clear();
    this.#greet();
    this.#refresh();
  }

  shutdown(): void {
    this.#ends.abort();
    this.#session.close();
    cancelAnimationFrame(this.#loop);
    this.#sound.dispose();
    this.#scene.dispose();
    this.#view.dispose();
  }

  state(): Record<string, unknown> {
    return {
      open: this.#open,
      phase: this.#session.phase,
      state: this.#floor,
      mic: this.#sound.micOn,
      muted: this.#sound.muted,
      unread: this.#unread,
      conversationId: this.#recalled ? this.#visitor.conversation : null,
    };
  }

  probe(): Record<string, unknown> {
    const { lastSeq, gaps, outbox } = this.#session.state;
    return {
      ...this.state(),
      clock: this.#sound.now(),
      player: this.#sound.stats(),
      word: this.#word,
      caption: this.#view.captions.element.textContent,
      seq: lastSeq,
      gaps,
      outbox: outbox.length,
      lat: this.#lat,
      ...this.#scene.probe(),
    };
  }

  // --- the session ---

  /** The visitor does something: from here on there may be sound, storage and a connection. */
  #touched(): void {
    if (!this.#agreed) return;
    this.#sound.unlock();
    if (this.#session.phase === "idle") this.#session.open();
  }

  #agree(): void {
    this.#agreed = true;
    this.#view.consent(false);
    this.#shell.emit("consent", { given: true });
    this.#touched();
    this.#view.focus();
  }

  #greet(): void {
    if (this.#shell.options.greeting && this.#config.greeting) this.#view.log.greet(this.#config.greeting);
  }

  /** What was said before this page, once a session. */
  async #recall(): Promise<void> {
    if (this.#recalled) return;
    this.#recalled = true;
    const past = await this.#visitor.history(this.#locale);
    if (past.length === 0) return;
    const { log } = this.#view;
    log.clear();
    for (const { role, content } of past) if (role !== "system") log.add(role === "user" ? "user" : "bot", content);
    for (const { id, text } of this.#session.state.outbox) log.ask(id, text);
  }

  #hello(): ReturnType<ConstructorParameters<typeof Session>[3]["hello"]> {
    const { conversation } = this.#visitor;
    return {
      locale: this.#locale,
      caps: { in: ["pcm16"], out: this.#sound.wanted ? ["pcm16"] : [], face: this.#scene.wanted ? ["oculus15"] : [], fps: 60, opus: false },
      conversation_id: conversation,
      greet: conversation === null && this.#shell.options.greeting && this.#session.state.outbox.length === 0,
    };
  }

  #started(ready: Ready, again: boolean): void {
    this.#scene.names(ready.face.names);
    this.#sound.restart(ready.mic_next);
    this.#notices.connected();
    if (!again) this.#shell.emit("ready", { conversationId: ready.conversation_id });
    if (!again || ready.recovered) return;
    this.#server = null;
    const missed = this.#streaming.size > 0 && this.#session.state.outbox.length === 0;
    this.#silence();
    this.#view.log.abandon();
    this.#streaming.clear();
    if (!missed) return;
    this.#recalled = false;
    void this.#recall();
  }

  readonly #on: Handlers = {
    turn: ({ state }) => {
      this.#server = state;
      if (state === "listening") this.#asked = false;
    },
    vad: (vad) => this.#sound.vad(vad),
    "stt.part": (part) => this.#view.log.hearing(part),
    "stt.final": (final) => {
      this.#view.log.heard(final);
      if (!final.text) return;
      this.#asked = true;
      this.#shell.emit("message", { role: "user", text: final.text });
    },
    "resp.start": (start) => {
      if (this.#past(start.rid)) return;
      if (start.kind !== "greeting") this.#visitor.conversation = start.conversation_id;
      this.#asked = false;
      this.#streaming.set(start.rid, start.message_id);
      this.#view.log.answer(start);
    },
    txt: ({ rid, d }) => {
      if (this.#past(rid)) return;
      this.#view.log.stream(rid, d);
      this.#shell.emit("message:delta", { id: this.#streaming.get(rid), delta: d });
    },
    seg: (seg) => {
      if (!this.#past(seg.rid)) this.#view.captions.add(seg);
    },
    face: (face) => {
      if (!this.#past(face.rid)) this.#scene.face(face);
    },
    cue: (cue) => {
      if (!this.#past(cue.rid)) this.#scene.cue(cue);
    },
    duck: ({ db, ms }) => this.#sound.duck(db, ms),
    unduck: () => this.#sound.unduck(),
    cut: ({ rid, fade_ms }) => this.#cut(rid, fade_ms),
    citation: (citation) => {
      this.#view.log.cite(citation);
      this.#shell.emit("citation", citation);
    },
    "resp.end": ({ rid, status, heard, message_id: id }) => {
      if (status === "done") this.#sound.end(rid);
      else this.#cut(rid, CUT_FADE_MS);
      const text = this.#view.log.end(rid, status, heard);
      this.#streaming.delete(rid);
      if (status === "done") this.#notices.tell("llm", null);
      if (!text) return;
      this.#shell.emit("message", { role: "assistant", id, text, status });
      if (this.#open) return;
      this.#shell.unread(++this.#unread);
      this.#shell.emit("unread", this.#unread);
    },
    lat: (lat) => {
      this.#lat = lat;
    },
    state: (state) => this.#notices.degraded(state),
    err: (error) => this.#failed(error),
    warn: ({ code, message }) => this.#notices.warn(code, message),
    bye: (bye) => this.#notices.bye(bye),
  };

  #failed(error: ServerEvents["err"]): void {
    const { code, message, ref, rid } = error;
    this.#shell.emit("error", { code, message });
    this.#asked = false;
    if (ref) {
      this.#view.log.notSent(ref, this.#notices.sentence(code, message));
      if (!this.#session.refuse(ref)) return this.#notices.error(error);
      // What was silenced to make room for the refused message is over on the server too.
      return this.#streaming.size > 0 ? this.#stop("typing") : undefined;
    }
    const shown = rid ? this.#view.log.fail(rid, this.#notices.sentence(code, message)) : false;
    if (!shown) this.#notices.error(error);
  }

  #watchNetwork(): void {
    const { signal } = this.#ends;
    const online = (): void => {
      this.#notices.tell("network", null);
      if (this.#session.phase === "waiting") this.#session.open();
      this.#shell.emit("online");
    };
    const offline = (): void => {
      this.#notices.tell("network", "offline", "warn");
      this.#shell.emit("offline");
    };
    addEventListener("online", online, { signal });
    addEventListener("offline", offline, { signal });
  }

  // --- sound ---

  #toggleMic(): void {
    this.#notices.tell("mic", null);
    if (this.#sound.micOn && this.#server === "hearing") this.#session.emit("mic.commit", {});
    void this.#sound.toggleMic();
  }

  /** A response that was cut, or an older one. */
  #past(rid: number): boolean {
    return rid <= this.#lastCut;
  }

  get #busy(): boolean {
    return this.#streaming.size > 0 || this.#asked || this.#sound.busy;
  }

  #stop(reason: string): void {
    const rid = Math.max(this.#sound.now().rid, ...this.#streaming.keys());
    this.#session.stop(rid, reason);
    this.#asked = false;
    this.#silence();
    this.#refresh();
  }

  /** Stops what is heard at once, without waiting for the server's word. */
  #silence(): void {
    const { rid } = this.#sound.now();
    if (rid > 0) this.#cut(rid, CUT_FADE_MS);
  }

  #cut(rid: number, fadeMs: number): void {
    this.#lastCut = Math.max(this.#lastCut, rid);
    this.#sound.cut(rid, fadeMs);
    this.#view.captions.cut(rid);
    this.#scene.cut(rid, MOUTH_REST_MS);
  }

  // --- what is shown ---

  /** Runs while something is heard: captions follow the clock. */
  #run(): void {
    if (this.#loop) return;
    const frame = (): void => {
      this.#loop = 0;
      const { rid, t, playing } = this.#sound.now();
      this.#word = playing ? this.#view.captions.show(rid, t) : "";
      this.#refresh();
      if (playing || this.#sound.busy) this.#loop = requestAnimationFrame(frame);
      else this.#view.captions.hide();
    };
    this.#loop = requestAnimationFrame(frame);
  }

  #refresh(): void {
    const { phase } = this.#session;
    const floor = floorOf({
      server: this.#server,
      mic: this.#sound.micOn,
      audible: this.#sound.now().playing,
      streaming: this.#streaming.size > 0,
      asked: this.#asked,
    });
    const dialling = phase === "connecting" || phase === "greeting";
    const away = phase === "waiting" || phase === "closed" || (dialling && this.#asked);
    this.#view.floor(away ? "off" : floor, this.#say(away ? "connecting" : floor));
    this.#view.busy(this.#busy);
    if (floor === this.#floor) return;
    this.#floor = floor;
    this.#scene.mode(floor);
    this.#shell.emit("state", floor);
  }
}

/** A random id; `randomUUID` exists on secure pages only. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
