/** What Squid allows at the names that the same dstdomain ACLs hold: endpoints, methods and clients. */
import {
  type AddressRanges,
  intersectRanges,
  isNoAddress,
  rangesKey,
  subtractRanges,
  uniteRanges,
} from "../names/address-ranges.ts";
import type { ImportFinding } from "./import-report.ts";
import { defaultMethods } from "./rule-text.ts";
import type { SquidJudge } from "./squid-access.ts";
import type { SquidAccess, SquidConfig } from "./squid-config.ts";
import { type Ports, candidatePorts, reportPorts } from "./squid-ports.ts";

/** What Squid allows where the same dstdomain ACLs match. */
export type Table = {
  readonly drafts: readonly Draft[];
  /** Everyone who may do anything there. */
  readonly allowed: AddressRanges;
  readonly key: string;
  readonly by: readonly SquidAccess[];
};
export type Draft = {
  readonly expect: readonly string[];
  readonly methods: readonly string[] | undefined;
  readonly clients: AddressRanges;
};

/** Tables by the ACLs that match: of thousands of names there are few different ones. */
export function createTables(
  judge: SquidJudge,
  config: SquidConfig,
  findings: ImportFinding[],
): (acls: ReadonlySet<string>) => Table {
  const made = new Map<string, Table>();
  const ports = candidatePorts(judge, config);
  return (acls) => {
    const key = [...acls].sort().join(" ");
    const known = made.get(key) ?? tableOf(judge, acls, ports, findings);
    made.set(key, known);
    return known;
  };
}

function tableOf(judge: SquidJudge, acls: ReadonlySet<string>, ports: Ports, findings: ImportFinding[]): Table {
  const by = new Set<SquidAccess>();
  const decide = (method: string, port: number): AddressRanges => {
    const { allowed, by: lines, unjudged } = judge.decide({ hostAcls: acls, method, port });
    for (const line of lines) by.add(line);
    for (const line of unjudged) {
      // What is denied anyway is no loss.
      if (line.action === "allow" || (acls.size > 0 && !isNoAddress(allowed))) findings.push(unjudgedFinding(line));
    }
    return allowed;
  };
  const isTunnelFree = ports.probes.some((port) => !isNoAddress(decide("CONNECT", port)));
  const tunnels = [...ports.tunnel].filter((port) => !isTunnelFree || port === 443 || ports.named.has(port));
  const cells: { readonly endpoint: string; readonly methods: string | undefined; readonly clients: AddressRanges }[] =
    [];
  for (const port of tunnels.sort((a, b) => a - b)) {
    const clients = decide("CONNECT", port);
    if (!isNoAddress(clients))
      cells.push({ endpoint: port === 443 ? "https" : `https:${port}`, methods: undefined, clients });
  }
  for (const port of [...ports.http].sort((a, b) => a - b)) {
    for (const { methods, clients } of methodSets(judge, (method) => decide(method, port))) {
      cells.push({ endpoint: port === 80 ? "http" : `http:${port}`, methods, clients });
    }
  }
  const lines = [...by];
  // Of names that no ACL has, nothing is carried over anyway.
  if (acls.size > 0) reportPorts((method, port) => judge.decide({ hostAcls: acls, method, port }).by, ports, findings);
  const drafts = draftsOf(cells);
  const key = JSON.stringify(drafts.map(({ expect, methods, clients }) => [expect, methods, rangesKey(clients)]));
  return { drafts, allowed: uniteRanges(cells.map(({ clients }) => clients)), key, by: lines };
}

/** Clients that may use the same methods; those that no ACL names are alike. Undefined is the default set. */
function methodSets(
  judge: SquidJudge,
  decide: (method: string) => AddressRanges,
): readonly { readonly methods: string | undefined; readonly clients: AddressRanges }[] {
  const all = [...new Set([...defaultMethods.split(" "), ...judge.methods])].filter(
    (method) => method !== "CONNECT" && carriedMethods.has(method),
  );
  const others = judge.methods.size === 0 || [...judge.methods].every((method) => method === "CONNECT");
  if (others) {
    const clients = decide("GET");
    return isNoAddress(clients) ? [] : [{ methods: undefined, clients }];
  }
  let atoms: { readonly methods: readonly string[]; readonly clients: AddressRanges }[] = [];
  for (const method of all) {
    let rest = decide(method);
    const split = atoms.flatMap((atom) => {
      const both = intersectRanges(atom.clients, rest);
      const only = subtractRanges(atom.clients, rest);
      return [
        { methods: [...atom.methods, method], clients: both },
        { methods: atom.methods, clients: only },
      ];
    });
    for (const { clients } of atoms) rest = subtractRanges(rest, clients);
    atoms = [...split, { methods: [method], clients: rest }].filter(({ clients }) => !isNoAddress(clients));
  }
  return atoms.map(({ methods, clients }) => {
    const text = methods.join(" ");
    return { methods: text === defaultMethods ? undefined : text, clients };
  });
}

/** Beyond the default ones, methods that Node's parser knows and that Squid passes on as well. */
const carriedMethods = new Set([
  ...defaultMethods.split(" "),
  ..."COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK REPORT MKACTIVITY CHECKOUT MERGE".split(" "),
]);

/** A rule for each set of clients and of methods. */
function draftsOf(
  cells: readonly {
    readonly endpoint: string;
    readonly methods: string | undefined;
    readonly clients: AddressRanges;
  }[],
): readonly Draft[] {
  const drafts = new Map<string, { expect: string[]; methods: string | undefined; clients: AddressRanges }>();
  for (const { endpoint, methods, clients } of cells) {
    const isTunnel = endpoint.startsWith("https");
    const own = [...drafts.entries()].find(
      ([, draft]) => rangesKey(draft.clients) === rangesKey(clients) && (isTunnel || fits(draft, methods)),
    );
    if (own === undefined) drafts.set(`${drafts.size}`, { expect: [endpoint], methods, clients });
    else {
      own[1].expect.push(endpoint);
      if (!isTunnel) own[1].methods = methods;
    }
  }
  return [...drafts.values()].map(({ expect, methods, clients }) => ({
    expect,
    methods: methods?.split(" "),
    clients,
  }));
}

/** `methods` is of plain HTTP only, so a rule of tunnels takes any. */
function fits(
  draft: { readonly expect: readonly string[]; readonly methods: string | undefined },
  methods: string | undefined,
): boolean {
  return draft.methods === methods || draft.expect.every((endpoint) => endpoint.startsWith("https"));
}

function unjudgedFinding({ at, action, literals }: SquidAccess): ImportFinding {
  const names = literals.map(({ name }) => name).join(", ");
  return action === "allow"
    ? {
        at,
        effect: "narrower",
        message: `an ACL of this line (${names}) cannot be judged without Squid: the line allows nothing here`,
      }
    : {
        at,
        effect: "wider",
        message: `an ACL of this line (${names}) cannot be judged without Squid: what it denied among the hosts below is allowed, unless you write it as a rule`,
      };
}
