/** Which ports of squid.conf become endpoints: those that somebody has named one by one. */
import type { ImportFinding } from "./import-report.ts";
import type { PortRange, SquidJudge } from "./squid-access.ts";
import type { SquidAccess, SquidConfig } from "./squid-config.ts";

/** Names of ports in wider ranges are too many to be listed. */
const maxRange = 16;
/** Squid's stock Safe_ports: ftp, gopher, wais, https, http-mgmt, gss-http, filemaker, multiling-http. */
const stockPorts = new Set([21, 70, 210, 280, 443, 488, 591, 777]);

export type Ports = {
  readonly http: ReadonlySet<number>;
  readonly tunnel: ReadonlySet<number>;
  /** Named where something is allowed, and not merely among Squid's stock ports. */
  readonly named: ReadonlySet<number>;
  /** Ports that nobody has named one by one. */
  readonly probes: readonly number[];
  readonly wide: readonly PortRange[];
};

export function candidatePorts(judge: SquidJudge, config: SquidConfig): Ports {
  const isStock = (ranges: readonly PortRange[]): boolean => {
    const single = ranges.filter(({ first, last }) => first === last && stockPorts.has(first));
    return single.length >= 4 && ranges.some(({ first, last }) => first <= 80 && last >= 80);
  };
  const inAllows = new Set(
    config.access.flatMap(({ action, literals }) =>
      action === "allow" ? literals.flatMap(({ name, negated }) => (negated ? [] : [name])) : [],
    ),
  );
  const single = new Set<number>();
  const named = new Set<number>();
  const wide: PortRange[] = [];
  for (const [name, ranges] of judge.ports) {
    for (const { first, last } of ranges) {
      if (last - first >= maxRange) {
        wide.push({ first, last });
        continue;
      }
      for (let port = first; port <= last; port++) {
        if (port === 0) continue;
        single.add(port);
        if (inAllows.has(name) && !isStock(ranges)) named.add(port);
      }
    }
  }
  const isListed = (port: number): boolean =>
    single.has(port) || wide.some(({ first, last }) => port >= first && port <= last);
  const free = [...Array(65_535).keys()].map((i) => 65_535 - i).find((port) => !isListed(port));
  const inWide = wide.flatMap(({ first, last }) => {
    for (let port = Math.max(1, first); port <= last; port++) if (!single.has(port)) return [port];
    return [];
  });
  return {
    http: new Set([80, ...[...single].filter((port) => !stockPorts.has(port) || named.has(port))]),
    tunnel: new Set([443, ...single]),
    named,
    probes: [...(free === undefined ? [] : [free]), ...inWide],
    wide,
  };
}

/** Each at the first line that allows it. `decide` gives the lines that allow a plain request, or a tunnel, to a port. */
export function reportPorts(
  decide: (method: "GET" | "CONNECT", port: number) => readonly SquidAccess[],
  { http, probes }: Ports,
  findings: ImportFinding[],
): void {
  const report = (lines: readonly SquidAccess[], message: string): void => {
    const [first] = lines;
    if (first === undefined || findings.some((finding) => finding.message === message)) return;
    findings.push({ at: first.at, effect: "narrower", message });
  };
  const unnamed = (method: "GET" | "CONNECT"): readonly SquidAccess[] => probes.flatMap((port) => decide(method, port));
  report(unnamed("CONNECT"), tunnelsAnywhere);
  report(unnamed("GET"), httpInRanges);
  report(
    [...stockPorts].flatMap((port) => (http.has(port) ? [] : decide("GET", port))),
    httpOnStockPorts,
  );
}

const tunnelsAnywhere =
  "CONNECT is allowed to ports that no ACL names one by one; 443 is carried over, and ports that an allowing line names: add https:PORT or tcp:PORT where an agent needs another";
const httpInRanges =
  "plain HTTP is allowed to ports that no ACL names one by one; 80 is carried over, and ports that an ACL names: add http:PORT where an agent needs another";
const httpOnStockPorts =
  "plain HTTP to Squid's stock ports 21, 70, 210, 280, 443, 488, 591 and 777 is not carried over, as hardly anybody needs it: add http:PORT where an agent does";
