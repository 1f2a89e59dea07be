/** One rule ready to decide with. */
import type { PathMatcher } from "./path.ts";
import type { Endpoint, PolicyFile, Rule } from "./rule.ts";

export type CompiledRule = {
  /** Position in the order of precedence: site files in their order, then packs, then position in the file. */
  readonly index: number;
  /** `site/wsus`. */
  readonly fullId: string;
  readonly rule: Rule;
  readonly file: PolicyFile;
  readonly fromSite: boolean;
  readonly deny: boolean;
  /** Index into `Ruleset.audiences`; 0 is everyone. */
  readonly audience: number;
  readonly endpoints: readonly CompiledEndpoint[];
  readonly methods: ReadonlySet<string>;
  readonly paths: PathMatcher | null;
  readonly idleTimeoutMs: number;
  readonly expiresAt: number;
};

/** One way in which a rule allows; `id` counts over the whole ruleset. */
export type CompiledEndpoint = Endpoint & { readonly id: number };
