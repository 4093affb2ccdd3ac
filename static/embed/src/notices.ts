// Everything that goes wrong or is about to, in words, with what can be done about it.

import type { Phase } from "./connection";
import type { ServerEvents } from "./generated/wire";
import type { Say, Texts } from "./texts";
import type { Notice, View } from "./view";

const REFUSALS: Record<string, keyof Texts> = {
  ORIGIN_NOT_ALLOWED: "not_allowed",
  FORBIDDEN: "not_allowed",
  RESOURCE_NOT_FOUND: "unavailable",
  CHATBOT_UNAVAILABLE: "unavailable",
  RATE_LIMIT_EXCEEDED: "rate_limited",
  SERVICE_UNAVAILABLE: "busy",
};
/** A connection that is back by then was never seen to be away. */
const GRACE_MS = 1_500;
const DEGRADABLE = ["stt", "tts", "llm"] as const;

export interface NoticeEvents {
  say(): Say;
  /** The visitor wants to be connected again now. */
  again(): void;
  /** `away` has changed. */
  away(): void;
}

export class Notices {
  readonly #view: View;
  readonly #events: NoticeEvents;
  /** Why the server last said no. */
  #refusal: keyof Texts | null = null;
  #grace: ReturnType<typeof setTimeout> | undefined;
  #away = false;

  constructor(view: View, events: NoticeEvents) {
    this.#view = view;
    this.#events = events;
  }

  /** There is no connection, and it has been so for long enough to be said. */
  get away(): boolean {
    return this.#away;
  }

  dispose(): void {
    clearTimeout(this.#grace);
  }

  phase(phase: Phase): void {
    if (phase === "closed" || phase === "ready" || phase === "idle") {
      clearTimeout(this.#grace);
      this.#grace = undefined;
      this.#away = phase === "closed";
      if (this.#away) return;
      this.#refusal = null;
      this.tell("session", null);
    } else if (this.#away) this.#lost();
    else if (phase === "waiting") this.#grace ??= setTimeout(() => this.#lost(), GRACE_MS);
  }

  /** Shows a notice by its key in the texts, or takes it back. */
  tell(slot: string, key: keyof Texts | null, kind: Notice["kind"] = "info", action?: "retry" | "use_here"): void {
    if (key === null) return this.#view.notice(slot, null);
    const say = this.#events.say();
    this.#view.notice(slot, { text: say(key), kind, action: action && { label: say(action), run: () => this.#events.again() } });
  }

  #lost(): void {
    this.#away = true;
    this.tell("session", navigator.onLine ? (this.#refusal ?? "reconnecting") : "offline", "warn", "retry");
    this.#events.away();
  }

  refused(code: string, final: boolean): void {
    this.#refusal = REFUSALS[code] ?? "error";
    this.tell("session", this.#refusal, final ? "bad" : "warn", "retry");
  }

  error({ code, message, fatal }: ServerEvents["err"]): void {
    const action = fatal ? { label: this.#events.say()("retry"), run: () => this.#events.again() } : undefined;
    const text = this.sentence(code, message);
    this.#view.notice(fatal ? "session" : `err:${code}`, { text, kind: fatal ? "bad" : "warn", action });
  }

  sentence(code: string, message: string): string {
    const known = REFUSALS[code];
    return known ? this.#events.say()(known) : message || this.#events.say()("error");
  }

  warn(code: string, message: string): void {
    this.#view.notice(`warn:${code}`, { text: message, kind: "warn" });
  }

  degraded(state: ServerEvents["state"]): void {
    for (const part of DEGRADABLE) {
      if (state[part]) this.tell(part, state[part] === "unavailable" ? `${part}_down` : null, "warn");
    }
  }

  bye({ reason, reconnect }: ServerEvents["bye"]): void {
    if (reconnect) return;
    const superseded = reason === "superseded";
    this.tell("session", superseded ? "superseded" : "closed", "warn", superseded ? "use_here" : "retry");
  }
}
