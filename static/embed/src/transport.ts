// The socket: one namespace over one websocket, no reconnecting of its own (connection.ts decides that).

import type { ClientAcks, ClientEvents, Hello, Ready, Say, ServerEvents } from "./generated/wire";
import { binaryEvent, connect, decode, event, PONG, type Packet } from "./packets";

export const NAMESPACE = "/chat";
const CONNECT_MS = 10_000;
/** Bytes the browser has not yet put on the wire would grow without end on a stalled network; the mic waits at this bound. */
const CONGESTED_BYTES = 64_000;

export interface TransportEvents {
  connected(): void;
  dropped(): void;
  /** The server refused the socket: a code of the REST envelope. */
  refused(code: string, message: string): void;
  /** Something has come from the server. */
  alive(): void;
  event<E extends keyof ServerEvents>(name: E, payload: ServerEvents[E]): void;
  audio(frame: ArrayBuffer): void;
}

export class Transport {
  readonly #url: string;
  readonly #events: TransportEvents;
  #socket: WebSocket | null = null;
  #joined = false;
  #pingMs = CONNECT_MS;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #nextAck = 0;
  #acks = new Map<number, (answer: unknown) => void>();
  /** The event whose bytes come next. */
  #awaited: string | null = null;

  constructor(origin: string, events: TransportEvents) {
    this.#url = `${origin.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`;
    this.#events = events;
  }

  connect(token: string): void {
    this.disconnect();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const mine = (): boolean => this.#socket === socket;
    this.#expect(CONNECT_MS);
    socket.onclose = () => mine() && this.#lost();
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (!mine()) return;
      this.#events.alive();
      if (typeof data !== "string") {
        const name = this.#awaited;
        this.#awaited = null;
        return name === "audio" ? this.#events.audio(data) : undefined;
      }
      const packet = decode(data, NAMESPACE);
      if (packet) this.#take(packet, token);
    };
  }

  disconnect(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#joined = false;
    this.#awaited = null;
    this.#acks.clear();
    clearTimeout(this.#watch);
    socket?.close();
  }

  emit<E extends Exclude<keyof ClientEvents, "hello" | "say">>(name: E, payload: ClientEvents[E]): void {
    if (this.#joined) this.#send(event(NAMESPACE, name, payload));
  }

  hello(hello: Hello, ready: (ready: Ready) => void): void {
    this.#ask("hello", hello, (answer) => {
      if (isReady(answer)) ready(answer);
      else if (isErr(answer)) this.#events.event("err", { ...answer, fatal: true });
    });
  }

  /** `accepted` is called only for `{ok:true,id}`: an empty ack is not an acceptance. */
  say(say: Say, accepted: (ack: ClientAcks["say"]) => void): void {
    this.#ask("say", say, (answer) => {
      const ack = answer as Partial<ClientAcks["say"]> | null;
      if (ack && ack.ok === true && ack.id === say.id) accepted(ack as ClientAcks["say"]);
    });
  }

  /** False when the frame was not taken: there is no socket, or it does not get rid of what it has. */
  mic(frame: ArrayBuffer): boolean {
    if (!this.#joined || !this.#socket || this.#socket.bufferedAmount > CONGESTED_BYTES) return false;
    this.#send(binaryEvent(NAMESPACE, "mic"));
    this.#send(frame);
    return true;
  }

  #take(packet: Packet, token: string): void {
    switch (packet.type) {
      case "open":
        this.#pingMs = packet.pingMs;
        return this.#send(connect(NAMESPACE, { token }));
      case "ping":
        this.#expect(this.#pingMs);
        return this.#send(PONG);
      case "close":
        return this.#lost();
      case "connected":
        this.#joined = true;
        this.#expect(this.#pingMs);
        return this.#events.connected();
      case "refused": {
        const { data } = packet.data as { data?: { code?: string; message?: string } };
        return data?.code ? this.#events.refused(data.code, data.message ?? data.code) : this.#lost();
      }
      case "ack": {
        const answered = this.#acks.get(packet.id);
        this.#acks.delete(packet.id);
        return answered?.(packet.answer);
      }
      case "event":
        if (packet.binary) this.#awaited = packet.name;
        else if (packet.payload !== null && typeof packet.payload === "object") {
          this.#events.event(packet.name as keyof ServerEvents, packet.payload as ServerEvents[keyof ServerEvents]);
        }
    }
  }

  /** The next sign of life is due within `ms`. */
  #expect(ms: number): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lost(), ms);
  }

  #lost(): void {
    this.disconnect();
    this.#events.dropped();
  }

  #ask(name: "hello" | "say", payload: unknown, answered: (answer: unknown) => void): void {
    if (!this.#joined) return;
    this.#acks.set(this.#nextAck, answered);
    this.#send(event(NAMESPACE, name, payload, this.#nextAck++));
  }

  #send(data: string | ArrayBuffer): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }
}

function isReady(answer: unknown): answer is Ready {
  return answer !== null && typeof answer === "object" && typeof (answer as { sid?: unknown }).sid === "string";
}

function isErr(answer: unknown): answer is ServerEvents["err"] {
  return answer !== null && typeof answer === "object" && typeof (answer as { code?: unknown }).code === "string";
}
