// One bot's chat: what the session says becomes words, captions, sound and a face; what the visitor does goes back.

import type { BootConfig, Panel, Shell, Theme } from "./contract";
import { sheet } from "./dom";
import type { Ready, ServerEvents } from "./generated/wire";
import { Notices } from "./notices";
import { paletteCss } from "./palette";
import { Past } from "./past";
import { Responses, type Handlers } from "./responses";
import { Scene } from "./scene";
import { newId, Session } from "./session";
import { Sound } from "./sound";
import { speaker, type Say } from "./texts";
import { floorOf, type Floor, type TurnStateName } from "./turn";
import { MAX_CHARACTERS, View } from "./view";
import { Visitor } from "./visitor";

export class Chat implements Panel {
  readonly #shell: Shell;
  readonly #config: BootConfig;
  readonly #visitor: Visitor;
  readonly #session: Session;
  readonly #view: View;
  readonly #notices: Notices;
  readonly #scene: Scene;
  readonly #sound: Sound;
  readonly #responses: Responses;
  readonly #past: Past;
  readonly #paint = sheet("");
  readonly #ends = new AbortController();
  #say: Say;
  #locale: string;
  #server: TurnStateName | null = null;
  #floor: Floor = "idle";
  #asked = false;
  #open = false;
  #agreed: boolean;
  #unread = 0;
  #lat: ServerEvents["lat"] | null = null;

  constructor(shell: Shell, say: Say) {
    const { config, options } = (this.#shell = shell);
    this.#config = config;
    this.#locale = options.locale;
    this.#say = say;
    this.#agreed = !(options.consent || config.consent.required);
    shell.root.adoptedStyleSheets.push(this.#paint);
    this.#view = new View(shell, say, {
      say: (text) => this.send(text),
      resend: (id, text) => this.send(text, id),
      stop: () => this.#stop("button"),
      mic: () => this.#toggleMic(),
      mute: () => this.mute(!this.#sound.muted),
      close: () => shell.closed(),
      touched: () => this.#touched(),
      agreed: () => this.#agree(),
    });
    this.#notices = new Notices(this.#view, {
      say: () => this.#say,
      again: () => this.#session.open(),
      away: () => this.#refresh(),
    });
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
    this.#responses = new Responses(shell, this.#view, this.#sound, this.#scene, {
      began: ({ kind }) => {
        if (kind !== "greeting") this.#past.kept();
        this.#asked = false;
      },
      ended: (end, text) => this.#ended(end, text),
      missed: () => void this.#past.refresh(),
      heard: () => this.#refresh(),
    });
    this.#visitor = new Visitor(shell.origin, config);
    this.#past = new Past(this.#visitor, this.#view.log, () => this.#locale);
    this.#session = new Session(shell.origin, config, this.#visitor, {
      hello: () => this.#hello(),
      heard: () => ({ ...this.#sound.now(), micSeq: this.#sound.micSeq }),
      expecting: () => this.#busy || this.#sound.micOn,
      locale: () => this.#locale,
      known: () => this.#past.recall(),
      phase: (phase) => {
        if (phase === "closed") this.#sound.stopMic();
        if (phase === "waiting") this.#past.doubt(this.#session.state.outbox.length > 0);
        this.#notices.phase(phase);
        this.#refresh();
      },
      started: (ready, again, other) => this.#started(ready, again, other),
      event: (name, payload) => {
        ((this.#on[name] ?? this.#responses.on[name]) as ((event: typeof payload) => void) | undefined)?.(payload);
        this.#refresh();
      },
      audio: (frame) => {
        this.#sound.push(frame);
        this.#responses.run();
      },
      accepted: (id, messageId) => {
        this.#past.kept();
        this.#view.log.accepted(id, messageId);
      },
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

  /** `id` is that of a message that was refused before. */
  send(text: string, id = newId()): void {
    const trimmed = text.trim().slice(0, MAX_CHARACTERS);
    if (!trimmed || !this.#agreed) return;
    this.#touched();
    if (this.#session.phase === "closed") this.#session.open();
    this.#responses.silence();
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
    this.#responses.clear();
    this.#session.forget();
    this.#past.forget();
    this.#asked = false;
    this.#server = null;
    this.#greet();
    this.#refresh();
  }

  shutdown(): void {
    this.#ends.abort();
    this.#session.close();
    this.#notices.dispose();
    this.#responses.dispose();
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
      conversationId: this.#past.conversation,
    };
  }

  probe(): Record<string, unknown> {
    const { lastSeq, gaps, outbox } = this.#session.state;
    return {
      ...this.state(),
      clock: this.#sound.now(),
      player: this.#sound.stats(),
      word: this.#responses.word,
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

  #hello(): ReturnType<ConstructorParameters<typeof Session>[3]["hello"]> {
    const { conversation } = this.#visitor;
    return {
      locale: this.#locale,
      caps: { in: ["pcm16"], out: this.#sound.wanted ? ["pcm16"] : [], face: this.#scene.wanted ? ["oculus15"] : [], fps: 60, opus: false },
      conversation_id: conversation,
      greet: conversation === null && this.#shell.options.greeting && this.#session.state.outbox.length === 0,
    };
  }

  #started(ready: Ready, again: boolean, other: boolean): void {
    this.#past.begun(ready.conversation_id);
    this.#scene.names(ready.face.names);
    this.#sound.resume(ready.mic_next, other);
    if (!again) this.#shell.emit("ready", { conversationId: ready.conversation_id });
    if (!again || ready.recovered) return;
    this.#server = null;
    this.#responses.abandon(other);
    void this.#past.refresh();
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
    lat: (lat) => {
      this.#lat = lat;
    },
    state: (state) => this.#notices.degraded(state),
    err: (error) => this.#failed(error),
    warn: ({ code, message }) => this.#notices.warn(code, message),
    bye: (bye) => this.#notices.bye(bye),
  };

  #ended({ status, message_id: id }: ServerEvents["resp.end"], text: string): void {
    if (status === "done") this.#notices.tell("llm", null);
    if (!text) return;
    this.#shell.emit("message", { role: "assistant", id, text, status });
    if (this.#open) return;
    this.#shell.unread(++this.#unread);
    this.#shell.emit("unread", this.#unread);
  }

  #failed(error: ServerEvents["err"]): void {
    const { code, message, ref, rid } = error;
    this.#shell.emit("error", { code, message });
    this.#asked = false;
    if (ref) {
      this.#view.log.notSent(ref, this.#notices.sentence(code, message));
      if (!this.#session.refuse(ref)) return this.#notices.error(error);
      // What was silenced to make room for the refused message is over on the server too.
      return this.#responses.streaming ? this.#stop("typing") : undefined;
    }
    const shown = rid ? this.#view.log.fail(rid, this.#notices.sentence(code, message)) : false;
    if (!shown) this.#notices.error(error);
  }

  #watchNetwork(): void {
    const { signal } = this.#ends;
    const online = (): void => {
      this.#session.again();
      this.#shell.emit("online");
    };
    const offline = (): void => {
      this.#session.offline();
      this.#notices.phase(this.#session.phase);
      this.#shell.emit("offline");
    };
    addEventListener("online", online, { signal });
    addEventListener("offline", offline, { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#session.again(), { signal });
    // Who leaves the page hears no more: the history keeps what was heard.
    addEventListener("pagehide", () => this.#busy && this.#stop("left"), { signal });
  }

  // --- sound ---

  #toggleMic(): void {
    this.#notices.tell("mic", null);
    if (this.#sound.micOn && this.#server === "hearing") this.#session.emit("mic.commit", {});
    void this.#sound.toggleMic();
  }

  get #busy(): boolean {
    return this.#responses.busy || this.#asked;
  }

  #stop(reason: string): void {
    this.#session.stop(this.#responses.newest, reason);
    this.#asked = false;
    this.#responses.silence();
    this.#refresh();
  }

  // --- what is shown ---

  #refresh(): void {
    const { phase } = this.#session;
    const floor = floorOf({
      server: this.#server,
      mic: this.#sound.micOn,
      audible: this.#sound.now().playing,
      streaming: this.#responses.streaming,
      asked: this.#asked,
    });
    const dialling = phase === "connecting" || phase === "greeting";
    const away = this.#notices.away || (dialling && this.#asked && !this.#session.state.begun);
    this.#view.floor(away ? "off" : floor, this.#say(away ? (phase === "closed" ? "disconnected" : "connecting") : floor));
    this.#view.busy(this.#responses.busy || (this.#asked && !away));
    if (floor === this.#floor) return;
    this.#floor = floor;
    this.#scene.mode(floor);
    this.#shell.emit("state", floor);
  }
}
