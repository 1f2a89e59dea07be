/** The policy in force as /api/policy shows it: every rule with its defaults filled in, in order of precedence. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { PackUse, PolicyFile, ResolvesTo, Rule, Scheme } from "../policy/rule.ts";
import type { PolicyInForce } from "../reload/report.ts";
import { type ChangeView, viewChange } from "./reload-view.ts";

export type PolicyView = {
  readonly hash: string;
  /** Counts the policies that came into force since the start, from 1. */
  readonly generation: number;
  /** The difference to the one before. */
  readonly change?: ChangeView | undefined;
  readonly default_mode: string;
  readonly files: readonly FileView[];
  readonly groups: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly rules: readonly RuleView[];
};

export type FileView = {
  readonly name: string;
  readonly kind: string;
  readonly title: string | undefined;
  readonly uses: readonly { readonly clients: readonly string[] | null; readonly without: readonly string[] }[];
};

/** Fields are named as in a policy file. */
export type RuleView = {
  readonly id: string;
  /** `site.yaml:12:5` */
  readonly place: string;
  readonly action: string;
  readonly hosts: readonly string[];
  readonly addresses: readonly string[];
  readonly expect: readonly string[];
  readonly clients: readonly string[] | null;
  readonly tls_min: string | undefined;
  readonly sni: string | undefined;
  readonly ech: string | undefined;
  readonly range: string | undefined;
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly string[] | undefined;
  readonly websocket: string | undefined;
  readonly resolves_to: readonly string[] | undefined;
  readonly idle_timeout_ms: number | undefined;
  readonly mode: string | undefined;
  /** First instant at which the rule no longer exists. */
  readonly expires_at: string | undefined;
  readonly purpose: string | undefined;
  readonly owner: string | undefined;
  readonly ticket: string | undefined;
};

/** Builds the view; cost grows with the policy, so only for people and when asked. Absent fields vanish in JSON. */
export function viewPolicy({ ruleset, generation, change }: Omit<PolicyInForce, "recording">): PolicyView {
  return {
    hash: ruleset.hash,
    generation,
    change: change === undefined ? undefined : viewChange(change),
    default_mode: ruleset.defaultMode,
    files: ruleset.files.map(viewFile),
    groups: ruleset.groups.map(({ name, addresses }) => ({ name, addresses: addresses.map((cidr) => cidr.text) })),
    rules: ruleset.rules.map(viewRule),
  };
}

function viewFile({ name, kind, title, uses }: PolicyFile): FileView {
  return { name, kind, title, uses: uses.map(({ clients, without }: PackUse) => ({ clients, without: [...without] })) };
}

/** Conditions on a way that the rule does not open are left out: they say nothing. */
function viewRule(compiled: CompiledRule): RuleView {
  const { rule, endpoints, deny } = compiled;
  const has = (scheme: Scheme): boolean => endpoints.some((endpoint) => endpoint.scheme === scheme);
  const http = has("http");
  const https = has("https");
  return {
    id: compiled.fullId,
    place: `${rule.place.file}:${rule.place.line}:${rule.place.column}`,
    action: rule.action,
    hosts: rule.patterns.map((pattern) => pattern.text),
    addresses: rule.addresses.map((cidr) => cidr.text),
    expect: endpoints.map(({ scheme, port }) => `${scheme}:${port}`),
    clients: rule.clients,
    tls_min: https ? `1.${rule.tlsMin - 0x0301}` : undefined,
    sni: https ? (rule.sni ?? defaultSni(rule)) : undefined,
    ech: https ? rule.ech : undefined,
    range: http ? rule.range : undefined,
    methods: http ? [...compiled.methods] : undefined,
    paths: http ? (rule.paths ?? undefined) : undefined,
    websocket: http ? rule.websocket : undefined,
    resolves_to: deny ? undefined : resolvesTo(rule.resolvesTo),
    idle_timeout_ms: deny ? undefined : compiled.idleTimeoutMs,
    mode: rule.mode,
    expires_at: Number.isFinite(rule.expiresAt) ? new Date(rule.expiresAt).toISOString() : undefined,
    purpose: rule.purpose,
    owner: rule.owner,
    ticket: rule.ticket,
  };
}

/** policy.md, "Expectations": a client that names an address has no name to put into the SNI. */
function defaultSni({ patterns, addresses }: Rule): string {
  if (addresses.length === 0) return "match";
  return patterns.length === 0 ? "any" : "match, any for addresses";
}

function resolvesTo(admitted: ResolvesTo): readonly string[] {
  return [
    ...(admitted.public ? ["public"] : []),
    ...(admitted.private ? ["private"] : []),
    ...admitted.cidrs.map((cidr) => cidr.text),
  ];
}
