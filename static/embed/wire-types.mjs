// Writes src/generated/wire.ts: the TypeScript types of the wire, from the JSON Schema that the server exports.
// The schema comes from the file named by MA_WIRE_SCHEMA, else from the repository's own Python environment.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const target = join(here, "src/generated/wire.ts");

function readSchema() {
  if (process.env.MA_WIRE_SCHEMA) return JSON.parse(readFileSync(process.env.MA_WIRE_SCHEMA, "utf8"));
  const venv = join(root, ".venv/bin/python");
  const python = existsSync(venv) ? venv : "python3";
  const program = "import json; from server.wire import json_schema; print(json.dumps(json_schema()))";
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

const schema = readSchema();
const events = schema["x-events"];
const types = await compile(
  { title: "WireRoot", type: "object", additionalProperties: false, ...downgrade({ $defs: schema.$defs }) },
  "WireRoot",
  { additionalProperties: false, unreachableDefinitions: true, bannerComment: "", format: false, strictIndexSignatures: false },
);
const text = [
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

mkdirSync(dirname(target), { recursive: true });
if (!existsSync(target) || readFileSync(target, "utf8") !== text) writeFileSync(target, text);
