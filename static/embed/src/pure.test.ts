// What decides by itself stays free of sockets, audio and the page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const PURE = ["connection", "mouth", "turn", "tape", "packets", "playout", "media"];
const ALLOWED = new Set([...PURE, "generated/wire", "generated/visemes"]);
const SHELLS = /\b(document|window|localStorage|navigator|WebSocket|AudioContext|fetch|setTimeout|performance|Date|Math\.random)\b[.(]/;

for (const name of PURE) {
  test(`${name}.ts knows no socket, no sound, no page and no clock`, () => {
    const source = readFileSync(new URL(`./${name}.ts`, import.meta.url), "utf8");
    const imports = [...source.matchAll(/from "\.\/([^"]+)"/g)].map((match) => match[1]!.replace(/\.ts$/, ""));
    assert.deepEqual(imports.filter((path) => !ALLOWED.has(path)), []);
    const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
    assert.equal(SHELLS.exec(code)?.[0], undefined);
  });
}
