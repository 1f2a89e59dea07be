/**
 * A request in words, decided as the proxy would decide it: for embedded tests, for `explain` and for the admin server.
 * It goes through the same parsers and the same decisions as real traffic; nothing is looked up or dialled.
 */
import { type Client, identify } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import { isAdmittedAddress } from "../names/address-class.ts";
import { type Authority, parseAuthority } from "../names/authority.ts";
import { formatHost, sameHost } from "../names/hostname.ts";
import { parseRange } from "../wire/range.ts";
import { rowOfReason } from "../wire/refusal.ts";
import { parseRequestTarget } from "../wire/request-target.ts";
import { alertOfReason } from "../wire/tls-alert.ts";
import { decideHello, decideServerHello, denyAddress } from "./decide-hello.ts";
import { decideTarget } from "./decide.ts";
import type { ResolvesTo, TlsVersion } from "./rule.ts";
import type { Ruleset } from "./ruleset.ts";
import type { Allow, Denial, Reason, Stage } from "./verdict.ts";

/** What is undefined was not said (interface.md, `explain --ndjson`). */
export type TrialRequest = {
  readonly method: string;
  readonly target: string;
  /** Undefined is the proxy's own host. */
  readonly client: Address | undefined;
  /** A group that the client is in besides those of its address. */
  readonly group: string | undefined;
  /** Host field; undefined agrees with the target. */
  readonly host: string | undefined;
  /** Range field. */
  readonly range: string | undefined;
  /** A GET that asks to become a WebSocket. */
  readonly websocket?: boolean;
  /** Null is a hello without SNI. */
  readonly sni: string | null | undefined;
  /** Highest version offered; null is bytes that are no TLS. */
  readonly tls: TlsVersion | null | undefined;
  readonly ech: boolean | undefined;
  /** What the server negotiates. */
  readonly serverTls: TlsVersion | undefined;
  /** What the name resolves to. */
  readonly resolved: readonly Address[] | undefined;
  /** Milliseconds since the epoch. */
  readonly time: number | undefined;
};

/** A request of which nothing is said but what is asked for. */
export const unsaid: Omit<TrialRequest, "method" | "target"> = {
  client: undefined,
  group: undefined,
  host: undefined,
  range: undefined,
  sni: undefined,
  tls: undefined,
  ech: undefined,
  serverTls: undefined,
  resolved: undefined,
  time: undefined,
};

export type TrialAnswer = {
  readonly verdict: "allow" | "deny";
  readonly reason: Reason;
  /** Set where report mode lets a denial pass: `reason` is then the denial's. */
  readonly would: "deny" | undefined;
  /** The last stage that was judged. */
  readonly stage: Stage;
  /** The verdict that all this was read off. */
  readonly decided: Allow | Denial;
  /** Status of a refusal before the tunnel. */
  readonly status: number | undefined;
  /** TLS alert of a refusal in the tunnel; null where it is closed without one. */
  readonly alert: number | null | undefined;
};

const httpPort = 80;
const publicOnly: ResolvesTo = { public: true, private: false, cidrs: [] };
const thisHost = parseAddress("127.0.0.1");

/** Decides a request in words. Total: what cannot be read is a denial, `bad_request`. */
export function tryRequest(ruleset: Ruleset, request: TrialRequest, nowMs: number): TrialAnswer {
  const time = request.time ?? nowMs;
  const client = trialClient(ruleset, request);
  const isConnect = request.method === "CONNECT";
  const target = trialTarget(request);
  if (target === undefined || !/^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/.test(request.method))
    return answer(malformed, "request");
  const named = request.host === undefined ? target : parseAuthority(request.host, isConnect ? target.port : httpPort);
  if (named === undefined) return answer(malformed, "request");
  const hostAgrees = sameHost(named.host, target.host) && (isConnect || named.port === target.port);
  const range = parseRange(request.range === undefined ? [] : [request.range]).kind;
  const verdict = decideTarget(
    ruleset,
    client,
    {
      kind: isConnect ? "connect" : "http",
      host: target.host,
      port: target.port,
      hostAgrees,
      listenerAdmits: true,
      http: isConnect
        ? undefined
        : { method: request.method, path: target.path, range, websocket: request.websocket ?? false },
    },
    time,
  );
  if (verdict.kind === "deny") return answer(verdict, "request");
  const dialled = judgeAddresses(verdict, target, request.resolved);
  if (dialled.kind === "deny") return answer(dialled, "dial");
  const dialStage: Stage = request.resolved === undefined ? "request" : "dial";
  if (verdict.permit.endpoint?.scheme !== "https" || !saysHello(request)) return answer(verdict, dialStage);
  return answer(judgeTunnel(ruleset, client, target, verdict, request, time), "tunnel");
}

const malformed: Denial = {
  kind: "deny",
  reason: "bad_request",
  stage: "request",
  rule: undefined,
  nearest: undefined,
  mode: "enforce",
};

function answer(decided: Allow | Denial, judged: Stage): TrialAnswer {
  if (decided.kind === "allow") {
    const { would } = decided;
    const reason = would?.reason ?? "allowed";
    const wouldDeny = would === undefined ? undefined : "deny";
    return { verdict: "allow", reason, would: wouldDeny, stage: judged, decided, status: undefined, alert: undefined };
  }
  const { reason, stage } = decided;
  const told =
    stage === "tunnel"
      ? { status: undefined, alert: alertOfReason(reason) ?? null }
      : { status: rowOfReason(reason).status, alert: undefined };
  return { verdict: "deny", reason, would: undefined, stage, decided, ...told };
}

/** Who asks: the address's own groups, and the group that was named. */
export function trialClient(ruleset: Ruleset, { client, group }: TrialRequest): Client {
  const address = client ?? thisHost;
  if (address === undefined) throw new Error("127.0.0.1 is an address");
  const identified = identify(ruleset.groups, address);
  const named = ruleset.groups.findIndex((candidate) => candidate.name === group);
  if (named < 0) return identified;
  return { address, groups: [...new Set([...identified.groups, named])].sort((a, b) => a - b) };
}

/** What is asked for; undefined where it cannot be read. */
export function trialTarget({ method, target }: TrialRequest): (Authority & { readonly path: string }) | undefined {
  if (method === "CONNECT") {
    const authority = parseAuthority(target);
    return authority === undefined ? undefined : { ...authority, path: "" };
  }
  const parsed = parseRequestTarget(method, target);
  return parsed.kind === "absolute" ? { ...parsed.authority, path: parsed.path } : undefined;
}

/** As `egress/admit` does: a literal that a rule lists is admitted; without a rule only public addresses are. */
function judgeAddresses(allow: Allow, { host }: Authority, resolved: readonly Address[] | undefined): Allow | Denial {
  const { rule } = allow.permit;
  if (host.kind === "address") {
    return rule !== undefined || isAdmittedAddress(publicOnly, host.address) ? allow : denyAddress(allow);
  }
  if (resolved === undefined) return allow;
  const admission = rule?.rule.resolvesTo ?? publicOnly;
  return resolved.some((address) => isAdmittedAddress(admission, address)) ? allow : denyAddress(allow);
}

/** With neither `sni` nor `tls` (nor what follows from them) only the request is judged. */
function saysHello({ sni, tls, ech, serverTls }: TrialRequest): boolean {
  return sni !== undefined || tls !== undefined || ech !== undefined || serverTls !== undefined;
}

function judgeTunnel(
  ruleset: Ruleset,
  client: Client,
  target: Authority,
  allow: Allow,
  request: TrialRequest,
  time: number,
): Allow | Denial {
  const ownName = target.host.kind === "name" ? formatHost(target.host) : null;
  const hello =
    request.tls === null
      ? ({ kind: "not_tls" } as const)
      : ({
          kind: "hello",
          serverName: request.sni === undefined ? ownName : request.sni,
          maxVersion: request.tls ?? 0x0304,
          alpn: [],
          ech: request.ech ?? false,
          length: 0,
        } as const);
  const verdict = decideHello(ruleset, client, target, allow, hello, time);
  if (verdict.kind === "deny" || request.serverTls === undefined) return verdict;
  return decideServerHello(ruleset, client, verdict, { kind: "hello", version: request.serverTls });
}
