// The Socket.IO socket: one namespace, websocket only, no polling, no reconnecting of its own (connection.ts decides that).

import { io, type Socket } from "socket.io-client";
import type { ClientAcks, ClientEvents, Hello, Ready, Say, ServerEvents } from "./generated/wire";

export const NAMESPACE = "/chat";

export interface TransportEvents {
  connected(): void;
  dropped(reason: string): void;
  /** The server refused the socket: a code of the REST envelope. */
  refused(code: string, message: string): void;
  event<E extends keyof ServerEvents>(name: E, payload: ServerEvents[E]): void;
  audio(frame: ArrayBuffer): void;
}

export class Transport {
  #socket: Socket | null = null;
  readonly #origin: string;
  readonly #events: TransportEvents;

  constructor(origin: string, events: TransportEvents) {
    this.#origin = origin;
    this.#events = events;
  }

  connect(token: string): void {
    this.disconnect();
    const socket = io(this.#origin + NAMESPACE, {
      transports: ["websocket"],
      auth: { token },
      reconnection: false,
      forceNew: true,
      timeout: 10_000,
    });
    this.#socket = socket;
    const events = this.#events;
    const mine = (): boolean => this.#socket === socket;
    socket.on("connect", () => mine() && events.connected());
    socket.on("disconnect", (reason) => mine() && events.dropped(reason));
    socket.on("connect_error", (error: Error & { data?: { code?: string; message?: string } }) => {
      if (!mine()) return;
      if (error.data?.code) events.refused(error.data.code, error.data.message ?? error.message);
      else events.dropped(error.message);
    });
    socket.onAny((name: string, payload: unknown) => {
      if (!mine()) return;
      if (name === "audio") {
        if (payload instanceof ArrayBuffer) events.audio(payload);
      } else if (payload !== null && typeof payload === "object") {
        events.event(name as keyof ServerEvents, payload as ServerEvents[keyof ServerEvents]);
      }
    });
  }

  disconnect(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.disconnect();
  }

  get open(): boolean {
    return this.#socket?.connected ?? false;
  }

  /** Volatile: an event for a socket that is gone is worth nothing on the next one. */
  emit<E extends Exclude<keyof ClientEvents, "hello" | "say">>(name: E, payload: ClientEvents[E]): void {
    if (this.open) this.#socket?.emit(name, payload);
  }

  hello(hello: Hello, ready: (ready: Ready) => void): void {
    const socket = this.#socket;
    socket?.emit("hello", hello, (answer: unknown) => {
      if (this.#socket !== socket) return;
      if (isReady(answer)) ready(answer);
      else if (isErr(answer)) this.#events.event("err", { ...answer, fatal: true });
    });
  }

  /** `accepted` is called only for `{ok:true,id}`: an empty ack is not an acceptance. */
  say(say: Say, accepted: (ack: ClientAcks["say"]) => void): void {
    this.#socket?.emit("say", say, (answer: unknown) => {
      const ack = answer as Partial<ClientAcks["say"]> | null;
      if (ack && ack.ok === true && ack.id === say.id) accepted(ack as ClientAcks["say"]);
    });
  }

  mic(frame: ArrayBuffer): void {
    if (this.open) this.#socket?.emit("mic", frame);
  }

  /** Bytes the browser has not yet put on the wire would grow without end on a stalled network; the mic stops at a bound. */
  get congested(): boolean {
    const transport = this.#socket?.io.engine?.transport as { ws?: { bufferedAmount: number } } | undefined;
    return (transport?.ws?.bufferedAmount ?? 0) > 160_000;
  }
}

function isReady(answer: unknown): answer is Ready {
  return answer !== null && typeof answer === "object" && typeof (answer as { sid?: unknown }).sid === "string";
}

function isErr(answer: unknown): answer is ServerEvents["err"] {
  return answer !== null && typeof answer === "object" && typeof (answer as { code?: unknown }).code === "string";
}
