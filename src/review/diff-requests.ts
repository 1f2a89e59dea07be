/** The ways in which a host is asked for, to tell two rulesets apart: endpoints, and what varies on plain HTTP. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { HttpFacts, RequestFacts } from "../policy/decide.ts";
import type { Endpoint } from "../policy/rule.ts";

/** A request without its host. */
export type AskedRequest = Pick<RequestFacts, "kind" | "port" | "http"> & {
  /** In words. */
  readonly request: string;
  /** The plain request that this one is a variation of; the request itself where it is none. */
  readonly base: string;
};

/** A label, and a segment of a path, that no policy has. */
export const stranger = "sallyport-diff";

const maxPathSamples = 8;

/**
 * On every endpoint that some of the covering rules has, and on the usual two. In report mode a mismatch passes, so
 * that it makes a difference too: `withMismatches` asks for each port in the other way, and for a port of no rule.
 */
export function requestsFor(rules: readonly CompiledRule[], withMismatches: boolean): readonly AskedRequest[] {
  const tunnels = new Map<number, Set<Endpoint["scheme"]>>([[443, new Set(["https"])]]);
  const http = new Map<number, CompiledRule[]>([[80, []]]);
  for (const rule of rules) {
    for (const { scheme, port } of rule.endpoints) {
      if (scheme !== "http") tunnels.set(port, (tunnels.get(port) ?? new Set()).add(scheme));
      else if (!http.get(port)?.push(rule)) http.set(port, [rule]);
    }
  }
  return [
    ...[...tunnels].map(([port, schemes]) => connectTo(port, `${[...schemes].sort().join("/")}:${port}`)),
    ...[...http].flatMap(([port, rules]) => httpRequests(port, rules)),
    ...(withMismatches ? mismatches(new Set(tunnels.keys()), new Set(http.keys())) : []),
  ];
}

function connectTo(port: number, request: string): AskedRequest {
  return { kind: "connect", port, http: undefined, request, base: request };
}

function getFrom(port: number, request: string, base: string, http: Partial<HttpFacts>): AskedRequest {
  const facts = { method: "GET", path: "/", range: "none", websocket: false, ...http } as const;
  return { kind: "http", port, http: facts, request, base };
}

function httpRequests(port: number, rules: readonly CompiledRule[]): readonly AskedRequest[] {
  const name = `http:${port}`;
  const ask = (request: string, http: Partial<HttpFacts>): AskedRequest => getFrom(port, request, name, http);
  const paths = [...new Set(rules.flatMap(({ rule }) => rule.paths ?? []))].slice(0, maxPathSamples);
  // A rule without GET, or with paths only, is met by what it names.
  const methods = new Set(rules.flatMap(({ methods }) => (methods.has("GET") ? [] : [...methods].slice(0, 1))));
  return [
    ask(name, {}),
    ask(`${name} with Range`, { range: "valid" }),
    ...[...methods].map((method) => ask(`${method} ${name}`, { method })),
    ...paths.map((path) => ask(`${name} ${path}`, { path: samplePath(path) })),
  ];
}

function samplePath(glob: string): string {
  return glob.replaceAll("**", stranger).replaceAll("*", "x").replaceAll("?", "x");
}

function mismatches(tunnels: ReadonlySet<number>, http: ReadonlySet<number>): readonly AskedRequest[] {
  let stray = 65_535;
  while (tunnels.has(stray) || http.has(stray)) stray--;
  return [
    ...[...http].filter((port) => !tunnels.has(port)).map((port) => connectTo(port, `CONNECT ${port}`)),
    ...[...tunnels].filter((port) => !http.has(port)).map((port) => getFrom(port, `http:${port}`, `http:${port}`, {})),
    connectTo(stray, "CONNECT to other ports"),
    getFrom(stray, "http to other ports", "http to other ports", {}),
  ];
}
