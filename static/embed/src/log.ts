// The conversation as it is shown: messages that stream, transcripts that grow, what was cut, what was not sent.

import { h, safeUrl } from "./dom";
import type { ServerEvents } from "./generated/wire";
import type { Say } from "./texts";
import type { PastMessage } from "./visitor";

/** The end of a sentence, so that screen readers are given whole ones. */
const SENTENCE = /[.!?…。！？؟]["'»”)]*\s/g;
const NEAR_END_PX = 80;

interface Message {
  root: HTMLElement;
  bubble: HTMLElement;
  said: Text;
  tail: HTMLElement;
  text: string;
}

export class Log {
  readonly element: HTMLElement;
  readonly jump: HTMLButtonElement;
  readonly #list: HTMLElement;
  readonly #say: () => Say;
  readonly #answers = new Map<number, Message>();
  readonly #asked = new Map<string, Message>();
  readonly #heard = new Map<number, Message>();
  #greeting: Message | null = null;
  #pinned = true;
  readonly #sizes = new ResizeObserver(() => this.#pinned && this.toEnd());

  constructor(say: () => Say, resend: (id: string, text: string) => void) {
    this.#say = say;
    this.#resend = resend;
    this.#list = h("div", { class: "messages" });
    this.element = h("div", { class: "log", role: "log", "aria-live": "polite", tabindex: 0, part: "log" }, this.#list);
    this.jump = h("button", { class: "jump", type: "button", hidden: true, onclick: () => this.toEnd() });
    this.element.addEventListener("scroll", () => {
      this.#pinned = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < NEAR_END_PX;
      if (this.#pinned) this.jump.hidden = true;
    });
    this.#sizes.observe(this.element);
  }

  readonly #resend: (id: string, text: string) => void;

  get empty(): boolean {
    return this.#list.childElementCount === 0;
  }

  dispose(): void {
    this.#sizes.disconnect();
  }

  clear(): void {
    this.#list.replaceChildren();
    this.#answers.clear();
    this.#asked.clear();
    this.#heard.clear();
    this.#greeting = null;
  }

  /** The conversation as the server has kept it, in place of what is shown, but for what is newer or was never sent. */
  recall(past: readonly PastMessage[]): void {
    // Ids sort by the time at which they were given, which is not quite the order of what they name.
    const newest = past.reduce((most, { id }) => (id > most ? id : most), "");
    const later: Element[] = [];
    for (const root of [...this.#list.children] as HTMLElement[]) {
      const { id = "", greeting } = root.dataset;
      if (greeting !== undefined) continue;
      if (id > newest || (!id && root.matches("[data-pending],[data-failed],[data-partial]"))) later.push(root);
      root.remove();
    }
    for (const { id, role, content, interrupted } of past) {
      if (role === "system") continue;
      const message = this.#message(role === "user" ? "user" : "bot", id);
      this.#finish(message, content);
      if (interrupted) this.#note(message, this.#say()("interrupted"));
    }
    this.#list.append(...later);
    this.#follow();
  }

  greet(text: string): void {
    this.#greeting = this.#message("bot");
    this.#greeting.root.dataset["greeting"] = "";
    this.#finish(this.#greeting, text);
    this.#follow();
  }

  /** A typed message, pale until it is accepted; while there is no connection it says that it waits. */
  ask(id: string, text: string): void {
    const message = this.#message("user");
    message.root.dataset["pending"] = "";
    this.#note(message, this.#say()("waiting"), "waiting");
    this.#finish(message, text);
    this.#asked.set(id, message);
    this.#pinned = true;
    this.#follow();
  }

  /** The server has kept it as `messageId`. */
  accepted(id: string, messageId: string): void {
    const root = this.#sent(id)?.root;
    if (!root) return;
    // It had been kept before, and came with the history.
    if (this.#known(messageId)) return root.remove();
    root.dataset["id"] = messageId;
  }

  notSent(id: string, reason?: string): void {
    const message = this.#sent(id);
    if (!message) return;
    message.root.dataset["failed"] = "";
    const again = h("button", { type: "button", class: "link" }, this.#say()("send_again"));
    again.addEventListener("click", () => {
      message.root.remove();
      this.#resend(id, message.text);
    });
    message.root.append(h("p", { class: "note" }, `${this.#say()("not_sent")} ${reason ?? ""} `, again));
    this.#follow();
  }

  /** What the microphone is understood to say so far: the first `stable` characters will not change. */
  hearing(part: ServerEvents["stt.part"]): void {
    if (!part.text) return;
    let message = this.#heard.get(part.item);
    if (!message) {
      message = this.#message("user");
      message.root.dataset["partial"] = "";
      message.bubble.setAttribute("aria-hidden", "true");
      this.#heard.set(part.item, message);
    }
    message.text = part.text;
    message.said.data = part.text.slice(0, part.stable);
    message.tail.textContent = part.text.slice(part.stable);
    this.#follow();
  }

  /** The final transcript; an empty one was not speech. */
  heard(final: ServerEvents["stt.final"]): void {
    const message = this.#heard.get(final.item) ?? (final.text ? this.#message("user") : null);
    this.#heard.delete(final.item);
    if (!message) return;
    if (!final.text) return message.root.remove();
    delete message.root.dataset["partial"];
    message.bubble.removeAttribute("aria-hidden");
    this.#finish(message, final.text);
    this.#follow();
  }

  answer(start: ServerEvents["resp.start"]): void {
    this.#known(start.message_id)?.remove();
    const message = start.kind === "greeting" && this.#greeting ? this.#greeting : this.#message("bot", start.message_id);
    if (message === this.#greeting) {
      this.#greeting = null;
      message.text = "";
    }
    message.root.dataset["streaming"] = "";
    message.root.dataset["rid"] = String(start.rid);
    this.#answers.set(start.rid, message);
    this.#follow();
  }

  stream(rid: number, delta: string): void {
    const message = this.#answers.get(rid);
    if (!message) return;
    message.text += delta;
    let done = 0;
    for (const match of message.text.matchAll(SENTENCE)) done = match.index + match[0].length;
    const said = message.text.slice(0, done);
    if (said !== message.said.data) message.said.data = said;
    message.tail.textContent = message.text.slice(done);
    this.#follow();
  }

  cite(citation: ServerEvents["citation"]): void {
    const message = this.#answers.get(citation.rid);
    if (!message) return;
    let list = message.root.querySelector<HTMLElement>(".citations");
    if (!list) message.root.append((list = h("div", { class: "citations" })));
    const url = safeUrl(citation.url);
    const label = `${citation.n}. ${citation.title}`;
    list.append(
      url
        ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer", title: citation.snippet }, label)
        : h("span", { title: citation.snippet }, label),
    );
  }

  /** Ends a response. What was cut before it was heard is shown pale. */
  end(rid: number, status: ServerEvents["resp.end"]["status"], heard: { samples: number; chars: number } | null = null): string {
    const message = this.#answers.get(rid);
    if (!message) return "";
    this.#answers.delete(rid);
    delete message.root.dataset["streaming"];
    if (!message.text && status !== "error") {
      message.root.remove();
      return "";
    }
    this.#finish(message, message.text);
    if (status === "cut" || status === "superseded") {
      if (heard && heard.samples > 0 && heard.chars < message.text.length) {
        message.said.data = message.text.slice(0, heard.chars);
        message.bubble.append(h("span", { class: "unheard" }, message.text.slice(heard.chars)));
      }
      this.#note(message, this.#say()("interrupted"));
    }
    if (status === "error" && !message.root.querySelector(".bad")) this.#bad(message, this.#say()("error"));
    this.#follow();
    return message.text;
  }

  /** Says why response `rid` failed; false when it is not shown. */
  fail(rid: number, reason: string): boolean {
    const message = this.#answers.get(rid);
    if (message) this.#bad(message, reason);
    return message !== undefined;
  }

  /** Answers, and partial transcripts, that the connection took away. */
  abandon(): void {
    for (const rid of [...this.#answers.keys()]) this.end(rid, "cut");
    for (const message of this.#heard.values()) message.root.remove();
    this.#heard.clear();
  }

  toEnd(): void {
    this.#pinned = true;
    this.element.scrollTop = this.element.scrollHeight;
    this.jump.hidden = true;
  }

  #bad(message: Message, reason: string): void {
    this.#note(message, reason, "bad");
    this.#follow();
  }

  #note(message: Message, text: string, kind = ""): void {
    message.root.append(h("p", { class: `note ${kind}` }, text));
  }

  /** The typed message `id`, which no longer waits. */
  #sent(id: string): Message | undefined {
    const message = this.#asked.get(id);
    this.#asked.delete(id);
    if (message) delete message.root.dataset["pending"];
    message?.root.querySelector(".waiting")?.remove();
    return message;
  }

  /** What is shown of a message that the server has kept. */
  #known(messageId: string): HTMLElement | undefined {
    return ([...this.#list.children] as HTMLElement[]).find((root) => root.dataset["id"] === messageId);
  }

  #message(role: "user" | "bot", id?: string): Message {
    const said = document.createTextNode("");
    const tail = h("span", { class: "tail", "aria-hidden": "true" });
    const bubble = h("div", { class: "bubble", dir: "auto", part: `message ${role}` }, said, tail);
    const root = h("div", { class: `message ${role}`, "data-id": id }, bubble);
    this.#list.append(root);
    return { root, bubble, said, tail, text: "" };
  }

  #finish(message: Message, text: string): void {
    message.text = text;
    if (message.said.data !== text) message.said.data = text;
    message.tail.textContent = "";
  }

  #follow(): void {
    if (this.#pinned) this.element.scrollTop = this.element.scrollHeight;
    else this.jump.hidden = false;
  }
}
