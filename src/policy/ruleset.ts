/** The compiled policy: frozen, shared by every exchange, probed and never searched. */
import type { Groups } from "../identity/groups.ts";
import type { Cidr } from "../names/address.ts";
import type { AddressTable } from "./address-table.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import type { HostTable } from "./host-table.ts";
import type { NearestRules } from "./nearest-rules.ts";
import type { Pattern } from "./pattern.ts";
import type { Mode, PolicyFile } from "./rule.ts";
import type { Allow } from "./verdict.ts";

/** Who a rule exists for: null is everyone. A rule of a pack must pass both lists. */
export type Audience<Group = number> = {
  readonly ruleGroups: readonly Group[] | null;
  readonly useGroups: readonly Group[] | null;
};

/** All rules with one pattern or block, in order of precedence. */
export type PatternGroup<Key> = {
  readonly key: Key;
  readonly rules: readonly CompiledRule[];
  /** Some of the rules is a deny of a site file. */
  readonly siteDeny: boolean;
};

/** What each pattern allows at any time, by its number; `standing-allows` lays it out and reads it. */
export type StandingAllows = {
  /** Four numbers for each pattern, which lie in one line of the CPU's cache. */
  readonly records: Int32Array;
  /** Two for each pattern. */
  readonly allows: readonly (Allow | undefined)[];
};

export type Ruleset = {
  readonly rules: readonly CompiledRule[];
  readonly files: readonly PolicyFile[];
  readonly groups: Groups;
  readonly audiences: readonly Audience[];
  readonly hosts: HostTable;
  /** By the pattern numbers of `hosts`. */
  readonly hostGroups: readonly PatternGroup<Pattern>[];
  /** Of `hostGroups`: what nearly every request that is let pass is let pass by. */
  readonly standing: StandingAllows;
  readonly addresses: AddressTable;
  /** By the block numbers of `addresses`. */
  readonly addressGroups: readonly PatternGroup<Cidr>[];
  /** The enforced allow of each endpoint, by `CompiledEndpoint.id`: nothing is allocated on the allow path. */
  readonly allows: readonly Allow[];
  /** By suffix of `hosts.tree`: the allow rules at or below it, by their position in `rules`. */
  readonly nearest: NearestRules;
  /**
   * Ports that some tunnel endpoint names: where report mode lets a CONNECT without a rule pass. With the first instant
   * at which no rule names the port any more.
   */
  readonly tunnelPorts: ReadonlyMap<number, number>;
  /** Mode of what no rule covers: report only where every site file says so. */
  readonly defaultMode: Mode;
  readonly defaultIdleTimeoutMs: number;
  /** Hash of the effective rules, 16 hex characters. */
  readonly hash: string;
};
