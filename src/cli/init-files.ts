/** The files that `init` writes: a configuration and a site policy, with comments that say what to do next. */
import type { PackParameter, PackSummary } from "../config/packs.ts";

export type ConfigWords = {
  /** `0.0.0.0:3128`, canonical. */
  readonly listen: readonly string[];
  readonly admin: string;
};

/** sallyport.yaml. Every key in its comments can be uncommented as it stands. */
export function configText({ listen, admin }: ConfigWords): string {
  const listeners = listen.map((address) => `  - { kind: proxy, address: ${quoted(address)} }`).join("\n");
  return `# Sallyport's configuration, written by \`sallyport init\`. Unknown keys are errors; \`sallyport check\` says what is
# wrong, with the line. Durations and sizes carry units; relative paths are relative to this file.
version: 1

# Where clients connect: CONNECT, and plain HTTP in absolute form.
listen:
${listeners}
  # A listener that admits only some groups of the site policy's \`clients\`:
  # - { kind: proxy, address: 127.0.0.1:3129, clients: [servers] }

# Metrics, health and the policy in force: http://${admin}/metrics, /healthz, /readyz, /api/policy.
admin: { address: ${quoted(admin)} }

# What clients may reach.
policy: [policies/site.yaml]

# What follows are the values built in: take away the # of what you change.
# via: auto                             # pseudonym in the Via field
# dns: { servers: [], hosts: {}, timeout: 5s, negative_ttl: 5s }   # the system's resolvers where there are none
# connect_to: []                        # "HOST:PORT:ADDRESS:PORT", as curl --connect-to
# limits: { connections: 20000, per_client: 1000, head: 32KiB, hello: 64KiB, dial_timeout: 10s, drain_timeout: 30s }
# log: { level: info, allowed: true, paths: false, file: "-" }     # one line of JSON for each exchange
# denials: { explain: full, top: 20 }   # full | id | none: how much a refusal says; hosts that a metric names, 0 is off
`;
}

export type SiteWords = {
  /** In the order in which they are used. */
  readonly packs: readonly PackSummary[];
  /** Requests that the packs allow, for the file's own tests. */
  readonly examples: readonly ExampleRequest[];
};

/** A request that a rule allows, whatever the mode. */
export type ExampleRequest = {
  /** `CONNECT host:443`, `GET http://host/`. */
  readonly request: string;
  /** TLS version to offer; null is no TLS; undefined where there is no tunnel. */
  readonly tls: string | null | undefined;
  /** Full id. */
  readonly rule: string;
};

/** The line that \`sallyport init\` tells to change; it stands alone, so that one command finds it. */
export const reportLine = "  mode: report";

/** The site policy, in report mode. */
export function siteText({ packs, examples }: SiteWords): string {
  const ready = packs.filter((pack) => bindingText(pack) !== undefined);
  const waiting = packs.filter((pack) => bindingText(pack) === undefined);
  return `# yaml-language-server: $schema=./policy.schema.json
# What clients may reach, written by \`sallyport init\`. What no rule covers is denied. \`sallyport check\` says what each
# rule opens, and runs the tests below; \`sallyport explain\` says what becomes of a request, and why.
version: 1
name: site                              # the full id of a rule here is site/ID

# Report mode lets nearly everything pass and records what enforcing would deny: "would":"deny" in the log. Write
# enforce here once the log shows nothing more that you need.
defaults:
${reportLine}

${useText(ready, waiting)}
# Groups of clients. A rule or a pack that names some exists for them only.
# clients:
#   servers: [10.20.0.0/16]
#   kiosks: { addresses: [10.40.0.0/24], per_client: 50 }

# Rules of your own. Of all patterns that cover a host the most specific decides alone.
# rules:
#   - id: wsus
#     hosts: [wsus.corp.example]
#     expect: [http:8530, https:8531]
#     range: allow
#     resolves_to: [10.0.0.0/8]         # without it, public addresses only
#     purpose: internal WSUS
${testsText(examples)}`;
}

/** How a pack is used without asking: all values where there are some; undefined where a value of the site is needed. */
function bindingText({ name, params }: PackSummary): string | undefined {
  if (params.length === 0) return name;
  const bound = params.filter(({ values }) => values !== undefined);
  if (bound.length === 0 || params.some(({ values, optional }) => values === undefined && !optional)) return undefined;
  return `{ pack: ${name}, with: { ${bound.map((parameter) => `${parameter.name}: all`).join(", ")} } }`;
}

function useText(ready: readonly PackSummary[], waiting: readonly PackSummary[]): string {
  const packs = ready.flatMap((pack) => [
    `  # ${titleOf(pack)}`,
    ...pack.params.flatMap((parameter) =>
      parameter.values === undefined
        ? []
        : [`  # ${parameter.name}: all, or those you need of [${parameter.values.join(", ")}]`],
    ),
    `  - ${bindingText(pack) ?? pack.name}`,
  ]);
  // An empty list would not take entries below it, so without packs the key itself is a comment.
  const mark = ready.length === 0 ? "# " : "";
  const left = waiting.flatMap((pack) => [
    `  # ${titleOf(pack)}`,
    `  # It needs a value of yours. Fill in${alternatives(pack).length > 1 ? " one of these" : " this"}, and take the # before the dash${mark === "" ? "" : " and before use:"} away.`,
    ...alternatives(pack).map((line) => `  # - ${line}`),
  ]);
  const heading =
    "# The vendors' own tables, each rule with its source: `sallyport packs show NAME`. Use only those you need.";
  return `${heading}\n${mark}use:\n${[...packs, ...left].join("\n")}\n`;
}

function titleOf({ title, description, name }: PackSummary): string {
  return [title ?? name, description].filter((text) => text !== undefined).join(": ");
}

/** With required parameters one line that gives them all, else one for each. */
function alternatives({ name, params }: PackSummary): readonly string[] {
  const required = params.filter(({ optional }) => !optional);
  const choices = required.length > 0 ? [required] : params.map((parameter) => [parameter]);
  return choices.map((parameters) => {
    const bindings = parameters.map((parameter) => `${parameter.name}: ${sampleOf(parameter)}`).join(", ");
    const described = parameters.flatMap(({ description }) => description ?? []).join("; ");
    return `{ pack: ${name}, with: { ${bindings} } }${described === "" ? "" : `   # ${described}`}`;
  });
}

function sampleOf({ values, kind }: PackParameter): string {
  if (values !== undefined) return "all";
  return kind === "host" ? "name.corp.example" : "acme";
}

function testsText(examples: readonly ExampleRequest[]): string {
  const lines = examples.map(({ request, tls, rule }) => {
    const hello = tls === undefined ? "" : `, tls: ${tls === null ? "null" : `"${tls}"`}`;
    return `  - { request: "${request}"${hello}, expect: allow, rule: ${rule} }`;
  });
  if (lines.length === 0) return "";
  return `
# Checked by \`sallyport check\` and at each start: requests with the verdict that they must get.
tests:
${lines.join("\n")}
`;
}

/** In a flow mapping brackets have to be quoted. */
function quoted(address: string): string {
  return address.includes("[") ? `"${address}"` : address;
}
