// Brings Swagger UI and ReDoc into dist, so that the documentation works with no other server: the packages come through
// npm, are checked against the digests below, and only the named files are unpacked. Does nothing when they are there.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const packages = [
  {
    name: "swagger-ui-dist",
    version: "5.35.0",
    integrity: "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
    files: ["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "LICENSE"],
  },
  {
    name: "redoc",
    version: "2.5.4",
    integrity: "sha512-M6jWhG1qoBnH6TFmzJnstyCZ87HmOY/UzDm78mHiYihEdlV/YcS9ogOo1NlElnJMeLsyxHFe2yFc4sNjHTrABQ==",
    files: ["bundles/redoc.standalone.js", "bundles/redoc.standalone.js.LICENSE.txt", "LICENSE"],
  },
];

for (const { name, version, integrity, files } of packages) {
  const folder = join(dist, name);
  const stamp = join(folder, "VERSION");
  if (existsSync(stamp) && readFileSync(stamp, "utf8").trim() === version) continue;
  const work = mkdtempSync(join(tmpdir(), "docs-"));
  try {
    const packed = execFileSync("npm", ["pack", `${name}@${version}`, "--silent", "--pack-destination", work]);
    const tarball = join(work, packed.toString().trim().split("\n").pop());
    const digest = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (digest !== integrity) throw new Error(`${name}@${version} is not the package that was reviewed: ${digest}`);
    execFileSync("tar", ["-xzf", tarball, "-C", work, ...files.map((file) => `package/${file}`)]);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const file of files) {
      const target = join(folder, file.split("/").pop());
      copyFileSync(join(work, "package", file), target);
      if (/\.(js|css)$/.test(file)) writeFileSync(`${target}.gz`, gzipSync(readFileSync(target), { level: 9 }));
    }
    writeFileSync(stamp, `${version}\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(`${name} ${version}`);
}
