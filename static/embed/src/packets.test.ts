// The Socket.IO codec, against frames as the protocol's documentation and python-socketio write them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { binaryEvent, connect, decode, event } from "./packets.ts";

const read = (frame: string) => decode(frame, "/chat");

test("the engine's open gives the time after which silence means that the peer is gone", () => {
  assert.deepEqual(read('0{"sid":"a","upgrades":[],"pingTimeout":20000,"pingInterval":25000}'), { type: "open", pingMs: 45000 });
});

test("ping and close are one digit", () => {
  assert.deepEqual(read("2"), { type: "ping" });
  assert.deepEqual(read("1"), { type: "close" });
});

test("joining the namespace carries the token, and is answered or refused with data", () => {
  assert.equal(connect("/chat", { token: "t" }), '40/chat,{"token":"t"}');
  assert.deepEqual(read('40/chat,{"sid":"b"}'), { type: "connected" });
  assert.deepEqual(read('44/chat,{"message":"no","data":{"code":"FORBIDDEN"}}'), { type: "refused", data: { message: "no", data: { code: "FORBIDDEN" } } });
});

test("an event is a name and one payload", () => {
  assert.equal(event("/chat", "say", { id: "x" }, 3), '42/chat,3["say",{"id":"x"}]');
  assert.equal(event("/chat", "ack", { seq: 1 }), '42/chat,["ack",{"seq":1}]');
  assert.deepEqual(read('42/chat,["txt",{"d":"1,2"}]'), { type: "event", name: "txt", payload: { d: "1,2" }, binary: false });
});

test("an event with bytes is announced by its text frame", () => {
  assert.equal(binaryEvent("/chat", "mic"), '451-/chat,["mic",{"_placeholder":true,"num":0}]');
  assert.deepEqual(read('451-/chat,["audio",{"_placeholder":true,"num":0}]'), {
    type: "event", name: "audio", payload: { _placeholder: true, num: 0 }, binary: true,
  });
});

test("an acknowledgement names its event, also when it is empty", () => {
  assert.deepEqual(read('43/chat,12[{"ok":true}]'), { type: "ack", id: 12, answer: { ok: true } });
  assert.deepEqual(read("43/chat,0[]"), { type: "ack", id: 0, answer: undefined });
});

test("leaving the namespace is a close; other namespaces and broken frames are ignored", () => {
  assert.deepEqual(read("41/chat,"), { type: "close" });
  assert.equal(read('42/console,["txt",{}]'), null);
  assert.equal(read('42/chat,["txt"'), null);
  assert.equal(read(""), null);
});
