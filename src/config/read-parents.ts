/** `parents` of sallyport.yaml: which hosts go through which parent proxy, and the credentials that it asks for. */
import { parseAddress } from "../names/address.ts";
import { formatAuthority, parseAuthority } from "../names/authority.ts";
import { parsePattern } from "../policy/pattern.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { type Disk, readFailure } from "./disk.ts";
import type { RawSettings } from "./settings-schema.ts";
import type { ParentHosts, ParentProxy, ParentSettings } from "./settings.ts";
import type { YamlNode, YamlPath } from "./yaml-tree.ts";

type Context = {
  readonly disk: Disk;
  readonly root: YamlNode;
  readonly diagnostics: Diagnostics;
  /** Where a path that stands in the file leads. */
  readonly resolve: (path: string) => string;
};

type RawParent = NonNullable<RawSettings["parents"]>[number];

/** Reads them in their order. An entry without a parent that could be read is left out. */
export function readParents(context: Context, raw: readonly RawParent[]): ParentSettings[] {
  const { root, diagnostics } = context;
  let isAllTaken = false;
  return raw.flatMap((entry, i) => {
    const path = ["parents", i];
    if (isAllTaken) {
      diagnostics.value(root, [...path, "hosts"], "are never asked for: an entry above has *", undefined, "warning");
    }
    const hosts = (entry.hosts ?? []).flatMap((text, j) => readHosts(context, [...path, "hosts", j], text));
    isAllTaken ||= hosts.some((one) => one.kind === "any");
    const parent = readVia(context, [...path, "via"], entry.via);
    const authorization = readCredentials(context, [...path, "credentials_file"], entry.credentials_file);
    if (parent === undefined) return [];
    if (parent !== "direct") return { hosts, parent: { ...parent, authorization } };
    if (entry.credentials_file !== undefined)
      diagnostics.key(root, [...path, "credentials_file"], "has no parent to be shown to: via is direct");
    return { hosts, parent: undefined };
  });
}

function readHosts({ root, diagnostics }: Context, path: YamlPath, text: string): readonly ParentHosts[] {
  if (text === "*") return [{ kind: "any" }];
  const address = parseAddress(/^\[(.*)\]$/.exec(text)?.[1] ?? text);
  if (address !== undefined) return [{ kind: "address", text: address.text }];
  // A suffix of many owners is no danger here: nothing is allowed by it.
  const reading = parsePattern(text, true);
  if (reading.kind === "patterns") return reading.patterns;
  diagnostics.value(root, path, reading.message, reading.instead);
  return [];
}

function readVia(
  { root, diagnostics }: Context,
  path: YamlPath,
  text: string | undefined,
): Omit<ParentProxy, "authorization"> | "direct" | undefined {
  if (text === undefined) return undefined;
  if (text === "direct") return "direct";
  if (text.includes("@")) {
    // Shown at its key: the text holds a secret.
    diagnostics.key(root, path, "holds credentials, which belong in a file that credentials_file names");
    return undefined;
  }
  const [, scheme = "", named = "", slash = ""] = /^(?:([a-z]+):\/\/)?([^/]*)(\/?)$/i.exec(text) ?? [];
  const isSecure = scheme.toLowerCase() === "https";
  const authority = parseAuthority(named);
  const isKnown = isSecure || scheme === "" || scheme.toLowerCase() === "http";
  const url =
    authority === undefined ? directly(text) : `${isSecure ? "https" : "http"}://${formatAuthority(authority)}`;
  if (authority === undefined || url === undefined || !isKnown || scheme === "" || slash !== "") {
    const message = "is no parent proxy: http://host:port, https://host:port or direct is needed";
    diagnostics.value(root, path, message, isKnown ? url : undefined);
    return undefined;
  }
  return { url, isSecure, ...authority };
}

function directly(text: string): string | undefined {
  return text.toLowerCase() === "direct" ? "direct" : undefined;
}

/** `user:password` (RFC 7617 section 2), never shown, also not where it is at fault. */
function readCredentials(
  { disk, root, diagnostics, resolve }: Context,
  path: YamlPath,
  file: string | undefined,
): string | undefined {
  if (file === undefined) return undefined;
  const full = resolve(file);
  let text: string;
  try {
    text = disk.readFile(full).replace(/\r?\n$/, "");
    if (disk.isOpenToOthers?.(full) === true) {
      diagnostics.value(root, path, "is open to every user of this machine: chmod 640", undefined, "warning");
    }
  } catch (error) {
    diagnostics.value(root, path, `${readFailure(error)} (as ${full})`);
    return undefined;
  }
  if (!/^[^:\p{Cc}\ufffd]+:[^\p{Cc}\ufffd]*$/u.test(text)) {
    diagnostics.value(root, path, "does not hold user:password in one line");
    return undefined;
  }
  return `Basic ${Buffer.from(text, "utf8").toString("base64")}`;
}
