// The conversation as the server has kept it: which one it is, and showing what this page has not seen of it.

import type { Log } from "./log";
import type { Visitor } from "./visitor";

export class Past {
  readonly #visitor: Visitor;
  readonly #log: Log;
  readonly #locale: () => string;
  /** What the present session's conversation is called once something of it is kept. */
  #name: string | null = null;
  #shown = false;

  constructor(visitor: Visitor, log: Log, locale: () => string) {
    this.#visitor = visitor;
    this.#log = log;
    this.#locale = locale;
  }

  /** The conversation that is shown. */
  get conversation(): string | null {
    return this.#shown ? this.#visitor.conversation : null;
  }

  /** A session has begun in this conversation. */
  begun(conversation: string | null): void {
    this.#name = conversation;
  }

  /** Something of the present conversation is kept. */
  kept(): void {
    if (this.#name) this.#visitor.conversation = this.#name;
  }

  /** The connection is lost. A first message may have been kept although nobody said so: the history will tell. */
  doubt(waiting: boolean): void {
    if (this.#visitor.conversation || !waiting) return;
    this.kept();
    this.#shown = false;
  }

  /** Shows what was said before this page, once. */
  async recall(): Promise<void> {
    if (!this.#shown) await this.refresh();
  }

  /** Shows what was missed. */
  async refresh(): Promise<void> {
    const past = await this.#visitor.history(this.#locale());
    this.#shown = past !== null;
    if (past?.length) this.#log.recall(past);
  }

  forget(): void {
    this.#shown = false;
    this.#name = null;
  }
}
