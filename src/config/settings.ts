/** sallyport.yaml once read: every value present, in base units. */
import type { Address, Cidr } from "../names/address.ts";
import type { Host, Hostname } from "../names/hostname.ts";
import type { Pattern } from "../policy/pattern.ts";

/** An IP literal without brackets, and a port; port 0 takes a free one. */
export type ListenAddress = { readonly host: string; readonly port: number };

/**
 * `proxy` is an explicit forward proxy; `sni` and `http` take connections that were redirected to them, and find the
 * target in the ClientHello and in Host; `pac` hands out proxy auto-configuration.
 */
export type ListenerKind = "proxy" | "sni" | "http" | "pac";

export type ListenerSettings = {
  readonly kind: ListenerKind;
  readonly address: ListenAddress;
  /** Groups that are admitted; null admits every client. */
  readonly clients: readonly string[] | null;
  /** Of kinds `sni` and `http`: the port of every target. */
  readonly port: number;
  readonly tls: ListenerTls | undefined;
  /** Who has to say in a PROXY header whom it speaks for; null where nobody does. */
  readonly proxyProtocol: readonly Cidr[] | null;
  /** Bcrypt hashes by user; undefined asks for no credentials. */
  readonly auth: ReadonlyMap<string, string> | undefined;
};

/** Contents of the files, in PEM, known to fit together. */
export type ListenerTls = {
  readonly cert: string;
  readonly key: string;
  /** Whose certificates clients must have; undefined asks for none. */
  readonly clientCa: string | undefined;
  /** When the first certificate of `cert` ceases to be valid. */
  readonly expiresAtMs: number;
};

export type AdminSettings = {
  readonly address: ListenAddress;
  /** Host names, besides localhost and IP literals, that the admin endpoints answer to. */
  readonly names: readonly string[];
  /** Contents of `token_file`, trimmed; undefined without one. */
  readonly token: string | undefined;
};

export type Limits = {
  readonly connections: number;
  readonly perClient: number;
  readonly headBytes: number;
  readonly fields: number;
  readonly headTimeoutMs: number;
  readonly helloBytes: number;
  readonly helloTimeoutMs: number;
  readonly dialTimeoutMs: number;
  readonly responseHeadTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly drainTimeoutMs: number;
};

/** `dns.hosts`: a name, or `*.name` with its apex; addresses are judged like a DNS answer. */
export type HostsEntry = {
  readonly name: Hostname;
  readonly wildcard: boolean;
  readonly addresses: readonly Address[];
};

/** As in curl's --connect-to: undefined `host` or `port` on the left is "any"; a wildcard covers the apex. */
export type ConnectTo = {
  /** `name` is canonical; of an IPv6 address without brackets. */
  readonly host: { readonly name: string; readonly wildcard: boolean } | undefined;
  readonly port: number | undefined;
  readonly address: Address;
  /** Undefined keeps the port that was asked for. */
  readonly toPort: number | undefined;
};

/** An entry of `parents`. Without a parent, what it covers goes there directly. */
export type ParentSettings = { readonly hosts: readonly ParentHosts[]; readonly parent: ParentProxy | undefined };

/** What an entry covers: patterns as in a policy, one address in canonical form, or everything. */
export type ParentHosts = Pattern | { readonly kind: "address"; readonly text: string } | { readonly kind: "any" };

export type ParentProxy = {
  /** `http://host:port` in canonical form: its name where parents are told apart. */
  readonly url: string;
  /** TLS to the parent itself. */
  readonly isSecure: boolean;
  readonly host: Host;
  readonly port: number;
  /** Value of Proxy-Authorization, a secret. */
  readonly authorization: string | undefined;
};

/** What becomes of open tunnels that a new policy would not let in. */
export type OnRevoke = "keep" | "drain" | "close";

export type Settings = {
  readonly listen: readonly ListenerSettings[];
  readonly admin: AdminSettings;
  /** Paths of site policies, to be opened from the working directory; empty is the policy that ships with the program. */
  readonly policy: readonly string[];
  /** Processes that share the listeners; `auto` is one per core. */
  readonly workers: number | "auto";
  /** `auto`, or the pseudonym. */
  readonly via: string;
  readonly dns: {
    /** `address` or `address:port`; empty is the system's. */
    readonly servers: readonly string[];
    readonly hosts: readonly HostsEntry[];
    readonly timeoutMs: number;
    readonly negativeTtlMs: number;
  };
  readonly connectTo: readonly ConnectTo[];
  /** The first that covers a target decides, before `connectTo`. */
  readonly parents: readonly ParentSettings[];
  readonly limits: Limits;
  readonly reload: {
    /** Load the policy anew when a file of it changes. */
    readonly watch: boolean;
    readonly onRevoke: OnRevoke;
  };
  readonly log: {
    readonly level: "debug" | "info" | "warn" | "error";
    /** Also log allowed exchanges. */
    readonly allowed: boolean;
    /** Also log paths of plain HTTP requests. */
    readonly paths: boolean;
    /** Path to be opened from the working directory, or `-` for standard output. */
    readonly file: string;
  };
  readonly denials: {
    /** How much a refusal says. */
    readonly explain: "full" | "id" | "none";
    /** Slots of `sallyport_top_denials`; 0 is off. */
    readonly top: number;
  };
  readonly pac: {
    /** What hosts without a rule are told: `proxy`, `DIRECT`, or `PROXY host:port` in canonical form. */
    readonly otherwise: string;
  };
};
