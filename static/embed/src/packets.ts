// Socket.IO v5 over Engine.IO v4, websocket only: packets of one namespace between text frames and values. Pure.
//
// The first digit of a text frame is the engine's: 0 open, 1 close, 2 ping, 3 pong, 4 message. A message begins with the
// packet's type, then `<attachments>-` where bytes follow in a frame of their own, the namespace, and the id of an ack.

export type Packet =
  | { type: "open"; pingMs: number }
  | { type: "close" }
  | { type: "ping" }
  | { type: "connected" }
  | { type: "refused"; data: unknown }
  /** `binary`: the arguments' bytes come in the next frame. */
  | { type: "event"; name: string; payload: unknown; binary: boolean }
  | { type: "ack"; id: number; answer: unknown };

const MESSAGE = /^4([0-6])(?:(\d+)-)?(\/[^,]*),(\d*)/;

/** Null for what this client has no use for, and for what is not well formed. */
export function decode(frame: string, namespace: string): Packet | null {
  try {
    switch (frame[0]) {
      case "0": {
        const { pingInterval, pingTimeout } = JSON.parse(frame.slice(1)) as { pingInterval: number; pingTimeout: number };
        return { type: "open", pingMs: pingInterval + pingTimeout };
      }
      case "1":
        return { type: "close" };
      case "2":
        return { type: "ping" };
    }
    const head = MESSAGE.exec(frame);
    if (!head || head[3] !== namespace) return null;
    const rest = frame.slice(head[0].length);
    const data = rest ? (JSON.parse(rest) as unknown) : null;
    const [first, second] = Array.isArray(data) ? (data as unknown[]) : [];
    switch (head[1]) {
      case "0":
        return { type: "connected" };
      case "1":
        return { type: "close" };
      case "4":
        return { type: "refused", data };
      case "3":
        return { type: "ack", id: Number(head[4]), answer: first };
      case "2":
      case "5":
        return { type: "event", name: String(first), payload: second, binary: head[1] === "5" };
    }
  } catch {
    // not JSON: ignored, as unknown packets are
  }
  return null;
}

export const PONG = "3";
export const connect = (namespace: string, auth: unknown): string => `40${namespace},${JSON.stringify(auth)}`;

/** An event; with `id` an acknowledgement is asked for. */
export const event = (namespace: string, name: string, payload: unknown, id: number | "" = ""): string =>
  `42${namespace},${id}${JSON.stringify([name, payload])}`;

/** An event whose one argument is the binary frame sent next. */
export const binaryEvent = (namespace: string, name: string): string =>
  `451-${namespace},${JSON.stringify([name, { _placeholder: true, num: 0 }])}`;
