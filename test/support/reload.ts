/** Another policy for a running Sallyport, and what it says of it. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { LogLine, Sallyport } from "./sallyport.ts";

export type Answered = { readonly status: number; readonly body: Readonly<Record<string, unknown>> };

/** A site policy as text, of which every rule is allowed from this machine. */
export function policyWith(rules: readonly object[], more: object = {}): string {
  return stringify({ version: 1, name: "site", rules, ...more });
}

/** Puts a file into the proxy's directory, whole at once. */
export async function replaceFile(proxy: Sallyport, text: string, name = "site.yaml"): Promise<void> {
  const path = join(proxy.directory, name);
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** `POST /-/reload`. */
export async function postReload(proxy: Sallyport, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  const response = await fetch(`http://127.0.0.1:${proxy.adminPort}/-/reload`, { method: "POST", headers });
  return { status: response.status, body: (await response.json()) as Answered["body"] };
}

/** What `GET` of the admin server answers. */
export async function ask(proxy: Sallyport, path: string): Promise<Answered> {
  const response = await fetch(`http://127.0.0.1:${proxy.adminPort}${path}`);
  return { status: response.status, body: (await response.json()) as Answered["body"] };
}

/** The line of a reload, the `number`-th from 1. */
export async function reloadLine(proxy: Sallyport, number = 1): Promise<LogLine> {
  const lines = (): LogLine[] => proxy.log.filter((line) => line["event"] === "reload");
  await proxy.logged(() => lines().length >= number);
  return lines()[number - 1]!;
}
