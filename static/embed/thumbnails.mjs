// Draws the portrait of every built avatar, avatars/dist/<id>.png, by the widget's own stage in headless Chromium:
// `node static/embed/thumbnails.mjs`. What is newer than its avatar and the widget is left alone.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const avatars = join(here, "../../avatars/dist");
const manifest = join(here, "dist/manifest.json");
const parts = join(here, "dist", JSON.parse(readFileSync(manifest, "utf8")).base);
const chromium = process.env["MA_TEST_CHROMIUM"] || "chromium";
const DEADLINE_MS = 180_000;
const FLAGS = [
  "--headless=new", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1100,1100",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
];

/** Runs in the page: lets the avatar settle into a smile, then gives its picture, drawn twice as large as it is kept, over a backdrop. */
async function portrait(id) {
  const SIZE = 512;
  const FRAMES = 9;
  const { createStage } = await import("/parts/stage.js");
  const canvas = document.querySelector("canvas");
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const stage = await createStage(canvas, { glbUrl: `/avatars/${id}.glb`, quality: "high", backdrop: null, random });
  stage.cue({ rid: 0, t: 0, type: "emotion", name: "warmth", amp: 0.8, dur: 60_000 });
  const out = new OffscreenCanvas(SIZE, SIZE);
  const paint = out.getContext("2d");
  paint.imageSmoothingQuality = "high";
  // The stage asks for its frames first, so its picture is fresh when this one runs.
  while (stage.probe().frame < FRAMES) await new Promise((done) => requestAnimationFrame(done));
  const light = paint.createRadialGradient(SIZE / 2, SIZE * 0.38, 0, SIZE / 2, SIZE * 0.38, SIZE * 0.8);
  light.addColorStop(0, "#f6f4f1");
  light.addColorStop(0.5, "#dfe3ee");
  light.addColorStop(1, "#aab6d3");
  paint.fillStyle = light;
  paint.fillRect(0, 0, SIZE, SIZE);
  paint.drawImage(canvas, 0, 0, SIZE, SIZE);
  return out.convertToBlob({ type: "image/png" });
}

const PAGE = (id) => `<!doctype html><link rel="icon" href="data:,"><style>body{margin:0}canvas{width:1024px;height:1024px}</style><canvas></canvas>
<script type="module">const send = (path, body) => fetch(path, { method: "POST", body });
(${portrait})(${JSON.stringify(id)}).then((png) => send("/done", png), (error) => send("/failed", String(error)));</script>`;

/** The PNG of one avatar; rejects when Chromium does not send it in time. */
function draw(id) {
  return new Promise((resolve, reject) => {
    const profile = mkdtempSync(join(tmpdir(), "thumbnail-"));
    let browser;
    const finish = (settle, value) => {
      clearTimeout(timer);
      server.close();
      server.closeAllConnections();
      // Chromium's children may still write for a moment; a folder left in the temporary directory is no reason to fail.
      browser?.once("exit", () => {
        try {
          rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
        } catch (error) {
          console.warn(`${profile} could not be removed: ${error.message}`);
        }
      });
      browser?.kill();
      settle(value);
    };
    const timer = setTimeout(() => finish(reject, new Error(`no picture of ${id} within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url, "http://localhost");
      if (request.method === "POST") {
        const chunks = [];
        request.on("data", (chunk) => chunks.push(chunk));
        request.on("end", () => {
          response.end();
          const body = Buffer.concat(chunks);
          if (pathname === "/done") finish(resolve, body);
          else finish(reject, new Error(`${id}: ${body}`));
        });
        return;
      }
      if (pathname === "/") return response.writeHead(200, { "Content-Type": "text/html" }).end(PAGE(id));
      const file = pathname.startsWith("/parts/") ? join(parts, pathname.slice(7)) : join(avatars, pathname.slice(9));
      if (!existsSync(file)) return response.writeHead(404).end();
      const type = file.endsWith(".js") ? "text/javascript" : "model/gltf-binary";
      response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
    });
    server.listen(0, "localhost", () => {
      browser = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, `http://localhost:${server.address().port}/`], { stdio: "ignore" });
      browser.once("error", (error) => finish(reject, error));
    });
  });
}

for (const name of readdirSync(avatars).filter((file) => file.endsWith(".glb")).sort()) {
  const id = name.slice(0, -4);
  const file = join(avatars, `${id}.png`);
  const made = Math.max(statSync(join(avatars, name)).mtimeMs, statSync(join(parts, "stage.js")).mtimeMs);
  if (existsSync(file) && statSync(file).mtimeMs > made) continue;
  const png = await draw(id);
  writeFileSync(file, png);
  console.log(`${id}.png ${Math.round(png.length / 1024)} kB`);
}
