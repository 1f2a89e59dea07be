/** The keys of sallyport.yaml, as a schema. What this version does not do is refused, not ignored. */
import { z } from "zod";
import type { Vocabulary } from "./schema-problems.ts";
import { type TextFormName, textForms } from "./text-forms.ts";

/** What the file says, before its texts are read. Every key may be missing. */
export type RawSettings = z.infer<typeof settingsRemainder>;

const form = (name: TextFormName) => z.string({ error: name }).regex(textForms[name].pattern, name);
const words = (max: number) => z.string().min(1).max(max);
const duration = form("duration");
const size = form("size");

const tls = z.strictObject({
  cert: words(1024).meta({ description: "File with the listener's certificate and its chain, in PEM." }),
  key: words(1024).meta({ description: "File with its private key, in PEM, without a passphrase." }),
  client_ca: words(1024)
    .optional()
    .meta({ description: "File with authorities: who has no certificate of theirs is refused." }),
});
const auth = z.strictObject({ basic: words(1024).meta({ description: "htpasswd file with bcrypt hashes." }) });
const proxyProtocol = z.strictObject({
  from: z.array(words(64)).min(1).meta({ description: "Addresses of the load balancers; others are refused." }),
});

const listener = {
  kind: z.enum(["proxy", "sni", "http", "pac"]).meta({
    description:
      "proxy: CONNECT and absolute-form HTTP; sni: redirected TLS; http: redirected HTTP; pac: /proxy.pac and /wpad.dat.",
  }),
  address: words(64).meta({
    description: 'Address and port, as 127.0.0.1:3128 or "[::1]:3128"; port 0 takes a free one.',
  }),
  clients: z.array(words(64)).min(1).optional().meta({ description: "Groups that are admitted; everyone without it." }),
  port: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .meta({ description: "Of kinds sni and http: the port of every target, 443 and 80 without it." }),
  tls: tls.optional().meta({ description: "TLS to the proxy itself." }),
  proxy_protocol: proxyProtocol.optional().meta({ description: "Who says in a PROXY header whom it speaks for." }),
  auth: auth.optional().meta({ description: "Proxy authentication." }),
};

/** The same with nothing required, also within. */
const partialListener = z
  .strictObject({
    ...listener,
    tls: tls.partial().optional(),
    proxy_protocol: proxyProtocol.partial().optional(),
    auth: auth.partial().optional(),
  })
  .partial();

const parent = {
  hosts: z
    .array(words(1024))
    .min(1)
    .meta({ description: "Names, *.name, glob: patterns and IP addresses, as in a policy; * is every host." }),
  via: words(300).meta({ description: '"http://host:port" or "https://host:port" of the parent, or direct for none.' }),
  credentials_file: words(1024)
    .optional()
    .meta({ description: "File with user:password for the parent, in one line." }),
};

/** More than any machine has use for; the rest are typing errors. */
const maxWorkers = 256;

const limits = z.strictObject({
  connections: z.int().min(1).max(1_000_000).optional().meta({ description: "Client connections at a time: 20000." }),
  per_client: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .meta({ description: "Connections of one client address at a time: 1000." }),
  head: size.optional().meta({ description: "Largest request head: 32KiB." }),
  fields: z.int().min(16).max(2000).optional().meta({ description: "Most fields of a head: 128." }),
  head_timeout: duration.optional().meta({ description: "Until a request head is complete: 10s." }),
  hello: size.optional().meta({ description: "Largest ClientHello, record headers included: 64KiB." }),
  hello_timeout: duration.optional().meta({ description: "Until a ClientHello is complete: 10s." }),
  dial_timeout: duration.optional().meta({ description: "Until a connection upstream is open: 10s." }),
  response_head_timeout: duration.optional().meta({ description: "Until the upstream answers: 60s." }),
  body_idle_timeout: duration.optional().meta({ description: "A body without a byte: 120s." }),
  keepalive_timeout: duration.optional().meta({ description: "A client connection without a request: 65s." }),
  drain_timeout: duration.optional().meta({ description: "For what is under way at shutdown: 30s." }),
});

const optionalShape = {
  admin: z
    .strictObject({
      address: listener.address.optional(),
      names: z
        .array(form("hostname"))
        .optional()
        .meta({ description: "Host names that the admin endpoints answer to, besides localhost and IP literals." }),
      token_file: words(1024).optional().meta({ description: "File with the bearer token." }),
    })
    .optional()
    .meta({ description: "Metrics, health and the API; 127.0.0.1:9180." }),
  policy: z.array(words(1024)).min(1).optional().meta({ description: "Site policies, in their order." }),
  workers: z
    .union([z.int().min(1).max(maxWorkers), z.literal("auto")])
    .optional()
    .meta({ description: "Processes that share the listeners: 1. auto is one per core." }),
  via: form("pseudonym").optional().meta({ description: "Pseudonym in Via; auto is unique to the running instance." }),
  dns: z
    .strictObject({
      servers: z
        .array(words(64))
        .optional()
        .meta({ description: "Addresses of resolvers, with an optional port; the system's when empty." }),
      hosts: z
        .record(words(255), z.union([words(64), z.array(words(64)).min(1)]))
        .optional()
        .meta({ description: "Name, or *.name with its apex, to an address or a list." }),
      timeout: duration.optional().meta({ description: "5s." }),
      negative_ttl: duration.optional().meta({ description: "For how long a failed lookup is remembered: 5s." }),
    })
    .optional(),
  connect_to: z
    .array(words(600))
    .optional()
    .meta({ description: '"HOST:PORT:ADDRESS:PORT" as in curl --connect-to; HOST may be * or *.x.' }),
  parents: z
    .array(z.strictObject(parent))
    .optional()
    .meta({ description: "Parent proxies by host; the first entry that covers a host decides." }),
  limits: limits.optional(),
  reload: z
    .strictObject({
      watch: z.boolean().optional().meta({ description: "Load the policy anew when a file of it changes: true." }),
      on_revoke: z
        .enum(["keep", "drain", "close"])
        .optional()
        .meta({ description: "Open tunnels that a new policy would not let in: keep." }),
    })
    .optional(),
  log: z
    .strictObject({
      level: z.enum(["debug", "info", "warn", "error"]).optional(),
      allowed: z.boolean().optional().meta({ description: "Also log what was allowed: true." }),
      paths: z.boolean().optional().meta({ description: "Also log paths of plain HTTP requests: false." }),
      file: words(1024).optional().meta({ description: 'Path, or "-" for standard output.' }),
    })
    .optional(),
  denials: z
    .strictObject({
      explain: z.enum(["full", "id", "none"]).optional().meta({ description: "How much a refusal says." }),
      top: z
        .int()
        .min(0)
        .max(100)
        .optional()
        .meta({ description: "Slots of the metric top_denials, which names hosts: 20; 0 is off." }),
    })
    .optional(),
  pac: z
    .strictObject({
      otherwise: words(300)
        .optional()
        .meta({ description: 'Where a PAC sends hosts without a rule: proxy, DIRECT or "PROXY host:port".' }),
    })
    .optional(),
};

const version = z.literal(1).meta({ description: "Version of this file's format." });

export const settingsSchema = z
  .strictObject({
    version,
    listen: z.array(z.strictObject(listener)).min(1).optional().meta({ description: "Where clients connect." }),
    ...optionalShape,
  })
  .meta({ title: "Sallyport configuration", description: "sallyport.yaml" });

/** The same with nothing required: reads what is left of a file once its mistakes are cut out. */
export const settingsRemainder = z
  .strictObject({
    version,
    listen: z.array(partialListener),
    ...optionalShape,
    parents: z.array(z.strictObject(parent).partial()).optional(),
  })
  .partial();

export const settingsVocabulary: Vocabulary = {
  refusedKeys: {
    rules: "belongs to a site policy, which policy names",
    use: "belongs to a site policy, which policy names",
    clients: "belongs to a site policy, which policy names",
  },
};
