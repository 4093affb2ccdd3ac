// The panel's picture: builds its elements once, and shows what it is told. It decides nothing.

import { Captions } from "./captions";
import type { Mode, Shell } from "./contract";
import { face, h, icon, sheet } from "./dom";
import { Log } from "./log";
import styles from "./styles.css";
import { direction, type Say } from "./texts";
import type { Floor } from "./turn";

export const MAX_CHARACTERS = 4_000;
const NEAR_LIMIT = 400;
const BARS = 5;
const TALLEST_PX = 132;

export interface Gestures {
  say(text: string): void;
  resend(id: string, text: string): void;
  stop(): void;
  mic(): void;
  mute(): void;
  close(): void;
  /** Any touch or key inside the panel: sound is allowed from here on. */
  touched(): void;
  agreed(): void;
}

export interface Notice {
  text: string;
  kind: "info" | "warn" | "bad";
  action?: { label: string; run(): void };
}

export class View {
  readonly panel: HTMLElement;
  readonly log: Log;
  readonly captions = new Captions();
  readonly canvas: HTMLCanvasElement;
  readonly input: HTMLTextAreaElement;
  readonly #stage: HTMLElement;
  readonly #stageNote: HTMLElement;
  readonly #frame: HTMLElement;
  readonly #scroller: HTMLElement;
  readonly #said: HTMLElement;
  readonly #state: HTMLElement;
  readonly #banner: HTMLElement;
  readonly #counter: HTMLElement;
  readonly #send: HTMLButtonElement;
  readonly #stop: HTMLButtonElement;
  readonly #mic: HTMLButtonElement;
  readonly #mute: HTMLButtonElement;
  readonly #close: HTMLButtonElement;
  readonly #sound: HTMLButtonElement;
  readonly #meter: HTMLElement;
  readonly #bars: HTMLElement[];
  readonly #note: HTMLElement;
  readonly #form: HTMLElement;
  readonly #consent: HTMLElement;
  readonly #ends = new AbortController();
  readonly #scheme = matchMedia("(prefers-color-scheme: dark)");
  readonly #name: string;
  readonly #mode: Mode;
  readonly #gestures: Gestures;
  #say: Say;
  #theme: "auto" | "light" | "dark" = "auto";
  #notices = new Map<string, Notice>();
  #muted = false;
  #micOn = false;
  #metered = 0;
  #busy = false;

  constructor({ root, origin, config, options }: Shell, say: Say, gestures: Gestures) {
    this.#say = say;
    this.#name = config.name;
    this.#mode = options.mode;
    this.#gestures = gestures;
    root.adoptedStyleSheets.push(sheet(styles));

    this.log = new Log(() => this.#say, gestures.resend);
    this.canvas = h("canvas", { "aria-hidden": "true", part: "canvas" });
    this.#stageNote = h("p", { class: "stage-note", role: "status" });
    this.#sound = h("button", { class: "sound", type: "button", hidden: true, onclick: () => gestures.touched() });
    const poster = config.avatar?.thumbnail_url && new URL(config.avatar.thumbnail_url, origin).href;
    this.#stage = h("div", { class: "stage", part: "stage", hidden: true }, h("div", { class: "glow" }), this.canvas, this.#stageNote);

    this.#state = h("span", { class: "state" });
    const badge = h("span", { class: "badge", "aria-hidden": "true" }, [...this.#name.trim()][0]?.toUpperCase() ?? "•");
    if (poster) badge.append(h("img", { src: poster, alt: "", loading: "lazy", onerror: (event: Event) => (event.target as Element).remove() }));
    this.#mute = h("button", { class: "icon", type: "button", hidden: true, onclick: () => gestures.mute() });
    this.#close = h("button", { class: "icon", type: "button", hidden: this.#mode !== "bubble", onclick: () => gestures.close() });
    const title = h("div", { class: "title" }, h("strong", {}, this.#name), this.#state);
    const header = h("header", { part: "header" }, badge, title, this.#mute, this.#close);

    this.#banner = h("div", { class: "banner", role: "status" });
    this.input = h("textarea", { rows: 1, maxlength: MAX_CHARACTERS, autocomplete: "off", enterkeyhint: "send", part: "input" });
    this.#counter = h("span", { class: "counter", role: "status", hidden: true });
    this.#bars = Array.from({ length: BARS }, () => h("i"));
    this.#meter = h("span", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0, hidden: true }, ...this.#bars);
    this.#mic = h("button", { class: "icon mic", type: "button", hidden: true, "aria-pressed": "false", onclick: () => gestures.mic() });
    this.#stop = h("button", { class: "icon stop", type: "button", hidden: true, onclick: () => gestures.stop() });
    this.#send = h("button", { class: "icon send", type: "submit", disabled: true });
    const field = h("div", { class: "field" }, this.input, this.#meter, this.#mic, this.#stop, this.#send);
    this.#form = h("form", { class: "composer", part: "composer", novalidate: true }, field);
    this.#note = h("p", { class: "fine" });
    this.#consent = h("div", { class: "consent", hidden: true });
    const foot = h("div", { class: "foot" }, this.#consent, this.#form, h("div", { class: "under" }, this.#note, this.#counter));
    this.#scroller = h("div", { class: "scroller" }, this.log.element, this.log.jump);
    const talk = h("div", { class: "talk" }, this.#banner, this.#scroller, foot);
    this.#said = h("div", { class: "said" }, this.captions.element, this.#sound);
    this.#frame = h("div", { class: "frame" }, this.#stage, header, talk);
    this.panel = h(
      "div",
      { class: "panel", role: this.#mode === "bubble" ? "dialog" : "region", tabindex: -1, part: "panel", "data-mode": this.#mode, hidden: true },
      this.#frame,
    );
    root.append(this.panel);

    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("input", () => this.#typed());
    this.panel.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape" && this.#mode === "bubble") gestures.close();
      gestures.touched();
    });
    this.panel.addEventListener("pointerdown", () => gestures.touched());
    this.panel.addEventListener("focusin", () => gestures.touched());
    const { signal } = this.#ends;
    this.#scheme.addEventListener("change", () => this.#applyTheme(), { signal });
    visualViewport?.addEventListener("resize", () => this.#fit(), { signal });
    visualViewport?.addEventListener("scroll", () => this.#fit(), { signal });
    this.#fit();
    this.speak(say, options.locale);
  }

  /** Puts every fixed text in `say`'s language. */
  speak(say: Say, locale: string): void {
    this.#say = say;
    this.panel.lang = locale;
    this.panel.dir = direction(locale);
    this.panel.setAttribute("aria-label", say("dialog", { name: this.#name }));
    this.log.element.setAttribute("aria-label", say("log"));
    this.log.jump.replaceChildren(icon("down"), say("new_messages"));
    this.input.placeholder = say("placeholder");
    this.input.setAttribute("aria-label", say("placeholder"));
    this.#note.textContent = say("ai_note");
    this.#sound.replaceChildren(icon("sound"), say("tap_for_sound"));
    this.#meter.setAttribute("aria-label", say("level"));
    face(this.#send, "send", say("send"));
    face(this.#stop, "stop", say("stop"));
    face(this.#close, "close", say("close"));
    this.mute(this.#muted);
    this.mic(this.#micOn);
  }

  theme(mode: "auto" | "light" | "dark"): void {
    this.#theme = mode;
    this.#applyTheme();
  }

  #applyTheme(): void {
    const dark = this.#theme === "dark" || (this.#theme === "auto" && this.#scheme.matches);
    this.panel.dataset["theme"] = dark ? "dark" : "light";
  }

  /** A full-screen panel keeps above the keyboard, which does not change the layout's height everywhere. */
  #fit(): void {
    if (!visualViewport) return;
    this.panel.style.setProperty("--vv-height", `${visualViewport.height}px`);
    this.panel.style.setProperty("--vv-top", `${visualViewport.offsetTop}px`);
  }

  open(): void {
    this.panel.hidden = false;
    this.log.toEnd();
  }

  close(): void {
    this.panel.hidden = true;
  }

  /** Focus where writing begins; where a keyboard would cover half the screen, on the panel alone. */
  focus(): void {
    const target = matchMedia("(pointer: coarse)").matches || this.#form.hidden ? this.panel : this.input;
    target.focus({ preventScroll: true });
  }

  stage(on: boolean): void {
    this.#stage.hidden = !on;
    (on ? this.#frame : this.#scroller).append(this.#said);
    this.panel.toggleAttribute("data-stage", on);
  }

  stageNote(text: string, loading = false): void {
    this.#stageNote.textContent = text;
    this.#stageNote.toggleAttribute("data-loading", loading);
  }

  floor(floor: Floor | "off", text: string): void {
    this.panel.dataset["floor"] = floor;
    if (this.#state.textContent !== text) this.#state.textContent = text;
  }

  /** Something can be stopped: an answer is coming or sounding. */
  busy(on: boolean): void {
    if (on === this.#busy) return;
    this.#busy = on;
    if (!on && this.#stop.matches(":focus")) this.input.focus({ preventScroll: true });
    this.#stop.hidden = !on;
    this.#buttons();
  }

  /** Shows the buttons of a session with sound. */
  voice(on: boolean): void {
    this.#mic.hidden = !on;
    this.#mute.hidden = !on;
  }

  mute(on: boolean): void {
    this.#muted = on;
    face(this.#mute, on ? "muted" : "sound", this.#say(on ? "unmute" : "mute"));
    this.#mute.setAttribute("aria-pressed", String(on));
  }

  mic(on: boolean): void {
    this.#micOn = on;
    face(this.#mic, "mic", this.#say(on ? "mic_off" : "mic_on"));
    this.#mic.setAttribute("aria-pressed", String(on));
    this.#meter.hidden = !on;
    this.panel.toggleAttribute("data-mic", on);
    if (!on) this.level(-90);
  }

  /** Microphone level in dBFS; -60 is empty, -10 full. */
  level(db: number): void {
    const part = Math.min(1, Math.max(0, (db + 60) / 50));
    this.#bars.forEach((bar, i) => {
      const share = 1 - Math.abs(i - (BARS - 1) / 2) / BARS;
      bar.style.setProperty("--h", String(Math.max(0.16, part * share).toFixed(2)));
    });
    this.#mic.style.setProperty("--level", part.toFixed(2));
    const now = Math.round(part * 100);
    if (Math.abs(now - this.#metered) < 10) return;
    this.#metered = now;
    this.#meter.setAttribute("aria-valuenow", String(now));
  }

  soundBlocked(on: boolean): void {
    this.#sound.hidden = !on;
  }

  /** Shows or takes back one notice; the newest is on top. */
  notice(key: string, notice: Notice | null): void {
    const shown = this.#notices.get(key);
    // What is said already is not announced again.
    if (shown?.text === notice?.text && shown?.kind === notice?.kind) return;
    this.#notices.delete(key);
    if (notice) this.#notices.set(key, notice);
    const rows = [...this.#notices].reverse().slice(0, 2).map(([name, item]) => {
      const row = h("div", { class: `notice ${item.kind}` }, h("span", {}, item.text));
      const { action } = item;
      if (action) row.append(h("button", { type: "button", class: "link", onclick: () => action.run() }, action.label));
      if (item.kind !== "info") {
        const dismiss = h("button", { type: "button", class: "icon small", onclick: () => this.notice(name, null) });
        face(dismiss, "close", this.#say("close"));
        row.append(dismiss);
      }
      return row;
    });
    const focused = this.#banner.matches(":focus-within");
    this.#banner.replaceChildren(...rows);
    if (focused) this.panel.focus({ preventScroll: true });
  }

  /** Asks first; the composer comes with the agreement. */
  consent(asking: boolean): void {
    this.#form.hidden = asking;
    this.#consent.hidden = !asking;
    if (!asking) return this.#consent.replaceChildren();
    const accept = h("button", { type: "button", class: "primary", onclick: () => this.#gestures.agreed() }, this.#say("accept"));
    this.#consent.replaceChildren(h("p", {}, this.#say("consent")), accept);
  }

  prefill(text: string): void {
    this.input.value = text.slice(0, MAX_CHARACTERS);
    this.#typed();
  }

  dispose(): void {
    this.#ends.abort();
    this.log.dispose();
    this.panel.remove();
  }

  #submit(): void {
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = "";
    this.#typed();
    this.#gestures.say(text);
  }

  #typed(): void {
    const { input } = this;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, TALLEST_PX)}px`;
    const left = MAX_CHARACTERS - input.value.length;
    this.#counter.hidden = left > NEAR_LIMIT;
    this.#counter.textContent = left > 0 ? this.#say("characters_left", { n: left }) : this.#say("too_long", { max: MAX_CHARACTERS });
    this.#buttons();
  }

  /** One main button: stop while something can be stopped and nothing is written, else send. */
  #buttons(): void {
    const written = this.input.value.trim() !== "";
    this.#send.disabled = !written;
    this.#send.hidden = this.#busy && !written;
  }
}
