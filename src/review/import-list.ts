/** A firewall's allow-list, one entry a line, to a site policy: hosts, addresses and blocks, with or without ports. */
import { parseCidr } from "../names/address.ts";
import { parsePattern } from "../policy/pattern.ts";
import { slug, unique } from "./import-groups.ts";
import type { ImportFinding, Imported, ImportedRule, SourceLine } from "./import-report.ts";

type Entry = {
  readonly host: string;
  readonly kind: "host" | "address";
  readonly isShared: boolean;
  readonly expect: readonly string[];
};

/** Pure and total; what cannot be carried over is among the findings. `file` is how the list is called in them. */
export function importList(file: string, text: string): Imported {
  const findings: ImportFinding[] = [];
  const entries = new Map<string, Entry>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const [said = ""] = line.split(/(?:^|\s)(?:#|\/\/|;)/, 1);
    const at: SourceLine = { file, line: i + 1, text: said.trim() };
    if (at.text === "") continue;
    for (const entry of readEntry(at, findings)) {
      const key = `${entry.kind} ${entry.host}`;
      const known = entries.get(key);
      const expect = [...new Set([...(known?.expect ?? []), ...entry.expect])].sort();
      entries.set(key, { ...entry, expect: withoutDoubles(expect) });
    }
  }
  const groups = new Map<string, Entry[]>();
  for (const entry of entries.values()) {
    const key = JSON.stringify([entry.kind, entry.expect, entry.isShared]);
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  const ids = new Set<string>();
  const rules = [...groups.values()].map((group): ImportedRule => {
    const [first] = group;
    const expect = first?.expect ?? [];
    const names = group.map(({ host }) => host).sort();
    const isHost = first?.kind === "host";
    return {
      id: unique(slug(`${isHost ? "hosts" : "addresses"}-${expect.join("-")}`, "hosts"), ids),
      deny: false,
      hosts: isHost ? names : [],
      addresses: isHost ? [] : names,
      expect,
      methods: undefined,
      clients: undefined,
      resolvesTo: undefined,
      sharedSuffix: first?.isShared ?? false,
      comments: [isHost ? "names that clients ask for" : "only for clients that name the address itself"],
    };
  });
  return { groups: [], rules, findings: [...findings, ...general(rules)] };
}

/** A firewall judges the address that a name has; a proxy the name. */
function general(rules: readonly ImportedRule[]): readonly ImportFinding[] {
  const notes = [
    "a firewall opens an address for everything behind it, Sallyport the name that a client asks for: with https the TLS server name must agree",
    ...(rules.some(({ addresses }) => addresses.length > 0)
      ? [
          "addresses are for clients that ask for the address itself; clients that ask for a name need a rule for that name",
        ]
      : []),
    ...(rules.some(({ expect }) => expect.some((endpoint) => endpoint.startsWith("tcp:")))
      ? [
          "ports other than 80 and 443 became tcp:PORT, any bytes, as the firewall had it: write https:PORT or http:PORT where that is what is spoken",
        ]
      : []),
    "names may resolve to public addresses only: add resolves_to: [private] to rules for hosts of your own network",
  ];
  return notes.map((message) => ({ at: undefined, effect: "note", message }));
}

/**
 * `host`, `host:port`, `host 443,80`, `host tcp/443`, `*.host`, `.host`, `https://host/`, `10.0.0.0/8`, `[::1]:443`,
 * in any order of words.
 */
function readEntry(at: SourceLine, findings: ImportFinding[]): readonly Entry[] {
  const lose = (message: string): readonly Entry[] => {
    findings.push({ at, effect: "narrower", message });
    return [];
  };
  const [, scheme, bare = at.text] = /^(https?):\/\/(.*)$/i.exec(at.text) ?? [];
  const [first = "", ...more] = wordsOf(bare);
  const { host, port, path } = splitHost(first);
  if (path !== "" && path !== "/")
    findings.push({
      at,
      effect: "wider",
      message: `the path ${path} is not carried over: add paths to a rule of its own, for plain HTTP`,
    });
  const words = [...(port === undefined ? [] : [port]), ...more];
  const ports: number[] = [];
  for (const word of words) {
    const [, number = ""] = /^(?:tcp[/:])?(\d{1,5})(?:\/tcp)?$/i.exec(word) ?? [];
    if (number !== "" && Number(number) >= 1 && Number(number) <= 65_535) ports.push(Number(number));
    else if (/udp/i.test(word)) lose(`${word}: UDP does not go through an HTTP proxy; leave it to the firewall`);
    else if (/^https?$/i.test(word)) ports.push(word.toLowerCase() === "https" ? 443 : 80);
    else lose(`${word} is no port of its own; ranges have to be named one by one`);
  }
  if (words.length > 0 && ports.length === 0) return [];
  const expect = ports.length > 0 ? ports.map((number) => endpointOf(number, scheme)) : defaultsOf(scheme);
  const cidr = parseCidr(host);
  if (!("problem" in cidr)) {
    if (cidr.prefix === 0) return lose(`${host} is every address: name what your agents need`);
    return [
      {
        host: cidr.prefix === cidr.bytes.length * 8 ? cidr.text.replace(/\/\d+$/, "") : cidr.text,
        kind: "address",
        isShared: false,
        expect,
      },
    ];
  }
  if (/^[\d.:/a-f]+\/\d+$/i.test(host)) return lose(`${host} ${cidr.problem}`);
  const pattern = host.startsWith(".") ? `*${host}` : host;
  const reading = parsePattern(pattern, false);
  const shared = reading.kind === "problem" ? parsePattern(pattern, true) : reading;
  if (shared.kind === "problem") {
    const instead = shared.instead === undefined ? "" : `; for example ${shared.instead}`;
    return lose(`${host} ${shared.message}${instead}`);
  }
  const isShared = reading.kind === "problem";
  if (isShared)
    findings.push({
      at,
      effect: "note",
      message: `below ${host} anyone can rent a name: list the names that you need in its place`,
    });
  return shared.patterns.map(({ text }) => ({ host: text, kind: "host", isShared, expect }));
}

/** A glob keeps its commas; its port is what stands behind its last colon. */
function wordsOf(text: string): readonly string[] {
  const [, glob, rest = ""] = /^(glob:\S+)(.*)$/.exec(text) ?? [];
  const words = (glob === undefined ? text : rest).split(/[\s,;]+/);
  return [...(glob === undefined ? [] : [glob]), ...words].filter(
    (word) => word !== "" && !/^(allow|permit|accept|any|->|tcp)$/i.test(word),
  );
}

type SplitHost = { readonly host: string; readonly port: string | undefined; readonly path: string };

/** Of `https://host:8443/path` without its scheme, or of `10.0.0.0/8:443`. An IPv6 block has colons and no port. */
function splitHost(text: string): SplitHost {
  if (!("problem" in parseCidr(text))) return { host: text, port: undefined, path: "" };
  const [, block, blockPort] = /^(\d+\.\d+\.\d+\.\d+\/\d{1,2})(?::(\d+))?$/.exec(text) ?? [];
  if (block !== undefined) return { host: block, port: blockPort, path: "" };
  const [, glob, globPort] = /^(glob:[^:]*)(?::(\d+))?$/.exec(text) ?? [];
  if (glob !== undefined) return { host: glob, port: globPort, path: "" };
  const slash = text.indexOf("/");
  const authority = slash < 0 ? text : text.slice(0, slash);
  const path = slash < 0 ? "" : text.slice(slash);
  const [, inBrackets, bracketPort] = /^\[([^\]]*)\](?::(.*))?$/.exec(authority) ?? [];
  if (inBrackets !== undefined) return { host: inBrackets, port: bracketPort, path };
  const colon = authority.lastIndexOf(":");
  return colon < 0
    ? { host: authority, port: undefined, path }
    : { host: authority.slice(0, colon), port: authority.slice(colon + 1), path };
}

function endpointOf(port: number, scheme: string | undefined): string {
  const named = scheme?.toLowerCase() ?? (port === 80 ? "http" : port === 443 ? "https" : "tcp");
  const isImplied = (named === "http" && port === 80) || (named === "https" && port === 443);
  return isImplied ? named : `${named}:${port}`;
}

function defaultsOf(scheme: string | undefined): readonly string[] {
  return scheme === undefined ? ["http", "https"] : [scheme.toLowerCase()];
}

/** One port cannot be both: with https its bytes are judged, so tcp gives way. */
function withoutDoubles(expect: readonly string[]): readonly string[] {
  const https = new Set(expect.flatMap((one) => (one.startsWith("https") ? [one.slice(6) || "443"] : [])));
  return expect.filter((one) => !one.startsWith("tcp:") || !https.has(one.slice(4)));
}
