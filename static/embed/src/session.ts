// The shell around connection.ts: obeys its commands with a token, a socket and timers.

import { initial, step, type Command, type Input, type Phase, type ServerEventName, type State, type TimerName } from "./connection";
import type { BootConfig } from "./contract";
import { VERSION, type ClientEvents, type Hello, type Ready, type Say, type ServerEvents } from "./generated/wire";
import { HEADER_BYTES, RID_AT } from "./media";
import { Transport } from "./transport";
import { ApiError, type Visitor } from "./visitor";

export interface SessionEvents {
  /** What this client can do and wants, asked at each hello. */
  hello(): Omit<Hello, "proto" | "chatbot_id" | "resume">;
  /** What is being heard, by the page's numbering, and the number of the microphone's next frame. */
  heard(): { rid: number; t: number; micSeq: number };
  /** The server owes something: an answer, or its ear. */
  expecting(): boolean;
  locale(): string;
  /** The visitor is known; the socket comes next. */
  known(): Promise<void>;
  phase(phase: Phase, attempt: number): void;
  /** `again`: this page was connected before; `other`: to another session, or to none. */
  started(ready: Ready, again: boolean, other: boolean): void;
  event<E extends ServerEventName>(name: E, payload: ServerEvents[E]): void;
  audio(frame: ArrayBuffer): void;
  accepted(id: string, messageId: string): void;
  failed(id: string): void;
  /** The server said no; `final` when asking again is of no use. */
  refused(code: string, message: string, final: boolean): void;
}

const PASSING = new Set(["SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED", "INTERNAL_ERROR", "UPSTREAM_ERROR"]);

/** A random id for a message; `randomUUID` exists on secure pages only. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Session {
  readonly #config: BootConfig;
  readonly #visitor: Visitor;
  readonly #events: SessionEvents;
  readonly #transport: Transport;
  readonly #timers = new Map<TimerName, ReturnType<typeof setTimeout>>();
  #state: State = initial;
  /** Counts attempts, so that an answer to an old one is not taken for the new one's. */
  #dial = 0;
  #tokenRefused = false;
  #frames = 0;
  /** What the visitor stopped while there was nobody to tell. */
  #stopped: { newest: number; reason: string } | null = null;
  /** Responses of the sessions before this one: their numbers are shifted by it, so that they grow for as long as the page lives. */
  #before = 0;
  #sid = "";
  #newest = 0;

  constructor(origin: string, config: BootConfig, visitor: Visitor, events: SessionEvents) {
    this.#config = config;
    this.#visitor = visitor;
    this.#events = events;
    this.#transport = new Transport(origin, {
      connected: () => this.#step({ type: "connected" }),
      dropped: () => this.#dropped(),
      refused: (code, message) => this.#refused(new ApiError(code, message, PASSING.has(code) ? 503 : 403, null)),
      alive: () => void this.#frames++,
      event: (name, payload) => this.#step({ type: "event", name, payload }),
      audio: (frame) => {
        if (frame.byteLength < HEADER_BYTES) return;
        const view = new DataView(frame);
        view.setUint32(RID_AT, this.#inward(view.getUint32(RID_AT, true)), true);
        events.audio(frame);
      },
    });
  }

  get state(): State {
    return this.#state;
  }

  get phase(): Phase {
    return this.#state.phase;
  }

  /** Connects, or tries at once what was going to be tried later. */
  open(): void {
    if (this.phase === "idle" || this.phase === "closed") this.#step({ type: "open", session: this.#visitor.session });
    else this.again();
  }

  /** Tries at once what was going to be tried later, or is being tried in vain. */
  again(): void {
    this.#step({ type: "online" });
  }

  /** The browser says that the network is gone. */
  offline(): void {
    this.#step({ type: "offline" });
  }

  close(): void {
    this.#step({ type: "close" });
  }

  /** Closes and forgets: the next `open` is another visitor's. */
  forget(): void {
    this.close();
    this.#state = initial;
    this.#visitor.erase();
  }

  say(say: Say): void {
    this.#step({ type: "say", say });
  }

  /** The server refused the message `id`; false when it is not waiting for its acceptance. */
  refuse(id: string): boolean {
    const waiting = this.#state.outbox.some((say) => say.id === id);
    if (waiting) this.#step({ type: "refused", id });
    return waiting;
  }

  emit<E extends Exclude<keyof ClientEvents, "hello" | "say" | "play" | "stop">>(name: E, payload: ClientEvents[E]): void {
    if (this.phase === "ready") this.#transport.emit(name, payload);
  }

  /** Nothing is reported of a response of an earlier session. */
  play(report: ClientEvents["play"]): void {
    const rid = report.rid - this.#before;
    if (rid > 0 && this.phase === "ready") this.#transport.emit("play", { ...report, rid });
  }

  /** `newest` is 0 when no response is known. */
  stop(newest: number, reason: string): void {
    const rid = newest - this.#before;
    if (this.phase === "ready") this.#transport.emit("stop", { rid: rid > 0 ? rid : null, reason });
    else if (newest > 0) this.#stopped = { newest, reason };
  }

  /** False when it was not taken. */
  mic(frame: ArrayBuffer): boolean {
    return this.phase === "ready" && this.#transport.mic(frame);
  }

  #step(input: Input): void {
    const [state, commands] = step(this.#state, input);
    this.#state = state;
    for (const command of commands) this.#obey(command);
  }

  #obey(command: Command): void {
    switch (command.do) {
      case "connect":
        return void this.#connect(++this.#dial);
      case "disconnect":
        return this.#transport.disconnect();
      case "hello":
        return this.#hello(command.resume);
      case "emit":
        return this.#transport.emit(command.name, command.payload);
      case "say":
        return this.#transport.say(command.payload, ({ id, message_id }) => {
          this.#step({ type: "accepted", id });
          this.#events.accepted(id, message_id);
        });
      case "timer": {
        const { name, ms } = command;
        clearTimeout(this.#timers.get(name));
        this.#timers.set(name, setTimeout(() => this.#rang(name), ms));
        return;
      }
      case "cancel":
        return clearTimeout(this.#timers.get(command.name));
      case "deliver":
        return this.#deliver(command.name, command.payload);
      case "started":
        return this.#started(command.ready, command.again);
      case "failed":
        return this.#events.failed(command.id);
      case "phase":
        return this.#events.phase(command.phase, this.#state.attempt);
    }
  }

  #rang(name: TimerName): void {
    this.#step({ type: "timer", name, roll: Math.random(), frames: this.#frames, expecting: this.#events.expecting() });
  }

  #started(ready: Ready, again: boolean): void {
    const { sid, token } = ready;
    const other = sid !== this.#sid;
    if (other) this.#before = this.#newest;
    this.#sid = sid;
    this.#visitor.session = { sid, token };
    this.#events.started(ready, again, other);
    const stopped = this.#stopped;
    this.#stopped = null;
    if (stopped && !other) this.stop(stopped.newest, stopped.reason);
  }

  #hello(resume: Extract<Command, { do: "hello" }>["resume"]): void {
    const { rid, t, micSeq } = this.#events.heard();
    const heard = rid > this.#before ? { rid: rid - this.#before, played: Math.round(t), mic_seq: micSeq } : { mic_seq: micSeq };
    const hello: Hello = {
      ...this.#events.hello(),
      proto: VERSION,
      chatbot_id: this.#config.id,
      resume: resume && { ...resume, ...heard },
    };
    this.#transport.hello(hello, (ready) => {
      this.#tokenRefused = false;
      this.#step({ type: "ready", ready });
    });
  }

  #deliver<E extends ServerEventName>(name: E, payload: ServerEvents[E]): void {
    if (name === "bye" && (payload as ServerEvents["bye"]).reason === "expired") this.#visitor.forgetToken();
    const { rid } = payload as { rid?: number | null };
    this.#events.event(name, rid ? { ...payload, rid: this.#inward(rid) } : payload);
  }

  /** A response's number as this page knows it. */
  #inward(rid: number): number {
    this.#newest = Math.max(this.#newest, rid + this.#before);
    return rid + this.#before;
  }

  async #connect(dial: number): Promise<void> {
    const current = (): boolean => dial === this.#dial && this.phase === "connecting";
    try {
      const token = await this.#visitor.token(this.#events.locale());
      if (!current()) return;
      await this.#events.known();
      if (!current()) return;
      const { session } = this.#state;
      const newest = this.#visitor.session;
      if (session && session.sid === newest?.sid && session.token !== newest.token) this.#step({ type: "superseded" });
      else this.#transport.connect(token);
    } catch (error) {
      if (current()) this.#refused(error instanceof ApiError ? error : new ApiError("INTERNAL_ERROR", String(error), 500, null));
    }
  }

  #dropped(fatal = false): void {
    this.#step({ type: "dropped", roll: Math.random(), fatal });
  }

  #refused(error: ApiError): void {
    if (error.code === "INVALID_TOKEN" && !this.#tokenRefused) {
      this.#tokenRefused = true;
      this.#visitor.forgetToken();
      return this.#dropped();
    }
    if (error.status !== 0) this.#events.refused(error.code, error.message, !error.retryable);
    this.#dropped(!error.retryable);
  }
}
