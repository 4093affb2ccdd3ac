// Writes src/generated: wire.ts, the TypeScript types of the wire, from the JSON Schema that the server exports, and
// visemes.ts, the server's table of mouth shapes.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const generated = join(here, "src/generated");

/** What the server knows: the wire's schema, the visemes' names, and each viseme as [ARKit shape, weight]. */
function readServer() {
  const venv = join(root, ".venv/bin/python");
  const python = existsSync(venv) ? venv : "python3";
  const program = `
import json
from pipelines.core.visemes import ARKIT_52, ARKIT_OF_OCULUS, OCULUS_15
from server.wire import json_schema
shapes = [[[ARKIT_52[i], round(float(row[i]), 3)] for i in row.nonzero()[0]] for row in ARKIT_OF_OCULUS]
print(json.dumps({"schema": json_schema(), "visemes": OCULUS_15, "shapes": shapes}))`;
  return JSON.parse(execFileSync(python, ["-c", program], { cwd: root, encoding: "utf8", maxBuffer: 1 << 24 }));
}

/** The 2020-12 keywords that the generator does not read, said in draft 4; property titles dropped so that only models are named. */
function downgrade(node, isModel = false) {
  if (Array.isArray(node)) return node.map((item) => downgrade(item));
  if (node === null || typeof node !== "object") return node;
  if (typeof node.$ref === "string") return { $ref: node.$ref.replace("#/$defs/", "#/definitions/") };
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === "title" && !isModel && typeof value === "string") continue;
    if (key === "prefixItems") out.items = value.map((item) => downgrade(item));
    else if (key === "properties" || key === "$defs") {
      const entries = Object.entries(value).map(([name, schema]) => [name, downgrade(schema, key === "$defs")]);
      out[key === "$defs" ? "definitions" : key] = Object.fromEntries(entries);
    } else out[key] = downgrade(value);
  }
  return out;
}

/** An interface from event names to the types of their payloads. */
const mapOf = (name, events) =>
  `export interface ${name} {\n${Object.entries(events)
    .map(([event, type]) => `  ${JSON.stringify(event)}: ${type};`)
    .join("\n")}\n}\n`;

const { schema, visemes, shapes } = readServer();
const events = schema["x-events"];
const types = await compile(
  { title: "WireRoot", type: "object", additionalProperties: false, ...downgrade({ $defs: schema.$defs }) },
  "WireRoot",
  { additionalProperties: false, unreachableDefinitions: true, bannerComment: "", format: false, strictIndexSignatures: false },
);
const wire = [
  "// The wire's types, made from server/wire.py by wire-types.mjs; do not edit.",
  types
    .replace(/export interface WireRoot \{\}?[\s\S]*?\n?\}\n/, "")
    .replace(/\/\*\*\n(?: \*[^\n]*\n)*? \* This interface was referenced by [\s\S]*?\*\/\n/g, "")
    .trim(),
  mapOf("ClientEvents", events.client),
  mapOf("ServerEvents", events.server),
  mapOf("ClientAcks", events.ack),
  `export const VERSION = ${schema.version};\n`,
].join("\n\n");

const mouths = `// The server's mouth shapes, made from pipelines/core/visemes.py by wire-types.mjs; do not edit.

export const VISEMES = ${JSON.stringify(visemes)} as const;

/** Each viseme at full weight as ARKit shapes. */
export const SPOKEN: Readonly<Record<(typeof VISEMES)[number], Readonly<Record<string, number>>>> = {
${visemes.map((name, i) => `  ${name}: ${JSON.stringify(Object.fromEntries(shapes[i]))},`).join("\n")}
};
`;

mkdirSync(generated, { recursive: true });
for (const [name, text] of [["wire.ts", wire], ["visemes.ts", mouths]]) {
  const target = join(generated, name);
  if (!existsSync(target) || readFileSync(target, "utf8") !== text) writeFileSync(target, text);
}
