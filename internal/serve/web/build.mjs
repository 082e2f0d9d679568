// Builds dist, which is what the server embeds: `npm ci && npm run build`.
import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
await mkdir("dist", { recursive: true });
await build({
  entryPoints: ["src/main.ts", "src/style.css"],
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
});
await cp("src/index.html", "dist/index.html");
await cp("node_modules/openseadragon/build/openseadragon/openseadragon.min.js", "dist/openseadragon.min.js");
// Without the line that points to a source map, which is not served.
const osd = await readFile("dist/openseadragon.min.js", "utf8");
await writeFile("dist/openseadragon.min.js", osd.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
let licences = "The viewer contains:\n";
for (const [name, file] of [["openseadragon", "LICENSE.txt"], ["flatbush", "LICENSE"], ["flatqueue", "LICENSE"]]) {
  const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
  licences += `\n${name} ${version}\n\n${await readFile(`node_modules/${name}/${file}`, "utf8")}`;
}
await writeFile("dist/LICENSES.txt", licences);
