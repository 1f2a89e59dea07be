/** sallyport.yaml, flags and environment in, settings with every value present out. */
import { dirname, isAbsolute, join } from "node:path";
import { parseAddress } from "../names/address.ts";
import { parseHostname } from "../names/hostname.ts";
import { type Diagnostics, createDiagnostics } from "./diagnostics.ts";
import { type Disk, readFailure } from "./disk.ts";
import type { Problem } from "./problem.ts";
import {
  type AddressReading,
  parseConnectTo,
  parseListenAddress,
  parseOtherwise,
  parseServer,
} from "./read-address.ts";
import type { GroupReference } from "./read-groups.ts";
import { readParents } from "./read-parents.ts";
import { readListeners } from "./read-listeners.ts";
import { judge } from "./schema-problems.ts";
import { type RawSettings, settingsRemainder, settingsSchema, settingsVocabulary } from "./settings-schema.ts";
import type { HostsEntry, Limits, Settings } from "./settings.ts";
import { placeAt } from "./source-text.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.ts";
import { parseYaml, problemOfFile } from "./yaml.ts";
import { type YamlNode, type YamlPath, nodeAt } from "./yaml-tree.ts";

/** All defaults of sallyport.yaml (interface.md). An empty `policy` is the one that ships with the program. */
export const defaultSettings: Settings = {
  listen: [
    {
      kind: "proxy",
      address: { host: "127.0.0.1", port: 3128 },
      clients: null,
      port: 443,
      tls: undefined,
      proxyProtocol: null,
      auth: undefined,
    },
  ],
  admin: { address: { host: "127.0.0.1", port: 9180 }, names: [], token: undefined },
  policy: [],
  workers: 1,
  via: "auto",
  dns: { servers: [], hosts: [], timeoutMs: 5000, negativeTtlMs: 5000 },
  connectTo: [],
  parents: [],
  limits: {
    connections: 20_000,
    perClient: 1000,
    headBytes: 32 * 1024,
    fields: 128,
    headTimeoutMs: 10_000,
    helloBytes: 64 * 1024,
    helloTimeoutMs: 10_000,
    dialTimeoutMs: 10_000,
    responseHeadTimeoutMs: 60_000,
    bodyIdleTimeoutMs: 120_000,
    keepaliveTimeoutMs: 65_000,
    drainTimeoutMs: 30_000,
  },
  reload: { watch: true, onRevoke: "keep" },
  log: { level: "info", allowed: true, paths: false, file: "-" },
  denials: { explain: "full", top: 20 },
  pac: { otherwise: "proxy" },
};

export type SettingsReading = {
  readonly settings: Settings;
  /** Groups that listeners name, to be checked once the policy is read. */
  readonly groupReferences: readonly GroupReference[];
};

/** Reads the file, if there is one. What has a problem keeps its default, and every problem is added to `problems`. */
export function readSettings(
  disk: Disk,
  path: string | undefined,
  problems: Problem[],
  nowMs: number,
): SettingsReading {
  const nothing = { settings: defaultSettings, groupReferences: [] };
  if (path === undefined) return nothing;
  let content: string;
  try {
    content = disk.readFile(path);
  } catch (error) {
    problems.push(problemOfFile(path, readFailure(error)));
    return nothing;
  }
  const reading = parseYaml(path, content);
  problems.push(...reading.problems);
  if (reading.file === undefined) return nothing;
  const judged = judge(reading.file, settingsSchema, settingsRemainder, settingsVocabulary);
  problems.push(...judged.problems);
  if (judged.value === undefined) return nothing;
  const diagnostics = createDiagnostics(reading.file.source, problems);
  const context = { disk, path, root: judged.root, diagnostics, problems, nowMs };
  return readAll(context, judged.value);
}

type Context = {
  readonly disk: Disk;
  readonly path: string;
  readonly root: YamlNode;
  readonly diagnostics: Diagnostics;
  readonly problems: Problem[];
  readonly nowMs: number;
};

function readAll(context: Context, raw: RawSettings): SettingsReading {
  const { path } = context;
  const defaults = defaultSettings;
  const listen = readListeners({ ...context, resolve: (file) => besideFile(path, file) }, raw);
  const pac = listen.findIndex(({ kind }) => kind === "pac");
  if (pac >= 0 && !listen.some(({ kind }) => kind === "proxy"))
    context.diagnostics.value(
      context.root,
      ["listen", pac, "kind"],
      "has no listener of kind proxy that it could name",
    );
  const admin = readAdmin(context, raw);
  const policy = (raw.policy ?? []).map((file) => besideFile(path, file));
  const settings: Settings = {
    listen: listen.length === 0 ? defaults.listen : listen,
    admin,
    policy,
    workers: raw.workers ?? defaults.workers,
    via: raw.via ?? defaults.via,
    dns: {
      servers: (raw.dns?.servers ?? []).flatMap((text, i) =>
        readText(context, ["dns", "servers", i], text, parseServer),
      ),
      hosts: readHosts(context, raw),
      timeoutMs: readDuration(context, ["dns", "timeout"], raw.dns?.timeout, 100, minute) ?? defaults.dns.timeoutMs,
      negativeTtlMs:
        readDuration(context, ["dns", "negative_ttl"], raw.dns?.negative_ttl, 0, hour) ?? defaults.dns.negativeTtlMs,
    },
    connectTo: (raw.connect_to ?? []).flatMap((text, i) => readText(context, ["connect_to", i], text, parseConnectTo)),
    parents: readParents({ ...context, resolve: (file) => besideFile(path, file) }, raw.parents ?? []),
    limits: readLimits(context, raw.limits ?? {}),
    reload: {
      watch: raw.reload?.watch ?? defaults.reload.watch,
      onRevoke: raw.reload?.on_revoke ?? defaults.reload.onRevoke,
    },
    log: {
      level: raw.log?.level ?? defaults.log.level,
      allowed: raw.log?.allowed ?? defaults.log.allowed,
      paths: raw.log?.paths ?? defaults.log.paths,
      file: raw.log?.file === undefined ? defaults.log.file : logFile(path, raw.log.file),
    },
    denials: {
      explain: raw.denials?.explain ?? defaults.denials.explain,
      top: raw.denials?.top ?? defaults.denials.top,
    },
    pac: {
      otherwise:
        raw.pac?.otherwise === undefined
          ? defaults.pac.otherwise
          : (readText(context, ["pac", "otherwise"], raw.pac.otherwise, parseOtherwise)[0] ?? defaults.pac.otherwise),
    },
  };
  return { settings, groupReferences: referencesOf(context, raw) };
}

/** A path that stands in a file is relative to that file. */
function besideFile(file: string, path: string): string {
  return isAbsolute(path) ? path : join(dirname(file), path);
}

function logFile(file: string, path: string): string {
  return path === "-" ? path : besideFile(file, path);
}

function readText<T>(context: Context, path: YamlPath, text: string, parse: (text: string) => AddressReading<T>): T[] {
  const reading = parse(text);
  if (reading.kind === "value") return [reading.value];
  context.diagnostics.value(context.root, path, reading.message, reading.instead);
  return [];
}

function referencesOf({ root, diagnostics }: Context, raw: RawSettings): GroupReference[] {
  return (raw.listen ?? []).flatMap((listener, i) =>
    (listener.clients ?? []).map((name, j) => ({
      name,
      place: placeAt(diagnostics.source, nodeAt(root, ["listen", i, "clients", j])?.start ?? 0),
    })),
  );
}

const minTokenLength = 16;

function readAdmin(context: Context, raw: RawSettings): Settings["admin"] {
  const { admin } = defaultSettings;
  const [address = admin.address] =
    raw.admin?.address === undefined
      ? []
      : readText(context, ["admin", "address"], raw.admin.address, parseListenAddress);
  const names = (raw.admin?.names ?? []).flatMap((text, i) => {
    const name = parseHostname(text);
    if (name !== undefined) return [name];
    context.diagnostics.value(context.root, ["admin", "names", i], "is no host name");
    return [];
  });
  return { address, names, token: readToken(context, raw.admin?.token_file) };
}

/** The token is never shown, also not where it is at fault. */
function readToken({ disk, path, root, diagnostics }: Context, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const at = ["admin", "token_file"];
  const full = besideFile(path, file);
  let token: string;
  try {
    token = disk.readFile(full).trim();
  } catch (error) {
    diagnostics.value(root, at, `${readFailure(error)} (as ${full})`);
    return undefined;
  }
  if (token.length < minTokenLength)
    diagnostics.value(root, at, `holds a token of fewer than ${minTokenLength} characters`);
  else if (!/^[!-~]+$/.test(token))
    diagnostics.value(root, at, "holds more than one line of printable ASCII without blanks");
  return token;
}

function readHosts(context: Context, raw: RawSettings): HostsEntry[] {
  const seen = new Map<string, string>();
  return Object.entries(raw.dns?.hosts ?? {}).flatMap(([key, given]) => {
    const path = ["dns", "hosts", key];
    const wildcard = key.startsWith("*.");
    const name = parseHostname(wildcard ? key.slice(2) : key);
    const addresses = [given].flat().flatMap((text, i) => {
      const address = parseAddress(text);
      if (address === undefined)
        context.diagnostics.value(context.root, typeof given === "string" ? path : [...path, i], "is no IP address");
      return address ?? [];
    });
    if (name === undefined) {
      context.diagnostics.key(context.root, path, "is no host name and no *.name");
      return [];
    }
    const canonical = wildcard ? `*.${name}` : name;
    const first = seen.get(canonical);
    if (first !== undefined) context.diagnostics.key(context.root, path, `is the same name as ${first}`);
    seen.set(canonical, key);
    return { name, wildcard, addresses };
  });
}

const minute = 60_000;
const hour = 60 * minute;

type LimitKey = Exclude<keyof NonNullable<RawSettings["limits"]>, "connections" | "per_client" | "fields">;
/** Key, name, smallest and largest value: below, nothing works; above, a slow client holds a place for ever. */
const timeouts = [
  ["head_timeout", "headTimeoutMs", 100, hour],
  ["hello_timeout", "helloTimeoutMs", 100, hour],
  ["dial_timeout", "dialTimeoutMs", 100, 10 * minute],
  ["response_head_timeout", "responseHeadTimeoutMs", 100, 24 * hour],
  ["body_idle_timeout", "bodyIdleTimeoutMs", 100, 24 * hour],
  ["keepalive_timeout", "keepaliveTimeoutMs", 100, 24 * hour],
  ["drain_timeout", "drainTimeoutMs", 0, hour],
] as const satisfies readonly (readonly [LimitKey, keyof Limits, number, number])[];
const sizes = [
  ["head", "headBytes", 4 * 1024, 1024 * 1024],
  ["hello", "helloBytes", 4 * 1024, 256 * 1024],
] as const satisfies readonly (readonly [LimitKey, keyof Limits, number, number])[];

function readLimits(context: Context, raw: NonNullable<RawSettings["limits"]>): Limits {
  const defaults = defaultSettings.limits;
  const given: Partial<Record<keyof Limits, number>> = {};
  for (const [key, name, least, most] of timeouts) {
    given[name] = readDuration(context, ["limits", key], raw[key], least, most) ?? defaults[name];
  }
  for (const [key, name, least, most] of sizes) {
    given[name] = readBounded(context, ["limits", key], raw[key], parseSize, formatSize, least, most) ?? defaults[name];
  }
  return {
    ...defaults,
    ...given,
    connections: raw.connections ?? defaults.connections,
    perClient: raw.per_client ?? defaults.perClient,
    fields: raw.fields ?? defaults.fields,
  };
}

function readDuration(
  context: Context,
  path: YamlPath,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  return readBounded(context, path, text, parseDuration, formatDuration, least, most);
}

function readBounded(
  { root, diagnostics }: Context,
  path: YamlPath,
  text: string | undefined,
  parse: (text: string) => number | undefined,
  format: (value: number) => string,
  least: number,
  most: number,
): number | undefined {
  const value = text === undefined ? undefined : parse(text);
  if (value === undefined) return undefined;
  if (value < least) diagnostics.value(root, path, `is too small: at least ${format(least)}`, format(least));
  if (value > most) diagnostics.value(root, path, `is too large: at most ${format(most)}`, format(most));
  return value;
}
