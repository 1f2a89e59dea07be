/** The keys of a policy file, as a schema: what editors complete, and what every file is first judged by. */
import { z } from "zod";
import type { Vocabulary } from "./schema-problems.ts";
import { textForms, type TextFormName } from "./text-forms.ts";

/** What a policy file says, before its texts are read. Every key may be missing: `judge` has reported what is needed. */
export type RawPolicy = z.infer<typeof policyRemainder>;
export type RawRule = NonNullable<RawPolicy["rules"]>[number];
export type RawDefaults = NonNullable<RawPolicy["defaults"]>;
export type RawTest = NonNullable<RawPolicy["tests"]>[number];
export type RawParameter = NonNullable<RawPolicy["params"]>[string];

const form = (name: TextFormName) => z.string({ error: name }).regex(textForms[name].pattern, name);
const words = (max: number) => z.string().min(1).max(max);
const kebab = z.string().max(64).regex(textForms.kebab.pattern, "kebab");
const listOf = <T extends z.ZodType>(item: T) => z.array(item).min(1);

const tlsMin = z
  .enum(["1.0", "1.1", "1.2", "1.3"])
  .meta({ description: 'Lowest TLS version that client and server may use; quoted, "1.2" by default.' });
const sni = z.enum(["match", "covered", "any"]).meta({
  description:
    "match: the server name equals the host asked for (default). covered: it is decided by this same rule. any: it is absent, or allowed for https on this port.",
});
const ech = z
  .enum(["allow", "deny"])
  .meta({ description: "Encrypted ClientHello: allow (default; Chromium always sends a GREASE one) or deny." });
const range = z
  .enum(["allow", "strip", "deny"])
  .meta({ description: "Range requests over plain HTTP: allow, strip the field, or deny (default)." });
const mode = z
  .enum(["enforce", "report"])
  .meta({ description: "report lets pass, and records what would have been denied." });
const idleTimeout = form("duration").meta({
  description: "A tunnel without a byte for so long is closed: 15m by default.",
});
const groupNames = listOf(words(64));

const source = z
  .union([
    words(1000),
    z.strictObject({
      title: words(1000),
      address: words(2000).optional().meta({ description: "URL of the document." }),
      checked: form("date").optional().meta({ description: "Day on which the document was read." }),
      confidence: words(200).optional().meta({ description: "How sure we are of it." }),
    }),
  ])
  .meta({ description: "The vendor's document that this rule comes from." });

const ruleShape = {
  id: kebab.meta({ description: "Unique in the file; the full id is file/id." }),
  action: z.enum(["allow", "deny"]).optional().meta({ description: "allow by default." }),
  hosts: listOf(words(512)).optional().meta({
    description:
      "Exact names, *.example.com (example.com and every name below it, at any depth; quote it), glob: patterns.",
  }),
  addresses: listOf(words(64))
    .optional()
    .meta({ description: "IP literals or CIDR blocks that a client may name directly." }),
  expect: z
    .union([form("endpoint"), listOf(form("endpoint"))])
    .optional()
    .meta({ description: "Endpoints: http, https, http:PORT, https:PORT, tcp:PORT." }),
  tls_min: tlsMin.optional(),
  sni: sni.optional(),
  ech: ech.optional(),
  range: range.optional(),
  methods: listOf(words(32))
    .optional()
    .meta({ description: "HTTP methods; GET HEAD POST PUT PATCH DELETE OPTIONS by default." }),
  paths: listOf(words(2048))
    .optional()
    .meta({ description: "Case-sensitive globs over the decoded path, * within a segment." }),
  websocket: z.enum(["allow", "deny"]).optional().meta({ description: "WebSocket over plain HTTP: deny by default." }),
  clients: groupNames.optional().meta({ description: "Groups that this rule exists for; everyone without it." }),
  resolves_to: listOf(words(64))
    .optional()
    .meta({ description: "What the name may resolve to: public (default), private, CIDR blocks." }),
  idle_timeout: idleTimeout.optional(),
  mode: mode.optional(),
  purpose: words(1000).optional().meta({ description: "What this is for, in a person's words." }),
  source: source.optional(),
  owner: words(200).optional(),
  ticket: words(200).optional(),
  expires: form("date").optional().meta({ description: "Last day, UTC; after it the rule does not exist." }),
  shared_suffix: z
    .boolean()
    .optional()
    .meta({ description: "Admit a wildcard on a suffix under which anyone can rent a name." }),
};

const groupObject = z.strictObject({
  addresses: listOf(words(64)).optional(),
  users: listOf(words(200)).optional().meta({ description: "Names of proxy authentication." }),
  subjects: listOf(words(500)).optional().meta({ description: "Globs over certificate subjects." }),
  mode: mode.optional(),
  per_client: z.int().min(1).max(1_000_000).optional().meta({ description: "Concurrent connections of one client." }),
});

const useObject = {
  pack: words(1024).meta({ description: "Name of a pack, or path of a policy file." }),
  clients: groupNames.optional().meta({ description: "Groups that this use exists for; everyone without it." }),
  without: z.array(words(64)).optional().meta({ description: "Ids of rules to leave out." }),
  with: z
    .record(z.string(), z.union([words(253), listOf(words(253))]))
    .optional()
    .meta({ description: "Parameters of the pack: a value, a list, or all." }),
};

const testShape = {
  request: words(8192).meta({ description: "CONNECT host:port, or METHOD http://host/path." }),
  client: words(64).optional().meta({ description: "Address of the client." }),
  group: words(64).optional().meta({ description: "Group of the client, in place of an address." }),
  host: words(300).optional().meta({ description: "Host field, where it differs from the target." }),
  range: words(1000).optional().meta({ description: "Range field." }),
  sni: words(300)
    .nullable()
    .optional()
    .meta({ description: "Server name of the ClientHello; null is a hello without one." }),
  tls: z
    .enum(["1.0", "1.1", "1.2", "1.3"])
    .nullable()
    .optional()
    .meta({ description: "Highest version that the client offers; null is bytes that are no TLS." }),
  ech: z.boolean().optional(),
  server_tls: z
    .enum(["1.0", "1.1", "1.2", "1.3"])
    .optional()
    .meta({ description: "Version that the server negotiates." }),
  resolved: z
    .union([words(64), listOf(words(64))])
    .optional()
    .meta({ description: "Addresses that the name resolves to." }),
  time: words(32).optional().meta({ description: "Moment of the request: 2027-03-01 or 2027-03-01T12:00:00Z." }),
  expect: z.enum(["allow", "deny"]),
  reason: words(32).optional().meta({ description: "The reason that the verdict gives." }),
  rule: words(200).optional().meta({ description: "Full id of the rule that decides." }),
};

const parameter = z.strictObject({
  description: words(1000).optional(),
  values: listOf(words(253)).optional().meta({ description: "The values there are; `all` stands for every one." }),
  kind: z.enum(["label", "host"]).optional().meta({ description: "Without values: one DNS label, or a host name." }),
  optional: z
    .boolean()
    .optional()
    .meta({ description: "Rules whose hosts use it do not exist where it is not given." }),
});

const commonShape = {
  version: z.literal(1).meta({ description: "Version of the policy language." }),
  name: kebab.meta({ description: "Unique over all files." }),
  title: words(200).optional(),
  description: words(4000).optional(),
  clients: z
    .record(z.string().max(64).regex(textForms.kebab.pattern, "kebab"), z.union([listOf(words(64)), groupObject]))
    .optional()
    .meta({ description: "Groups of clients: addresses, or a mapping." }),
  defaults: z
    .strictObject({
      range: range.optional(),
      tls_min: tlsMin.optional(),
      sni: sni.optional(),
      ech: ech.optional(),
      mode: mode.optional(),
      idle_timeout: idleTimeout.optional(),
    })
    .optional()
    .meta({ description: "Fill this file's rules; mode and idle_timeout also reach its packs." }),
  params: z
    .record(z.string().max(64).regex(textForms.variable.pattern, "variable"), parameter)
    .optional()
    .meta({ description: "Packs only: values that hosts take as ${name}." }),
};

/** A site policy or a pack; which keys belong to which is judged where the file's part is known. */
export const policySchema = z
  .strictObject({
    ...commonShape,
    use: z
      .array(z.union([words(1024), z.strictObject(useObject)]))
      .optional()
      .meta({ description: "Packs by name, or policy files by path." }),
    rules: z.array(z.strictObject(ruleShape).meta({ title: "Rule" })).optional(),
    tests: z
      .array(z.strictObject(testShape))
      .optional()
      .meta({ description: "Requests with the verdict that they must get." }),
  })
  .meta({ title: "Sallyport policy", description: "A site policy, or a vendor pack." });

/** The same with nothing required: reads what is left of a file once its mistakes are cut out. */
export const policyRemainder = z
  .strictObject({
    ...commonShape,
    use: z.array(z.union([words(1024), z.strictObject(useObject).partial()])).optional(),
    rules: z.array(z.strictObject(ruleShape).partial()).optional(),
    tests: z.array(z.strictObject(testShape).partial()).optional(),
  })
  .partial();

/** Keys of other programs and of neighbouring places, answered with more than "unknown". */
export const policyVocabulary: Vocabulary = {
  refusedKeys: {
    "rules.ports": "is no key here: the port stands in expect, as https:8531",
    "rules.port": "is no key here: the port stands in expect, as https:8531",
    "defaults.methods": "is no key here: methods stand at a rule",
    "defaults.websocket": "is no key here: websocket stands at a rule",
    "defaults.resolves_to": "is no key here: resolves_to stands at a rule",
    "defaults.action": "is no key here: what no rule covers is denied",
  },
};
