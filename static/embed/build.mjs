// Builds the widget into dist: widget.js (the loader), w/<build>/ (its immutable parts), manifest.json (sizes). With
// --check nothing is written but the size budgets are enforced.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const src = join(here, "src");
const dist = join(here, "dist");
const checking = process.argv.includes("--check");
const readable = process.argv.includes("--readable");

/** Gzip kilobytes (1,000 bytes); each part counts only what the parts before it have not already brought. */
const budgets = { loader: 4, text: 35, voice: 15, stage: 180 };

if (!checking) await import("./wire-types.mjs");

/** A stylesheet is a minified string: it reaches the page by adoptedStyleSheets, never by a style element. */
const css = {
  name: "css-text",
  setup(esbuild) {
    esbuild.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(readFileSync(path, "utf8"), { loader: "css", minify: !readable, target: "chrome111" });
      return { contents: `export default ${JSON.stringify(code.trim())}`, loader: "js" };
    });
  },
};

/** Socket.IO's polling and WebTransport are never used: the engine is given its websocket alone. */
const websocketOnly = {
  name: "websocket-only",
  setup(esbuild) {
    esbuild.onLoad({ filter: /engine\.io-client[\\/]build[\\/]esm[\\/]transports[\\/]index\.js$/ }, () => ({
      contents: 'import { WS } from "./websocket.js"; export const transports = { websocket: WS };',
      loader: "js",
    }));
  },
};

const common = {
  bundle: true,
  write: false,
  minify: !readable,
  target: ["chrome111", "firefox113", "safari16.4"],
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
  plugins: [css, websocketOnly],
  metafile: true,
};

const stage = join(src, "stage/index.ts");
const entries = { panel: join(src, "panel.ts"), voice: join(src, "voice.ts") };
if (existsSync(stage)) entries.stage = stage;
const parts = await build({
  ...common,
  entryPoints: entries,
  outdir: join(dist, "w"),
  format: "esm",
  splitting: true,
  entryNames: "[name]",
  chunkNames: "part-[hash]",
});
const worklet = await build({
  ...common,
  entryPoints: { worklet: join(src, "worklet.ts") },
  outdir: join(dist, "w"),
  format: "esm",
});

const files = [...parts.outputFiles, ...worklet.outputFiles].map((file) => ({ name: basename(file.path), text: file.contents }));
const digest = createHash("sha256");
for (const file of files.sort((a, b) => a.name.localeCompare(b.name))) digest.update(file.name).update(file.text);
const id = digest.digest("hex").slice(0, 12);

const loader = await build({
  ...common,
  entryPoints: { widget: join(src, "loader.ts") },
  outdir: dist,
  format: "iife",
  define: { __BUILD__: JSON.stringify(id) },
});
const loaderBytes = loader.outputFiles[0].contents;

const gzip = (bytes) => gzipSync(bytes, { level: 9 }).length;
const sizes = Object.fromEntries(files.map((file) => [file.name, { bytes: file.text.length, gzip: gzip(file.text) }]));

/** The files that loading `entry` brings, itself and its static imports. */
function closure(entry) {
  const outputs = Object.entries(parts.metafile.outputs);
  const seen = new Set();
  const visit = (name) => {
    if (seen.has(name)) return;
    seen.add(name);
    const output = outputs.find(([path]) => basename(path) === name)?.[1];
    for (const item of output?.imports ?? []) if (item.kind === "import-statement") visit(basename(item.path));
  };
  visit(entry);
  return seen;
}

const known = new Set();
const added = (names) => {
  let total = 0;
  for (const name of names) {
    if (known.has(name)) continue;
    known.add(name);
    total += sizes[name].gzip;
  }
  return total;
};
const used = { loader: gzip(loaderBytes) };
const languages = Object.entries(parts.metafile.outputs)
  .filter(([, output]) => output.entryPoint?.includes("/locales/"))
  .map(([path]) => sizes[basename(path)].gzip);
used.text = used.loader + added(closure("panel.js")) + Math.max(...languages);
used.voice = added([...closure("voice.js"), "worklet.js"]);
if (entries.stage) used.stage = added(closure("stage.js"));

let over = false;
for (const [part, bytes] of Object.entries(used)) {
  const limit = budgets[part] * 1000;
  over ||= bytes > limit;
  console.log(`${part.padEnd(7)}${(bytes / 1000).toFixed(2).padStart(8)} kB gzip of ${budgets[part]}${bytes > limit ? "  OVER BUDGET" : ""}`);
}

if (!checking) {
  const folder = join(dist, "w", id);
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of files) writeFileSync(resolve(folder, file.name), file.text);
  writeFileSync(join(dist, "widget.js"), loaderBytes);
  const loaderSize = { bytes: loaderBytes.length, gzip: used.loader };
  const manifest = { build: id, loader: { file: "widget.js", ...loaderSize }, base: `w/${id}/`, files: sizes, gzip: used, budgets };
  writeFileSync(join(dist, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
}
if (over) {
  console.error("the widget is larger than its budget");
  process.exit(1);
}
