/** The files of the console as the admin server answers them, read once: no path that is asked for touches the disk. */
import { readFileSync, readdirSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

export type ConsoleFile = {
  /** `/`, or below `/console/`. */
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
};

/** Scripts, styles and data from this server only, nothing inline, no text that becomes markup, no frame around it. */
const contentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const types: ReadonlyMap<string, string> = new Map([
  [".html", "text/html; charset=utf-8"],
  [".css", "text/css; charset=utf-8"],
  [".js", "text/javascript; charset=utf-8"],
  [".svg", "image/svg+xml"],
]);

/**
 * They hold no data, and scripts and styles are loaded without a token: the gate lets them pass without one. Names are
 * letters and hyphens: what routes a request resolves dots, so that `/console/../api/policy` would be another path there.
 */
export function isConsolePath(path: string): boolean {
  return /^\/(?:console\/[a-z-]+\.(?:css|js|svg))?$/.test(path);
}

/** Throws where the program is not whole. Scripts are there once they are compiled: beside the sources there are none. */
export function readConsole(): readonly ConsoleFile[] {
  const directory = fileURLToPath(new URL("./console/", import.meta.url));
  const names = readdirSync(directory).filter((name) => types.has(extname(name)));
  if (!names.includes("index.html")) throw new Error(`${directory}index.html is missing: the program is not whole`);
  return names.map((name) => ({
    path: name === "index.html" ? "/" : `/console/${name}`,
    bytes: new Uint8Array(readFileSync(`${directory}${name}`)),
    headers: { "content-type": types.get(extname(name)) ?? "", "content-security-policy": contentPolicy },
  }));
}
