/** The policy language as plain data: what a file says, validated and canonical, before it is compiled. */
import type { Cidr } from "../names/address.ts";
import type { AdmittedAddresses } from "../names/address-class.ts";
import type { Pattern } from "./pattern.ts";

/** Where something stands in a file; line and column count from 1. */
export type Place = { readonly file: string; readonly line: number; readonly column: number };

/** One way to reach a host. `https` and `tcp` are tunnels (CONNECT), `http` is a request in absolute form. */
export type Endpoint = { readonly scheme: Scheme; readonly port: number };
export type Scheme = "http" | "https" | "tcp";

/** TLS versions as they stand in a hello: 0x0301 is TLS 1.0, 0x0304 is TLS 1.3. */
export type TlsVersion = 0x0301 | 0x0302 | 0x0303 | 0x0304;
export type SniMode = "match" | "covered" | "any";
export type Permission = "allow" | "deny";
export type RangeMode = "allow" | "strip" | "deny";
export type Mode = "enforce" | "report";

/** What a name may resolve to. Blocks in `cidrs` are admitted in whatever class they are. */
export type ResolvesTo = AdmittedAddresses;

/** One path of `paths`: a case-sensitive glob, `*` within a segment. */
export type PathGlob = string;

/** A rule as its file says it, with the file's defaults filled in. Groups are names of `clients`; null is everyone. */
export type Rule = {
  /** Unique in its file; the full id is `file/id`. */
  readonly id: string;
  readonly place: Place;
  readonly action: Permission;
  readonly patterns: readonly Pattern[];
  readonly addresses: readonly Cidr[];
  /** Empty on a deny rule. */
  readonly endpoints: readonly Endpoint[];
  readonly tlsMin: TlsVersion;
  /** For names; undefined where neither rule nor file says it: `match`. */
  readonly sni: SniMode | undefined;
  /** For addresses, the rule's own word only: a default of the file would be one that no address can meet. Else `any`. */
  readonly addressSni: SniMode | undefined;
  readonly ech: Permission;
  readonly range: RangeMode;
  readonly methods: readonly string[];
  readonly paths: readonly PathGlob[] | null;
  readonly websocket: Permission;
  readonly clients: readonly string[] | null;
  readonly resolvesTo: ResolvesTo;
  /** Undefined where neither rule nor file says it: the site's default reaches its packs. */
  readonly idleTimeoutMs: number | undefined;
  /** The rule's own mode only. */
  readonly mode: Mode | undefined;
  /** First instant (ms since the epoch) at which the rule no longer exists; Infinity without `expires`. */
  readonly expiresAt: number;
  readonly purpose: string | undefined;
  readonly owner: string | undefined;
  readonly ticket: string | undefined;
  readonly source: Source | undefined;
};

/** What a tunnel's server name has to be: for a name, or for an address. */
export function sniModeOf({ sni, addressSni }: Rule, forAddress: boolean): SniMode {
  return forAddress ? (addressSni ?? "any") : (sni ?? "match");
}

/** Where a fact comes from: the vendor's document, the day it was read, how sure we are. */
export type Source = {
  readonly title: string;
  readonly address: string | undefined;
  /** ISO date. */
  readonly checked: string | undefined;
  readonly confidence: string | undefined;
};

/** A group of clients; a client may be in several. Their order is the order of the files. */
export type ClientGroup = {
  readonly name: string;
  readonly place: Place;
  readonly addresses: readonly Cidr[];
  readonly users: readonly string[];
  /** Globs over certificate subjects. */
  readonly subjects: readonly string[];
  readonly mode: Mode | undefined;
  /** Cap on concurrent connections of one client of this group. */
  readonly perClient: number | undefined;
};

/** How a site file uses a pack. `without` holds rule ids of the pack. */
export type PackUse = { readonly clients: readonly string[] | null; readonly without: ReadonlySet<string> };

/** One file's worth of rules. A pack instance (`pack` or `pack@region`) carries the uses that brought it in. */
export type PolicyFile = {
  readonly kind: "site" | "pack";
  /** Unique: `site`, `windows-update`, `trend-micro-workload-security@de-1`. */
  readonly name: string;
  readonly path: string;
  readonly title: string | undefined;
  readonly rules: readonly Rule[];
  /** Only on packs; never empty there. */
  readonly uses: readonly PackUse[];
  /** A site's `defaults.mode`; for a pack, that of the site that used it first. */
  readonly defaultMode: Mode;
  /** A site's `defaults.idle_timeout`; for a pack, that of the site that used it first. */
  readonly defaultIdleTimeoutMs: number;
};

/** Everything that is compiled: sites in their order, then packs in order of first use. */
export type PolicySet = { readonly files: readonly PolicyFile[]; readonly groups: readonly ClientGroup[] };
