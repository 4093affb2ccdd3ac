// Everything that goes wrong or is about to, in words, with what can be done about it.

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
const DEGRADABLE = ["stt", "tts", "llm"] as const;

export class Notices {
  readonly #view: View;
  readonly #say: () => Say;
  readonly #again: () => void;
  /** Why the server last said no. */
  #refusal: keyof Texts | null = null;

  constructor(view: View, say: () => Say, again: () => void) {
    this.#view = view;
    this.#say = say;
    this.#again = again;
  }

  /** Shows a notice by its key in the texts, or takes it back. */
  tell(slot: string, key: keyof Texts | null, kind: Notice["kind"] = "info", action?: "retry" | "use_here"): void {
    if (key === null) return this.#view.notice(slot, null);
    const run = (): void => {
      this.tell("session", null);
      this.#again();
    };
    this.#view.notice(slot, { text: this.#say()(key), kind, action: action && { label: this.#say()(action), run } });
  }

  connected(): void {
    this.#refusal = null;
    this.tell("session", null);
    this.tell("network", null);
  }

  lost(): void {
    if (navigator.onLine) this.tell("session", this.#refusal ?? "reconnecting", "warn", "retry");
  }

  refused(code: string, final: boolean): void {
    this.#refusal = REFUSALS[code] ?? "error";
    this.tell("session", this.#refusal, final ? "bad" : "warn", "retry");
  }

  error({ code, message, fatal }: ServerEvents["err"]): void {
    const action = fatal ? { label: this.#say()("retry"), run: this.#again } : undefined;
    const text = this.sentence(code, message);
    this.#view.notice(fatal ? "session" : `err:${code}`, { text, kind: fatal ? "bad" : "warn", action });
  }

  sentence(code: string, message: string): string {
    const known = REFUSALS[code];
    return known ? this.#say()(known) : message || this.#say()("error");
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
