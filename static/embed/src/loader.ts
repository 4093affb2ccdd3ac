// The one tag's script: finds its bot, draws the bubble, queues what the page asks, and brings the panel at the first touch.

import type { BootConfig, Mode, Options, Panel, Shell } from "./contract";
import styles from "./loader.css";

declare const __BUILD__: string;

type Listener = (detail: unknown, about: { chatbotId: string }) => void;
type Call = [command: string, ...args: unknown[]];
interface Api {
  (...call: Call): unknown;
  q?: ArrayLike<unknown>[];
  bots?: Map<string, Widget>;
  loaded?: boolean;
}

const OUTPUT_RATE = 24_000;
const CONFIG_TIMEOUT_MS = 15_000;
const CHAT = "M21 11.5a8.4 8.4 0 0 1-12.2 7.5L3 21l2-5.3A8.4 8.4 0 1 1 21 11.5zM8.5 11.5h.01M12.5 11.5h.01M16.5 11.5h.01";
const DOWN = "M6 9l6 6 6-6";

const page = window as unknown as { MA?: Api };
const tag = (document.currentScript ?? document.querySelector('script[data-chatbot-id][src*="widget.js"]')) as HTMLScriptElement | null;
const origin = new URL(tag?.src || location.href, location.href).origin;
const base = `${origin}/w/${__BUILD__}/`;

/** Black or white, whichever reads better on the colour. */
function inkOn(color: string): string {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)) as [number, number, number];
  return r * 0.299 + g * 0.587 + b * 0.114 > 150 ? "#000" : "#fff";
}

class Widget {
  readonly host = document.createElement("ma-widget");
  readonly #root = this.host.attachShadow({ mode: "open" });
  readonly #button = document.createElement("button");
  readonly #badge = document.createElement("span");
  readonly #path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #options: Options;
  readonly #ready: Promise<BootConfig>;
  #panel: Panel | null = null;
  #loading: Promise<Panel> | null = null;
  #audio: AudioContext | null = null;
  #open = false;
  #inert: HTMLElement[] = [];
  #dead = false;

  constructor(options: Options) {
    this.#options = options;
    this.host.dataset["mode"] = options.mode;
    Object.assign(this.host, { __probe: () => this.#panel?.probe() ?? null });
    this.#ready = this.#boot();
    this.#ready.catch((error: Error) => {
      console.warn(`MachineAvatars: the chat did not start. ${error.message}`);
      this.#emit("error", { code: error.name, message: error.message });
    });
  }

  do(command: string, args: unknown[]): unknown {
    const text = String(args[0] ?? "");
    switch (command) {
      case "open":
        return void this.open(false);
      case "close":
        return this.close();
      case "toggle":
        return this.#open ? this.close() : void this.open(false);
      case "show":
      case "hide":
        this.#button.hidden = command === "hide" || this.#options.mode !== "bubble";
        return command === "hide" ? this.close() : undefined;
      case "send":
        return void this.#bring().then((panel) => panel.send(text));
      case "prefill":
        return void this.#bring().then((panel) => panel.prefill(text));
      case "mute":
        return void this.#bring().then((panel) => panel.mute(args[0] !== false));
      case "setLocale":
        this.#options.locale = text;
        return void this.#panel?.setLocale(text);
      case "setTheme":
        return void this.#bring().then((panel) => panel.setTheme((args[0] ?? {}) as object));
      case "reset":
        return void this.#bring().then((panel) => panel.reset());
      case "on": {
        const listeners = this.#listeners.get(text) ?? new Set<Listener>();
        this.#listeners.set(text, listeners.add(args[1] as Listener));
        return () => listeners.delete(args[1] as Listener);
      }
      case "off":
        return args[1] ? this.#listeners.get(text)?.delete(args[1] as Listener) : this.#listeners.delete(text);
      case "getState":
        return { chatbotId: this.#options.chatbotId, loaded: this.#panel !== null, open: this.#open, ...this.#panel?.state() };
      case "shutdown":
        return this.#shutdown();
      default:
        console.warn(`MachineAvatars: there is no command "${command}".`);
    }
  }

  /** `acted`: in the visitor's own tap or key, so that sound may be unlocked now. */
  async open(acted: boolean): Promise<void> {
    if (acted) void this.#sound()?.resume();
    this.#open = true;
    this.#button.ariaBusy = "true";
    try {
      const panel = await this.#bring();
      if (!this.#open) return;
      panel.open(acted);
      this.#shown(true);
      this.#emit("open");
    } catch (error) {
      this.#open = false;
      this.#emit("error", { code: "LOAD_FAILED", message: String(error) });
    } finally {
      this.#button.ariaBusy = null;
    }
  }

  close(): void {
    if (!this.#open || this.#options.mode !== "bubble") return;
    this.#open = false;
    this.#panel?.close();
    this.#shown(false);
    this.#emit("close");
  }

  async #boot(): Promise<BootConfig> {
    const { chatbotId, mode, target } = this.#options;
    const response = await fetch(`${origin}/api/v1/chatbots/${encodeURIComponent(chatbotId)}/config`, {
      credentials: "omit",
      signal: AbortSignal.timeout(CONFIG_TIMEOUT_MS),
    }).catch(() => {
      // The browser hides from a page that is not allowed what the server says to it.
      const text = `${origin} cannot be read from here. Is it running, and is ${location.origin} among the chatbot's allowed origins?`;
      throw Object.assign(new Error(text), { name: "NETWORK" });
    });
    const body = (await response.json()) as BootConfig & { error?: { code: string; message: string } };
    if (!response.ok) throw Object.assign(new Error(body.error?.message ?? response.statusText), { name: body.error?.code ?? "ERROR" });
    if (!document.body) await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
    if (this.#options.locale === "auto") this.#options.locale = document.documentElement.lang || navigator.language || body.language;
    const place = typeof target === "string" ? document.querySelector(target) : target;
    if (this.#dead) return body;
    ((mode === "inline" && place) || document.body).append(this.host);
    this.#draw(body);
    if (this.#options.open || mode !== "bubble") void this.open(false);
    return body;
  }

  #draw(config: BootConfig): void {
    const color = [this.#options.color, config.theme.color].find((item) => item && /^#[0-9a-f]{6}$/i.test(item)) ?? "#4f46e5";
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`${styles}:host{--launch:${color};--launch-ink:${inkOn(color)}}`);
    this.#root.adoptedStyleSheets = [sheet];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    this.#path.setAttribute("d", CHAT);
    svg.append(this.#path);
    const button = this.#button;
    const open = config.texts["open"];
    button.className = `bubble-button ${(this.#options.position ?? config.theme.position) === "left" ? "left" : ""}`;
    button.type = "button";
    button.setAttribute("part", "launcher");
    button.ariaLabel = typeof open === "string" ? open : `Chat: ${config.name}`;
    button.ariaExpanded = "false";
    button.ariaHasPopup = "dialog";
    button.hidden = this.#options.mode !== "bubble";
    this.#badge.className = "unread";
    button.append(svg, this.#badge);
    button.onclick = () => (this.#open ? this.close() : void this.open(true));
    this.#root.append(button);
  }

  #bring(): Promise<Panel> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  async #load(): Promise<Panel> {
    const config = await this.#ready;
    const { mount } = (await import(`${base}panel.js`)) as { mount(shell: Shell): Promise<Panel> };
    this.#panel = await mount({
      host: this.host,
      root: this.#root,
      origin,
      base,
      options: this.#options,
      config,
      emit: (event, detail) => this.#emit(event, detail),
      audio: () => this.#sound(),
      unread: (count) => (this.#badge.textContent = count > 0 ? String(count) : ""),
      closed: () => this.close(),
    });
    return this.#panel;
  }

  #sound(): AudioContext | null {
    try {
      this.#audio ??= new AudioContext({ sampleRate: OUTPUT_RATE, latencyHint: "interactive" });
    } catch {
      return null;
    }
    return this.#audio;
  }

  /** A full-screen panel takes the page with it; the focus comes back to the bubble. */
  #shown(on: boolean): void {
    this.#path.setAttribute("d", on ? DOWN : CHAT);
    this.#button.ariaExpanded = String(on);
    const full = on && this.#options.mode === "bubble" && matchMedia("(max-width: 520px)").matches;
    for (const element of this.#inert.splice(0)) element.inert = false;
    document.documentElement.style.overflow = full ? "hidden" : "";
    if (full) {
      this.#inert = [...document.body.children].filter((item): item is HTMLElement => item instanceof HTMLElement && item !== this.host && !item.inert);
      for (const element of this.#inert) element.inert = true;
    }
    if (!on) this.#button.focus({ preventScroll: true });
  }

  #emit(event: string, detail?: unknown): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(detail, { chatbotId: this.#options.chatbotId });
      } catch (error) {
        reportError(error);
      }
    }
  }

  #shutdown(): void {
    this.#dead = true;
    this.close();
    this.#panel?.shutdown();
    void this.#audio?.close();
    this.host.remove();
    page.MA?.bots?.delete(this.#options.chatbotId);
  }
}

function optionsOf(data: Record<string, unknown>): Options {
  const one = <T extends string>(value: unknown, ...allowed: T[]): T | undefined => allowed.find((item) => item === value);
  return {
    chatbotId: String(data["chatbotId"]),
    locale: String(data["locale"] ?? "auto"),
    position: one(data["position"], "left", "right"),
    theme: one(data["theme"], "auto", "light", "dark"),
    color: typeof data["color"] === "string" ? data["color"] : undefined,
    open: String(data["open"]) === "true" || data["open"] === "",
    greeting: data["greeting"] !== "off" && data["greeting"] !== false,
    mode: one<Mode>(data["mode"], "inline", "fullpage") ?? "bubble",
    target: data["target"] as string | Element | undefined,
    quality: one(data["quality"], "high", "low", "2d") ?? "auto",
    consent: data["consent"] === "required" || data["consent"] === true,
  };
}

function boot(data: Record<string, unknown>): void {
  const bots = page.MA?.bots;
  const id = data["chatbotId"];
  if (typeof id === "string" && id && bots && !bots.has(id)) bots.set(id, new Widget(optionsOf(data)));
}

/** `MA(command, ...args)`; a last argument `{chatbotId}` names the bot where there are several. */
function call(command: string, ...args: unknown[]): unknown {
  if (command === "boot") return boot((args[0] ?? {}) as Record<string, unknown>);
  const bots = page.MA?.bots ?? new Map<string, Widget>();
  const named = (args.at(-1) as { chatbotId?: string } | undefined)?.chatbotId;
  const widget = named ? bots.get(named) : bots.values().next().value;
  if (named) args.pop();
  return widget?.do(command, args);
}

if (!page.MA?.loaded) {
  const waiting = page.MA?.q ?? [];
  page.MA = Object.assign(call as Api, { bots: new Map<string, Widget>(), loaded: true });
  if (tag) boot({ ...tag.dataset });
  for (const item of Array.from(waiting)) call(...(Array.from(item) as Call));
} else if (tag) {
  boot({ ...tag.dataset });
}
